"""Trainer of several networks: each as it is alone, starting again, loading."""

import functools
import logging

import jax
import numpy as np
import optax
import pytest
from many_networks import (
    NETWORKS,
    STEPS,
    A,
    B,
    C,
    Network,
    alone,
    assert_close,
    bits,
    fresh,
    many,
    rows,
    split,
    stacked,
    train,
    trained,
)

from experiments.devices import over_networks
from experiments.training import trainer as trainer_module

# Each as it is alone


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_is_what_it_is_alone(number):
    """Up to rounding: a program of one network and one of three are two programs."""
    networks = NETWORKS[:number]
    together = trained(many("linear", 3), networks)
    for network, result in zip(networks, together, strict=True):
        assert_close(result, alone("linear", network))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "normalised"])
def test_so_are_networks_with_all_kinds_of_layers(name):
    trainer = many(name, 2)
    for networks in ([A, B], [B, A], [B]):
        for network, result in zip(networks, trained(trainer, networks), strict=True):
            assert ("batch_stats" in result.variables) == (name == "normalised")
            assert_close(result, alone(name, network))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear", "normalised"])
def test_vectorized_as_on_an_accelerator(name, monkeypatch):
    at_once = functools.partial(over_networks, at_once=True)
    monkeypatch.setattr(trainer_module, "over_networks", at_once)
    together = trained(fresh(name, 2), [A, B])
    for network, result in zip([A, B], together, strict=True):
        assert_close(result, alone(name, network))


@pytest.mark.slow
def test_networks_differ_in_seeds_and_weights():
    """Where both are the same, so are the bits, in any row."""
    reseeded, reweighed = B._replace(seed=A.seed), B._replace(weights=A.weights)
    networks, trainer = [A, reseeded, reweighed], many("linear", 3)
    trainer.start(*split(networks))
    kernels = [own["params"]["Dense_0"]["kernel"] for own in trainer.networks()]
    assert (kernels[0] == kernels[1]).all()
    assert (kernels[0] != kernels[2]).all()
    results = train(trainer)
    assert len({b"".join(bits(result.variables)) for result in results}) == 3
    for result, network in zip(results, networks, strict=True):
        assert result.weights == pytest.approx(network.weights)
    first, second, third = trained(trainer, [B, A, A])
    assert bits(second) == bits(third) == bits(results[0])
    assert bits(first) != bits(second)


# Starting again


@pytest.mark.parametrize("number", [1, 2])
def test_fewer_networks_than_capacity(number):
    """The last one is trained several times."""
    trainer = many("linear", 3)
    whole = trained(trainer, NETWORKS[:3])
    found = trained(trainer, NETWORKS[:number])
    assert len(found) == number < trainer.capacity
    assert bits(found) == bits(whole[:number])
    own = rows(trainer)
    assert own[number:] == [own[number - 1]] * (trainer.capacity - number)


def test_no_or_too_many_networks_are_refused():
    trainer = many("linear", 3)
    for number in (0, trainer.capacity + 1):
        with pytest.raises(AssertionError, match=f"{number} of {trainer.capacity}"):
            trainer.start(*split([A] * number))


@pytest.mark.slow
def test_earlier_networks_leave_nothing_behind():
    trainer = many("linear", 3)
    trainer.start(*split([A, B, C]))
    start = bits(trainer.carry)
    results, end = bits(train(trainer)), bits(trainer.carry)
    trained(trainer, [C, B])
    trainer.load([alone("linear", A).variables] * 2)
    train(trainer, (3,))
    trainer.start(*split([A, B, C]))
    assert bits(trainer.carry) == start
    assert bits(train(trainer)) == results
    assert bits(trainer.carry) == end


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [[1] * STEPS, [3, 6, 1]], ids=str)
def test_the_chunks_do_not_change_a_bit(lengths):
    trainer = many("linear", 3)
    trainer._chunk = STEPS
    expected = trained(trainer, [A, B])
    trainer.start(*split([A, B]))
    for epoch in (1, 2):
        chunks, ends = iter([*lengths, STEPS]), []
        trainer._chunk = next(chunks)
        for progress in trainer.epoch(epoch):
            trainer._chunk = next(chunks)
            ends.append(progress.step)
        assert ends == np.cumsum(lengths).tolist()
    assert bits(trainer.networks()) == bits([one.variables for one in expected])
    assert progress.objectives == [one.objectives for one in expected]


def test_one_compilation_serves_a_whole_search(caplog):
    """JAX logs "Compiling" when it lowers a program; XLA may use its cache."""

    def compiled():
        return [r for r in caplog.messages if r.startswith("Compiling ")]

    with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
        trainer = fresh("linear", 3)
        variables = [one.variables for one in trained(trainer, [A, B])]
        trainer.load(variables)
        for name in ("init", "steps", "evaluate"):
            assert sum(f"jit({name})" in line for line in compiled()) == 1, name
        caplog.clear()
        for networks in ([C, A], [B]):
            trainer.start(*split(networks))
            trainer.load(variables[: len(networks)])
            trainer._chunk = len(networks)  # other lengths than before
            train(trainer)
        assert compiled() == []


# A network that diverges


def test_a_diverging_network_leaves_the_others_alone():
    trainer, bad = many("linear", 3), Network(1, (1e38, 0.0))
    expected = trained(trainer, [A, B, C])
    trainer.start(*split([A, bad, C]))
    *_, last = trainer.epoch(1)
    assert [step >= 0 for step in last.bad_steps] == [False, True, False]
    first, lost, third = trained(trainer, [A, bad, C])
    assert bits([first, third]) == bits([expected[0], expected[2]])
    assert np.isfinite(first.objectives + third.objectives).all()
    assert np.isnan(lost.objectives).all()
    assert set(lost.scores) == set(trainer_module.SPLITS)
    for scores in lost.scores.values():
        assert np.isnan(scores).all()  # cause: the first NaN made it class 0
    assert bits(trained(trainer, [A, B, C])) == bits(expected)


# Loading


@pytest.mark.slow
def test_load_replaces_parameters_statistics_and_masks_alone():
    trainer = many("normalised", 2)
    given = [alone("normalised", network).variables for network in (A, B)]
    trained(trainer, [C, C])
    trainer.start(*split([B, C]))
    start = jax.device_get(trainer.carry)
    trainer.load(given)
    assert bits(trainer.variables) == bits(stacked(given))
    assert jax.tree.structure(trainer.carry) == jax.tree.structure(start)
    masks, before = (
        optax.tree.get(carry.opt_state, "PruneState").mask
        for carry in (trainer.carry, start)
    )
    kernel = stacked(given)["params"]["Dense_0"]["kernel"]
    assert (masks["params"]["Dense_0"]["kernel"] == (kernel != 0)).all()
    assert (kernel == 0).any() and all(map(np.all, jax.tree.leaves(before)))
    new = optax.tree.set(trainer.carry.opt_state, mask=before)
    assert bits((new, trainer.carry[3:])) == bits(start[2:])
    by_hand = many("normalised", 1)
    by_hand.start(*split([B]))
    by_hand.load(given[:1])
    (first, _), (expected,) = train(trainer, (3,)), train(by_hand, (3,))
    assert_close(first, expected)


@pytest.mark.slow
def test_load_for_fewer_networks():
    trainer = many("linear", 3)
    trainer.start(*split([A, B]))
    given = [alone("linear", network).variables for network in (A, B)]
    trainer.load(given)
    assert rows(trainer)[:3] == [bits(given[0]), bits(given[1]), bits(given[1])]
    mask = optax.tree.get(trainer.carry.opt_state, "PruneState").mask
    kernel = stacked(given)["params"]["Dense_0"]["kernel"]
    assert (mask["params"]["Dense_0"]["kernel"][:2] == (kernel != 0)).all()


@pytest.mark.parametrize(
    ("rate", "stays"), [pytest.param(1e-4, True, marks=pytest.mark.slow), (0.01, False)]
)
def test_zeros_stay_where_steps_are_below_the_threshold(rate, stays):
    """Loaded zeros are masked, but may come back: no smaller step leads from 0 beyond
    the threshold."""
    trainer = (
        many("linear", 3) if rate == 0.01 else fresh("linear", 3, learning_rate=rate)
    )
    trainer.start(*split([A, B]))
    networks = jax.tree.map(np.array, trainer.networks())
    for number, own in enumerate(networks):
        own["params"]["Dense_0"]["kernel"][number::2] = 0
    trainer.load(networks)
    for number, result in enumerate(train(trainer)):
        kernel = result.variables["params"]["Dense_0"]["kernel"]
        assert (kernel[number::2] == 0).all() == stays
        assert (kernel[1 - number :: 2] != 0).mean() > 0.5
