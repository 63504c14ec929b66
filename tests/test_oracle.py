"""SMGD, MAdam and MRMSprop against a NumPy transcription of the paper's updates.

The transcription is float64 on flat vectors, in Optax's conventions: Adam's epsilon
after bias correction, AMSGrad's maximum of corrected moments, the learning rate outside
the momentum buffer, RMSprop's epsilon outside the root.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problems
import pytest

import bopt

STEPS, RATE, THRESHOLD = 20, 0.05, 0.04


def sgd(momentum, nesterov=False):
    """One direction in, minus the step out; its momentum is the state."""

    def step(buffer, direction, t):
        del t
        buffer = momentum * buffer + direction
        return (direction + momentum * buffer if nesterov else buffer), buffer

    return step


def adam(b1=0.9, b2=0.999, eps=1e-8, amsgrad=False):
    def step(moments, gradient, t):
        m, v, v_max = moments if isinstance(moments, tuple) else (0.0, 0.0, 0.0)
        m = b1 * m + (1 - b1) * gradient
        v = b2 * v + (1 - b2) * gradient**2
        v_hat = v / (1 - b2**t)
        v_max = np.maximum(v_max, v_hat) if amsgrad else v_hat
        return m / (1 - b1**t) / (np.sqrt(v_max) + eps), (m, v, v_max)

    return step


def rmsprop(decay=0.9, eps=1e-7):
    def step(v, gradient, t):
        del t
        v = decay * v + (1 - decay) * gradient**2
        return gradient / (np.sqrt(v) + eps), v

    return step


def two_weights(rows):
    """The point of the segment between the rows that is nearest to 0."""
    difference = rows[0] - rows[1]
    if not difference.any():
        return np.array([1.0, 0.0])
    t = np.clip(rows[0] @ difference / (difference @ difference), 0, 1)
    return np.array([1 - t, t])


def transcription(params, xis, kernel, *, before=None, after=None, weigh_by, prune):
    """Parameters and weights after each step, and the least distance of a magnitude
    from the threshold. `before` acts on each objective's row, `after` on the direction.
    """
    before_state, after_state, trace, margin = [0.0, 0.0], 0.0, [], np.inf
    for t, xi in enumerate(xis, 1):
        l1 = np.where(params == 0, 1, np.sign(params)) * kernel
        rows = [params - 0.05 + xi, l1]
        applied = list(rows)
        for i in range(2):
            if before:
                applied[i], before_state[i] = before(before_state[i], rows[i], t)
        weights = two_weights(rows if weigh_by == "gradients" else applied)
        direction = weights @ np.stack(applied)
        if after:
            direction, after_state = after(after_state, direction, t)
        params = params - RATE * direction
        if prune:
            margin = min(margin, abs(abs(params[kernel]) - THRESHOLD).min())
            params = np.where(kernel & (abs(params) <= THRESHOLD), 0.0, params)
        trace.append((params, weights))
    return *map(np.stack, zip(*trace, strict=True)), margin


CASES = {
    "smgd": (lambda by: (bopt.smgd(weigh_by=by), optax.sgd(RATE)), {}),
    "smgd, momentum": (
        lambda by: (bopt.smgd(weigh_by=by), optax.sgd(RATE, momentum=0.9)),
        {"after": sgd(0.9)},
    ),
    "smgd, nesterov": (
        lambda by: (bopt.smgd(weigh_by=by), optax.sgd(RATE, 0.8, nesterov=True)),
        {"after": sgd(0.8, nesterov=True)},
    ),
    "smgd, adam": (
        lambda by: (bopt.smgd(weigh_by=by), optax.adam(RATE)),
        {"after": adam()},
    ),
    "madam": (lambda by: (bopt.madam(RATE, weigh_by=by),), {"before": adam()}),
    "madam, other arguments": (
        lambda by: (bopt.madam(RATE, 0.8, 0.95, 1e-3, weigh_by=by),),
        {"before": adam(0.8, 0.95, 1e-3)},
    ),
    "madam, amsgrad": (
        lambda by: (bopt.madam(RATE, b2=0.5, amsgrad=True, weigh_by=by),),
        {"before": adam(b2=0.5, amsgrad=True)},
    ),
    "mrmsprop": (lambda by: (bopt.mrmsprop(RATE, weigh_by=by),), {"before": rmsprop()}),
    "mrmsprop, other arguments": (
        lambda by: (bopt.mrmsprop(RATE, 0.7, 1e-2, weigh_by=by),),
        {"before": rmsprop(0.7, 1e-2)},
    ),
}


def compare(case, weigh_by, prune, dtype, rtol, atol):
    links, rules = CASES[case]
    chain = (*links(weigh_by), *([bopt.prune(THRESHOLD)] if prune else []))
    params, xis = problems.parameters(dtype), problems.noise(STEPS, dtype)
    trained, state = problems.train(optax.chain(*chain), params, xis)
    is_kernel = jax.tree.map(
        lambda leaf: jnp.full((1, *leaf.shape), leaf.ndim == 2), params
    )
    expected, weights, margin = transcription(
        problems.flat(jax.tree.map(lambda leaf: leaf[None], params))[0],
        problems.flat(xis),
        problems.flat(is_kernel)[0].astype(bool),
        weigh_by=weigh_by,
        prune=prune,
        **rules,
    )
    ours = optax.tree.get(state, "SmgdState").weights
    # Nothing comes so near to the threshold that rounding decides about it.
    assert margin > 10 * atol
    np.testing.assert_allclose(ours, weights, rtol=rtol, atol=atol)
    np.testing.assert_allclose(problems.flat(trained), expected, rtol=rtol, atol=atol)
    if prune:
        zeros = expected == 0
        assert zeros.any(), "the comparison must see pruning at work"
        np.testing.assert_array_equal(problems.flat(trained) == 0, zeros)


# Without a preconditioner, gradients and directions are the same.
FLOAT64 = [(case, "gradients") for case in CASES] + [
    (case, "directions") for case in CASES if not case.startswith("smgd")
]
FAST = [
    ("smgd, nesterov", "gradients"),
    ("madam", "gradients"),
    ("madam, amsgrad", "directions"),
    ("mrmsprop, other arguments", "gradients"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "case, weigh_by",
    [
        pytest.param(*row, marks=() if row in FAST else pytest.mark.slow)
        for row in FLOAT64
    ],
)
def test_float64(case, weigh_by):
    with jax.enable_x64(True):
        compare(case, weigh_by, True, jnp.float64, 1e-9, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_float32(case):
    compare(case, "directions", True, jnp.float32, 1e-3, 1e-5)


@pytest.mark.slow
def test_without_pruning():
    with jax.enable_x64(True):
        compare("madam", "gradients", False, jnp.float64, 1e-9, 1e-12)
