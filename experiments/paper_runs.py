"""The runs of the results page, and default numbers of epochs: plain data.

`experiments.reproduce` starts them, `experiments.report` makes a page of results.
"""

from typing import NamedTuple

# (program, model of a front) -> dataset -> epochs of its defaults.
EPOCHS: dict[tuple[str, str | None], dict[str, int]] = {
    ("mnist_lenet", None): {"mnist": 30, "digits": 100},
    ("cifar_vgg", None): {"cifar10": 125, "digits": 20},
    ("text_transformer", None): {"python_docs": 10},
    ("pareto_front", "lenet5"): {"mnist": 10, "digits": 33},
    ("pareto_front", "vgg"): {"cifar10": 41, "digits": 6},
}


class Part(NamedTuple):
    """One program, run with several sets of options."""

    program: str
    epochs: dict[str, int]  # of each training by dataset, unless --epochs is given
    words: str  # options of all its runs
    smoke: str  # the same for a quick look at the digits
    runs: dict[str, str]  # name of a run -> its options


def _optimizers(*names: str, prune: bool = True) -> dict[str, str]:
    ending, more = ("", "--pruning threshold") if prune else ("-unpruned", "--no-prune")
    own = {"madam": " --weigh-by directions"}
    return {
        name + ending: f"--optimizer {name}{own.get(name, '')} {more}" for name in names
    }


_OF_DIRECTIONS = ("grid", "bisection", "dichotomic", "stochastic")


def _published(option: str, *names: str) -> dict[str, str]:
    return {f"published-{name}": f"--{option} {name}" for name in names}


_SEARCHES = (*_OF_DIRECTIONS, "bisection_dichotomic", "continuation")
# Magnitude pruning alone.
_TO_98 = "--optimizer adam --l1 0 --pruning magnitude --sparsity 0.98"
# The paper's choice of weights, and of the derivative of the l1 norm at 0.
_GRADIENTS = "--optimizer madam --weigh-by gradients --l1-at-zero 0"
_WEIGHED = {
    "madam": "--optimizer madam --weigh-by directions",
    "madam-gradients": "--optimizer madam --weigh-by gradients",
    "smgd": "--optimizer smgd",
}
_LOG = "--optimizer adam --l1 1e-4 --complexity log"
_DECAYED = f"{_LOG} --weight-decay 0.03"
_ALL = "--l1-where all --prune-where all"  # of convolutions, too
PARTS = {
    "mnist": Part(
        "mnist_lenet",
        EPOCHS["mnist_lenet", None],
        "--dataset mnist --no-figures --schedule logistic",
        "--dataset digits --no-figures --schedule logistic --train-size 320 --epochs 3",
        {
            **_optimizers("sgd", "adam", "smgd", "madam"),
            "cubic": f"{_TO_98} --sparsity-schedule cubic",
            "once": f"{_TO_98} --sparsity-schedule once",
            "madam-gradients": f"{_GRADIENTS} --pruning threshold",
            **_optimizers("sgd", "adam", "smgd", "madam", prune=False),
            "madam-gradients-unpruned": f"{_GRADIENTS} --no-prune",
            "adam-plain": "--optimizer adam --l1 0 --no-prune",
        },
    ),
    "sparse": Part(
        "mnist_lenet",
        EPOCHS["mnist_lenet", None],
        "--dataset mnist --no-figures",
        "--dataset digits --no-figures --train-size 320 --epochs 3",
        {
            "default": "",
            "madam-evidence": "--pruning evidence",
            "saliency": f"{_LOG} --pruning saliency",
            "saliency-decay": f"{_DECAYED} --pruning saliency",
            "saliency-decay-400": f"{_DECAYED} --pruning saliency --sparsity 0.99322",
            "saliency-all": f"{_DECAYED} --pruning saliency {_ALL}",
            "evidence": f"{_LOG} --pruning evidence",
            "evidence-decay": f"{_DECAYED} --pruning evidence",
            "held": "--optimizer adam --pruning threshold",
        },
    ),
    "cifar": Part(
        "cifar_vgg",
        EPOCHS["cifar_vgg", None],
        "--dataset cifar10 --no-figures",
        "--dataset digits --no-figures --train-size 128 --epochs 1",
        {
            **_optimizers("sgd", "rmsprop", "smgd", "mrmsprop"),
            **_optimizers("sgd", "rmsprop", "smgd", "mrmsprop", prune=False),
            # Weights of least norm, rather than the default's fixed ones.
            "mrmsprop-directions": "--optimizer mrmsprop --weigh-by directions",
            "mrmsprop-gradients": "--optimizer mrmsprop --weigh-by gradients "
            "--l1-at-zero 0",
        },
    ),
    "sparse-cifar": Part(
        "cifar_vgg",
        EPOCHS["cifar_vgg", None],
        "--dataset cifar10 --no-figures",
        "--dataset digits --no-figures --train-size 128 --epochs 1",
        {
            "adam-unpruned": "--optimizer adam --l1 0 --no-prune",
            "saliency": f"{_LOG} --pruning saliency",
            "saliency-all": f"{_LOG} --pruning saliency --sparsity 0.9 {_ALL}",
        },
    ),
    "text": Part(
        "text_transformer",
        EPOCHS["text_transformer", None],
        "--no-figures",
        "--no-figures --train-size 320 --epochs 1",
        {
            "default": "",
            "saliency": f"{_LOG} --pruning saliency",
            "magnitude": "--optimizer adam --l1 0 --pruning magnitude",
            "unpruned": "--optimizer adam --l1 0 --no-prune",
        },
    ),
    "published": Part(
        "mnist_lenet",
        EPOCHS["mnist_lenet", None],
        "--dataset mnist --no-figures --published",
        "--dataset digits --no-figures --published --train-size 320 --epochs 3",
        _published("optimizer", "smgd", "madam", "mrmsprop", "sgd", "adam", "rmsprop"),
    ),
    "published-cifar": Part(
        "cifar_vgg",
        EPOCHS["cifar_vgg", None],
        "--dataset cifar10 --no-figures --published",
        "--dataset digits --no-figures --published --train-size 128 --epochs 1",
        _published("optimizer", "smgd", "mrmsprop", "sgd", "rmsprop"),
    ),
    "fronts": Part(
        "pareto_front",
        EPOCHS["pareto_front", "lenet5"],
        "--dataset mnist --no-figures --schedule logistic",
        "--dataset digits --no-figures --schedule logistic --train-size 320 "
        "--epochs 2 --final-epochs 2 --budget 4",
        {
            **{search: f"--search {search}" for search in _SEARCHES},
            # Fixed weights on MAdam's directions.
            **{f"{s}-madam": f"--search {s} --optimizer madam" for s in _OF_DIRECTIONS},
        },
    ),
    "sparse-fronts": Part(
        "pareto_front",
        EPOCHS["pareto_front", "lenet5"],
        "--dataset mnist --no-figures --budget 16 --final-epochs 0",
        "--dataset digits --no-figures --train-size 320 --final-epochs 0 --budget 4",
        {
            "saliency-10": f"{_DECAYED} --pruning saliency --epochs 10",
            "saliency-30": f"{_DECAYED} --pruning saliency --epochs 30",
        },
    ),
    "published-fronts": Part(
        "pareto_front",
        EPOCHS["pareto_front", "lenet5"],
        "--dataset mnist --no-figures --published",
        "--dataset digits --no-figures --published --train-size 320 --epochs 2 "
        "--final-epochs 2 --levels 1",
        _published("search", *_OF_DIRECTIONS),
    ),
    "normalize": Part(
        "mnist_lenet",
        {"mnist": 10, "digits": 10},
        "--dataset mnist --no-figures --schedule logistic --pruning threshold "
        "--epochs 10",
        "--dataset digits --no-figures --schedule logistic --pruning threshold "
        "--train-size 320 --epochs 2",
        {
            f"{name}-{mode}": f"{words} --normalize {mode}"
            for name, words in _WEIGHED.items()
            for mode in ("none", "l2", "loss", "loss+")
        },
    ),
}
