"""Keys of the files of a run directory, which readers may rely on.

JSON has no NaN: where a training diverged, a number is null. A run with several random
seeds has a run directory per seed; its own files have the same keys and hold the means.
"""

from typing import Annotated, Any, NotRequired, TypedDict

Number = float | None
Pair = Annotated[list[Number], 2]  # one number per objective
Layers = dict[str, float]  # nonzero entries of each layer's kernel


class Config(TypedDict):
    """config.json: every option as resolved (those that readers need), and more."""

    experiment: str
    optimizer: str
    l1: Number
    l1_at_zero: float
    weights: Pair | None
    weigh_by: str | None
    normalize: str
    prune: bool
    threshold: float | None
    pruning: NotRequired[str | None]
    sparsity: NotRequired[Number]
    sparsity_schedule: NotRequired[str | None]
    epochs: int
    batch_size: int
    train_size: int | None
    seeds: int
    dataset_found: str
    dataset_title: str
    data_source: str
    sizes: dict[str, int]  # split -> number of images
    versions: dict[str, str | None]  # of packages, and the commit
    device: dict[str, Any]  # platform, kind, count; the processor, its cores


class FrontConfig(Config):
    """config.json of a front."""

    model: str
    search: str


class Row(TypedDict):
    """A line of metrics.jsonl: an epoch; epoch 0 is before training.

    Means over the epoch are `objectives` and `weights` (with --split per group of
    layers). Cross entropies are in nats, accuracies and sparsities from 0 to 1; train
    metrics are measured on at most 10,000 fixed images.
    """

    epoch: int
    step: int  # since the start of the run, as `seconds`
    seconds: float
    learning_rate: Number  # of the last step; null in epoch 0, as `weights`
    objectives: Pair
    weights: Pair | dict[str, Pair] | None
    stationarity: NotRequired[Number]  # 0 to 1, of the epoch's mean gradients
    train_accuracy: Number
    train_cross_entropy: Number
    validation_accuracy: Number
    validation_cross_entropy: Number
    test_accuracy: Number
    test_cross_entropy: Number
    l1: Number  # of the dense kernels
    nonzeros: Layers  # of the dense layers
    nonzeros_conv: NotRequired[Layers]
    dense_sparsity: Number
    conv_sparsity: NotRequired[Number]  # null without convolutions
    total_sparsity: Number
    # Several seeds: sample standard deviation of every number, by key.
    deviation: NotRequired[dict[str, Number]]


class Summary(TypedDict):
    """summary.json: the final figures, on test data unless their name says otherwise.

    `finished` is true once the run is complete.
    """

    dataset: str
    data_source: str
    optimizer: str
    seed: NotRequired[int]
    seeds: NotRequired[list[int]]
    epochs: int
    steps: int
    test_accuracy: Number
    test_cross_entropy: Number
    validation_accuracy: Number
    l1: Number
    nonzero_dense: float
    entries_dense: float
    nonzero_conv: float
    entries_conv: float
    nonzero_total: float
    entries_total: float
    dense_sparsity: Number
    conv_sparsity: Number
    total_sparsity: Number
    seconds_total: float
    seconds_compile: float
    steps_per_second: Number
    units: NotRequired[dict[str, float]]  # that are left, by layer: --pruning units
    multiply_adds: NotRequired[float]  # of these units, per image
    multiply_adds_unpruned: NotRequired[float]
    finished: bool
    deviation: NotRequired[dict[str, Number]]


class Final(TypedDict):
    """The final training of a front: a point, and whether it is non-dominated."""

    weights: Annotated[list[float], 2]
    objectives: Pair
    name: str
    level: int
    seed: int | None
    epochs: int | None
    seconds: Number
    nonzero_dense: Number
    nonzero_total: Number
    validation_accuracy: Number
    test_accuracy: Number
    test_cross_entropy: Number
    nondominated: bool


# Columns of front.csv: a point per line, its objectives and metrics by name.
POINT_METRICS = (
    "validation_accuracy",
    "test_accuracy",
    "test_cross_entropy",
    "nonzero_dense",
    "nonzero_total",
    "seed",
    "epochs",
    "seconds",
)
_PAIRS = ("weight_0", "weight_1", "objective_0", "objective_1")
POINT_COLUMNS = ("name", "level", *_PAIRS, *POINT_METRICS)


class FrontSummary(TypedDict):
    """summary.json of a front; with a final training also the keys of `Summary`."""

    search: str
    reason: str  # why the search ended
    points: int
    nondominated: int
    # Mean over the seeds, as a share of the box from the ideal point to `reference`.
    hypervolume: Number
    entries_dense: float
    reference: Annotated[list[float], 2]  # error, share of the dense weights
    knees: dict[str, str]  # criterion -> name of a point
    knee: str  # criterion of the final training
    final: Final | None
    seconds_search: Number
    seconds_total: NotRequired[float]
    finished: bool
