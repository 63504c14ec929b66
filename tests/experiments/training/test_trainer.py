"""The trainer: what an epoch sees and gives, evaluation, determinism, compilation."""

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
from experiments.config import Config, resolve
from experiments.errors import NonFiniteError
from experiments.option_checks import ConfigError
from experiments.training import step as steps
from experiments.training import trainer as train
from experiments.training.optimizers import compose
from experiments.training.trainer import Trainer


def kernel(trainer: Trainer) -> np.ndarray:
    return np.array(trainer.params["params"]["Dense_0"]["kernel"])


def bits(tree) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


# What an epoch sees


def test_an_epoch_sees_each_training_image_at_most_once():
    """Image i has one bright pixel, number i. Only it moves row i of the kernel, and
    small steps move the entry of its label by 0.9 rate / batch each time it is seen."""
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
        seen = moved / (0.9 * rate / batch)
        np.testing.assert_allclose(seen, np.rint(seen), atol=0.01)
        counts = np.rint(seen).astype(int)
        assert set(counts[:500]) == {0, 1}
        assert counts[:500].sum() == 15 * batch  # the incomplete last batch is left out
        assert not counts[500:].any()  # nor are other splits ever seen
        left_out.append(set(np.flatnonzero(counts[:500] == 0)))
    assert left_out[0] != left_out[1]  # shuffled anew


@pytest.mark.parametrize(
    ("options", "power"), [({}, 0), ({"l1_where": "all"}, 1), ({"split": True}, 2)]
)
def test_the_means_over_an_epoch(options, power):
    """At rate 0 the objectives' means are those of the untouched parameters."""
    random = noise(60, train=40, validation=10)
    trainer = made(Small(), plain_sgd(0.0), random, conv_l2=0.5, **options)
    *_, last = trainer.epoch(1)
    layers = trainer.params["params"]
    magnitudes = {name: np.abs(layer["kernel"]) for name, layer in layers.items()}
    penalty = 0.5 * (magnitudes["Conv_0"] ** 2).sum()
    assert penalty > 0.1
    expected = trainer.evaluate()["train"].cross_entropy + penalty
    assert last.objectives[0] == pytest.approx(expected, rel=1e-5)
    complexity = magnitudes["Dense_0"].sum() + magnitudes["Dense_1"].sum()
    if power:
        complexity += (magnitudes["Conv_0"] ** power).sum()
    assert last.objectives[1] == pytest.approx(complexity, rel=1e-5)
    assert last.weights == [1.0, 0.0]
    assert (last.epoch, last.step, last.steps) == (1, 5, 5)


def test_a_batch_larger_than_the_training_set():
    random = noise(60, train=40, validation=10)
    made(Linear(), plain_sgd(0.1), random, 40)
    with pytest.raises(ConfigError, match=r"--batch-size is 41, but there are 40 tr"):
        made(Linear(), plain_sgd(0.1), random, 41)


# Chunks, seeds


def whole(network) -> Trainer:
    """All there is: the default optimizer, pruning, and what else is random."""
    options = {"standardize": True, "augment": True} if network is Normalised else {}
    config = resolve(Config(epochs=2, learning_rate=0.01), "mnist")
    random = noise(240, train=200, validation=20)
    return made(network(), compose(config, 25), random, conv_l2=1e-4, **options)


def train_in_chunks(trainer: Trainer, lengths: list[int]):
    """Two epochs in chunks of these lengths; all that comes out, and their ends."""
    ends = []
    for epoch in (1, 2):
        chunks = iter([*lengths, 0])
        trainer._chunk = next(chunks)
        for progress in trainer.epoch(epoch):
            trainer._chunk = next(chunks)
            ends.append(progress.step)
    return bits((trainer.carry, progress.objectives, progress.weights)), ends


@pytest.fixture(scope="module", params=[Small, Normalised])
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


def test_chunks_grow_until_they_take_a_second(monkeypatch):
    random = noise(240, train=200, validation=20)
    trainer = made(Linear(), plain_sgd(0.0), random, 1)
    # 1, 4, 16, 64, the rest: a large network's first steps must not take minutes
    assert [p.step for p in trainer.epoch(1)] == [1, 5, 21, 85, 200]
    monkeypatch.setattr(train, "CHUNK_SECONDS", 0)
    list(trainer.epoch(2))
    assert [p.step for p in trainer.epoch(3)] == [*range(1, 201)]


def test_the_same_seed_gives_the_same_bits(trainer_and_result):
    network, _, _, expected = trainer_and_result
    assert train_in_chunks(whole(network), [25])[0] == expected


def test_another_seed_gives_other_parameters():
    random = noise(60, train=40, validation=10)
    first, other = (
        kernel(made(Linear(random=True), plain_sgd(0.1), random, seed=seed))
        for seed in (3, 4)
    )
    assert (first != other).all()


def test_the_seed_shuffles_the_images_too():
    """From the same (zero) parameters, seeds differ by the order of the images."""
    random = noise(60, train=40, validation=10)
    results = []
    for seed in (0, 1):
        trainer = made(Linear(), plain_sgd(0.1), random, seed=seed)
        assert not kernel(trainer).any()
        list(trainer.epoch(1))
        results.append(kernel(trainer))
    assert (results[0] != results[1]).any()


# Evaluation


@pytest.mark.parametrize("sizes", [(16, 7, 1), (21, 8, 14), (9, 6, 15)])
def test_evaluation_counts_each_example_once(sizes, monkeypatch):
    """Batches of 7: splits below, at, above and between multiples of it."""
    monkeypatch.setattr(steps, "EVALUATION_BATCH", 7)
    training, validation, _ = sizes
    made_up = noise(sum(sizes) + 5, training, validation, unused=5)
    trainer = made(Linear(), plain_sgd(0.05), made_up)
    list(trainer.epoch(1))
    for name, scores in trainer.evaluate().items():
        expected = scores_by_numpy(trainer.params, made_up, getattr(made_up, name))
        assert scores == pytest.approx(expected, rel=1e-5), name


def test_evaluation_of_real_sizes(monkeypatch):
    digits = data.load("digits", train_size=600)
    trainer = made(Linear(), plain_sgd(0.05), digits, 32)
    list(trainer.epoch(1))
    scores = trainer.evaluate()
    for name, split in scores.items():
        expected = scores_by_numpy(trainer.params, digits, getattr(digits, name))
        assert split == pytest.approx(expected, rel=1e-5), name
    assert min(score.accuracy for score in scores.values()) > 0.3  # it learns
    monkeypatch.setattr(train, "TRAIN_EVALUATION", 10)  # the first so many
    expected = scores_by_numpy(trainer.params, digits, range(10))
    assert trainer.evaluate()["train"] == pytest.approx(expected, rel=1e-5)


# Losses that are not finite


def test_a_diverging_loss_names_its_first_step():
    random = noise(60, train=40, validation=10)
    trainer = made(Linear(), plain_sgd(1e38), random)
    message = r"not finite in epoch 3, step 2 of 5\. Lower --learning-rate"
    with pytest.raises(NonFiniteError, match=message):
        list(trainer.epoch(3))


def test_the_step_named_does_not_depend_on_the_chunks():
    random = noise(60, train=40, validation=10)
    random.images[38, 0, 0] = 255  # the one whose loss is NaN, early in epoch 1
    messages = []
    for chunk in (1, 2, 5):
        trainer = made(Linear(poisoned=True), plain_sgd(0.1), random)
        trainer._chunk, done = chunk, 0
        with pytest.raises(NonFiniteError, match=r"epoch 1, step \d of 5") as error:
            for progress in trainer.epoch(1):
                trainer._chunk, done = chunk, progress.step
        messages.append(str(error.value))
        if chunk == 1:
            assert f"step {done + 1} of 5" in messages[0]
            assert done < 3  # others follow, which are not finite, either
    assert len(set(messages)) == 1


# The device


def test_nothing_is_compiled_inside_the_epochs(caplog):
    """The whole trainer is three programs, made with it; after the first epoch (whose
    `jnp.zeros` are small programs of their own) nothing is compiled at all. (Lowering
    is logged as "Compiling"; compilation itself goes on in other threads.)"""

    def compiled():
        return [r for r in caplog.messages if r.startswith("Compiling ")]

    with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
        trainer = whole(Small)
        list(trainer.epoch(1))
        trainer.evaluate()
        names = compiled()
        assert sum("jit(steps)" in name for name in names) == 1
        assert sum("jit(evaluate)" in name for name in names) == 1
        caplog.clear()
        for epoch in (2, 3):
            trainer._chunk = epoch  # other lengths than before
            list(trainer.epoch(epoch))
            trainer.evaluate()
        assert compiled() == []


def test_images_stay_bytes_and_the_state_is_donated():
    random = noise(60, train=40, validation=10)
    trainer = made(Linear(), plain_sgd(0.1), random)
    images, _ = trainer._arrays
    assert (images.dtype, images.shape) == (np.uint8, (60, 28, 28, 1))
    before = trainer.params["params"]["Dense_0"]["kernel"]
    list(trainer.epoch(1))
    assert before.is_deleted()
