"""Options of a Pareto front."""

import dataclasses
from typing import Annotated, ClassVar, Literal

import tyro

from experiments.config.command_line import flat, from_flat
from experiments.config.options import (
    FLOAT,
    INT,
    STR,
    Config,
    Data,
    Devices,
    FrontObjectives,
    FrontPruning,
    FrontRun,
    Optimizer,
    VggConfig,
    VggData,
    VggDevices,
)
from experiments.paper_runs import EPOCHS


@dataclasses.dataclass(frozen=True)
class FrontOptimizer(Optimizer):
    """Optimizer and learning rate.

    Attributes:
      optimizer: adam, rmsprop and sgd minimize the weighted sum of the objectives;
        madam and mrmsprop apply fixed weights to the objectives' own directions, as the
        original.
      epochs: Number of epochs of each training (default a third of the network's own
        number: 10 on MNIST).
    """

    optimizer: Literal["adam", "rmsprop", "sgd", "madam", "mrmsprop"] = "adam"
    epochs: Annotated[int | None, INT] = None


@dataclasses.dataclass(frozen=True)
class Search:
    """Search for the weights of the next trainings.

    Attributes:
      search: Choice of the weights: a list; midpoints between neighbors; normals of the
        segments between neighbors; the same with random weights where a normal repeats;
        steps from one trained network to the next.
      budget: Maximum number of weights to train (default 20; 26 for the original list).
      grid: List of a grid search: geometric, from SMALLEST to LARGEST, or the
        original's 26 weights (default original for madam and mrmsprop, geometric
        otherwise).
      smallest: Smallest positive weight of the l1 norm (default 3e-5; 1e-3 for VGG).
      largest: Largest weight of the l1 norm (default 3e-3; 0.1 for VGG). Dichotomic
        searches, madam and mrmsprop end at the original's 0.1.
      levels: Maximum number of times a search proposes further weights.
      corrector_epochs: Number of epochs of a continuation's warm-started trainings,
        at 0.3 of the learning rate (default a fifth of EPOCHS).
      final_epochs: Number of epochs of the knee's final training; 0 for none (default
        the network's own number: 30 on MNIST).
      knee: Criterion that selects the knee, see bopt.fronts.
      parallel: Number of networks trained as one program (default one per CPU device;
        on accelerators as many as needed, if they fit in memory).
      save: Parameters kept in networks/: those of the knees, of the non-dominated
        points, or all.
      compare: CSV file with the columns test_accuracy and nonzero_dense: networks to
        draw beside the front.
      model: Network to train, with its own defaults (see --model vgg --help).
    """

    search: Literal["grid", "bisection", "dichotomic", "stochastic", "continuation"] = (
        "grid"
    )
    budget: Annotated[int | None, INT] = None
    grid: Annotated[
        Literal["geometric", "original"] | None,
        tyro.conf.arg(metavar="{geometric,original}", help_behavior_hint=""),
    ] = None
    smallest: Annotated[float | None, FLOAT] = None
    largest: Annotated[float | None, FLOAT] = None
    levels: int = 15
    corrector_epochs: Annotated[int | None, INT] = None
    final_epochs: Annotated[int | None, INT] = None
    knee: Literal["weight_jump", "chord", "angle", "hypervolume"] = "chord"
    parallel: Annotated[int | None, INT] = None
    save: Literal["knee", "front", "all"] = "knee"
    compare: Annotated[str | None, STR] = None
    model: Literal["lenet5", "vgg"] = "lenet5"


@dataclasses.dataclass(frozen=True)
class FrontConfig:
    """Trace the Pareto front of cross entropy and the l1 norm of the dense weights.

    The options to start with: --dataset, --data-dir, --model, --optimizer,
    --search, --budget, --epochs, --seeds, --out, --resume.
    """

    TRAINING: ClassVar[type[Config]] = Config
    EPOCHS: ClassVar = EPOCHS["pareto_front", "lenet5"]
    RANGE: ClassVar[tuple[float, float]] = (3e-5, 3e-3)

    data: Data = Data()
    objectives: FrontObjectives = FrontObjectives()
    optimizer: FrontOptimizer = FrontOptimizer()
    pruning: FrontPruning = FrontPruning()
    search: Search = Search()
    run: FrontRun = FrontRun()
    devices: Devices = Devices()

    def training(self) -> Config:
        """Return the options of each training of the search."""
        return from_flat(self.TRAINING, flat(self))


@dataclasses.dataclass(frozen=True)
class VggFront(FrontConfig):
    """Trace the Pareto front of a VGG: cross entropy and the dense weights' l1 norm.

    The options to start with: --dataset, --data-dir, --model, --optimizer,
    --search, --budget, --epochs, --seeds, --out, --resume.
    """

    TRAINING: ClassVar[type[Config]] = VggConfig
    EPOCHS: ClassVar = EPOCHS["pareto_front", "vgg"]
    RANGE: ClassVar[tuple[float, float]] = (1e-3, 0.1)

    data: VggData = VggData()
    objectives: FrontObjectives = FrontObjectives(conv_l2=1e-6)
    optimizer: FrontOptimizer = FrontOptimizer(batch_size=64)
    search: Search = Search(model="vgg")
    devices: VggDevices = VggDevices()
