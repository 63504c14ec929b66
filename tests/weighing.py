"""Weights of many gram matrices under one compiled weighting."""

import functools
from collections.abc import Callable
from typing import Any

import contracts
import jax
import jax.numpy as jnp
import numpy as np

import bopt

BATCH = 16  # matrices at a time, so that a weighting is compiled once per m and dtype


@functools.cache
def _compiled(weighting: bopt.Weighting, m: int, dtype):
    state = weighting.init(m)
    return jax.jit(jax.vmap(lambda gram, v: weighting.update(gram, v, state)[0]))


@functools.cache
def _swept(factory: Callable[[Any], bopt.Weighting], m: int, dtype):
    def one(gram, number):
        return factory(number).update(gram, None, ())[0]

    return jax.jit(jax.vmap(one, in_axes=(0, None)))


@functools.cache
def named(name: str, m: int) -> bopt.Weighting:
    """The weighting of the contract table."""
    return contracts.WEIGHTINGS[name](m)


def grams_of(jacs: np.ndarray, dtype: Any = np.float32) -> np.ndarray:
    """(N, m, m) gram matrices in `dtype`, computed in float64."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.einsum("nik,njk->nij", jacs, jacs).astype(dtype)


def weigh_with(factory, number: float, grams) -> np.ndarray:
    """(N, m) weights of a factory's weighting; one program for all numbers."""
    function = _swept(factory, grams.shape[1], grams.dtype)
    return _in_batches(lambda g: function(g, jnp.asarray(number, g.dtype)), grams)


def weigh(weighting: bopt.Weighting, grams, values=None) -> np.ndarray:
    """(N, m) first weights in the gram matrices' dtype; float64 needs x64 enabled."""
    values = np.ones(grams.shape[:2]) if values is None else values
    function = _compiled(weighting, grams.shape[1], grams.dtype)
    return _in_batches(function, grams, values.astype(grams.dtype))


def _in_batches(function, grams: np.ndarray, *others: np.ndarray) -> np.ndarray:
    number, found = len(grams), []
    for first in range(0, number, BATCH):  # the last batch is filled up
        rows = np.minimum(np.arange(first, first + BATCH), number - 1)
        found.append(
            function(*(jnp.asarray(array[rows]) for array in (grams, *others)))
        )
        assert found[-1].dtype == grams.dtype
    return np.concatenate(found)[:number]


def directions(weights: np.ndarray, jacs: np.ndarray) -> np.ndarray:
    """(N, n) combinations of the rows, in float64."""
    return np.einsum("ni,nik->nk", weights.astype(np.float64), jacs)


def deviation(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Distances relative to the expected vectors' norms."""
    norms = np.linalg.norm(expected, axis=-1)
    distances = np.linalg.norm(found - expected, axis=-1)
    return distances / np.where(norms == 0, 1, norms)
