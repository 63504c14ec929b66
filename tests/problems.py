"""A small problem with two objectives, and a loop that trains on it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import bopt

SHAPES = {"conv": (2, 2, 1, 2), "dense": {"kernel": (3, 4), "bias": (4,)}}


def parameters(dtype=jnp.float32, seed: int = 0):
    """Entries of about 0.1 to 1; none is 0."""
    rng = np.random.default_rng(seed)
    leaves, structure = jax.tree.flatten(SHAPES, is_leaf=lambda x: isinstance(x, tuple))
    values = [
        rng.uniform(0.1, 1, shape) * rng.choice([-1, 1], shape) for shape in leaves
    ]
    return structure.unflatten([jnp.asarray(value, dtype) for value in values])


def noise(steps: int, dtype=jnp.float32, seed: int = 1):
    """A tree like the parameters with a leading axis of steps."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.1, (steps, *leaf.shape)), dtype),
        parameters(),
    )


def loss(params, xi):
    """0.5 |params - 0.05|^2 + <xi, params>, whose gradient is params - 0.05 + xi.

    Its minimum has small entries, so that pruning finds something to do.
    """
    terms = jax.tree.map(
        lambda w, x: jnp.sum(0.5 * (w - 0.05) ** 2 + x * w), params, xi
    )
    return sum(jax.tree.leaves(terms))


value_and_jac = bopt.value_and_jac([loss, bopt.l1])


def train(optimizer, params, xis):
    """One step for each row of `xis`, jitted: (params, state) after each, stacked."""

    @jax.jit
    def run(params, xis):
        def step(carry, xi):
            params, state = carry
            values, jac = value_and_jac(params, xi)
            updates, state = optimizer.update(jac, state, params, values=values)
            carry = optax.apply_updates(params, updates), state
            return carry, carry

        return jax.lax.scan(step, (params, optimizer.init(params)), xis)[1]

    return run(params, xis)


def jacobian(params, num_objectives: int = 2, seed: int = 2):
    """Normal rows of the parameters' dtypes."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(
            rng.standard_normal((num_objectives, *leaf.shape)), leaf.dtype
        ),
        params,
    )


def row(jac, index: int):
    """One row of a jacobian, a tree like the parameters."""
    return jax.tree.map(lambda leaf: leaf[index], jac)


def flat(jac) -> np.ndarray:
    """(m, n) float64 matrix of a jacobian."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(jac)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
