"""The run directory: the only output of an experiment.

`config.json` is written at the start, `metrics.jsonl` gets one line per epoch, and
`summary.json` is replaced after each epoch and records whether the run has finished.
Whatever stops a run, each of these files is either whole or absent. With several
processes, the first one writes these files and all of them save a model together.
Whatever cannot be written or read is a `RunDirectoryError`.
"""

import contextlib
import datetime
import glob
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import jax

from bopt.fronts import Front
from bopt.selections import path_name
from experiments.devices import on_first
from experiments.errors import RunDirectoryError

# Orbax logs a traceback of every failure, which ends in a one-line error here.
logging.getLogger("absl").setLevel(logging.CRITICAL)

_OVERHEAD = 2**18  # bytes beside the arrays in a saved model, rounded up generously


class RunDirectory:
    """Writer of one run's files."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, out: str | None, experiment: str) -> "RunDirectory":
        """Make a new run directory: `out`, or by default runs/EXPERIMENT-TIME."""
        default = f"runs/{experiment}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
        path, number = Path(out or default), 2
        while not out and path.exists():  # of a run that started in the same second
            path, number = Path(f"{default}-{number}"), number + 1
        if glob.has_magic(str(path.absolute())):
            raise RunDirectoryError(
                f"--out is {path}, but Orbax cannot save a network under a path with "
                "*, ? or [. Choose another --out."
            )
        directory = cls(path)
        on_first(directory.make)
        on_first(directory._check_new)
        return directory

    def _check_new(self) -> None:
        for name in ("config.json", "metrics.jsonl", "summary.json", "front.csv"):
            if (self.path / name).exists():
                raise RunDirectoryError(
                    f"{self.path} already holds a run ({name}). Resume it with "
                    "--resume, choose another --out, or remove it."
                )

    def make(self) -> None:
        """Make the folder."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(
                f"Cannot make {self.path}: {error.strerror}. Choose another --out."
            ) from error

    @contextlib.contextmanager
    def locked(self, new: bool) -> Iterator[None]:
        """Keep other processes out during the block; if `new`, no run may be there."""
        lock = filelock.FileLock(self.path / ".lock", blocking=False)

        def acquire() -> None:
            with writing(self.path):
                try:
                    lock.acquire()
                except filelock.Timeout as error:
                    raise RunDirectoryError(
                        f"Another process is writing {self.path}. Wait until it ends, "
                        "or choose another --out."
                    ) from error
            if new:  # another process may have started since `create`
                self._check_new()

        try:
            on_first(acquire)
            yield
        finally:
            lock.release()

    def write_config(self, config: dict[str, Any]) -> None:
        """Write config.json."""
        self._write("config.json", _json(config, indent=1))

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write or replace summary.json."""
        self._write("summary.json", _json(summary, indent=1))

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        self._write("metrics.jsonl", _json(row), append=True)

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Write or replace metrics.jsonl."""
        self._write("metrics.jsonl", "".join(map(_json, rows)))

    def append_points(self, points: Front, front: Front) -> None:
        """Append new points to front.csv and replace front.json by the whole front."""
        header = not (self.path / "front.csv").exists()
        self._write("front.csv", points.to_csv(header=header), append=True)
        self._write("front.json", _json(json.loads(front.to_json()), indent=1))

    def _write(self, name: str, text: str, append: bool = False) -> None:
        """Write a file, whole or not at all."""
        if jax.process_index() != 0:
            return
        path = self.path / name
        temporary = path.with_suffix(".partial")
        with writing(path):
            before = path.read_text() if append and path.exists() else ""
            try:
                temporary.write_text(before + text)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def save_model(self, params: Any, name: str = "model") -> None:
        """Save parameters, zeros included, into the folder `name`."""
        import orbax.checkpoint as ocp  # seconds, which readers of runs need not wait

        path = (self.path / name).absolute()
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))

        def check_space() -> None:
            # Here a full disk is one error; TensorStore's threads print many.
            with writing(path), tempfile.TemporaryFile(dir=self.path) as file:
                file.write(bytes(size + _OVERHEAD))

        on_first(check_space)
        with writing(path), ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path, params, force=True)

    def load_model(self, name: str, like: Any) -> Any:
        """Load what `save_model` saved; `like` has arrays, or their shapes."""
        import orbax.checkpoint as ocp

        path = (self.path / name).absolute()
        with _reading(path), ocp.StandardCheckpointer() as checkpointer:
            found = checkpointer.metadata(path).item_metadata
            if found is None:
                raise OSError("It is missing or damaged")
            check_tree(described(found.tree), described(like), path)
            return checkpointer.restore(path, like)


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
def _reading(name: Path | str) -> Iterator[None]:
    """Report a failure of the block, which reads `name`, in one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise RunDirectoryError(
            f"Cannot read {name}: {reason(error)}. Restore it, or start a new run."
        ) from error


def reason(error: Exception) -> str:
    """Return an error's message in one line, of TensorStore's the innermost cause."""
    text = getattr(error, "strerror", None) or str(error).strip()
    line = (text.splitlines() or [type(error).__name__])[0]
    line, *details = re.split(r" \[(?:tensorstore_spec|os_error_code)=", line)
    return (line.rpartition(": ")[2] if details else line).rstrip(".")


def described(tree: Any) -> dict[str, str]:
    """Return path -> dtype[shape] of all arrays in a tree."""
    return {
        path_name(path): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def check_tree(found: dict[str, str], expected: dict[str, str], name: Path) -> None:
    """Compare two results of `described`."""
    for path in found | expected:
        there, here = (tree.get(path, "nothing") for tree in (found, expected))
        if there != here:
            raise RunDirectoryError(
                f"{name} belongs to another model or optimizer: {path} is {there}; "
                f"expected {here}. Use the options that it was written with."
            )


class Run(NamedTuple):
    """Content of a run directory; `summary` is empty before the first epoch."""

    path: Path
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    summary: dict[str, Any]


def read(path: str | Path) -> Run:
    """Read a run directory, finished or not."""
    path = Path(path)
    for name in ("config.json", "metrics.jsonl"):
        if not (path / name).is_file():
            raise RunDirectoryError(
                f"{path} holds no run: it has no {name}. Name a folder that an "
                "experiment wrote with --out."
            )
    file, metrics = path / "metrics.jsonl", []
    with _reading(file):
        lines = file.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        with _reading(f"{file}, line {number}"):
            metrics.append(_object(line))
    config, summary = read_json(path / "config.json"), read_json(path / "summary.json")
    return Run(path, config, metrics, summary)


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; a missing file is an empty one."""
    with _reading(file):
        return _object(file.read_text()) if file.is_file() else {}


def _object(text: str) -> dict[str, Any]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("It is not a JSON object")
    return content


def read_front(path: str | Path) -> Front:
    """Read the points of a front so far from its run directory."""
    file = Path(path) / "front.csv"
    with _reading(file):
        return Front.from_csv(file.read_text() if file.is_file() else "")


def nulled(value: Any) -> Any:
    """Convert for JSON: tuples to lists, NaN and infinity to null."""
    return json.loads(json.dumps(value), parse_constant=lambda name: None)


def _json(content: dict[str, Any], indent: int | None = None) -> str:
    return json.dumps(nulled(content), indent=indent) + "\n"
