"""Units of the network that a program trains, for `--pruning units`."""

from typing import Any

import jax

import bopt
from experiments.config.options import Config
from experiments.errors import ConfigError


def find_units(
    network: Any, variables: Any, images: jax.Array, config: Config
) -> bopt.units.Units | None:
    """Find the units of a network; None unless they are pruned.

    A network whose units cannot be told, and a budget that is too small, are refused.
    """
    options = config.pruning
    if not options.prune or options.pruning != "units":
        return None
    state = dict(variables)
    params = {"params": state.pop("params")}

    def apply(params, images, state=None):
        return network.apply({**params, **(state or {})}, images)

    try:
        units = bopt.units.find(apply, params, images, state=state)
        assert options.budget is not None
        bopt.prune_units(  # checks the budget
            options.budget,
            units=units,
            optimizer=bopt.madam(0.0),
            multiple_of=options.multiple_of,
        )
    except ValueError as error:
        message = f"--pruning units: {error} Or choose --pruning saliency."
        raise ConfigError(message) from None
    return units


def record(units: bopt.units.Units, params: Any) -> dict[str, Any]:
    """Count the units that are left, and their cost, for summary.json."""
    numbers = [int(kept.sum()) for kept in jax.jit(units.kept)(params)]
    names = [layer.name.removeprefix("params/") for layer in units.layers]
    return {
        "units": dict(zip(names, numbers, strict=True)),
        "multiply_adds": round(float(units.multiply_adds(numbers))),
        "multiply_adds_unpruned": round(float(units.multiply_adds(units.numbers))),
    }
