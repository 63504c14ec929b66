"""The continuation: its contract, its walks, and that it traces a front."""

import dataclasses
import math

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies

from bopt.fronts import Front, Point, continuation

KEY = jax.random.key(0)
options = strategies.tuples(
    strategies.integers(1, 12),
    strategies.sampled_from([(3e-5, 1.5e-4, 3e-3), (0.01, 0.3, 0.99), (0.1, 0.2, 0.3)]),
)


def made(number, limits):
    smallest, start, largest = limits
    return continuation(number, start, smallest, largest)


def point(w1, f0=1.0, f1=2.0, **fields):
    return Point((1 - w1, w1), (f0, f1), **fields)


def w1_of(weights):
    return [w1 for _, w1 in weights]


def drive(search, train=lambda weights, warm: (1.0, 2.0)):
    """Trains until the search ends; `train` gets the weights, and those of the warm
    start or None.

    Returns:
      The front; the batches, of which the last is empty.
    """
    points, batches = [], []
    for _ in range(100):
        batches.append(search(Front(points), KEY))
        weights, _, warm = batches[-1]
        if not weights:
            return Front(points), batches
        warm = warm or [None] * len(weights)
        trained = [train(*pair) for pair in zip(weights, warm, strict=True)]
        points += [Point(w, o) for w, o in zip(weights, trained, strict=True)]
    raise AssertionError("The search does not end.")


# The contract


@hypothesis.given(options, strategies.data())
def test_points_decide_alone(given, data):
    """Not their order, their other columns, the key, or earlier calls; and the search
    continues from any points."""
    search = made(*given)
    walked, _ = drive(search)
    rows = data.draw(
        strategies.lists(strategies.sampled_from(walked.points), unique=True)
    )
    rows = [
        dataclasses.replace(
            row, objectives=(data.draw(strategies.sampled_from([0.5, math.nan])), 2)
        )
        for row in rows
    ]
    batch = search(Front(rows), KEY)
    assert search(Front(rows), jax.random.key(1)) == batch
    assert made(*given)(Front(rows), KEY) == batch
    assert search(Front(data.draw(strategies.permutations(rows))), KEY) == batch
    assert search(Front.from_csv(Front(rows).to_csv()), KEY) == batch
    assert search(Front.from_json(Front(rows).to_json()), KEY) == batch
    others = [
        Point(row.weights, row.objectives, "other", level=3, seconds=2.0)
        for row in rows
    ]
    assert search(Front(others), KEY) == batch
    tried = {row.weights for row in rows}
    assert not tried & set(batch.weights)
    assert {*batch.weights} <= {row.weights for row in walked}
    assert tried >= {*batch.warm_starts}
    assert bool(batch.weights) != bool(batch.reason)


@hypothesis.given(options)
def test_all_weights_are_trained_from_their_neighbours(given):
    number, (smallest, start, largest) = given
    front, (first, *batches, last) = drive(made(*given))
    assert first == ((((1 - start), start),), "", ())
    assert last == ((), "both walks have come to their ends", ())
    assert len(front) == number == len({p.weights for p in front})
    for w0, w1 in (p.weights for p in front):
        assert (type(w0), type(w1)) == (float, float)
        assert w0 + w1 == pytest.approx(1, rel=1e-12)
        assert smallest * 0.999 <= w1 <= largest * 1.001
    ordered = sorted(w1_of(p.weights for p in front))
    middle = ordered.index(start)
    # One more above the start than below, if they are not as many.
    assert middle == (number - 1) // 2 and number - 1 - middle == number // 2
    for level, (weights, _, warm_starts) in enumerate(batches, 1):
        expected = [(middle + level, middle + level - 1)] * (level <= number // 2)
        if level <= middle:
            expected.append((middle - level, middle - level + 1))
        found = zip(w1_of(weights), w1_of(warm_starts), strict=True)
        assert [*found] == [(ordered[new], ordered[old]) for new, old in expected]


@pytest.mark.parametrize("number", [2, 3, 6, 7, 20])
def test_a_walk_is_spaced_geometrically_up_to_its_end(number):
    front, _ = drive(continuation(number))
    w1 = sorted(w1_of(p.weights for p in front))
    above, below = number // 2, (number - 1) // 2
    expected = 1.5e-4 * np.concatenate(
        [
            (3e-5 / 1.5e-4) ** (np.arange(below, 0, -1) / max(below, 1)),
            (3e-3 / 1.5e-4) ** (np.arange(above + 1) / above),
        ]
    )
    np.testing.assert_allclose(w1, expected, rtol=1e-12)
    assert w1[-1] == pytest.approx(3e-3)
    assert number == 2 or w1[0] == pytest.approx(3e-5)


# Trainings that diverge, several seeds, points that are missing


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("objective", [0, 1])
@pytest.mark.parametrize("above", [False, True])
def test_a_walk_ends_where_a_training_diverged(above, objective, value):
    """And the other continues; nothing starts from the one that diverged."""
    search = continuation(9, start=0.4, smallest=0.1, largest=0.9)
    ordered = sorted(w1_of(p.weights for p in drive(search)[0]))
    bad = ordered[6 if above else 2]  # second of four in its walk

    def train(weights, warm):
        assert warm is None or warm[1] != bad
        values = [1.0, 2.0]
        values[objective] = value if weights[1] == bad else 1.0
        return tuple(values)

    front, (*_, last) = drive(search, train)
    left = ordered[:7] if above else ordered[2:]
    assert sorted(w1_of(p.weights for p in front)) == left
    assert last == ((), "both walks have come to their ends", ())


def test_if_the_first_diverged_so_did_the_search():
    search = continuation(5)
    front, (_, last) = drive(search, lambda *_: (math.nan, 1.0))
    assert len(front) == 1
    assert last == ((), "both walks have come to their ends", ())


@pytest.mark.parametrize("second", [1.5, math.nan])
def test_several_seeds_count_as_one(second):
    """And one of them that diverged ends the walk."""
    search = continuation(4, 0.2, 0.1, 0.4)
    first = [point(0.2, seed=0), point(0.2, 3.0, seed=1)]
    batch = search(Front(first), KEY)
    assert batch == search(Front(first[:1]), KEY)
    assert len(batch.weights) == 2
    above, below = batch.weights
    tried = [
        Point(weights, (1.0, value), seed=seed)
        for weights, values in ((above, (1.0, second)), (below, (1.0, 2.0)))
        for seed, value in enumerate(values)
    ]
    following = search(Front([*first, *tried]), KEY)
    assert following.warm_starts == ((above,) if not math.isnan(second) else ())


def test_the_order_of_trainings_with_other_epochs_does_not_matter():
    """Cause: the last of two means for the same weights decided."""
    search = continuation(2, 0.2, 0.1, 0.4)
    points = [point(0.2, math.nan, epochs=1), point(0.2, epochs=2)]
    assert not search(Front(points), KEY).weights
    assert not search(Front(points[::-1]), KEY).weights


def test_what_is_missing_is_trained_first():
    search = continuation(9, 0.2, 0.1, 0.4)
    front, batches = drive(search)
    (middle,) = batches[0].weights
    without = Front(p for p in front if p.weights != middle)
    assert search(without, KEY) == batches[0]
    for batch in batches[1:-1]:
        for missing, warm in zip(batch.weights, batch.warm_starts, strict=True):
            rest = Front(p for p in front if p.weights != missing)
            assert search(rest, KEY) == ((missing,), "", (warm,))


def test_other_points_are_no_part_of_a_walk():
    search = continuation(5, 0.2, 0.1, 0.4)
    others = [point(0.3), point(0.15, math.nan), Point((1.0, 0.0), (0.0, 9.0))]
    assert search(Front(others), KEY) == search(Front(), KEY)
    with_start = Front([*others, point(0.2)])
    assert search(with_start, KEY) == search(Front([point(0.2)]), KEY)


# Errors


@pytest.mark.parametrize(
    "wrong",
    [
        {"number": 0},
        {"number": -1},
        {"smallest": 0.0},
        {"smallest": -1e-3},
        {"smallest": 0.2},
        {"smallest": 0.3},
        {"largest": 0.2},
        {"largest": 0.1},
        {"largest": 1.0},
        {"start": math.nan},
        {"smallest": math.nan},
        {"largest": math.nan},
    ],
    ids=str,
)
def test_limits_out_of_order(wrong):
    given = {"number": 3, "start": 0.2, "smallest": 0.1, "largest": 0.4, **wrong}
    (name, value), *_ = wrong.items()
    message = rf"continuation got .*{name}={value}.*; expected number >= 1 and 0 < sm"
    with pytest.raises(ValueError, match=message):
        continuation(**given)


# A convex problem whose front is known


HESSIANS = np.array([[4.0, 1.0], [1.0, 2.0]])  # diagonals
MINIMA = np.array([[1.0, -1.0], [-2.0, 1.0]])


def objectives_at(x):
    return tuple((0.5 * (HESSIANS * (x - MINIMA) ** 2).sum(1)).tolist())


def solution(weights):
    """Where the weighted sum is least: its gradient is zero."""
    scaled = np.array(weights)[:, None] * HESSIANS
    return (scaled * MINIMA).sum(0) / scaled.sum(0)


def descended(x, weights, steps):
    for _ in range(steps):
        x = x - 0.4 * np.array(weights) @ (HESSIANS * (x - MINIMA))
    return x


@pytest.mark.parametrize("number", [20, 21])
def test_a_few_steps_from_each_neighbour_trace_the_front(number):
    """Five steps a point from its neighbour's; from scratch, five steps end far off."""
    networks, scratch = {}, np.array([200.0, 200.0])

    def train(weights, warm):
        steps = 100 if warm is None else 5
        x = descended(scratch if warm is None else networks[warm], weights, steps)
        networks[weights] = x
        return objectives_at(x)

    front, _ = drive(continuation(number, 0.3, 0.01, 0.95), train)
    exact = [objectives_at(solution(p.weights)) for p in front]
    found = [p.objectives for p in front]
    largest = np.max(exact, axis=0)
    np.testing.assert_allclose(found / largest, exact / largest, atol=0.03)
    cold = [objectives_at(descended(scratch, p.weights, 5)) for p in front]
    far_off = np.max(cold / largest - exact / largest, axis=1)
    assert np.median(far_off) > 1
    # Along the front: ever larger objective 0, ever smaller objective 1.
    assert len(front.nondominated()) == number
    by_w1 = sorted(front, key=lambda p: p.weights[1])
    assert by_w1 == list(front.nondominated())
    assert (by_w1[0].weights[1], by_w1[-1].weights[1]) == pytest.approx((0.01, 0.95))
