"""Products per entry of each parameter, counted in a network's program."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend
import numpy as np

# Parameters on which a value depends; None if it depends on other inputs, too.
Source = frozenset[int] | None


def products(function: Callable[..., Any], params: Any, *args: Any) -> list[int]:
    """Products of each parameter with values that depend on the other arguments.

    Matrix products and convolutions are counted, those in `jax.lax.while_loop` aside.
    """
    program = jax.make_jaxpr(function)(params, *args)
    leaves = len(jax.tree.leaves(params))
    others: list[Source] = [None] * (len(program.jaxpr.invars) - leaves)
    counts = [0] * leaves
    own: list[Source] = [frozenset([index]) for index in range(leaves)]
    _count(program.jaxpr, own + others, 1, counts)
    return counts


def _count(
    jaxpr: Any, inputs: Sequence[Source], times: int, counts: list[int]
) -> list[Source]:
    """Add the products of a program to the counts; return the outputs' sources."""
    sources = dict(zip(jaxpr.invars, inputs, strict=True))

    def source(var: Any) -> Source:
        constant = isinstance(var, jax.extend.core.Literal) or var not in sources
        return frozenset() if constant else sources[var]

    for equation in jaxpr.eqns:
        found = [source(var) for var in equation.invars]
        known = [leaves for leaves in found if leaves is not None]
        joined = frozenset().union(*known) if len(known) == len(found) else None
        outputs = [joined] * len(equation.outvars)
        name, params = equation.primitive.name, equation.params
        if name in ("dot_general", "conv_general_dilated") and len(known) == 1:
            for leaf in known[0]:
                counts[leaf] += times * _products(equation)
        elif name == "cond":  # also of platforms, whose branches compute the same
            outputs = _count(params["branches"][0].jaxpr, found[1:], times, counts)
        elif name == "scan":
            loop = found[: params["num_consts"]]
            loop += [joined] * (len(found) - len(loop))
            each = times * params["length"]
            outputs = _count(params["jaxpr"].jaxpr, loop, each, counts)
        elif inner := params.get("jaxpr") or params.get("call_jaxpr"):
            outputs = _count(getattr(inner, "jaxpr", inner), found, times, counts)
        sources.update(zip(equation.outvars, outputs, strict=True))
    return [source(var) for var in jaxpr.outvars]


def _products(equation: Any) -> int:
    out, params = equation.outvars[0].aval, equation.params
    left, right = (var.aval.shape for var in equation.invars)
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        return out.size * int(np.prod([left[axis] for axis in contracted]))
    features = right[params["dimension_numbers"].rhs_spec[0]]
    return out.size * int(np.prod(right)) // features
