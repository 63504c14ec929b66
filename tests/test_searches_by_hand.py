"""The weights of each search, where they can be computed by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
import trainings
from trainings import KEY, front_of, key_of, points_of, w1_of

from bopt import fronts
from bopt.fronts import Batch, Front

ARITHMETIC = fronts.bisection(((1.0, 0.0), (0.9, 0.1)), "arithmetic")
WIDE = ((1.0, 0.0), (0.1, 0.9))


# Lists of weights


def test_geometric_weights():
    weights = fronts.geometric()
    assert len(weights) == 20 and weights[0] == (1.0, 0.0)
    w1 = [w1 for _, w1 in weights[1:]]
    assert (w1[0], w1[-1]) == (3e-5, 3e-3)
    ratios = [b / a for a, b in pairwise(w1)]
    np.testing.assert_allclose(ratios, 100 ** (1 / 18), rtol=1e-12)
    assert all(sum(pair) == pytest.approx(1, rel=1e-12) for pair in weights)
    assert fronts.geometric(2, 1e-4, 1e-2) == ((1.0, 0.0), (0.99, 0.01))
    assert w1_of(Batch(fronts.geometric(3, 1e-4, 1e-2))) == [0.0, 1e-4, 1e-2]


def test_original_weights():
    w1 = [w1 for _, w1 in fronts.ORIGINAL_WEIGHTS]
    assert len(w1) == 26
    small = [digit * 10**-power for power in (5, 4, 3) for digit in (1, 3, 5, 7, 9)]
    hundredths = [0, 1, 1.5, 2, 2.5, 3, 3.5, 5, 7, 9, 10]
    expected = sorted([*small, *(n / 100 for n in hundredths)])
    np.testing.assert_allclose(sorted(w1), expected, rtol=1e-12)
    for w0, w1 in fronts.ORIGINAL_WEIGHTS:
        assert w0 == round(w0, 5) == pytest.approx(1 - w1, abs=1e-15)


def test_a_grid_is_one_batch_and_then_ends():
    search = fronts.grid(fronts.ORIGINAL_WEIGHTS)
    batch = search(Front(), KEY)
    assert batch == Batch(fronts.ORIGINAL_WEIGHTS)
    front = Front(points_of(trainings.hyperbola, batch))
    assert search(front, KEY) == Batch((), "all weights of the list have been tried")
    near = fronts.grid([(1 - 1.00001e-5, 1.00001e-5)])  # 1e-5 is another weight
    assert len(near(front, KEY).weights) == 1


# Bisection


def test_bisection_halves_arithmetically():
    front = front_of((0.0, 0.0, 9.0), (0.1, 9.0, 0.0))
    assert w1_of(ARITHMETIC(front, KEY)) == [0.05]
    front = front.merge(front_of((0.05, 3.0, 3.0)))
    assert w1_of(ARITHMETIC(front, KEY)) == pytest.approx([0.025, 0.075], rel=1e-14)


def test_bisection_halves_geometrically():
    search = fronts.bisection(((1.0, 0.0), (0.1, 0.9)), smallest=0.1)
    front = front_of((0.0, 0.0, 9.0), (0.9, 9.0, 0.0))
    assert w1_of(search(front, KEY)) == pytest.approx([0.5])  # ratios 1/9, 1, 9
    front = front.merge(front_of((0.5, 3.0, 3.0)))
    # Ratios 1/3 and 3.
    assert w1_of(search(front, KEY)) == pytest.approx([0.25, 0.75])
    mirrored = fronts.bisection(((0.9, 0.1), (0.0, 1.0)), smallest=0.1)
    front = front_of((0.1, 0.0, 9.0), (1.0, 9.0, 0.0))
    assert w1_of(mirrored(front, KEY)) == pytest.approx([0.5])


@pytest.mark.parametrize("objectives", [(9.0, 9.0), (9.0, 0.1), (math.nan, math.nan)])
def test_bisection_tries_quarters_where_half_way_fails(objectives):
    front = front_of((0.0, 0.0, 9.0), (0.1, 9.0, 0.0))
    for w1 in (0.05, 0.025, 0.075):
        assert w1_of(ARITHMETIC(front, KEY)) == pytest.approx([w1])
        front = front.merge(front_of((w1, *objectives)))
    assert ARITHMETIC(front, KEY).reason.startswith("nothing new lies half way")


def test_bisection_goes_on_before_a_point_as_dead_as_the_start():
    front = front_of((0.0, 0.0, 9.0), (0.1, 9.0, 0.0), (0.05, 9.0, 0.0))
    assert w1_of(ARITHMETIC(front, KEY)) == pytest.approx([0.025, 0.075])
    front = front.merge(front_of((0.025, 9.0, 0.0), (0.075, 9.0, 0.0)))
    assert w1_of(ARITHMETIC(front, KEY))[0] == pytest.approx(0.0125)


@pytest.mark.parametrize("start", [(3.0, 20.0), (math.nan, math.nan)])
def test_bisection_goes_on_towards_a_start_that_is_no_vertex(start):
    front = front_of((0.0, *start), (0.05, 2.0, 9.0), (0.1, 9.0, 0.0))
    assert w1_of(ARITHMETIC(front, KEY)) == pytest.approx([0.025, 0.075])
    front = front_of((0.0, 0.0, 9.0), (0.05, 2.0, 0.0), (0.1, *start))
    assert w1_of(ARITHMETIC(front, KEY)) == pytest.approx([0.025, 0.075])


@pytest.mark.parametrize("spacing", ["geometric", "arithmetic"])
def test_bisection_proposes_nothing_below_the_smallest(spacing):
    search = fronts.bisection(spacing=spacing, smallest=1e-3)
    front = front_of((0.0, 0.0, 9.0), (1.9e-3, 3.0, 3.0), (0.003, 9.0, 0.0))
    first, second = w1_of(search(front, KEY))
    expected = {"geometric": math.sqrt(1.9e-6), "arithmetic": 1.9e-3 * 3 / 4}
    assert first == pytest.approx(expected[spacing], rel=1e-3)
    assert 1.9e-3 < second < 3e-3
    front = front_of((0.0, 0.0, 9.0), (0.9e-3, 3.0, 3.0), (0.003, 9.0, 0.0))
    (w1,) = w1_of(search(front, KEY))
    assert 1e-3 < w1 < 3e-3


# Dichotomic search

THREE = front_of((0.0, 0.0, 6.0), (0.9, 4.0, 0.0), (0.3, 1.0, 2.0))


def test_dichotomic_weights_are_normals():
    batch = fronts.dichotomic(WIDE)(THREE, KEY)
    np.testing.assert_allclose(batch.weights, [(0.8, 0.2), (0.4, 0.6)])
    above = front_of((0.0, 0.0, 6.0), (0.9, 4.0, 0.0), (0.3, 2.0, 3.5))
    batch = fronts.dichotomic(WIDE)(above, KEY)
    np.testing.assert_allclose(batch.weights, [(0.6, 0.4)])


@pytest.mark.parametrize("distance, new", [(1.008, False), (1.012, True)])
def test_a_segment_is_finished_near_weights_tried(distance, new):
    w1 = 0.2 * distance / (0.8 + 0.2 * distance)  # the ratio is 0.2 / 0.8 * distance
    front = THREE.merge(front_of((w1, 9.0, 9.0)))
    expected = [0.2, 0.6] if new else [0.6]
    assert w1_of(fronts.dichotomic(WIDE)(front, KEY)) == pytest.approx(expected)


def test_a_normal_beyond_the_starts_is_none():
    search = fronts.dichotomic(((1.0, 0.0), (0.5, 0.5)))
    front = front_of((0.0, 0.0, 6.0), (0.5, 4.0, 0.0), (0.3, 1.0, 2.0))
    assert w1_of(search(front, KEY)) == pytest.approx([0.2])


def test_the_same_normal_twice_is_proposed_once():
    front = front_of((0.0, 0.0, 2.003), (0.9, 2.0, 0.0), (0.3, 1.0, 1.0))
    assert len(fronts.dichotomic(WIDE)(front, KEY).weights) == 1


# Stochastic dichotomic search

STOCHASTIC = fronts.stochastic_dichotomic(WIDE, 0.1)
FAILED = front_of((0.2, 9.0, 9.0), (0.6, 9.0, 9.0))


def test_stochastic_search_begins_with_the_normals():
    assert STOCHASTIC(THREE, KEY) == fronts.dichotomic(WIDE)(THREE, KEY)


@pytest.mark.slow
def test_then_weights_are_uniform_between_the_neighbours():
    front = THREE.merge(FAILED)
    drawn = np.array([w1_of(STOCHASTIC(front, key_of(n))) for n in range(400)])
    assert drawn.shape == (400, 2)
    ratios = np.log(drawn / (1 - drawn))
    for column, low, high in zip(ratios.T, (1 / 9, 3 / 7), (3 / 7, 9.0), strict=True):
        low, high = np.log(low), np.log(high)
        assert low <= column.min() and column.max() <= high
        shares = (column - low) / (high - low)
        counts, _ = np.histogram(shares, bins=4, range=(0, 1))
        # Four standard deviations of a binomial; what is near to weights tried is
        # missing, 2 per cent of a range of 136 or 304 per cent.
        assert np.abs(counts - 100).max() < 4 * math.sqrt(400 * 0.25 * 0.75)
    assert abs(np.corrcoef(ratios.T)[0, 1]) < 0.2


def test_the_key_decides_what_is_drawn():
    front = THREE.merge(FAILED)
    drawn = {STOCHASTIC(front, key_of(n)) for n in range(20)}
    assert len(drawn) == 20
    assert STOCHASTIC(front, key_of(3)) == STOCHASTIC(front, key_of(3))


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_a_segment_is_given_up_after_failures(draws):
    search = fronts.stochastic_dichotomic(WIDE, 0.1, draws)
    front = THREE.merge(FAILED)
    for _ in range(1, draws):
        batch = search(front, KEY)
        left, right = w1_of(batch)
        assert 0.1 < left < 0.3 < right < 0.9
        front = front.merge(front_of(*((w1, 9.0, 9.0) for w1 in w1_of(batch))))
    assert search(front, KEY).reason.endswith(
        "random weights between them find nothing better"
    )


def test_a_failure_elsewhere_does_not_count():
    front = THREE.merge(FAILED, front_of((0.65, 9.0, 9.0), (0.7, 9.0, 9.0)))
    ((_, w1),) = STOCHASTIC(front, KEY).weights
    assert 0.1 < w1 < 0.3


def test_vertices_of_the_hull_do_not_count_as_failures():
    """Noise has put the weights of one vertex between those of two others."""
    front = front_of((0.0, 0.0, 6.0), (0.9, 1.0, 2.0), (0.3, 4.0, 0.0)).merge(FAILED)
    search = fronts.stochastic_dichotomic(WIDE, 0.1, draws=3)
    assert len(search(front, KEY).weights) == 2


def test_a_segment_too_narrow_for_new_weights_is_given_up():
    front = front_of((0.0, 0.0, 6.0), (0.1005, 4.0, 0.0), (0.9, 9.0, 9.0))
    front = front.merge(front_of((0.4, 9.0, 9.0)))  # the normal
    assert not STOCHASTIC(front, KEY).weights


# Bisection-enhanced dichotomic search

BISECTING = fronts.bisection_dichotomic(WIDE, 0.1)


def test_bisecting_search_begins_with_the_normals():
    assert BISECTING(THREE, KEY) == fronts.dichotomic(WIDE)(THREE, KEY)


def ratios_of(batch):
    return [w1 / w0 for w0, w1 in batch.weights]


def test_then_weights_are_half_way_between_the_neighbours():
    halves = ratios_of(BISECTING(THREE.merge(FAILED), KEY))
    expected = [math.sqrt(3 / 7 / 9), math.sqrt(3 / 7 * 9)]
    assert halves == pytest.approx(expected, rel=1e-12)


def test_a_normal_that_repeats_is_no_failure():
    front = front_of((0.0, 0.0, 6.0), (0.9, 4.0, 0.0), (0.2, 1.0, 2.0))
    assert w1_of(fronts.dichotomic(WIDE)(front, KEY)) == pytest.approx([0.6])
    search = fronts.bisection_dichotomic(WIDE, 0.1, failures=1)
    halved = math.sqrt(1 / 9 * 1 / 4)
    assert ratios_of(search(front, KEY)) == pytest.approx([halved, 1.5], rel=1e-12)


@pytest.mark.parametrize("failures", [1, 2, 3, 4])
def test_a_segment_is_bisected_until_failures(failures):
    search = fronts.bisection_dichotomic(WIDE, 0.1, failures)
    front = THREE.merge(FAILED)
    for share in (0.5, 0.25, 0.75)[: failures - 1]:
        batch = search(front, KEY)
        low, middle, high = np.log([1 / 9, 3 / 7, 9.0])
        ends = (low, middle), (middle, high)
        expected = [math.exp(a + share * (b - a)) for a, b in ends]
        assert ratios_of(batch) == pytest.approx(expected, rel=1e-12)
        front = front.merge(front_of(*((w1, 9.0, 9.0) for w1 in w1_of(batch))))
    assert search(front, KEY).reason.endswith("nothing better lies between them")


# The first weights of a batch


def widest(proposed, number, *tried):
    batch = Batch(tuple((1 - w1, w1) for w1 in proposed))
    front = front_of(*((w1, 1.0, 1.0) for w1 in tried))
    return w1_of(batch.widest(number, front))


def test_the_widest_gaps_come_first():
    """Gaps of log(w1 / w0), not of w1; in the order of the batch."""
    tried = (1e-4, 2e-4, 0.01, 0.02)
    proposed = [1.5e-4, 1e-3, 0.015]
    assert widest(proposed, 1, *tried) == pytest.approx([1e-3])
    assert widest(proposed, 2, *tried, 0.03, 1.2e-4) == pytest.approx([1e-3, 0.015])
    for number in (3, 4, 99):
        assert widest(proposed, number, *tried) == pytest.approx(proposed)
    assert widest(proposed, 0, *tried) == []


def test_beyond_the_weights_tried_is_widest():
    assert widest([1e-3, 0.5], 1, 1e-6, 0.1) == [0.5]
    assert widest([1e-5, 1e-3], 1, 1e-4, 0.9) == pytest.approx([1e-5])


def test_a_gap_is_narrower_once_it_has_a_proposal():
    tried = (1e-5, 1e-3, 0.05)
    proposed = [1e-4, 1.1e-4, 7e-3]
    assert widest(proposed, 2, *tried) == pytest.approx([1e-4, 7e-3])


def test_a_zero_is_no_infinite_gap():
    """It counts as half of the smallest other weight."""
    assert widest([0.5e-3, 0.01], 1, 0.0, 1e-3, 0.1) == pytest.approx([0.01])
    assert widest([0.2, 0.999], 1, 0.1, 0.7, 0.99, 1.0) == pytest.approx([0.2])


def test_gaps_of_the_same_width_are_taken_from_all_over():
    tried = [2.0**n / (1 + 2.0**n) for n in range(-10, 0)]
    proposed = [2.0**n / (1 + 2.0**n) for n in np.arange(-9.5, -1)]
    assert widest(proposed, 3, *tried) == [proposed[n] for n in (0, 4, 8)]
    # Without any weights, as for a list, from its first.
    assert widest(proposed, 2) == [proposed[0], proposed[-1]]


def test_a_list_is_thinned_out_evenly():
    w1 = w1_of(Batch(fronts.ORIGINAL_WEIGHTS).widest(7, Front()))
    positive = sorted(w1)[1:]
    assert (sorted(w1)[0], positive[0], positive[-1]) == (0.0, 3e-5, 0.1)
    ratios = [b / a for a, b in pairwise(positive)]
    assert min(ratios) > 2 and max(ratios) < 12


@pytest.mark.parametrize("number", range(12))
def test_fewer_are_a_part_of_more(number):
    batch = Batch(fronts.ORIGINAL_WEIGHTS)
    for front in (Front(), THREE):
        fewer, more = (batch.widest(n, front).weights for n in (number, number + 1))
        assert len(fewer) == number and set(fewer) < set(more)
        assert list(fewer) == sorted(fewer, key=batch.weights.index)


def test_warm_starts_stay_with_their_weights():
    weights = tuple((1 - w1, w1) for w1 in (1e-4, 0.01, 0.02))
    starts = tuple((1 - w1, w1) for w1 in (1e-3, 2e-3, 3e-3))
    batch = Batch(weights, warm_starts=starts)
    front = front_of((1e-3, 1.0, 1.0), (2e-3, 1.0, 1.0), (3e-3, 1.0, 1.0))
    assert batch.widest(1, front) == Batch(weights[:1], warm_starts=starts[:1])
    ended = Batch((), "the end")
    assert ended.widest(0, front) == ended.widest(3, front) == ended
