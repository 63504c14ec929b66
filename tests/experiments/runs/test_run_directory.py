"""The run directory: files whole or not there, full disks, folders that will not do."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments.runs import directory as run_directory
from experiments.runs.directory import RunDirectory, RunDirectoryError, read

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def directory(tmp_path) -> RunDirectory:
    return RunDirectory.create(str(tmp_path / "run"), "example")


def files(directory: RunDirectory) -> set[str]:
    return {path.name for path in directory.path.iterdir()}


# Where


def test_the_default_folder_is_runs_experiment_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = RunDirectory.create(None, "mnist_lenet")
    assert found.path.is_dir()
    assert re.fullmatch(r"runs/mnist_lenet-\d{8}-\d{6}", str(found.path))


def test_two_runs_in_the_same_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [RunDirectory.create(None, "example").path for _ in range(3)]
    assert len(set(paths)) == 3


def test_folders_are_made_and_an_empty_one_is_taken(tmp_path):
    deep = tmp_path / "a" / "b"
    assert RunDirectory.create(str(deep), "example").path == deep
    assert RunDirectory.create(str(deep), "example").path == deep


def test_a_folder_that_holds_a_run_is_refused(directory):
    directory.write_config({"seed": 1})
    with pytest.raises(RunDirectoryError, match=r"run already holds a run \(config\."):
        RunDirectory.create(str(directory.path), "example")
    assert read_json(directory.path / "config.json") == {"seed": 1}


@pytest.mark.parametrize("name", ["metrics.jsonl", "summary.json"])
def test_what_is_left_of_a_run_is_not_written_to(tmp_path, name):
    (tmp_path / name).write_text("left over")
    with pytest.raises(RunDirectoryError, match=rf"already holds a run \({name}\)"):
        RunDirectory.create(str(tmp_path), "example")
    assert (tmp_path / name).read_text() == "left over"


def test_a_path_that_the_network_cannot_be_saved_under_is_refused(tmp_path):
    """Orbax globs its path: the model could not be restored from lr[1e-3]."""
    with pytest.raises(RunDirectoryError, match=r"lr\[1e-3\]: the network cannot be"):
        RunDirectory.create(str(tmp_path / "lr[1e-3]"), "example")


@pytest.mark.parametrize("below", ["", "/below"])
def test_a_file_in_the_way(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match=r"Cannot make .*file.*: "):
        RunDirectory.create(str(tmp_path / "file") + below, "example")


def test_a_folder_one_may_not_look_into(tmp_path):
    """Cause: `Path.exists` raises for such a path (here: a name too long), and the
    user saw a traceback."""
    with pytest.raises(RunDirectoryError, match=r"Cannot make .*: File name too long"):
        RunDirectory.create(str(tmp_path / ("x" * 300)), "example")


def test_a_read_only_file_system():
    """/proc takes no new folders, not even from root."""
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    with pytest.raises(RunDirectoryError, match=r"Cannot make /proc/bopt: No such"):
        RunDirectory.create("/proc/bopt", "example")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(directory):
    directory.path.chmod(0o555)
    with pytest.raises(RunDirectoryError, match=r"config\.json: Permission denied\."):
        directory.write_config({})
    with pytest.raises(RunDirectoryError, match=r"metrics\.jsonl: Permission denied"):
        directory.append_metrics({})
    directory.path.chmod(0o755)


# What is written


def read_json(path: Path):
    def no_constant(name):
        raise AssertionError(f"{path} holds {name}, which is not JSON")

    return json.loads(path.read_text(), parse_constant=no_constant)


ROUGH = {"a": NAN, "b": [1.5, -INF, {"c": (INF, 2)}], "d": np.float64("nan"), "e": None}
SMOOTH = {"a": None, "b": [1.5, None, {"c": [None, 2]}], "d": None, "e": None}


def test_what_is_not_a_number_becomes_null(directory):
    directory.write_config(ROUGH)
    directory.write_summary(ROUGH)
    directory.append_metrics(ROUGH)
    for name in ("config.json", "summary.json", "metrics.jsonl"):
        assert read_json(directory.path / name) == SMOOTH


def test_a_line_an_epoch(directory):
    directory.write_config({})
    for epoch in range(3):
        directory.append_metrics({"epoch": epoch, "text": "two\nlines"})
    content = (directory.path / "metrics.jsonl").read_text()
    assert content.count("\n") == 3
    assert [row["epoch"] for row in read(directory.path).metrics] == [0, 1, 2]


def broken_replace(source, target):
    raise OSError(errno.ENOSPC, "No space left on device")


def broken_write(self, text):
    with open(self, "w") as file:
        file.write(text[: len(text) // 2])
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [(os, "replace", broken_replace), (Path, "write_text", broken_write)],
)
def test_a_failure_in_the_midst_keeps_the_old_file(
    owner, name, broken, directory, monkeypatch
):
    directory.write_summary({"epochs": 1})
    monkeypatch.setattr(owner, name, broken)
    message = r"Cannot write .*summary\.json: No space left on device\. The epochs"
    with pytest.raises(RunDirectoryError, match=message):
        directory.write_summary({"epochs": 2})
    assert read_json(directory.path / "summary.json") == {"epochs": 1}
    assert files(directory) == {"summary.json"}  # and nothing half


# A disk that is really full


def limited(directory: RunDirectory, code: str, limit: int) -> str:
    """Runs code in a process whose files may not grow past `limit` bytes."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from experiments.runs.directory import RunDirectory, RunDirectoryError\n"
        "directory = RunDirectory(Path(sys.argv[1]))\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try:\n"
        f"    {code}\n"
        "except RunDirectoryError as error:\n"
        "    print(error)\n"
    )
    words = [sys.executable, "-c", program, str(directory.path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_half_lines_and_half_files_never_stay(directory):
    directory.write_config({"old": 1})
    directory.append_metrics({"epoch": 0})
    size = (directory.path / "metrics.jsonl").stat().st_size
    said = limited(
        directory, "directory.append_metrics({'epoch': 1, 'x': [0] * 99})", size + 50
    )
    assert re.search(r"Cannot write .*metrics\.jsonl: File too large\.", said)
    assert (directory.path / "metrics.jsonl").stat().st_size == size
    said = limited(directory, "directory.write_config({'new': [0] * 99})", 50)
    assert re.search(r"Cannot write .*config\.json: File too large\.", said)
    found = read(directory.path)
    assert (found.config, found.metrics) == ({"old": 1}, [{"epoch": 0}])
    assert files(directory) == {"config.json", "metrics.jsonl"}


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root mounts a tmpfs"
)
@pytest.mark.slow
def test_a_run_on_a_disk_that_fills_up(tmp_path):
    """Cause: the network is the largest file, and TensorStore, which writes it, raises
    a ValueError where the disk is full: the user saw a traceback."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        words = f"--dataset digits --train-size 64 --epochs 1 --out {tmp_path}/run"
        done = subprocess.run(
            [sys.executable, "-m", "experiments.mnist_lenet", *words.split()],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 1
        # Orbax's threads log their own errors before it, and at times after it.
        message = r"^error: Cannot write .*/run/model: .*No space left"
        assert re.search(message, done.stderr, re.MULTILINE)
        found = read(tmp_path / "run")
        assert [row["epoch"] for row in found.metrics] == [0, 1]
        assert found.summary["finished"] is False
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


# Reading


@pytest.mark.parametrize("missing", ["config.json", "metrics.jsonl"])
def test_a_folder_that_holds_no_run(directory, missing):
    directory.write_config({})
    directory.append_metrics({})
    (directory.path / missing).unlink()
    with pytest.raises(RunDirectoryError, match=rf"run holds no run: .* no {missing}"):
        read(directory.path)


def test_a_damaged_line_is_named(directory):
    directory.write_config({})
    directory.append_metrics({"epoch": 0})
    with open(directory.path / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 1, ')
    with pytest.raises(RunDirectoryError, match=r"metrics\.jsonl, line 2, is not JSON"):
        read(directory.path)


# The network


def test_the_network_comes_back_with_its_zeros(directory):
    params = {"params": {"Dense_0": {"kernel": np.eye(3, dtype=np.float32)}}}
    directory.save_model(jax.device_put(params))
    target = jax.eval_shape(lambda: params)
    with ocp.StandardCheckpointer() as checkpointer:
        found = checkpointer.restore(directory.path / "model", target)
    kernel = np.asarray(found["params"]["Dense_0"]["kernel"])
    assert (kernel == np.eye(3)).all()
    assert kernel.dtype == np.float32


@pytest.mark.parametrize(
    "error", [ValueError("RESOURCE_EXHAUSTED: full"), OSError("RESOURCE_EXHAUSTED")]
)
def test_a_network_that_cannot_be_saved(error, directory, monkeypatch):
    """Neither error has a `strerror`; the message said "None", or was a traceback."""

    def save(*args, **kwargs):
        raise error

    monkeypatch.setattr(run_directory.ocp.StandardCheckpointer, "save", save)
    message = r"Cannot write .*model: RESOURCE_EXHAUSTED"
    with pytest.raises(RunDirectoryError, match=message):
        directory.save_model({"w": np.zeros(1)})
