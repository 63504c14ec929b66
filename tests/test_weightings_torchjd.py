"""Directions equal those of TorchJD's aggregators, on 1,000 jacobians per method.

In float64, with the `bench` extra. As a program, this prints the largest deviation per
method. docs/choose-a-weighting.md lists where definitions differ; such jacobians are
left out here, by the functions below.
"""

# For machines without the bench extra:
# pyright: reportMissingImports=false

import functools
import importlib.util
import itertools
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samplers
from test_weightings_programs import surgery

import bopt

NEEDED = ("torchjd", "quadprog", "qpsolvers", "cvxpy", "ecos")
missing = [name for name in NEEDED if not importlib.util.find_spec(name)]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing), reason=f"the bench extra lacks {missing}"),
    pytest.mark.filterwarnings("ignore"),  # those of PyTorch and CVXPY
]
COUNTS = (2, 3, 5)
NUMBER = 1_000


def jacobians(number: int = NUMBER) -> list[np.ndarray]:
    """Make jacobians of 2, 3 or 5 rows: a third normal, the others structured."""
    rng = np.random.default_rng(0)
    kinds = [samplers.normal] * (len(samplers.SAMPLERS) // 2) + [*samplers.SAMPLERS]
    found = []
    for index in range(number):
        m = COUNTS[index % len(COUNTS)]
        jac = kinds[index // len(COUNTS) % len(kinds)](rng, m)
        rescaled = index // len(COUNTS) // len(kinds) % 2
        found.append(jac * 10 ** rng.uniform(-1, 1, (m, 1)) if rescaled else jac)
    return found


# Which jacobians have one direction, in both definitions


def gram_of(jac):
    return jac @ jac.T


def every(jac, theirs) -> bool:
    return True


def independent(jac, theirs) -> bool:
    """The rows are linearly independent."""
    units = jac / np.maximum(np.linalg.norm(jac, axis=1, keepdims=True), 1e-300)
    singular = np.linalg.svd(units[units.any(axis=1)], compute_uv=False)
    return bool(singular[-1] > 1e-7)


def equiangular(jac, theirs) -> bool:
    """The least squares solution for equal angles is not 0."""
    units = jac / np.maximum(np.linalg.norm(jac, axis=1, keepdims=True), 1e-300)
    return bool(np.linalg.norm(np.linalg.pinv(units) @ units.any(axis=1)) > 1e-7)


def not_stationary(jac, theirs) -> bool:
    """The point of least norm is not 0, relative to the rows that it combines."""
    weights = samplers.exact_weights(gram_of(jac))
    norms = np.linalg.norm(jac, axis=1)
    return bool(np.linalg.norm(weights @ jac) > 1e-3 * (weights @ norms))


def fair(alpha, jac, theirs) -> bool:
    """TorchJD's solver has reached the fixed point, up to the direction's length."""
    weights = np.linalg.lstsq(jac.T, theirs, rcond=None)[0]
    if not independent(jac, theirs) or (weights <= 0).any() or not jac.any(1).all():
        return False
    ratios = (gram_of(jac) @ weights) * weights ** (1 / alpha)
    return ratios.min() > 0 and ratios.max() / ratios.min() < 1 + 1e-4


# Methods


class Method(NamedTuple):
    """A weighting and what it is compared with.

    Attributes:
      ours: weighting.
      theirs: aggregator of m rows, from TorchJD's module.
      defined: whether both definitions give one direction.
      limit: on the distance of the directions, relative to the norm of theirs.
      length: whether lengths count.
    """

    ours: bopt.Weighting
    theirs: Callable[[Any, int], Any]
    defined: Callable[[np.ndarray, np.ndarray], bool] = every
    limit: float = 1e-4
    length: bool = True


METHODS = {
    "upgrad": Method(bopt.upgrad(), lambda a, m: a.UPGrad()),
    "dual_projection": Method(bopt.dual_projection(), lambda a, m: a.DualProj()),
    "cagrad": Method(
        bopt.cagrad(0.5),
        lambda a, m: a.CAGrad(c=0.5, norm_eps=1e-9),
        not_stationary,
        limit=1e-3,
    ),
    "nash": Method(
        bopt.nash(),
        lambda a, m: a.NashMTL(n_tasks=m, max_norm=0.0),
        functools.partial(fair, 1.0),
        length=False,
    ),
    "fairgrad": Method(
        bopt.fairgrad(2.0),
        lambda a, m: a.FairGrad(alpha=2.0),
        functools.partial(fair, 2.0),
    ),
    "aligned": Method(bopt.aligned(), lambda a, m: a.AlignedMTL()),
    "imtl_g": Method(bopt.imtl_g(), lambda a, m: a.IMTLG(), independent),
    "conflict_free": Method(bopt.conflict_free(), lambda a, m: a.ConFIG(), equiangular),
    "fixed": Method(
        bopt.fixed(np.arange(1.0, 6.0)),
        lambda a, m: a.Constant(_torch().arange(1.0, 6.0, dtype=_torch().float64)),
        lambda jac, theirs: len(jac) == 5,
    ),
}


def _torch():
    import torch

    return torch


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(np.linalg.norm(vector), 1e-300)


def deviations(name: str, jacs: list[np.ndarray]) -> np.ndarray:
    """Relative distances, of the jacobians for which both are defined."""
    from torchjd import aggregation

    method, found, update = METHODS[name], [], jax.jit(METHODS[name].ours.update)
    for jac in jacs:
        if name == "fixed" and len(jac) != 5:
            continue
        try:  # anew each time: NashMTL has a state
            aggregator = method.theirs(aggregation, len(jac))
            theirs = aggregator(_torch().tensor(jac)).numpy()
        except (ValueError, AttributeError):  # its solver failed
            continue
        if not method.defined(jac, theirs):
            continue
        state = method.ours.init(len(jac))
        ours = np.asarray(update(jnp.asarray(gram_of(jac)), None, state)[0]) @ jac
        if not method.length:
            ours, theirs = unit(ours), unit(theirs)
        size = np.linalg.norm(theirs)
        # Directions that are 0 but for rounding: relative to the rows.
        floor = 1e-9 * np.linalg.norm(jac, axis=1).min(where=jac.any(1), initial=np.inf)
        found.append(np.linalg.norm(ours - theirs) / max(size, floor))
    return np.array(found)


@pytest.mark.parametrize("name", METHODS)
def test_direction_is_that_of_torchjd(name):
    with jax.enable_x64(True):
        found = deviations(name, jacobians())
    assert len(found) > NUMBER / 5
    assert found.max() <= METHODS[name].limit


def test_min_norm_is_closer_to_the_exact_point_than_torchjd():
    """TorchJD's MGDA stops Frank and Wolfe's iterations early."""
    from torchjd.aggregation import MGDA

    ours, theirs = [], []
    with jax.enable_x64(True):
        for jac in filter(lambda jac: not_stationary(jac, None), jacobians()):
            exact = samplers.exact_weights(gram_of(jac)) @ jac
            weights, _ = bopt.min_norm().update(jnp.asarray(gram_of(jac)), None, ())
            ours.append(np.linalg.norm(weights @ jac - exact) / np.linalg.norm(exact))
            other = MGDA()(_torch().tensor(jac)).numpy()
            theirs.append(np.linalg.norm(other - exact) / np.linalg.norm(exact))
    print(f"min_norm {max(ours):.1e}, TorchJD's MGDA {max(theirs):.1e}")
    assert max(ours) <= 1e-4 < max(theirs)


def test_pcgrad_has_torchjds_outcomes():
    """Each draw of both is the outcome of some orders, for up to three gradients."""
    from torchjd.aggregation import PCGrad

    worst, weighting = 0.0, bopt.pcgrad()
    update = jax.jit(weighting.update)
    with jax.enable_x64(True):
        for jac in (jac for jac in jacobians() if len(jac) < 5):
            m = len(jac)
            others = [itertools.permutations({*range(m)} - {i}) for i in range(m)]
            outcomes = np.stack(
                [
                    surgery(gram_of(jac), each) @ jac
                    for each in itertools.product(*others)
                ]
            )
            weights, _ = update(jnp.asarray(gram_of(jac)), None, weighting.init(m))
            drawn = np.asarray(weights) @ jac, PCGrad()(_torch().tensor(jac)).numpy()
            for direction in drawn:
                distance = np.linalg.norm(outcomes - direction, axis=1).min()
                size = max(np.linalg.norm(direction), 1e-9 * np.linalg.norm(jac))
                worst = max(worst, distance / size)
    print(f"pcgrad {worst:.1e}")
    assert worst <= 1e-4


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    jax.config.update("jax_enable_x64", True)
    for name in sys.argv[1:] or METHODS:
        found = deviations(name, jacobians())
        print(f"{name}: {len(found)} jacobians, largest {found.max():.1e}, "
              f"median {np.median(found):.1e}", flush=True)  # fmt: skip
    test_min_norm_is_closer_to_the_exact_point_than_torchjd()
    test_pcgrad_has_torchjds_outcomes()
