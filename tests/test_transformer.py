"""The transformer: causal, and with kernels of rank 2 only."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bopt
from bopt.models import Transformer


@functools.cache
def small():
    """(model, tokens (2, 6), parameters)."""
    model = Transformer(tokens=11, length=8, width=12, heads=3, blocks=1)
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 11, (2, 6)))
    key = jax.random.key(0, impl="rbg")  # compiled faster
    return model, tokens, jax.jit(model.init)(key, tokens)


@pytest.mark.parametrize("place", [0, 3])
def test_a_token_changes_its_own_and_later_logits_only(place):
    model, tokens, params = small()
    apply = jax.jit(model.apply)
    before = apply(params, tokens)
    after = apply(params, tokens.at[:, place].add(1) % 11)
    assert before.shape == (2, 6, 11)
    changed = (np.abs(np.asarray(before - after)) > 1e-6).any((0, 2))
    assert changed.tolist() == [False] * place + [True] * (6 - place)


def test_tokens_at_another_place_have_other_logits():
    model, _, params = small()
    logits = jax.jit(model.apply)(params, jnp.full((1, 6), 3))
    assert np.abs(np.diff(np.asarray(logits), axis=1)).max(-1).min() > 1e-3


def test_all_kernels_are_selected():
    _, _, params = small()
    whole = bopt.sparsity.report(params)
    rest = whole.total.entries - whole.dense.entries
    biases = 3 * 12 + 12 + 4 * 12 + 12 + 11
    assert rest == biases + 3 * 2 * 12  # and layer normalisations
