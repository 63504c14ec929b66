"""Options of a training, in small groups.

Each part of a program gets its own group. Comments that begin with "#:" are the help
texts; tyro begins a paragraph at a line of them that does not begin with a letter.
"""

import dataclasses
from typing import Annotated, ClassVar, Literal, TypeVar

import tyro

from experiments.paper_runs import EPOCHS

# For options whose default, if any, is in the help text: it depends on others.
DEPENDS = tyro.conf.arg(help_behavior_hint="")
SOURCE = tyro.conf.arg(metavar="NAME|PATH")
PAIR = tyro.conf.arg(help_behavior_hint="", metavar="W0 W1")

MULTI_GRADIENT = ("smgd", "madam", "mrmsprop")
BASELINES = ("sgd", "adam", "rmsprop")
# Options that only some optimizers take.
TAKERS = {
    "l1": BASELINES,
    "weights": MULTI_GRADIENT,
    "normalize": MULTI_GRADIENT,
    "weigh_by": ("madam", "mrmsprop"),
    "split": MULTI_GRADIENT,
    "split_loss": MULTI_GRADIENT,
    "momentum": ("smgd", "sgd"),
    "nesterov": ("smgd", "sgd"),
    "amsgrad": ("madam", "adam"),
}


@dataclasses.dataclass(frozen=True)
class Data:
    """Images to train on."""

    #: auto (MNIST, or scikit-learn's handwritten digits if it is unavailable), mnist,
    #: fashion_mnist, kmnist, cifar10 or digits; your own: the path of a .npz file, or
    #: of a folder of IDX files (MNIST's format) or of CIFAR-10's binary files; or
    #: tfds:NAME, which TFDS has prepared.
    dataset: Annotated[str, SOURCE] = "auto"
    #: Folder that may hold the original files of the dataset.
    data_dir: str = "data"
    #: Number of training images to use, from the first (default all).
    train_size: Annotated[int | None, DEPENDS] = None
    #: Subtract the training images' mean and divide by their standard deviation,
    #: instead of scaling to the range 0 to 1.
    standardize: bool = False
    augment: tyro.conf.Suppress[bool] = False


@dataclasses.dataclass(frozen=True)
class VggData(Data):
    """Images to train VGG on."""

    #: auto (CIFAR-10, or scikit-learn's handwritten digits if it is unavailable),
    #: cifar10, mnist, fashion_mnist, kmnist or digits; your own: the path of a .npz
    #: file, or of a folder of IDX files (MNIST's format) or of CIFAR-10's binary files;
    #: or tfds:NAME, which TFDS has prepared.
    dataset: Annotated[str, SOURCE] = "auto"
    #: Crop each training image at random (4 pixels of padding) and mirror half of them.
    augment: bool = False


@dataclasses.dataclass(frozen=True)
class TextData(Data):
    """Text to train on."""

    #: The reference manual that Python itself carries.
    dataset: Annotated[str, tyro.conf.arg(metavar="python_docs")] = "python_docs"
    data_dir: tyro.conf.Suppress[str] = "data"
    standardize: tyro.conf.Suppress[bool] = False


@dataclasses.dataclass(frozen=True)
class Network:
    """Network to train."""

    #: Your own network, MODULE:NAME of a Flax module, linen or nnx, instead of the
    #: program's; called with classes= if it takes it.
    model: Annotated[str | None, DEPENDS] = None


@dataclasses.dataclass(frozen=True)
class FrontObjectives:
    """The two objectives."""

    #: Coefficient of objective 1 for sgd, adam and rmsprop where a front is one of
    #: numbers of weights (default 3e-4; 0.03 for VGG).
    l1: Annotated[float | None, DEPENDS] = None
    #: Objective 1: the l1 norm, or the sum of 0.1 log(1 + 10 |w|), whose slope is 1 at
    #: 0, too, but hardly shrinks large weights.
    complexity: Literal["l1", "log"] = "l1"
    #: Kernels that objective 1 sums over: dense, or dense and convolution.
    l1_where: Literal["dense", "all"] = "dense"
    #: Derivative of the absolute value at 0, from -1 to 1: 0 as in the paper's code;
    #: 1 keeps the norm of the l1 gradient constant while weights are pruned.
    l1_at_zero: float = 1.0
    #: Coefficient of the squared l2 norm of the convolution kernels in objective 0.
    conv_l2: float = 1e-4
    #: Add the convolutions' l2 penalty to objective 1, too, as the released code does.
    conv_l2_both: bool = False


@dataclasses.dataclass(frozen=True)
class Objectives(FrontObjectives):
    """The two objectives and their balance."""

    #: L1 norm's coefficient for sgd, adam and rmsprop (default 3e-4; 0.03 for VGG).
    l1: Annotated[float | None, DEPENDS] = None
    #: Fixed weights of the two objectives for smgd, madam and mrmsprop, instead of
    #: min-norm weights (default for VGG with madam or mrmsprop: 0.9 0.1,
    #: unless --weigh-by, --normalize or --split is given).
    weights: Annotated[tuple[float, float] | None, PAIR] = None
    #: Divisor of the gradients before the min-norm weights are computed: none, their
    #: norms, the objective values, or both.
    normalize: Literal["none", "l2", "loss", "loss+"] = "none"
    #: Source of madam's and mrmsprop's min-norm weights: the raw gradients, as in the
    #: paper, or the directions that are applied (default gradients; directions for
    #: VGG).
    weigh_by: Annotated[Literal["gradients", "directions"] | None, DEPENDS] = None
    #: Compute separate weights for the dense layers and for all other layers, and add
    #: the squared l2 norm of the convolution kernels to objective 1.
    split: bool = False
    #: Gradient of objective 0 in the weights of --split: each group's own part, or the
    #: whole, as in the released code, whose l2 norm is that of all parameters outside
    #: of the dense layers (default group).
    split_loss: Annotated[Literal["group", "whole"] | None, DEPENDS] = None


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Optimizer and learning rate."""

    #: smgd, madam and mrmsprop weigh the two gradients at every step; sgd, adam and
    #: rmsprop minimize the sum cross entropy + L1 * l1 norm.
    optimizer: Literal["smgd", "madam", "mrmsprop", "sgd", "adam", "rmsprop"] = "madam"
    #: Initial learning rate (default 1e-2 for smgd and sgd, 3e-3 for madam and adam
    #: with hold_cosine, 1e-3 otherwise).
    learning_rate: Annotated[float | None, DEPENDS] = None
    #: Number of passes over the training images (default 30 for LeNet-5, 125 for VGG;
    #: on the digits 100 and 20).
    epochs: Annotated[int | None, DEPENDS] = None
    #: Number of images per step.
    batch_size: int = 32
    #: Momentum of smgd and sgd (default 0.9).
    momentum: Annotated[float | None, DEPENDS] = None
    #: Use Nesterov momentum (smgd, sgd).
    nesterov: bool = False
    #: Use AMSGrad's maximum of second moments (madam, adam).
    amsgrad: bool = False
    #: Decoupled weight decay: each step multiplies the kernels that L1_WHERE selects by
    #: 1 - learning rate * WEIGHT_DECAY.
    weight_decay: float = 0.0
    #: Time decay: the learning rate is divided by 1 + DECAY * step (default learning
    #: rate / epochs for smgd and sgd, 0 otherwise).
    decay: Annotated[float | None, DEPENDS] = None
    #: Learning rate schedule: logistic decays to a tenth over the epochs; hold_cosine
    #: is constant for half of the steps, then decays to 0 along a cosine (default
    #: hold_cosine; logistic for VGG).
    schedule: Annotated[
        Literal["logistic", "constant", "hold_cosine"] | None, DEPENDS
    ] = None
    #: Momentum and Adam as Optax computes them, or as Keras 2 does: the learning rate
    #: inside the momentum, Adam's epsilon of 1e-7 before bias correction.
    update_rule: Literal["optax", "keras"] = "optax"


@dataclasses.dataclass(frozen=True)
class FrontPruning:
    """Pruning during training."""

    #: Weights to prune: those of a magnitude up to THRESHOLD; or all but a number of
    #: them, by magnitude or saliency, which differs between the points of the front
    #: instead of the weight of objective 1.
    pruning: Literal["threshold", "magnitude", "saliency"] | None = "threshold"
    #: Prune after every step.
    prune: bool = True
    #: Largest magnitude that is set to 0 (default 1e-3).
    threshold: Annotated[float | None, DEPENDS] = None
    #: Parameters to prune: dense kernels, convolution kernels, both, or kernels and
    #: biases of the dense layers.
    prune_where: Literal["dense", "conv", "all", "dense_layers"] = "dense"
    #: Prune the initial parameters, too, by THRESHOLD.
    prune_initial: bool = False
    #: Allow pruned weights to come back.
    regrow: bool = True


@dataclasses.dataclass(frozen=True)
class Pruning(FrontPruning):
    """Pruning during training."""

    #: Weights to prune: those of a magnitude up to THRESHOLD; as many as SPARSITY says,
    #: of the smallest magnitude, or of the smallest saliency |w| * (mean squared
    #: gradient)^(1/4); those of less evidence in the data than a parameter costs; or
    #: whole units, neurons and channels, down to BUDGET (default saliency, or threshold
    #: with --threshold; for VGG threshold, or saliency with --sparsity; units with
    #: --budget).
    pruning: Annotated[
        Literal["threshold", "magnitude", "saliency", "evidence", "units"] | None,
        DEPENDS,
    ] = None
    #: Share of zeros (0 to 1) of magnitude and saliency pruning (default 0.98; 0.9 for
    #: the transformer).
    sparsity: Annotated[float | None, DEPENDS] = None
    #: Schedule that reaches SPARSITY: cubic, gradually over three quarters of the steps
    #: (over 0.6 of them by saliency); once, in the middle of the training (default
    #: cubic).
    sparsity_schedule: Annotated[Literal["cubic", "once"] | None, DEPENDS] = None
    #: Share of the multiply-adds (0 to 1) that pruning of units leaves, gradually over
    #: 0.6 of the steps (default 0.2).
    budget: Annotated[float | None, DEPENDS] = None
    #: Keep numbers of units that are multiples of this, where a layer is wide enough.
    multiple_of: int = 1
    #: Widths of the convolutions and hidden dense layers, instead of the network's own:
    #: 6 16 120 84 for LeNet-5; one number for each convolution of a VGG.
    widths: Annotated[tuple[int, ...] | None, DEPENDS] = None


@dataclasses.dataclass(frozen=True)
class FrontRun:
    """Run directory, random seeds and checkpoints."""

    #: Take the defaults of the released code of arXiv 2008.13590, see
    #: docs/differences.md.
    published: bool = False

    #: Run directory; it must not hold a run (default runs/PROGRAM-TIME).
    out: Annotated[str | None, DEPENDS] = None
    #: Resume the run in this directory with the options stored there. Only options that
    #: do not change the result may be added.
    resume: Annotated[str | None, DEPENDS] = None
    #: Random seed for initialization, shuffling, augmentation and dropout.
    seed: int = 0
    #: Number of seeds to train as one program, from SEED on.
    seeds: int = 1
    #: Draw the figures.
    figures: bool = True
    #: Number of epochs between checkpoints; the last two and the best on validation
    #: data are kept.
    checkpoint_every: int = 1
    #: Keep compiled programs in the user's cache folder (or in
    #: JAX_COMPILATION_CACHE_DIR), so that the next run starts faster.
    compilation_cache: bool = True


@dataclasses.dataclass(frozen=True)
class Run(FrontRun):
    """Run directory, random seeds and checkpoints."""

    #: Start from the parameters and masks of the finished run in this directory.
    init_from: Annotated[str | None, DEPENDS] = None


@dataclasses.dataclass(frozen=True)
class Devices:
    """Devices and processes."""

    #: Number of devices to split each batch across.
    devices: int | Literal["all"] = 1
    #: Train with several processes, each started with the same options; all must see
    #: the folder OUT.
    distributed: bool = False
    #: HOST:PORT of process 0 (default: from the cluster's environment).
    coordinator: Annotated[str | None, DEPENDS] = None
    #: Number of processes (default: from the cluster's environment).
    processes: Annotated[int | None, DEPENDS] = None
    #: Number of this process, from 0 (default: from the cluster's environment).
    process_id: Annotated[int | None, DEPENDS] = None
    dtype: tyro.conf.Suppress[Literal["float32", "bfloat16"]] = "float32"


@dataclasses.dataclass(frozen=True)
class VggDevices(Devices):
    """Devices, processes and precision."""

    #: Data type of the network's computations; parameters, gradients and statistics
    #: stay float32.
    dtype: Literal["float32", "bfloat16"] = "float32"


@dataclasses.dataclass(frozen=True)
class Config:
    """Train and prune LeNet-5 on cross entropy and the l1 norm of its dense weights.

    The options to start with: --dataset, --data-dir, --optimizer, --l1,
    --learning-rate, --epochs, --sparsity, --seed, --out, --resume.
    """

    PREFERRED: ClassVar[str] = "mnist"  # first choice of --dataset auto
    EPOCHS: ClassVar = EPOCHS["mnist_lenet", None]
    L1: ClassVar[float] = 3e-4
    WEIGHTS: ClassVar[tuple[float, float] | None] = None  # madam's and mrmsprop's
    WEIGH_BY: ClassVar[str] = "gradients"
    SCHEDULE: ClassVar[str] = "hold_cosine"
    PRUNING: ClassVar[str] = "saliency"
    SPARSITY: ClassVar[float] = 0.98

    network: Network = Network()
    data: Data = Data()
    objectives: Objectives = Objectives()
    optimizer: Optimizer = Optimizer()
    pruning: Pruning = Pruning()
    run: Run = Run()
    devices: Devices = Devices()


@dataclasses.dataclass(frozen=True)
class VggConfig(Config):
    """Train and prune a VGG on cross entropy and the l1 norm of its dense weights.

    The options to start with: --dataset, --data-dir, --optimizer, --l1,
    --learning-rate, --epochs, --threshold, --seed, --out, --resume.
    """

    PREFERRED: ClassVar[str] = "cifar10"
    EPOCHS: ClassVar = EPOCHS["cifar_vgg", None]
    L1: ClassVar[float] = 0.03
    WEIGHTS: ClassVar[tuple[float, float] | None] = (0.9, 0.1)
    WEIGH_BY: ClassVar[str] = "directions"
    SCHEDULE: ClassVar[str] = "logistic"
    PRUNING: ClassVar[str] = "threshold"

    data: VggData = VggData(standardize=True)
    objectives: Objectives = Objectives(conv_l2=1e-6)
    optimizer: Optimizer = Optimizer("mrmsprop", batch_size=64)
    devices: VggDevices = VggDevices()


@dataclasses.dataclass(frozen=True)
class TextConfig(Config):
    """Train and prune a transformer on cross entropy and the l1 norm of its kernels.

    The options to start with: --optimizer, --l1, --learning-rate, --epochs, --pruning,
    --sparsity, --seed, --out, --resume.
    """

    PREFERRED: ClassVar[str] = "python_docs"
    EPOCHS: ClassVar = EPOCHS["text_transformer", None]
    SPARSITY: ClassVar[float] = 0.9

    data: TextData = TextData()
    objectives: Objectives = Objectives(conv_l2=0.0)
    optimizer: Optimizer = Optimizer(batch_size=16)


AnyConfig = TypeVar("AnyConfig", bound=Config)
