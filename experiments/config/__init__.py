"""Options of the programs: groups on the command line, flat in config.json."""

from experiments.config.command_line import flat, from_flat, parse, peek, updated
from experiments.config.defaults import (
    check_at_least,
    is_own,
    resolve,
    resolve_front,
)
from experiments.config.front import FrontConfig, VggFront
from experiments.config.options import (
    BASELINES,
    MULTI_GRADIENT,
    AnyConfig,
    Config,
    TextConfig,
    VggConfig,
)
from experiments.config.published import published

__all__ = [
    "BASELINES",
    "MULTI_GRADIENT",
    "AnyConfig",
    "Config",
    "FrontConfig",
    "TextConfig",
    "VggConfig",
    "VggFront",
    "check_at_least",
    "flat",
    "from_flat",
    "is_own",
    "parse",
    "peek",
    "published",
    "resolve",
    "resolve_front",
    "updated",
]
