"""Attainment of several fronts, against its definition."""

import numpy as np
import pytest

from bopt.fronts import Front, Point, attainment


def fronts(number, seed, size=6):
    rng = np.random.default_rng(seed)
    return [
        Front(
            Point((), objectives)
            for objectives in rng.integers(0, 9, (size, 2)).tolist()
        )
        for _ in range(number)
    ]


def attains(front, place):
    return any(
        np.all(np.array(point.objectives) <= place)
        for point in front
        if np.isfinite(point.objectives).all()
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("number", [1, 3, 4])
def test_it_is_the_region_that_a_share_of_the_fronts_attain(number, share):
    for seed in range(5):
        made = fronts(number, seed)
        found = attainment(made, share)
        assert list(found.nondominated()) == list(found)
        for place in np.ndindex(10, 10):
            times = sum(attains(front, place) for front in made)
            expected = times >= max(1, np.ceil(share * number))
            assert attains(found, place) == expected, (place, times)


def test_diverged_and_empty_fronts_attain_nothing():
    whole = fronts(2, 0)
    nan = Front([Point((), (np.nan, 1.0))])
    for lost in (nan, Front()):
        assert attainment([*whole, lost], 1) == Front()
        two_thirds = attainment([*whole, lost], 2 / 3)
        assert list(two_thirds) == list(attainment(whole, 1))


def test_columns_to_maximize():
    made = [
        Front(Point(metrics={"acc": a, "left": n}) for a, n in pairs)
        for pairs in ([(0.9, 100), (0.8, 10)], [(0.85, 50), (0.7, 5)])
    ]
    found = attainment(made, 1, ["acc", "left"], maximize=["acc"])
    assert found.column("acc").tolist() == [0.85, 0.8, 0.7]
    assert found.column("left").tolist() == [100, 50, 10]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attainment([]), "0 fronts and share=0.5; expected at least 1 front"),
        (lambda: attainment([Front()], 1.5), "share=1.5; expected"),
        (lambda: attainment([Front()], columns=["a"]), "expected two columns"),
        (
            lambda: attainment([Front()], columns=["a", "b"], maximize=["c"]),
            r"maximize=\('c',\); expected two columns",
        ),
        (
            lambda: attainment(fronts(1, 0), columns=["a", "objective_0"]),
            "no column 'a'",
        ),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
