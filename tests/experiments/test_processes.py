"""One run in several processes on 127.0.0.1; some of them are lost."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from fronts import PROGRAM as FRONT
from programs import SMALL, finish, small, start, wait_for_epochs
from resuming import untimed

from experiments.runs.directory import read, read_front

WORDS = "--dataset digits --train-size 128 --no-figures"


def start_all(number: int, words: str, program=SMALL) -> list[subprocess.Popen]:
    """Starts so many processes of one run, each with one CPU device."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = f"--devices all --distributed --coordinator 127.0.0.1:{port}"
    env = {"JAX_NUM_CPU_DEVICES": "1", "XLA_FLAGS": ""}
    return [
        start(program, f"{words} {told} --processes {number} --process-id {i}", env=env)
        for i in range(number)
    ]


def finish_all(processes) -> list[tuple[int, str, str]]:
    return [finish(process) for process in processes]


def rows(path: Path) -> list[dict]:
    run = read(path)
    return untimed([*run.metrics, run.summary])


def assert_close(found: list[dict], expected: list[dict]) -> None:
    """To float error: sums over devices are added in another order."""
    for a, b in zip(found, expected, strict=True):
        assert set(a) == set(b)
        for key, value in b.items():
            if isinstance(value, dict):
                assert_close([a[key]], [value])
            elif isinstance(value, float):
                assert a[key] == pytest.approx(value, rel=1e-4, abs=1e-4), key
            elif isinstance(value, list | tuple):
                np.testing.assert_allclose(a[key], value, rtol=1e-4, err_msg=key)
            else:
                assert a[key] == value, key


# Options


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--coordinator h:1", "--coordinator is for --distributed. Add it."),
        ("--process-id 0", "--process-id is for --distributed. Add it."),
        ("--distributed --out r --processes 2", "--processes was given; expected all"),
        (
            "--distributed --out r --coordinator h:1 --process-id 0",
            "--coordinator, --process-id was given; expected all of --coordinator, "
            "--processes, --process-id, or none where the cluster's environment",
        ),
        ("--distributed", "--distributed needs --out: a folder that all processes"),
        ("--devices 99", "--devices is 99, but there are "),
        ("--devices 0", "--devices is 0, but there are "),
    ],
)
def test_options_that_do_not_fit(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert small(f"{WORDS} {words}") == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


# Runs


@pytest.mark.slow
def test_two_processes_are_as_good_as_one(tmp_path):
    """One set of files, one voice, and the numbers of one process."""
    one, two = tmp_path / "one", tmp_path / "two"
    assert small(f"{WORDS} --epochs 2 --out {one}") == 0
    (code, out, _), (other, silent, _) = finish_all(
        start_all(2, f"{WORDS} --epochs 2 --out {two}")
    )
    assert (code, other) == (0, 0)
    assert out.count("Written to") == 1 and "Written to" not in silent
    assert_close(rows(two), rows(one))
    assert {p.name for p in two.iterdir()} == {p.name for p in one.iterdir()}


@pytest.mark.slow
def test_several_seeds_in_two_processes(tmp_path):
    """Each process has one of the networks on its device, or a share of both."""
    words = f"{WORDS} --epochs 2 --seeds 2 --out"
    one, two = tmp_path / "one", tmp_path / "two"
    assert small(f"{words} {one}") == 0
    first, second = finish_all(start_all(2, f"{words} {two}"))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    for name in (".", "seed-0", "seed-1"):
        assert_close(rows(two / name), rows(one / name))


@pytest.mark.slow
def test_a_front_in_two_processes(tmp_path):
    """Whose knee is trained again."""
    words = f"{WORDS} --batch-size 16 --epochs 2 --final-epochs 1 --knee weight_jump "
    words += "--smallest 1e-3 --largest 0.5 --budget 4 --out"
    one, two = tmp_path / "one", tmp_path / "two"
    env = {"JAX_NUM_CPU_DEVICES": "1", "XLA_FLAGS": ""}
    assert finish(start(FRONT, f"{words} {one}", env=env))[0] == 0
    first, second = finish_all(start_all(2, f"{words} {two}", FRONT))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert first[1].count("Written to") == 1 and "Written to" not in second[1]
    points, expected = (
        [untimed(point._asdict()) for point in read_front(path)] for path in (two, one)
    )
    assert len(points) == 4
    assert_close(points, expected)
    assert read(two).summary["finished"] and read(two).summary["final"]


@pytest.mark.slow
def test_the_processes_of_a_slurm_job(tmp_path):
    """Which are told nothing on the command line."""
    path, job = tmp_path / "run", {"SLURM_STEP_NODELIST": "127.0.0.1"}
    # JAX takes the coordinator's port from the job's number.
    job |= {"SLURM_JOB_ID": str(os.getpid()), "SLURM_NTASKS": "2"}
    job |= {"JAX_NUM_CPU_DEVICES": "1", "XLA_FLAGS": "", "SLURM_STEP_NUM_NODES": "2"}
    words = f"{WORDS} --epochs 1 --devices all --distributed --out {path}"
    processes = [
        start(SMALL, words, env=job | {"SLURM_PROCID": str(i), "SLURM_LOCALID": "0"})
        for i in range(2)
    ]
    for code, _, err in finish_all(processes):
        assert code == 0, err
    assert read(path).config["device"]["count"] == 2
    assert read(path).summary["finished"]


@pytest.mark.slow
def test_a_folder_that_holds_a_run(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / "config.json").write_text("{}")
    first, second = finish_all(start_all(2, f"{WORDS} --epochs 2 --out {path}"))
    assert (first[0], second[0]) == (1, 1)
    assert "already holds a run" in first[2]
    assert "error: Process 0 failed; it says why." in second[2]
    assert (path / "config.json").read_text() == "{}"


ENDLESS = f"{WORDS} --epochs 100000 --out"


def shorten(path: Path, epochs: int) -> None:
    """Makes an endless run one that ends."""
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"epochs": epochs}))


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 4])
def test_a_signal_to_one_stops_all_and_nothing_is_lost(number, tmp_path):
    path, whole = tmp_path / "run", tmp_path / "whole"
    words = f"{WORDS} --schedule constant --epochs"
    finish_all(start_all(number, f"{words} 12 --out {whole}"))
    processes = start_all(number, f"{words} 100000 --out {path}")
    wait_for_epochs(processes[0], path, 2)
    processes[-1].send_signal(signal.SIGTERM)
    for code, _, err in finish_all(processes):
        assert code == 143, err
        assert "all that was done is saved. Go on with: python -m" in err
    done = len(read(path).metrics)
    shorten(path, max(12, done))
    assert [c for c, _, _ in finish_all(start_all(number, f"--resume {path}"))] == [
        0
    ] * number
    lines = min(len(read(path).metrics), 13)
    assert rows(path)[:lines] == rows(whole)[:lines]  # to the bit


@pytest.mark.slow
@pytest.mark.parametrize(("number", "lost"), [(2, 1), (4, 2), (4, 0)])
def test_one_is_killed_and_the_others_name_it(number, lost, tmp_path):
    """They end within 60 seconds; JAX needs 30 to be sure."""
    path = tmp_path / "run"
    processes = start_all(number, f"{ENDLESS} {path}")
    wait_for_epochs(processes[0], path, 3)
    os.kill(processes[lost].pid, signal.SIGKILL)
    begin = time.monotonic()
    ended = finish_all(processes)
    assert time.monotonic() - begin < 60
    for process, (code, _, err) in enumerate(ended):
        if process == lost:
            assert code == -signal.SIGKILL
            continue
        assert code == 1
        assert f"error: Process {lost} was lost" in err
    # Nor does any inner process live on.
    left = subprocess.run(["pgrep", "-f", str(path)], capture_output=True, text=True)
    assert left.stdout == ""
    done = len(read(path).metrics)
    shorten(path, done)
    codes = [code for code, *_ in finish_all(start_all(number, f"--resume {path}"))]
    assert codes == [0] * number
    assert [row["epoch"] for row in read(path).metrics] == [*range(done + 1)]
