"""The options of the experiments: one typed configuration, the command line of it."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import tyro

import bopt

# For options whose default depends on others, as their help says.
FLOAT = tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")
INT = tyro.conf.arg(metavar="INT", help_behavior_hint="")
PAIR = tyro.conf.arg(metavar="W0 W1", help_behavior_hint="")
STR = tyro.conf.arg(metavar="STR", help_behavior_hint="")

Optimizer = Literal["smgd", "madam", "mrmsprop", "sgd", "adam", "rmsprop"]
MULTI_GRADIENT = ("smgd", "madam", "mrmsprop")
BASELINES = ("sgd", "adam", "rmsprop")
# What --prune-where and --l1-where say, as selections of bopt: by the kernels' rank.
KERNELS = {"dense": 2, "conv": 4, "all": bopt.union(2, 4)}


@dataclasses.dataclass(frozen=True)
class Config:
    """Trains LeNet-5 on two objectives, cross entropy and the l1 norm of the dense
    weights, and prunes it while it trains."""

    # An experiment with other data or other defaults is a subclass.
    PREFERRED: ClassVar[str] = "mnist"  # what --dataset auto looks for first
    EPOCHS: ClassVar[Mapping[str, int]] = {"mnist": 30, "digits": 100}
    L1: ClassVar[float] = 3e-4  # coefficient of the baselines
    # Of madam and mrmsprop, where nothing asks for weights of least norm.
    WEIGHTS: ClassVar[tuple[float, float] | None] = None

    dataset: Literal["auto", "mnist", "digits"] = "auto"
    """auto: MNIST, or scikit-learn's handwritten digits where it cannot be had."""
    data_dir: str = "data"
    """Folder that may hold the original files of the data set."""
    optimizer: Optimizer = "madam"
    """smgd, madam, mrmsprop weigh the two gradients anew at every step; sgd, adam,
    rmsprop are the baselines, on the sum cross entropy + L1 * l1."""
    l1: Annotated[float | None, FLOAT] = None
    """Coefficient of the l1 norm for the baselines (default 3e-4)."""
    l1_where: Literal["dense", "all"] = "dense"
    """Whose l1 norm objective 1 is: the dense kernels', or also the convolutions'."""
    l1_at_zero: float = 1.0
    """Derivative of the l1 norm where a weight is 0, from -1 to 1: 0 as the paper, 1
    keeps the norm of the l1 gradient when weights are pruned."""
    weights: Annotated[tuple[float, float] | None, PAIR] = None
    """Fixed weights of the two objectives for smgd, madam, mrmsprop, instead of those
    of least norm."""
    normalize: Literal["none", "l2", "loss", "loss+"] = "none"
    """What the gradients are divided by before the weights are sought: nothing, their
    norms, the objective values, or both."""
    weigh_by: Annotated[
        Literal["gradients", "directions"] | None,
        tyro.conf.arg(metavar="{gradients,directions}", help_behavior_hint=""),
    ] = None
    """What madam and mrmsprop take the weights from: raw gradients, as the paper, or
    the directions that are applied (default directions)."""
    split: bool = False
    """Adds the squared l2 norm of the convolution kernels to objective 1, and finds
    weights for the dense layers and for all other layers apart; for smgd, madam,
    mrmsprop."""
    learning_rate: Annotated[float | None, FLOAT] = None
    """Per step (default 1e-2 for smgd and sgd, 1e-3 for the others)."""
    momentum: Annotated[float | None, FLOAT] = None
    """For smgd and sgd (default 0.9)."""
    nesterov: bool = False
    """Nesterov's momentum, for smgd and sgd."""
    amsgrad: bool = False
    """AMSGrad's maximum of second moments, for madam and adam."""
    decay: Annotated[float | None, FLOAT] = None
    """The learning rate is divided by 1 + DECAY * step (default learning rate / epochs
    for smgd and sgd, 0 for the others)."""
    schedule: Literal["logistic", "constant"] = "logistic"
    """The learning rate over the epochs: logistic falls to a tenth at the end."""
    epochs: Annotated[int | None, INT] = None
    """Passes over the training images (default 30; 100 on the digits)."""
    batch_size: int = 32
    """Images a step."""
    conv_l2: float = 1e-4
    """Coefficient of the squared l2 norm of the convolution kernels, part of
    objective 0."""
    threshold: float = 1e-3
    """After every step, weights of this magnitude or less become 0."""
    prune_where: Literal["dense", "conv", "all"] = "dense"
    """Which kernels are pruned: dense, convolution, or both."""
    regrow: bool = True
    """Whether a pruned weight may come back."""
    prune: bool = True
    """Whether to prune at all."""
    standardize: bool = False
    """Whether the images get the training images' mean and deviation taken off, rather
    than the range 0 to 1."""
    augment: tyro.conf.Suppress[bool] = False
    seed: int = 0
    """Of the initial parameters, the order of the images, and all else random."""
    train_size: Annotated[int | None, INT] = None
    """Train on the first so many images (default all)."""
    out: Annotated[str | None, STR] = None
    """The run directory, which must not hold a run (default runs/EXPERIMENT-TIME)."""
    figures: bool = True
    """Whether to draw the figures."""


class ConfigError(ValueError):
    """Options that do not fit; the message names them and what fits."""


AnyOptions = TypeVar("AnyOptions")
AnyConfig = TypeVar("AnyConfig", bound=Config)


def parse(
    config: type[AnyOptions], prog: str, args: Sequence[str] | None = None
) -> AnyOptions:
    """Reads a configuration from the command line.

    Args:
      config: a dataclass of options.
      prog: the program's name in the help text.
      args: the words of the command line; None: those of this process.

    Returns:
      An instance of `config`. A mistake ends the program with code 2, after a message
      that names it and suggests the nearest option.

    Example:
      >>> from experiments.config import Config, parse
      >>> parse(Config, "mnist_lenet", ["--optimizer", "adam", "--no-prune"]).prune
      False
    """
    words = sys.argv[1:] if args is None else args
    return tyro.cli(config, prog=f"python -m experiments.{prog}", args=words)


def resolve(config: AnyConfig, dataset: str) -> AnyConfig:
    """Fills in the defaults that depend on other options, and checks them together.

    Args:
      config: the options as given.
      dataset: the name of the data set that was found.

    Returns:
      A configuration in which only options that have no meaning for the optimizer
      (`l1`, `weights`, `weigh_by`, `momentum`), `train_size` and `out` may be None.

    Raises:
      ConfigError: an option out of range, or one that the optimizer does not take.

    Example:
      >>> from experiments.config import Config, resolve
      >>> resolve(Config(optimizer="smgd"), "mnist").learning_rate
      0.01
    """
    _check_ranges(config)
    _check_optimizer(config)
    sgd_like = config.optimizer in ("smgd", "sgd")
    epochs = default(config.epochs, epochs_on(dataset, config.EPOCHS, config))
    rate = default(config.learning_rate, 1e-2 if sgd_like else 1e-3)
    decay = rate / max(epochs, 1) if sgd_like else 0.0
    weights, weigh_by = config.weights, None
    if config.optimizer in ("madam", "mrmsprop"):
        least_norm = config.weigh_by or config.split or config.normalize != "none"
        weights = default(weights, None if least_norm else config.WEIGHTS)
        weigh_by = "directions" if weights is None else None
    return dataclasses.replace(
        config,
        epochs=epochs,
        learning_rate=rate,
        decay=default(config.decay, decay),
        momentum=default(config.momentum, 0.9 if sgd_like else None),
        l1=default(config.l1, config.L1 if config.optimizer in BASELINES else None),
        weights=weights,
        weigh_by=default(config.weigh_by, weigh_by),
    )


def default(value: Any, otherwise: Any) -> Any:
    """The value, or if it is None the other one.

    Example:
      >>> from experiments.config import default
      >>> default(0, 3), default(None, 3)
      (0, 3)
    """
    return otherwise if value is None else value


def epochs_on(dataset: str, epochs: Mapping[str, int], config: Config) -> int:
    """The epochs for a data set, or for the experiment's own if it has none.

    Example:
      >>> from experiments.config import Config, epochs_on
      >>> epochs_on("auto", {"mnist": 30, "digits": 100}, Config())
      30
    """
    return epochs.get(dataset, epochs[config.PREFERRED])


def check_at_least(config: Config, bounds: Mapping[str, float], kind: str = "") -> None:
    """Checks options that are numbers, where they are given.

    Args:
      config: the options.
      bounds: option -> the least that it may be.
      kind: what is expected besides, for the message.

    Raises:
      ConfigError: one is less, or not finite.

    Example:
      >>> from experiments.config import Config, check_at_least
      >>> check_at_least(Config(batch_size=0), {"batch_size": 1})
      Traceback (most recent call last):
      experiments.config.ConfigError: --batch-size is 0; expected at least 1.
    """
    for name, low in bounds.items():
        value = getattr(config, name)
        # Written so that NaN fails, too.
        if value is not None and not low <= value < float("inf"):
            raise ConfigError(
                f"{_option(name)} is {value}; expected {kind}at least {low}."
            )


def _check_ranges(config: Config) -> None:
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
    if config.seed >= 2**32:  # JAX would take it modulo 2**32, or raise
        raise ConfigError(
            f"--seed is {config.seed}; expected a whole number below 2**32."
        )
    if not -1 <= config.l1_at_zero <= 1:
        raise ConfigError(
            f"--l1-at-zero is {config.l1_at_zero}; expected a number from -1 to 1."
        )
    if config.momentum is not None and not 0 <= config.momentum < 1:
        raise ConfigError(
            f"--momentum is {config.momentum}; expected a number from 0 to below 1."
        )
    if config.weights is not None and not all(
        0 <= weight < float("inf") for weight in config.weights
    ):
        raise ConfigError(
            f"--weights is {config.weights}; expected two finite, non-negative numbers."
        )


def _check_optimizer(config: Config) -> None:
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
