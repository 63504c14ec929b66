"""Trainings of several networks as one program, and of each alone.

Run as a program, it compares both on the devices that it finds.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from networks import Linear, Normalised, Small, noise
from programs import SmallConfig

from experiments.config import resolve, updated
from experiments.training.optimizers import compose
from experiments.training.trainer import Trainer

MODELS = {
    "linear": (Linear(random=True), {"conv_l2": 0.0}),
    "small": (Small(), {"conv_l2": 1e-4}),
    "normalised": (Normalised(), {"augment": True, "standardize": True}),
}


class Network(NamedTuple):
    """Options that differ between the networks of one program."""

    seed: int
    weights: tuple[float, float]


NETWORKS = [
    Network(seed, (1 - w1, w1))
    for seed, w1 in enumerate((0.01, 0.1, 0.4, 0.01, 0.03, 0.5))
]
A, B, C, *_ = NETWORKS
DATA = noise(120, train=80, validation=20)
STEPS = 10


class Result(NamedTuple):
    """Everything that the training of one network results in."""

    variables: Any
    objectives: Any
    weights: Any
    scores: dict[str, Any]


def fresh(name: str, number: int, **options) -> Trainer:
    """Compile a trainer of a number of networks."""
    model, own = MODELS[name]
    options = {"learning_rate": 0.01, **own, **options}
    config = updated(SmallConfig(), epochs=2, batch_size=8, **options)
    config = resolve(config, "mnist")
    optimizer = functools.partial(compose, config, STEPS)
    return Trainer(model, optimizer, DATA, config, *split(NETWORKS[:number]))


many = functools.cache(fresh)  # compiled once; each test starts it anew


def split(networks) -> tuple[list[int], list[tuple[float, float]]]:
    """Return the seeds and the weights, as a trainer takes them."""
    return [one.seed for one in networks], [one.weights for one in networks]


def train(trainer: Trainer, epochs=(1, 2)) -> list[Result]:
    """Train the networks that were started."""
    for epoch in epochs:
        *_, last = trainer.epoch(epoch)
    columns = (trainer.networks(), last.objectives, last.weights, trainer.evaluate())
    return [Result(*row) for row in zip(*columns, strict=True)]


def trained(trainer: Trainer, networks) -> list[Result]:
    """Start and train networks."""
    trainer.start(*split(networks))
    return train(trainer)


@functools.cache
def alone(name: str, network: Network) -> Result:
    """Train a network by itself."""
    (result,) = trained(many(name, 1), [network])
    return result


def rows(trainer: Trainer) -> list[list[bytes]]:
    """Return the bits of the variables in each row, those beyond the networks too."""
    variables = jax.device_get(trainer.variables)
    return [bits(row_of(variables, row)) for row in range(trainer.capacity)]


def bits(tree) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def assert_close(result: Result, expected: Result) -> None:
    """Compare up to the rounding of float32: two programs add in different orders."""
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
    """Compare 4 and 6 networks."""
    assert jax.device_count() == 4
    for number, capacity in ((4, 4), (6, 8)):
        trainer = fresh("linear", number)
        assert (trainer.capacity, trainer.devices) == (capacity, 4)
        check_spread(trainer, capacity // 4)
        together = train(trainer)
        check_spread(trainer, capacity // 4)
        for network, result in zip(NETWORKS, together, strict=False):
            assert_close(result, alone("linear", network))
        own = rows(trainer)
        assert own[number:] == [own[number - 1]] * (capacity - number)
        trainer.load([one.variables for one in together])
        check_spread(trainer, capacity // 4)
        train(trainer, (3,))
        print(number, "networks,", capacity, "rows,", trainer.devices, "devices")
    assert (fresh("linear", 2).capacity, fresh("linear", 2).devices) == (2, 2)


def check_spread(trainer: Trainer, number: int) -> None:
    """Check that each device has this number of rows of the whole carry."""
    for leaf in jax.tree.leaves(trainer.carry):
        shards = leaf.addressable_shards
        assert len({shard.device for shard in shards}) == len(shards) == 4
        assert {shard.data.shape for shard in shards} == {(number, *leaf.shape[1:])}


if __name__ == "__main__":
    on_four_devices()
