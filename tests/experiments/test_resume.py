"""Runs that are stopped, and end with the same bits once they are resumed.

Kills of real processes are in `test_kills`; here an exception that nothing catches
stands for them, where a kill can hardly hit the place.
"""

import json
import shutil
import signal
from pathlib import Path

import pytest
from drawing import CURVES
from programs import normalised, small
from resuming import killed, newest, results, snapshot, stopping

from experiments import launch
from experiments.config import Config
from experiments.runs.checkpoints import Checkpoints
from experiments.runs.directory import RunDirectory
from experiments.runs.reading import read

# The program of the session's `trained_run`, which is compiled once.
EPOCHS, STEPS = 2, 5  # STEPS per epoch
WORDS = "--dataset digits --train-size 160 --epochs 2 --threshold 0.08"
WHOLE = f"{WORDS} --no-figures"
FIGURES = {*CURVES, "stationarity.png"}


@pytest.fixture(scope="module")
def wholes(trained_run, tmp_path_factory):
    """Program and options -> results of an uninterrupted run."""
    found = {(small, ""): results(trained_run)}

    def whole(program, words):
        if (program, words) not in found:
            path = tmp_path_factory.mktemp("whole")
            assert program(f"{WHOLE} {words} --out {path}") == 0
            found[program, words] = results(path)
        return found[program, words]

    return whole


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that a signal stopped after 7 steps, not to be changed."""
    path = tmp_path_factory.mktemp("stopped") / "run"
    with stopping(7):
        assert small(f"{WHOLE} --out {path}") == 143
    return path


@pytest.fixture
def begun(stopped, tmp_path):
    """A copy of that run."""
    return shutil.copytree(stopped, tmp_path / "begun")


# Signals


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "words"),
    [
        (small, ""),
        (small, "--seeds 2"),
        (normalised, "--augment --batch-size 32"),
        (
            normalised,
            "--split --optimizer madam --checkpoint-every 2 --batch-size 32",
        ),
    ],
)
def test_stopped_anywhere_it_ends_with_the_same_bits(program, words, tmp_path, wholes):
    """In the middle of an epoch; with its last step; before a new checkpoint; and with
    the last step of all."""
    path = tmp_path / "run"
    given, steps = f"{WHOLE} {words} --out {path}", []
    for stop in (2, 3, 1, 1, 3):
        with stopping(stop) as progress:
            # The last signal comes with the last step: nothing is left to stop.
            expected = 143 if len(steps) + stop < EPOCHS * STEPS else 0
            assert program(given) == expected
        steps += progress
        assert len(progress) == stop
        given = f"--resume {path}"
    assert [(p.epoch, p.step) for p in steps] == [
        (epoch + 1, step + 1) for epoch in range(EPOCHS) for step in range(STEPS)
    ]
    assert results(path) == wholes(program, words)


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [
        (signal.SIGTERM, 143, "SIGTERM"),
        pytest.param(signal.SIGINT, 130, "SIGINT", marks=pytest.mark.slow),
    ],
)
def test_the_message_after_a_signal(number, code, name, tmp_path, capsys):
    path = tmp_path / "run"
    with stopping(1, number):
        assert small(f"{WHOLE} --out {path}") == code
    assert capsys.readouterr().err == (
        f"Stopped by {name}: everything done is saved. Resume with: python -m "
        f"experiments.small --resume {path}\n"
    )
    assert not read(path).summary["finished"]


# Kills


@pytest.mark.slow
@pytest.mark.parametrize("words", ["", "--seeds 2"])
def test_rows_without_their_checkpoint_are_written_again(words, tmp_path, wholes):
    """Killed between the two, the row would be there twice."""
    path = tmp_path / "run"
    given = f"{WHOLE} {words} --out {path}"
    for rows, call in ((1, 1), (2, 2)):  # epoch 0 is a row, too
        with killed(Checkpoints, "save", call):
            small(given)
        assert len(read(path).metrics) == rows
        given = f"--resume {path}"
    assert small(given) == 0
    assert results(path) == wholes(small, words)


@pytest.mark.slow
def test_killed_before_its_first_row(tmp_path, wholes):
    path = tmp_path / "run"
    with killed(RunDirectory, "append_metrics"):
        small(f"{WHOLE} --out {path}")
    assert small(f"--resume {path}") == 0
    assert results(path) == wholes(small, "")


@pytest.mark.slow
def test_resumed_without_figures_none_are_made(begun):
    """The same value may be repeated; figures and folders do not matter."""
    words = f"--epochs {EPOCHS} --no-figures --data-dir elsewhere --checkpoint-every 3"
    assert small(f"--resume {begun} {words}") == 0
    assert read(begun).summary["finished"]
    assert not (begun / "figures").exists()


def test_a_damaged_checkpoint_costs_an_epoch(begun, capsys, wholes):
    file = newest(begun) / "record" / "metadata"
    file.write_text(file.read_text()[:99])
    with stopping(None) as progress:
        assert small(f"--resume {begun}") == 0
    out = capsys.readouterr().out
    assert "/7 is damaged: " in out
    assert "Using the checkpoint before, of step 5." in out
    assert [p.step for p in progress] == [1, 2, 3, 4, 5]
    assert results(begun) == wholes(small, "")


# What is missing is made again


def old_summary(path: Path) -> None:
    file = path / "summary.json"
    file.write_text(file.read_text().replace("true", "false"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: shutil.rmtree(path / "model"),
        *(
            pytest.param(spoil, marks=pytest.mark.slow)
            for spoil in (
                old_summary,
                lambda path: (path / "summary.json").unlink(),
                lambda path: (path / "summary.json").write_text(""),
                lambda path: (path / "summary.json").write_text("[]"),
                lambda path: (path / "summary.json").write_bytes(bytes(700)),
                lambda path: (path / "model" / "_METADATA").write_text(""),
                lambda path: (path / "metrics.jsonl").write_bytes(bytes(200)),
                lambda path: (path / "metrics.jsonl").unlink(),
                lambda path: (path / "figures" / "loss.png").unlink(),
            )
        ),
    ],
)
def test_resume_makes_what_is_missing(spoil, copied_run, wholes):
    spoil(copied_run)
    with stopping(None) as progress:
        assert small(f"--resume {copied_run}") == 0
    assert not progress  # nothing is trained again
    assert read(copied_run).summary["finished"] is True
    assert results(copied_run) == wholes(small, "")
    assert {file.name for file in (copied_run / "figures").iterdir()} == FIGURES


@pytest.mark.slow
def test_a_finished_run_without_checkpoints_is_not_trained_again(copied_run, capsys):
    shutil.rmtree(copied_run / "checkpoints")
    assert small(f"--resume {copied_run}") == 0
    assert "nothing is left to do" in capsys.readouterr().out
    shutil.rmtree(copied_run / "model")
    before = (copied_run / "metrics.jsonl").read_bytes()
    assert small(f"--resume {copied_run}") == 1
    out, err = capsys.readouterr()
    assert f"{copied_run} is finished but lacks model." in out
    assert "no checkpoint to make them from" in err
    assert (copied_run / "metrics.jsonl").read_bytes() == before


# Refusals


def test_the_address_of_another_process_is_not_taken_from_a_file(begun, monkeypatch):
    file = begun / "config.json"
    content = json.loads(file.read_text())
    content |= {"distributed": True, "coordinator": "127.0.0.1:1", "processes": 2}
    file.write_text(json.dumps(content | {"process_id": 1}))
    options = launch.read_options(lambda _: Config, "small", ["--resume", str(begun)])
    assert options.devices == Config().devices


def test_a_seed_is_not_resumed_alone(copied_run, tmp_path, capsys):
    seed = shutil.copytree(copied_run, tmp_path / "whole" / "seed-0")
    shutil.copy(copied_run / "config.json", tmp_path / "whole")
    assert small(f"--resume {seed}") == 1
    assert capsys.readouterr().err == (
        f"error: {seed} is one seed of a run of several; expected the whole run. Give "
        f"--resume {tmp_path / 'whole'}.\n"
    )


@pytest.mark.parametrize("name", ["metrics.jsonl", ".lock", "checkpoints", "figures"])
def test_links_in_a_run_directory_are_refused(name, begun, tmp_path, capsys):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "5.orbax-checkpoint-tmp").write_text("precious")
    if (begun / name).is_dir():
        shutil.rmtree(begun / name)
    (begun / name).unlink(missing_ok=True)
    target = outside if name in ("checkpoints", "figures") else outside / "file"
    (begun / name).symlink_to(target)
    assert small(f"--resume {begun}") == 1
    assert f"error: {begun / name} is a symbolic link; " in capsys.readouterr().err
    assert [own.name for own in outside.iterdir()] == ["5.orbax-checkpoint-tmp"]


def test_a_finished_run_is_left_alone(trained_run, capsys):
    before = snapshot(trained_run)
    assert small(f"--resume {trained_run}") == 0
    assert (
        capsys.readouterr().out
        == f"{trained_run} is finished: nothing is left to do.\n"
    )
    assert snapshot(trained_run) == before


def test_options_that_would_change_the_result(stopped, capsys):
    before = snapshot(stopped)
    words = "--epochs 7 --seed 3 --no-regrow --learning-rate 0.5 --no-figures"
    assert small(f"--resume {stopped} {words}") == 2
    assert capsys.readouterr().err == (
        f"error: --resume {stopped} uses the options stored there, but these would "
        "change the result: --learning-rate 0.5 (stored: 0.001), --epochs 7 (stored: "
        f"{EPOCHS}), --regrow False (stored: True), --seed 3 (stored: 0). Leave them "
        "out, or start a new run (from its parameters: --init-from).\n"
    )
    assert snapshot(stopped) == before


def test_a_folder_without_a_run_of_this_program(trained_run, tmp_path, capsys):
    expected = "expected a run of python -m experiments."
    assert small(f"--resume {tmp_path}") == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path} cannot be resumed: it has no config.json; {expected}small. "
        "Check the path, or start a new run with --out.\n"
    )
    assert normalised(f"--resume {trained_run}") == 1
    assert capsys.readouterr().err == (
        f"error: {trained_run} cannot be resumed: it is a run of small; "
        f"{expected}normalised. Check the path, or start a new run with --out.\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("key", "then"), [("dataset_found", "mnist"), ("sizes", {"train": 999})]
)
def test_other_data_than_before(key, then, begun, capsys):
    file = begun / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: then}))
    before = snapshot(begun)
    assert small(f"--resume {begun}") == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {begun} began with {key} {then}, but now it is ")
    assert err.endswith(
        "; expected the same data. Give the --data-dir that the run began with.\n"
    )
    assert snapshot(begun) == before


def test_other_versions_are_reported(begun, capsys):
    file = begun / "config.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"versions": {"jax": "0.1"}}))
    assert small(f"--resume {begun}") == 0
    out = capsys.readouterr().out
    assert "The run began with versions {'jax': '0.1'}, now" in out


@pytest.mark.parametrize(
    "way",
    ["--resume {}", pytest.param(f"{WHOLE} --out {{}}", marks=pytest.mark.slow)],
)
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
