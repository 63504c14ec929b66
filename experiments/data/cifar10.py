"""CIFAR-10, from its binary files, from their archive, or as prepared by TFDS.

Each of the six files holds 10,000 records of 3,073 bytes: the label, then the image's
red, green and blue plane. The archive for Python holds pickles, which can run any code.
Only the archive has a known checksum; otherwise sizes and classes are checked.

Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.
"""

import gzip
import io
import math
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.data import download, files
from experiments.data.files import Original
from experiments.errors import DataError

TITLE = "CIFAR-10"
SHAPE = (32, 32, 3)
SIZES = (45_000, 5_000, 10_000)
ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE = "cifar-10-binary.tar.gz"
FOLDER = "cifar-10-batches-bin"  # in the archive
FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
ORIGINAL = Original(
    170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
)
ORIGINALS = (
    f"the archive {ARCHIVE} or the six files in it ({', '.join(FILES)}; from {ADDRESS})"
)


def from_folder(folder: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """Read the six binary files, loose or in their folder, or the archive."""
    remedy = files.replace_from(ADDRESS)
    groups = FILES, [f"{FOLDER}/{name}" for name in FILES], [ARCHIVE]
    paths = files.find(folder, [[[x] for x in own] for own in groups], TITLE, ADDRESS)
    if paths[0].name == ARCHIVE:
        return *_read_archive(paths[0], remedy), f"original archive {paths[0]}"
    return *_read_files(paths, remedy), f"binary files in {paths[0].parent}"


def from_prepared() -> tuple[np.ndarray, np.ndarray, str]:
    """Read what TFDS has prepared if its sizes and classes are CIFAR-10's."""
    return download.read_prepared("cifar10", SHAPE, SIZES, _wrong_classes)


def from_download() -> tuple[np.ndarray, np.ndarray, str]:
    """Read the archive from TFDS's cache or the network."""
    (path,) = download.fetch("cifar10", [ADDRESS])
    source = f"original archive fetched by TFDS into {path.parent}"
    return *_read_archive(path, download.REMEDY), source


def _read_archive(path: Path, remedy: str) -> tuple[np.ndarray, np.ndarray]:
    unpacked = gzip.decompress(files.read(path, ORIGINAL, remedy))
    with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
        members = [archive.getmember(f"{FOLDER}/{name}") for name in FILES]
    starts = [(member.offset_data, member.size) for member in members]
    return _parse([unpacked[start : start + size] for start, size in starts])


def _read_files(paths: Sequence[Path], remedy: str) -> tuple[np.ndarray, np.ndarray]:
    original = Original(sum(SIZES) // len(FILES) * (1 + math.prod(SHAPE)))
    images, labels = _parse([files.read(path, original, remedy) for path in paths])
    for path, part in zip(paths, np.split(labels, len(FILES)), strict=True):
        if part.max() > 9:
            raise DataError(
                f"{path}: wrong label: found {part.max()} at position {part.argmax()}, "
                f"expected 0 to 9. {remedy}"
            )
    if wrong := _wrong_classes(images, labels):
        raise DataError(f"{paths[0].parent}: wrong classes: {wrong}. {remedy}")
    return images, labels


def read(paths: Sequence[Path], remedy: str) -> tuple[np.ndarray, np.ndarray]:
    """Read files of any number of records, with any labels."""
    contents, length = [], 1 + math.prod(SHAPE)
    for path in paths:
        with files.reading(path, remedy) as file:
            size = os.fstat(file.fileno()).st_size
            if size % length or not 0 < size <= files.LARGEST:
                raise DataError(
                    f"{path}: wrong size: found {size} bytes, expected a multiple of "
                    f"{length}, the bytes of a label and an image. {remedy}"
                )
            contents.append(file.read())
    return _parse(contents)


def _parse(contents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    height, width, channels = SHAPE
    records = np.frombuffer(b"".join(contents), np.uint8)
    records = records.reshape(-1, 1 + math.prod(SHAPE))
    planes = records[:, 1:].reshape(-1, channels, height, width)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0].copy()


def _wrong_classes(_: np.ndarray, labels: np.ndarray) -> str:
    return files.unequal_classes(labels, sum(SIZES[:2]))
