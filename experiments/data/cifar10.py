"""CIFAR-10: its binary files, the archive they come in, and the ways to them.

Each of the six files holds 10,000 records of 3,073 bytes: the label, then the image as
three planes of 32 rows of 32 bytes, red, green and blue. To work offline, put the
archive `ARCHIVE` or the files in it into the folder given as ``data_dir``; the version
for Python is of no use, because reading pickles means running what is in them.

The archive is compared with the original's SHA-256. For the files in it none is
published: they are taken for CIFAR-10 if their sizes, labels and classes are right.

Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import archives, files, tfds
from experiments.data.errors import UnavailableError
from experiments.errors import DataError

ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE = "cifar-10-binary.tar.gz"
FOLDER = "cifar-10-batches-bin"  # in the archive
SHAPE = (32, 32, 3)
RECORDS = 10_000  # in each file

# TFDS's names of the splits -> their files.
_SPLITS = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
FILES = tuple(name for names in _SPLITS.values() for name in names)
# For people without any of them.
ORIGINALS = (
    f"the archive {ARCHIVE} or the six files in it ({', '.join(FILES)}; they are at "
    f"{ADDRESS})"
)


class Original(NamedTuple):
    """What the archive must be.

    Attributes:
      size: in bytes.
      sha256: of the gzipped archive.
    """

    size: int
    sha256: str


ORIGINAL = Original(
    170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
)


def read_files(
    folder: str | Path, remedy: str = "Replace it by an intact copy."
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the six binary files, mistrusting all of them.

    Args:
      folder: where they lie.
      remedy: what to do about a wrong file, a sentence that ends every message.

    Returns:
      Images (60000, 32, 32, 3) and labels (60000,), uint8, the 50,000 training examples
      first.

    Raises:
      DataError: one is unreadable or has another size than expected; a label above 9;
        classes of unequal size.
    """
    try:
        return _join({name: _read(Path(folder) / name) for name in FILES})
    except (files.WrongError, OSError) as error:
        raise DataError(f"{folder}: {error} {remedy}") from None


def read_archive(
    path: str | Path,
    original: Original | None = None,
    remedy: str = "Replace it by an intact copy.",
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the gzipped archive in memory, mistrusting all of it.

    Args:
      path: the archive.
      original: what it must be; None allows any archive with the right files in it.
      remedy: what to do about a wrong archive, a sentence that ends every message.

    Returns:
      As `read_files`.

    Raises:
      DataError: unreadable, truncated or corrupt gzip or tar; more in it than expected,
        links, devices, paths that lead out of it, missing files; what `read_files`
        raises; another size or checksum.
    """
    try:
        packed = Path(path).read_bytes()
        sizes = {f"{FOLDER}/{name}": _size() for name in FILES}
        size = None if original is None else original.size
        members = archives.read(packed, sizes, size)
        images, labels = _join({name: members[f"{FOLDER}/{name}"] for name in FILES})
        # Last, for what is wrong says more than that something is.
        if original is not None:
            _check_size(len(packed), original.size)
            files.check_sha256(packed, original.sha256)
    except (files.WrongError, OSError) as error:
        raise DataError(f"{path}: {error} {remedy}") from None
    return images, labels


def from_folder(folder: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """Reads the binary files from a folder, or else the archive.

    Args:
      folder: where the six files lie, or their folder as it comes out of the archive,
        or the archive; beside anything else.

    Returns:
      Images (60000, 32, 32, 3) and labels (60000,), uint8, the 50,000 training examples
      first; and where they came from.

    Raises:
      UnavailableError: there is no such folder, or none of the files in it.
      DataError: some of the files are missing, or one is not the original.
    """
    inside = [f"{FOLDER}/{name}" for name in FILES]
    found = files.present(folder, [*FILES, *inside, ARCHIVE], "CIFAR-10")
    remedy = files.replace_it(ADDRESS)
    for place, names in ((folder, FILES), (folder / FOLDER, inside)):
        if any(name in found for name in names):
            files.check_complete(folder, names, found, ADDRESS)
            return *read_files(place, remedy), f"binary files in {place}"
    path = folder / ARCHIVE
    return *read_archive(path, ORIGINAL, remedy), f"original archive {path}"


def from_download() -> tuple[np.ndarray, np.ndarray, str]:
    """Reads the archive, fetched by TFDS or found in its cache.

    Returns:
      As `from_folder`.

    Raises:
      UnavailableError: neither in the cache nor to be had from the network.
      DataError: what is in the cache, or came, is not the original.
    """
    path = tfds.fetch("cifar10")[ARCHIVE]
    images, labels = read_archive(path, ORIGINAL, tfds.REMEDY)
    return images, labels, f"original archive fetched by TFDS into {path.parent}"


def from_prepared() -> tuple[np.ndarray, np.ndarray, str]:
    """Reads the dataset that TFDS has prepared, back in the original files' order.

    Returns:
      As `from_folder`.

    Raises:
      UnavailableError: none is prepared, it cannot be read without TensorFlow, or its
        sizes or classes are not those of CIFAR-10.
    """
    splits, folder = tfds.read_in_order("cifar10", _SPLITS)
    for split, (images, labels) in splits.items():
        shape = (len(_SPLITS[split]) * RECORDS, *SHAPE)
        if images.shape != shape:
            raise UnavailableError(
                f"{folder} holds {images.shape} where CIFAR-10's {split} split has "
                f"{shape}"
            )
        if unequal := _unequal(labels):
            raise UnavailableError(f"{folder} has, in the {split} split, {unequal}")
    images, labels = zip(*(splits[split] for split in _SPLITS), strict=True)
    source = f"prepared by TFDS in {folder}"
    return np.concatenate(images), np.concatenate(labels), source


def _size() -> int:
    """The size of each of the files."""
    return RECORDS * (1 + math.prod(SHAPE))


def _read(path: Path) -> bytes:
    with _naming(path.name):
        _check_size(path.stat().st_size, _size())  # before reading all of it
    return path.read_bytes()


def _check_size(found: int, expected: int) -> None:
    if found != expected:
        raise files.WrongError(f"wrong size: found {found} bytes, expected {expected}.")


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except files.WrongError as error:
        raise files.WrongError(f"{name}: {error}") from None


def _join(
    batches: Mapping[str, bytes | memoryview],
) -> tuple[np.ndarray, np.ndarray]:
    height, width, channels = SHAPE
    images = np.empty((len(FILES), RECORDS, *SHAPE), np.uint8)
    labels = np.empty((len(FILES), RECORDS), np.uint8)
    for number, name in enumerate(FILES):
        records = np.frombuffer(batches[name], np.uint8).reshape(RECORDS, -1)
        planes = records[:, 1:].reshape(RECORDS, channels, height, width)
        images[number] = planes.transpose(0, 2, 3, 1)
        labels[number] = records[:, 0]
        with _naming(name):
            files.check_labels(labels[number])
    for names in _SPLITS.values():
        if unequal := _unequal(labels[[FILES.index(name) for name in names]]):
            raise files.WrongError(f"{', '.join(names)}: {unequal}.")
    return images.reshape(-1, *SHAPE), labels.reshape(-1)


def _unequal(labels: np.ndarray) -> str:
    """What is wrong with the sizes of the ten classes of a split; or nothing."""
    counts = np.bincount(labels.ravel(), minlength=10)
    if (counts == labels.size // 10).all():
        return ""
    return (
        f"wrong classes: found {counts.tolist()} images of the classes 0 to "
        f"{len(counts) - 1}, expected {labels.size // 10} of each of 0 to 9"
    )
