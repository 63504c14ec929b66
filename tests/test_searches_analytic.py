"""The searches driven to their end, on fronts that are known."""

import itertools
import math
from itertools import pairwise

import hypothesis
import numpy as np
import pytest
import trainings
from hypothesis import strategies
from trainings import SEARCHES, STARTS, TRAININGS, drive, driven

from bopt.fronts import Front, Point, dichotomic, grid, stochastic_dichotomic

DICHOTOMIC = ["dichotomic", "stochastic", "bisecting"]
# On smooth or noisy fronts a search takes hundreds of trainings: a few pairs of the
# two are fast enough, the others are slow tests.
SMOOTH = {
    *("parabola", "hyperbola", "dying", "undertrained", "overfitting", "diverging"),
    *("noise, seed 0", "noise, seed 1", "much noise"),
}
FAST = {
    ("bisection", "hyperbola"),
    ("dichotomic", "hyperbola"),
    ("dichotomic", "overfitting"),
    ("arithmetic", "dying"),
    ("bisection", "diverging"),
    ("dichotomic", "much noise"),
    ("bisecting", "much noise"),
}


def searches(*names, on=tuple(TRAININGS)):
    """Pairs of a search and a training."""

    def fast(pair):
        return pair[1] not in SMOOTH or pair[0] not in STARTS or pair in FAST

    rows = [
        pytest.param(*pair, marks=() if fast(pair) else pytest.mark.slow)
        for pair in itertools.product(names, on)
    ]
    return pytest.mark.parametrize("name, training", rows)


def objectives(front):
    return [point.objectives for point in front]


def ratio(point):
    w0, w1 = point.weights
    return w1 / w0 if w0 else math.inf


def normal(p, q):
    """w1 / w0 of the normal of a segment."""
    (p0, p1), (q0, q1) = p.objectives, q.objectives
    return (q0 - p0) / (p1 - q1)


@searches(*SEARCHES)
def test_search_ends_within_the_starts_and_repeats_nothing(name, training):
    front, batches = driven(name, training)
    *going, last = batches
    assert last.reason and not any(batch.reason for batch in going)
    if name in STARTS:
        (_, low), (_, high) = STARTS[name]
        assert all(low <= point.weights[1] <= high for point in front)
        ratios = sorted(ratio(point) for point in front)
        assert all(b > 1.009 * a for a, b in pairwise(ratios))
    for point in front:
        assert sum(point.weights) == pytest.approx(1, rel=1e-12)


@searches("bisection", "arithmetic", "wide")
def test_every_half_and_quarter_has_been_tried(name, training):
    front, batches = driven(name, training)
    # Of equal points, the one with the smallest w1 counts.
    by_weight = Front(sorted(front, key=ratio))
    hull = [point.weights[1] for point in by_weight.hull()]
    if not hull:
        assert batches[-1].reason == "all trainings diverged"
        return
    low, high = (w1 for _, w1 in STARTS[name])
    tried = np.log([ratio(point) for point in front if 0 < point.weights[1] < 1])
    for p, q in pairwise([low, *hull, high]):
        ends = np.array([p, q])
        if name == "arithmetic":
            w1 = np.interp([0.25, 0.5, 0.75], [0, 1], ends)
        else:
            ends = np.clip(ends, 3e-5, 1 - 3e-5)
            ratios = np.interp([0.25, 0.5, 0.75], [0, 1], np.log(ends / (1 - ends)))
            w1 = 1 / (1 + np.exp(-ratios))
        w1 = w1[(w1 > 3e-5 * (1 + 1e-9)) & (w1 < 1 - 3e-5)]
        distances = np.abs(np.log(w1 / (1 - w1))[:, None] - tried)
        assert p == q or (distances.min(1) < 0.0101).all()


@searches(*DICHOTOMIC)
def test_every_normal_has_been_tried(name, training):
    front, batches = driven(name, training)
    hull = Front(sorted(front, key=ratio)).hull()
    if len(hull) < 2:
        assert "all trainings" in batches[-1].reason or "single" in batches[-1].reason
    ratios = np.array([ratio(point) for point in front])
    weights = [point.weights for point in hull]
    failed = [p.weights[1] for p in front if p.weights not in weights]
    for p, q in pairwise(hull):
        own = normal(p, q)
        if own < 1 / 9 and math.isfinite(own):
            assert (abs(np.log(ratios[ratios > 0] / own)) < 0.0101).any()
        if name != "dichotomic":
            low, high = sorted((p.weights[1], q.weights[1]))
            wide = math.log(high / max(low, 3e-5)) > 0.5
            number = {"stochastic": 2, "bisecting": 3}[name]
            assert not wide or sum(low < w1 < high for w1 in failed) >= number


def test_a_smooth_front_is_covered_by_bisection():
    front, _ = driven("bisection", "hyperbola")
    hull = front.hull()
    assert len(hull) == len(front)  # each training finds a point of its own
    ratios = [max(ratio(point), 3e-5) for point in hull]
    assert max(b / a for a, b in pairwise(ratios)) < 1.0203
    assert (ratios[0], ratios[-1]) == (3e-5, pytest.approx(0.003 / 0.997))


def test_a_smooth_front_is_covered_by_dichotomic_search():
    front, _ = driven("dichotomic", "hyperbola")
    hull = front.hull()
    assert len(hull) == len(front)
    for p, q in pairwise(hull):  # f0 - 0.04 = 4 / f1, as far as the segments go
        middle = np.mean([p.objectives, q.objectives], axis=0)
        assert (middle[0] - 0.04) * middle[1] == pytest.approx(4, rel=2e-4)


@pytest.mark.parametrize("name", [*SEARCHES])
def test_all_vertices_are_found(name):
    front, _ = driven(name, "edges")
    assert objectives(front.hull()) == list(trainings.EDGES)


@pytest.mark.parametrize("name", [*SEARCHES])
def test_a_concave_part_is_skipped(name):
    front, batches = driven(name, "concave")
    ends = [trainings.CONCAVE[0], trainings.CONCAVE[-1]]
    assert objectives(front.nondominated()) == ends
    if name == "dichotomic":
        assert len(front) == 3 and "normal" in batches[-1].reason


def test_points_above_the_segments_are_no_ends_of_them():
    """A list of weights can find a concave part, whose points start no search."""
    known = [Point((0.5, 0.5), objectives) for objectives in trainings.CONCAVE[1:3]]
    ends = [
        Point((1.0, 0.0), trainings.CONCAVE[0]),
        Point((0.9, 0.1), trainings.CONCAVE[-1]),
    ]
    ((_, w1),) = dichotomic()(Front([*ends, *known]), trainings.key_of(0)).weights
    assert w1 == pytest.approx(9 / 9009)


@pytest.mark.parametrize("name", DICHOTOMIC)
def test_a_single_point_ends_the_search(name):
    front, batches = driven(name, "one point")
    assert len(front) == 2 and len(batches) == 2
    assert "a single point, of weights (1.0, 0.0), is left" in batches[-1].reason


@searches("bisection", "arithmetic", *DICHOTOMIC, on=["overfitting"])
def test_a_dominated_start_does_not_hide_the_accurate_end(name, training):
    front, _ = driven(name, training)
    best = min(f0 for f0, _ in objectives(front))
    assert best < 0.0525  # w1 = 4e-5, say; that of 3e-5 is 0.051


@searches("arithmetic", *DICHOTOMIC, on=["dying"])
def test_what_lies_before_a_dead_start_is_found(name, training):
    front, _ = driven(name, training)
    alive, dead = objectives(front.hull())[-2:]
    assert dead == trainings.DEAD and alive == trainings.hyperbola((0.99, 0.01))


@searches("bisection", "arithmetic", "wide", on=["diverging"])
def test_bisection_does_without_trainings_that_diverge(name, training):
    front, _ = driven(name, training)
    failed = sum(math.isnan(point.objectives[0]) for point in front)
    assert 0.1 * len(front) < failed < 0.3 * len(front)
    assert len(front.hull()) > 100


edges = strategies.lists(
    strategies.tuples(
        strategies.floats(1.3, 4.0),  # how much flatter than the edge before
        strategies.floats(1.0, 4.0),  # its height, times `scale`
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.slow
@hypothesis.given(edges, strategies.sampled_from([1.0, 1e3]))
def test_dichotomic_search_finds_every_vertex_with_the_fewest_trainings(edges, scale):
    """Every training finds a vertex or finishes a segment, so that n vertices take
    2 n - 1. The edges are such that no normal comes near to weights that find another
    vertex: it would take an edge far shorter than its neighbour."""
    slope = 1e-7
    f0, f1 = 0.0, scale * sum(height for _, height in edges)
    vertices = [(f0, f1)]
    for flatter, height in edges:
        slope *= flatter  # w1 / w0 of the edge's normal
        f0, f1 = f0 + slope * height * scale, f1 - height * scale
        vertices.append((f0, f1))
    train = trainings.of_points(*vertices)
    front, _ = drive(dichotomic(), train)
    assert set(objectives(front)) == set(vertices)
    assert len(front) <= 2 * len(vertices) - 1
    front, _ = drive(stochastic_dichotomic(), train)
    assert set(objectives(front)) == set(vertices)


def test_a_stochastic_search_finds_what_a_poor_training_missed():
    missed = []

    def train(weights):
        # The first training at a normal finds no vertex but the ends.
        poor = abs(weights[1] / 2.33e-4 - 1) < 0.01
        missed.extend([weights] * poor)
        return (20.0, 20e4) if poor else TRAININGS["edges"](weights)

    front, _ = drive(dichotomic(), train)
    assert missed and len(front.hull()) == 2
    front, _ = drive(stochastic_dichotomic(), train)
    assert len(front.hull()) > 2


@pytest.mark.slow
def test_bisections_continue_where_the_normals_of_poor_trainings_end():
    """Short trainings, as on MNIST: the two normals after the first find no vertex."""
    front, batches = driven("dichotomic", "undertrained")
    assert len(front) == 5 and len(front.hull()) == 3
    assert "normal" in batches[-1].reason
    front, _ = driven("bisecting", "undertrained")
    ratios = [max(ratio(point), 4.3e-6) for point in front.hull()]
    # Up to the weights from which on the networks are dead.
    assert max(b / a for a, b in pairwise(ratios[:-1])) < 1.1
    assert 0.009 < ratios[-2] < 0.01 / 0.99 < ratios[-1]


# Share of a box that the points within a budget dominate, and vertices of their hull.
BOXES = {
    "hyperbola": (0.04, 0.2, 5100.0),
    "edges": (0.0, 15.0, 6.1e4),
    "dying": (0.04, 0.2, 5100.0),
    "undertrained": (0.04, 0.2, 5900.0),
    "noise, seed 0": (0.04, 0.2, 5100.0),
}


def share(name, training, budget):
    front = trainings.within(SEARCHES[name], TRAININGS[training], budget)
    least, *reference = BOXES[training]
    box = (reference[0] - least) * reference[1]
    return front.hypervolume(reference) / box, len(front.hull())


@pytest.mark.parametrize("training", BOXES)
def test_bisections_cost_little_where_normals_suffice(training):
    for budget in (10, 20, 40):
        found, vertices = share("bisecting", training, budget)
        others = [share(name, training, budget) for name in DICHOTOMIC[:2]]
        assert found > max(volume for volume, _ in others) - 2e-3
        assert vertices > 0.8 * max(number for _, number in others)
    if training == "undertrained":
        assert found > others[0][0] + 0.1


def test_keys_lead_different_ways():
    def points(salt):
        front = Front()
        for level in range(9):
            key = trainings.key_of(100 * salt + level)
            batch = stochastic_dichotomic()(front, key)
            front = front.merge(Front(trainings.points_of(trainings.noisy(0), batch)))
        return front

    assert points(1) == points(1)
    assert points(1) != points(2)


def test_grid_of_an_analytic_front():
    front, batches = drive(grid([(0.75, 0.25), (0.5, 0.5)]), trainings.parabola)
    assert objectives(front) == [(0.0625, 0.5625), (0.25, 0.25)]
    assert len(batches) == 2
