"""Runs that are stopped and resumed, and their results."""

import contextlib
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments.training import trainer as trainer_module
from experiments.training.trainer import Progress, Trainer

# Keys whose values differ between any two runs.
TIMED = frozenset({"seconds", "seconds_total", "seconds_compile", "steps_per_second"})
TIMED |= {"seconds_search", "training_seconds"}


def untimed(value: Any) -> Any:
    """Remove all times, at any depth."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k not in TIMED}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def arrays(folder: Path) -> list[tuple[str, tuple[int, ...], bytes]]:
    """Return dtype, shape and bits of each array that Orbax saved."""
    with ocp.StandardCheckpointer() as checkpointer:
        found = checkpointer.metadata(folder.absolute()).item_metadata.tree
        like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), found)
        leaves = jax.tree.leaves(checkpointer.restore(folder.absolute(), like))
    return [(str(leaf.dtype), leaf.shape, leaf.tobytes()) for leaf in leaves]


def newest(path: Path, folder: str = "checkpoints") -> Path:
    """Return the folder of the last checkpoint."""
    folders = (path / folder).iterdir()
    steps = [folder for folder in folders if folder.name.isdigit()]
    return max(steps, key=lambda folder: int(folder.name))


def results(path: Path, checkpoints: bool = True) -> dict[str, Any]:
    """Return everything that a run directory holds, except times; with several seeds,
    that of each, too."""
    assert not list(path.rglob("*tmp*")), "an unfinished file was left behind"
    found: dict[str, Any] = {}
    for folder in (path, *sorted(path.glob("seed-*"))):
        name = folder.name if folder != path else ""
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        found[f"{name}/metrics"] = untimed([json.loads(line) for line in lines])
        found[f"{name}/summary"] = untimed(
            json.loads((folder / "summary.json").read_text())
        )
        if (folder / "model").is_dir():
            found[f"{name}/model"] = arrays(folder / "model")
    if checkpoints:
        last = newest(path)
        found["step"], found["carry"] = last.name, arrays(last / "state")
        record = json.loads((last / "record" / "metadata").read_text())
        found["recorded"] = untimed(record["recorded"])
    return found


def snapshot(path: Path) -> dict[str, tuple[int, bytes]]:
    """Return the time and the content of all files."""
    return {
        str(file.relative_to(path)): (file.stat().st_mtime_ns, file.read_bytes())
        for file in path.rglob("*")
        if file.is_file()
    }


@contextlib.contextmanager
def stopping(step: int | None, number: int = signal.SIGTERM):
    """Send this process a signal after a number of steps, each a chunk of its own.

    Yields:
      A list that grows by each step that is done.
    """
    done: list[Progress] = []
    epoch = Trainer.epoch

    def stopped(self, *args):
        for progress in epoch(self, *args):
            done.append(progress)
            if len(done) == step:
                signal.raise_signal(number)
            yield progress

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "CHUNK_SECONDS", 0)
        patch.setattr(Trainer, "epoch", stopped)
        yield done


class Killed(BaseException):
    """Nothing catches it, as nothing catches kill -9."""


@contextlib.contextmanager
def killed(
    owner: Any, name: str, call: int = 1, when: Callable[..., Any] | None = None
):
    """Stop the block as a kill does, just before a call of a function.

    Args:
      owner: module or class of the function.
      name: its name.
      call: number of the call, from 1.
      when: arguments to whether a call counts; default: all count.
    """
    function, calls = getattr(owner, name), []

    def stopped(*args, **kwargs):
        if when is None or when(*args, **kwargs):
            calls.append(name)
            if len(calls) == call:
                raise Killed
        return function(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, name, stopped)
        yield
