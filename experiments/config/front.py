"""Options of a Pareto front."""

import dataclasses
from typing import Annotated, ClassVar, Literal

from experiments.config import options
from experiments.config.command_line import flat, from_flat
from experiments.config.options import DEPENDS, Config, VggConfig
from experiments.paper_runs import EPOCHS


@dataclasses.dataclass(frozen=True)
class FrontOptimizer(options.Optimizer):
    """Optimizer and learning rate."""

    #: adam, rmsprop and sgd minimize the weighted sum of the objectives; madam and
    #: mrmsprop apply fixed weights to the objectives' own directions.
    optimizer: Literal["adam", "rmsprop", "sgd", "madam", "mrmsprop"] = "adam"
    #: Number of epochs of each training (default a third of the network's own
    #: number: 10 on MNIST).
    epochs: Annotated[int | None, DEPENDS] = None


@dataclasses.dataclass(frozen=True)
class Search:
    """Search for the weights of the next trainings."""

    #: Choice of the weights: a list; midpoints between neighbors; normals of the
    #: segments between neighbors; the same with random weights, or with midpoints,
    #: where a normal fails; steps from one trained network to the next.
    search: Literal[
        "grid",
        "bisection",
        "dichotomic",
        "stochastic",
        "bisection_dichotomic",
        "continuation",
    ] = "grid"
    #: Search exactly as the released code: its lists, its ends and its random weights
    #: (grid, bisection, dichotomic, stochastic).
    released: bool = False
    #: Maximum number of weights to train (default 20; 26 for the original list). The
    #: last level is trained where the gaps between the weights are widest.
    budget: Annotated[int | None, DEPENDS] = None
    #: Let the last level finish, beyond BUDGET, as the released code does (always with
    #: --released).
    finish_level: bool = False
    #: List of a grid search: geometric, from SMALLEST to LARGEST, or the 26 of the
    #: paper's code (default original for madam, mrmsprop and --released, else
    #: geometric).
    grid: Annotated[Literal["geometric", "original"] | None, DEPENDS] = None
    #: Smallest positive weight of the l1 norm (default 3e-5; 1e-3 for VGG), or smallest
    #: share of weights left (default 0.003).
    smallest: Annotated[float | None, DEPENDS] = None
    #: Largest weight of the l1 norm (default 3e-3; 0.1 for VGG), or largest share of
    #: weights left (default 0.2). Dichotomic searches, madam and mrmsprop end at 0.1,
    #: as in the paper's code.
    largest: Annotated[float | None, DEPENDS] = None
    #: Maximum number of times a search proposes further weights.
    levels: int = 15
    #: Number of epochs of a continuation's warm-started trainings, at 0.3 of the
    #: learning rate (default a fifth of EPOCHS).
    corrector_epochs: Annotated[int | None, DEPENDS] = None
    #: Number of epochs of the knee's final training; 0 for none (default the network's
    #: own: 30 on MNIST).
    final_epochs: Annotated[int | None, DEPENDS] = None
    #: Criterion that selects the knee, see bopt.fronts.
    knee: Literal[
        "weight_jump", "chord", "angle", "hypervolume", "description_length"
    ] = "chord"
    #: Number of networks trained as one program (default one per CPU device; on
    #: accelerators as many as needed, if they fit in memory).
    parallel: Annotated[int | None, DEPENDS] = None
    #: Parameters kept in networks/: those of the knees, of the non-dominated points, or
    #: all.
    save: Literal["knee", "front", "all"] = "knee"
    #: CSV file with the columns test_accuracy and nonzero_dense: networks to draw
    #: beside the front.
    compare: Annotated[str | None, DEPENDS] = None
    #: Network to train: lenet5 or vgg, with its own defaults (see --model vgg --help);
    #: or your own, MODULE:NAME of a Flax module, linen or nnx, called with classes= if
    #: it takes it.
    model: str = "lenet5"


@dataclasses.dataclass(frozen=True)
class FrontConfig:
    """Trace the Pareto front of cross entropy and the l1 norm of the dense weights.

    The options to start with: --dataset, --data-dir, --model, --optimizer,
    --search, --budget, --epochs, --seeds, --out, --resume.
    """

    TRAINING: ClassVar[type[Config]] = Config
    EPOCHS: ClassVar = EPOCHS["pareto_front", "lenet5"]
    RANGE: ClassVar[tuple[float, float]] = (3e-5, 3e-3)
    LEFT: ClassVar[tuple[float, float]] = (0.003, 0.2)  # shares of the weights

    data: options.Data = options.Data()
    objectives: options.FrontObjectives = options.FrontObjectives()
    optimizer: FrontOptimizer = FrontOptimizer()
    pruning: options.FrontPruning = options.FrontPruning()
    search: Search = Search()
    run: options.FrontRun = options.FrontRun()
    devices: options.Devices = options.Devices()

    def training(self) -> Config:
        """Return the options of each training of the search."""
        own = vars(self.search)
        shared = {name: v for name, v in flat(self).items() if name not in own}
        return from_flat(self.TRAINING, shared)


@dataclasses.dataclass(frozen=True)
class VggFront(FrontConfig):
    """Trace the Pareto front of a VGG: cross entropy and the dense weights' l1 norm.

    The options to start with: --dataset, --data-dir, --model, --optimizer,
    --search, --budget, --epochs, --seeds, --out, --resume.
    """

    TRAINING: ClassVar[type[Config]] = VggConfig
    EPOCHS: ClassVar = EPOCHS["pareto_front", "vgg"]
    RANGE: ClassVar[tuple[float, float]] = (1e-3, 0.1)

    data: options.VggData = options.VggData(standardize=True)
    objectives: options.FrontObjectives = options.FrontObjectives(conv_l2=1e-6)
    optimizer: FrontOptimizer = FrontOptimizer(batch_size=64)
    search: Search = Search(model="vgg")
    devices: options.VggDevices = options.VggDevices()
