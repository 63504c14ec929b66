"""Original files in a folder, and the errors that all sources of a dataset share."""

import contextlib
import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from experiments.errors import DataError

INSTALL = 'install the `experiments` extra with `pip install -e ".[experiments]"`'

LARGEST = 2**32  # bytes of arrays that a user's own file may hold
_NAMED = 4  # names of other files in a message
_OVERHEAD = 2**16  # bytes that gzip adds to content that it cannot compress


class UnavailableError(Exception):
    """A source lacks the dataset; the message is a clause without a full stop."""


class Original(NamedTuple):
    """Size in bytes and, if known, SHA-256 of an original file."""

    size: int
    sha256: str | None = None


def find(
    folder: Path, groups: Iterable[Sequence[Sequence[str]]], title: str, address: str
) -> list[Path]:
    """Find the first group of files of which any lies in a folder, and all must.

    Each file is given by its possible names, the usual one first.
    """
    try:
        for names in groups:
            found = [
                next((name for name in own if (folder / name).is_file()), None)
                for own in names
            ]
            present = [name for name in found if name]
            missing = [
                own[0] for own, name in zip(names, found, strict=True) if not name
            ]
            if not missing:
                return [folder / name for name in present]
            if present:
                raise DataError(
                    f"{folder}: {', '.join(missing)} not found, expected beside "
                    f"{', '.join(present)}. Get what is missing from {address}, or "
                    "name another --data-dir."
                )
        if folder.exists() and not folder.is_dir():
            raise DataError(
                f"{folder}: found a file, expected a folder. Name the folder that "
                f"holds {title}'s files with --data-dir."
            )
        state = "is missing"
        if folder.exists():
            state = f"holds none of {title}'s files, but {content(folder)}"
    except OSError as error:
        raise DataError(f"{folder}: {error}. Name another --data-dir.") from None
    raise UnavailableError(f"the folder {folder} {state}")


def content(folder: Path) -> str:
    """Name the first few files in a folder."""
    names = sorted(path.name for path in folder.iterdir())
    words = [name if name.isprintable() else ascii(name) for name in names[:_NAMED]]
    more = len(names) - len(words)
    return (", ".join(words) or "nothing") + (f" and {more} more" if more else "")


def read(path: Path, original: Original, remedy: str) -> bytes:
    """Read a file that must be the original.

    The size is compared first, and nothing is unpacked before the checksum is: neither
    a huge nor a hostile file does any harm.
    """
    with reading(path, remedy) as file:
        _check_size(path, os.fstat(file.fileno()).st_size, original, remedy)
        return _checked(path, file.read(), original, remedy)


def read_unpacked(path: Path, original: Original, remedy: str) -> bytes:
    """Read a file with the original content, compressed by gzip or not.

    Whatever the file holds, little more than the original content is unpacked.
    """
    with reading(path, remedy) as file:
        packed = file.read(2) == b"\x1f\x8b"
        size = os.fstat(file.fileno()).st_size
        # Compression of any kind adds little to the content.
        if not packed or size > original.size + _OVERHEAD:
            _check_size(path, size, original, remedy)
        file.seek(0)
        unpacked = gzip.GzipFile(fileobj=file) if packed else file
        content = unpacked.read(original.size + 1)
        size = len(content) if len(content) <= original.size else "more"
        _check_size(path, size, original, remedy)
        return _checked(path, content, original, remedy)


@contextlib.contextmanager
def reading(path: Path, remedy: str) -> Iterator[BinaryIO]:
    """Open a file to read; errors, also of gzip, become `DataError`."""
    try:
        with open(path, "rb") as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: {error}. {remedy}") from None


def _check_size(path: Path, size: int | str, original: Original, remedy: str) -> None:
    if size != original.size:
        wrong = f"size: found {size} bytes, expected {original.size}"
        raise DataError(f"{path}: wrong {wrong}. {remedy}")


def _checked(path: Path, content: bytes, original: Original, remedy: str) -> bytes:
    found = original.sha256 and hashlib.sha256(content).hexdigest()
    if found != original.sha256:
        wrong = f"SHA-256: found {found}, expected {original.sha256}"
        raise DataError(f"{path}: wrong {wrong}. {remedy}")
    return content


def replace_from(address: str) -> str:
    """Advice on a wrong file in the user's folder."""
    return f"Replace it by the original from {address}, or name another --data-dir."


def unequal_classes(labels: np.ndarray, train: int) -> str:
    """Describe the first split whose ten classes differ in size, if there is one.

    The first `train` labels are those of the training and validation examples.
    """
    for split, part in ("training", labels[:train]), ("test", labels[train:]):
        counts, each = np.bincount(part, minlength=10).tolist(), len(part) // 10
        if counts != [each] * 10:
            found = f"found {counts} {split} images per class"
            return f"{found}, expected {each} in each of ten"
    return ""
