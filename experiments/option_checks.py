"""What options must be, alone and together; mistakes are told by name."""

from collections.abc import Mapping
from typing import Any

from experiments.errors import ConfigError

MULTI_GRADIENT = ("smgd", "madam", "mrmsprop")
BASELINES = ("sgd", "adam", "rmsprop")


def check_at_least(config: Any, bounds: Mapping[str, float], kind: str = "") -> None:
    """Checks options that are numbers, where they are given.

    Args:
      config: the options.
      bounds: option -> the least that it may be.
      kind: what is expected besides, for the message.

    Raises:
      ConfigError: one is less, or not finite.

    Example:
      >>> from experiments.config import Config
      >>> from experiments.option_checks import check_at_least
      >>> check_at_least(Config(batch_size=0), {"batch_size": 1})
      Traceback (most recent call last):
      experiments.errors.ConfigError: --batch-size is 0; expected at least 1.
    """
    for name, low in bounds.items():
        value = getattr(config, name)
        # Written so that NaN fails, too.
        if value is not None and not low <= value < float("inf"):
            raise ConfigError(
                f"{_option(name)} is {value}; expected {kind}at least {low}."
            )


def check_ranges(config: Any) -> None:
    """Checks each option of a training by itself.

    Args:
      config: an `experiments.config.Config`.

    Raises:
      ConfigError: one is out of range.

    Example:
      >>> from experiments.config import Config
      >>> from experiments.option_checks import check_ranges
      >>> check_ranges(Config(momentum=1.0))
      Traceback (most recent call last):
      experiments.errors.ConfigError: --momentum is 1.0; expected a number from \
0 to below 1.
    """
    bounds = {
        "l1": 0,
        "learning_rate": 0,
        "decay": 0,
        "epochs": 0,
        "batch_size": 1,
        "conv_l2": 0,
        "threshold": 0,
        "seed": 0,
    }
    check_at_least(config, bounds, "a finite number, ")
    check_at_least(config, {"seeds": 1, "checkpoint_every": 1})
    last = config.seed + config.seeds - 1
    if last >= 2**32:  # JAX would take it modulo 2**32, or raise
        which = "--seed" if config.seeds == 1 else "--seed and --seeds: the last seed"
        raise ConfigError(f"{which} is {last}; expected a whole number below 2**32.")
    if not -1 <= config.l1_at_zero <= 1:
        raise ConfigError(
            f"--l1-at-zero is {config.l1_at_zero}; expected a number from -1 to 1."
        )
    if config.momentum is not None and not 0 <= config.momentum < 1:
        raise ConfigError(
            f"--momentum is {config.momentum}; expected a number from 0 to below 1."
        )
    if config.sparsity is not None and not 0 <= config.sparsity <= 1:
        raise ConfigError(
            f"--sparsity is {config.sparsity}; expected a share from 0 to 1."
        )
    if config.weights is not None and not all(
        0 <= weight < float("inf") for weight in config.weights
    ):
        raise ConfigError(
            f"--weights is {config.weights}; expected two finite, non-negative numbers."
        )


def check_together(config: Any) -> None:
    """Checks which options of a training go together.

    Args:
      config: an `experiments.config.Config`.

    Raises:
      ConfigError: one that the optimizer does not take, or two that exclude each other.

    Example:
      >>> from experiments.config import Config
      >>> from experiments.option_checks import check_together
      >>> check_together(Config(optimizer="madam", nesterov=True))
      Traceback (most recent call last):
      experiments.errors.ConfigError: --nesterov has no meaning for --optimizer \
madam; it is for smgd, sgd. Leave it out, or choose one of these.
    """
    takers = {
        "l1": BASELINES,
        "weights": MULTI_GRADIENT,
        "normalize": MULTI_GRADIENT,
        "weigh_by": ("madam", "mrmsprop"),
        "split": MULTI_GRADIENT,
        "momentum": ("smgd", "sgd"),
        "nesterov": ("smgd", "sgd"),
        "amsgrad": ("madam", "adam"),
    }
    for name, optimizers in takers.items():
        value = getattr(config, name)
        # Not `value in (None, False, "none")`: 0 equals False, but was given.
        left_out = value is None or value is False or value == "none"
        if left_out or config.optimizer in optimizers:
            continue
        raise ConfigError(
            f"{_option(name)} has no meaning for --optimizer {config.optimizer}; it is "
            f"for {', '.join(optimizers)}. Leave it out, or choose one of these."
        )
    if config.sparsity is not None and not config.prune:
        raise ConfigError(
            "--sparsity asks for pruning, --no-prune for none. Leave one of them out."
        )
    if config.sparsity_schedule is not None and config.sparsity is None:
        raise ConfigError(
            "--sparsity-schedule says how --sparsity is reached. Give that, too, or "
            "leave it out."
        )
    if config.weights is not None and config.normalize != "none":
        raise ConfigError(
            "--weights fixes the weights, so --normalize has nothing to normalise. "
            "Leave one of the two out."
        )
    if config.split and config.weights is not None:
        raise ConfigError(
            "--split finds weights for two groups of layers, but --weights fixes them. "
            "Leave one of the two out."
        )
    if config.split and config.l1_where == "all":
        raise ConfigError(
            "--split puts the l2 norm of the convolutions into objective 1, "
            "--l1-where all their l1 norm. Leave one of the two out."
        )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
