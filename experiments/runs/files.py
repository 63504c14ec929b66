"""Files inside a folder, which may come from somebody else.

Nothing is written, followed or removed outside of the folder: names lead into it, and
symbolic links in it are refused. The folder itself and its parents may be links.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from experiments.errors import RunDirectoryError

# Files and folders that only a run directory has.
FIRST = ("config.json", "metrics.jsonl", "summary.json", "front.csv", "checkpoints")
_PARTIAL = ".partial"  # end of the names of files that are being written
_ORBAX_PARTIAL = ".orbax-checkpoint-tmp"  # in the names of Orbax's folders
# Errors of file systems that cannot synchronize a folder.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.EBADF}


def check_new(path: Path) -> None:
    """Check that a folder holds no run."""
    seeds = (f"{own.name}/config.json" for own in path.glob("seed-*"))
    for name in (*FIRST, *seeds):
        if (path / name).exists():
            raise RunDirectoryError(
                f"{path} already holds a run ({name}). Resume it with --resume, choose "
                "another --out, or remove it."
            )


def within(root: Path, name: str) -> Path:
    """Return the path of a file or folder inside of `root`, which may be missing."""
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise RunDirectoryError(
            f"{name!r} is no name inside of {root}; expected a relative path without "
            "'..'. Restore the files of the run, or start a new one."
        )
    path = root
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise RunDirectoryError(
                f"{path} is a symbolic link; expected a file or folder of the run "
                "itself. Replace it by a copy of what it leads to, or remove it."
            )
    return path


def write(root: Path, name: str, content: str | bytes) -> Path:
    """Write or replace a file: whole or not at all, even if the power fails."""
    path = within(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_PARTIAL}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(temporary, flags, 0o666), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return path


def sync_folder(path: Path) -> None:
    """Put the names in a folder on disk, if its file system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Put a folder that others have written on disk, its own name included."""
    for folder, _, names in os.walk(path):
        for name in names:
            with open(Path(folder, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(folder))
    sync_folder(path.parent)


def remove(root: Path, name: str) -> None:
    """Remove a file or folder, if it is there; links in it are not followed."""
    path = within(root, name)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def tidy(root: Path, names: Iterable[str]) -> None:
    """Refuse symbolic links, and remove what killed processes left half-written.

    `names` are the files and folders in `root` that may be there.
    """
    paths = [within(root, name) for name in names]
    paths += [*root.glob(f".*{_PARTIAL}"), *root.glob(f"*{_ORBAX_PARTIAL}*")]
    for path in tuple(paths):
        for folder, folders, others in os.walk(path):
            paths += [Path(folder, name) for name in (*folders, *others)]
    names = [str(path.relative_to(root)) for path in paths]
    for name in names:
        within(root, name)
    for name in names:
        last = Path(name).name
        own = last.startswith(".") and last.endswith(_PARTIAL)
        if own or _ORBAX_PARTIAL in last:
            remove(root, name)


def read(path: Path, limit: int) -> str:
    """Read a text file of at most `limit` bytes."""
    if path.exists() and not path.is_file():  # a pipe would wait for a writer
        raise IsADirectoryError(errno.EISDIR, "Not a file")
    with open(path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"It has more than {limit:,} bytes")
    return content.decode("utf-8-sig")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Report a failure of the block, which writes `path`, in one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        # TensorStore raises a ValueError when the disk is full; another one may be a
        # mistake of ours, or a lost process, which JAX reports.
        if isinstance(error, ValueError) and "writ" not in str(error):
            raise
        raise RunDirectoryError(
            f"Cannot write {path}: {reason(error)}. The epochs before are intact; free "
            "some space and use --resume, or choose another --out."
        ) from error


@contextlib.contextmanager
def reading(name: Path | str) -> Iterator[None]:
    """Report a failure of the block, which reads `name`, in one line."""
    try:
        yield
    except (OSError, ValueError, RecursionError) as error:
        raise RunDirectoryError(
            f"Cannot read {name}: {reason(error)}. Restore it, or start a new run."
        ) from error


def reason(error: Exception) -> str:
    """Return an error's message in one line, of TensorStore's the innermost cause."""
    text = getattr(error, "strerror", None) or str(error).strip()
    line = (text.splitlines() or [type(error).__name__])[0]
    line, *details = re.split(r" \[(?:tensorstore_spec|os_error_code)=", line)
    return (line.rpartition(": ")[2] if details else line).rstrip(".")
