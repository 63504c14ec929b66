"""A front that is stopped, however, goes on as if nothing had happened."""

import json
import os
import signal
import time

import pytest
from fronts import PROGRAM, WORDS, table, trace, use_small
from programs import TIMEOUT, finish, start

from experiments.interrupts import Interrupted
from experiments.runs.directory import RunDirectory, read, read_front
from experiments.training.trainer import Trainer

SMALL = f"{WORDS} --train-size 64 --parallel 2"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    use_small(monkeypatch)


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """How many networks each program of this test trained."""
    numbers, begin = [], Trainer.start

    def counted(self, networks):
        numbers.append(len(networks))
        begin(self, networks)

    monkeypatch.setattr(Trainer, "start", counted)
    return numbers


def stop_at(monkeypatch, name: str, call: int, after: bool) -> None:
    """Interrupts the run at a call of a method of its directory."""
    method, calls = getattr(RunDirectory, name), []

    def stopped(self, *args):
        calls.append(name)
        if after:
            method(self, *args)
        if len(calls) == call:
            raise Interrupted(signal.SIGTERM)
        if not after:
            method(self, *args)

    monkeypatch.setattr(RunDirectory, name, stopped)


@pytest.mark.parametrize(
    "search",
    [
        "dichotomic",
        *(pytest.param(s, marks=pytest.mark.slow) for s in ("grid", "continuation")),
    ],
)
def test_wherever_it_stops_it_goes_on_the_same(search, tmp_path, trained):
    words = f"{SMALL} --search {search} --budget 5 --final-epochs 0"
    assert trace(f"{words} --out {tmp_path / 'whole'}") == 0
    whole, batches = table(tmp_path / "whole"), len(trained)
    for call, after in ((1, True), (2, False), (batches, True)):
        path = tmp_path / f"{call}-{after}"
        trained.clear()
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, "append_points", call, after)
            assert trace(f"{words} --out {path}") == 143
        done = len(read_front(path))
        assert (done > 0) is (after or call > 1)
        assert trace(f"--resume {path}") == 0
        assert table(path) == whole
        # Nothing but the batch that was lost is trained twice.
        assert len(trained) == batches + (not after)


def test_half_a_line_is_dropped(tmp_path):
    path = tmp_path / "run"
    words = f"{SMALL} --budget 4 --final-epochs 0"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, "append_points", 1, after=True)
        assert trace(f"{words} --out {path}") == 143
    with open(path / "front.csv", "a") as file:
        file.write("0-3.0,0,0.9")
    assert trace(f"--resume {path}") == 0
    assert [point.name for point in read_front(path)] == [f"0-{n}.0" for n in "1234"]


def test_a_search_that_is_done_is_not_done_again(tmp_path, trained, monkeypatch):
    """Stopped in the final training, whose checkpoint is used."""
    path, epochs, epoch = tmp_path / "run", [], Trainer.epoch

    def counted(self, number, done=0):
        if not self.many:
            epochs.append(number)
            if epochs == [1, 2]:
                raise Interrupted(signal.SIGTERM)
        return epoch(self, number, done)

    monkeypatch.setattr(Trainer, "epoch", counted)
    words = f"{SMALL} --budget 4 --final-epochs 2 --smallest 1e-3"
    assert trace(f"{words} --out {path}") == 143
    assert len(read(path).metrics) == 2 and not read(path).summary["finished"]
    trained.clear()
    assert trace(f"--resume {path}") == 0
    assert trained == [] and epochs == [1, 2, 2]
    assert [row["epoch"] for row in read(path).metrics] == [0, 1, 2]
    assert read(path).summary["finished"]
    assert read(path).summary["final"]["epochs"] == 2


def test_a_finished_front_is_left_as_it_is(tmp_path, capsys):
    path = tmp_path / "run"
    assert trace(f"{SMALL} --budget 2 --out {path}") == 0
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    assert trace(f"--resume {path}") == 0
    assert "is finished: nothing is left to do" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


NO_FRONT = "{} holds no run of python -m experiments.pareto_front to go on with"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, f"{NO_FRONT}: it has no config.json."),
        ("{", "Cannot read {}/config.json: Expecting"),
        ('{"experiment": "mnist_lenet"}', f"{NO_FRONT}, but of mnist_lenet."),
    ],
)
def test_what_is_no_front_is_said(content, message, tmp_path, capsys):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert trace(f"--resume {tmp_path}") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message.format(tmp_path)}")


def test_a_damaged_table_is_said(tmp_path, capsys):
    path = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, "append_points", 1, after=True)
        assert trace(f"{SMALL} --budget 4 --out {path}") == 143
    lines = (path / "front.csv").read_text().splitlines()
    (path / "front.csv").write_text("\n".join([lines[0], "a,b", ""]))
    assert trace(f"--resume {path}") == 1
    assert "front.csv: Line 2 has 2 fields; expected 14" in capsys.readouterr().err


def wait(condition, process) -> None:
    until = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < until and process.poll() is None, finish(process)
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGKILL, -signal.SIGKILL, ""),
        (signal.SIGTERM, 143, "Stopped by SIGTERM: all that was done is saved."),
        (signal.SIGINT, 130, "Stopped by SIGINT: all that was done is saved."),
    ],
)
def test_a_process_that_is_killed_in_the_middle_of_a_search(
    number, code, word, tmp_path
):
    """On two devices; killed once more in the final training, if it can be met."""
    env = {"JAX_NUM_CPU_DEVICES": "2", "XLA_FLAGS": ""}
    words = f"{WORDS} --epochs 30 --budget 6 --final-epochs 40"
    whole, path = tmp_path / "whole", tmp_path / "run"
    code_, _, err = finish(start(PROGRAM, f"{words} --out {whole}", env=env))
    assert code_ == 0, err
    process = start(PROGRAM, f"{words} --out {path}", env=env)
    wait((path / "front.csv").exists, process)
    os.kill(process.pid, number)
    code_, _, err = finish(process)
    assert code_ == code and word in err
    lines = len(read_front(path))
    assert 2 <= lines < 6
    process = start(PROGRAM, f"--resume {path}", env=env)
    wait((path / "metrics.jsonl").exists, process)
    os.kill(process.pid, signal.SIGKILL)
    finish(process)
    code_, _, err = finish(start(PROGRAM, f"--resume {path}", env=env))
    assert code_ == 0, err
    assert table(path) == table(whole)
    a, b = (json.loads((p / "summary.json").read_text()) for p in (path, whole))
    timed = {"seconds_total", "seconds_compile", "seconds_search", "steps_per_second"}
    for summary in (a, b):
        summary["final"].pop("seconds")
    assert {k: v for k, v in a.items() if k not in timed} == {
        k: v for k, v in b.items() if k not in timed
    }
    assert read(path).summary["finished"]
