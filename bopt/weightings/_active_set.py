"""The min-norm point of more than two gradients, and the solver of its faces."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike


@jax.jit  # else every call outside jit would compile the loop anew
def min_norm_of_many(gram: jax.Array) -> jax.Array:
    """argmin of w' gram w over the unit simplex, (m,), by Wolfe's active-set method.

    With w = s v and s a power of two near 1/norm, the scaled gram matrix s_i s_j G_ij
    is exact and its entries are below 4, so rows of very different norms lose no
    digits. Each round solves for the point of least norm in the affine hull of the
    free rows (`face_solver`). If it leaves the simplex, the round walks to the boundary
    and fixes the row met there; else it frees the row most opposed to the point.

    Source: P. Wolfe, *Finding the nearest point in a polytope*, Mathematical
    Programming 11 (1976).
    """
    m, dtype = gram.shape[0], gram.dtype
    eps = jnp.finfo(dtype).eps
    index = jnp.arange(m)
    scaled, exponents = scaled_by_powers(gram)
    s = jnp.ldexp(jnp.ones(m, dtype), exponents - jnp.max(exponents))

    def body(state):
        free, v, _, step = state
        target, level = face_solver(scaled, s, free)(jnp.zeros(m, dtype), 1)
        blocking = free & (target <= 0)
        inside = ~jnp.any(blocking)
        ratio = jnp.where(blocking, v / jnp.where(blocking, v - target, 1), jnp.inf)
        hit = blocking & (ratio <= jnp.min(ratio))
        walked = v + jnp.where(inside, 1, jnp.min(ratio)) * (target - v)
        v = jnp.where(inside, target, jnp.where(hit, 0, jnp.maximum(walked, 0)))
        opposed = jnp.where(free, -jnp.inf, level * s - accurate_matvec(scaled, v))
        enter = index == jnp.argmax(opposed)
        done = inside & ~(jnp.max(opposed) > eps / 4 * jnp.sum(v))
        free = jnp.where(inside, free | (enter & ~done), free & ~hit)
        return free, v, done, step + 1

    def going(state):
        *_, done, step = state
        return ~done & (step < 4 * m + 8)

    shortest = index == jnp.argmin(jnp.diagonal(gram))
    # False, but varying over the mesh axes of the gram matrix, as a carry must that
    # varies after the first round (`jax.shard_map`).
    not_done = ~jnp.any(shortest)
    start = (shortest, shortest.astype(dtype) / s, not_done, jnp.array(0))
    _, v, _, _ = lax.while_loop(going, body, start)
    # A zero row is the point of least norm. The comparisons above hide NaN, so that it
    # must be put back.
    weights = jnp.where(jnp.min(jnp.diagonal(gram)) == 0, shortest.astype(dtype), s * v)
    return jnp.where(jnp.isfinite(gram).all(), weights, jnp.nan)


def face_solver(
    scaled: jax.Array, s: jax.Array, free: jax.Array
) -> Callable[[jax.Array, ArrayLike], tuple[jax.Array, jax.Array]]:
    """Solver of ``(linear, total) -> (v, level)`` for one set of free rows.

    v is argmin of v' scaled v / 2 + linear'v over s'v = total, v = 0 where not free;
    there, scaled v + linear = level s. The optimality system is solved and refined
    twice with an accurate residual, which leaves only the rounding of v itself, 1e-8
    relative; the plain solution would be off by the condition number.
    """
    m = len(s)
    system = jnp.zeros((m + 1, m + 1), s.dtype)
    system = system.at[:m, :m].set(
        jnp.where(free[:, None] & free[None, :], scaled, jnp.eye(m, dtype=s.dtype))
    )
    border = jnp.where(free, s, 0)
    system = system.at[:m, m].set(border).at[m, :m].set(border)
    # A ridge keeps linearly dependent rows solvable. The residual is without it.
    ridge = jnp.where(jnp.arange(m + 1) < m, 4 * jnp.finfo(s.dtype).eps, 0)
    factors = jax.scipy.linalg.lu_factor(system + jnp.diag(ridge))

    def solve(linear: jax.Array, total: ArrayLike) -> tuple[jax.Array, jax.Array]:
        target = jnp.append(jnp.where(free, -linear, 0), jnp.asarray(total, s.dtype))
        solution = jax.scipy.linalg.lu_solve(factors, target)
        augmented = jnp.concatenate([system, target[:, None]], axis=1)
        for _ in range(2):
            residual = accurate_matvec(augmented, jnp.append(solution, -1))
            solution -= jax.scipy.linalg.lu_solve(factors, residual)
        return jnp.where(free, solution[:m], 0), -solution[m]

    return solve


def accurate_matvec(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """matrix @ vector, as if computed in twice the precision and rounded.

    Source: T. Ogita, S. M. Rump, S. Oishi, *Accurate sum and dot product*, SIAM
    Journal on Scientific Computing 26 (2005), algorithm Dot2, summed
    pairwise.
    """
    terms, errors = _two_product(matrix, vector[None, :])
    error = errors.sum(axis=1)
    while terms.shape[1] > 1:  # a tree of sums, so that the program stays small
        terms = jnp.pad(terms, ((0, 0), (0, terms.shape[1] % 2)))
        terms, lost = _two_sum(terms[:, ::2], terms[:, 1::2])
        error += lost.sum(axis=1)
    return terms[:, 0] + error


def _two_sum(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    total = a + b
    b_seen = total - a
    return total, (a - (total - b_seen)) + (b - b_seen)


def _two_product(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
    product = a * b
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + (
        a_low * b_low
    )
    return product, error


def _split(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Split a into a sum of two numbers with half the digits."""
    shifted = a * (2.0 ** ((jnp.finfo(a.dtype).nmant + 2) // 2) + 1)
    high = shifted - (shifted - a)
    return high, a - high


def inverse_norms(gram: jax.Array) -> jax.Array:
    """1 / norm of each row; 1 for a zero row."""
    squares = jnp.diagonal(gram)
    return lax.rsqrt(jnp.where(squares == 0, jnp.ones_like(squares), squares))


def scaled_by_powers(gram: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The gram matrix of the rows times powers of two near 1/norm; the exponents, (m,).

    The products are exact and below 4. A zero row has exponent 1.
    """
    _, exponents = jnp.frexp(inverse_norms(gram))
    return jnp.ldexp(gram, exponents[:, None] + exponents[None, :]), exponents
