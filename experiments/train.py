"""The shared trainer: epochs as jitted loops over data that stay on the device."""

import functools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.config import Config, ConfigError
from experiments.data import Dataset
from experiments.images import moments, scaled
from experiments.steps import (
    Carry,
    chosen_weights,
    make_evaluate,
    make_objectives,
    make_penalties,
    make_steps,
)

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
      weights: likewise; with groups of layers, group -> means.
      seconds: what the chunk took.
    """

    epoch: int
    step: int
    steps: int
    objectives: list[float]
    weights: list[float] | dict[str, list[float]]
    seconds: float


class NonFiniteError(ArithmeticError):
    """A loss is NaN or infinite; the message names epoch and step."""

    def __init__(self, loss: str, epoch: int, step: int, steps: int):
        super().__init__(
            f"{loss} not finite in epoch {epoch}, step {step} of {steps}. Lower "
            "--learning-rate, or change --normalize or --optimizer."
        )


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
    """Trains a network on two objectives, see `experiments.steps.make_objectives`.

    Everything is compiled when the trainer is made: one program for the steps,
    however many, and one for evaluation.

    Args:
      model: a Flax Linen module from images (B, H, W, C) and `train` to logits. It may
        have batch statistics and dropout.
      optimizer: from a jacobian of two objectives to updates.
      dataset: the images; they are put on the device as they are (uint8).
      config: resolved options; the optimizer's are not looked at. An incomplete last
        batch of an epoch is left out.

    Attributes:
      params: the parameters as they are now.
      variables: the same with all else that the network needs, its batch statistics.
      steps_per_epoch: batches an epoch.
      seconds_compile: what initialisation and compilation took.

    Raises:
      ConfigError: a batch larger than the training set.

    Example:
      >>> import bopt, optax
      >>> from bopt.models import LeNet5
      >>> from experiments import data
      >>> from experiments.config import Config
      >>> from experiments.train import Trainer
      >>> digits = data.load("digits", train_size=64)
      >>> optimizer = optax.chain(bopt.madam(1e-3), bopt.prune())
      >>> trainer = Trainer(LeNet5(), optimizer, digits, Config(batch_size=32))
      >>> [progress.step for progress in trainer.epoch(1)][-1]
      2
    """

    def __init__(
        self,
        model: Any,
        optimizer: optax.GradientTransformationExtraArgs,
        dataset: Dataset,
        config: Config,
    ):
        self.steps_per_epoch = steps_per_epoch(dataset, config.batch_size)
        self._dataset, self._config = dataset, config
        start = time.perf_counter()
        self._arrays = jax.device_put((dataset.images, dataset.labels))
        scale = scaled
        if config.standardize:
            train = slice(dataset.train.start, dataset.train.stop)
            mean, deviation = moments(dataset.images[train])
            scale = functools.partial(scaled, mean=mean, deviation=deviation)
        objectives = make_objectives(model, config)
        steps = make_steps(objectives, optimizer, scale, config)
        evaluate = make_evaluate(model, scale)
        image = jnp.zeros((1, *dataset.images.shape[1:]))

        def init(key):
            model_state = model.init(key, image)
            params = {"params": model_state.pop("params")}
            opt_state = optimizer.init(params)
            sums = jax.tree.map(jnp.zeros_like, chosen_weights(opt_state))
            return Carry(
                params, model_state, opt_state, jnp.zeros(2), sums, jnp.array(-1)
            )

        self._key, order = jax.random.key(config.seed), jnp.asarray(self._order(1))
        carry = jax.eval_shape(init, self._key)
        lowered = [
            jax.jit(init).lower(self._key),
            jax.jit(steps, donate_argnums=0).lower(
                carry, *self._arrays, order, self._key, 1, 0, 0
            ),
            jax.jit(evaluate).lower(
                carry.params, carry.model_state, *self._arrays, 0, 0
            ),
        ]
        with ThreadPoolExecutor() as pool:  # XLA compiles on several cores at once
            compiled = list(pool.map(lambda program: program.compile(), lowered))
        init, self._steps, self._evaluate = compiled
        self._carry = init(self._key)
        self.seconds_compile = time.perf_counter() - start
        self._chunk = 1  # grows until a chunk takes CHUNK_SECONDS

    @property
    def params(self) -> Any:
        return self._carry.params

    @property
    def variables(self) -> Any:
        return {**self._carry.params, **self._carry.model_state}

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
        carry = carry._replace(
            objectives=jnp.zeros(2),
            weights=jax.tree.map(jnp.zeros_like, carry.weights),
        )
        done = 0
        while done < self.steps_per_epoch:
            end = min(done + self._chunk, self.steps_per_epoch)
            start = time.perf_counter()
            carry = self._steps(
                carry, *self._arrays, order, self._key, number, done, end
            )
            bad_step = int(carry.bad_step)  # waits for the device
            seconds = time.perf_counter() - start
            self._carry = carry
            if bad_step >= 0:
                raise NonFiniteError(
                    "The objectives are", number, bad_step + 1, self.steps_per_epoch
                )
            speed = (end - done) / max(seconds, 1e-9)
            self._chunk = int(np.clip(speed * CHUNK_SECONDS, 1, 4 * self._chunk))
            done = end
            yield Progress(
                number,
                done,
                self.steps_per_epoch,
                _means(carry.objectives, done),
                _means(carry.weights, done),
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
        carry = self._carry
        return {
            name: Scores(
                *np.asarray(
                    self._evaluate(
                        carry.params,
                        carry.model_state,
                        *self._arrays,
                        split.start,
                        split.stop,
                    )
                ).tolist()
            )
            for name, split in splits.items()
        }

    def penalties(self) -> list[float]:
        """What the parameters add to the cross entropy in objective 0; objective 1."""
        return [float(penalty(self.params)) for penalty in make_penalties(self._config)]

    def _order(self, epoch: int) -> np.ndarray:
        """The epoch's images, shuffled; the same on every platform."""
        generator = np.random.default_rng((self._config.seed, epoch))
        return generator.permutation(np.asarray(self._dataset.train, np.int32))


def _means(sums: Any, number: int) -> Any:
    return jax.tree.map(lambda array: (np.asarray(array) / number).tolist(), sums)
