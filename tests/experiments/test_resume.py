"""Runs that are stopped, and go on as if nothing had happened."""

import json
import signal

import pytest
from fronts import WORDS, table, trace, use_small
from programs import normalised, small
from resuming import arrays, newest, results, snapshot, stopping

from experiments.runs.checkpoints import Checkpoints
from experiments.runs.directory import RunDirectory, read, read_front

WHOLE = "--dataset digits --train-size 160 --epochs 3 --no-figures"  # 5 steps an epoch
SHORT = "--dataset digits --train-size 64 --epochs 1 --no-figures"  # 2 steps


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run, not to be changed."""
    path = tmp_path_factory.mktemp("done") / "run"
    assert small(f"{SHORT} --out {path}") == 0
    return path


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """Program and options -> all that an undisturbed run leaves."""
    found = {}

    def whole(program, words):
        if (program, words) not in found:
            path = tmp_path_factory.mktemp("whole")
            assert program(f"{words} --out {path}") == 0
            found[program, words] = results(path)
        return found[program, words]

    return whole


@pytest.fixture
def begun(tmp_path):
    """A run that was stopped after its first step."""
    path = tmp_path / "begun"
    with stopping(1):
        assert small(f"{SHORT} --out {path}") == 143
    return path


# However it stops


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (small, ""),
        pytest.param(small, "--seeds 2", marks=pytest.mark.slow),
        pytest.param(normalised, "--augment --batch-size 32", marks=pytest.mark.slow),
        pytest.param(
            normalised,
            "--split --optimizer madam --checkpoint-every 2 --batch-size 32",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_wherever_it_stops_it_goes_on_the_same(program, words, tmp_path, wholes):
    """In the middle of an epoch; with its last step; before anything was saved anew;
    and with the last step of all."""
    path, words = tmp_path / "run", f"{WHOLE} {words}"
    given, steps = f"{words} --out {path}", []
    for stop in (2, 3, 1, 1, 8):
        with stopping(stop) as done:
            # The last signal comes with the last step: nothing is left to stop.
            assert program(given) == (143 if len(steps) + stop < 15 else 0)
        steps += done
        assert len(done) == stop
        given = f"--resume {path}"
    assert [(p.epoch, p.step) for p in steps] == [
        (epoch, step) for epoch in (1, 2, 3) for step in range(1, 6)
    ]
    assert results(path) == wholes(program, words)


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "SIGINT")],
)
def test_what_is_said_of_a_signal(number, code, name, tmp_path, capsys):
    path = tmp_path / "run"
    with stopping(1, number):
        assert small(f"{SHORT} --out {path}") == code
    assert capsys.readouterr().err == (
        f"Stopped by {name}: all that was done is saved. Go on with: python -m "
        f"experiments.small --resume {path}\n"
    )
    assert not read(path).summary["finished"]


class Killed(BaseException):
    """Nothing catches it, as nothing catches kill -9."""


@pytest.mark.parametrize(
    "words", ["", pytest.param("--seeds 2", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_line_without_its_checkpoint_is_written_again(call, words, tmp_path, wholes):
    """Killed between the two: the row would be there twice."""
    path, save, calls, words = (
        tmp_path / "run",
        Checkpoints.save,
        [],
        f"{WHOLE} {words}",
    )

    def killed(self, *args):
        calls.append(args)
        if len(calls) == call:
            raise Killed
        save(self, *args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoints, "save", killed)
        small(f"{words} --out {path}")
    assert len(read(path).metrics) == call  # epoch 0 is a line, too
    assert small(f"--resume {path}") == 0
    assert results(path) == wholes(small, words)


def test_killed_before_its_first_line(tmp_path, done):
    path = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RunDirectory, "append_metrics", lambda *_: _raise())
        small(f"{SHORT} --out {path}")
    assert small(f"--resume {path}") == 0
    assert results(path) == results(done)


def _raise():
    raise Killed


def test_a_damaged_checkpoint_costs_an_epoch(tmp_path, capsys, wholes):
    path = tmp_path / "run"
    with stopping(11):
        assert small(f"{WHOLE} --out {path}") == 143
    file = newest(path) / "record" / "metadata"
    file.write_text(file.read_text()[:99])
    with stopping(None) as done:
        assert small(f"--resume {path}") == 0
    assert "11 is damaged: " in (said := capsys.readouterr().out)
    assert "The one before is used, of step 10." in said
    assert [progress.step for progress in done] == [1, 2, 3, 4, 5]
    assert results(path) == wholes(small, f"{WHOLE} ")


# What may be resumed


def test_a_finished_run_is_left_as_it_is(done, capsys):
    before = snapshot(done)
    assert small(f"--resume {done}") == 0
    assert capsys.readouterr().out == f"{done} is finished: nothing is left to do.\n"
    assert snapshot(done) == before


def test_options_that_would_change_the_result(begun, capsys):
    before = snapshot(begun)
    words = "--epochs 7 --seed 3 --no-regrow --learning-rate 0.5 --no-figures"
    assert small(f"--resume {begun} {words}") == 2
    assert capsys.readouterr().err == (
        f"error: --resume {begun} goes on with the options stored there, but these "
        "would change the result: --learning-rate 0.5 (there 0.001), --epochs 7 (there "
        "1), --regrow False (there True), --seed 3 (there 0). Leave them out, or begin "
        "a new run (from its parameters: --init-from).\n"
    )
    assert snapshot(begun) == before


def test_options_that_would_not(tmp_path):
    """The same value may be given again; figures and folders do not matter."""
    path = tmp_path / "run"
    with stopping(1):
        words = SHORT.replace("--no-figures", "")
        assert small(f"{words} --out {path}") == 143
    words = "--epochs 1 --no-figures --data-dir elsewhere --checkpoint-every 3"
    assert small(f"--resume {path} {words}") == 0
    assert read(path).summary["finished"]
    assert not (path / "figures").exists()


def test_what_is_no_run_of_this_program(done, tmp_path, capsys):
    there = "holds no run of python -m experiments"
    assert small(f"--resume {tmp_path}") == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path} {there}.small to go on with: it has no config.json.\n"
    )
    assert normalised(f"--resume {done}") == 1
    assert capsys.readouterr().err == (
        f"error: {done} {there}.normalised to go on with, but of small.\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("key", "then"), [("dataset_found", "mnist"), ("sizes", {"train": 999})]
)
def test_other_data_than_then(key, then, begun, capsys):
    file = begun / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: then}))
    before = snapshot(begun)
    assert small(f"--resume {begun}") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {begun} was begun with {key} {then}, but now it is")
    assert said.endswith(". Give the --data-dir of then.\n")
    assert snapshot(begun) == before


def test_other_versions_are_told(begun, capsys):
    file = begun / "config.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"versions": {"jax": "0.1"}}))
    assert small(f"--resume {begun}") == 0
    assert "Begun with versions {'jax': '0.1'}, now" in capsys.readouterr().out


@pytest.mark.parametrize("way", ["--resume {}", f"{SHORT} --out {{}}"])
def test_two_runs_in_one_directory(way, begun, tmp_path, capsys):
    path = begun if "resume" in way else tmp_path / "empty"
    path.mkdir(exist_ok=True)
    with RunDirectory(path).locked(False):
        before = snapshot(path)
        assert small(way.format(path)) == 1
        assert capsys.readouterr().err == (
            f"error: Another process is writing {path}. Wait until it ends, or choose "
            "another --out.\n"
        )
        assert snapshot(path) == before
    assert small(way.format(path)) == 0  # once it has ended


# Fronts

FRONT = f"{WORDS} --train-size 64 --parallel 2 --budget 5 --smallest 1e-3 --save all"


@pytest.mark.slow  # whole batches, in the fast tier: test_front_resume
@pytest.mark.parametrize("search", ["grid", "continuation"])
def test_a_front_that_stops_in_the_middle_of_a_batch(search, tmp_path, monkeypatch):
    """And in its final training (the continuation has no knee); nothing is trained
    twice."""
    use_small(monkeypatch)
    words, steps = f"{FRONT} --search {search} --corrector-epochs 2", []
    whole, path = tmp_path / "whole", tmp_path / "run"
    with stopping(None) as expected:
        assert trace(f"{words} --out {whole}") == 0
    given = f"{words} --out {path}"
    # The last training of the grid, the final one, is of 4 steps.
    for stop in (3, 4, 2, len(expected) - 9 - 2, None):
        with stopping(stop) as done:
            assert trace(given) == (143 if stop else 0)
        steps += done
        given = f"--resume {path}"
    assert steps == [
        p._replace(seconds=s.seconds) for p, s in zip(expected, steps, strict=True)
    ]
    assert table(path) == table(whole)
    left = [folder.name for folder in (path / "checkpoints").iterdir()]
    assert left == (["final"] if search == "grid" else [])  # the others are removed
    if search == "grid":
        assert results(path, False) == results(whole, False)
    for point in read_front(path):
        networks = (p / "networks" / point.name for p in (path, whole))
        assert len(set(map(str, map(arrays, networks)))) == 1
