"""Several seeds as one program: a run directory per seed, and their means."""

import json
import statistics

import pytest
from drawing import COMPARED, CURVES
from programs import small
from resuming import arrays, results

from experiments import figures
from experiments.runs.reading import read
from experiments.training.trainer import Trainer

# The options of `trained_run`, whose program is then compiled already.
WORDS = "--dataset digits --train-size 160 --epochs 2 --threshold 0.08 --no-figures"
SEEDS = (3, 4)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("seeds") / "run"
    assert small(f"{WORDS} --seed 3 --seeds 2 --out {path}") == 0
    return path


def test_each_seed_is_a_run_of_its_own(path):
    objectives = []
    for seed in SEEDS:
        run = read(path / f"seed-{seed}")
        assert (run.config["seed"], run.config["seeds"]) == (seed, 1)
        assert run.summary["seed"] == seed and run.summary["finished"]
        assert [row["epoch"] for row in run.metrics] == [0, 1, 2]
        assert (path / f"seed-{seed}" / "model").is_dir()
        objectives.append([row["objectives"] for row in run.metrics[1:]])
    assert objectives[0] != objectives[1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_each_is_what_it_is_alone(seed, path, tmp_path):
    """Up to rounding: a program of one network and one of two are two programs, whose
    sums XLA may order differently on any processor."""
    assert small(f"{WORDS} --seed {seed} --out {tmp_path}") == 0
    own, alone = read(path / f"seed-{seed}"), read(tmp_path)
    assert own.config | {"out": None} == alone.config | {"out": None}
    assert own.summary.keys() == alone.summary.keys()
    for row, expected in zip(own.metrics, alone.metrics, strict=True):
        for key in ("objectives", "l1", "validation_cross_entropy"):
            assert row[key] == pytest.approx(expected[key], rel=1e-3)
        # One of the 143 images at the boundary of two classes; a few of the 864 weights
        # at the threshold.
        key = "validation_accuracy"
        assert row[key] == pytest.approx(expected[key], abs=2 / 143)
        left, right = (sum(r["nonzeros"].values()) for r in (row, expected))
        assert left == pytest.approx(right, abs=5)


def test_the_run_s_own_files_hold_the_means(path):
    run, own = read(path), [read(path / f"seed-{seed}") for seed in SEEDS]
    assert run.config["seeds"] == 2
    assert run.summary["seeds"] == list(SEEDS) and run.summary["finished"] is True
    assert set(run.summary) == (set(own[0].summary) - {"seed"}) | {"seeds", "deviation"}
    assert [row["epoch"] for row in run.metrics] == [0, 1, 2]
    both = zip(*(one.metrics for one in own), strict=True)
    for found, rows in [
        (run.summary, [one.summary for one in own]),
        *zip(run.metrics, both, strict=True),
    ]:
        for key in ("l1", "validation_accuracy", "test_cross_entropy"):
            values = [row[key] for row in rows]
            assert found[key] == statistics.fmean(values)
            assert found["deviation"][key] == statistics.stdev(values)
    assert run.summary["deviation"]["l1"] > 0  # the orders of the images differ
    for key in ("objectives", "weights"):
        assert run.metrics[1][key] == [
            statistics.fmean(one.metrics[1][key][n] for one in own) for n in range(2)
        ]


@pytest.mark.slow
def test_each_seed_starts_from_its_own(path, tmp_path):
    words = f"{WORDS} --seed 3 --seeds 2 --init-from {path} --out {tmp_path}"
    assert small(words) == 0
    models = []
    for seed in SEEDS:
        old, new = path / f"seed-{seed}", tmp_path / f"seed-{seed}"
        row, summary = read(new).metrics[0], read(old).summary
        for key in ("l1", "validation_accuracy", "test_cross_entropy"):
            assert row[key] == summary[key]  # the same program
        models.append(arrays(old / "model"))
    assert models[0] != models[1]


def test_a_finished_run_is_not_resumed(path, capsys):
    before = json.dumps(results(path), default=str)
    assert small(f"--resume {path}") == 0
    assert "is finished: nothing is left to do." in capsys.readouterr().out
    assert json.dumps(results(path), default=str) == before


@pytest.mark.slow
def test_readers_take_the_run_and_each_seed(path, tmp_path):
    several = [path, path / "seed-3", path / "seed-4"]
    for paths in ([path], [path / "seed-4"], several):
        files = figures.draw(paths, tmp_path / "figures")
        expected = set(CURVES if len(paths) == 1 else COMPARED)
        assert {file.name for file in files} == expected | {"stationarity.png"}


@pytest.mark.slow
def test_the_step_named_is_that_of_the_last_seed_to_diverge(
    tmp_path, capsys, monkeypatch
):
    """One diverges in epoch 1, the other in epoch 2."""
    steps, epoch = {1: [1, -1], 2: [0, 3]}, Trainer.epoch

    def diverging(self, number, done=0):
        for progress in epoch(self, number, done):
            yield progress._replace(bad_steps=steps[number])

    monkeypatch.setattr(Trainer, "epoch", diverging)
    assert small(f"{WORDS} --seed 3 --seeds 2 --out {tmp_path}") == 1
    message = "error: The objectives are not finite in epoch 2, step 4 of 5; expected"
    assert capsys.readouterr().err.startswith(message)
