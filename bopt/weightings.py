"""Weightings: from the gram matrix of the gradients to their weights.

A weighting is a function ``(gram, values) -> weights``. `gram` is the (m, m) matrix of
inner products of the jacobian's rows, `values` the (m,) objective values or None, and
`weights` the (m,) coefficients of the *unscaled* rows: the direction is always
``weights @ rows``.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

Weighting = Callable[[jax.Array, jax.Array | None], jax.Array]
Normalization = Literal["l2", "loss", "loss+"]

_SMALLEST_VALUE = 1e-8  # an objective that reaches 0 (all pruned) must not divide by it


def min_norm(normalize: Normalization | None = None) -> Weighting:
    """The point of least norm in the convex hull of the gradients.

    Its negative decreases all objectives at once, by the same amount where no
    gradient dominates; it is 0 exactly where the parameters are Pareto-stationary.
    Two objectives have the closed form of the paper's code, each weight from its own
    numerator; equal gradients give (1, 0). More are solved by an active-set method on
    the diagonally scaled gram matrix, inside jit.

    Args:
      normalize: what each gradient is multiplied by before the point is sought; the
        weights returned are those of the unscaled gradients, with sum 1.
        None: nothing. ``"l2"``: 1 / its norm. ``"loss"``: 1 / its objective's value.
        ``"loss+"``: 1 / (value * norm). The last two need
        ``update(..., values=values)`` and positive values (below 1e-8 they count as
        1e-8).

    Returns:
      A weighting ``(gram (m, m), values (m,) or None) -> weights (m,)`` on the unit
      simplex. NaN in, NaN out.

    Raises:
      ValueError: an unknown `normalize`; or, when called, missing values.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> jac = jnp.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
      >>> weights = bopt.min_norm()(jac @ jac.T, None)
      >>> print(weights.round(6), (weights @ jac).round(6))
      [0.6 0.4] [0. 1. 1.]

    Source: S. Liu, L. N. Vicente, *The stochastic multi-gradient algorithm for
    multi-objective optimization* (Annals of Operations Research 2021), the subproblem
    of the multi-gradient; normalisations as in the code of arXiv 2008.13590.
    """
    if normalize not in (None, "l2", "loss", "loss+"):
        raise ValueError(
            f"min_norm got normalize={normalize!r}; expected None, 'l2', 'loss' or "
            "'loss+'."
        )

    def weighting(gram: jax.Array, values: jax.Array | None) -> jax.Array:
        if normalize is None:
            return _min_norm_point(gram)
        scale = _scales(normalize, gram, values)
        weights = scale * _min_norm_point(scale[:, None] * gram * scale[None, :])
        return weights / jnp.sum(weights)

    return weighting


def fixed(weights: Any) -> Weighting:
    """The weighted sum: the given weights at every step, whatever the gradients.

    Args:
      weights: (m,) non-negative weights, used as given (no normalisation). May be
        traced, so that a sweep over weights is one compilation.

    Returns:
      A weighting ``(gram (m, m), values) -> weights (m,)``.

    Raises:
      ValueError: weights that are not a vector, or are negative or not finite; or,
        when called, another number of weights than objectives.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> print(bopt.fixed([1.0, 3e-4])(jnp.eye(2), None))
      [1.e+00 3.e-04]

    Source: the weighted-sum scalarisation of arXiv 2008.13590.
    """
    if not isinstance(weights, jax.Array):
        traced = any(isinstance(weight, Tracer) for weight in jax.tree.leaves(weights))
        weights = (jnp if traced else np).asarray(weights)
    if weights.ndim != 1:
        raise ValueError(
            f"fixed got weights of shape {weights.shape}; expected a vector (m,), "
            "one weight an objective."
        )
    traced = isinstance(weights, Tracer)
    if not traced and not all(0 <= w < np.inf for w in weights.tolist()):
        raise ValueError(
            f"fixed got weights {weights.tolist()}; expected finite, non-negative "
            "numbers."
        )

    def weighting(gram: jax.Array, values: jax.Array | None) -> jax.Array:
        del values
        if weights.shape != gram.shape[:1]:
            raise ValueError(
                f"fixed has {weights.shape[0]} weights for {gram.shape[0]} "
                "objectives; give one weight an objective, and the same number as "
                "smgd's num_objectives."
            )
        return jnp.asarray(weights).astype(gram.dtype)

    return weighting


def _scales(normalize: str, gram: jax.Array, values: jax.Array | None) -> jax.Array:
    """The positive factor of each row under a normalisation, (m,)."""
    scale = jnp.ones_like(gram[0])
    if normalize in ("l2", "loss+"):
        scale *= _inverse_norms(gram)
    if normalize in ("loss", "loss+"):
        if values is None:
            raise ValueError(
                f"min_norm(normalize={normalize!r}) divides by the objective values: "
                "call update(jac, state, params, values=values) with the values of "
                "bopt.value_and_jac."
            )
        if jnp.shape(values) != scale.shape:
            raise ValueError(
                f"update got values of shape {jnp.shape(values)}; expected "
                f"{scale.shape}, one an objective."
            )
        scale /= jnp.maximum(jnp.asarray(values).astype(gram.dtype), _SMALLEST_VALUE)
    return scale


def _inverse_norms(gram: jax.Array) -> jax.Array:
    """1 / norm of each row; 1 for a zero row, which no factor can lengthen."""
    squares = jnp.diagonal(gram)
    return lax.rsqrt(jnp.where(squares == 0, jnp.ones_like(squares), squares))


def _min_norm_point(gram: jax.Array) -> jax.Array:
    """argmin of w' gram w over the unit simplex, (m,)."""
    if gram.shape[0] == 1:
        return jnp.ones_like(gram[0])
    if gram.shape[0] == 2:
        return _min_norm_of_two(gram)
    return _min_norm_of_many(gram)


def _min_norm_of_two(gram: jax.Array) -> jax.Array:
    g00, g01, g11 = gram[0, 0], gram[0, 1], gram[1, 1]
    # Each weight from its own numerator: w1 is often 1e-6, and 1 - w0 would have
    # lost it. The comparison is False for NaN, which therefore reaches the weights.
    numerators = jnp.stack([g11 - g01, g00 - g01])
    # Their sum, not g00 + g11 - 2 * g01: for nearly equal rows it is rounded otherwise,
    # and the weights would add up to less than 1.
    denominator = numerators.sum()
    equal = denominator <= 0
    weights = numerators / jnp.where(equal, 1, denominator)
    one_zero = jnp.zeros_like(weights).at[0].set(1)
    return jnp.where(equal, one_zero, jnp.clip(weights, 0, 1))


@jax.jit  # else every call outside jit would compile the loop anew
def _min_norm_of_many(gram: jax.Array) -> jax.Array:
    """Wolfe's active-set method, with the rows scaled to norms in [1, 2).

    With w = s v and s a power of two near 1/norm, the scaled gram matrix s_i s_j G_ij
    is exact and its entries are below 4, so rows of very different norms lose no
    digits. Each round solves for the point of least norm in the affine hull of the
    free rows (`_affine_min`); if it leaves the simplex, walks to the boundary and
    fixes the row met there; else frees the row that the point is most opposed to.

    Source: P. Wolfe, *Finding the nearest point in a polytope*, Mathematical
    Programming 11 (1976).
    """
    m, dtype = gram.shape[0], gram.dtype
    eps = jnp.finfo(dtype).eps
    index = jnp.arange(m)
    _, exponents = jnp.frexp(_inverse_norms(gram))
    scaled = jnp.ldexp(gram, exponents[:, None] + exponents[None, :])
    s = jnp.ldexp(jnp.ones(m, dtype), exponents - jnp.max(exponents))

    def body(state):
        free, v, _, step = state
        target, level = _affine_min(scaled, s, free)
        blocking = free & (target <= 0)
        inside = ~jnp.any(blocking)
        ratio = jnp.where(blocking, v / jnp.where(blocking, v - target, 1), jnp.inf)
        hit = blocking & (ratio <= jnp.min(ratio))
        walked = v + jnp.where(inside, 1, jnp.min(ratio)) * (target - v)
        v = jnp.where(inside, target, jnp.where(hit, 0, jnp.maximum(walked, 0)))
        opposed = jnp.where(free, -jnp.inf, level * s - _accurate_matvec(scaled, v))
        enter = index == jnp.argmax(opposed)
        done = inside & ~(jnp.max(opposed) > eps / 4 * jnp.sum(v))
        free = jnp.where(inside, free | (enter & ~done), free & ~hit)
        return free, v, done, step + 1

    def going(state):
        *_, done, step = state
        return ~done & (step < 4 * m + 8)

    shortest = index == jnp.argmin(jnp.diagonal(gram))
    start = (shortest, shortest.astype(dtype) / s, jnp.array(False), jnp.array(0))
    _, v, _, _ = lax.while_loop(going, body, start)
    # A zero row is the point of least norm. No comparison above sees a NaN: it
    # reaches the weights here.
    weights = jnp.where(jnp.min(jnp.diagonal(gram)) == 0, shortest.astype(dtype), s * v)
    return jnp.where(jnp.isfinite(gram).all(), weights, jnp.nan)


def _affine_min(
    scaled: jax.Array, s: jax.Array, free: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """argmin of v' scaled v over s'v = 1, v = 0 where not free; and that minimum.

    The optimality system, refined twice with an accurate residual: what is left is
    the rounding of v itself, 1e-8 relative, where the plain solution would miss by
    the system's condition number.
    """
    m = len(s)
    system = jnp.zeros((m + 1, m + 1), s.dtype)
    system = system.at[:m, :m].set(
        jnp.where(free[:, None] & free[None, :], scaled, jnp.eye(m, dtype=s.dtype))
    )
    border = jnp.where(free, s, 0)
    system = system.at[:m, m].set(border).at[m, :m].set(border)
    target = jnp.zeros(m + 1, s.dtype).at[m].set(1)
    # A ridge in the factors alone keeps linearly dependent rows solvable; the residual
    # knows nothing of it.
    ridge = jnp.where(jnp.arange(m + 1) < m, 4 * jnp.finfo(s.dtype).eps, 0)
    factors = jax.scipy.linalg.lu_factor(system + jnp.diag(ridge))
    solution = jax.scipy.linalg.lu_solve(factors, target)
    augmented = jnp.concatenate([system, target[:, None]], axis=1)
    for _ in range(2):
        residual = _accurate_matvec(augmented, jnp.append(solution, -1))
        solution -= jax.scipy.linalg.lu_solve(factors, residual)
    return jnp.where(free, solution[:m], 0), -solution[m]


def _accurate_matvec(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """matrix @ vector, as if computed in twice the precision and then rounded.

    Source: T. Ogita, S. M. Rump, S. Oishi, *Accurate sum and dot product*, SIAM
    Journal on Scientific Computing 26 (2005), algorithm Dot2.
    """
    total = error = jnp.zeros(matrix.shape[0], matrix.dtype)
    for column, entry in zip(matrix.T, vector, strict=True):
        product, product_error = _two_product(column, entry)
        total, sum_error = _two_sum(total, product)
        error += product_error + sum_error
    return total + error


def _two_sum(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """a + b rounded, and exactly what the rounding lost."""
    total = a + b
    b_seen = total - a
    return total, (a - (total - b_seen)) + (b - b_seen)


def _two_product(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """a * b rounded, and exactly what the rounding lost."""
    (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
    product = a * b
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + (
        a_low * b_low
    )
    return product, error


def _split(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    """a as a sum of two numbers of half as many digits."""
    shifted = a * (2.0 ** ((jnp.finfo(a.dtype).nmant + 2) // 2) + 1)
    high = shifted - (shifted - a)
    return high, a - high
