"""The update rules of the released code of arXiv 2008.13590, in NumPy and float64.

    python tests/experiments/released_code.py

prints the largest deviation of `--published` from them, per optimizer and option. The
problem has a convolution and a dense layer of a few parameters, and a data loss that
changes with every step: log(sum(exp(A p))) with random A.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

import bopt
from experiments.config import Config, VggConfig, published, resolve, updated
from experiments.config.command_line import First
from experiments.training.optimizers import compose
from experiments.training.step import make_penalties

SHAPES = {
    "Conv_0": {"kernel": (1, 2, 1, 2), "bias": (2,)},
    "Dense_0": {"kernel": (3, 2), "bias": (2,)},
}
STEPS, PER_EPOCH, EPOCHS = 20, 4, 5
THRESHOLD = 0.05


class Case(NamedTuple):
    """A run of the released code: network, optimizer, further options."""

    name: str
    options: type[Config]
    optimizer: str
    more: dict[str, Any]


CASES = [
    Case("smgd", Config, "smgd", {}),
    Case("smgd, nesterov", Config, "smgd", {"nesterov": True}),
    Case("smgd, split", Config, "smgd", {"split": True}),
    Case("smgd, VGG", VggConfig, "smgd", {}),
    Case("madam", Config, "madam", {}),
    Case("madam, amsgrad", Config, "madam", {"amsgrad": True}),
    Case("madam, fixed weights", Config, "madam", {"weights": (0.9, 0.1)}),
    Case("madam, split", Config, "madam", {"split": True}),
    Case("mrmsprop, VGG", VggConfig, "mrmsprop", {}),
    Case("sgd", Config, "sgd", {}),
    Case("adam", Config, "adam", {}),
    Case("adam, amsgrad", Config, "adam", {"amsgrad": True}),
    Case("sgd, VGG", VggConfig, "sgd", {}),
    Case("rmsprop, VGG", VggConfig, "rmsprop", {}),
]


def problem() -> tuple[dict[str, Any], np.ndarray]:
    """Return initial parameters, with some below the threshold, and a matrix a step."""
    rng = np.random.default_rng(0)
    params = {
        layer: {name: rng.normal(0, 0.3, shape) for name, shape in leaves.items()}
        for layer, leaves in SHAPES.items()
    }
    params["Dense_0"]["kernel"][0] = (0.02, -0.01)  # pruned before training
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    return params, rng.normal(size=(STEPS, 7, size))


def options_of(case: Case) -> Config:
    """Return what --published and the case's options resolve to."""
    first = First(optimizer=case.optimizer, split=case.more.get("split", False))
    config = published(case.options(), first)
    more = {"optimizer": case.optimizer, "epochs": EPOCHS, "threshold": THRESHOLD}
    config = updated(config, **more, **case.more)
    return resolve(config, config.PREFERRED)


def ours(case: Case) -> np.ndarray:
    """Return the parameters after each step, (STEPS, size), by `--published`."""
    config = options_of(case)
    with jax.enable_x64(True):
        start, matrices = problem()
        params = jax.tree.map(jnp.asarray, {"params": start})
        penalty, complexity = make_penalties(config.objectives)

        def data_loss(params, matrix):
            flat_params = ravel_pytree(params)[0]
            return jax.nn.logsumexp(matrix @ flat_params) + penalty(params)

        once = bopt.prune(THRESHOLD, where="*Dense_*")
        zeros = optax.tree.zeros_like(params)
        updates, _ = once.update(zeros, once.init(params), params)
        params = optax.apply_updates(params, updates)
        optimizer = compose(config, PER_EPOCH)
        value_and_jac = bopt.value_and_jac([data_loss, complexity])

        @jax.jit
        def step(params, state, matrix):
            values, jac = value_and_jac(params, matrix)
            updates, state = optimizer.update(jac, state, params, values=values)
            return optax.apply_updates(params, updates), state

        state, found = optimizer.init(params), []
        for matrix in jnp.asarray(matrices):
            params, state = step(params, state, matrix)
            found.append(np.asarray(ravel_pytree(params)[0]))
    return np.stack(found)


def theirs(case: Case) -> np.ndarray:
    """Return the parameters after each step, (STEPS, size), by the released code."""
    start, matrices = problem()
    names = [
        f"{layer}/{name}" for layer in sorted(SHAPES) for name in sorted(SHAPES[layer])
    ]
    sizes = [leaf.size for leaf in jax.tree.leaves(start)]
    which = np.repeat(names, sizes)
    p = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(start)])
    dense = np.char.startswith(which, "Dense")
    dense_kernel, conv_kernel = which == "Dense_0/kernel", which == "Conv_0/kernel"
    vgg = case.options is VggConfig
    weight_decay, coefficient = (1e-6, 0.03) if vgg else (1e-4, 3e-4)
    momentum, split = 0.9, case.more.get("split", False)
    sgd_like = case.optimizer in ("smgd", "sgd")
    first_rate = 1e-2 if sgd_like or vgg else 1e-3
    names = "m", "m1", "m2", "v1", "v2", "h1", "h2", "a1", "a2"
    moments = {name: np.zeros_like(p) for name in names}
    p = prune(p, dense)
    found = []
    for iteration, matrix in enumerate(matrices):
        epoch = iteration // PER_EPOCH
        rate = first_rate
        if epoch > 0 and not (vgg and case.optimizer == "smgd"):
            middle = 0.75 * EPOCHS
            z = np.exp((epoch - middle) / (middle / 10))
            rate = -(first_rate - 0.1 * first_rate) * (z / (z + 1)) + first_rate
        if sgd_like:
            rate = rate / (1 + first_rate / EPOCHS * iteration)
        exponentials = np.exp(matrix @ p)
        g1 = matrix.T @ (exponentials / exponentials.sum())
        decay = 2 * weight_decay * np.where(conv_kernel, p, 0)
        g2 = np.where(dense_kernel, np.sign(p), 0)
        if case.optimizer in ("sgd", "adam", "rmsprop"):
            g1, g2, c1, c2 = g1 + decay + coefficient * g2, 0 * g2, 1.0, 0.0
        elif (
            split
        ):  # as meant: one pair of weights for each penalty, of whole gradients
            g6 = np.where(dense, 0, 2 * p)
            (c11, c21), (c12, c22) = weights(g1, g2), weights(g1, g6)
            c1, c2 = np.where(dense, c11, c12), np.where(dense, c21, c22)
            g2 = g2 + g6
        else:  # the regularizers of the layers are added to both losses
            g1, g2 = g1 + decay, g2 + decay
            c1, c2 = case.more.get("weights") or weights(g1, g2)
        if sgd_like:
            step = rate * (c1 * g1 + c2 * g2)
            velocity = momentum * moments["m"] - step
            moments["m"] = velocity
            nesterov = case.more.get("nesterov")
            p = p + momentum * velocity - step if nesterov else p + velocity
        elif case.optimizer in ("madam", "adam"):
            t = iteration + 1
            rate = rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            total = 0
            for key, g, c in (("1", g1, c1), ("2", g2, c2)):
                m = moments["m" + key] = 0.9 * moments["m" + key] + (1 - 0.9) * g
                v = moments["v" + key] = 0.999 * moments["v" + key] + (1 - 0.999) * g**2
                if case.more.get("amsgrad"):
                    v = moments["h" + key] = np.maximum(moments["h" + key], v)
                total = total + c * m / (np.sqrt(v) + 1e-7)
            p = p - rate * total
        else:
            total = 0
            for key, g, c in (("a1", g1, c1), ("a2", g2, c2)):
                a = moments[key] = 0.9 * moments[key] + (1 - 0.9) * g**2
                total = total + c * g / (np.sqrt(a) + 1e-7)
            p = p - rate * total
        p = prune(p, dense)
        found.append(p)
    return np.stack(found)


def weights(g1: np.ndarray, g2: np.ndarray) -> tuple[Any, Any]:
    """Return the weights of the common descent direction of two gradients."""
    if (g1 == g2).all():
        return 1.0, 0.0
    square = (g2 - g1) @ (g2 - g1)
    c1, c2 = (g2 - g1) @ g2 / square, (g1 - g2) @ g1 / square
    if c1 < 0:
        return 0.0, 1.0
    return (1.0, 0.0) if c2 < 0 else (c1, c2)


def prune(p: np.ndarray, where: np.ndarray) -> np.ndarray:
    return np.where(where & (np.abs(p) <= THRESHOLD), 0.0, p)


if __name__ == "__main__":
    for case in CASES:
        print(f"{case.name:22}{np.abs(ours(case) - theirs(case)).max():.1e}")
