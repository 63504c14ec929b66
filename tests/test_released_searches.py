"""The searches of the released code: against a transcription of it, and their ends."""

import math
import random

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trainings
from hypothesis import strategies
from scipy.spatial import Delaunay, QhullError
from trainings import KEY, TRAININGS, drive, front_of, w1_of

from bopt import fronts
from bopt.fronts import Front, Point, released

RULES = ("bisection", "dichotomic", "stochastic")
every_rule = pytest.mark.parametrize("rule", RULES)
LEVELS = {"bisection": 5, "dichotomic": 15, "stochastic": 15}


def uniforms(seed):
    key = jax.random.key(seed)
    for n in range(100):
        yield float(jax.random.uniform(jax.random.fold_in(key, n), (), jnp.float32))


# A transcription, which trains in a loop and knows no front


class Undefined(Exception):
    """The code has no weight, or a negative one, between two candidates."""


def remaining(values):
    """Mask of the candidates that a level leaves."""
    values = np.array(values)
    keep = np.full(len(values), True)
    first, last = values[0], values[-1]
    corners = [first, last, first * (1, 100), last * (100, 1), first * 100]
    inside = np.full(len(values), False)
    if len(values) > 2:
        inside[1:-1] = Delaunay(np.array(corners)).find_simplex(values[1:-1]) >= 0
    for i in range(len(values)):
        if keep[i]:
            keep[keep] = (values[keep] < values[i]).any(axis=1)
            keep[i] = True
        if inside[i]:
            keep[i] = False
    return keep


def transcribed(rule, train, draws):
    """The weights of each level, the starts first; all in the order of training."""
    order = [np.array([1.0, 0.0]), np.array([0.9, 0.1])]
    entries = [(w, np.array(train(tuple(w)))) for w in order]
    levels, agreeing = [list(order)], 0
    for _ in range(LEVELS[rule]):
        entries = sorted(entries, key=lambda entry: entry[1][1])
        levels.append([])
        place = 1
        while place < len(entries):
            (w_left, f_left), (w_right, f_right) = entries[place - 1 : place + 1]
            step = f_right - f_left
            length = np.abs(step).sum()
            if rule == "bisection":
                w = (w_left + w_right) / 2
            elif rule == "stochastic" and not (length > 0 and agreeing <= 2):
                low, high = 0.9 * w_right[0], w_right[0]
                w = np.array([low + (high - low) * next(draws), 0.0])
                w[1] = 1 - w[0]
            elif length > 0:
                w = np.array([step[1], -step[0]]) / length
            else:
                raise Undefined
            if w.min() < 0:
                raise Undefined
            order.append(w)
            last = [np.round(w[1], 4) for w in order[-3:]]
            agreeing = 0
            if last[-1] == last[-2]:
                agreeing = 3 if last[-3] == last[-2] else 1
            entries.insert(place, (w, np.array(train(tuple(w)))))
            levels[-1].append(w)
            place += 2
        if len(order) >= 20:
            break
        mask = remaining([f for _, f in entries])
        entries = [entry for entry, keep in zip(entries, mask, strict=True) if keep]
    return levels


def new(levels):
    """The levels without repeated weights, and without levels that are empty then."""
    known, found = set(), []
    for level in levels:
        own = {f"{w[1]:.9e}": tuple(w.tolist()) for w in reversed(level)}
        fresh = [own[text] for text in reversed(own) if text not in known]
        known.update(own)
        found += [fresh] if fresh else []
    return found


def check(rule, train, seed=0):
    expected = new(transcribed(rule, train, uniforms(seed)))
    front, batches = drive(released(rule, seed=seed), train)
    found = [batch.weights for batch in batches[:-1]]
    assert [len(level) for level in found] == [len(level) for level in expected]
    for own, level in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, level, rtol=1e-12, atol=1e-15)
    return front, batches


def smooth(weights):
    """Directions with fixed weights: a smooth front whose points are at no normal."""
    w0, w1 = weights
    share = (w1 / (w0 + 1e-300)) ** 0.5
    return 0.04 + 0.3 * share / (1 + share), 5000.0 / (1 + 40 * share) ** 1.5


def noisy(size, seed=0):
    def train(weights):
        factors = np.exp(size * trainings.random(weights, seed).standard_normal(2))
        return tuple((factors * smooth(weights)).tolist())

    return train


CASES = {
    "smooth": smooth,
    "noise": noisy(0.1),
    "much noise": noisy(1.0),
    **{name: TRAININGS[name] for name in ("hyperbola", "edges", "concave")},
    **{name: TRAININGS[name] for name in ("dying", "undertrained", "overfitting")},
    "two points": TRAININGS["two points"],
}


@every_rule
@pytest.mark.parametrize("name", CASES)
def test_all_levels_are_those_of_the_released_code(rule, name):
    for seed in (0, 1):
        check(rule, CASES[name], seed)


def test_all_ends_of_the_released_code_are_among_the_cases():
    ends = {
        drive(released(rule), CASES[n])[1][-1].reason for n in CASES for rule in RULES
    }
    single = {end for end in ends if end.startswith("a single candidate, of weights (")}
    assert single and ends - single == {
        "no level begins after 20 trainings",
        "all 5 levels are done",
        "all 15 levels are done",
    }


def coarse(seed, number):
    """Few values, so that candidates tie, dominate others, or lie on one line."""

    def train(weights):
        if weights[1] in (0.0, 0.1):
            return (0.0, 1e3 * number) if weights[1] == 0 else (0.1 * number, 0.0)
        digits = random.Random(f"{seed} {weights[1]:.9e}")
        return digits.randrange(number) / 10, 1e3 * digits.randrange(number)

    return train


@hypothesis.given(
    strategies.sampled_from(RULES), strategies.integers(0), strategies.integers(2, 9)
)
@pytest.mark.slow
def test_ties_and_dominated_points(rule, seed, number):
    try:
        check(rule, coarse(seed, number), seed % 2**32)
    except (Undefined, QhullError):
        hypothesis.reject()


# Points alone decide


@every_rule
def test_a_level_may_come_in_parts(rule):
    _, batches = check(rule, smooth)
    points = []
    for batch in batches[:-1]:
        for n, own in enumerate(batch.weights):
            for order in (points, points[::-1]):
                found = released(rule)(Front(order), jax.random.key(n))
                assert found.weights == batch.weights[n:]
            points.append(Point(own, smooth(own)))
    text = Front(points).to_csv()
    assert released(rule)(Front.from_csv(text), KEY) == batches[-1]


def test_random_weights_are_those_of_the_seed():
    """Neither the key nor x64 changes them."""
    front, _ = check("stochastic", noisy(0.1))
    assert front != check("stochastic", noisy(0.1), 5)[0]
    before = Front(front.points[:-3])
    batch = released("stochastic")(before, KEY)
    assert released("stochastic")(before, jax.random.key(9)) == batch
    with jax.enable_x64(True):
        assert released("stochastic")(before, KEY) == batch


def test_a_random_weight_is_within_a_tenth_of_the_accurate_neighbour():
    """Cause: twice the same normal, since the trainings find nothing between."""
    train = trainings.of_points((0.0, 99.0), (1.0, 0.0))

    def between(weights):
        return train(weights) if weights[1] in (0.0, 0.1) else (1.5, 50.0)

    drawn = []
    for seed in range(40):
        _, batches = drive(released("stochastic", seed=seed), between)
        assert [len(batch.weights) for batch in batches[:3]] == [2, 1, 1]
        assert w1_of(batches[1]) == [0.01]
        drawn += w1_of(batches[2])
    assert 0 <= min(drawn) < 0.02 and 0.08 < max(drawn) <= 0.1


@every_rule
def test_seeds_count_by_their_mean(rule):
    front = front_of((0.0, 0.0, 99.0), (0.1, 1.0, 0.0), (0.05, 0.25, 32.0))
    seeds = [
        Point(point.weights, (f0 + error, f1 - error), seed=seed)
        for seed, error in enumerate((0.25, -0.25))
        for point in front
        for f0, f1 in [point.objectives]
    ]
    assert released(rule)(Front(seeds), KEY) == released(rule)(front, KEY)


@every_rule
def test_missing_starts_come_first(rule):
    search, starts = released(rule), ((1.0, 0.0), (0.9, 0.1))
    assert search(Front(), KEY).weights == starts
    assert search(Front([Point(starts[0], (0.0, 9.0))]), KEY).weights == starts[1:]
    rounded = Point((0.9 + 1e-9, 0.1 - 1e-9), (9.0, 0.0))
    assert starts[1] not in search(Front([rounded, Point(starts[0], (0, 9))]), KEY)[0]


# Where the code would fail


@pytest.mark.parametrize("rule", ["dichotomic", "stochastic"])
@pytest.mark.parametrize("better", [(1.0, 0.0), (0.9, 0.1)])
def test_a_start_that_is_better_in_both_objectives_ends_the_search(rule, better):
    def train(weights):
        return (0.5, 0.5) if weights == better else (1.0, 1.0)

    with pytest.raises(Undefined):
        transcribed(rule, train, uniforms(0))
    _, (_, last) = drive(released(rule), train)
    assert last.reason.startswith(f"a single candidate, of weights {better}, is left")


def test_two_equal_starts():
    def train(weights):
        return (1.0, 1.0) if weights[1] in (0.0, 0.1) else (0.5, 1.5)

    with pytest.raises(Undefined):
        transcribed("dichotomic", train, uniforms(0))
    _, batches = drive(released("dichotomic"), train)
    assert len(batches) == 2 and "single candidate" in batches[-1].reason
    front, _ = check("stochastic", train)
    assert 0.1 < front[2].weights[1] < 0.19


@every_rule
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_trainings_that_diverged_leave_the_list(rule, value):
    front = front_of((0.0, 0.0, 99.0), (0.1, 1.0, 0.0))
    for w1 in (0.05, 0.01):
        front = front.merge(front_of((w1, value, 30.0)))
    batch = released(rule)(front, KEY)
    expected = {"stochastic": r"", "dichotomic": "all 15 levels", "bisection": "all 5"}
    assert batch.reason.startswith(expected[rule])
    assert bool(batch.weights) == (rule == "stochastic")
    one = front_of((0.0, value, 9.0), (0.1, 1.0, 1.0))
    assert (
        "a single candidate, of weights (0.9, 0.1)" in released(rule)(one, KEY).reason
    )
    none = front_of((0.0, value, 9.0), (0.1, 1.0, value))
    assert released(rule)(none, KEY).reason == "all trainings diverged"


def test_no_level_begins_after_a_number_of_trainings():
    for most, trainings_done in ((2, 3), (3, 3), (4, 5), (6, 9), (20, 33)):
        front, batches = drive(released("bisection", most), smooth)
        assert len(front) == trainings_done
        assert batches[-1].reason == f"no level begins after {most} trainings"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "grid"}, "rule='grid'; expected 'bisection', 'dichotomic' or 'stoch"),
        ({"rule": "bisection", "most": 1}, "most=1; expected at least 2, the starts"),
    ],
)
def test_wrong_input_is_named(options, message):
    with pytest.raises(ValueError, match=f"released got {message}"):
        fronts.released(**options)
