"""Multi-objective training and pruning as Optax transformations.

    optimizer = optax.chain(bopt.smgd(), optax.adam(1e-3), bopt.prune())
    values, jac = bopt.value_and_jac([loss, bopt.l1])(params, batch)
    updates, state = optimizer.update(jac, state, params, values=values)

The paper's networks are in `bopt.models`, which needs Flax. The paper: M. Reiners,
K. Klamroth, F. Heldmann, M. Stiglmayr, *Efficient and sparse neural networks by pruning
weights in a multiobjective learning approach*, 2022 (arXiv 2008.13590).
"""

import importlib as _importlib
from importlib import metadata as _metadata
from typing import Any as _Any

from bopt import fronts, sparsity, units
from bopt._pruning import PruneState
from bopt.compaction import compact
from bopt.evidence import prune_by_evidence
from bopt.objectives import value_and_jac
from bopt.optimizers import (
    KerasAdamState,
    madam,
    mrmsprop,
    scale_by_keras_adam,
)
from bopt.penalties import group_lasso, hoyer_square, l1, l2, log_penalty, mcp
from bopt.proximal import SoftThresholdState, adam_metric, soft_threshold
from bopt.pruning import prune, prune_n_m, prune_to
from bopt.schedules import (
    cubic_sparsity,
    hold_cosine,
    logistic_decay,
    time_decay,
)
from bopt.scores import Score, magnitude, movement, saliency
from bopt.selections import complement, select, union
from bopt.smgd import SmgdState, smgd, stationarity
from bopt.unit_pruning import prune_units
from bopt.weightings import (
    EmaState,
    FamoState,
    Weighting,
    aligned,
    cagrad,
    conflict_free,
    dual_projection,
    ema,
    fairgrad,
    famo,
    fixed,
    imtl_g,
    min_norm,
    nash,
    pcgrad,
    tchebycheff,
    upgrad,
)

__all__ = [
    "EmaState",
    "FamoState",
    "KerasAdamState",
    "PruneState",
    "Score",
    "SmgdState",
    "SoftThresholdState",
    "Weighting",
    "adam_metric",
    "aligned",
    "cagrad",
    "compact",
    "complement",
    "conflict_free",
    "cubic_sparsity",
    "dual_projection",
    "ema",
    "fairgrad",
    "famo",
    "fixed",
    "fronts",
    "group_lasso",
    "hold_cosine",
    "hoyer_square",
    "imtl_g",
    "l1",
    "l2",
    "log_penalty",
    "logistic_decay",
    "madam",
    "magnitude",
    "mcp",
    "min_norm",
    "movement",
    "mrmsprop",
    "nash",
    "pcgrad",
    "prune",
    "prune_by_evidence",
    "prune_n_m",
    "prune_to",
    "prune_units",
    "saliency",
    "scale_by_keras_adam",
    "select",
    "smgd",
    "soft_threshold",
    "sparsity",
    "stationarity",
    "tchebycheff",
    "time_decay",
    "union",
    "units",
    "upgrad",
    "value_and_jac",
]


def __getattr__(name: str) -> _Any:
    """Import `models`, which needs Flax, on first use."""
    if name == "models":
        return _importlib.import_module("bopt.models")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


try:
    __version__ = _metadata.version("bopt-jax")
except _metadata.PackageNotFoundError:  # imported from a source tree
    __version__ = "0+unknown"
