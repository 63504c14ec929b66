"""A user's own data: arrays, a .npz file of them, or a folder in a known format.

Arrays are named ``images`` and ``labels`` for training, and optionally
``validation_images``, ``validation_labels``, ``test_images``, ``test_labels``. Without
a test part, a tenth of the training examples (at most 10,000) becomes one: the last;
and what is left without a validation part gives its last tenth (at most 5,000).

Images are (N, H, W, C), (N, H, W), or any other shape that the network takes. Bytes are
scaled to [0, 1]; numbers of other types reach the network as they are. Labels are class
numbers from 0, one per image or per entry of it.
"""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.data import cifar10, download, files, idx
from experiments.data.files import UnavailableError
from experiments.errors import DataError

_SPLITS = ("", "validation_", "test_")
_KEYS = [f"{split}{kind}" for split in _SPLITS for kind in ("images", "labels")]
_MOST = {"validation": 5_000, "test": 10_000}
_REMEDY = "Correct the arrays, or name another --dataset."


Pair = tuple[np.ndarray, np.ndarray]  # images and labels


class Examples(NamedTuple):
    """Images and labels in the order train, validation, test, and these sizes."""

    images: np.ndarray
    labels: np.ndarray
    sizes: tuple[int, int, int]
    source: str


def from_path(path: Path) -> Examples:
    """Read a .npz file, or a folder of IDX files or of CIFAR-10's binary layout."""
    if path.is_file():
        return from_arrays(_npz(path), f"arrays in {path}")
    if not path.is_dir():
        raise DataError(
            f"{path} is missing; expected a .npz file, or a folder of IDX files "
            "(MNIST's format) or of CIFAR-10's binary files. Check --dataset."
        )
    if found := idx.find(path):
        arrays = {
            role.removeprefix("train ").replace(" ", "_"): idx.read(file)
            for role, file in found.items()
        }
        return from_arrays(arrays, f"IDX files in {path}")
    if batches := sorted(path.glob("data_batch_*.bin")):
        parts = {"": batches, "test_": [path / "test_batch.bin"]}
        arrays = {}
        for split, own in parts.items():
            images, labels = cifar10.read(own, _REMEDY)
            arrays |= {f"{split}images": images, f"{split}labels": labels}
        return from_arrays(arrays, f"binary files in {path}")
    raise DataError(
        f"{path} holds neither IDX files, whose names end as MNIST's "
        "(train-images-idx3-ubyte), nor data_batch_1.bin, ..., as CIFAR-10; but "
        f"{files.content(path)}. Check --dataset."
    )


def from_prepared(name: str) -> Examples:
    """Read what TFDS has prepared, of datasets with an image and a label."""
    if not re.fullmatch(r"\w+(/\w[\w.-]*)*", name):
        raise DataError(
            f"tfds:{name} is no name of a dataset; expected letters, digits and _, and "
            "a configuration after a slash. Check --dataset."
        )
    try:
        parts, folder = download.prepared(name)
    except UnavailableError as error:
        raise DataError(
            f"tfds:{name} is unavailable: {error}. Prepare it with TFDS, or name "
            "another --dataset."
        ) from None
    arrays = {}
    for split, (images, labels) in parts.items():
        start = "" if split == "train" else f"{split}_"
        arrays |= {f"{start}images": images, f"{start}labels": labels}
    known = {name: arrays[name] for name in _KEYS if name in arrays}
    return from_arrays(known, f"prepared by TFDS in {folder}")


def from_arrays(arrays: Mapping[str, Any], source: str) -> Examples:
    """Check arrays by name, and join them."""
    found = {name: np.asarray(array) for name, array in arrays.items()}
    if wrong := [name for name in found if name not in _KEYS]:
        raise DataError(
            f"{source}: found {wrong[0]!r}; expected {', '.join(_KEYS)}. {_REMEDY}"
        )
    parts = [_pair(found, split, source) for split in _SPLITS]
    train, validation, test = parts
    if train is None:
        raise DataError(
            f"{source}: found {', '.join(found) or 'nothing'}; expected images and "
            f"labels. {_REMEDY}"
        )
    if test is None:
        train, test = _cut(train, _MOST["test"])
    if validation is None:
        train, validation = _cut(train, _MOST["validation"])
    parts = train, validation, test
    sizes = len(train[0]), len(validation[0]), len(test[0])
    if min(sizes) < 1:
        raise DataError(
            f"{source}: found {sum(sizes)} examples, {sizes} for training, validation "
            f"and test; expected at least one for each. {_REMEDY}"
        )
    shapes = {(x.shape[1:], x.dtype, y.shape[1:]) for x, y in parts}
    if len(shapes) > 1:
        raise DataError(
            f"{source}: the parts differ in shape or type: "
            f"{', '.join(f'{x.dtype} {x.shape[1:]}' for x, _ in parts)}; expected one. "
            f"{_REMEDY}"
        )
    images, labels = map(np.concatenate, zip(*parts, strict=True))
    return Examples(images, labels, sizes, source)


def _pair(arrays: Mapping[str, np.ndarray], split: str, source: str) -> Pair | None:
    names = f"{split}images", f"{split}labels"
    given = [name for name in names if name in arrays]
    if not given:
        return None
    if len(given) == 1:
        raise DataError(
            f"{source}: found {given[0]} alone; expected {' and '.join(names)}. "
            f"{_REMEDY}"
        )
    images, labels = (arrays[name] for name in names)
    if images.dtype.kind not in "uif" or labels.dtype.kind not in "ui":
        raise DataError(
            f"{source}: {names[0]} are {images.dtype} and {names[1]} {labels.dtype}; "
            f"expected numbers, and whole numbers. {_REMEDY}"
        )
    if images.dtype.kind == "f":
        images = images.astype(np.float32)
        if not np.isfinite(images).all():
            raise DataError(
                f"{source}: {names[0]} hold NaN or infinity; expected finite numbers. "
                f"{_REMEDY}"
            )
    elif images.dtype != np.uint8:
        images = images.astype(np.int32)
    if images.ndim == 3 and images.dtype == np.uint8:
        images = images[..., np.newaxis]
    if len(images) != len(labels) or not labels.size:
        raise DataError(
            f"{source}: found {len(images)} {names[0]} and {len(labels)} {names[1]}; "
            f"expected equal numbers, at least 1. {_REMEDY}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= 2**16:
        raise DataError(
            f"{source}: {names[1]} are {low} to {high}; expected class numbers from 0 "
            f"to {2**16 - 1} at most. {_REMEDY}"
        )
    return images, labels.astype(np.int32)


def _cut(pair: Pair, most: int) -> tuple[Pair, Pair]:
    """Split off the last tenth, at most a number of examples."""
    images, labels = pair
    left = len(images) - min(most, max(1, len(images) // 10))
    return (images[:left], labels[:left]), (images[left:], labels[left:])


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > files.LARGEST:
            raise DataError(
                f"{path} holds {size:,} bytes; expected at most {files.LARGEST:,}. "
                f"{_REMEDY}"
            )
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: {error}. Expected a file written by numpy.savez. {_REMEDY}"
        ) from None
