"""The shared trainer: epochs as jitted loops over data that stay on the device."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.config import ConfigError
from experiments.data import Dataset
from experiments.steps import Carry, make_evaluate, make_objectives, make_steps

TRAIN_EVALUATION = 10_000  # train metrics are taken on at most so many images
CHUNK_SECONDS = 1.0  # between two looks at signals, finiteness and the clock


class Scores(NamedTuple):
    """Accuracy (0 to 1) and mean cross entropy (nats) over a split."""

    accuracy: float
    cross_entropy: float


class Progress(NamedTuple):
    """Where an epoch stands after a chunk of steps.

    Attributes:
      epoch: its number, from 1.
      step: steps done in it.
      steps: steps it has.
      objectives: means over its steps so far.
      weights: likewise.
      seconds: what the chunk took.
    """

    epoch: int
    step: int
    steps: int
    objectives: list[float]
    weights: list[float]
    seconds: float


class NonFiniteError(ArithmeticError):
    """The loss is NaN or infinite; the message names epoch and step."""


def steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """Batches an epoch; an incomplete last one is left out.

    Args:
      dataset: the images.
      batch_size: images a step.

    Returns:
      At least 1.

    Raises:
      ConfigError: a batch larger than the training set.

    Example:
      >>> from experiments import data
      >>> from experiments.train import steps_per_epoch
      >>> steps_per_epoch(data.load("digits"), 32)
      40
    """
    if batch_size > len(dataset.train):
        raise ConfigError(
            f"--batch-size is {batch_size}, but there are {len(dataset.train)} "
            "training images; expected at most as many."
        )
    return len(dataset.train) // batch_size


class Trainer:
    """Trains a network on two objectives: data loss and l1 of its dense kernels.

    Objective 0 is the mean cross entropy of the batch plus `conv_l2` times the squared
    l2 norm of the convolution kernels, objective 1 the l1 norm of the dense kernels.
    Everything is compiled when the trainer is made: one program for the steps,
    however many, and one for evaluation.

    Args:
      model: a Flax Linen module from images (B, H, W, C) in [0, 1] to logits.
      optimizer: from a jacobian of two objectives to updates.
      dataset: the images; they are put on the device as they are (uint8).
      batch_size: images a step; an incomplete last batch of an epoch is left out.
      conv_l2: coefficient of the convolutions' penalty.
      l1_at_zero: the derivative of the l1 norm at 0, see `bopt.l1`.
      seed: of the initial parameters and the order of the images.

    Attributes:
      params: the parameters as they are now.
      steps_per_epoch: batches an epoch.
      seconds_compile: what initialisation and compilation took.

    Raises:
      ConfigError: a batch larger than the training set.

    Example:
      >>> import bopt, optax
      >>> from bopt.models import LeNet5
      >>> from experiments import data
      >>> from experiments.train import Trainer
      >>> digits = data.load("digits", train_size=64)
      >>> optimizer = optax.chain(bopt.madam(1e-3), bopt.prune())
      >>> trainer = Trainer(LeNet5(), optimizer, digits, 32,
      ...                   conv_l2=0.0, l1_at_zero=0.0, seed=0)
      >>> [progress.step for progress in trainer.epoch(1)][-1]
      2
    """

    def __init__(
        self,
        model: Any,
        optimizer: optax.GradientTransformationExtraArgs,
        dataset: Dataset,
        batch_size: int,
        *,
        conv_l2: float,
        l1_at_zero: float,
        seed: int,
    ):
        self.steps_per_epoch = steps_per_epoch(dataset, batch_size)
        self._dataset, self._batch_size, self._seed = dataset, batch_size, seed
        start = time.perf_counter()
        self._arrays = jax.device_put((dataset.images, dataset.labels))
        objectives = make_objectives(model, conv_l2, l1_at_zero)
        steps = make_steps(objectives, optimizer, batch_size)
        evaluate = make_evaluate(model)
        image = jnp.zeros((1, *dataset.images.shape[1:]))

        def init(key):
            params = model.init(key, image)
            sums = jnp.zeros(2), jnp.zeros(2)
            return Carry(params, optimizer.init(params), *sums, jnp.array(-1))

        key, order = jax.random.key(seed), jnp.asarray(self._order(1))
        carry = jax.eval_shape(init, key)
        lowered = [
            jax.jit(init).lower(key),
            jax.jit(steps, donate_argnums=0).lower(carry, *self._arrays, order, 0, 0),
            jax.jit(evaluate).lower(carry.params, *self._arrays, 0, 0),
        ]
        with ThreadPoolExecutor() as pool:  # XLA compiles on several cores at once
            compiled = list(pool.map(lambda program: program.compile(), lowered))
        init, self._steps, self._evaluate = compiled
        self._carry = init(key)
        self.seconds_compile = time.perf_counter() - start
        self._chunk = 16  # grows until a chunk takes CHUNK_SECONDS

    @property
    def params(self) -> Any:
        return self._carry.params

    def epoch(self, number: int) -> Iterator[Progress]:
        """Trains for one epoch, chunk by chunk; the chunks do not change the result.

        Args:
          number: which epoch, from 1; it decides the order of the images.

        Yields:
          A `Progress` after each chunk, the last with all steps done.

        Raises:
          NonFiniteError: an objective is NaN or infinite.
        """
        order = jnp.asarray(self._order(number))
        carry = self._carry
        carry = carry._replace(objectives=jnp.zeros(2), weights=jnp.zeros(2))
        done = 0
        while done < self.steps_per_epoch:
            end = min(done + self._chunk, self.steps_per_epoch)
            start = time.perf_counter()
            carry = self._steps(carry, *self._arrays, order, done, end)
            bad_step = int(carry.bad_step)  # waits for the device
            seconds = time.perf_counter() - start
            self._carry = carry
            if bad_step >= 0:
                raise NonFiniteError(
                    f"The objectives are not finite in epoch {number}, step "
                    f"{bad_step + 1} of {self.steps_per_epoch}. Lower --learning-rate, "
                    "or change --normalize or --optimizer."
                )
            speed = (end - done) / max(seconds, 1e-9)
            self._chunk = int(np.clip(speed * CHUNK_SECONDS, 1, 4 * self._chunk))
            done = end
            yield Progress(
                number,
                done,
                self.steps_per_epoch,
                (np.asarray(carry.objectives) / done).tolist(),
                (np.asarray(carry.weights) / done).tolist(),
                seconds,
            )

    def evaluate(self) -> dict[str, Scores]:
        """Scores of the parameters on train (its first 10,000), validation and test."""
        dataset = self._dataset
        splits = {
            "train": dataset.train[:TRAIN_EVALUATION],
            "validation": dataset.validation,
            "test": dataset.test,
        }
        return {
            name: Scores(
                *np.asarray(
                    self._evaluate(self.params, *self._arrays, split.start, split.stop)
                ).tolist()
            )
            for name, split in splits.items()
        }

    def _order(self, epoch: int) -> np.ndarray:
        """The epoch's images, shuffled; the same on every platform."""
        generator = np.random.default_rng((self._seed, epoch))
        return generator.permutation(np.asarray(self._dataset.train, np.int32))
