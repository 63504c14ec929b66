"""Small networks and data for the tests of the trainer and of whole runs."""

import math

import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import bopt
from experiments.config import Config, updated
from experiments.data import Dataset
from experiments.training.images import PADDING
from experiments.training.trainer import Trainer


class Linear(nn.Module):
    """One dense layer, initialized to zero or at random.

    If poisoned, an image whose first pixel is 255 gives NaN, and so do all later steps.
    """

    random: bool = False
    poisoned: bool = False

    @nn.compact
    def __call__(self, images, train=False):
        x = images.reshape(len(images), -1)
        inits = nn.initializers
        init = inits.lecun_normal() if self.random else inits.zeros
        logits = nn.Dense(10, kernel_init=init)(x)
        if self.poisoned:
            logits *= jnp.where(x[:, :1] == 1, jnp.nan, 1)  # its gradient is NaN, too
        return logits


def waves(key, shape, dtype=jnp.float32):
    """Return entries that look random; random numbers take seconds to compile."""
    del key
    numbers = 1 + jnp.arange(math.prod(shape), dtype=dtype).reshape(shape)
    return jnp.sin(numbers * 12.9898) * math.sqrt(3 / math.prod(shape[:-1]))


class Small(nn.Module):
    """A convolution and two dense layers: all kinds of LeNet-5, quickly compiled.

    Its initial parameters do not depend on the seed.
    """

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.relu(nn.Conv(2, (4, 4), strides=(4, 4), kernel_init=waves)(images))
        x = nn.relu(nn.Dense(8, kernel_init=waves)(x.reshape(len(x), -1)))
        return nn.Dense(10, kernel_init=waves)(x)


class Normalised(nn.Module):
    """A convolution, batch statistics, dropout, a dense layer: all kinds of VGG.

    Its initial parameters do not depend on the seed.
    """

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.relu(nn.Conv(4, (4, 4), strides=(4, 4), kernel_init=waves)(images))
        x = nn.BatchNorm(not train, momentum=0.99, epsilon=1e-3)(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(10, kernel_init=waves)(x.reshape(len(x), -1))


class Recorder(nn.Module):
    """A dense layer that keeps the images of its last training step, and a dropout mask
    of 64 entries."""

    batch_size: int

    @nn.compact
    def __call__(self, images, train=False):
        shape = (self.batch_size, *images.shape[1:])
        seen = self.variable("seen", "images", jnp.zeros, shape)
        mask = self.variable("seen", "mask", jnp.zeros, (64,))
        if train:
            seen.value = images
            mask.value = nn.Dropout(0.5, deterministic=False)(jnp.ones(64))
        return Linear()(images)


def dataset(images, labels, train: int, validation: int, unused: int = 0) -> Dataset:
    """Split images: first training, then unused ones, validation and test."""
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
    """Make random images with random labels."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (number, 28, 28, 1))  # never 255
    return dataset(images, generator.integers(0, 10, number), train, validation, unused)


def plain_sgd(learning_rate: float) -> optax.GradientTransformation:
    """Return gradient descent on objective 0 alone."""
    return optax.chain(bopt.smgd(bopt.fixed([1.0, 0.0])), optax.sgd(learning_rate))


def made(
    model, optimizer, dataset: Dataset, batch_size=8, seeds=None, **options
) -> Trainer:
    """Return a trainer of one network, or of one per seed.

    There is no penalty unless the options ask for one.
    """
    options = {"conv_l2": 0.0, "l1_at_zero": 0.0, "batch_size": batch_size, **options}
    config = updated(Config(), **options)
    return Trainer(
        model, lambda _: optimizer, dataset, config, seeds or [config.run.seed]
    )


def scores_by_numpy(network, made_up: Dataset, split: range, mean=0.0, deviation=255.0):
    """Return accuracy and cross entropy of `Linear` with these variables."""
    layer = network["params"]["Dense_0"]
    x = made_up.images[list(split)].reshape(len(split), -1).astype(np.float64)
    x = (x - mean) / deviation
    logits = x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"])
    labels = made_up.labels[list(split)]
    log_sum = np.log(np.exp(logits).sum(1))
    losses = log_sum - logits[np.arange(len(split)), labels]
    return (logits.argmax(1) == labels).mean(), losses.mean()


def changed(images: np.ndarray) -> np.ndarray:
    """Return all augmentations of each image, (flips, shifts down, shifts right,
    *images.shape)."""
    around, shifts = (PADDING, PADDING), range(2 * PADDING + 1)
    padded = np.pad(images, ((0, 0), around, around, (0, 0)))
    height, width = images.shape[1:3]
    crops = [[padded[:, y : y + height, x : x + width] for x in shifts] for y in shifts]
    return np.stack([crops, np.flip(crops, axis=-2)])
