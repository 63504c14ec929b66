"""The run directory: the only thing an experiment writes.

``config.json`` is written at the start, ``metrics.jsonl`` gets one line an epoch,
``summary.json`` is replaced after each epoch and says whether the run has finished.
Whatever stops a run, each of these files is either whole or not there. Of several
processes, the first writes; models are written by all together.
"""

import contextlib
import datetime
import glob
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import jax
import orbax.checkpoint as ocp

from bopt.fronts import Front
from bopt.selections import path_name
from experiments.devices import on_first
from experiments.errors import RunDirectoryError
from experiments.runs.quiet_orbax import quiet_orbax


class RunDirectory:
    """One run's files.

    Attributes:
      path: the folder.

    Example:
      >>> import tempfile
      >>> from experiments.runs.directory import RunDirectory, read
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
        """Makes a new run directory.

        Args:
          out: the folder, which must not hold a run; None: runs/EXPERIMENT-TIME.
          experiment: the program's name.

        Raises:
          RunDirectoryError: it holds a run, or cannot be made.
        """
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        path = Path(out) if out else _free(Path("runs") / f"{experiment}-{now}")
        if glob.has_magic(str(path.absolute())):
            raise RunDirectoryError(
                f"--out is {path}: the network cannot be saved (by Orbax) under a path "
                "with *, ? or [. Choose another --out."
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
                f"{self.path} already holds a run ({taken[0]}). Go on with it by "
                "--resume, choose another --out, or remove it."
            )

    def make(self) -> None:
        """Makes the folder.

        Raises:
          RunDirectoryError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(
                f"Cannot make {self.path}: {error.strerror}."
            ) from error

    @contextlib.contextmanager
    def locked(self, new: bool) -> Iterator[None]:
        """Keeps other processes from writing here, until it ends or is killed.

        Args:
          new: whether it must not hold a run.

        Raises:
          RunDirectoryError: another process is writing here, or a new one holds a run.
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
            except OSError as error:
                raise self._not_written(self.path, error) from error
            if new:  # another may have begun since it was made
                self._check_new()
            else:
                self._cut_half_line()

        try:
            on_first(acquire)
            yield
        finally:
            lock.release()

    def _cut_half_line(self) -> None:
        """Removes what a killed process left of a line of front.csv."""
        file = self.path / "front.csv"
        try:
            if file.is_file() and not (content := file.read_bytes()).endswith(b"\n"):
                os.truncate(file, content.rfind(b"\n") + 1)
        except OSError as error:
            raise self._not_written(file, error) from error

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes config.json, whole or not at all."""
        self._replace("config.json", _json(config))

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Replaces summary.json, whole or not at all."""
        self._replace("summary.json", _json(summary))

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Appends a line to metrics.jsonl, whole or not at all."""
        self._append("metrics.jsonl", _line(row))

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Replaces metrics.jsonl, whole or not at all."""
        self._replace("metrics.jsonl", "".join(map(_line, rows)))

    def load_model(self, name: str, like: Any) -> Any:
        """Reads parameters that `save_model` saved.

        Args:
          name: the folder.
          like: a tree of arrays, or of their shapes, as they were saved.

        Raises:
          RunDirectoryError: there are none, or they are another model's.
        """
        path = (self.path / name).absolute()
        try:
            with quiet_orbax(), ocp.StandardCheckpointer() as checkpointer:
                found = checkpointer.metadata(path).item_metadata.tree
                check_tree(described(found), described(like), path)
                return checkpointer.restore(path, like)
        except (OSError, ValueError) as error:
            raise RunDirectoryError(f"Cannot read {path}: {error}") from error

    def append_points(self, points: Front, front: Front) -> None:
        """Appends to front.csv, whole or not at all; and writes front.json anew.

        Args:
          points: the new points.
          front: all points, the new ones among them.
        """
        header = not (self.path / "front.csv").exists()
        self._append("front.csv", points.to_csv(header=header))
        self._replace("front.json", _json(json.loads(front.to_json())))

    def save_model(self, params: Any, name: str = "model") -> None:
        """Saves the parameters, zeros included, into the folder `name` (Orbax)."""
        path = self.path / name
        try:
            with quiet_orbax(), ocp.StandardCheckpointer() as checkpointer:
                checkpointer.save(path.absolute(), params, force=True)
        except (OSError, ValueError) as error:  # ValueError: TensorStore's, disk full
            raise self._not_written(path, error) from error

    def _append(self, name: str, text: str) -> None:
        if jax.process_index() != 0:
            return
        path, content = self.path / name, text.encode()
        try:
            with open(path, "ab", buffering=0) as file:
                size = file.tell()
                try:
                    written = file.write(content)
                    if written != len(content):
                        file.write(content[written:])  # raises what stopped the first
                except OSError:
                    file.truncate(size)
                    raise
        except OSError as error:
            raise self._not_written(path, error) from error

    def _replace(self, name: str, text: str) -> None:
        if jax.process_index() != 0:
            return
        path = self.path / name
        temporary = path.with_suffix(".partial")
        try:
            temporary.write_text(text)
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._not_written(path, error) from error

    def _not_written(self, path: Path, error: Exception) -> RunDirectoryError:
        return RunDirectoryError(
            f"Cannot write {path}: {reason(error)}. The epochs finished before are "
            f"intact in {self.path}; free some room or choose another --out."
        )


def reason(error: Exception) -> str:
    """What an error says, in a line, without TensorStore's long specification.

    Example:
      >>> from experiments.runs.directory import reason
      >>> reason(ValueError("No space left [tensorstore_spec='{...}']"))
      'No space left'
    """
    text = getattr(error, "strerror", None) or str(error).strip()
    line = (text.splitlines() or [type(error).__name__])[0]
    return re.split(r" \[(?:tensorstore_spec|os_error_code)=", line)[0]


def described(tree: Any) -> dict[str, list[Any]]:
    """Path -> shape and dtype, for JSON, of all the arrays in a tree.

    Example:
      >>> import numpy as np
      >>> from experiments.runs.directory import described
      >>> described({"Dense_0": {"bias": np.zeros(3)}})
      {'Dense_0/bias': [[3], 'float64']}
    """
    return {
        path_name(path): [list(leaf.shape), str(leaf.dtype)]
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def check_tree(found: dict[str, Any], expected: dict[str, Any], name: Path) -> None:
    """Compares what `described` says of two trees.

    Raises:
      RunDirectoryError: they differ; the message names the file and the first array.

    Example:
      >>> from pathlib import Path
      >>> from experiments.runs.directory import check_tree
      >>> check_tree({"w": [[2], "int32"]}, {}, Path("runs/a/model"))
      Traceback (most recent call last):
      experiments.errors.RunDirectoryError: runs/a/model is of another model or \
optimizer: it has int32[2] as w; expected nothing.
    """
    for path in dict.fromkeys((*found, *expected)):
        there, here = (
            f"{tree[path][1]}{tree[path][0]}" if path in tree else "nothing"
            for tree in (found, expected)
        )
        if there != here:
            raise RunDirectoryError(
                f"{name} is of another model or optimizer: it has {there} as {path}; "
                f"expected {here}."
            )


class Run(NamedTuple):
    """A run read back from its directory: `path`, `config`, `metrics`, `summary`.

    Attributes:
      path: the folder.
      config: the content of config.json.
      metrics: the lines of metrics.jsonl.
      summary: the content of summary.json, empty before the first epoch.

    Example:
      >>> from pathlib import Path
      >>> from experiments.runs.directory import Run
      >>> Run(Path("runs/a"), {"experiment": "mnist_lenet"}, [], {}).path.name
      'a'
    """

    path: Path
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    summary: dict[str, Any]


def read(path: str | Path) -> Run:
    """Reads a run directory, finished or not.

    Args:
      path: the folder.

    Returns:
      A `Run`.

    Raises:
      RunDirectoryError: no config.json or no metrics.jsonl, or a line of the latter
        that is not JSON (it is named).

    Example:
      >>> from experiments.runs.directory import read
      >>> read("nowhere")
      Traceback (most recent call last):
      experiments.errors.RunDirectoryError: nowhere holds no run: it has no \
config.json. Name a folder that an experiment wrote with --out.
    """
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
                f"{path / 'metrics.jsonl'}, line {number}, is not JSON: {error}."
            ) from error
    config, summary = (
        read_json(path / name) for name in ("config.json", "summary.json")
    )
    return Run(path, config, metrics, summary)


def read_json(file: Path) -> dict[str, Any]:
    """Reads a file of a run directory; {} if it is not there.

    Raises:
      RunDirectoryError: it cannot be read, or is not JSON.

    Example:
      >>> from pathlib import Path
      >>> from experiments.runs.directory import read_json
      >>> read_json(Path("nowhere/summary.json"))
      {}
    """
    try:
        return json.loads(file.read_text()) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"Cannot read {file}: {error}.") from error


def read_front(path: str | Path) -> Front:
    """Reads the points of a front, finished or not.

    Args:
      path: the run directory.

    Returns:
      A `bopt.fronts.Front`; empty before the first training has ended.

    Raises:
      RunDirectoryError: a front.csv that cannot be read; the line is named.

    Example:
      >>> from experiments.runs.directory import read_front
      >>> len(read_front("nowhere"))
      0
    """
    file = Path(path) / "front.csv"
    try:
        return Front.from_csv(file.read_text() if file.is_file() else "")
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"Cannot read {file}: {error}") from error


def _free(path: Path) -> Path:
    """The path, or the first of path-2, path-3, ... that is not there."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def nulled(value: Any) -> Any:
    """The same for JSON: lists for tuples, and null for NaN and infinity.

    Example:
      >>> from experiments.runs.directory import nulled
      >>> nulled({"a": (1, float("nan"))})
      {'a': [1, None]}
    """
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
