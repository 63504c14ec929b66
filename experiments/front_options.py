"""The options of a Pareto front: those of a training, and those of the search."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import jax.numpy as jnp
import tyro

from bopt import fronts
from bopt.models import VGG, LeNet5
from bopt.models.conv import Method
from experiments.cifar_vgg import VggConfig
from experiments.config import FLOAT, INT, STR, Config, default, epochs_on, resolve
from experiments.errors import ConfigError
from experiments.option_checks import BASELINES, check_at_least
from experiments.paper_runs import EPOCHS

Optimizer = Literal["adam", "rmsprop", "sgd", "madam", "mrmsprop"]


@dataclasses.dataclass(frozen=True)
class _Search:
    """What a front adds to the options of a training, and what it takes away."""

    # Weights are the search's business, not the user's.
    l1: tyro.conf.Suppress[float | None] = None
    weights: tyro.conf.Suppress[tuple[float, float] | None] = None
    normalize: tyro.conf.Suppress[Literal["none"]] = "none"
    weigh_by: tyro.conf.Suppress[None] = None
    split: tyro.conf.Suppress[bool] = False
    init_from: tyro.conf.Suppress[None] = None
    sparsity: tyro.conf.Suppress[None] = None  # all points would have the same
    sparsity_schedule: tyro.conf.Suppress[None] = None

    optimizer: Optimizer = "adam"
    """adam, rmsprop, sgd: on the weighted sum of the objectives; madam, mrmsprop: fixed
    weights on directions of each objective's own, as the original."""
    search: Literal["grid", "bisection", "dichotomic", "stochastic", "continuation"] = (
        "grid"
    )
    """How the weights are chosen: from a list; half way between neighbours; as normals
    of the segments between neighbours; likewise, at random where a normal repeats; by
    walking from one trained network to the next."""
    grid: Annotated[
        Literal["geometric", "original"] | None,
        tyro.conf.arg(metavar="{geometric,original}", help_behavior_hint=""),
    ] = None
    """The grid's list: geometric, from SMALLEST to LARGEST; or the original's 26
    weights (default original for madam and mrmsprop, else geometric)."""
    smallest: Annotated[float | None, FLOAT] = None
    """Smallest weight of the l1 norm but 0 (default 3e-5; 1e-3 for vgg)."""
    largest: Annotated[float | None, FLOAT] = None
    """Largest weight of the l1 norm (default 3e-3, for vgg 0.1); dichotomic searches,
    and madam and mrmsprop, end at the original's 0.1."""
    budget: Annotated[int | None, INT] = None
    """So many weights are tried, at most (default 20; 26 for the original's list)."""
    levels: int = 15
    """So many times a search goes on from what it has found, at most."""
    epochs: Annotated[int | None, INT] = None
    """Of each training (default a third of the experiment's own: 10 on MNIST)."""
    corrector_epochs: Annotated[int | None, INT] = None
    """Of a training that starts from a trained network, in a continuation (default a
    fifth of EPOCHS); its learning rate is a third."""
    final_epochs: Annotated[int | None, INT] = None
    """The knee is trained again for so many; 0: not at all (default the experiment's
    own number: 30 on MNIST)."""
    knee: Literal["weight_jump", "chord", "angle", "hypervolume"] = "chord"
    """Whose knee that is: see bopt.fronts."""
    seeds: int = 1
    """Train each of the weights with so many seeds, from SEED on; the search sees their
    means."""
    parallel: Annotated[int | None, INT] = None
    """Networks trained as one program (default one a CPU device; on accelerators as
    many as there are, or fit in memory)."""
    save: Literal["knee", "front", "all"] = "knee"
    """Whose parameters are kept in networks/: the knees', the non-dominated points',
    or all."""
    compare: Annotated[str | None, STR] = None
    """A CSV file with the columns test_accuracy and nonzero_dense: points to compare
    the front with."""


@dataclasses.dataclass(frozen=True)
class LenetFront(_Search, Config):
    """Traces the Pareto front of cross entropy and the l1 norm of the dense weights by
    a series of trainings of LeNet-5 (--model vgg: VGG; see --model vgg --help), and
    trains its knee again in full."""

    EPOCHS: ClassVar[Mapping[str, int]] = EPOCHS["pareto_front", "lenet5"]
    FINAL_EPOCHS: ClassVar[Mapping[str, int]] = Config.EPOCHS
    RANGE: ClassVar[tuple[float, float]] = (3e-5, 3e-3)

    model: Literal["lenet5", "vgg"] = "lenet5"
    """The network, with its experiment's defaults."""

    def module(self, method: Method = "auto") -> Any:
        """The network, convolving by a method of `bopt.models.Conv`."""
        return LeNet5(method=method)


@dataclasses.dataclass(frozen=True)
class VggFront(_Search, VggConfig):
    """Traces the Pareto front of cross entropy and the l1 norm of the dense weights by
    a series of trainings of VGG, and trains its knee again in full."""

    EPOCHS: ClassVar = EPOCHS["pareto_front", "vgg"]
    FINAL_EPOCHS: ClassVar[Mapping[str, int]] = VggConfig.EPOCHS
    RANGE: ClassVar[tuple[float, float]] = (1e-3, 0.1)

    model: Literal["lenet5", "vgg"] = "vgg"
    """The network, with its experiment's defaults."""

    def module(self, method: Method = "auto") -> Any:
        """The network, convolving by a method of `bopt.models.Conv`."""
        return VGG(dtype=jnp.dtype(self.dtype), method=method)


FrontConfig = LenetFront | VggFront


def resolve_front(config: FrontConfig, dataset: str) -> FrontConfig:
    """Fills in the defaults that depend on other options, and checks them together.

    Args:
      config: the options as given.
      dataset: the name of the data set that was found.

    Returns:
      A configuration in which only `resume`, `compare`, `parallel`, what
      `experiments.config.resolve` leaves open, and the suppressed options are None.

    Raises:
      ConfigError: an option out of range, or a search that the optimizer cannot do.

    Example:
      >>> from experiments.front_options import LenetFront, resolve_front
      >>> resolve_front(LenetFront(), "mnist").epochs
      10
    """
    at_least = {
        "budget": 2,
        "levels": 0,
        "corrector_epochs": 0,
        "final_epochs": 0,
        "parallel": 1,
    }
    check_at_least(config, at_least)
    of_sum = config.optimizer in BASELINES
    in_units = ("dichotomic", "stochastic", "continuation")
    if config.search in in_units and not of_sum:
        raise ConfigError(
            f"--search {config.search} takes its weights in units of the objectives, "
            f"which are not those of --optimizer {config.optimizer}. Choose --search "
            f"grid or bisection, or --optimizer {', '.join(BASELINES)}."
        )
    smallest = default(config.smallest, config.RANGE[0])
    largest = default(config.largest, config.RANGE[1])
    if not 0 < smallest < largest < 1:
        raise ConfigError(
            f"--smallest is {smallest}, --largest {largest}; expected 0 < SMALLEST < "
            "LARGEST < 1."
        )
    grid = default(config.grid, "geometric" if of_sum else "original")
    original = config.search == "grid" and grid == "original"
    budget = len(fronts.ORIGINAL_WEIGHTS) if original else 20
    final_epochs = epochs_on(dataset, config.FINAL_EPOCHS, config)
    resolved = resolve(config, dataset)
    assert resolved.epochs is not None
    return dataclasses.replace(
        resolved,
        l1=None,
        weigh_by=None,
        weights=None,
        smallest=smallest,
        largest=largest,
        grid=grid,
        budget=default(config.budget, budget),
        corrector_epochs=default(
            config.corrector_epochs, math.ceil(resolved.epochs / 5)
        ),
        final_epochs=default(config.final_epochs, final_epochs),
    )


def make_search(config: FrontConfig) -> fronts.Search:
    """The search that the options ask for.

    Args:
      config: resolved options.

    Returns:
      A search, see `bopt.fronts`.

    Example:
      >>> import jax
      >>> from bopt.fronts import Front
      >>> from experiments.front_options import LenetFront, make_search, resolve_front
      >>> search = make_search(resolve_front(LenetFront(search="dichotomic"), "mnist"))
      >>> search(Front(), jax.random.key(0)).weights
      ((1.0, 0.0), (0.9, 0.1))
    """
    smallest, largest = config.smallest, config.largest
    assert smallest is not None and largest is not None and config.budget is not None
    of_sum = config.optimizer in BASELINES
    match config.search:
        case "grid" if config.grid == "original":
            return fronts.grid(fronts.ORIGINAL_WEIGHTS)
        case "grid":
            return fronts.grid(fronts.geometric(config.budget, smallest, largest))
        case "bisection" if of_sum:
            ends = ((1.0, 0.0), (1 - largest, largest))
            return fronts.bisection(ends, smallest=smallest)
        case "bisection":
            return fronts.bisection(((1.0, 0.0), (0.9, 0.1)), spacing="arithmetic")
        case "dichotomic":
            return fronts.dichotomic()
        case "continuation":
            start = smallest**0.65 * largest**0.35  # 1.5e-4 between 3e-5 and 3e-3
            return fronts.continuation(config.budget, start, smallest, largest)
    return fronts.stochastic_dichotomic(smallest=smallest)
