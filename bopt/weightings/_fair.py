"""The point of alpha-fair gradients, by a damped Newton method."""

import jax
import jax.numpy as jnp
from jax import lax

from bopt.weightings._active_set import accurate_matvec, scaled_by_powers
from bopt.weightings.weighting import visible


@jax.jit  # else every call outside jit would compile the loop anew
def fair_weights(gram: jax.Array, alpha: jax.Array) -> jax.Array:
    """w > 0 with (gram w)_i = w_i^(-1/alpha), (m,); 0 for a zero row.

    With the rows scaled by powers of two and w = s v, this is the minimum of the convex
    function v' scaled v / 2 - sum_i c_i v_i^(1 - 1/alpha) / (1 - 1/alpha), or with log
    for alpha = 1. Newton's step is shortened so that the function falls for certain:
    along the step, its curvature grows at most as that of the second sum at the entry
    that shrinks most. A ridge of 4 eps, the rounding of the gram matrix, makes the
    minimum exist everywhere. NaN if 200 steps are not enough.
    """
    dtype = gram.dtype
    eps = jnp.finfo(dtype).eps
    least = jnp.finfo(dtype).tiny ** 0.75  # for ratios of norms to the power alpha
    zero = jnp.diagonal(gram) == 0
    scaled, exponents = scaled_by_powers(gram)
    scaled += jnp.diag(jnp.where(zero, 1, 4 * eps * jnp.diagonal(scaled)))
    # Numbers near 1: powers relative to those of the longest row.
    longest = jnp.min(jnp.where(zero, jnp.max(exponents), exponents))
    powers = jnp.where(zero, 0, exponents - longest).astype(dtype)
    c = jnp.maximum(jnp.exp2(powers * (1 - 1 / alpha)), least)

    def body(state):
        v, _, _, number = state
        utility = c * v ** (1 - 1 / alpha)
        system = v[:, None] * scaled * v[None, :] + jnp.diag(utility / alpha)
        residual = v * accurate_matvec(scaled, v) - utility
        noise = 4 * eps * v * (jnp.abs(scaled) @ v)
        # Of unit diagonal, so that no digits are lost to very different entries.
        scale = jax.lax.rsqrt(jnp.diagonal(system))
        system = scale[:, None] * system * scale[None, :]
        relative = -scale * jnp.linalg.solve(system, scale * residual)
        relative = jnp.where((v <= least) & (relative < 0), 0, relative)
        size, shrink = jnp.max(jnp.abs(relative)), jnp.max(-relative)
        shrink = jnp.maximum(shrink, eps)
        damped = -jnp.expm1(-alpha * jnp.log1p(shrink / alpha))
        step = jnp.minimum(1, jnp.minimum(damped, 0.99) / shrink)
        v = jnp.maximum(v * (1 + step * relative), least)
        # Where the rows cancel, no v has a smaller residual but for its own rounding.
        rounded = jnp.all(jnp.abs(residual) <= noise)
        return v, size, (size <= jnp.sqrt(eps)) | rounded, number + 1

    def going(state):
        _, size, done, number = state
        return ~done & (number < 200) & jnp.isfinite(size)

    start = (c / jnp.diagonal(scaled)) ** (alpha / (1 + alpha))
    carry = start, start[0], start[0] < 0, jnp.array(0)
    v, _, done, _ = lax.while_loop(going, body, carry)
    common = longest.astype(dtype) * (alpha - 1) / (alpha + 1)
    weights = v * jnp.exp2(exponents.astype(dtype) + common)
    return visible(gram, jnp.where(done, jnp.where(zero, 0, weights), jnp.nan))
