"""Loop: trainings that start from a finished run, and that diverge."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from networks import Linear, Small
from programs import normalised, small
from resuming import results, stopping

from experiments.config import Config
from experiments.launch import main
from experiments.runs.directory import RunDirectory
from experiments.runs.reading import read

# The options of `trained_run`, whose program is then compiled already.
SHORT = "--dataset digits --train-size 160 --epochs 2 --threshold 0.08 --no-figures"
AWAY = f"{SHORT} --learning-rate 0.1"


def kernels(path) -> list[np.ndarray]:
    """Return the dense kernels of a finished run of the small network."""
    image = jax.ShapeDtypeStruct((1, 28, 28, 1), np.float32)
    like = jax.eval_shape(Small().init, jax.random.key(0), image)
    like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    params = RunDirectory(path).load_model("model", like)["params"]
    return [params[f"Dense_{n}"]["kernel"] for n in range(2)]


def returned(path, old) -> int:
    """Count the zeros of the old run that are none in the new one."""
    pairs = zip(kernels(path), kernels(old), strict=True)
    return sum(int(np.count_nonzero(new[kernel == 0])) for new, kernel in pairs)


def check_starts_at(path, old) -> None:
    """Check that a run starts with the parameters with which another ended."""
    row, summary = read(path).metrics[0], read(old).summary
    assert row["epoch"] == row["step"] == 0
    assert row["nonzeros"] == read(old).metrics[-1]["nonzeros"]
    assert row["l1"] == summary["l1"]
    # The same parameters and program, but perhaps another one than the old run's.
    for key in ("validation_accuracy", "test_accuracy", "test_cross_entropy"):
        assert row[key] == pytest.approx(summary[key], rel=1e-5)


# Starting from a finished run


@pytest.mark.parametrize("regrow", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_run_starts_where_another_ended(regrow, trained_run, tmp_path):
    """Its zeros are masked: without regrowth, none returns at any learning rate."""
    words = f"{AWAY} --init-from {trained_run} --out {tmp_path}"
    assert 0.2 < read(trained_run).summary["dense_sparsity"] < 0.9
    assert small(words + (" --regrow" if regrow else " --no-regrow")) == 0
    check_starts_at(tmp_path, trained_run)
    assert bool(returned(tmp_path, trained_run)) is regrow
    pairs = zip(kernels(tmp_path), kernels(trained_run), strict=True)
    assert all(np.abs(new - kernel).max() > 0.1 for new, kernel in pairs)


@pytest.mark.slow
def test_a_resumed_run_does_not_start_there_again(trained_run, tmp_path):
    """It continues from its checkpoint, even where the old run is gone."""
    stopped = tmp_path / "stopped"
    (tmp_path / "old").symlink_to(trained_run)
    words = f"{AWAY} --init-from {tmp_path}/old --no-regrow"
    assert small(f"{words} --out {tmp_path / 'whole'}") == 0
    with stopping(2):
        assert small(f"{words} --out {stopped}") == 143
    (tmp_path / "old").unlink()
    assert small(f"--resume {stopped}") == 0
    assert results(stopped) == results(tmp_path / "whole")


@pytest.mark.slow
def test_another_model(trained_run, tmp_path, capsys):
    path = tmp_path / "run"
    assert normalised(f"{SHORT} --init-from {trained_run} --out {path}") == 1
    assert capsys.readouterr().err.startswith(
        f"error: {trained_run}/model belongs to another model or optimizer: "
        "params/Conv_0/bias is float32[2]; expected float32[4]."
    )


@pytest.mark.slow
@pytest.mark.parametrize("begun", [True, False])
def test_no_trained_network(begun, tmp_path, capsys):
    old = tmp_path / "old"
    if begun:
        with stopping(1):
            assert small(f"{SHORT} --out {old}") == 143
    assert small(f"{SHORT} --init-from {old} --out {tmp_path / 'run'}") == 1
    message = f"error: {old} holds no trained network; expected the folder model/ of a "
    assert message in capsys.readouterr().err


# Diverging


class Fragile(nn.Module):
    """A dense layer that is not finite for some random seeds."""

    @nn.compact
    def __call__(self, images, train=False):
        def init(key, shape):
            return jnp.where(jax.random.bernoulli(key), jnp.nan, jnp.zeros(shape))

        return Linear()(images) + self.param("bias", init, (1, 10))


def fragile(words: str) -> int:
    words = f"--dataset digits --train-size 160 --no-figures {words}"
    words += " --conv-l2 0 --optimizer sgd"
    return main("fragile", Config, lambda *_: Fragile(), words.split())


@pytest.fixture(scope="module")
def seeds() -> dict[tuple[bool, bool], int]:
    """Return (first is finite, second is finite) -> first of two random seeds."""

    @jax.jit
    @jax.vmap
    def finite(seed):
        variables = Fragile().init(jax.random.key(seed), jnp.zeros((1, 28, 28, 1)))
        return jnp.isfinite(jax.tree.leaves(variables["params"]["bias"])[0]).all()

    pairs = [*itertools.pairwise(finite(jnp.arange(20)).tolist())]
    return {pair: pairs.index(pair) for pair in pairs}


def test_a_diverging_run_names_the_step(seeds, tmp_path, capsys):
    words = f"--seed {seeds[False, False]} --epochs 1 --out {tmp_path}"
    assert fragile(words) == 1
    assert capsys.readouterr().err == (
        "error: The objectives are not finite in epoch 1, step 1 of 5; expected finite "
        "numbers. Lower --learning-rate, or change --normalize or --optimizer.\n"
    )
    assert read(tmp_path).summary["finished"] is False


@pytest.mark.slow
def test_a_diverging_last_step_is_found_by_the_evaluation(tmp_path, capsys):
    """Its gradient is finite, its update is not."""
    words = "--train-size 32 --epochs 1 --optimizer sgd --learning-rate 1e38 --l1 0"
    words = f"--dataset digits --no-figures {words} --no-prune --out {tmp_path}"
    assert small(words) == 1
    message = "error: The cross entropy is not finite in epoch 1, step 1 of 1; expected"
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
def test_a_diverging_seed_leaves_the_others_alone(first, seeds, tmp_path):
    seed = seeds[first, not first]
    words = f"--seed {seed} --seeds 2 --epochs 1 --out {tmp_path}"
    assert fragile(words) == 0
    found = [read(tmp_path / f"seed-{n}").summary for n in (seed, seed + 1)]
    assert [one["test_cross_entropy"] is not None for one in found] == [
        first,
        not first,
    ]
    assert all(one["finished"] for one in found)
    summary = read(tmp_path).summary
    assert summary["finished"] and summary["test_cross_entropy"] is None


@pytest.mark.slow
def test_a_run_ends_when_all_seeds_have_diverged(seeds, tmp_path, capsys):
    words = f"--seed {seeds[False, False]} --seeds 2 --epochs 1 --out {tmp_path}"
    assert fragile(words) == 1
    message = "error: The objectives are not finite in epoch 1, step 1 of 5; expected"
    assert capsys.readouterr().err.startswith(message)
