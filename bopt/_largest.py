"""The k largest entries of several arrays, found by counting.

Each of the 32 or 64 bits of the k-th largest is found by one comparison of all entries.
This is faster than sorting them, and it flattens no array: they may be sharded over the
axes of a mesh in any way.
"""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bopt._dtypes import wide_dtype


def ranked(magnitudes: list[jax.Array], allowed: list[jax.Array]) -> list[jax.Array]:
    """Unsigned integers in the order of the magnitudes; 0 for entries not allowed.

    The bits of floats that are not negative are in their order, those of negative ones
    in the opposite.
    """
    wide = wide_dtype(magnitudes)
    unsigned = jnp.uint64 if wide == jnp.float64 else jnp.uint32

    def rank(magnitude, allowed):
        number = jnp.where(jnp.isnan(magnitude), jnp.inf, magnitude).astype(wide)
        bits = jax.lax.bitcast_convert_type(number, unsigned)
        sign = jnp.ones((), unsigned) << (jnp.iinfo(unsigned).bits - 1)
        bits = jnp.where(number < 0, ~bits, jnp.where(number == 0, sign, bits | sign))
        return jnp.where(allowed, bits + jnp.ones((), unsigned), 0)

    return [rank(*pair) for pair in zip(magnitudes, allowed, strict=True)]


def largest(ranks: list[jax.Array], number: jax.Array | int) -> list[jax.Array]:
    """True for the given number of largest entries, and for the first of equal ones.

    The rank of the last of them is found by bisection, and so is its place among its
    equals.
    """
    if not ranks:
        return []

    def count(conditions) -> jax.Array:
        counts = (jnp.sum(condition) for condition in conditions)
        return functools.reduce(operator.add, counts)

    limit = _bisect(
        lambda limit: count(leaf >= limit for leaf in ranks) >= number,
        jnp.zeros_like(ranks[0], shape=()),
    )
    missing = number - count(leaf > limit for leaf in ranks)
    places = _places(ranks)
    equal = [leaf == limit for leaf in ranks]
    end = _bisect(
        lambda end: (
            count(
                mask & (place < end) for mask, place in zip(equal, places, strict=True)
            )
            <= missing
        ),
        jnp.zeros_like(places[0], shape=()),
    )
    return [
        (leaf > limit) | (mask & (place < end))
        for leaf, mask, place in zip(ranks, equal, places, strict=True)
    ]


def _bisect(holds: Callable[[jax.Array], Any], zero: jax.Array) -> jax.Array:
    """The largest unsigned integer for which a condition holds that holds up to it."""
    bits = jnp.iinfo(zero.dtype).bits

    def step(i, found):
        larger = found | (jnp.ones_like(found) << (bits - 1 - i).astype(found.dtype))
        return jnp.where(holds(larger), larger, found)

    return jax.lax.fori_loop(0, bits, step, zero)


def _places(leaves: list[jax.Array]) -> list[jax.Array]:
    """The place of each entry in the order of the tree, without flattening leaves."""
    first, places = 0, []
    for leaf in leaves:
        strides = [math.prod(leaf.shape[axis + 1 :]) for axis in range(leaf.ndim)]
        place = jnp.zeros_like(leaf, jnp.uint32) + jnp.uint32(first)
        for axis, stride in enumerate(strides):
            index = jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, axis)
            place += index * jnp.uint32(stride)
        first += leaf.size
        places.append(place)
    return places
