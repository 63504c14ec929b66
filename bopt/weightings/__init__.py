"""Weightings, which turn the gram matrix of the gradients into their weights.

A weighting is a pair of functions, `Weighting`, as an Optax transformation: ``init(m)
-> state`` and ``update(gram, values, state) -> (weights, state)``. A plain function
``(gram, values) -> weights`` is taken for one without state. `gram` is the (m, m)
matrix of inner products of the jacobian's rows, `values` the (m,) objective values or
None, and `weights` the (m,) coefficients of the *unscaled* rows: the direction is
always ``weights @ rows``. The page docs/choose-a-weighting.md compares them.
"""

from bopt.weightings.aligned import aligned
from bopt.weightings.cagrad import cagrad
from bopt.weightings.conflict_free import conflict_free
from bopt.weightings.dual_projection import dual_projection
from bopt.weightings.ema import EmaState, ema
from bopt.weightings.fairgrad import fairgrad
from bopt.weightings.famo import FamoState, famo
from bopt.weightings.fixed import fixed
from bopt.weightings.imtl_g import imtl_g
from bopt.weightings.min_norm import min_norm
from bopt.weightings.nash import nash
from bopt.weightings.pcgrad import pcgrad
from bopt.weightings.tchebycheff import tchebycheff
from bopt.weightings.upgrad import upgrad
from bopt.weightings.weighting import Weighting

__all__ = [
    "EmaState",
    "FamoState",
    "Weighting",
    "aligned",
    "cagrad",
    "conflict_free",
    "dual_projection",
    "ema",
    "fairgrad",
    "famo",
    "fixed",
    "imtl_g",
    "min_norm",
    "nash",
    "pcgrad",
    "tchebycheff",
    "upgrad",
]
