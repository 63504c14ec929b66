"""Run directories of earlier versions: read, and refused clearly where not resumed.

`format-1` was interrupted in epoch 3 of 4 and written with Orbax 0.12, before the
carry had an axis over networks. It is never written again.
"""

import shutil
from pathlib import Path

import jax.numpy as jnp
import pytest
from rich.console import Console

from experiments.runs.checkpoints import Checkpoints
from experiments.runs.directory import RunDirectoryError
from experiments.runs.reading import read

FOLDER = Path(__file__).parent / "format-1"


@pytest.fixture
def path(tmp_path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "run"))


def test_its_files_are_read(path):
    run = read(path)
    assert [row["epoch"] for row in run.metrics] == [0, 1, 2]
    assert run.config["experiment"] == "small"
    assert run.summary["finished"] is False


def test_it_is_not_resumed(path):
    folder = path / "checkpoints"
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    message = (
        r"checkpoints/9 was written by an earlier version of bopt: its format is 1; "
        r"expected 3\. Resume with that version, or start a new run; figures and rep"
    )
    with Checkpoints(folder, {}, Console()) as checkpoints:
        assert checkpoints.steps() == [9]
        with pytest.raises(RunDirectoryError, match=message):
            checkpoints.restore({"w": jnp.zeros(1)})
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before
