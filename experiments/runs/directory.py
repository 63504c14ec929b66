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
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import filelock
import jax
import orbax.checkpoint as ocp

from bopt.fronts import Front
from bopt.selections import path_name
from experiments.devices import on_first
from experiments.errors import RunDirectoryError

# Orbax logs a traceback of every failure, which ends in a one-line error here.
logging.getLogger("absl").setLevel(logging.CRITICAL)

_T = TypeVar("_T")
_OVERHEAD = 2**18  # bytes beside the arrays in a saved model, rounded up generously


class RunDirectory:
    """Writer of one run's files.

    Example:
      >>> import tempfile
      >>> run = RunDirectory.create(tempfile.mkdtemp(), "example")
      >>> run.write_config({"seed": 0})
      >>> run.append_metrics({"epoch": 0, "objectives": [float("nan"), 2.0]})
      >>> read(run.path).metrics
      [{'epoch': 0, 'objectives': [None, 2.0]}]
    """

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, out: str | None, experiment: str) -> "RunDirectory":
        """Make a new run directory: `out`, or by default runs/EXPERIMENT-TIME."""
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        path = Path(out) if out else _free(Path("runs") / f"{experiment}-{now}")
        if glob.has_magic(str(path.absolute())):
            raise RunDirectoryError(
                f"--out is {path}, but Orbax cannot save a network under a path with "
                "*, ? or [. Choose another --out."
            )
        directory = cls(path)

        def make() -> None:
            directory.make()
            directory._check_new()

        on_first(make)
        return directory

    def _check_new(self) -> None:
        names = ("config.json", "metrics.jsonl", "summary.json", "front.csv")
        taken = [name for name in names if (self.path / name).exists()]
        if taken:
            raise RunDirectoryError(
                f"{self.path} already holds a run ({taken[0]}). Resume it with "
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
        """Keep other processes from writing here until the block ends.

        Args:
          new: refuse a directory that holds a run.
        """
        lock = filelock.FileLock(self.path / ".lock")

        def acquire() -> None:
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout as error:
                raise RunDirectoryError(
                    f"Another process is writing {self.path}. Wait until it ends, or "
                    "choose another --out."
                ) from error

        def start() -> None:
            self._writing(acquire, self.path)
            if new:  # another process may have started since `create`
                self._check_new()

        try:
            on_first(start)
            yield
        finally:
            lock.release()

    def write_config(self, config: dict[str, Any]) -> None:
        """Write config.json."""
        self._write("config.json", _json(config))

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write or replace summary.json."""
        self._write("summary.json", _json(summary))

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        self._append("metrics.jsonl", _line(row))

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Write or replace metrics.jsonl."""
        self._write("metrics.jsonl", "".join(map(_line, rows)))

    def append_points(self, points: Front, front: Front) -> None:
        """Append new points to front.csv and replace front.json by the whole front."""
        header = not (self.path / "front.csv").exists()
        self._append("front.csv", points.to_csv(header=header))
        self._write("front.json", _json(json.loads(front.to_json())))

    def save_model(self, params: Any, name: str = "model") -> None:
        """Save parameters, zeros included, into the folder `name`."""
        path = self.path / name
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))

        def check_space() -> None:
            # Here a full disk is one error; TensorStore's threads print many.
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(bytes(size + _OVERHEAD))

        def save() -> None:
            with ocp.StandardCheckpointer() as checkpointer:
                checkpointer.save(path.absolute(), params, force=True)

        on_first(lambda: self._writing(check_space, path))
        self._writing(save, path)

    def load_model(self, name: str, like: Any) -> Any:
        """Load parameters that `save_model` saved.

        Args:
          name: the folder.
          like: tree of arrays or of their shapes.
        """
        path = (self.path / name).absolute()
        try:
            with ocp.StandardCheckpointer() as checkpointer:
                found = checkpointer.metadata(path).item_metadata
                if found is None:
                    raise OSError("It is missing or damaged")
                check_tree(described(found.tree), described(like), path)
                return checkpointer.restore(path, like)
        except (OSError, ValueError) as error:
            raise RunDirectoryError(
                f"Cannot read {path}: {reason(error)}. Train the network again."
            ) from error

    def _append(self, name: str, text: str) -> None:
        if jax.process_index() == 0:
            file = self.path / name
            self._write(name, (file.read_text() if file.exists() else "") + text)

    def _write(self, name: str, text: str) -> None:
        """Write a file, whole or not at all."""
        if jax.process_index() != 0:
            return
        path = self.path / name
        temporary = path.with_suffix(".partial")

        def write() -> None:
            try:
                temporary.write_text(text)
                os.replace(temporary, path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise

        self._writing(write, path)

    def _writing(self, action: Callable[[], Any], path: Path) -> None:
        writing(action, path, f"The epochs before are intact in {self.path}")


def writing(action: Callable[[], _T], path: Path, intact: str) -> _T:
    """Call an action that writes `path`."""
    try:
        return action()
    except (OSError, ValueError) as error:
        # TensorStore raises a ValueError when the disk is full; another one may be a
        # mistake of ours, or a lost process, which JAX reports.
        if isinstance(error, ValueError) and "writ" not in str(error):
            raise
        raise RunDirectoryError(
            f"Cannot write {path}: {reason(error)}. {intact}; free some space and use "
            "--resume, or choose another --out."
        ) from error


def reason(error: Exception) -> str:
    """Return what an error says in one line, of TensorStore's the innermost cause."""
    text = getattr(error, "strerror", None) or str(error).strip()
    line = (text.splitlines() or [type(error).__name__])[0]
    line, *details = re.split(r" \[(?:tensorstore_spec|os_error_code)=", line)
    return (line.rpartition(": ")[2] if details else line).rstrip(".")


def described(tree: Any) -> dict[str, list[Any]]:
    """Return path -> [shape, dtype] of all arrays in a tree."""
    return {
        path_name(path): [list(leaf.shape), str(leaf.dtype)]
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def check_tree(found: dict[str, Any], expected: dict[str, Any], name: Path) -> None:
    """Compare two results of `described`."""
    for path in dict.fromkeys((*found, *expected)):
        there, here = (
            f"{tree[path][1]}{tree[path][0]}" if path in tree else "nothing"
            for tree in (found, expected)
        )
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
    lines = (path / "metrics.jsonl").read_text().splitlines()
    metrics = []
    for number, line in enumerate(lines, 1):
        try:
            metrics.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise RunDirectoryError(
                f"{path / 'metrics.jsonl'}, line {number}, is not JSON: {error}. "
                "Remove the line, or resume the run, which writes the file anew."
            ) from error
    config, summary = (
        read_json(path / name) for name in ("config.json", "summary.json")
    )
    return Run(path, config, metrics, summary)


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; a missing file is an empty one."""
    try:
        return json.loads(file.read_text()) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"Cannot read {file}: {error}.") from error


def read_front(path: str | Path) -> Front:
    """Read the points of a front so far from its run directory."""
    file = Path(path) / "front.csv"
    try:
        return Front.from_csv(file.read_text() if file.is_file() else "")
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"Cannot read {file}: {error}") from error


def _free(path: Path) -> Path:
    """Return the path, or the first of path-2, path-3, ... that does not exist."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def nulled(value: Any) -> Any:
    """Convert for JSON: tuples to lists, NaN and infinity to null."""
    match value:
        case dict():
            return {key: nulled(item) for key, item in value.items()}
        case list() | tuple():
            return [nulled(item) for item in value]
        case float() if not math.isfinite(value):
            return None
    return value


def _line(row: dict[str, Any]) -> str:
    return json.dumps(nulled(row), allow_nan=False) + "\n"


def _json(content: dict[str, Any]) -> str:
    return json.dumps(nulled(content), indent=1, allow_nan=False) + "\n"
