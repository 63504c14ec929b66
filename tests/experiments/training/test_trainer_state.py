"""Trainer of networks with batch statistics and dropout; standardized and augmented
images."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import (
    Linear,
    Normalised,
    Recorder,
    changed,
    dataset,
    made,
    noise,
    plain_sgd,
    scores_by_numpy,
)

from experiments.training.images import moments
from experiments.training.trainer import Trainer

BATCH = 8


def small_images(number: int, train: int, validation: int):
    """6x5 images with two channels, whose pixels are neither 0 nor 255."""
    generator = np.random.default_rng(3)
    images = generator.integers(1, 255, (number, 6, 5, 2))
    return dataset(images, generator.integers(0, 10, number), train, validation)


def bits(tree) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


# The images and the dropout mask of a training step


def recorder(**options) -> Trainer:
    images = small_images(60, train=40, validation=10)
    return made(Recorder(BATCH), plain_sgd(0.05), images, BATCH, **options)


def recorded(trainer: Trainer, epochs=(1, 2)) -> list[dict[str, np.ndarray]]:
    """Return the images and the mask of each step."""
    result = []
    for epoch in epochs:
        trainer._chunk = 1
        for _ in trainer.epoch(epoch):
            trainer._chunk = 1
            result.append(trainer.networks()[0]["seen"])
    assert len(result) == 5 * len(epochs)
    return result


@pytest.fixture(scope="module")
def plain():
    trainer = recorder()
    return trainer, recorded(trainer)


@pytest.fixture(scope="module")
def augmenting():
    trainer = recorder(augment=True)
    return trainer, recorded(trainer)


@pytest.mark.slow
def test_each_step_has_a_dropout_mask_of_its_own(plain):
    masks = np.stack([seen["mask"] for seen in plain[1]])
    assert set(masks.flat) == {0, 2}  # what is kept is scaled up
    assert masks.mean() == pytest.approx(1, abs=0.2)
    assert len(np.unique(masks, axis=0)) == len(masks)  # over steps and epochs


@pytest.mark.slow
def test_the_mask_depends_on_seed_epoch_and_step_alone(plain):
    """It does not depend on earlier steps, chunks or other options."""
    masks = np.stack([seen["mask"] for seen in plain[1]])
    other = recorder(l1_at_zero=1.0, standardize=True)
    list(other.epoch(2))  # in one chunk, without epoch 1
    np.testing.assert_array_equal(other.networks()[0]["seen"]["mask"], masks[-1])
    other.start([1])
    reseeded = recorded(other)
    assert all((seen["mask"] != masks).any(1).all() for seen in reseeded)


def found(steps, changes: np.ndarray) -> np.ndarray:
    """(steps, batch, 4): flip, shift down, shift right and number of each image."""
    result = []
    for seen in steps:
        pixels = np.rint(seen["images"] * 255)
        matches = [(changes == image).all((-3, -2, -1)) for image in pixels]
        assert [match.sum() for match in matches] == [1] * BATCH
        result.append([np.argwhere(match)[0] for match in matches])
    return np.array(result)


def test_training_images_are_taken_as_they_are_by_default(plain):
    trainer, steps = plain
    seen = found(steps, trainer._dataset.images[None, None, None, :40])
    assert seen.shape == (10, BATCH, 4)


@pytest.mark.slow
def test_augmentation_crops_and_flips_the_training_images(augmenting):
    trainer, steps = augmenting
    seen = found(steps, changed(trainer._dataset.images[:40]))
    *changes, numbers = np.moveaxis(seen.reshape(2, 40, 4), 2, 0)
    assert (np.sort(numbers) == np.arange(40)).all()  # each image once an epoch
    order = np.argsort(numbers)
    first, second = np.take_along_axis(np.stack(changes), order[None], 2).swapaxes(0, 1)
    # Each epoch changes them anew; few of the 162 possible changes are repeated.
    assert (first != second).any(0).mean() > 0.9
    assert len(np.unique(np.concatenate([first, second], 1), axis=1).T) > 40


@pytest.mark.slow
def test_evaluation_does_not_augment(augmenting):
    trainer, _ = augmenting
    made_up = trainer._dataset
    network = {"params": trainer.networks()[0]["params"]["Linear_0"]}
    assert np.abs(network["params"]["Dense_0"]["kernel"]).max() > 0
    for name, scores in trainer.evaluate()[0].items():
        expected = scores_by_numpy(network, made_up, getattr(made_up, name))
        assert scores == pytest.approx(expected, rel=1e-5), name


# Batch statistics


def convolved(params, images) -> np.ndarray:
    """Return the input of the batch normalization of `Normalised`, in float64."""
    number, height, width, channels = images.shape
    blocks = (images / 255).reshape(number, height // 4, 4, width // 4, 4, channels)
    kernel, bias = params["Conv_0"]["kernel"], params["Conv_0"]["bias"]
    return np.maximum(np.einsum("nyaxbc,abcf->nyxf", blocks, kernel) + bias, 0)


@pytest.fixture(scope="module")
def normalised():
    """A trainer after two steps, and the variables before and after each.

    The only batch is the whole training set; validation and test are other images.
    """
    trainer = made(Normalised(), plain_sgd(0.1), noise(40, 16, validation=12), 16)
    states = trainer.networks()
    for epoch in (1, 2):
        list(trainer.epoch(epoch))
        states += trainer.networks()
    return trainer, states


def test_a_step_moves_the_batch_statistics_by_a_hundredth(normalised):
    trainer, states = normalised
    mean, var = np.zeros(4), np.ones(4)
    for before, after in itertools.pairwise(states):
        x = convolved(before["params"], trainer._dataset.images[:16])
        mean = 0.99 * mean + 0.01 * x.mean((0, 1, 2))
        var = 0.99 * var + 0.01 * x.var((0, 1, 2))
        found = after["batch_stats"]["BatchNorm_0"]
        assert np.abs(found["mean"]).min() > 1e-4
        np.testing.assert_allclose(found["mean"], mean, rtol=1e-4)
        np.testing.assert_allclose(found["var"], var, rtol=1e-5)


def test_evaluation_uses_the_stored_statistics_and_drops_nothing(normalised):
    trainer, states = normalised
    (scores,) = trainer.evaluate()
    assert trainer.evaluate() == [scores]
    assert bits(trainer.networks()) == bits(states[-1])  # it does not move them
    made_up, params = trainer._dataset, states[-1]["params"]
    stored, learned = states[-1]["batch_stats"]["BatchNorm_0"], params["BatchNorm_0"]
    for name in ("train", "validation", "test"):
        split = getattr(made_up, name)
        images, labels = made_up.images[list(split)], made_up.labels[list(split)]
        x = convolved(params, images) - stored["mean"]
        x = x / np.sqrt(stored["var"] + 1e-3) * learned["scale"] + learned["bias"]
        layer = params["Dense_0"]
        logits = x.reshape(len(x), -1) @ layer["kernel"] + layer["bias"]
        losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(x)), labels]
        expected = (logits.argmax(1) == labels).mean(), losses.mean()
        assert scores[name] == pytest.approx(expected, rel=1e-5), name


def test_the_variables_are_those_of_the_network(normalised):
    trainer, _ = normalised
    image = jnp.zeros((1, 28, 28, 1))
    initial = jax.eval_shape(Normalised().init, jax.random.key(0), image)
    assert set(trainer.variables) == {"params", "batch_stats"}
    found, expected = (
        jax.tree.map(jnp.shape, tree) for tree in (trainer.networks()[0], initial)
    )
    assert found == expected


# Standardized images


@pytest.mark.slow
def test_standardized_by_the_training_images_alone():
    """Validation, test and unused images do not enter mean and deviation."""
    random = noise(60, train=24, validation=10, unused=6)
    results = []
    for others in (random.images[24:], np.full((36, 28, 28, 1), 200)):
        images = np.concatenate([random.images[:24], others])
        labels = random.labels
        made_up = dataset(images, labels, train=24, validation=10, unused=6)
        trainer = made(Linear(), plain_sgd(0.01), made_up, standardize=True)
        list(trainer.epoch(1))
        results.append(bits(trainer.variables))
        mean, deviation = moments(images[:24])
        assert deviation > 50
        (network,) = trainer.networks()
        for name, scores in trainer.evaluate()[0].items():
            split = getattr(made_up, name)
            expected = scores_by_numpy(network, made_up, split, mean, deviation)
            assert scores == pytest.approx(expected, rel=1e-5), name
    assert results[0] == results[1]
