"""The options of the experiments: one typed configuration, the command line of it."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import tyro

import bopt
from experiments.option_checks import (
    BASELINES,
    check_ranges,
    check_together,
)
from experiments.paper_runs import EPOCHS

# For options whose default depends on others, as their help says.
FLOAT = tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")
INT = tyro.conf.arg(metavar="INT", help_behavior_hint="")
PAIR = tyro.conf.arg(metavar="W0 W1", help_behavior_hint="")
STR = tyro.conf.arg(metavar="STR", help_behavior_hint="")

Optimizer = Literal["smgd", "madam", "mrmsprop", "sgd", "adam", "rmsprop"]
# What --prune-where and --l1-where say, as selections of bopt: by the kernels' rank.
KERNELS = {"dense": 2, "conv": 4, "all": bopt.union(2, 4)}


@dataclasses.dataclass(frozen=True)
class Config:
    """Trains LeNet-5 on two objectives, cross entropy and the l1 norm of the dense
    weights, and prunes it while it trains."""

    # An experiment with other data or other defaults is a subclass.
    PREFERRED: ClassVar[str] = "mnist"  # what --dataset auto looks for first
    EPOCHS: ClassVar[Mapping[str, int]] = EPOCHS["mnist_lenet", None]
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
    sparsity: Annotated[float | None, FLOAT] = None
    """Magnitude pruning: this share of the entries of those kernels becomes 0, 0 to 1,
    rather than what is below THRESHOLD."""
    sparsity_schedule: Annotated[
        Literal["cubic", "once"] | None,
        tyro.conf.arg(metavar="{cubic,once}", help_behavior_hint=""),
    ] = None
    """How SPARSITY is reached: cubic, in steps over three quarters of the epochs; once,
    in the middle of the training (default cubic)."""
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
    seeds: int = 1
    """Train with so many seeds, from SEED on, as one program; each gets a run directory
    of its own in OUT, which has their means."""
    init_from: Annotated[str | None, STR] = None
    """Start from the parameters, and with the masks, of the run in this directory."""
    resume: Annotated[str | None, STR] = None
    """Go on with the interrupted run in this directory, with the options stored there.
    Only options that do not change the result may be given besides."""
    checkpoint_every: int = 1
    """So many epochs lie between two checkpoints; the last two are kept, and the best
    on validation data."""
    devices: int | Literal["all"] = 1
    """Divide each batch among so many devices."""
    distributed: bool = False
    """This is one of several processes that train together, each started with the same
    options; OUT is a folder that all see."""
    coordinator: Annotated[str | None, STR] = None
    """HOST:PORT of process 0 (default: as the cluster's environment says)."""
    processes: Annotated[int | None, INT] = None
    """How many there are (default likewise)."""
    process_id: Annotated[int | None, INT] = None
    """Which one this is, from 0 (default likewise)."""


AnyOptions = TypeVar("AnyOptions")
AnyConfig = TypeVar("AnyConfig", bound=Config)


def parse(
    config: type[AnyOptions],
    prog: str,
    args: Sequence[str] | None = None,
    default: AnyOptions | None = None,
) -> AnyOptions:
    """Reads a configuration from the command line.

    Args:
      config: a dataclass of options.
      prog: the program's name in the help text.
      args: the words of the command line; None: those of this process.
      default: what holds where nothing is given; None: the dataclass' own defaults.

    Returns:
      An instance of `config`. A mistake ends the program with code 2, after a message
      that names it and suggests the nearest option.

    Example:
      >>> from experiments.config import Config, parse
      >>> parse(Config, "mnist_lenet", ["--optimizer", "adam", "--no-prune"]).prune
      False
    """
    words = sys.argv[1:] if args is None else args
    prog = f"python -m experiments.{prog}"
    if default is None:
        return tyro.cli(config, prog=prog, args=words)
    return tyro.cli(config, prog=prog, args=words, default=default)


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
    check_ranges(config)
    check_together(config)
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
        sparsity_schedule=default(
            config.sparsity_schedule, None if config.sparsity is None else "cubic"
        ),
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
