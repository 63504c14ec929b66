"""Small networks and data for the tests of the trainer and of whole runs."""

import math

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from experiments.data import Dataset


class Linear(nn.Module):
    """One dense layer that starts at zero, or at random. Poisoned, an image whose first
    pixel is 255 gives NaN, and so do all steps after it."""

    random: bool = False
    poisoned: bool = False

    @nn.compact
    def __call__(self, images):
        x = images.reshape(len(images), -1)
        inits = nn.initializers
        init = inits.lecun_normal() if self.random else inits.zeros
        logits = nn.Dense(10, kernel_init=init)(x)
        if self.poisoned:
            logits *= jnp.where(x[:, :1] == 1, jnp.nan, 1)  # its gradient is NaN, too
        return logits


def waves(key, shape, dtype=jnp.float32):
    """Initial entries that look random; random numbers take seconds to compile."""
    del key
    numbers = jnp.arange(math.prod(shape), dtype=dtype).reshape(shape)
    return jnp.sin(numbers * 12.9898) * math.sqrt(3 / math.prod(shape[:-1]))


class Small(nn.Module):
    """A convolution and two dense layers: all kinds of LeNet-5, compiled in no time.

    It starts from the same parameters whatever the seed.
    """

    @nn.compact
    def __call__(self, images):
        x = nn.relu(nn.Conv(2, (4, 4), strides=(4, 4), kernel_init=waves)(images))
        x = nn.relu(nn.Dense(8, kernel_init=waves)(x.reshape(len(x), -1)))
        return nn.Dense(10, kernel_init=waves)(x)


def dataset(images, labels, train: int, validation: int, unused: int = 0) -> Dataset:
    """The first images to train on, some unused, some for validation, the rest test."""
    start = train + unused
    return Dataset(
        name="made",
        title="made up",
        source="a test",
        images=np.asarray(images, np.uint8),
        labels=np.asarray(labels, np.uint8),
        train=range(train),
        validation=range(start, start + validation),
        test=range(start + validation, len(images)),
    )


def noise(number: int, train: int, validation: int, unused: int = 0) -> Dataset:
    """Random images with random labels."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (number, 28, 28, 1))  # never 255
    return dataset(images, generator.integers(0, 10, number), train, validation, unused)
