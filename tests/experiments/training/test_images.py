"""Stored images to a network's input: moments, scaling, random crops and flips."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import changed

from experiments.training.images import PADDING, augmented, moments, scaled


def pixels(number, shape=(6, 5, 3), seed=0, low=0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(low, 256, (number, *shape), np.uint8)


# Mean and deviation


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shape", [(1, 1, 1), (28, 28, 1), (32, 32, 3), (3, 7, 2)])
def test_moments_are_those_of_numpy(shape, seed):
    images = pixels(20, shape, seed)
    expected = np.mean(images, dtype=np.float64), np.std(images, dtype=np.float64)
    assert moments(images) == pytest.approx(expected, rel=1e-13)
    part = images[5:12]
    expected = np.mean(part, dtype=np.float64), np.std(part, dtype=np.float64)
    assert moments(part) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("value", [0, 1, 255])
def test_moments_do_not_overflow(value):
    """The largest sum of squares here needs 35 bits."""
    images = np.full((400, 32, 32, 1), value, np.uint8)
    assert moments(images) == (value, 0)


def test_scaled():
    images = pixels(4)
    found = scaled(jnp.asarray(images), 120.5, 60.25)
    assert found.dtype == jnp.float32
    expected = (images.astype(np.float64) - 120.5) / 60.25
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_scaled_by_their_moments_images_have_mean_0_and_deviation_1():
    images = pixels(50)
    found = np.asarray(scaled(jnp.asarray(images), *moments(images)))
    assert (found.mean(), found.std()) == pytest.approx((0, 1), abs=1e-5)


# Crops and flips

MANY = pixels(4_000, low=1)  # padding is 0, which no pixel is
SHIFTS = 2 * PADDING + 1


compiled = jax.jit(augmented)


@functools.cache
def augmented_by(seed: int) -> np.ndarray:
    return np.asarray(compiled(MANY, jax.random.key(seed)))


@functools.cache
def chosen() -> np.ndarray:
    """Return (number, 3): flip, shift down and shift right of each image."""
    same = (changed(MANY) == augmented_by(0)).all((-3, -2, -1))
    assert (same.sum((0, 1, 2)) == 1).all()  # each is exactly one of them
    return np.argwhere(np.moveaxis(same, -1, 0))[:, 1:]


@pytest.mark.slow
def test_an_image_becomes_one_of_its_crops_or_their_mirror_images():
    assert PADDING == 4
    assert augmented_by(0).dtype == np.uint8
    assert chosen().shape == (len(MANY), 3)


def test_all_crops_and_mirror_images_occur_equally_often():
    numbers = np.zeros((2, SHIFTS, SHIFTS), int)
    np.add.at(numbers, tuple(chosen().T), 1)
    assert numbers.min() > 0  # 25 on average
    flips, down, right = numbers.sum((1, 2)), numbers.sum((0, 2)), numbers.sum((0, 1))
    np.testing.assert_allclose(flips, len(MANY) / 2, rtol=0.1)
    np.testing.assert_allclose(down, len(MANY) / SHIFTS, rtol=0.2)
    np.testing.assert_allclose(right, len(MANY) / SHIFTS, rtol=0.2)


def test_the_key_decides():
    again = compiled(MANY, jax.random.key(0))
    np.testing.assert_array_equal(again, augmented_by(0))
    changed = (augmented_by(1) != augmented_by(0)).any((1, 2, 3))
    assert changed.mean() > 0.98
