"""What the readers of original files share: where files lie, and what is in them.

A reader's checks raise `WrongError`; the reader makes a `DataError` of it, with the
file's name and the remedy.
"""

import gzip
import hashlib
import io
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

from experiments.data.errors import UnavailableError
from experiments.errors import DataError


class WrongError(Exception):
    """What was found in a file and what was expected, as a sentence."""


def present(folder: Path, names: Iterable[str], title: str) -> list[str]:
    """Says which of a dataset's files lie in a folder.

    Args:
      folder: where to look. It need not exist.
      names: of the files, relative to the folder.
      title: of the dataset, for the messages.

    Returns:
      Those of the names that are files there, at least one.

    Raises:
      UnavailableError: there is no such folder, or none of the files in it.
      DataError: the folder is a file, or cannot be looked into.
    """
    try:
        found = [name for name in names if (folder / name).is_file()]
        if not found and folder.exists() and not folder.is_dir():
            raise DataError(
                f"{folder}: expected a folder, found a file. Name the folder that "
                f"holds {title}'s files with --data-dir."
            )
    except OSError as error:
        raise DataError(f"{folder}: {error}. Name another --data-dir.") from None
    if not found:
        state = (
            f"holds none of {title}'s files" if folder.is_dir() else "does not exist"
        )
        raise UnavailableError(f"the folder {folder} {state}")
    return found


def check_complete(
    folder: Path, names: Iterable[str], found: Collection[str], address: str
) -> None:
    """Checks that files which belong together are all there.

    Args:
      folder: where they were looked for.
      names: of the files that belong together.
      found: what `present` found.
      address: where what is missing can be had.

    Raises:
      DataError: some are missing.
    """
    names = list(names)
    missing = [name for name in names if name not in found]
    if missing:
        beside = [name for name in names if name in found]
        raise DataError(
            f"{folder}: {', '.join(missing)} not found, expected beside "
            f"{', '.join(beside)}. Get what is missing from {address}, or name another "
            "--data-dir."
        )


def unpack(packed: bytes, size: int | None = None, limit: int = -1) -> bytes:
    """Decompresses gzip data.

    Args:
      packed: the data.
      size: how many bytes they should be, for the messages, if that is known.
      limit: how many bytes to unpack at most; -1 is all.

    Returns:
      What was in them, or the first `limit` bytes of it.

    Raises:
      WrongError: the data are cut off, damaged or no gzip data.
    """
    whole = None if size is None else f"{size} bytes"
    if not packed:  # to gzip, nothing is well-formed
        raise WrongError(f"truncated: found 0 bytes, expected {whole or 'gzip data'}.")
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(packed)).read(limit)
    except EOFError:
        raise WrongError(
            f"truncated: the gzip data stop after {len(packed)} bytes, expected "
            f"{whole or 'their end mark'}."
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise WrongError(
            f"damaged: expected intact gzip data, found: {error}."
        ) from None


def check_labels(labels: np.ndarray) -> None:
    """Checks that there are ten classes at most.

    Args:
      labels: (N,) uint8.

    Raises:
      WrongError: a label is above 9.
    """
    if labels.max(initial=0) > 9:
        where = int(labels.argmax())
        raise WrongError(
            f"wrong label: found {labels[where]} at position {where}, expected 0 to 9."
        )


def check_sha256(content: bytes, expected: str) -> None:
    """Checks that a file is the original.

    Args:
      content: all of the file.
      expected: the original's SHA-256.

    Raises:
      WrongError: it is another file.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise WrongError(f"wrong SHA-256: found {found}, expected {expected}.")


def replace_it(address: str) -> str:
    """What to do about a wrong file in the user's folder, as a sentence."""
    return f"Replace it by the original from {address}, or name another --data-dir."
