"""One run in several processes on 127.0.0.1; one of them is lost.

Run as a program, this is the small experiment whose lost processes are noticed sooner.
The checks of --coordinator and its like are in `test_launch_refusals`.
"""

import dataclasses
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from fronts import PROGRAM as FRONT
from fronts import trace, use_small
from networks import Small
from programs import SMALL, finish, small, start, start_quickly, wait_for_epochs
from resuming import untimed

from experiments.config import Config
from experiments.launch import main
from experiments.runs.reading import read, read_front

pytestmark = pytest.mark.slow

WORDS = "--dataset digits --train-size 128 --no-figures"
QUICK = (__file__,)
HEARTBEAT = 10  # seconds, of QUICK; JAX' own default is 100
ONE_DEVICE = {"JAX_NUM_CPU_DEVICES": "1", "XLA_FLAGS": ""}


def start_all(number: int, words: str, program=SMALL) -> list[subprocess.Popen]:
    """Start the processes of one run, each with one CPU device."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = f"--devices all --distributed --coordinator 127.0.0.1:{port}"
    return [
        start(
            program,
            f"{words} {shared} --processes {number} --process-id {i}",
            env=ONE_DEVICE,
        )
        for i in range(number)
    ]


def finish_all(processes) -> list[tuple[int, str, str]]:
    return [finish(process) for process in processes]


def rows(path: Path) -> list[dict]:
    run = read(path)
    return untimed([*run.metrics, run.summary])


def assert_close(found: list[dict], expected: list[dict]) -> None:
    """Check equality to float error: devices add up in another order."""
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


def test_two_processes_are_as_good_as_one(tmp_path):
    """One set of files, one output, and the numbers of one process."""
    one, two = tmp_path / "one", tmp_path / "two"
    assert small(f"{WORDS} --epochs 2 --out {one}") == 0
    first, second = finish_all(start_all(2, f"{WORDS} --epochs 2 --out {two}"))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert first[1].count("Training on") == first[1].count("Written to") == 1
    assert "Training on" not in second[1] and "Written to" not in second[1]
    assert_close(rows(two), rows(one))
    assert {p.name for p in two.iterdir()} == {p.name for p in one.iterdir()}


def test_several_seeds_in_the_processes_of_a_slurm_job(tmp_path):
    """They find each other by the job's environment; each process has one of the
    networks on its device."""
    words, job = f"{WORDS} --epochs 2 --seeds 2", {"SLURM_STEP_NODELIST": "127.0.0.1"}
    one, two = tmp_path / "one", tmp_path / "two"
    assert small(f"{words} --out {one}") == 0
    # JAX takes the coordinator's port from the job's number.
    job |= {"SLURM_JOB_ID": str(os.getpid()), "SLURM_NTASKS": "2"}
    job |= ONE_DEVICE | {"SLURM_STEP_NUM_NODES": "2"}
    words = f"{words} --devices all --distributed --out {two}"
    processes = [
        start(SMALL, words, env=job | {"SLURM_PROCID": str(i), "SLURM_LOCALID": "0"})
        for i in range(2)
    ]
    for code, _, err in finish_all(processes):
        assert code == 0, err
    assert read(two).config["device"]["count"] == 2
    assert read(two).summary["finished"]
    for name in (".", "seed-0", "seed-1"):
        assert_close(rows(two / name), rows(one / name))


def test_a_front_in_two_processes(tmp_path, monkeypatch):
    """With a final training."""
    words = f"{WORDS} --batch-size 16 --epochs 2 --final-epochs 1 --knee weight_jump "
    words += "--smallest 1e-3 --largest 0.5 --budget 4 --out"
    one, two = tmp_path / "one", tmp_path / "two"
    use_small(monkeypatch)
    assert trace(f"{words} {one}") == 0
    first, second = finish_all(start_all(2, f"{words} {two}", FRONT))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert first[1].count("Written to") == 1 and "Written to" not in second[1]
    points, expected = (
        [untimed(dataclasses.asdict(point)) for point in read_front(path)]
        for path in (two, one)
    )
    assert len(points) == 4
    assert_close(points, expected)
    assert read(two).summary["finished"] and read(two).summary["final"]


def test_without_a_cluster_the_options_are_named(tmp_path):
    words = f"{WORDS} --epochs 1 --devices all --distributed --out {tmp_path / 'run'}"
    code, _, err = finish(start(SMALL, words, env=ONE_DEVICE))
    assert code == 2
    assert err.startswith("error: --distributed found no cluster: ")
    assert err.endswith("Give --coordinator HOST:PORT, --processes and --process-id.\n")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / "config.json").write_text("{}")
    first, second = finish_all(start_all(2, f"{WORDS} --epochs 2 --out {path}"))
    assert (first[0], second[0]) == (1, 1)
    assert "already holds a run" in first[2]
    assert "error: Process 0 failed; see its own message." in second[2]
    assert (path / "config.json").read_text() == "{}"


def shorten(path: Path, epochs: int) -> None:
    """Make an endless run one that ends."""
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"epochs": epochs}))


def test_a_signal_to_one_stops_all_and_nothing_is_lost(tmp_path):
    path, whole = tmp_path / "run", tmp_path / "whole"
    words = f"{WORDS} --schedule constant --epochs"
    processes = start_all(2, f"{words} 100000 --out {path}")
    wait_for_epochs(processes[0], path, 2)
    processes[-1].send_signal(signal.SIGTERM)
    for code, _, err in finish_all(processes):
        assert code == 143, err
        assert "everything done is saved. Resume with: python -m" in err
    done = read(path).summary["epochs"]
    assert done >= 2
    shorten(path, done + 2)
    ended = finish_all(start_all(2, f"--resume {path}"))
    assert [code for code, *_ in ended] == [0, 0], ended
    finish_all(start_all(2, f"{words} {done + 2} --out {whole}"))
    assert rows(path) == rows(whole)  # to the bit


@pytest.mark.parametrize("lost", [0, 1])
def test_when_one_is_killed_the_other_ends_and_the_run_resumes(lost, tmp_path):
    """JAX reports the loss, after its time-out for heartbeats.

    The run resumes in two processes, or in one.
    """
    path = tmp_path / "run"
    words = f"{WORDS} --schedule constant --epochs 100000 --out {path}"
    processes = start_all(2, words, QUICK)
    wait_for_epochs(processes[0], path, 3)
    os.kill(processes[lost].pid, signal.SIGKILL)
    begin = time.monotonic()
    ended = finish_all(processes)
    assert time.monotonic() - begin < 6 * HEARTBEAT
    assert ended[lost][0] == -signal.SIGKILL
    code, _, err = ended[1 - lost]
    assert code != 0
    assert err != ""
    done = len(read(path).metrics)
    shorten(path, done)
    if lost == 0:
        ended = finish_all(start_all(2, f"--resume {path}"))
        assert [code for code, *_ in ended] == [0, 0], ended
    else:
        assert small(f"--resume {path}") == 0
    assert [row["epoch"] for row in read(path).metrics] == [*range(done + 1)]


if __name__ == "__main__":
    start_quickly()
    jax.distributed.initialize = functools.partial(
        jax.distributed.initialize, heartbeat_timeout_seconds=HEARTBEAT
    )
    sys.exit(main("small", Config, lambda *_: Small()))
