"""Pruning of whole units, to a budget such as a share of the multiply-adds."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from bopt._dtypes import wide_dtype
from bopt._pruning import check_at_least_0, known, pruning
from bopt.scores import Score
from bopt.selections import PyTree
from bopt.units.description import Units

Cost = Callable[[jax.Array], Any]


def prune_units(
    budget: optax.ScalarOrSchedule,
    *,
    units: Units,
    optimizer: optax.GradientTransformation,
    cost: Cost | None = None,
    multiple_of: int = 1,
    decay: ArrayLike = 0.999,
    every: int = 1,
    start: int = 0,
    stop: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Prune whole units, neurons and channels, down to a share of the network's cost.

    Like `prune_to` with a score that needs gradients, it wraps the `optimizer`, and it
    has the same state. All entries of a pruned unit become 0: `bopt.compact` removes
    them. A unit is worth the moving average of the squared derivative of the loss with
    respect to a factor of its output, which is the sum of ``w * gradient`` over the
    entries that take it; to first order the square of the change in loss without it.
    A pruning step keeps the units that are worth most per cost, as long as they fit
    the budget. Pruned units do not come back, because their gradients are 0.

    A gradual schedule is ``optax.polynomial_schedule(1.0, 0.2, 3, steps)``, with steps
    60 % of the training and ``every=100`` or so.

    Args:
      budget: largest cost as a share of that of all units, from 0 to 1; a float, or a
        schedule over the updates so far.
      units: the units, see `bopt.units.find`.
      optimizer: the optimizer whose updates are pruned, see `bopt.prune`.
      cost: function of the numbers of units of each layer, in the order of `units`,
        which grows with each number and works under `jax.jit`: a measured latency, for
        example. By default ``units.multiply_adds``.
      multiple_of: numbers of kept units are multiples of this, which computers are
        faster with, or all units of the layer. Layers of fewer units keep any number.
      decay: decay of the moving average, from 0 to 1.
      every: steps between two pruning steps.
      start: the first pruning step, counted from 0.
      stop: the step from which the last mask is held; None: never.

    Returns:
      An `optax.GradientTransformationExtraArgs` whose ``update`` needs `params`.
      Under `optax.inject_hyperparams`, name `units`, `optimizer`, `cost`,
      `multiple_of`, `every`, `start` and `stop` in `static_args`.

    Raises:
      ValueError: a `budget` outside [0, 1], or that the smallest network exceeds (each
        layer keeps a unit, or `multiple_of`); `multiple_of` below 1; at init,
        parameters of another shape than those of `units` (named); else as `bopt.prune`.

    Example:
      >>> import bopt, jax.numpy as jnp, optax
      >>> from bopt.units import Layer, Slice
      >>> params = {"w0": jnp.ones((2, 3)), "w1": jnp.ones((3, 1))}
      >>> units = bopt.units.describe(
      ...     params, [Layer("hidden", 3, (Slice("w0"),), (Slice("w1", -2),))])
      >>> optimizer = bopt.prune_units(0.7, units=units, optimizer=optax.sgd(0.1))
      >>> gradients = {"w0": jnp.ones((2, 3)), "w1": jnp.array([[1.0], [0.0], [2.0]])}
      >>> updates, _ = optimizer.update(gradients, optimizer.init(params), params)
      >>> print(optax.apply_updates(params, updates)["w0"])
      [[0.9 0.  0.9]
       [0.9 0.  0.9]]

    Source: P. Molchanov, A. Mallya, S. Tyree, I. Frosio, J. Kautz, *Importance
    estimation for neural network pruning* (arXiv 1906.10771), eq. 8 with a gate per
    unit; the cost per unit as in P. Molchanov et al., *Pruning convolutional neural
    networks for resource efficient inference* (arXiv 1611.06440), section 2.2.
    """
    cost = units.multiply_adds if cost is None else cost
    if multiple_of < 1:
        raise ValueError(f"prune_units got multiple_of={multiple_of}; expected from 1.")
    check_at_least_0("prune_units", "budget", budget)
    full, tolerance = np.array(units.numbers), 1 + 1e-6  # costs are float32
    multiples = np.where(full < multiple_of, 1, multiple_of)
    with jax.ensure_compile_time_eval():
        whole = cost(jnp.asarray(full))
        least = float(cost(jnp.asarray(multiples)) / whole)
    if known(budget) and not least / tolerance <= budget <= 1:
        raise ValueError(
            f"prune_units got budget={budget}; expected from {least:.3g}, the share of "
            f"the smallest network, with {multiples.tolist()} units, to 1."
        )
    touched = [path for path, _ in units.shapes if path in units.slices()]

    def new_mask(masks, worth, step):
        share = budget(step) if callable(budget) else budget
        kept = _most_worth(
            worth,
            units.kept_by(dict(zip(touched, masks, strict=True))),
            multiples,
            cost,
            share * whole * tolerance,
        )
        return [units.entries(path, kept) for path in touched]

    inner = pruning(
        "prune_units",
        new_mask,
        _gate_saliency(units, touched, decay),
        optimizer,
        lambda path, leaf: path in touched,
        False,
        every,
        start,
        stop,
    )

    def init_fn(params: PyTree) -> optax.OptState:
        units.check("prune_units", params)
        return inner.init(params)

    return optax.GradientTransformationExtraArgs(init_fn, inner.update)


def _gate_saliency(units: Units, touched: list[str], decay: ArrayLike) -> Score:
    """Moving averages, one array per layer, of squared derivatives by a factor."""

    def init(params):
        dtype = wide_dtype(params)
        return [jnp.zeros(number, dtype) for number in units.numbers]

    def update(gradients, params, state):
        pairs = dict(zip(touched, zip(params, gradients, strict=True), strict=True))

        def derivative(part, old):
            param, gradient = (leaf.astype(old.dtype) for leaf in pairs[part.path])
            return units.totals(part, param * gradient, len(old))

        return [
            decay * old
            + (1 - decay) * sum(derivative(part, old) for part in layer.outgoing) ** 2
            for layer, old in zip(units.layers, state, strict=True)
        ]

    return Score(init, update, lambda params, state: state, gradients=True)


def _most_worth(
    worth: list[jax.Array],
    alive: list[jax.Array],
    multiples: np.ndarray,
    cost: Cost,
    limit: ArrayLike,
) -> list[jax.Array]:
    """One boolean per unit: those worth most per cost, as long as they fit."""
    ends = np.cumsum([len(layer) for layer in worth])
    present = jnp.stack([jnp.sum(layer) for layer in alive])

    def cost_of_one(layer):
        fewer = jnp.maximum(present[layer] - multiples[layer], 0)
        saved = cost(present) - cost(present.at[layer].set(fewer))
        # A measured cost may be the same for fewer units.
        least = 1e-3 * cost(present) / ends[-1]
        return jnp.maximum(saved / (present[layer] - fewer), least)

    value = jnp.concatenate(
        [
            jnp.where(kept, own / cost_of_one(layer).astype(own.dtype), -1)
            for layer, (own, kept) in enumerate(zip(worth, alive, strict=True))
        ]
    )
    # NaN counts as largest, so that it stays visible; the first of equal units stay.
    value = jnp.where(jnp.isnan(value), jnp.inf, value)
    order = jnp.argsort(-value)
    owners = jnp.asarray(np.repeat(np.arange(len(worth)), [len(own) for own in worth]))

    def numbers(counts):
        whole = -(-counts // multiples) * multiples
        return jnp.clip(whole, jnp.minimum(multiples, present), present)

    def add(place, counts):
        more = counts.at[owners[order[place]]].add(1)
        return jnp.where(cost(numbers(more)) <= limit, more, counts)

    found = numbers(jax.lax.fori_loop(0, ends[-1], add, jnp.zeros_like(present)))
    places = jnp.split(jnp.argsort(order), ends[:-1])
    return [
        jnp.argsort(jnp.argsort(own)) < number
        for own, number in zip(places, found, strict=True)
    ]
