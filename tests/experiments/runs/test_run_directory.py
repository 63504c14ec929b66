"""Run directories: files are whole or absent; unusable folders and full disks."""

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

from experiments.runs.directory import RunDirectory, RunDirectoryError
from experiments.runs.reading import read

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def directory(tmp_path) -> RunDirectory:
    return RunDirectory.create(str(tmp_path / "run"), "example")


def files(directory: RunDirectory) -> set[str]:
    return {path.name for path in directory.path.iterdir()}


# Folders


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
def test_files_of_an_incomplete_run_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("left over")
    with pytest.raises(RunDirectoryError, match=rf"already holds a run \({name}\)"):
        RunDirectory.create(str(tmp_path), "example")
    assert (tmp_path / name).read_text() == "left over"


def test_a_path_that_orbax_cannot_save_under_is_refused(tmp_path):
    """Orbax globs its path: the model could not be restored from lr[1e-3]."""
    with pytest.raises(RunDirectoryError, match=r"lr\[1e-3\], but Orbax cannot save"):
        RunDirectory.create(str(tmp_path / "lr[1e-3]"), "example")


@pytest.mark.parametrize("below", ["", "/below"])
def test_a_file_in_the_way(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match=r"Cannot make .*file.*: "):
        RunDirectory.create(str(tmp_path / "file") + below, "example")


def test_a_folder_name_that_is_too_long(tmp_path):
    """`Path.exists` raises for it, which ended in a traceback."""
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


# Writing


def read_json(path: Path):
    def no_constant(name):
        raise AssertionError(f"{path} holds {name}, which is not JSON")

    return json.loads(path.read_text(), parse_constant=no_constant)


ROUGH = {"a": NAN, "b": [1.5, -INF, {"c": (INF, 2)}], "d": np.float64("nan"), "e": None}
SMOOTH = {"a": None, "b": [1.5, None, {"c": [None, 2]}], "d": None, "e": None}


def test_nan_and_infinity_become_null(directory):
    directory.write_config(ROUGH)
    directory.write_summary(ROUGH)
    directory.append_metrics(ROUGH)
    for name in ("config.json", "summary.json", "metrics.jsonl"):
        assert read_json(directory.path / name) == SMOOTH


def test_metrics_have_one_line_per_epoch(directory):
    directory.write_config({})
    for epoch in range(3):
        directory.append_metrics({"epoch": epoch, "text": "two\nlines"})
    content = (directory.path / "metrics.jsonl").read_text()
    assert content.count("\n") == 3
    assert [json.loads(x)["epoch"] for x in content.splitlines()] == [0, 1, 2]


def broken_replace(source, target):
    raise OSError(errno.ENOSPC, "No space left on device")


def broken_sync(descriptor):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("name", "broken"), [("replace", broken_replace), ("fsync", broken_sync)]
)
def test_a_failed_write_keeps_the_old_file(name, broken, directory, monkeypatch):
    directory.write_summary({"epochs": 1})
    monkeypatch.setattr(os, name, broken)
    message = r"Cannot write .*summary\.json: No space left on device\. The epochs"
    with pytest.raises(RunDirectoryError, match=message):
        directory.write_summary({"epochs": 2})
    assert read_json(directory.path / "summary.json") == {"epochs": 1}
    assert files(directory) == {"summary.json"}


# Full disks


def test_a_full_disk_leaves_no_half_line_and_no_half_file(directory, limit):
    directory.write_config({"old": 1})
    directory.append_metrics({"epoch": 0})
    limit(64)
    for name, write in {
        "metrics.jsonl": lambda: directory.append_metrics({"x": [0] * 99}),
        "config.json": lambda: directory.write_config({"new": [0] * 99}),
        "model": lambda: directory.save_model({"w": np.zeros(9, np.float32)}),
    }.items():
        message = rf"^Cannot write .*/{name}: File too large\. The epochs before are in"
        with pytest.raises(RunDirectoryError, match=message):
            write()
    assert read_json(directory.path / "config.json") == {"old": 1}
    assert read_json(directory.path / "metrics.jsonl") == {"epoch": 0}
    assert files(directory) == {"config.json", "metrics.jsonl"}


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root mounts a tmpfs"
)
@pytest.mark.slow
@pytest.mark.parametrize("size", ["64k", "1300k"])
def test_the_last_line_of_a_run_on_a_full_disk_is_our_error(size, tmp_path):
    """The first disk has no room for a checkpoint, the second one for some."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        words = f"--dataset digits --train-size 64 --epochs 9 --out {tmp_path}/run"
        done = subprocess.run(
            [sys.executable, "-m", "experiments.mnist_lenet", *words.split()],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert re.match(r"error: Cannot write .*/run/.*: .*No space left", last), last
        found = read(tmp_path / "run")
        assert [row["epoch"] for row in found.metrics] == [*range(len(found.metrics))]
        assert not found.summary.get("finished")
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


def test_a_damaged_line_is_named(copied_run):
    with open(copied_run / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 3, ')
    with pytest.raises(RunDirectoryError, match=r"Cannot read .*\.jsonl, line 4: Exp"):
        read(copied_run)


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
    ("error", "reason"),
    [
        (ValueError('RESOURCE_EXHAUSTED: Failed writing: "x"'), r".*writing: \"x\""),
        (
            ValueError("NO: writing \"a\": No space [os_error_code='28'] [x"),
            "No space",
        ),
        (OSError("RESOURCE_EXHAUSTED"), "RESOURCE_EXHAUSTED"),
    ],
)
def test_a_network_that_cannot_be_saved(error, reason, directory, monkeypatch):
    """TensorStore raises a ValueError when the disk is full, without `strerror`."""

    def save(*args, **kwargs):
        raise error

    monkeypatch.setattr(ocp.StandardCheckpointer, "save", save)
    message = rf"Cannot write .*run/model: {reason}\. The epochs before are intact"
    with pytest.raises(RunDirectoryError, match=message):
        directory.save_model({"w": np.zeros(1)})


def test_an_error_that_is_no_failed_write_is_not_hidden(directory, monkeypatch):
    def save(*args, **kwargs):
        raise ValueError("another mistake")

    monkeypatch.setattr(ocp.StandardCheckpointer, "save", save)
    with pytest.raises(ValueError, match="another mistake"):
        directory.save_model({"w": np.zeros(1)})


def test_a_network_of_another_model_is_refused(directory):
    directory.save_model({"w": np.zeros(3, np.float32)})
    message = (
        r"model belongs to another model or optimizer: w is float32\[3\]; expected f"
    )
    with pytest.raises(RunDirectoryError, match=message):
        directory.load_model("model", {"w": np.zeros(4, np.float32)})
    with pytest.raises(RunDirectoryError, match=r"Cannot read .*/missing: "):
        directory.load_model("missing", {"w": np.zeros(4, np.float32)})


# Locks


def test_a_locked_directory_is_refused(directory):
    with directory.locked(new=True):
        other = RunDirectory(directory.path)
        message = r"Another process is writing .*run\. Wait until it ends, or choose"
        with pytest.raises(RunDirectoryError, match=message), other.locked(new=True):
            pass
    with other.locked(new=True):
        other.write_config({})
    with other.locked(new=False):
        pass
    message = r"run already holds a run \(config\.json\)\. Resume it with --resume"
    with pytest.raises(RunDirectoryError, match=message), other.locked(new=True):
        pass
