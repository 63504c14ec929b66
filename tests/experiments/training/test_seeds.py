"""Several seeds as one program: each a run of its own, and their means."""

import json
import math

import numpy as np
import pytest
from programs import small

from experiments import figures
from experiments.runs.directory import read
from experiments.runs.seeds import mean

WORDS = "--dataset digits --train-size 100 --epochs 2 --seed 3"
SEEDS = (3, 4, 5)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "many"
    assert small(f"{WORDS} --seeds 3 --out {path}") == 0
    return path


# Means


def test_of_one_it_is_that_one():
    record = {"epoch": 1, "weights": None, "finished": True}
    assert mean([record]) == record


def test_means_and_deviations():
    first = {"epoch": 1, "n": 2, "text": "a", "weights": None, "pair": [1.0, 5.0]}
    second = {"epoch": 1, "n": 4, "text": "a", "weights": None, "pair": [2.0, 5.0]}
    found = mean([first, second])
    assert found.pop("deviation") == {"epoch": 0.0, "n": pytest.approx(math.sqrt(2))}
    assert found == first | {"n": 3.0, "pair": [1.5, 5.0]}
    assert type(found["epoch"]) is int


@pytest.mark.parametrize("lost", [None, math.nan])
def test_of_a_diverged_seed_there_is_no_mean(lost):
    """Cause: statistics.stdev raises for NaN; null is what JSON has for it."""
    found = mean([{"loss": 1.0}, {"loss": lost}])
    assert math.isnan(found["loss"]) and math.isnan(found["deviation"]["loss"])


def test_nested_numbers_are_averaged_too():
    rows = [{"nonzeros": {"a": n, "b": 1}, "weights": {"g": [n, 0]}} for n in (1, 2)]
    expected = {"nonzeros": {"a": 1.5, "b": 1}, "weights": {"g": [1.5, 0]}}
    assert mean(rows) == expected | {"deviation": {}}


# Runs


def test_each_seed_is_a_run_of_its_own(path):
    kept = []
    for seed in SEEDS:
        run = read(path / f"seed-{seed}")
        assert (run.config["seed"], run.config["seeds"]) == (seed, 1)
        assert run.summary["seed"] == seed and run.summary["finished"]
        assert [row["epoch"] for row in run.metrics] == [0, 1, 2]
        assert (path / f"seed-{seed}" / "model").is_dir()
        kept.append([row["objectives"] for row in run.metrics[1:]])
    assert kept[0] != kept[1] != kept[2]


def test_the_run_s_own_files_hold_the_means(path):
    run, own = read(path), [read(path / f"seed-{seed}") for seed in SEEDS]
    assert run.config["seeds"] == 3
    assert run.summary["seeds"] == list(SEEDS) and run.summary["finished"] is True
    deviation = run.summary["deviation"]
    for key in ("test_accuracy", "nonzero_dense", "l1", "dense_sparsity"):
        values = [one.summary[key] for one in own]
        assert run.summary[key] == pytest.approx(np.mean(values))
        assert deviation[key] == pytest.approx(np.std(values, ddof=1))
    for number, row in enumerate(run.metrics):
        rows = [one.metrics[number] for one in own]
        for key in ("objectives", "weights"):
            if row[key] is not None:
                expected = np.mean([one[key] for one in rows], axis=0)
                assert row[key] == pytest.approx(expected)
    keys = set(own[0].summary) - {"seed"}
    assert set(run.summary) == keys | {"seeds", "deviation"}


def test_readers_take_the_run_and_each_seed(path, tmp_path):
    several = [path, path / "seed-3", path / "seed-4"]
    for paths in ([path], [path / "seed-4"], several):
        files = figures.draw(paths, tmp_path / "figures")
        assert {file.name for file in files} == {
            *("accuracy.png", "loss.png", "weight.png", "nonzeros.png")
        }


@pytest.mark.slow
def test_a_new_run_starts_from_a_run_with_seeds(path, tmp_path):
    words = f"{WORDS.replace('--epochs 2', '--epochs 0')} --no-figures"
    assert small(f"{words} --init-from {path} --out {tmp_path / 'one'}") == 0
    assert small(f"{words} --seeds 3 --init-from {path} --out {tmp_path / 'all'}") == 0
    for old, new in (
        ("seed-3", "one"),
        ("seed-3", "all/seed-3"),
        *[(f"seed-{seed}", f"all/seed-{seed}") for seed in SEEDS],
    ):
        before, now = read(path / old).summary, read(tmp_path / new).summary
        for key in ("test_accuracy", "nonzero_dense", "l1"):
            assert now[key] == before[key]


def test_a_seed_that_diverges_leaves_the_others_alone(tmp_path, capsys):
    words = "--optimizer sgd --learning-rate 1e38 --no-figures"
    path = tmp_path / "run"
    assert small(f"{WORDS} {words} --seeds 2 --out {path}") == 0
    assert read(path).summary["test_cross_entropy"] is None
    json.loads((path / "summary.json").read_text(), parse_constant=pytest.fail)
