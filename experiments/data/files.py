"""Original files in a folder, and the errors that all sources of a dataset share."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.errors import DataError

INSTALL = 'install the `experiments` extra with `pip install -e ".[experiments]"`'


class UnavailableError(Exception):
    """A source lacks the dataset; the message is a clause without a full stop."""


class Original(NamedTuple):
    """Size in bytes and, if known, SHA-256 of an original file."""

    size: int
    sha256: str | None = None


def find(
    folder: Path, groups: Iterable[Sequence[str]], title: str, address: str
) -> list[Path]:
    """Find the first group of files of which any lies in a folder, and all must."""
    try:
        for names in groups:
            missing = [name for name in names if not (folder / name).is_file()]
            if not missing:
                return [folder / name for name in names]
            if len(missing) < len(names):
                present = ", ".join(name for name in names if name not in missing)
                raise DataError(
                    f"{folder}: {', '.join(missing)} not found, expected beside "
                    f"{present}. Get what is missing from {address}, or name another "
                    "--data-dir."
                )
        if folder.exists() and not folder.is_dir():
            raise DataError(
                f"{folder}: found a file, expected a folder. Name the folder that "
                f"holds {title}'s files with --data-dir."
            )
        state = f"holds none of {title}'s files" if folder.exists() else "is missing"
    except OSError as error:
        raise DataError(f"{folder}: {error}. Name another --data-dir.") from None
    raise UnavailableError(f"the folder {folder} {state}")


def read(path: Path, original: Original, remedy: str) -> bytes:
    """Read a file that must be the original.

    The size is compared first, and nothing is unpacked before the checksum is: neither
    a huge nor a hostile file does any harm.
    """
    try:
        size = path.stat().st_size
        if size != original.size:
            wrong = f"size: found {size} bytes, expected {original.size}"
            raise DataError(f"{path}: wrong {wrong}. {remedy}")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error}. {remedy}") from None
    found = original.sha256 and hashlib.sha256(content).hexdigest()
    if found != original.sha256:
        wrong = f"SHA-256: found {found}, expected {original.sha256}"
        raise DataError(f"{path}: wrong {wrong}. {remedy}")
    return content


def replace_from(address: str) -> str:
    """Advice on a wrong file in the user's folder."""
    return f"Replace it by the original from {address}, or name another --data-dir."
