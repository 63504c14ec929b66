"""Runs that start from another's parameters, and several seeds as one program."""

import json
import statistics

import jax
import numpy as np
import pytest
from networks import Small
from programs import normalised, small
from resuming import arrays, results, stopping

from experiments.runs.directory import RunDirectory, read

SHORT = "--dataset digits --train-size 160 --no-figures"
PRUNED = f"{SHORT} --epochs 2 --threshold 0.08"


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A finished run that pruned much."""
    path = tmp_path_factory.mktemp("old") / "run"
    assert small(f"{PRUNED} --out {path}") == 0
    assert 0.2 < read(path).summary["dense_sparsity"] < 0.9
    return path


def kernels(path) -> list[np.ndarray]:
    """The dense kernels of a finished run of the small network."""
    image = jax.ShapeDtypeStruct((1, 28, 28, 1), np.float32)
    like = jax.eval_shape(Small().init, jax.random.key(0), image)
    like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    params = RunDirectory(path).load_model("model", like)["params"]
    return [params[f"Dense_{n}"]["kernel"] for n in range(2)]


def come_back(path, old) -> int:
    """How many weights of the old run's zeros are none."""
    pairs = zip(kernels(path), kernels(old), strict=True)
    return sum(int(np.count_nonzero(new[kernel == 0])) for new, kernel in pairs)


def check_starts_at(path, old) -> None:
    row, summary = read(path).metrics[0], read(old).summary
    assert row["epoch"] == row["step"] == 0
    for key in ("l1", "validation_accuracy", "test_accuracy", "test_cross_entropy"):
        assert row[key] == summary[key]
    assert row["nonzeros"] == read(old).metrics[-1]["nonzeros"]


@pytest.mark.parametrize("regrow", [True, False])
def test_it_starts_where_the_other_ended(regrow, old, tmp_path):
    """Its zeros are masked: without regrowth, none comes back at any learning rate."""
    words = f"{PRUNED} --learning-rate 0.1 --init-from {old} --out {tmp_path}"
    assert small(words + (" --regrow" if regrow else " --no-regrow")) == 0
    check_starts_at(tmp_path, old)
    assert bool(come_back(tmp_path, old)) is regrow
    pairs = zip(kernels(tmp_path), kernels(old), strict=True)
    assert all(np.abs(new - kernel).max() > 0.1 for new, kernel in pairs)


def test_it_does_not_start_there_twice(old, tmp_path):
    """A resumed one goes on from its checkpoint, even where the old one is gone."""
    lent = tmp_path / "lent"
    (tmp_path / "old").symlink_to(old)
    words = f"{SHORT} --epochs 1 --init-from {tmp_path}/old --no-regrow"
    assert small(f"{words} --out {tmp_path / 'whole'}") == 0
    with stopping(2):
        assert small(f"{words} --out {lent}") == 143
    (tmp_path / "old").unlink()
    assert small(f"--resume {lent}") == 0
    assert results(lent) == results(tmp_path / "whole")


def test_another_model(old, tmp_path, capsys):
    path = tmp_path / "run"
    assert normalised(f"{SHORT} --epochs 1 --init-from {old} --out {path}") == 1
    assert capsys.readouterr().err.startswith(
        f"error: {old}/model is of another model or optimizer: it has float32[2] as "
        "params/Conv_0/bias; expected float32[4]."
    )


@pytest.mark.parametrize("there", [True, False])
def test_no_trained_network(there, tmp_path, capsys):
    old = tmp_path / "old"
    if there:
        with stopping(1):
            assert small(f"{SHORT} --epochs 1 --out {old}") == 143
    assert small(f"{SHORT} --init-from {old} --out {tmp_path / 'run'}") == 1
    assert f"error: {old} holds no trained network: it has no model/, which a fin" in (
        capsys.readouterr().err
    )


# Several seeds


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    path = tmp_path_factory.mktemp("seeds") / "run"
    assert small(f"{SHORT} --epochs 2 --seed 3 --seeds 2 --out {path}") == 0
    return path


@pytest.mark.parametrize("seed", [3, 4])
def test_each_is_what_it_is_alone(seed, seeds, tmp_path):
    """Bit by bit here, on a CPU, where the program takes one network after another."""
    assert small(f"{SHORT} --epochs 2 --seed {seed} --out {tmp_path}") == 0
    own = seeds / f"seed-{seed}"
    assert results(own, False) == results(tmp_path, False)
    config, alone = (read(path).config for path in (own, tmp_path))
    assert config | {"out": None} == alone | {"out": None}


def test_the_means_and_deviations(seeds):
    run, own = read(seeds), [read(seeds / f"seed-{seed}") for seed in (3, 4)]
    assert run.summary["seeds"] == [3, 4] and "seed" not in run.summary
    assert run.summary["finished"] is True
    assert [row["epoch"] for row in run.metrics] == [0, 1, 2]
    both = zip(*(r.metrics for r in own), strict=True)
    for found, rows in [
        (run.summary, [r.summary for r in own]),
        *zip(run.metrics, both, strict=True),
    ]:
        for key in ("l1", "validation_accuracy", "test_cross_entropy"):
            values = [row[key] for row in rows]
            assert found[key] == statistics.fmean(values)
            assert found["deviation"][key] == statistics.stdev(values)
    assert run.summary["deviation"]["l1"] > 0  # the orders of the images differ
    assert run.metrics[1]["objectives"] == [
        statistics.fmean(r.metrics[1]["objectives"][n] for r in own) for n in range(2)
    ]


def test_each_seed_starts_from_its_own(seeds, tmp_path):
    words = f"{SHORT} --epochs 1 --seed 3 --seeds 2 --init-from {seeds}"
    assert small(f"{words} --out {tmp_path}") == 0
    for seed in (3, 4):
        check_starts_at(tmp_path / f"seed-{seed}", seeds / f"seed-{seed}")
    models = [arrays(seeds / f"seed-{seed}" / "model") for seed in (3, 4)]
    assert models[0] != models[1]


def test_a_finished_one_says_so(seeds, capsys):
    before = json.dumps(results(seeds), default=str)
    assert small(f"--resume {seeds}") == 0
    assert "is finished: nothing is left to do." in capsys.readouterr().out
    assert json.dumps(results(seeds), default=str) == before
