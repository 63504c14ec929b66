"""Precision of inner products, sums and comparisons."""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp


def wide_dtype(leaves: Iterable[Any]) -> Any:
    """float64 if any leaf has it, else float32; raise on a complex leaf."""
    dtypes = {jnp.result_type(leaf) for leaf in leaves}  # float32 unless x64 is on
    for dtype in dtypes:
        if jnp.issubdtype(dtype, jnp.complexfloating):
            raise ValueError(
                f"bopt got a leaf of dtype {dtype}; expected real parameters: split "
                "complex ones into real and imaginary parts."
            )
    return jnp.float64 if jnp.dtype(jnp.float64) in dtypes else jnp.float32
