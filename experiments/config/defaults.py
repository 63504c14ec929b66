"""Defaults of options that depend on others, and the checks of all options."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from experiments.config.command_line import flat, updated
from experiments.config.front import FrontConfig
from experiments.config.options import BASELINES, MULTI_GRADIENT, AnyConfig
from experiments.errors import ConfigError


def resolve(config: AnyConfig, dataset: str) -> AnyConfig:
    """Fill in the defaults that depend on other options, and check all of them.

    Args:
      config: options as given.
      dataset: name of the dataset that was found; "auto" if not known yet.

    Returns:
      Options in which only those without a meaning for the optimizer (`l1`, `weights`,
      `weigh_by`, `momentum`), `train_size` and paths may be None.

    Raises:
      ConfigError: an option is out of range or contradicts another.

    Example:
      >>> from experiments.config import Config, resolve
      >>> resolve(Config(), "mnist").optimizer.epochs
      30
    """
    options = flat(config)
    check_ranges(options)
    check_together(options)
    sgd_like = options["optimizer"] in ("smgd", "sgd")
    epochs = default(options["epochs"], epochs_on(dataset, config))
    rate = default(options["learning_rate"], 1e-2 if sgd_like else 1e-3)
    weights, weigh_by, l1 = options["weights"], options["weigh_by"], None
    if options["optimizer"] in ("madam", "mrmsprop"):
        min_norm = weigh_by or options["split"] or options["normalize"] != "none"
        weights = default(weights, None if min_norm else config.WEIGHTS)
        weigh_by = default(weigh_by, "directions" if weights is None else None)
    if options["optimizer"] in BASELINES:
        l1 = default(options["l1"], config.L1)
    schedule = None if options["sparsity"] is None else "cubic"
    return updated(
        config,
        epochs=epochs,
        learning_rate=rate,
        decay=default(options["decay"], rate / max(epochs, 1) if sgd_like else 0.0),
        momentum=default(options["momentum"], 0.9 if sgd_like else None),
        l1=l1,
        weights=weights,
        weigh_by=weigh_by,
        sparsity_schedule=default(options["sparsity_schedule"], schedule),
    )


def resolve_front(config: FrontConfig, dataset: str) -> FrontConfig:
    """Fill in the defaults of a front that depend on other options, and check them.

    Args:
      config: options as given.
      dataset: name of the dataset that was found; "auto" if not known yet.

    Raises:
      ConfigError: an option is out of range, or the optimizer does not suit the search.
    """
    options, search = flat(config), config.search
    least = {"budget": 2, "corrector_epochs": 0, "final_epochs": 0, "parallel": 1}
    check_at_least(options, least | {"levels": 0})
    optimizer, in_units = options["optimizer"], ("dichotomic", "stochastic")
    summed = optimizer in BASELINES
    if search.search in (*in_units, "continuation") and not summed:
        raise ConfigError(
            f"--search {search.search} chooses weights in units of the objectives, but "
            f"--optimizer {optimizer} applies them to directions. Choose --search grid "
            f"or bisection, or --optimizer {', '.join(BASELINES)}."
        )
    smallest = default(search.smallest, config.RANGE[0])
    largest = default(search.largest, config.RANGE[1])
    if not 0 < smallest < largest < 1:
        raise ConfigError(
            f"--smallest is {smallest} and --largest is {largest}; expected 0 < "
            "SMALLEST < LARGEST < 1."
        )
    grid = default(search.grid, "geometric" if summed else "original")
    original = search.search == "grid" and grid == "original"
    epochs = default(options["epochs"], epochs_on(dataset, config))
    training = resolve(updated(config.training(), epochs=epochs), dataset)
    kept = vars(config.optimizer).keys()
    resolved = updated(
        config,
        **{name: value for name, value in flat(training).items() if name in kept},
    )
    full = epochs_on(dataset, config.training())
    search = dataclasses.replace(
        search,
        smallest=smallest,
        largest=largest,
        grid=grid,
        budget=default(search.budget, 26 if original else 20),
        corrector_epochs=default(search.corrector_epochs, math.ceil(epochs / 5)),
        final_epochs=default(search.final_epochs, full),
    )
    return dataclasses.replace(resolved, search=search)


def default(value: Any, otherwise: Any) -> Any:
    """Return the value, or the other one if it is None."""
    return otherwise if value is None else value


def epochs_on(dataset: str, config: Any) -> int:
    """Return the default number of epochs on a dataset."""
    preferred = next(iter(config.EPOCHS))
    return config.EPOCHS.get(dataset, config.EPOCHS[preferred])


def check_at_least(
    options: Mapping[str, Any], bounds: Mapping[str, float], kind: str = ""
) -> None:
    """Check lower bounds of numbers, where they are given.

    Args:
      options: name -> value.
      bounds: name -> smallest value allowed.
      kind: a further expectation, for the message.

    Raises:
      ConfigError: a value is smaller or not finite.
    """
    for name, low in bounds.items():
        value = options[name]
        # Written so that NaN fails, too.
        if value is not None and not low <= value < math.inf:
            raise ConfigError(
                f"{_option(name)} is {value}; expected {kind}at least {low}."
            )


def check_ranges(options: Mapping[str, Any]) -> None:
    """Check each option of a training by itself."""
    finite = ("l1", "learning_rate", "decay", "epochs", "conv_l2", "threshold", "seed")
    bounds = dict.fromkeys(finite, 0) | {"batch_size": 1}
    check_at_least(options, bounds, "a finite number, ")
    check_at_least(options, {"seeds": 1, "checkpoint_every": 1})
    last = options["seed"] + options["seeds"] - 1
    if last >= 2**32:  # JAX would take it modulo 2**32, or raise
        which = "--seed" if options["seeds"] == 1 else "The last of --seeds"
        raise ConfigError(f"{which} is {last}; expected a whole number below 2**32.")
    shares = {"l1_at_zero": (-1, 1), "sparsity": (0, 1)}
    for name, (low, high) in shares.items():
        value = options[name]
        if value is not None and not low <= value <= high:
            raise ConfigError(
                f"{_option(name)} is {value}; expected a number from {low} to {high}."
            )
    momentum, weights = options["momentum"], options["weights"]
    if momentum is not None and not 0 <= momentum < 1:
        raise ConfigError(f"--momentum is {momentum}; expected at least 0 and below 1.")
    if weights is not None and not all(0 <= weight < math.inf for weight in weights):
        raise ConfigError(
            f"--weights is {weights}; expected two finite, non-negative numbers."
        )


def check_together(options: Mapping[str, Any]) -> None:
    """Check that the options of a training agree with each other."""
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
    optimizer = options["optimizer"]
    for name, optimizers in takers.items():
        value = options[name]
        # Not `value in (None, False, "none")`: 0 equals False, but was given.
        if (
            value is None
            or value is False
            or value == "none"
            or optimizer in optimizers
        ):
            continue
        raise ConfigError(
            f"{_option(name)} has no meaning for --optimizer {optimizer}; expected "
            f"{', '.join(optimizers)}. Leave it out, or choose one of these."
        )
    split, fixed = options["split"], options["weights"] is not None
    pairs = {
        "--sparsity and --no-prune": options["sparsity"] is not None
        and not options["prune"],
        "--weights and --normalize": fixed and options["normalize"] != "none",
        "--weights and --split": fixed and split,
        # One adds the convolutions' l2 norm to objective 1, the other their l1 norm.
        "--split and --l1-where all": split and options["l1_where"] == "all",
    }
    for names, both in pairs.items():
        if both:
            raise ConfigError(
                f"{names} contradict each other; expected at most one of them. Leave "
                "one out."
            )
    if options["sparsity_schedule"] is not None and options["sparsity"] is None:
        raise ConfigError(
            "--sparsity-schedule is given without --sparsity; expected both. Add "
            "--sparsity, or leave it out."
        )
    check_processes(options)


def check_processes(options: Mapping[str, Any]) -> None:
    """Check the options of several processes."""
    names = ("coordinator", "processes", "process_id")
    given = [_option(name) for name in names if options[name] is not None]
    if given and not options["distributed"]:
        raise ConfigError(f"{given[0]} is given without --distributed. Add it.")
    if given and len(given) < len(names):
        raise ConfigError(
            f"Only {', '.join(given)} is given; expected all of "
            f"{', '.join(map(_option, names))}, or none if the cluster's environment "
            "holds them."
        )
    if options["distributed"] and options["out"] is None and options["resume"] is None:
        raise ConfigError(
            "--distributed is given without --out; expected a folder that all "
            "processes see, the same for all. Add it."
        )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
