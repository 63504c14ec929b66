"""The contract of all searches, their ends, and wrong input."""

import inspect
import math

import hypothesis
import jax
import pytest
import trainings
from hypothesis import strategies
from trainings import KEY, SEARCHES, front_of, key_of, points_of

from bopt import fronts
from bopt.fronts import Batch, Front, Point

WIDE = ((1.0, 0.0), (0.1, 0.9))
STOCHASTIC = fronts.stochastic_dichotomic(WIDE, 0.1)
BISECTING = fronts.bisection_dichotomic(WIDE, 0.1)
every_search = pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)


# The contract, on made up fronts


def test_every_search_is_in_the_table():
    built = {build for build, *_ in trainings.BUILT.values()}
    modules = "bopt.fronts.searches", "bopt.fronts.dichotomic"
    public = {
        value
        for value in vars(fronts).values()
        if inspect.isfunction(value) and value.__module__ in modules
    }
    assert built == public


# With the starts of all searches. Few objectives, so that points tie; eighths, so that
# means over seeds are exact.
WEIGHTS = (0.0, 1e-5, 4e-5, 3e-4, 0.003, 0.0501, 0.1, 0.4, 1.0)
objective = strategies.integers(0, 12).map(lambda n: n / 8) | strategies.just(math.nan)
fronts_of_all_kinds = strategies.builds(
    lambda weights, rows: front_of(
        *((w1, *row) for w1, row in zip(weights, rows, strict=False))
    ),
    strategies.permutations(WEIGHTS),
    strategies.lists(strategies.tuples(objective, objective), min_size=5, max_size=9),
)
made_up = hypothesis.given(fronts_of_all_kinds, strategies.sampled_from([*SEARCHES]))


@made_up
def test_points_and_key_decide_alone(front, name):
    search = SEARCHES[name]
    batch = search(front, KEY)
    assert search(front, KEY) == batch
    assert search(Front(reversed(front.points)), KEY) == batch
    assert search(Front.from_csv(front.to_csv()), KEY) == batch
    assert search(Front.from_json(front.to_json()), KEY) == batch


@made_up
def test_weights_are_new_and_within_the_starts(front, name):
    batch = SEARCHES[name](front, KEY)
    assert bool(batch.weights) != bool(batch.reason)
    tried = [point.weights for point in front]
    (_, low), (_, high) = trainings.STARTS.get(name, ((1.0, 0.0), (0.9, 0.1)))
    for n, (w0, w1) in enumerate(batch.weights):
        assert (type(w0), type(w1)) == (float, float)
        assert w0 + w1 == pytest.approx(1, rel=1e-12)
        assert low <= w1 <= high
        for _, other in [*tried, *batch.weights[:n]]:
            assert w1 != pytest.approx(other, rel=1e-6, abs=0)


@made_up
def test_seeds_count_as_one_point(front, name):
    seeds = [
        Point(point.weights, (f0 + error, f1 - error), seed=seed)
        for seed, error in enumerate((0.25, -0.25))
        for point in front
        for f0, f1 in [point.objectives]
    ]
    search = SEARCHES[name]
    assert search(Front(seeds), KEY) == search(front, KEY)


@every_search
@pytest.mark.parametrize("name", ["hyperbola", "overfitting", "diverging", "edges"])
def test_a_batch_may_come_in_parts(search, name):
    train = trainings.TRAININGS[name]
    points = []
    for level in range(7):
        batch = search(Front(points), key_of(level))
        middle = len(batch.weights) // 2
        first, second = (
            points_of(train, Batch(part))
            for part in (batch.weights[:middle], batch.weights[middle:])
        )
        # The parts in either order lead on to the same; so it is when one is lost.
        following = search(Front([*points, *first, *second]), key_of(level + 1))
        assert following == search(Front([*second, *points, *first]), key_of(level + 1))
        lost = search(Front([*points, *first]), key_of(level))
        assert not {w for w in lost.weights if w in {p.weights for p in first}}
        if level == 0:
            assert lost.weights == batch.weights[middle:]
        points += [*first, *second]


@every_search
def test_missing_starts_come_first(search):
    first = search(Front(), KEY).weights
    assert first[0] == (1.0, 0.0) and len(first) >= 2
    for start in first:
        present = [*(weights for weights in first if weights != start), (0.88, 0.12)]
        others = [Point(w, (float(n), -float(n))) for n, w in enumerate(present)]
        assert search(Front(others), KEY).weights == (start,)
        rounded = Point((round(start[0], 11), round(start[1], 11)), (9.0, -9.0))
        assert start not in search(Front([*others, rounded]), KEY).weights


@every_search
def test_other_numbers_of_objectives_are_refused(search):
    point = Point((0.5, 0.5, 0.0), (1.0, 2.0, 3.0), "third")
    message = "point 'third', of 3 weights and 3 objectives; expected two of each"
    with pytest.raises(ValueError, match=message):
        search(Front([point]), KEY)


@every_search
def test_x64_changes_nothing(search):
    front = front_of((0.0, 0.0, 99.0), (0.003, 2.0, 9.0), (0.1, 3.0, 0.0), (1, 9, -1))
    front = front.merge(front_of((0.02, 9.0, 9.0), (0.0606, 9.0, 9.0)))
    batch = search(front, KEY)
    with jax.enable_x64(True):
        assert search(front, KEY) == batch


# How all but the grid end, and wrong input


@pytest.mark.parametrize(
    "search, rows, reason",
    [
        (
            fronts.dichotomic(WIDE),
            [(0.0, 1.0, 1.0), (0.9, 1.0, 1.0)],
            r"single point, of weights \(1.0, 0.0\), is left: the others diverged, or "
            "are better in no objective",
        ),
        (
            STOCHASTIC,
            [(0.0, 2.0, 2.0), (0.5, 1.0, 1.0), (0.9, math.nan, 0.0)],
            r"single point, of weights \(0.5, 0.5\)",
        ),
        *(
            (search, [(0.0, math.nan, 1.0), (0.9, math.nan, math.nan)], "all trainings")
            for search in (
                fronts.dichotomic(WIDE),
                STOCHASTIC,
                BISECTING,
                fronts.bisection(WIDE),
            )
        ),
        (
            fronts.dichotomic(WIDE),
            [(0.0, 0.0, 1.0), (0.5, 9.0, 9.0), (0.9, 1.0, 0.0)],
            "no segment between neighbours has a new normal$",
        ),
    ],
)
def test_reasons(search, rows, reason):
    batch = search(front_of(*rows), KEY)
    assert not batch.weights
    with pytest.raises(RuntimeError, match=reason):
        raise RuntimeError(batch.reason)


SEVERAL = [
    fronts.bisection,
    fronts.dichotomic,
    fronts.stochastic_dichotomic,
    fronts.bisection_dichotomic,
]


@pytest.mark.parametrize("build", [fronts.grid, *SEVERAL])
@pytest.mark.parametrize(
    "weights, message",
    [
        ([(1.0, 0.0), (0.9, 0.2)], r"\(0.9, 0.2\); expected \(w0, w1\), neither neg"),
        ([(1.0, 0.0), (1.1, -0.1)], r"\(1.1, -0.1\); expected \(w0, w1\), neither neg"),
        ([(1.0, 0.0), (math.nan, 0.1)], r"\(nan, 0.1\); expected \(w0, w1\)"),
        ([(1.0, 0.0), (0.5, 0.3, 0.2)], r"\(0.5, 0.3, 0.2\); expected \(w0, w1\)"),
        ([(0.9, 0.1), (0.9, 0.1)], r"\(0.9, 0.1\) twice; leave one out"),
    ],
)
def test_weights_off_the_simplex_or_there_twice_are_refused(build, weights, message):
    with pytest.raises(ValueError, match=f"{build.__name__} got the.*{message}"):
        build(weights)


@pytest.mark.parametrize("build", SEVERAL)
@pytest.mark.parametrize("number", [0, 1, 3])
def test_two_starts_are_needed(build, number):
    with pytest.raises(ValueError, match=f"{build.__name__} got {number} starts; exp"):
        build(fronts.geometric()[:number])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: fronts.grid([]), "grid got no weights; expected at least one pair"),
        (lambda: fronts.geometric(1), "number=1; expected at least 2 weights"),
        (lambda: fronts.geometric(3, 0.0, 0.1), "smallest=0.0, largest=0.1; expected"),
        (lambda: fronts.geometric(3, 0.1, 0.1), "expected 0 < smallest < largest < 1"),
        (lambda: fronts.geometric(3, 0.1, 1.0), "expected 0 < smallest < largest < 1"),
        (
            lambda: fronts.bisection(spacing="linear"),  # pyright: ignore
            "spacing='linear'; expected 'geometric' or 'arithmetic'",
        ),
        (lambda: fronts.bisection(smallest=0.0), "smallest=0.0; expected 0 < smal"),
        (lambda: fronts.bisection(smallest=0.003), "smallest=0.003; .* < 0.003, so"),
        (
            lambda: fronts.stochastic_dichotomic(smallest=0.2),
            "stochastic_dichotomic got smallest=0.2; expected 0 < smallest < 0.1",
        ),
        (
            lambda: fronts.stochastic_dichotomic(draws=0),
            "draws=0; expected at least 1. Without random weights, this is dichotomic",
        ),
        (
            lambda: fronts.bisection_dichotomic(smallest=0.0),
            "bisection_dichotomic got smallest=0.0; expected 0 < smallest < 0.1",
        ),
        (
            lambda: fronts.bisection_dichotomic(failures=0),
            "failures=0; expected at least 1. Without bisections, this is dichotomic",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
