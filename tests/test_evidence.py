"""Pruning by evidence: the threshold, and what it refuses to judge."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import bopt

DENSE = {"kernel": jnp.ones((20, 10))}


def prune(examples=1_000, **given):
    options: dict[str, Any] = {"batch_size": 10, "transition_steps": 4} | given
    return bopt.prune_by_evidence(optax.sgd(0.0), examples=examples, **options)


def test_an_entry_stays_that_is_worth_its_cost():
    """The rise of the loss, n / 2 * B * nu * w^2, against log(n) / 2."""
    w = np.geomspace(1e-4, 1, 200).reshape(20, 10)
    params = {"kernel": jnp.asarray(w, jnp.float32)}
    gradient, (n, batch) = 0.3, (1_000, 10)
    optimizer = prune(n)
    state = optimizer.init(params)
    for step in range(6):
        gradients = {"kernel": jnp.full((20, 10), gradient)}
        _, state = optimizer.update(gradients, state, params)
        share = min(step / 4, 1)
        worth = n / 2 * batch * gradient**2 * w**2
        np.testing.assert_array_equal(
            state.mask["kernel"], worth > share * np.log(n) / 2
        )


@pytest.mark.parametrize(
    ("params", "options", "message"),
    [
        (
            DENSE | {"conv": jnp.ones((3, 3, 1, 2))},
            {"where": "*"},
            r"'conv' of shape \(3, 3, 1, 2\); expected leaves of dense layers",
        ),
        (DENSE, {"examples": 49}, "49 examples for 200 entries; expected at least 50"),
    ],
)
def test_what_it_cannot_judge_is_refused(params, options, message):
    with pytest.raises(ValueError, match=message) as error:
        prune(**options).init(params)
    assert "Prune to a sparsity instead" in str(error.value)


def test_a_quarter_of_the_entries_is_enough():
    assert prune(50).init(DENSE).mask["kernel"].all()
    assert prune(50, where="kernel").init(DENSE | {"conv": jnp.ones((3, 3, 1, 2))})


@pytest.mark.parametrize(
    "options", [{"examples": 1}, {"batch_size": 0}, {"transition_steps": 0}]
)
def test_wrong_numbers_are_named(options):
    with pytest.raises(ValueError, match="expected at least 2, 1 and 1"):
        prune(**options)
