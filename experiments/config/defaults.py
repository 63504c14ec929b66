"""Defaults of options that depend on others, and the checks of all options."""

import math
from collections.abc import Mapping
from typing import Any

from experiments.config.command_line import flat, from_flat, updated
from experiments.config.front import FrontConfig
from experiments.config.options import BASELINES, TAKERS, AnyConfig
from experiments.errors import ConfigError

TO_SPARSITY = ("magnitude", "saliency")  # rules of --pruning that have a SPARSITY
SWEEPS = ("grid", "bisection")  # searches of a front of numbers of weights
MODELS = ("lenet5", "vgg")  # of a front
RELEASED = ("grid", "bisection", "dichotomic", "stochastic")  # searches


def resolve(config: AnyConfig, dataset: str, *, fixed: bool = False) -> AnyConfig:
    """Check all options and fill in the defaults that depend on others.

    The dataset is the one that was found; "auto" if not known yet. Only `train_size`,
    paths and options without a meaning for the optimizer (`l1`, `weights`, `weigh_by`,
    `momentum`) stay None. `fixed`: a search fixes the weights.
    """
    options = flat(config)
    check_ranges(options)
    check_together(options)
    optimizer = options["optimizer"]
    sgd_like = optimizer in ("smgd", "sgd")
    epochs = default(options["epochs"], epochs_on(dataset, config))
    schedule = default(options["schedule"], config.SCHEDULE)
    fast = schedule == "hold_cosine" and optimizer in ("madam", "adam")
    usual = 1e-2 if sgd_like else 3e-3 if fast else 1e-3
    rate = default(options["learning_rate"], usual)
    weights, weigh_by, l1 = options["weights"], options["weigh_by"], None
    if optimizer in ("madam", "mrmsprop"):
        min_norm = weigh_by or options["split"] or options["normalize"] != "none"
        weights = default(weights, None if min_norm else config.WEIGHTS)
        own = "directions" if fixed else config.WEIGH_BY
        weigh_by = default(weigh_by, own if weights is None else None)
        chosen = weights is None and not fixed
        if chosen and weigh_by == "directions" and options["l1_at_zero"] == 0:
            raise ConfigError(
                "--l1-at-zero 0 with --weigh-by directions prunes until "
                "the network is dead; expected a derivative of 1, or the paper's "
                "--weigh-by gradients. Change one of the two options."
            )
    if optimizer in BASELINES:
        l1 = default(options["l1"], config.L1)
    by_threshold = options["threshold"] is not None or not options["prune"]
    usual = config.PRUNING if options["sparsity"] is None else "saliency"
    usual = usual if options["budget"] is None else "units"
    pruning = default(options["pruning"], "threshold" if by_threshold else usual)
    shared = pruning in TO_SPARSITY
    by_threshold = pruning == "threshold" or options["prune_initial"]
    return updated(
        config,
        epochs=epochs,
        learning_rate=rate,
        schedule=schedule,
        decay=default(options["decay"], rate / max(epochs, 1) if sgd_like else 0.0),
        momentum=default(options["momentum"], 0.9 if sgd_like else None),
        l1=l1,
        weights=weights,
        weigh_by=weigh_by,
        pruning=pruning,
        threshold=default(options["threshold"], 1e-3 if by_threshold else None),
        sparsity=default(options["sparsity"], config.SPARSITY if shared else None),
        sparsity_schedule=default(
            options["sparsity_schedule"], "cubic" if shared else None
        ),
        budget=default(options["budget"], 0.2 if pruning == "units" else None),
    )


def resolve_front(config: FrontConfig, dataset: str) -> FrontConfig:
    """Check all options of a front and fill in the defaults that depend on others."""
    if not (is_own(config.search.model) or config.search.model in MODELS):
        raise ConfigError(
            f"--model is {config.search.model}; expected {' or '.join(MODELS)}, or "
            "MODULE:NAME of a Flax module."
        )
    search, optimizer = config.search, config.optimizer.optimizer
    least = {"budget": 2, "corrector_epochs": 0, "final_epochs": 0, "parallel": 1}
    check_at_least(vars(search), least | {"levels": 0})
    summed = optimizer in BASELINES
    swept = config.pruning.pruning in TO_SPARSITY
    if swept and (search.released or search.search not in SWEEPS):
        raise ConfigError(
            f"--pruning {config.pruning.pruning} is a front of numbers of weights, "
            f"which --search {search.search} cannot search; expected "
            f"{' or '.join(SWEEPS)} without --released. Choose one of these, or "
            "--pruning threshold."
        )
    if config.objectives.l1 is not None and not swept:
        raise ConfigError(
            "--l1 is given with --pruning threshold, where the search chooses it; "
            "expected --pruning magnitude or saliency. Leave one out."
        )
    if search.search == "continuation" and not summed:
        raise ConfigError(
            f"--search continuation follows weights of the objectives, but --optimizer "
            f"{optimizer} applies them to directions. Choose another search, or "
            f"--optimizer {', '.join(BASELINES)}."
        )
    if search.released and search.search not in RELEASED:
        raise ConfigError(
            f"--released and --search {search.search} contradict each other: the "
            f"released code has {', '.join(RELEASED)}. Choose one of these, or leave "
            "--released out; with --published, add --no-released."
        )
    if search.released and search.grid == "geometric":
        raise ConfigError(
            "--released and --grid geometric contradict each other: the released code "
            "has a list of its own. Leave one out."
        )
    bounds = config.LEFT if swept else config.RANGE
    smallest = default(search.smallest, bounds[0])
    largest = default(search.largest, bounds[1])
    if not 0 < smallest < largest < 1:
        raise ConfigError(
            f"--smallest is {smallest} and --largest is {largest}; expected 0 < "
            "SMALLEST < LARGEST < 1."
        )
    summed |= swept
    listed = "geometric" if summed and not search.released else "original"
    grid = default(search.grid, listed)
    original = search.search == "grid" and grid == "original"
    epochs = default(config.optimizer.epochs, epochs_on(dataset, config))
    training = config.training()
    found = {
        "smallest": smallest,
        "largest": largest,
        "grid": grid,
        "budget": default(search.budget, 26 if original else 20),
        "finish_level": search.finish_level or search.released,
        "corrector_epochs": default(search.corrector_epochs, math.ceil(epochs / 5)),
        "final_epochs": default(search.final_epochs, epochs_on(dataset, training)),
    }
    own = updated(training, epochs=epochs)
    shared = flat(resolve(own, dataset, fixed=not swept))
    shared["model"] = config.search.model
    if not swept:
        shared["l1"] = None  # a baseline's, which the search chooses
    return from_flat(type(config), flat(config) | shared | found)


def default(value: Any, otherwise: Any) -> Any:
    """Return the value, or the other one if it is None."""
    return otherwise if value is None else value


def is_own(model: str | None) -> bool:
    """Return whether the value of --model names a user's network, MODULE:NAME."""
    return ":" in (model or "")


def epochs_on(dataset: str, config: Any) -> int:
    """Return the default number of epochs; "auto" counts as the preferred dataset."""
    return config.EPOCHS.get(dataset, next(iter(config.EPOCHS.values())))


def check_at_least(
    options: Mapping[str, Any], bounds: Mapping[str, float], kind: str = ""
) -> None:
    """Check lower bounds of numbers, where they are given."""
    for name, low in bounds.items():
        value = options[name]
        # Written so that NaN fails, too.
        if value is not None and not low <= value < math.inf:
            raise ConfigError(
                f"{_option(name)} is {value}; expected {kind}at least {low}."
            )


def check_ranges(options: Mapping[str, Any]) -> None:
    """Check each option of a training by itself."""
    rates = ("learning_rate", "decay", "weight_decay", "l1", "conv_l2")
    names = (*rates, "epochs", "threshold", "seed")
    bounds = dict.fromkeys(names, 0) | {"batch_size": 1}
    check_at_least(options, bounds, "a finite number, ")
    check_at_least(options, {"seeds": 1, "checkpoint_every": 1, "multiple_of": 1})
    last = options["seed"] + options["seeds"] - 1
    if last >= 2**32:  # JAX would take it modulo 2**32, or raise
        which = "--seed" if options["seeds"] == 1 else "The last of --seeds"
        raise ConfigError(f"{which} is {last}; expected a whole number below 2**32.")
    for name, (is_right, expected) in _RANGES.items():
        value = options[name]
        if value is not None and not is_right(value):
            raise ConfigError(f"{_option(name)} is {value}; expected {expected}.")


_RANGES = {
    "l1_at_zero": (lambda value: -1 <= value <= 1, "a number from -1 to 1"),
    "sparsity": (lambda value: 0 <= value <= 1, "a number from 0 to 1"),
    "budget": (lambda value: 0 < value <= 1, "a number above 0 and up to 1"),
    "momentum": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "weights": (
        lambda pair: all(0 <= weight < math.inf for weight in pair),
        "two finite, non-negative numbers",
    ),
}


def check_together(options: Mapping[str, Any]) -> None:
    """Check that the options of a training agree with each other."""
    optimizer = options["optimizer"]
    for name, optimizers in TAKERS.items():
        value = options[name]
        # Not `value in (None, False, "none")`: 0 equals False, but was given.
        given = not (value is None or value is False or value == "none")
        if given and optimizer not in optimizers:
            raise ConfigError(
                f"{_option(name)} has no meaning for --optimizer {optimizer}; expected "
                f"{', '.join(optimizers)}. Leave it out, or choose one of these."
            )
    split, fixed = options["split"], options["weights"] is not None
    pruning, sparsity = options["pruning"], options["sparsity"] is not None
    shared = sparsity or pruning in TO_SPARSITY
    budget = options["budget"] is not None
    threshold = options["threshold"] is not None and not options["prune_initial"]
    pairs = {
        f"--pruning {pruning} and --no-prune": pruning not in (None, "threshold")
        and not options["prune"],
        "--sparsity and --no-prune": sparsity and not options["prune"],
        f"--sparsity and --pruning {pruning}": sparsity
        and pruning in ("threshold", "evidence", "units"),
        "--budget and --sparsity": budget and sparsity,
        "--budget and --threshold": budget and threshold,
        "--budget and --no-prune": budget and not options["prune"],
        f"--budget and --pruning {pruning}": budget and pruning not in (None, "units"),
        f"--pruning units and --prune-where {options['prune_where']}": (
            (budget or pruning == "units") and options["prune_where"] != "dense"
        ),
        "--sparsity and --threshold": sparsity and threshold,
        f"--threshold and --pruning {pruning}": threshold
        and pruning not in (None, "threshold"),
        f"--pruning evidence and --prune-where {options['prune_where']}": (
            pruning == "evidence" and options["prune_where"] in ("conv", "all")
        ),
        "--weights and --normalize": fixed and options["normalize"] != "none",
        "--weights and --split": fixed and split,
        # One adds the convolutions' l2 norm to objective 1, the other their l1 norm.
        "--split and --l1-where all": split and options["l1_where"] == "all",
    }
    for names, both in pairs.items():
        if both:
            raise ConfigError(
                f"{names} contradict each other; expected at most one. Leave one out."
            )
    if options["split_loss"] is not None and not split:
        raise ConfigError(
            "--split-loss is given without --split; expected both. Add --split, or "
            "leave it out."
        )
    if options["sparsity_schedule"] is not None and not shared:
        raise ConfigError(
            "--sparsity-schedule is given without --sparsity; expected both. Add "
            "--sparsity, or leave it out."
        )
    names = ("coordinator", "processes", "process_id")
    given = [_option(name) for name in names if options[name] is not None]
    stored = options["resume"] is not None  # of a run that one process continues
    if given and not options["distributed"] and not stored:
        raise ConfigError(f"{given[0]} is given without --distributed. Add it.")
    if options["distributed"] and given and len(given) < len(names):
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
