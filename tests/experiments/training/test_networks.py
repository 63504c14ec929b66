"""Many networks as one program give what each gives alone; see `training.trainer`."""

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
    alone,
    assert_close,
    bits,
    fresh,
    go,
    many,
    results,
    row_of,
    single,
    stacked,
    trained,
)

from experiments.devices import Network, over_networks
from experiments.training import trainer as train

# What each gives alone


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("name", ["linear", "small"])
def test_each_gives_what_it_gives_alone(name, number):
    networks = NETWORKS[:number]
    together = trained(many(name, number), networks)
    for network, result in zip(networks, together, strict=False):
        assert_close(result, alone(name, network))


@pytest.mark.slow
def test_so_do_networks_with_statistics_and_dropout():
    trainer = many("normalised", 2)
    for networks in ([A, B], [B, A], [B]):
        for network, result in zip(networks, trained(trainer, networks), strict=False):
            assert "batch_stats" in result.variables
            assert_close(result, alone("normalised", network))


@pytest.mark.parametrize(
    "name", ["linear", pytest.param("normalised", marks=pytest.mark.slow)]
)
def test_an_accelerator_would_give_the_same(name, monkeypatch):
    """There, `jax.vmap` takes them all at once."""
    at_once = functools.partial(over_networks, at_once=True)
    monkeypatch.setattr(train, "over_networks", at_once)
    together = trained(fresh(name, 2), [A, B])
    for network, result in zip([A, B], together, strict=False):
        assert_close(result, alone(name, network))


def test_what_is_a_networks_own():
    """Seeds and weights; what has both the same agrees bit for bit, in any row."""
    reseeded, reweighed = B._replace(seed=A.seed), B._replace(weights=A.weights)
    trainer = many("linear", 3)
    trainer.start([A, reseeded, reweighed])
    kernels = np.array(trainer.params["params"]["Dense_0"]["kernel"])
    assert (kernels[0] == kernels[1]).all()
    assert (kernels[0] != kernels[2]).all()
    rows = results(trainer)[:3]
    assert len({b"".join(bits(row.variables)) for row in rows}) == 3
    for row, network in zip(rows, [A, reseeded, reweighed], strict=True):
        assert row.weights == pytest.approx(network.weights)
    first, second, third = trained(trainer, [B, A, A])[:3]
    assert bits(second) == bits(third) == bits(rows[0])
    assert bits(first) != bits(second)


# Starting again


@pytest.mark.parametrize("number", [1, 2])
def test_fewer_networks_than_there_is_room_for(number):
    """The last one is trained several times."""
    trainer = many("linear", 3)
    rows = trained(trainer, NETWORKS[:number])
    assert len(rows) == trainer.parallel >= 3
    for row in rows[number:]:
        assert bits(row) == bits(rows[number - 1])
    whole = trained(trainer, NETWORKS[:3])
    assert bits(rows[:number]) == bits(whole[:number])


def test_no_or_too_many_networks_are_refused():
    trainer = many("linear", 3)
    for networks in ([], [A] * (trainer.parallel + 1)):
        with pytest.raises(AssertionError, match=f"{len(networks)} networks for \\d"):
            trainer.start(networks)


def test_nothing_is_left_over_from_earlier_networks():
    used, new = many("linear", 2), fresh("linear", 2)
    trained(used, [C, B])
    used.load([alone("linear", A).variables])
    go(used, (3,))
    used.start([A, B])
    new.start([A, B])
    assert bits(used.carry) == bits(new.carry)
    assert bits(results(used)) == bits(results(new))
    assert bits(used.carry) == bits(new.carry)


@pytest.mark.parametrize("lengths", [[1] * STEPS, [3, 6, 1]], ids=str)
def test_the_chunks_do_not_change_a_bit(lengths):
    trainer = many("linear", 2)
    trainer._chunk = STEPS
    expected = trained(trainer, [A, B])
    trainer.start([A, B])
    for epoch in (1, 2):
        chunks, ends = iter([*lengths, STEPS]), []
        trainer._chunk = next(chunks)
        for progress in trainer.epoch(epoch):
            trainer._chunk = next(chunks)
            ends.append(progress.step)
        assert ends == np.cumsum(lengths).tolist()
    assert bits(trainer.variables) == bits(stacked([r.variables for r in expected]))
    assert progress.objectives == [row.objectives for row in expected]


def test_one_compilation_serves_a_whole_search(caplog):
    """Making the trainer is three programs. After the first networks, whose small
    arrays are programs of their own, others compile nothing at all. (Lowering is logged
    as "Compiling"; compilation itself goes on in other threads.)"""

    def compiled():
        return [r for r in caplog.messages if r.startswith("Compiling ")]

    with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
        trainer = fresh("linear", 2)
        variables = [row.variables for row in trained(trainer, [A, B])]
        trainer.load(variables)
        for name in ("init", "steps", "evaluate"):
            assert sum(f"jit({name})" in line for line in compiled()) == 1, name
        caplog.clear()
        for networks in ([C, A], [B]):
            trainer.start(networks)
            trainer.load(variables[: len(networks)])
            trainer._chunk = len(networks)  # other lengths than before
            results(trainer)
        assert compiled() == []


# A network that diverges


def test_a_diverging_network_leaves_the_others_alone():
    trainer, bad = many("linear", 3), Network(1, (1e38, 0.0))
    expected = trained(trainer, [A, B, C])
    first, lost, third = trained(trainer, [A, bad, C])[:3]  # raises nothing
    assert bits([first, third]) == bits([expected[0], expected[2]])
    assert np.isfinite(first.objectives + third.objectives).all()
    assert np.isnan(lost.objectives).all()
    assert set(lost.scores) == set(train.SPLITS)
    for scores in lost.scores.values():
        # Cause: the accuracy was that of class 0, the first NaN.
        assert np.isnan(scores).all()
    assert bits(trained(trainer, [A, B, C])) == bits(expected)


# Networks that go on from others


def test_load_gives_parameters_and_statistics_to_a_new_optimizer():
    trainer = many("normalised", 2)
    given = [alone("normalised", network).variables for network in (A, B)]
    trained(trainer, [C, C])
    trainer.start([B, C])
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
    # All but the variables and the masks is new.
    new = optax.tree.set(trainer.carry.opt_state, mask=before)
    assert bits((new, trainer.carry[3:])) == bits(start[2:])
    by_hand = single("normalised", B)
    by_hand.carry = by_hand.carry._replace(
        params={"params": jax.device_put(given[0]["params"])},
        model_state={"batch_stats": jax.device_put(given[0]["batch_stats"])},
    )
    go(trainer, (3,))
    go(by_hand, (3,))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-4, atol=1e-5),
        trainer.variables,
        by_hand.variables,
    )


def test_load_for_fewer_networks():
    trainer = many("linear", 3)
    trainer.start([A, B])
    trainer.load([alone("linear", network).variables for network in (A, B)])
    rows = [bits(row_of(trainer.params, row)) for row in range(3)]
    assert rows[1] == rows[2] != rows[0]


@pytest.mark.parametrize(("rate", "stays"), [(1e-4, True), (0.01, False)])
def test_zeros_stay_where_steps_are_below_the_threshold(rate, stays):
    """The masks are new; but from 0, no such step leads beyond the threshold."""
    trainer = fresh("linear", 2, learning_rate=rate)
    trainer.start([A, B])
    variables = jax.tree.map(np.array, trainer.variables)
    rows = [row_of(variables, row) for row in range(2)]
    for number, row in enumerate(rows):
        row["params"]["Dense_0"]["kernel"][number::2] = 0
    trainer.load(rows)
    go(trainer)
    for number, kernel in enumerate(trainer.params["params"]["Dense_0"]["kernel"]):
        zeros = np.asarray(kernel[number::2]) == 0
        assert zeros.all() == stays
        assert (np.asarray(kernel[1 - number :: 2]) != 0).mean() > 0.5
