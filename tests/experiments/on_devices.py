"""Trainings whose batches are split across devices, and the same on one device.

Run as a program, it calls one of its functions; the words are its name and arguments.
"""

import functools
import os
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from many_networks import NETWORKS, alone, assert_close, bits, fresh, rows, trained
from networks import Normalised, Small, noise
from programs import SmallConfig, finish, start

from bopt.models import VGG, LeNet5
from experiments.config import resolve, updated
from experiments.data import Dataset
from experiments.devices import make_mesh, over_networks, sharding, split_batch
from experiments.training.optimizers import compose
from experiments.training.trainer import Trainer

PROGRAM = ("-W", "error", __file__)
BATCH = 32


class Case(NamedTuple):
    """A training, and the largest difference allowed in parameters, batch statistics
    and moments."""

    model: Any
    data: Dataset
    epochs: int
    allowed: float
    options: dict[str, Any]


STEPS = noise(940, train=25 * BATCH, validation=100)  # 25 an epoch
FEW = noise(164, train=4 * BATCH, validation=20)
VGG_LIKE = {"augment": True, "standardize": True}
# Largest differences measured on 2, 4 and 8 devices: 8e-8 after 100 steps of Small and
# of Normalised; 1e-5 after 25 of LeNet-5 (2e-3 after 100: 4 of 58,920 weights at the
# threshold are pruned in one program only); 5e-7 after 4 of VGG.
CASES = {
    "small": Case(Small(), STEPS, 4, 1e-6, {}),
    "normalised": Case(Normalised(), STEPS, 4, 1e-6, VGG_LIKE),
    "lenet": Case(LeNet5(method="patches"), STEPS, 1, 1e-4, {}),
    "vgg": Case(VGG(method="patches"), FEW, 1, 1e-5, VGG_LIKE),
}


def run(words: str, devices: int = 8, flags: str = "", **env: str) -> tuple[str, str]:
    """Run this program on CPU devices; return its stdout and stderr."""
    own = os.environ.get("XLA_FLAGS", "")  # by conftest
    flags = f"{own} --xla_force_host_platform_device_count={devices} {flags}"
    told = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"} | env
    code, out, err = finish(start(PROGRAM, words, env=told))
    assert code == 0, f"{out}\n{err}"
    return out, err


def trainer_of(name: str, devices: Any) -> Trainer:
    model, data, epochs, _, options = CASES[name]
    options = {"batch_size": BATCH, "devices": devices, "epochs": epochs, **options}
    config = resolve(updated(SmallConfig(), **options), "mnist")
    optimizer = functools.partial(compose, config, len(data.train) // BATCH)
    return Trainer(model, optimizer, data, config, [config.run.seed])


def go(trainer: Trainer, epochs: int) -> dict[str, Any]:
    """Train, and return everything that results."""
    for epoch in range(1, epochs + 1):
        *_, last = trainer.epoch(epoch)
    steps = trainer.steps_per_epoch
    found = jax.device_get(trainer.carry)
    return {
        "tensors": (found.params, found.model_state),
        "moments": without_masks(found.opt_state),
        "masks": jax.tree.leaves(optax.tree.get(found.opt_state, "PruneState").mask),
        "objectives": np.array(last.objectives) * steps,
        "weights": np.array(last.weights) * steps,
        "scores": [list(own.values()) for own in trainer.evaluate()],
    }


def without_masks(opt_state: Any) -> list[Any]:
    leaves = jax.tree.leaves(opt_state)
    return [leaf for leaf in leaves if leaf.dtype == np.float32]


def compare(name: str, *numbers: str) -> None:
    """Compare with one device; repeat the last training to compare its bits."""
    case, found = CASES[name], {}
    one = go(trainer_of(name, 1), case.epochs)
    assert not all(mask.all() for mask in one["masks"]), "nothing was pruned"
    for number in numbers:
        trainer = trainer_of(name, int(number))
        assert trainer.devices == int(number)
        replicated(trainer, int(number))
        found = go(trainer, case.epochs)
        replicated(trainer, int(number))
        for key in ("tensors", "moments"):
            check_close(found[key], one[key], case.allowed)
        flips = sum(map(np.sum, map(np.not_equal, found["masks"], one["masks"])))
        assert flips <= few(sum(mask.size for mask in one["masks"]))
        print(f"{name}: {number} devices")
        for key in ("objectives", "weights"):
            np.testing.assert_allclose(found[key], one[key], rtol=1e-3)
        # A few images at the boundary of two classes.
        np.testing.assert_allclose(found["scores"], one["scores"], rtol=1e-3, atol=0.03)
    again = go(trainer_of(name, int(numbers[-1])), case.epochs)
    assert bits(again) == bits(found), "the same seed gave other bits"


def check_close(tree: Any, other: Any, allowed: float) -> None:
    """Compare arrays, except for a few entries that are pruned in one of them only."""
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True)
    found = np.concatenate([np.abs(a.astype(float) - b).ravel() for a, b in pairs])
    assert np.sum(found > allowed) <= few(found.size), found.max()
    assert found.max() <= 10 * 1e-3  # of the threshold


def few(entries: int) -> int:
    """Return the number of entries that may be pruned in one program only."""
    return max(3, entries // 5_000)


def replicated(trainer: Trainer, devices: int) -> None:
    """Check that the whole carry is on every device."""
    for leaf in jax.tree.leaves(trainer.carry):
        assert leaf.is_fully_replicated
        assert len(leaf.sharding.device_set) == devices


def compiled(name: str, devices: str) -> None:
    """Compile, for tests that read the files that XLA dumps."""
    trainer_of(name, int(devices))


def both_axes(name: str, networks: str, devices: str, capacity: str, size: str) -> None:
    """Compare networks whose batches are split with each alone on one device."""
    number = int(networks)
    trainer = fresh(name, number, devices=int(devices))
    assert (trainer.capacity, trainer.devices) == (int(capacity), int(size))
    together = trained(trainer, NETWORKS[:number])
    for network, result in zip(NETWORKS[:number], together, strict=False):
        assert_close(result, alone(name, network))
    own = rows(trainer)
    assert own[number:] == [own[number - 1]] * (trainer.capacity - number)
    again = trained(trainer, NETWORKS[:number])
    assert bits(again) == bits(together), "the same seeds gave other bits"
    for leaf in jax.tree.leaves(trainer.carry):
        where = {shard.device: shard.index[0] for shard in leaf.addressable_shards}
        assert len(where) == trainer.devices
        assert len({(place.start, place.stop) for place in where.values()}) == (
            trainer.devices // int(devices)
        )
    print(f"{name}: {networks} networks on {capacity} rows, {size} devices")


def at_once() -> None:
    """Compare gradient descents of 3 networks, vectorized and one after another."""
    images = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    starts = np.random.default_rng(1).normal(size=(4, 5, 4)).astype(np.float32)

    def descent(split):
        def of_one(params, images):
            def step(number, params):
                batch = images[split((number + jnp.arange(16)) % 20)]
                noisy = jax.random.normal(jax.random.key(number), (16, 4))

                def loss(params):
                    return (jnp.tanh(batch @ params + noisy) ** 2).mean()

                return params - 0.1 * jax.grad(loss)(params)

            return jax.lax.fori_loop(0, 5, step, params)

        return of_one

    expected = [jax.jit(descent(lambda rows: rows))(own, images) for own in starts]
    mesh = make_mesh(3, 4)
    assert dict(mesh.shape) == {"networks": 2, "batch": 4}
    where = sharding(mesh, split=True)
    arguments = (
        jax.device_put(starts, where),
        jax.device_put(images, sharding(mesh, split=False)),
    )
    for mode in (False, True):
        function = over_networks(descent(split_batch(mesh)), 1, mesh, mode)
        program = jax.jit(function, out_shardings=where).lower(*arguments).compile()
        found = program(*arguments)
        np.testing.assert_allclose(found, np.stack(expected), rtol=1e-5, atol=1e-6)
        text = program.as_text() or ""
        assert "all-reduce" in text
        assert ("f32[2,4,5]" if mode else "f32[4,5]") in text  # 4 rows of each batch
        assert "16,5]" not in text
        print("at once" if mode else "one after another")


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    globals()[name](*words)
