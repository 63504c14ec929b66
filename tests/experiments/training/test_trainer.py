"""Trainer: the images of an epoch, evaluation, chunks, seeds, compilation."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import (
    Linear,
    Normalised,
    Small,
    dataset,
    made,
    noise,
    plain_sgd,
    scores_by_numpy,
)

from experiments import data
from experiments.config import Config, resolve, updated
from experiments.errors import ConfigError
from experiments.training import step as step_module
from experiments.training import trainer as trainer_module
from experiments.training.optimizers import compose
from experiments.training.trainer import Trainer

NOISE = noise(60, train=40, validation=10)


def kernel(trainer: Trainer) -> np.ndarray:
    return np.array(trainer.networks()[0]["params"]["Dense_0"]["kernel"])


def bits(tree) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


# The images of an epoch


def test_an_epoch_uses_each_training_image_at_most_once():
    """Image i has one bright pixel, number i. It alone moves row i of the kernel, and
    small steps move the entry of its label by 0.9 rate / batch at each use."""
    images = np.eye(784)[:700].reshape(700, 28, 28, 1) * 255
    labels = np.arange(700) % 10
    rate, batch = 1e-3, 32
    made_up = dataset(images, labels, train=500, unused=100, validation=50)
    trainer = made(Linear(), plain_sgd(rate), made_up, batch)
    assert trainer.steps_per_epoch == 15
    left_out = []
    for epoch in (1, 2):
        before = kernel(trainer)
        assert [p.steps for p in trainer.epoch(epoch)][-1] == 15
        moved = (kernel(trainer) - before)[np.arange(700), labels]
        used = moved / (0.9 * rate / batch)
        np.testing.assert_allclose(used, np.rint(used), atol=0.01)
        counts = np.rint(used).astype(int)
        assert set(counts[:500]) == {0, 1}
        assert counts[:500].sum() == 15 * batch  # no incomplete last batch
        assert not counts[500:].any()  # no image of another split
        left_out.append(set(np.flatnonzero(counts[:500] == 0)))
    assert left_out[0] != left_out[1]  # another order


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "power"),
    [
        ({"split": True}, 2),
        pytest.param({"l1_where": "all"}, 1, marks=pytest.mark.slow),
    ],
)
def test_the_means_over_an_epoch(options, power):
    """At rate 0 the objectives' means are those of the initial parameters."""
    trainer = made(Small(), plain_sgd(0.0), NOISE, conv_l2=0.5, **options)
    *_, last = trainer.epoch(1)
    (network,), (scores,) = trainer.networks(), trainer.evaluate()
    kernels = {name: np.abs(own["kernel"]) for name, own in network["params"].items()}
    penalty = 0.5 * (kernels["Conv_0"] ** 2).sum()
    assert penalty > 0.1
    expected = scores["train"].cross_entropy + penalty
    complexity = kernels["Dense_0"].sum() + kernels["Dense_1"].sum()
    complexity += (kernels["Conv_0"] ** power).sum()
    assert last.objectives[0] == pytest.approx([expected, complexity], rel=1e-5)
    assert last.weights == [[1.0, 0.0]]
    assert (last.epoch, last.step, last.steps, last.bad_steps) == (1, 5, 5, [-1])


def test_a_batch_larger_than_the_training_set():
    with pytest.raises(ConfigError, match=r"--batch-size is 41, but there are 40 tr"):
        made(Linear(), plain_sgd(0.1), NOISE, 41)


# Chunks, seeds


def whole(network) -> Trainer:
    """Return a trainer with everything random: default optimizer, pruning, dropout."""
    options = {"standardize": True, "augment": True} if network is Normalised else {}
    config = resolve(updated(Config(), epochs=2, learning_rate=0.01), "mnist")
    images = noise(240, train=200, validation=20)
    return made(network(), compose(config, 25), images, conv_l2=1e-4, **options)


def train_in_chunks(trainer: Trainer, lengths: list[int]):
    """Train two epochs in chunks; return the bits of all results, and the ends."""
    ends = []
    for epoch in (1, 2):
        chunks = iter([*lengths, 0])
        trainer._chunk = next(chunks)
        for progress in trainer.epoch(epoch):
            trainer._chunk = next(chunks)
            ends.append(progress.step)
    return bits((trainer.carry, progress.objectives, progress.weights)), ends


@pytest.fixture(
    scope="module",
    params=[Small, pytest.param(Normalised, marks=pytest.mark.slow)],
)
def trainer_and_result(request):
    trainer = whole(request.param)
    start = jax.tree.map(jnp.copy, trainer.carry)
    result, ends = train_in_chunks(trainer, [25])
    assert ends == [25, 25]
    assert bool(trainer.variables.get("batch_stats")) == (request.param is Normalised)
    return request.param, trainer, start, result


@pytest.mark.parametrize("lengths", [[1] * 25, [3, 1, 9, 12], [24, 1]], ids=str)
def test_the_chunks_do_not_change_a_bit(lengths, trainer_and_result):
    _, trainer, start, expected = trainer_and_result
    trainer.carry = jax.tree.map(jnp.copy, start)
    result, ends = train_in_chunks(trainer, lengths)
    assert ends == np.cumsum(lengths).tolist() * 2
    assert result == expected


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits(trainer_and_result):
    network, trainer, _, expected = trainer_and_result
    trainer.start([0])
    assert train_in_chunks(trainer, [25])[0] == expected
    assert train_in_chunks(whole(network), [25])[0] == expected


@pytest.mark.slow
def test_chunks_grow_until_they_take_a_second(monkeypatch):
    images = noise(240, train=200, validation=20)
    trainer = made(Linear(), plain_sgd(0.0), images, 1)
    monkeypatch.setattr(trainer_module, "CHUNK_SECONDS", 1e9)
    # 1, 4, 16, 64, the rest: the first steps of a large network may take seconds each.
    assert [p.step for p in trainer.epoch(1)] == [1, 5, 21, 85, 200]
    monkeypatch.setattr(trainer_module, "CHUNK_SECONDS", 0)
    list(trainer.epoch(2))
    assert [p.step for p in trainer.epoch(3)] == [*range(1, 201)]


def test_an_epoch_resumes_in_its_middle():
    trainer = made(Linear(), plain_sgd(0.1), NOISE)
    *_, expected = trainer.epoch(1)
    result = bits(trainer.variables)
    trainer.start([0])
    trainer._chunk = 2
    assert next(trainer.epoch(1)).step == 2
    assert [progress.step for progress in trainer.epoch(1, 2)][-1] == 5
    assert bits(trainer.variables) == result
    *_, last = trainer.epoch(2)
    assert last.objectives != expected.objectives  # the sums begin anew


def test_the_seed_decides_the_order_of_the_images():
    """Seeds that start from the same (zero) parameters differ by it alone."""
    trainer, results = made(Linear(), plain_sgd(0.1), NOISE), []
    for seed in (0, 1):
        trainer.start([seed])
        assert not kernel(trainer).any()
        list(trainer.epoch(1))
        results.append(kernel(trainer))
    assert (results[0] != results[1]).any()


# Evaluation


@pytest.mark.parametrize("sizes", [(16, 7, 1), (21, 6, 15)])
def test_evaluation_counts_each_example_once(sizes, monkeypatch):
    """Batches of 7: splits below, at, above and between multiples of it."""
    monkeypatch.setattr(step_module, "EVALUATION_BATCH", 7)
    training, validation, test = sizes
    images = noise(50, training, validation, unused=50 - training - validation - test)
    trainer = made(Linear(), plain_sgd(0.05), images)
    list(trainer.epoch(1))
    check_scores(trainer, images)


def check_scores(trainer: Trainer, images) -> None:
    (network,), (found,) = trainer.networks(), trainer.evaluate()
    for name, scores in found.items():
        expected = scores_by_numpy(network, images, getattr(images, name))
        assert scores == pytest.approx(expected, rel=1e-5), name


def test_evaluation_of_the_digits(monkeypatch):
    digits = data.load("digits", train_size=600)
    trainer = made(Linear(), plain_sgd(0.05), digits, 32)
    list(trainer.epoch(1))
    check_scores(trainer, digits)
    (scores,) = trainer.evaluate()
    assert min(score.accuracy for score in scores.values()) > 0.3  # chance is 0.1
    monkeypatch.setattr(trainer_module, "TRAIN_EVALUATION", 10)
    expected = scores_by_numpy(trainer.networks()[0], digits, range(10))
    ((name, first),) = trainer.evaluate(["train"])[0].items()
    assert name == "train" and first == pytest.approx(expected, rel=1e-5)


# Objectives that are not finite


@pytest.mark.slow
def test_the_first_step_that_is_not_finite():
    trainer = made(Linear(), plain_sgd(1e38), NOISE)
    for epoch, expected in ((3, 1), (4, 0)):  # counted anew in each epoch
        *_, last = trainer.epoch(epoch)
        assert last.bad_steps == [expected]
    (scores,) = trainer.evaluate()
    assert np.isnan([*scores.values()]).all()  # not the accuracy of class 0


def test_the_step_does_not_depend_on_the_chunks():
    images = noise(60, train=40, validation=10)
    images.images[38, 0, 0] = 255  # the one whose loss is NaN
    trainer, found = made(Linear(poisoned=True), plain_sgd(0.1), images), []
    for chunk in (1, 2, 5):
        trainer.start([0])
        trainer._chunk = chunk
        for progress in trainer.epoch(1):
            trainer._chunk = chunk
            if progress.bad_steps != [-1]:
                found.append((progress.bad_steps, progress.step))
    bad = found[0][1] - 1  # the last step of the first chunk that reports it
    assert bad < 3  # further steps follow, which are not finite, either
    assert [steps for steps, _ in found] == [[bad]] * len(found)


# The device


@pytest.mark.slow
def test_nothing_is_compiled_inside_the_epochs(caplog):
    """JAX logs "Compiling" when it lowers a program; XLA may use its cache."""

    def compiled():
        return [r for r in caplog.messages if r.startswith("Compiling ")]

    with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
        trainer = whole(Small)
        list(trainer.epoch(1))
        trainer.evaluate()
        for name in ("init", "steps", "evaluate"):
            assert sum(f"jit({name})" in line for line in compiled()) == 1, name
        caplog.clear()
        for epoch in (2, 3):
            trainer._chunk = epoch  # other lengths than before
            list(trainer.epoch(epoch))
            trainer.evaluate()
        assert compiled() == []


def test_images_stay_bytes_and_the_state_is_donated():
    trainer = made(Linear(), plain_sgd(0.1), NOISE)
    images, _ = trainer._arrays
    assert (images.dtype, images.shape) == (np.uint8, (60, 28, 28, 1))
    before = trainer.variables["params"]["Dense_0"]["kernel"]
    list(trainer.epoch(1))
    assert before.is_deleted()


@pytest.mark.parametrize("weights", [None, [(0.5, 0.5)]])
def test_an_optimizer_is_made_from_the_weights_of_a_network(weights):
    """They are None, or a traced pair."""

    class Seen(Exception):
        pass

    def make_optimizer(weights):
        raise Seen(None if weights is None else weights.shape)

    config = updated(Config(), batch_size=8)
    with pytest.raises(Seen, match=r"None" if weights is None else r"\(2,\)"):
        Trainer(Linear(), make_optimizer, NOISE, config, [0], weights)
