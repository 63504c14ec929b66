"""Weightings, which turn the gram matrix of the gradients into their weights.

A weighting is a pair of functions, `Weighting`, as an Optax transformation: ``init(m)
-> state`` and ``update(gram, values, state) -> (weights, state)``. A plain function
``(gram, values) -> weights`` is taken for one without state. `gram` is the (m, m)
matrix of inner products of the jacobian's rows, `values` the (m,) objective values or
None, and `weights` the (m,) coefficients of the *unscaled* rows: the direction is
always ``weights @ rows``.
"""

from bopt.weightings.fixed import fixed
from bopt.weightings.min_norm import min_norm
from bopt.weightings.weighting import Weighting

__all__ = ["Weighting", "fixed", "min_norm"]
