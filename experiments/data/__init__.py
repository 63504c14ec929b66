"""The images the experiments train on, from wherever they can be had.

`load` looks for MNIST or CIFAR-10 in this order and takes what it finds first:

1. the original files, put by hand into `data_dir` (the way to work offline):

   - MNIST: ``train-images-idx3-ubyte.gz``, ``train-labels-idx1-ubyte.gz``,
     ``t10k-images-idx3-ubyte.gz`` and ``t10k-labels-idx1-ubyte.gz``, as they lie at
     https://storage.googleapis.com/cvdf-datasets/mnist/;
   - CIFAR-10: ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or
     these in the folder ``cifar-10-batches-bin``, or the archive they come in,
     https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz, as it is;

2. a dataset that TensorFlow Datasets (TFDS) has already prepared, in a format that can
   be read without TensorFlow (array_record), under ``TFDS_DATA_DIR`` or
   ``~/tensorflow_datasets``;
3. MNIST's four files or CIFAR-10's archive from TFDS's download manager: from its cache
   or the network;
4. only with ``dataset="auto"``: the handwritten digits that scikit-learn carries.

The first three give the same arrays, bit by bit. An original file that is missing among
the others, damaged or changed is an error, never a reason to go on to the next way; a
prepared dataset that is not the original is passed over, and named if nothing else is
found. MNIST's files and CIFAR-10's archive are told by their checksums. None is known
for CIFAR-10's files out of the archive, nor for its images as prepared by TFDS: there,
sizes, labels and the classes' sizes decide.
"""

import operator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from experiments.data import cifar10, digits, mnist
from experiments.data.errors import UnavailableError
from experiments.errors import DataError

__all__ = ["DATASETS", "TITLES", "DataError", "Dataset", "load"]

DATASETS = ("auto", "mnist", "cifar10", "digits")
# The names of those that "auto" can prefer -> the same for people.
TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}


class Dataset(NamedTuple):
    """Labelled images and the three index ranges they are split into.

    Attributes:
      name: which dataset this is, "mnist", "cifar10" or "digits".
      title: the same for figures, e.g. "MNIST".
      source: where it came from, for people; with ``dataset="auto"`` also why it is not
        the preferred one. It belongs into every artefact of a run.
      images: (N, H, W, C) uint8, in the order train, validation, test.
      labels: (N,) uint8.
      train: the indices to train on.
      validation: the indices that searches and early decisions look at.
      test: the indices that are reported and never used.
    """

    name: str
    title: str
    source: str
    images: np.ndarray
    labels: np.ndarray
    train: range
    validation: range
    test: range


def load(
    dataset: str = "auto",
    data_dir: str | Path = "data",
    train_size: int | None = None,
    *,
    preferred: str = "mnist",
) -> Dataset:
    """Loads a dataset, the best way there is, and splits it. Prints nothing.

    Without network it gives up within seconds.

    Args:
      dataset: "mnist"; "cifar10"; "digits", scikit-learn's 8x8 handwritten digits,
        enlarged; or "auto", which is the preferred one where it can be had and the
        digits elsewhere.
      data_dir: the folder that may hold the original files. It need not exist.
      train_size: how many training images to keep, from the first; None keeps all. The
        validation part (MNIST and CIFAR-10: the last 5,000 training images; digits:
        143) is cut off before, so it does not depend on this.
      preferred: "mnist" or "cifar10": what "auto" looks for, and whose image shape the
        digits are given.

    Returns:
      The `Dataset`: MNIST with (70000, 28, 28, 1) images, split 55,000 / 5,000 /
      10,000; CIFAR-10 with (60000, 32, 32, 3), split 45,000 / 5,000 / 10,000; the
      digits with (1797, 28, 28, 1) or (1797, 32, 32, 3), split 1,294 / 143 / 360.

    Raises:
      DataError: an unknown name, a `train_size` out of range, a damaged, incomplete or
        wrong file, or no way to the data at all: then it lists all that was tried.

    Example:
      >>> from experiments import data
      >>> digits = data.load("digits", train_size=1000)
      >>> digits.images.shape, len(digits.train), len(digits.validation)
      ((1797, 28, 28, 1), 1000, 143)
      >>> data.load("digits", preferred="cifar10").images.shape
      (1797, 32, 32, 3)
    """
    _check_name("dataset", dataset, DATASETS)
    _check_name("preferred dataset", preferred, tuple(TITLES))
    if dataset == "digits":
        return _digits(preferred, "", train_size)
    wanted = preferred if dataset == "auto" else dataset
    module, reasons = _MODULES[wanted], []
    # The one place where the order of the ways is fixed.
    for label, way in (
        ("original files", lambda: module.from_folder(Path(data_dir))),
        ("prepared by TFDS", module.from_prepared),
        ("downloaded with TFDS", module.from_download),
    ):
        try:
            images, labels, source = way()
        except UnavailableError as error:
            reasons.append((label, str(error)))
        else:
            return _split(wanted, TITLES[wanted], source, images, labels, train_size)
    if dataset != "auto":
        raise DataError(_nothing_left(wanted, reasons, data_dir))
    because = "; ".join(f"{label}: {reason}" for label, reason in reasons)
    because = f", because {TITLES[wanted]} could not be had ({because})"
    return _digits(preferred, because, train_size)


_MODULES: dict[str, ModuleType] = {"mnist": mnist, "cifar10": cifar10}
# name -> the sizes of train, validation and test.
_SIZES = {
    "mnist": (55_000, 5_000, 10_000),
    "cifar10": (45_000, 5_000, 10_000),
    "digits": (1_294, 143, 360),
}


def _check_name(kind: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise DataError(f"unknown {kind} {name!r}: expected one of {', '.join(known)}.")


def _digits(preferred: str, because: str, train_size: int | None) -> Dataset:
    try:
        images, labels = digits.read(_MODULES[preferred].SHAPE)
    except DataError as error:
        context = f" They were to be used{because}." if because else ""
        raise DataError(f"{error}{context}") from None
    source = f"scikit-learn's handwritten digits{because}"
    title = "handwritten digits (scikit-learn)"
    return _split("digits", title, source, images, labels, train_size)


def _split(
    name: str,
    title: str,
    source: str,
    images: np.ndarray,
    labels: np.ndarray,
    train_size: int | None,
) -> Dataset:
    train, validation, test = _SIZES[name]
    kept = train if train_size is None else _checked(train_size, train, title)
    return Dataset(
        name=name,
        title=title,
        source=source,
        images=images,
        labels=labels,
        train=range(kept),
        validation=range(train, train + validation),
        test=range(train + validation, train + validation + test),
    )


def _checked(train_size: Any, available: int, title: str) -> int:
    try:
        size = operator.index(train_size)
    except TypeError:
        size = 0
    if not 1 <= size <= available:
        raise DataError(
            f"train_size is {train_size!r}: expected a whole number from 1 to "
            f"{available}, the training images of {title} without the validation part."
        )
    return size


def _nothing_left(
    wanted: str, reasons: list[tuple[str, str]], data_dir: str | Path
) -> str:
    tried = "\n".join(f"  - {label}: {reason}" for label, reason in reasons)
    return (
        f"{TITLES[wanted]} could not be had. Tried, in this order:\n{tried}\n"
        f"What to do: put {_MODULES[wanted].ORIGINALS} into {data_dir}, or name their "
        "folder with --data-dir; or train on the images that scikit-learn carries: "
        "--dataset digits."
    )
