"""Defaults of the released code of arXiv 2008.13590, as --published sets them."""

from typing import Any

from experiments.config.command_line import First, flat, updated
from experiments.config.options import BASELINES, VggData

# Of all its programs. docs/differences.md has the reasons, and what stays different.
_COMMON = {
    "published": True,
    "schedule": "logistic",
    "pruning": "threshold",
    "l1_at_zero": 0.0,
    "update_rule": "keras",
    "prune_where": "dense_layers",
    "prune_initial": True,
}
# Of its searches: lists, stopping and constant learning rate; MAdam alone.
_SEARCH = {
    "optimizer": "madam",
    "schedule": "constant",
    "conv_l2_both": True,
    "budget": 20,
    "released": True,
    "finish_level": True,
    "knee": "weight_jump",
}


def published(options: Any, given: First) -> Any:
    """Return options with the released code's values for the optimizer given.

    Each is a plain option, which may be set alone. The released code is followed except
    where it cannot run and where it chooses on test data.
    """
    before = flat(options)
    optimizer = given.optimizer or before["optimizer"]
    found = dict(_COMMON)
    if "search" in before:
        found |= _SEARCH
    else:
        if given.split:
            found |= {"split_loss": "whole", "conv_l2": 0.0}
        else:
            found["conv_l2_both"] = optimizer not in BASELINES
        if optimizer in ("madam", "mrmsprop"):
            found["weigh_by"] = "gradients"
    if isinstance(options.data, VggData):
        found["learning_rate"] = 1e-2
        if optimizer == "smgd":
            found["schedule"] = "constant"
    return updated(options, **found)
