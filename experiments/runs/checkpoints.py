"""Checkpoints: the complete state of a training on disk.

`checkpoints/` holds one folder per checkpoint, named by the number of steps done:
`state/` has the arrays of the trainer's carry, packed into one, and `record/` a JSON
object with `format`, `config` (as in config.json), `tree` (path -> type of every
array), `score`, what was `recorded` so far, and a `checksum` of everything. Orbax
writes them in the background, each whole or not at all.
"""

import contextlib
import io
import json
import math
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from rich.console import Console

from experiments.devices import on_first
from experiments.errors import RunDirectoryError
from experiments.runs.console import say
from experiments.runs.directory import check_tree, described, nulled
from experiments.runs.files import reason, sync_tree, writing

FORMAT = 3  # 1 had no axis over networks, 2 no sums of jacobians
_RECORD_LIMIT = 2**26  # bytes of the largest record that is read


class Saved(NamedTuple):
    """Content of a checkpoint."""

    step: int
    carry: Any
    recorded: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training: the last two and the one with the best score."""

    def __init__(self, path: Path, config: dict[str, Any], console: Console):
        self._path, self._config, self._console = path.absolute(), config, console
        self._scores: dict[int, float] = {}
        self._manager: Any = None
        self._newest: int | None = None  # being written

    def __enter__(self) -> "Checkpoints":
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self, cleanup_tmp_directories=True
        )
        with writing(self._path):
            self._manager = ocp.CheckpointManager(
                self._path, options=options, item_names=("state", "record")
            )
        for step in self._manager.all_steps():
            try:
                self._scores[step] = _comparable(self._record(step)["score"])
            except Exception:  # damaged or of format 1, which `restore` reports
                self._scores[step] = -math.inf
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            with contextlib.suppress(Exception):  # reported by `wait`, or not the first
                self._manager.close()

    def steps(self) -> list[int]:
        """Return the steps of all checkpoints, once the last one is written."""
        self.wait()
        return sorted(self._manager.all_steps())

    def wait(self) -> None:
        """Wait until the last checkpoint is on disk, even if the power fails."""
        newest, self._newest = self._newest, None

        def sync() -> None:
            with writing(self._path):
                sync_tree(self._path / str(newest))

        with writing(self._path):
            self._manager.wait_until_finished()
        if newest is not None:
            on_first(sync)

    def save(
        self,
        step: int,
        carry: Any,
        recorded: dict[str, Any],
        score: float | None = None,
    ) -> None:
        """Save in the background, unless there is a checkpoint of this step.

        The arrays may be donated afterwards. A score of None or NaN counts as lowest.
        """
        if step in self._manager.all_steps():
            return
        self.wait()
        self._scores[step] = _comparable(score)
        packed = _pack(carry)
        record = nulled(
            {
                "format": FORMAT,
                "config": self._config,
                "tree": described(carry),
                "score": self._scores[step],
                "recorded": recorded,
            }
        )
        record["checksum"] = _checksum(packed, record)
        args = ocp.args.Composite(
            state=ocp.args.StandardSave({"packed": packed}),
            record=ocp.args.JsonSave(record),
        )
        with writing(self._path):
            self._manager.save(step, args=args, force=True)
        self._newest = step

    def restore(self, like: Any, same: dict[str, Any] | None = None) -> Saved | None:
        """Return the newest readable checkpoint; report and delete damaged newer ones.

        `like` is a carry of the same shapes and dtypes. Checkpoints that have recorded
        other values of the keys in `same` are of no use, and deleted.
        """
        same = same or {}
        steps = sorted(self._manager.all_steps(), reverse=True)
        for newer, step in enumerate(steps):
            try:
                saved = self._read(step, like, same)
            except RunDirectoryError:
                raise
            except Exception as error:  # Orbax and JSON raise many kinds
                name = self._path / str(step)
                say(self._console, f"Checkpoint {name} is damaged: {reason(error)}")
                continue
            if newer:
                say(self._console, f"Using the checkpoint before, of step {step}.")
            with writing(self._path):
                for damaged in steps[:newer] if saved else steps:
                    self._manager.delete(damaged)
            return saved
        if steps:
            raise RunDirectoryError(
                f"All checkpoints in {self._path} are damaged. Remove that folder to "
                "restart the training from the beginning."
            )
        return None

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        """Choose the checkpoints to keep; called by Orbax after each save."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        best = max(steps, key=lambda step: (self._scores[step], step), default=None)
        return [step in (*steps[-2:], best) for step in steps]

    def _record(self, step: int) -> dict[str, Any]:
        if (self._path / f"{step}/record/metadata").stat().st_size > _RECORD_LIMIT:
            raise ValueError(f"the record has more than {_RECORD_LIMIT:,} bytes")
        args = ocp.args.Composite(record=ocp.args.JsonRestore())
        return self._manager.restore(step, args=args).record

    def _read(self, step: int, like: Any, same: dict[str, Any]) -> Saved | None:
        record, name = self._record(step), self._path / str(step)
        if record["format"] != FORMAT:
            other = "an earlier" if record["format"] < FORMAT else "a later"
            raise RunDirectoryError(
                f"{name} was written by {other} version of bopt: its format is "
                f"{record['format']}; expected {FORMAT}. Resume with that version, or "
                "start a new run; figures and reports can still be made of this one."
            )
        if any(record["recorded"][key] != value for key, value in same.items()):
            return None
        check_tree(record["tree"], described(like), name)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(like))
        args = ocp.args.StandardRestore({"packed": np.zeros(size, np.uint8)})
        restored = self._manager.restore(step, args=ocp.args.Composite(state=args))
        packed = restored.state["packed"]
        if record.pop("checksum") != _checksum(packed, record):
            raise ValueError("the checksum differs")
        return Saved(step, _unpack(packed, like), record["recorded"])


def _comparable(score: float | None) -> float:
    return float(score) if score is not None and math.isfinite(score) else -math.inf


def _pack(tree: Any) -> np.ndarray:
    """Concatenate the bytes of all arrays.

    A read or write of several arrays at once that fails in one of them leaves the
    others running; TensorStore's threads then print tracebacks at any later time.
    """
    leaves = map(np.asarray, jax.tree.leaves(tree))
    return np.frombuffer(b"".join(leaf.tobytes() for leaf in leaves), np.uint8)


def _unpack(packed: np.ndarray, like: Any) -> Any:
    content = io.BytesIO(packed.data)

    def unpack(leaf: Any) -> Any:
        host = np.frombuffer(content.read(leaf.nbytes), leaf.dtype).reshape(leaf.shape)
        return host if isinstance(leaf, np.ndarray) else jax.device_put(host)

    return jax.tree.map(unpack, like)


def _checksum(packed: np.ndarray, record: dict[str, Any]) -> int:
    text = json.dumps(record, sort_keys=True)
    return zlib.crc32(text.encode(), zlib.crc32(packed.data))
