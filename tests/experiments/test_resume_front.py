"""Fronts that are stopped, and end with the same bits once they are resumed."""

import pytest
from fronts import BUDGET, SMALL, table, trace, use_small
from resuming import arrays, killed, newest, results, snapshot, stopping

from bopt.fronts import Front
from experiments.runs.directory import RunDirectory
from experiments.runs.reading import read_front
from experiments.training.trainer import Trainer

FRONT = f"{SMALL} --budget {BUDGET}"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    use_small(monkeypatch)


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """Number of networks of each program that this test trains."""
    numbers, begin = [], Trainer.start

    def counted(self, seeds, weights=None):
        numbers.append(len(seeds))
        begin(self, seeds, weights)

    monkeypatch.setattr(Trainer, "start", counted)
    return numbers


def front_results(path):
    """Everything that a front's run directory holds, except times."""
    front = Front.from_json((path / "front.json").read_text())
    assert front == read_front(path)
    folders = sorted((path / "networks").iterdir())
    return (
        results(path, checkpoints=False),
        table(path),
        {folder.name: arrays(folder) for folder in folders},
        [folder.name for folder in (path / "checkpoints").iterdir()],
        arrays(newest(path, "checkpoints/final") / "state"),
    )


@pytest.mark.slow
def test_stopped_by_signals_nothing_is_trained_twice(trained_front, tmp_path, trained):
    """In a batch; with the last step of the next; and in the final training."""
    path, steps = tmp_path / "run", []
    given = f"{FRONT} --out {path}"
    # 3 batches of 2 epochs of 4 steps; the final training has one epoch.
    for stop in (3, 5, 18, None):
        with stopping(stop) as progress:
            assert trace(given) == (143 if stop else 0)
        steps += progress
        given = f"--resume {path}"
    assert [(p.epoch, p.step) for p in steps] == [
        (epoch + 1, step + 1) for epoch in (0, 1, 0, 1, 0, 1, 0) for step in range(4)
    ]
    assert front_results(path) == front_results(trained_front)
    # A batch is started anew where it is resumed; then its checkpoint is loaded.
    assert trained == [2, 2, 2, 2, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "searching",
    [
        *("dichotomic", "grid", "continuation"),
        "grid --grid original",  # of which the budget takes a part
        "bisection_dichotomic --optimizer madam",
        "bisection --optimizer madam --released",
    ],
)
def test_killed_anywhere_in_a_search(searching, tmp_path, trained):
    words = f"{FRONT} --search {searching} --final-epochs 0"
    assert trace(f"{words} --out {tmp_path / 'whole'}") == 0
    whole, batches = table(tmp_path / "whole"), len(trained)
    for call in (1, 2, batches):
        path = tmp_path / str(call)
        trained.clear()
        with killed(RunDirectory, "append_points", call):
            trace(f"{words} --out {path}")
        assert len(read_front(path)) == sum(trained[:-1])
        assert trace(f"--resume {path}") == 0
        assert table(path) == whole
        # Only the batch that was lost is trained twice.
        assert len(trained) == batches + 1


@pytest.mark.slow  # whole batches
def test_a_continuation_that_stops_in_the_middle_of_a_batch(tmp_path):
    words = f"{FRONT} --search continuation --corrector-epochs 2 --save all"
    whole, path, steps = tmp_path / "whole", tmp_path / "run", []
    with stopping(None) as expected:
        assert trace(f"{words} --out {whole}") == 0
    given = f"{words} --out {path}"
    for stop in (3, 4, 2, len(expected) - 9 - 2, None):
        with stopping(stop) as progress:
            assert trace(given) == (143 if stop else 0)
        steps += progress
        given = f"--resume {path}"
    assert steps == [
        p._replace(seconds=s.seconds) for p, s in zip(expected, steps, strict=True)
    ]
    assert table(path) == table(whole)
    assert not [*(path / "checkpoints").iterdir()]
    for point in read_front(path):
        networks = (p / "networks" / point.name for p in (path, whole))
        assert len(set(map(str, map(arrays, networks)))) == 1


def test_a_finished_front_is_left_alone(trained_front, capsys):
    before = snapshot(trained_front)
    assert trace(f"--resume {trained_front}") == 0
    out = capsys.readouterr().out
    assert out == f"{trained_front} is finished: nothing is left to do.\n"
    assert snapshot(trained_front) == before


EXPECTED = "expected a run of python -m experiments.pareto_front."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, f"{{}} cannot be resumed: it has no config.json; {EXPECTED}"),
        ("{", "Cannot read {}/config.json: Expecting"),
        (
            '{"experiment": "mnist_lenet"}',
            f"{{}} cannot be resumed: it is a run of mnist_lenet; {EXPECTED}",
        ),
    ],
)
def test_a_folder_without_a_front(content, message, tmp_path, capsys):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert trace(f"--resume {tmp_path}") == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message.format(tmp_path)}")


def test_a_damaged_table_is_reported(trained_front, tmp_path, capsys):
    path = tmp_path / "run"
    path.mkdir()
    (path / "config.json").write_text((trained_front / "config.json").read_text())
    header = (trained_front / "front.csv").read_text().splitlines()[0]
    (path / "front.csv").write_text(f"{header}\na,b\n")
    assert trace(f"--resume {path}") == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: Cannot read {path}/front.csv: Line 2 has 2 fields")
