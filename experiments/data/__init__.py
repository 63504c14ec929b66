"""Images to train on: MNIST, CIFAR-10 or scikit-learn's digits.

`load` takes a dataset from the first of these sources that has it:

1. the original files in `data_dir`, put there by the user (the way to work offline);
2. a dataset that TensorFlow Datasets (TFDS) has prepared, under ``TFDS_DATA_DIR`` or
   ``~/tensorflow_datasets``, in a format that TFDS reads without TensorFlow
   (array_record): the same images in another order, so another validation split;
3. the original files from TFDS's download cache, or else from the network;
4. with ``dataset="auto"`` only: the handwritten digits that scikit-learn carries.

A missing, damaged or changed original file is an error, never a reason to try the next
source. A prepared dataset that differs from the original is passed over.

To add a dataset, write a module here with the dataset's name that defines TITLE (the
name in messages and figures), SHAPE (of an image), SIZES (of train, validation and
test), ORIGINALS (the files a user can provide, for messages) and `from_folder`,
`from_prepared` and `from_download`, which return images, labels and their source or
raise `UnavailableError`. Then add the name to the option's choices in `config.py`.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from experiments.data.files import UnavailableError
from experiments.errors import DataError

__all__ = ["TITLES", "DataError", "Dataset", "load"]


class Dataset(NamedTuple):
    """Labelled images and the three index ranges they are split into.

    Attributes:
      name: "mnist", "cifar10" or "digits".
      title: the name in figures, e.g. "MNIST".
      source: origin of the images; with ``dataset="auto"`` also the reason if it is not
        the preferred dataset. Every artefact of a run records it.
      images: (N, H, W, C) uint8, in the order train, validation, test.
      labels: (N,) uint8.
      train: indices to train on.
      validation: indices for searches and early decisions.
      test: indices to report on, never used for a decision.
    """

    name: str
    title: str
    source: str
    images: np.ndarray
    labels: np.ndarray
    train: range
    validation: range
    test: range


def _find_modules() -> dict[str, ModuleType]:
    found = {
        name: importlib.import_module(f"{__name__}.{name}")
        for _, name, _ in pkgutil.iter_modules(__path__)
    }
    return {name: module for name, module in found.items() if hasattr(module, "SIZES")}


_MODULES = _find_modules()
# Name -> title of the datasets that "auto" can prefer.
TITLES: dict[str, str] = {
    name: module.TITLE
    for name, module in _MODULES.items()
    if hasattr(module, "ORIGINALS")
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

    Example:
      >>> from experiments import data
      >>> digits = data.load("digits", train_size=1000)
      >>> digits.images.shape, len(digits.train), len(digits.validation)
      ((1797, 28, 28, 1), 1000, 143)
    """
    _check_choice("dataset", dataset, ["auto", *_MODULES])
    _check_choice("preferred dataset", preferred, list(TITLES))
    if dataset == "digits":
        return _digits(preferred, "", train_size)
    wanted = preferred if dataset == "auto" else dataset
    module, reasons = _MODULES[wanted], []
    for label, read in (
        ("original files", lambda: module.from_folder(Path(data_dir))),
        ("prepared by TFDS", module.from_prepared),
        ("downloaded with TFDS", module.from_download),
    ):
        try:
            images, labels, source = read()
        except UnavailableError as error:
            reasons.append(f"{label}: {error}")
        else:
            return _split(wanted, images, labels, source, train_size)
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


def _check_choice(kind: str, name: str, choices: list[str]) -> None:
    if name not in choices:
        raise DataError(
            f"unknown {kind} {name!r}: expected one of {', '.join(choices)}."
        )


def _digits(preferred: str, because: str, train_size: int | None) -> Dataset:
    try:
        images, labels = _MODULES["digits"].read(_MODULES[preferred].SHAPE)
    except DataError as error:
        needed = f" They were needed{because}." if because else ""
        raise DataError(f"{error}{needed}") from None
    source = f"scikit-learn's handwritten digits{because}"
    return _split("digits", images, labels, source, train_size)


def _split(
    name: str,
    images: np.ndarray,
    labels: np.ndarray,
    source: str,
    train_size: int | None,
) -> Dataset:
    title, (train, validation, test) = _MODULES[name].TITLE, _MODULES[name].SIZES
    kept = train if train_size is None else train_size
    if not 1 <= kept <= train:
        raise DataError(
            f"train_size is {train_size}: expected a whole number from 1 to {train}, "
            f"the number of training images of {title} without the validation part."
        )
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
