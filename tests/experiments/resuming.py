"""Runs that are stopped, and what came of them when they went on."""

import contextlib
import json
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments.training import trainer as train
from experiments.training.progress import Progress
from experiments.training.trainer import Trainer

# What no two runs have in common.
TIMED = frozenset({"seconds", "seconds_total", "seconds_compile", "steps_per_second"})
TIMED |= {"seconds_search", "training_seconds"}


def untimed(value: Any) -> Any:
    """The same without times, however deep."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k not in TIMED}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def arrays(folder: Path) -> list[tuple[str, tuple[int, ...], bytes]]:
    """All bits of what Orbax saved: dtype, shape and content of each array."""
    with ocp.StandardCheckpointer() as checkpointer:
        found = checkpointer.metadata(folder.absolute()).item_metadata.tree
        like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), found)
        leaves = jax.tree.leaves(checkpointer.restore(folder.absolute(), like))
    return [(str(leaf.dtype), leaf.shape, leaf.tobytes()) for leaf in leaves]


def newest(path: Path, folder: str = "checkpoints") -> Path:
    """The folder of the last checkpoint."""
    folders = (path / folder).iterdir()
    sound = [folder for folder in folders if folder.name.isdigit()]  # else damaged
    return max(sound, key=lambda folder: int(folder.name))


def results(path: Path, checkpoints: bool = True) -> dict[str, Any]:
    """All that a run directory holds and that does not tell the time; of several seeds,
    all of theirs, too."""
    assert not list(path.rglob("*tmp*")), "something half was left behind"
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
    """Of all files, when they were written and what they hold."""
    return {
        str(file.relative_to(path)): (file.stat().st_mtime_ns, file.read_bytes())
        for file in path.rglob("*")
        if file.is_file()
    }


@contextlib.contextmanager
def stopping(step: int | None, number: int = signal.SIGTERM):
    """Sends this process a signal once so many steps are done, each a chunk of its own.

    Yields:
      The steps that were done, as they are done.
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
        patch.setattr(train, "CHUNK_SECONDS", 0)
        patch.setattr(Trainer, "epoch", stopped)
        yield done
