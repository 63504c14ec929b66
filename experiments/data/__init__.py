"""Data to train on: MNIST, CIFAR-10, scikit-learn's digits, or Python's manual.

`load` takes a dataset from the first of these sources that has it:

1. the original files in `data_dir`, put there by the user (the way to work offline);
2. a dataset that TensorFlow Datasets (TFDS) has prepared, under ``TFDS_DATA_DIR`` or
   ``~/tensorflow_datasets``, in a format that TFDS reads without TensorFlow
   (array_record): the same images in another order, so another validation split;
3. the original files from TFDS's download cache, or else from the network;
4. with ``dataset="auto"`` only: the handwritten digits that scikit-learn carries.

Python's manual is read from Python itself.

A missing, damaged or changed original file is an error, never a reason to try the next
source. A prepared dataset that differs from the original is passed over.

To add a dataset, write a module here that defines TITLE, SHAPE (of an image), SIZES (of
train, validation, test), ORIGINALS (files a user can provide, for messages) and
`from_folder`, `from_prepared` and `from_download`, which return images, labels and
source or raise `UnavailableError`. Then add its name to `config/options.py`.
"""

import importlib
import pkgutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data.files import UnavailableError
from experiments.errors import DataError

__all__ = ["TITLES", "DataError", "Dataset", "load"]


class Dataset(NamedTuple):
    """Labelled examples and the three index ranges they are split into."""

    name: str
    title: str  # as in figures
    source: str  # origin, for artefacts; why it is not the preferred dataset of "auto"
    # In the order train, validation, test: images (N, H, W, C) uint8, or text (N, T).
    images: np.ndarray
    labels: np.ndarray  # (N,) or (N, T) uint8
    train: range
    validation: range  # for searches and early decisions
    test: range  # to report on, never used for a decision


_FOUND = {
    name: importlib.import_module(f"{__name__}.{name}")
    for _, name, _ in pkgutil.iter_modules(__path__)
}
_MODULES = {name: found for name, found in _FOUND.items() if hasattr(found, "SIZES")}
# Titles of the datasets that "auto" can prefer.
TITLES: dict[str, str] = {
    name: own.TITLE for name, own in _MODULES.items() if hasattr(own, "from_folder")
}


def load(
    dataset: str = "auto",
    data_dir: str | Path = "data",
    train_size: int | None = None,
    *,
    preferred: str = "mnist",
) -> Dataset:
    """Load a dataset and split it, within seconds if there is no network.

    The validation part (the last training images) does not depend on `train_size`, the
    number of training images to keep, counted from the first. The digits take the image
    shape of the `preferred` dataset, which is also the first choice of "auto".
    """
    if dataset not in (known := ("auto", *_MODULES)):
        raise DataError(
            f"unknown dataset {dataset!r}: expected one of {', '.join(known)}."
        )
    if dataset == "digits":
        return _digits(preferred, "", train_size)
    if dataset == "python_docs":
        return _split(dataset, train_size, *_MODULES[dataset].read())
    wanted = preferred if dataset == "auto" else dataset
    module, reasons = _MODULES[wanted], []
    for label, read in (
        ("original files", lambda: module.from_folder(Path(data_dir))),
        ("prepared by TFDS", module.from_prepared),
        ("downloaded with TFDS", module.from_download),
    ):
        try:
            return _split(wanted, train_size, *read())
        except UnavailableError as error:
            reasons.append(f"{label}: {error}")
    unavailable = f"{TITLES[wanted]} is unavailable"
    if dataset == "auto":
        because = f", because {unavailable} ({'; '.join(reasons)})"
        return _digits(preferred, because, train_size)
    tried = "\n".join(f"  - {reason}" for reason in reasons)
    raise DataError(
        f"{unavailable}. Tried, in this order:\n{tried}\n"
        f"Put {module.ORIGINALS} into {data_dir}, or name their folder with "
        "--data-dir, or train on scikit-learn's digits with --dataset digits."
    )


def _digits(preferred: str, because: str, train_size: int | None) -> Dataset:
    try:
        images, labels = _MODULES["digits"].read(_MODULES[preferred].SHAPE)
    except DataError as error:
        needed = f" They were needed{because}." if because else ""
        raise DataError(f"{error}{needed}") from None
    source = f"scikit-learn's handwritten digits{because}"
    return _split("digits", train_size, images, labels, source)


def _split(
    name: str,
    train_size: int | None,
    images: np.ndarray,
    labels: np.ndarray,
    source: str,
) -> Dataset:
    title, (train, validation, test) = _MODULES[name].TITLE, _MODULES[name].SIZES
    kept = train if train_size is None else train_size
    if not 1 <= kept <= train:
        raise DataError(
            f"train_size is {train_size}: expected a whole number from 1 to {train}, "
            f"the number of training examples of {title} without the validation part."
        )
    end = train + validation
    parts = range(kept), range(train, end), range(end, end + test)
    return Dataset(name, title, source, images, labels, *parts)
