"""Networks that train as one program, and alone, for the tests of both.

Run as a program, this compares them on the devices that there are.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from networks import Linear, Normalised, Small, noise

from experiments.config import Config, resolve
from experiments.devices import Network
from experiments.training.optimizers import compose
from experiments.training.trainer import Trainer

MODELS = {
    "linear": (Linear(random=True), {"conv_l2": 0.0}),
    "small": (Small(), {"conv_l2": 1e-4}),
    "normalised": (Normalised(), {"augment": True, "standardize": True}),
}
NETWORKS = [
    Network(seed, (1 - w1, w1))
    for seed, w1 in enumerate((0.01, 0.1, 0.4, 0.01, 0.03, 0.5))
]
A, B, C, *_ = NETWORKS
DATA = noise(120, train=80, validation=20)
STEPS = 10


class Result(NamedTuple):
    """What comes out of a network's training."""

    variables: Any
    objectives: Any
    weights: Any
    scores: dict[str, Any]


def config_of(name: str, **options) -> Config:
    options = {"learning_rate": 0.01, **MODELS[name][1], **options}
    return resolve(Config(epochs=2, batch_size=8, **options), "mnist")


def fresh(name: str, parallel: int, **options) -> Trainer:
    config = config_of(name, **options)
    optimizer = functools.partial(compose, config, STEPS)
    return Trainer(MODELS[name][0], optimizer, DATA, config, parallel)


many = functools.cache(fresh)  # compiled once; each test starts it anew


def single(name: str, network: Network) -> Trainer:
    config = dataclasses.replace(config_of(name), seed=network.seed)
    optimizer = compose(config, STEPS, jnp.asarray(network.weights))
    return Trainer(MODELS[name][0], optimizer, DATA, config)


def go(trainer: Trainer, epochs=(1, 2)) -> tuple[Any, Any, Any]:
    """Variables, means over the last epoch, scores."""
    for epoch in epochs:
        *_, last = trainer.epoch(epoch)
    return jax.device_get(trainer.variables), last, trainer.evaluate()


@functools.cache
def alone(name: str, network: Network) -> Result:
    variables, last, scores = go(single(name, network))
    return Result(variables, last.objectives, last.weights, scores)


def results(trainer: Trainer) -> list[Result]:
    """Trains what was started; a result for each row."""
    variables, last, scores = go(trainer)
    return [
        Result(
            row_of(variables, row),
            last.objectives[row],
            last.weights[row],
            {split: rows[row] for split, rows in scores.items()},
        )
        for row in range(trainer.parallel)
    ]


def trained(trainer: Trainer, networks) -> list[Result]:
    trainer.start(networks)
    return results(trainer)


def bits(tree) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def assert_close(result: Result, expected: Result) -> None:
    """To the rounding of float32."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        result,
        expected,
    )


def stacked(trees) -> Any:
    return jax.tree.map(lambda *rows: np.stack(rows), *trees)


def row_of(tree, row: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[row], tree)


def on_four_devices() -> None:
    """4 and 6 networks."""
    assert jax.device_count() == 4
    for number, rows in ((4, 4), (6, 8)):
        trainer = fresh("linear", number)
        assert (trainer.parallel, trainer.devices) == (rows, 4)
        trainer.start(NETWORKS[:number])
        spread(trainer, rows // 4)
        together = results(trainer)
        spread(trainer, rows // 4)
        for network, result in zip(NETWORKS, together, strict=False):
            assert_close(result, alone("linear", network))
        for row in together[number:]:
            assert_close(row, together[number - 1])
        trainer.load([row.variables for row in together])
        spread(trainer, rows // 4)
        go(trainer, (3,))
        print(number, "networks,", rows, "rows,", trainer.devices, "devices")
    assert (fresh("linear", 2).parallel, fresh("linear", 2).devices) == (2, 2)


def spread(trainer: Trainer, rows: int) -> None:
    """Each device has so many rows of all that a training step changes."""
    for leaf in jax.tree.leaves(trainer.carry):
        shards = leaf.addressable_shards
        assert len({shard.device for shard in shards}) == len(shards) == 4
        assert {shard.data.shape for shard in shards} == {(rows, *leaf.shape[1:])}


if __name__ == "__main__":
    on_four_devices()
