"""The run directory: the only output of an experiment.

`config.json` is written at the start, `metrics.jsonl` gets one line per epoch, and
`summary.json` is replaced after each epoch and records whether the run has finished.
Whatever stops a run, each of these files is either whole or absent. With several
processes, the first one writes these files and all of them save a model together.
Whatever cannot be written is a `RunDirectoryError`.
"""

import contextlib
import datetime
import glob
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import jax

from bopt.fronts import Front
from bopt.selections import path_name
from experiments.devices import on_first
from experiments.errors import RunDirectoryError
from experiments.runs import files, schema

# Orbax logs a traceback of every failure, which ends in a one-line error here.
logging.getLogger("absl").setLevel(logging.CRITICAL)

_OVERHEAD = 2**18  # bytes beside the arrays in a saved model, rounded up generously
# Everything that a run may have, beside its seeds' folders.
_NAMES = (*files.FIRST, "front.json", "compare.csv", ".lock", "model", "networks")
_NAMES += ("figures",)


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
        on_first(lambda: files.check_new(path))
        return directory

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
        """Keep other processes out during the block; if `new`, no run may be there.

        Symbolic links in the run directory are refused, what killed processes left
        half-written is removed, and so is a new run that failed before its training.
        """
        lock = filelock.FileLock(files.within(self.path, ".lock"), blocking=False)

        def acquire() -> None:
            with files.writing(self.path):
                try:
                    lock.acquire()
                except filelock.Timeout as error:
                    raise RunDirectoryError(
                        f"Another process is writing {self.path}. Wait until it ends, "
                        "or choose another --out."
                    ) from error
            if new:  # another process may have started since `create`
                files.check_new(self.path)
            seeds = (folder.name for folder in self.path.glob("seed-*"))
            files.tidy(self.path, (*_NAMES, *seeds))

        try:
            on_first(acquire)
            try:
                yield
            except BaseException:
                if new and jax.process_index() == 0:
                    self._discard()
                raise
        finally:
            lock.release()

    def begun(self) -> bool:
        """Return whether there is a result or a checkpoint."""
        patterns = ("metrics.jsonl", "front.csv", "checkpoints/**/_CHECKPOINT_METADATA")
        return any(any(self.path.glob(f"**/{pattern}")) for pattern in patterns)

    def _discard(self) -> None:
        """Remove a new run that has not begun."""
        if self.begun():
            return
        seeds = (file.parent.name for file in self.path.glob("seed-*/config.json"))
        with contextlib.suppress(OSError):
            for name in ("config.json", "checkpoints", ".lock", *seeds):
                files.remove(self.path, name)
            self.path.rmdir()  # unless there is something else

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
        self._write(
            "front.csv", points.to_csv(schema.POINT_COLUMNS, header=header), append=True
        )
        self._write("front.json", _json(json.loads(front.to_json()), indent=1))

    def _write(self, name: str, text: str, append: bool = False) -> None:
        """Write a file, whole or not at all."""
        if jax.process_index() != 0:
            return
        path = self.path / name
        with files.writing(path):
            before = path.read_bytes() if append and path.exists() else b""
            files.write(self.path, name, before + text.encode())

    def remove(self, name: str) -> None:
        """Remove a file or folder, if it is there."""

        def remove() -> None:
            with files.writing(self.path / name):
                files.remove(self.path, name)

        on_first(remove)

    def save_model(self, params: Any, name: str = "model") -> None:
        """Save parameters, zeros included, into the folder `name`."""
        import orbax.checkpoint as ocp  # seconds, which readers of runs need not wait

        path = files.within(self.path, name).absolute()
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))

        def check_space() -> None:
            # Here a full disk is one error; TensorStore's threads print many.
            with files.writing(path), tempfile.TemporaryFile(dir=self.path) as file:
                file.write(bytes(size + _OVERHEAD))

        def sync() -> None:
            with files.writing(path):
                files.sync_tree(path)

        on_first(check_space)
        with files.writing(path), ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path, params, force=True)
        on_first(sync)

    def load_model(self, name: str, like: Any) -> Any:
        """Load what `save_model` saved; `like` has arrays, or their shapes."""
        import orbax.checkpoint as ocp

        path = files.within(self.path, name).absolute()
        with files.reading(path), ocp.StandardCheckpointer() as checkpointer:
            found = checkpointer.metadata(path).item_metadata
            if found is None:
                raise OSError("It is missing or damaged")
            check_tree(described(found.tree), described(like), path)
            return checkpointer.restore(path, like)


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


def nulled(value: Any) -> Any:
    """Convert for JSON: tuples to lists, NaN and infinity to null."""
    return json.loads(json.dumps(value), parse_constant=lambda name: None)


def _json(content: dict[str, Any], indent: int | None = None) -> str:
    return json.dumps(nulled(content), indent=indent) + "\n"
