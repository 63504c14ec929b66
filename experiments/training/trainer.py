"""Trainer: K networks as one program, epoch by epoch, over data on the device."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import bopt
from experiments.config.options import Config
from experiments.data import Dataset
from experiments.devices import (
    data_devices,
    fetched,
    gathered,
    make_mesh,
    over_networks,
    sharding,
    split_batch,
)
from experiments.errors import Interrupted
from experiments.runs.records import SPLITS, Scores
from experiments.training.images import example, moments, scaled
from experiments.training.step import (
    Carry,
    make_evaluate,
    make_init,
    make_objectives,
    make_penalties,
    make_steps,
    steps_per_epoch,
)

TRAIN_EVALUATION = 10_000  # maximum number of images of the train metrics
CHUNK_SECONDS = 1.0  # between two looks at signals, finiteness and the clock

Weights = tuple[float, ...]


class Progress(NamedTuple):
    """State of an epoch after a chunk of steps.

    Attributes:
      epoch: number of the epoch, from 1.
      step: number of steps done in it.
      steps: number of steps per epoch.
      seconds: duration of the chunk.
      objectives: per network, the means over the epoch's steps.
      weights: per network, likewise; with groups of layers, group -> means.
      stationarity: per network, of the mean gradients over these steps, see `bopt`.
      bad_steps: per network, its first step with non-finite objectives, or -1.
    """

    epoch: int
    step: int
    steps: int
    seconds: float
    objectives: list[list[float]]
    weights: list[Any]
    stationarity: list[float]
    bad_steps: list[int]


class Trainer:
    """Train K >= 1 networks on two objectives as one program.

    The networks differ in their random seeds and, optionally, in fixed weights of the
    objectives. Arrays have a leading axis over networks. One program for the steps and
    one for evaluation are compiled at construction; `start` begins again with other
    networks.

    Args:
      model: a Flax Linen module from images (B, H, W, C), or text (B, T), and `train`
        to logits, or `networks.Network`. It may have batch statistics and dropout.
      make_optimizer: weights of a network, (2,) and traced, or None, to an optimizer
        that takes a jacobian of two objectives.
      dataset: the examples; they stay on the device as they are, images as uint8.
      config: resolved options. An incomplete last batch of an epoch is left out.
      seeds: random seed per network.
      weights: fixed weights of the objectives per network; None if the optimizer
        chooses them.
      complexity: a function of the parameters, objective 1 instead of the options'.
      check: called again and again while the programs compile; may raise
        `experiments.errors.Interrupted`.

    Attributes:
      carry: everything that changes during training, see `experiments.training.step`.
      capacity: number of networks that the program trains, the number of `seeds`
        rounded up to a multiple of the device mesh's rows.
      penalties: the penalty in objective 0 and objective 1, of the parameters.
      memory: bytes that training needs on each device, as XLA plans them, or None.
    """

    def __init__(
        self,
        model: Any,
        make_optimizer: Callable[[Any], optax.GradientTransformationExtraArgs],
        dataset: Dataset,
        config: Config,
        seeds: Sequence[int],
        weights: Sequence[Weights] | None = None,
        check: Callable[[], None] = lambda: None,
        complexity: Callable[[Any], Any] | None = None,
    ):
        batch_size = config.optimizer.batch_size
        self.steps_per_epoch = steps_per_epoch(dataset, batch_size)
        self._dataset = dataset
        batch_devices = data_devices(config.devices.devices, batch_size)
        self._mesh = mesh = make_mesh(len(seeds), batch_devices)
        self.devices, rows = mesh.size, mesh.size // batch_devices
        self.capacity = -(-len(seeds) // rows) * rows
        start = time.perf_counter()
        self._arrays = self._put((dataset.images, dataset.labels), split=False)
        scale = scaled
        if config.data.standardize:
            train = slice(dataset.train.start, dataset.train.stop)
            mean, deviation = moments(dataset.images[train])
            scale = functools.partial(scaled, mean=mean, deviation=deviation)
        self.penalties = make_penalties(config.objectives, complexity)
        objectives = make_objectives(model, *self.penalties)
        image = example(dataset.images)
        split = split_batch(mesh)

        def init(seed, weights):
            key = jax.random.key(seed)
            optimizer = make_optimizer(weights)
            return make_init(model, optimizer, image, config.pruning)(key)

        def steps(carry, order, weights, *args):
            run = make_steps(
                objectives,
                make_optimizer(weights),
                scale,
                split,
                batch_size=batch_size,
                augment=config.data.augment,
            )
            return run(carry, order, *args)

        evaluate = make_evaluate(model, scale, split, batch_devices)
        init, steps, evaluate = (
            over_networks(function, mapped, mesh)
            for function, mapped in ((init, 2), (steps, 3), (evaluate, 2))
        )
        self._choose(seeds, weights)
        where = sharding(mesh, split=True)
        carry = jax.eval_shape(init, self._seeds, self._weights)
        carry = jax.tree.map(lambda leaf: leaf.update(sharding=where), carry)
        shapes, order = (carry.params, carry.model_state), self._orders(1)
        steps = jax.jit(steps, donate_argnums=0, out_shardings=where)
        evaluate = jax.jit(evaluate, out_shardings=where)
        init = jax.jit(init, out_shardings=where)
        programs = [
            (init, (self._seeds, self._weights)),
            (steps, (carry, order, self._weights, *self._arrays, 1, 0, 0)),
            (evaluate, (*shapes, *self._arrays, 0, 0)),
        ]
        self._init, self._steps, self._evaluate = _compiled(programs, check)
        self.carry: Carry = self._init(self._seeds, self._weights)
        self.seconds_compile = time.perf_counter() - start
        plan = self._steps.memory_analysis()
        self.memory = plan and plan.argument_size_in_bytes + plan.temp_size_in_bytes
        self._chunk = 1  # grows until a chunk takes CHUNK_SECONDS

    def start(
        self, seeds: Sequence[int], weights: Sequence[Weights] | None = None
    ) -> None:
        """Begin again with other networks, at most `capacity`; nothing is compiled."""
        self._choose(seeds, weights)
        self.carry = self._init(self._seeds, self._weights)

    def load(self, variables: Sequence[Any]) -> None:
        """Replace parameters and batch statistics, one tree per network.

        A pruned kernel's zeros are masked; the optimizer's state stays new.
        """
        tree = jax.tree.map(lambda *rows: np.stack(rows), *self._padded(variables))
        params = {"params": tree.pop("params")}

        def is_masked(node):
            return isinstance(node, optax.MaskedNode)

        def is_pruning(node):
            return isinstance(node, bopt.PruneState)

        def kept(mask, leaf):
            return mask if is_masked(mask) else leaf != 0

        def masked(node):
            if not is_pruning(node):
                return node
            mask = jax.tree.map(kept, node.mask, params, is_leaf=is_masked)
            return node._replace(mask=self._put(mask))

        opt_state = jax.tree.map(masked, self.carry.opt_state, is_leaf=is_pruning)
        self.carry = self.carry._replace(
            params=self._put(params), model_state=self._put(tree), opt_state=opt_state
        )

    @property
    def state(self) -> Carry:
        """The carry on the host, of the networks alone: without rows that pad it.

        It therefore does not depend on the number of devices.
        """
        return jax.tree.map(lambda leaf: leaf[: self._number], fetched(self.carry))

    @state.setter
    def state(self, state: Carry) -> None:
        columns = jax.tree.map(lambda leaf: np.stack(self._padded([*leaf])), state)
        self.carry = self._put(columns)

    @property
    def variables(self) -> Any:
        """Parameters and batch statistics, with the axis over networks."""
        return {**self.carry.params, **self.carry.model_state}

    def epoch(self, number: int, done: int = 0) -> Iterator[Progress]:
        """Train for one epoch, chunk by chunk; the chunking does not change the result.

        Args:
          number: number of the epoch, from 1; it decides the order of the images.
          done: number of its steps that `carry` has behind it.
        """
        order = self._orders(number)
        while done < self.steps_per_epoch:
            end = min(done + self._chunk, self.steps_per_epoch)
            start = time.perf_counter()
            self.carry = carry = self._steps(
                self.carry, order, self._weights, *self._arrays, number, done, end
            )
            bad_steps = fetched(carry.bad_step).tolist()  # waits for the device
            seconds = time.perf_counter() - start
            speed = (end - done) / max(seconds, 1e-9)
            chunk = int(np.clip(speed * CHUNK_SECONDS, 1, 4 * self._chunk))
            self._chunk = gathered(chunk)[0]  # the same in all processes
            done = end
            sums = fetched((carry.objectives, carry.weights))
            means = jax.tree.map(lambda total, n=end: total / n, sums)
            rows = [
                jax.tree.map(lambda mean, i=i: mean[i].tolist(), means)
                for i in range(self._number)
            ]
            objectives, weights = zip(*rows, strict=True)
            yield Progress(
                number,
                done,
                self.steps_per_epoch,
                seconds,
                list(objectives),
                list(weights),
                fetched(carry.stationarity).tolist()[: self._number],
                bad_steps[: self._number],
            )

    def evaluate(self, splits: Sequence[str] = SPLITS) -> list[dict[str, Scores]]:
        """Return per network split -> `Scores`; NaN where a network has diverged."""
        carry, scores = self.carry, {}
        for name in splits:
            split = getattr(self._dataset, name)
            if name == "train":
                split = split[:TRAIN_EVALUATION]
            values = self._evaluate(
                carry.params, carry.model_state, *self._arrays, split.start, split.stop
            )
            values = np.asarray(fetched(values))
            lost = np.isnan(values).any(-1, keepdims=True)  # argmax of NaN is a class
            scores[name] = np.where(lost, np.nan, values).tolist()
        return [
            {name: Scores(*rows[network]) for name, rows in scores.items()}
            for network in range(self._number)
        ]

    def networks(self) -> list[Any]:
        """Return each network's variables, on the host."""
        variables = fetched(self.variables)
        return [
            jax.tree.map(lambda leaf, i=i: leaf[i], variables)
            for i in range(self._number)
        ]

    def _choose(self, seeds: Sequence[int], weights: Sequence[Weights] | None) -> None:
        self._number, self._host_seeds = len(seeds), self._padded(seeds)
        self._seeds = self._put(np.asarray(self._host_seeds, np.uint32))
        self._weights = None
        if weights is not None:
            rows = np.asarray(self._padded(weights), np.float32)
            self._weights = self._put(rows)

    def _padded(self, rows: Sequence[Any]) -> list[Any]:
        """Repeat the last row up to the capacity."""
        assert 1 <= len(rows) <= self.capacity, f"{len(rows)} of {self.capacity}"
        return [*rows, *[rows[-1]] * (self.capacity - len(rows))]

    def _orders(self, epoch: int) -> jax.Array:
        """Return each network's order of the images, the same on every platform."""
        train = np.asarray(self._dataset.train, np.int32)
        orders = {
            seed: np.random.default_rng((seed, epoch)).permutation(train)
            for seed in self._host_seeds
        }
        return self._put(np.stack([orders[seed] for seed in self._host_seeds]))

    def _put(self, arrays: Any, split: bool = True) -> Any:
        return jax.device_put(arrays, sharding(self._mesh, split))


def _compiled(
    programs: Sequence[tuple[Any, tuple]], check: Callable[[], None]
) -> list[jax.stages.Compiled]:
    """Compile programs for their arguments in threads, while this one checks.

    XLA compiles on several cores at once, and cannot be stopped.
    """
    pool, done = ThreadPoolExecutor(), []
    try:
        for program, args in programs:
            done.append(pool.submit(program.lower(*args).compile))
            check()
        while wait(done, timeout=0.1).not_done:
            check()
    except Interrupted as interrupt:
        interrupt.compiling = True
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return [own.result() for own in done]
