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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.data import own
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
    labels: np.ndarray  # (N,) or (N, T), class numbers from 0
    train: range
    validation: range  # for searches and early decisions
    test: range  # to report on, never used for a decision

    @property
    def classes(self) -> int:
        """Number of classes, one more than the largest label."""
        return int(self.labels.max()) + 1


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
    dataset: str | Mapping[str, Any] = "auto",
    data_dir: str | Path = "data",
    train_size: int | None = None,
    *,
    preferred: str = "mnist",
) -> Dataset:
    """Load a dataset and split it, within seconds if there is no network.

    It is given by name, by the path of a user's own, as ``tfds:NAME``, or as arrays
    (see `experiments.data.own`).

    The validation part (the last training images) does not depend on `train_size`, the
    number of training images to keep, counted from the first. The digits take the image
    shape of the `preferred` dataset, which is also the first choice of "auto".
    """
    if not isinstance(dataset, str):
        return _own("arrays", train_size, own.from_arrays(dataset, "arrays"))
    known = ("auto", *_MODULES)
    if dataset.startswith("tfds:"):
        name = dataset.removeprefix("tfds:")
        return _own(name, train_size, own.from_prepared(name))
    if dataset not in known:
        path = Path(dataset)
        if not (path.exists() or path.name != dataset or path.suffix == ".npz"):
            raise DataError(
                f"unknown dataset {dataset!r}: expected one of {', '.join(known)}, the "
                "path of a .npz file or of a folder, or tfds:NAME."
            )
        return _own(path.stem, train_size, own.from_path(path))
    if dataset == "digits":
        return _digits(preferred, "", train_size)
    if dataset == "python_docs":
        return _known(dataset, train_size, *_MODULES[dataset].read())
    wanted = preferred if dataset == "auto" else dataset
    module, reasons = _MODULES[wanted], []
    for label, read in (
        ("original files", lambda: module.from_folder(Path(data_dir))),
        ("prepared by TFDS", module.from_prepared),
        ("downloaded with TFDS", module.from_download),
    ):
        try:
            return _known(wanted, train_size, *read())
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
    return _known("digits", train_size, images, labels, source)


def _known(name: str, train_size: int | None, images, labels, source) -> Dataset:
    module = _MODULES[name]
    examples = own.Examples(images, labels, module.SIZES, source)
    return _split(name, module.TITLE, train_size, examples)


def _own(name: str, train_size: int | None, examples: own.Examples) -> Dataset:
    """Name the sizes and classes of a user's own data in the source, as read."""
    sizes = ", ".join(f"{size:,}" for size in examples.sizes)
    shape = "x".join(map(str, examples.images.shape[1:]))
    source = (
        f"{examples.source}: {sizes} examples for training, validation and test, "
        f"{examples.images.dtype} of shape {shape or 'scalar'}, "
        f"{examples.labels.max() + 1} classes"
    )
    return _split(name, name, train_size, examples._replace(source=source))


def _split(
    name: str, title: str, train_size: int | None, examples: own.Examples
) -> Dataset:
    images, labels, (train, validation, test), source = examples
    kept = train if train_size is None else train_size
    if not 1 <= kept <= train:
        raise DataError(
            f"train_size is {train_size}: expected a whole number from 1 to {train}, "
            f"the number of training examples of {title} without the validation part."
        )
    end = train + validation
    parts = range(kept), range(train, end), range(end, end + test)
    return Dataset(name, title, source, images, labels, *parts)
