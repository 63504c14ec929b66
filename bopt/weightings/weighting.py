"""The type of a weighting."""

from collections.abc import Callable

import jax

Weighting = Callable[[jax.Array, jax.Array | None], jax.Array]
