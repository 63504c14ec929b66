"""The shared trainer: epochs as jitted loops over data that stay on the device."""

import functools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config import Config
from experiments.data import Dataset
from experiments.images import moments, scaled
from experiments.networks import Network, make_mesh, over_networks, sharding
from experiments.steps import (
    make_evaluate,
    make_init,
    make_objectives,
    make_penalties,
    make_steps,
    steps_per_epoch,
)

SPLITS = ("train", "validation", "test")
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


class Trainer:
    """Trains a network on two objectives, see `experiments.steps.make_objectives`; or,
    as one program, several networks that differ in seed and weights of the objectives.

    Everything is compiled when the trainer is made: one program for the steps, however
    many, and one for evaluation. With `parallel`, it serves all the networks that are
    to `start`; what the trainer holds and returns has a leading axis over them.

    Args:
      model: a Flax Linen module from images (B, H, W, C) and `train` to logits. It may
        have batch statistics and dropout.
      optimizer: from a jacobian of two objectives to updates; with `parallel`, a
        function from a network's weights, (2,) and traced, to that.
      dataset: the images; they are put on the device as they are (uint8).
      config: resolved options; the optimizer's are not looked at. An incomplete last
        batch of an epoch is left out.
      parallel: train so many networks at once, rounded up to a multiple of the
        devices, among which they are divided; None: one, of the seed in `config`.

    Attributes:
      params: the parameters as they are now.
      variables: the same with all else that the network needs, its batch statistics.
      steps_per_epoch: batches an epoch.
      seconds_compile: what initialisation and compilation took.
      parallel: how many networks it trains at once, divided among so many `devices`.
      memory: bytes that training needs on each device, as XLA plans them, or None.

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
        optimizer: Any,
        dataset: Dataset,
        config: Config,
        parallel: int | None = None,
    ):
        self.steps_per_epoch = steps_per_epoch(dataset, config.batch_size)
        self._dataset, self._config = dataset, config
        self._networks, self._mesh, self.parallel, self.devices = None, None, 1, 1
        if parallel is not None:
            self._mesh = make_mesh(parallel)
            rows = -(-parallel // self._mesh.size) * self._mesh.size
            self._networks = [Network(config.seed, (1.0, 0.0))] * rows
            self.parallel, self.devices = rows, self._mesh.size
        start = time.perf_counter()
        self._arrays = self._put((dataset.images, dataset.labels), split=False)
        scale = scaled
        if config.standardize:
            train = slice(dataset.train.start, dataset.train.stop)
            mean, deviation = moments(dataset.images[train])
            scale = functools.partial(scaled, mean=mean, deviation=deviation)
        objectives = make_objectives(model, config)
        image = jnp.zeros((1, *dataset.images.shape[1:]))

        def optimizer_of(weights):
            return optimizer(*weights) if weights else optimizer

        def init(network):
            _, key, *weights = network
            return make_init(model, optimizer_of(weights), image)(key)

        def steps(carry, network, *args):
            order, key, *weights = network
            run = make_steps(objectives, optimizer_of(weights), scale, config)
            return run(carry, order, key, *args)

        evaluate = make_evaluate(model, scale)
        if self._mesh is not None:
            init = over_networks(init, 1, self._mesh)
            steps = over_networks(steps, 2, self._mesh)
            evaluate = over_networks(evaluate, 2, self._mesh)
        network = self._network(1)
        where = self._mesh and sharding(self._mesh, split=True)
        carry = jax.eval_shape(init, network)  # which does not say where it will be
        carry = jax.tree.map(lambda leaf: leaf.update(sharding=where), carry)
        shapes = carry.params, carry.model_state
        steps = jax.jit(steps, donate_argnums=0)
        lowered = [
            jax.jit(init).lower(network),
            steps.lower(carry, network, *self._arrays, 1, 0, 0),
            jax.jit(evaluate).lower(*shapes, *self._arrays, 0, 0),
        ]
        with ThreadPoolExecutor() as pool:  # XLA compiles on several cores at once
            compiled = list(pool.map(lambda program: program.compile(), lowered))
        self._init, self._steps, self._evaluate = compiled
        self._carry = self._init(network)
        self.seconds_compile = time.perf_counter() - start
        plan = self._steps.memory_analysis()
        self.memory = plan and plan.argument_size_in_bytes + plan.temp_size_in_bytes
        self._chunk = 1  # grows until a chunk takes CHUNK_SECONDS

    def start(self, networks: Sequence[Network]) -> None:
        """Begins anew with other networks, 1 to `parallel`; the program stays the same,
        and trains the last several times if they are fewer."""
        assert self._networks is not None, "start is for a trainer with `parallel`"
        self._networks = self._padded(networks)
        self._carry = self._init(self._network(1))

    def load(self, variables: Sequence[Any]) -> None:
        """Gives the networks that were started last these parameters and statistics,
        one tree like a network's `variables` for each; the optimizer stays new."""
        rows = self._padded(variables)
        stacked = self._put(jax.tree.map(lambda *leaves: np.stack(leaves), *rows))
        params = {"params": stacked.pop("params")}
        self._carry = self._carry._replace(params=params, model_state=stacked)

    def _padded(self, rows: Sequence[Any]) -> list[Any]:
        """As many as the program takes, the last repeated."""
        assert 1 <= len(rows) <= self.parallel, (
            f"{len(rows)} networks for {self.parallel}"
        )
        return [*rows, *[rows[-1]] * (self.parallel - len(rows))]

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
          NonFiniteError: an objective is NaN or infinite; not with `parallel`, where
            the other networks go on, and such a network's scores are NaN.
        """
        network = self._network(number)
        sums = self._carry.objectives, self._carry.weights
        objectives, weights = jax.tree.map(jnp.zeros_like, sums)
        carry = self._carry._replace(objectives=objectives, weights=weights)
        done = 0
        while done < self.steps_per_epoch:
            end = min(done + self._chunk, self.steps_per_epoch)
            start = time.perf_counter()
            carry = self._steps(carry, network, *self._arrays, number, done, end)
            bad_step = np.asarray(carry.bad_step).tolist()  # waits for the device
            seconds = time.perf_counter() - start
            self._carry = carry
            if self._networks is None and bad_step >= 0:
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

    def evaluate(self, splits: Sequence[str] = SPLITS) -> dict[str, Any]:
        """Scores of the parameters.

        Args:
          splits: which of train (its first 10,000), validation and test.

        Returns:
          Split -> `Scores`; with `parallel`, split -> a list of them, one a network.
        """
        carry, scores = self._carry, {}
        for name in splits:
            split = getattr(self._dataset, name)
            if name == "train":
                split = split[:TRAIN_EVALUATION]
            values = self._evaluate(
                carry.params, carry.model_state, *self._arrays, split.start, split.stop
            )
            values = np.asarray(values)
            lost = np.isnan(values).any(-1, keepdims=True)  # NaN is the best of classes
            rows = np.where(lost, np.nan, values).tolist()
            many = self._networks is not None
            scores[name] = [Scores(*row) for row in rows] if many else Scores(*rows)
        return scores

    def penalties(self) -> list[float]:
        """What the parameters add to the cross entropy in objective 0; objective 1."""
        return [float(penalty(self.params)) for penalty in make_penalties(self._config)]

    def _network(self, epoch: int) -> tuple[jax.Array, ...]:
        """What is a network's own in an epoch: its order of the images, its key, and
        with `parallel` its weights."""
        if self._networks is None:
            seed = self._config.seed
            return self._put((self._order(seed, epoch), jax.random.key(seed)))
        orders = {own.seed: self._order(own.seed, epoch) for own in self._networks}
        return self._put(
            (
                np.stack([orders[seed] for seed, _ in self._networks]),
                jnp.stack([jax.random.key(seed) for seed, _ in self._networks]),
                np.asarray([weights for _, weights in self._networks], np.float32),
            )
        )

    def _order(self, seed: int, epoch: int) -> np.ndarray:
        """The epoch's images, shuffled; the same on every platform."""
        generator = np.random.default_rng((seed, epoch))
        return generator.permutation(np.asarray(self._dataset.train, np.int32))

    def _put(self, arrays: Any, split: bool = True) -> Any:
        return jax.device_put(arrays, self._mesh and sharding(self._mesh, split))


def _means(sums: Any, number: int) -> Any:
    return jax.tree.map(lambda array: (np.asarray(array) / number).tolist(), sums)
