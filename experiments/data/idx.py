"""IDX files: arrays of bytes with a header, MNIST's format.

The header of 4 + 4 d bytes holds two zeros, the type (8 for bytes), the number d of
axes, and each axis' length. A file may be gzipped.

Source: Y. LeCun, C. Cortes, C. Burges, *The MNIST database of handwritten digits*.
"""

import gzip
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from experiments.data import download, files
from experiments.data.files import Original
from experiments.errors import DataError

_ROLE = re.compile(r"(train|t10k|test)-(images|labels)[-.]idx([13])-ubyte(\.gz)?$")
SHAPE = (28, 28, 1)  # of the images of MNIST and its successors
_KINDS = ("images", "labels")
_REMEDY = "Correct the file, or name another --dataset."
Read = tuple[np.ndarray, np.ndarray, str]  # images, labels, source


def find(folder: Path) -> dict[str, Path]:
    """Return "train images", "train labels", "test images", "test labels" -> file.

    Only the ends of the names count, which are those of MNIST's files. Empty if there
    is none of them.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if match := _ROLE.search(path.name):
            role = f"{'train' if match[1] == 'train' else 'test'} {match[2]}"
            if role in found:
                raise DataError(
                    f"{folder}: found two files of {role}, {found[role].name} and "
                    f"{path.name}; expected one. Keep each dataset in its own folder."
                )
            found[role] = path
    roles = [f"{part} {kind}" for part in ("train", "test") for kind in _KINDS]
    if found and (missing := [role for role in roles if role not in found]):
        raise DataError(
            f"{folder}: found no file of {missing[0]}, expected beside "
            f"{next(iter(found.values())).name}; its name ends as that of MNIST's. Add "
            "it, or name another --dataset."
        )
    return found


def read(path: Path) -> np.ndarray:
    """Read an array of bytes; no more is unpacked than its header states."""
    with files.reading(path, _REMEDY) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        return _parse(gzip.GzipFile(fileobj=file) if packed else file, path)


def sources(
    name: str,
    title: str,
    address: str,
    originals: Mapping[str, Original],
    sizes: tuple[int, int, int],
) -> tuple[Callable[[Path], Read], Callable[[], Read], Callable[[], Read]]:
    """Make the three ways to read a dataset with the file names of MNIST.

    See `experiments.data`; `originals` are the gzipped files.
    """

    def from_folder(folder: Path) -> Read:
        paths = files.find(folder, [[[own] for own in originals]], title, address)
        remedy = f"{files.replace_from(address)} Other files are read by --dataset DIR."
        images, labels = _read_published(paths, originals.values(), remedy)
        return images, labels, f"original files in {folder}"

    def from_prepared() -> Read:
        return download.read_prepared(name, SHAPE, sizes, wrong_classes)

    def from_download() -> Read:
        paths = download.fetch(name, [address + own for own in originals])
        images, labels = _read_published(paths, originals.values(), download.REMEDY)
        return images, labels, f"original files fetched by TFDS into {paths[0].parent}"

    def wrong_classes(_: np.ndarray, labels: np.ndarray) -> str:
        return files.unequal_classes(labels, sum(sizes[:2]))

    return from_folder, from_prepared, from_download


def _read_published(
    paths: Iterable[Path], originals: Iterable[Original], remedy: str
) -> tuple[np.ndarray, np.ndarray]:
    """Read gzipped files of train images, train labels, test images, test labels.

    They must be the originals, and are unpacked after that is checked.
    """
    parts = []
    for path, original in zip(paths, originals, strict=True):
        content = gzip.decompress(files.read(path, original, remedy))
        parts.append(_parse(io.BytesIO(content), path))
    images = np.concatenate(parts[::2])[..., np.newaxis]
    return images, np.concatenate(parts[1::2])


def _parse(file: BinaryIO | gzip.GzipFile, path: Path) -> np.ndarray:
    begin = file.read(4)
    axes = begin[3] if len(begin) == 4 else 0
    if begin[:3] != b"\0\0\x08" or not 1 <= axes <= 4:
        raise DataError(
            f"{path}: it begins with {begin.hex(' ') or 'nothing'}; expected 00 00 08 "
            f"and 1 to 4, the header of an IDX file of bytes. {_REMEDY}"
        )
    shape = np.frombuffer(file.read(4 * axes).ljust(4 * axes, b"\0"), ">u4").tolist()
    size = math.prod(shape)
    if size > files.LARGEST:
        raise DataError(
            f"{path}: its header states {size:,} bytes; expected at most "
            f"{files.LARGEST:,}. {_REMEDY}"
        )
    content = file.read(size + 1)
    if len(content) != size:
        more = "more" if len(content) > size else f"{len(content):,}"
        raise DataError(
            f"{path}: found {more} bytes after the header, which states shape "
            f"{tuple(shape)}; expected {size:,}. {_REMEDY}"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)
