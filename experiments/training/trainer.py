"""The shared trainer: epochs as jitted loops over data that stay on the device."""

import functools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import bopt
from experiments.config import Config
from experiments.data import Dataset
from experiments.devices import (
    Network,
    data_devices,
    divided,
    fetched,
    gathered,
    make_mesh,
    over_networks,
    sharding,
)
from experiments.training.images import moments, scaled
from experiments.training.progress import Progress, Scores, not_finite
from experiments.training.step import (
    Carry,
    make_evaluate,
    make_init,
    make_objectives,
    make_steps,
    steps_per_epoch,
)

SPLITS = ("train", "validation", "test")
TRAIN_EVALUATION = 10_000  # train metrics are taken on at most so many images
CHUNK_SECONDS = 1.0  # between two looks at signals, finiteness and the clock


class Trainer:
    """Trains a network on two objectives, see `step.make_objectives`; or, as one
    program, several networks that differ in seed and weights of the objectives.

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
      carry: all that changes as it trains, and so decides how it goes on.
      params: the parameters as they are now.
      variables: the same with all else that the network needs, its batch statistics.
      steps_per_epoch: batches an epoch.
      seconds_compile: what initialisation and compilation took.
      many: whether it was made with `parallel`.
      parallel: how many networks it trains at once, divided among so many `devices`.
      memory: bytes that training needs on each device, as XLA plans them, or None.

    Raises:
      ConfigError: a batch larger than the training set, or one that the devices of
        `config` do not divide.

    Example:
      >>> import bopt, optax
      >>> from bopt.models import LeNet5
      >>> from experiments import data
      >>> from experiments.config import Config
      >>> from experiments.training.trainer import Trainer
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
        batch_devices = data_devices(config.devices, config.batch_size)
        mesh = make_mesh(parallel or 1, batch_devices)
        if parallel is not None or batch_devices > 1:
            self._mesh, self.devices = mesh, mesh.size
        if parallel is not None:
            rows = self.devices // batch_devices
            self.parallel = -(-parallel // rows) * rows
            self._networks = [Network(config.seed, (1.0, 0.0))] * self.parallel
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

        def init(seed, weights):
            key = jax.random.key(seed)
            return make_init(model, optimizer_of(weights), image)(key)

        split = divided(self._mesh, many=parallel is not None)

        def steps(carry, network, *args):
            order, *weights = network
            run = make_steps(objectives, optimizer_of(weights), scale, config, split)
            return run(carry, order, *args)

        evaluate = make_evaluate(model, scale, split, batch_devices)
        if self._networks is not None:
            init = over_networks(init, 2, mesh)
            steps = over_networks(steps, 2, mesh)
            evaluate = over_networks(evaluate, 2, mesh)
        where = self._mesh and sharding(self._mesh, split=self._networks is not None)
        begin = self._seeds_and_weights()
        carry = jax.eval_shape(init, *begin)  # which does not say where it will be
        carry = jax.tree.map(lambda leaf: leaf.update(sharding=where), carry)
        shapes = carry.params, carry.model_state
        steps = jax.jit(steps, donate_argnums=0, out_shardings=where)
        lowered = [
            jax.jit(init, out_shardings=where).lower(*begin),
            steps.lower(carry, self._network(1), *self._arrays, 1, 0, 0),
            jax.jit(evaluate, out_shardings=where).lower(*shapes, *self._arrays, 0, 0),
        ]
        with ThreadPoolExecutor() as pool:  # XLA compiles on several cores at once
            compiled = list(pool.map(lambda program: program.compile(), lowered))
        self._init, self._steps, self._evaluate = compiled
        self.carry: Carry = self._init(*begin)
        self.seconds_compile = time.perf_counter() - start
        plan = self._steps.memory_analysis()
        self.memory = plan and plan.argument_size_in_bytes + plan.temp_size_in_bytes
        self._chunk = 1  # grows until a chunk takes CHUNK_SECONDS

    def start(self, networks: Sequence[Network]) -> None:
        """Begins anew with other networks, 1 to `parallel`; the program stays the same,
        and trains the last several times if they are fewer."""
        assert self._networks is not None, "start is for a trainer with `parallel`"
        self._networks = self._padded(networks)
        self.carry = self._init(*self._seeds_and_weights())

    def load(self, variables: Sequence[Any]) -> None:
        """Gives the networks that were started last these parameters and statistics,
        one tree like a network's `variables` for each. What is 0 in a kernel that is
        pruned is masked; else the optimizer stays new."""
        rows = self._padded(variables)
        many = self._networks is not None
        tree = jax.tree.map(lambda *r: np.stack(r), *rows) if many else dict(rows[0])
        params = {"params": tree.pop("params")}

        def masked(node):
            if not isinstance(node, bopt.PruneState):
                return node
            mask = jax.tree.map(
                lambda kept, leaf: kept if _is_masked(kept) else leaf != 0,
                node.mask,
                params,
                is_leaf=_is_masked,
            )
            return node._replace(mask=self._put(mask, many))

        self.carry = self.carry._replace(
            params=self._put(params, many),
            model_state=self._put(tree, many),
            opt_state=jax.tree.map(
                masked,
                self.carry.opt_state,
                is_leaf=lambda node: isinstance(node, bopt.PruneState),
            ),
        )

    def _padded(self, rows: Sequence[Any]) -> list[Any]:
        """As many as the program takes, the last repeated."""
        assert 1 <= len(rows) <= self.parallel, (
            f"{len(rows)} networks for {self.parallel}"
        )
        return [*rows, *[rows[-1]] * (self.parallel - len(rows))]

    @property
    def many(self) -> bool:
        return self._networks is not None

    @property
    def params(self) -> Any:
        return self.carry.params

    @property
    def variables(self) -> Any:
        return {**self.carry.params, **self.carry.model_state}

    def epoch(self, number: int, done: int = 0) -> Iterator[Progress]:
        """Trains for one epoch, chunk by chunk; the chunks do not change the result.

        Args:
          number: which epoch, from 1; it decides the order of the images.
          done: so many of its steps `carry` has behind it.

        Yields:
          A `Progress` after each chunk, the last with all steps done.

        Raises:
          NonFiniteError: an objective is NaN or infinite; not with `parallel`, where
            the other networks go on, and such a network's scores are NaN.
        """
        network = self._network(number)
        while done < self.steps_per_epoch:
            end = min(done + self._chunk, self.steps_per_epoch)
            start = time.perf_counter()
            carry = self._steps(self.carry, network, *self._arrays, number, done, end)
            self.carry = carry
            bad_step = fetched(carry.bad_step).tolist()  # waits for the device
            seconds = time.perf_counter() - start
            if self._networks is None and bad_step >= 0:
                raise not_finite(
                    "The objectives are", number, bad_step + 1, self.steps_per_epoch
                )
            speed = (end - done) / max(seconds, 1e-9)
            chunk = int(np.clip(speed * CHUNK_SECONDS, 1, 4 * self._chunk))
            self._chunk = gathered(chunk)[0]  # the same in all processes
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
        carry, scores = self.carry, {}
        for name in splits:
            split = getattr(self._dataset, name)
            if name == "train":
                split = split[:TRAIN_EVALUATION]
            values = self._evaluate(
                carry.params, carry.model_state, *self._arrays, split.start, split.stop
            )
            values = np.asarray(fetched(values))
            lost = np.isnan(values).any(-1, keepdims=True)  # NaN is the best of classes
            rows = np.where(lost, np.nan, values).tolist()
            many = self._networks is not None
            scores[name] = [Scores(*row) for row in rows] if many else Scores(*rows)
        return scores

    def networks(self) -> list[Any]:
        """Each network's `variables`, on the host."""
        variables = fetched(self.variables)
        if self._networks is None:
            return [variables]
        rows = range(self.parallel)
        return [jax.tree.map(lambda leaf, i=i: leaf[i], variables) for i in rows]

    def _seeds_and_weights(self) -> tuple[jax.Array, list[jax.Array]]:
        """What networks begin with: their seeds, and with `parallel` their weights."""
        if self._networks is None:
            return self._put(np.uint32(self._config.seed), split=False), []
        seeds = np.asarray([own.seed for own in self._networks], np.uint32)
        return self._put(seeds), self._weights()

    def _network(self, epoch: int) -> tuple[jax.Array, ...]:
        """What is a network's own in an epoch: its order of the images, and with
        `parallel` its weights."""
        if self._networks is None:
            order = self._order(self._config.seed, epoch)
            return (self._put(order, split=False),)
        orders = {own.seed: self._order(own.seed, epoch) for own in self._networks}
        order = np.stack([orders[seed] for seed, _ in self._networks])
        return self._put(order), *self._weights()

    def _weights(self) -> list[jax.Array]:
        weights = [own.weights for own in self._networks or ()]
        return [self._put(np.asarray(weights, np.float32))]

    def _order(self, seed: int, epoch: int) -> np.ndarray:
        """The epoch's images, shuffled; the same on every platform."""
        generator = np.random.default_rng((seed, epoch))
        return generator.permutation(np.asarray(self._dataset.train, np.int32))

    def _put(self, arrays: Any, split: bool = True) -> Any:
        return jax.device_put(arrays, self._mesh and sharding(self._mesh, split))


def _means(sums: Any, number: int) -> Any:
    return jax.tree.map(lambda array: (array / number).tolist(), fetched(sums))


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)
