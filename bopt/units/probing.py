"""Units of sequential networks, found by setting entries to zero.

On random parameters, entries that take a unit are set to 0: exactly the gradients of
the entries that compute it become 0, if nothing else takes the unit. With these set to
0 in turn, those of the entries that take it do, if they take nothing else. Both must
hold for every unit.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bopt.selections import PyTree, Where, path_names, select
from bopt.units.description import Layer, Slice, Units, describe
from bopt.units.products import products


def find(
    apply: Callable[..., Any],
    params: PyTree,
    inputs: Any,
    *,
    state: PyTree = (),
    where: Where = lambda path, leaf: len(leaf.shape) > 1,
) -> Units:
    """Find the units of a sequential network of Flax.

    Dense layers, convolutions and whatever acts on each unit by itself: activations
    that are 0 at 0, pooling, batch normalization, dropout, and a flattening with
    channels last. Kernels have inputs and outputs as their last two axes, in this
    order. It compiles one gradient and evaluates it a few dozen times.

    Args:
      apply: ``(params, inputs) -> outputs``, or ``(params, inputs, state) -> outputs``
        if there is a state: the network as it is used after training. The last axis of
        the outputs is that of the classes, before any softmax.
      params: the parameters, or their shapes.
      inputs: a batch of inputs, one example is enough; random numbers take the place
        of floats.
      state: other variables, such as Flax's ``batch_stats``, or their shapes.
      where: a selection (see `bopt.selections`) of the kernels whose units may be
        pruned, by default leaves of rank 2 or more. The output layer's never are.

    Returns:
      The `Units`, with the layers in the order of the network.

    Raises:
      ValueError: a kernel (named) whose units are taken by several layers, mixed with
        others, or added to something, as by residual connections, tied parameters and
        layer normalization: leave it out by `where`, or use `bopt.units.describe`; a
        leaf that the outputs do not depend on.

    Example:
      >>> import bopt, jax, jax.numpy as jnp
      >>> def apply(params, x):
      ...     return jax.nn.relu(x @ params["w0"] + params["b0"][None]) @ params["w1"]
      >>> params = {"w0": jnp.ones((4, 3)), "b0": jnp.ones(3), "w1": jnp.ones((3, 2))}
      >>> (layer,) = bopt.units.find(apply, params, jnp.ones((1, 4))).layers
      >>> [(part.path, part.axis) for part in layer.incoming + layer.outgoing]
      [('b0', -1), ('w0', -1), ('w1', -2)]

    Source: the dependency graph of G. Fang, X. Ma, M. Song, M. B. Mi, X. Wang,
    *DepGraph* (arXiv 2301.12900), here without a graph.
    """
    probe = _Probe(apply, params, inputs, state)
    chosen = jax.tree.leaves(select(where, params))
    groups = probe.groups()
    outputs, layers = groups.pop(probe.outputs, []), {}
    for kernel in np.flatnonzero(chosen):
        name, shape = probe.names[kernel], probe.shapes[kernel]
        if not shape or shape[-1] == 1 or kernel in outputs:
            continue
        takers = [taker for taker, group in groups.items() if kernel in group]
        if len(takers) != 1:
            raise ValueError(
                f"find got '{name}', whose {shape[-1]} units no layer takes alone; "
                f"{_EXPECTED}"
            )
        (taker,) = takers
        if not probe.takes_nothing_else(taker, groups[taker]):
            raise ValueError(
                f"find got '{probe.names[taker]}', which does not take the units of "
                f"'{name}' alone; {_EXPECTED}"
            )
        layers[taker] = probe.layer(taker, groups[taker])

    def depth(taker: int) -> int:
        """Number of layers that follow."""
        following = [other for other, group in groups.items() if taker in group]
        return 1 + depth(following[0]) if following else 0

    counts = products(apply, params, inputs, *probe.state)
    batch = len(jax.tree.leaves(inputs)[0])
    return describe(
        params,
        [layers[taker] for taker in sorted(layers, key=depth, reverse=True)],
        state=state,
        uses={
            name: count // max(math.prod(shape) * batch, 1)
            for name, shape, count in zip(
                probe.names, probe.shapes, counts, strict=False
            )
        },
    )


_EXPECTED = (
    "expected units that are 0 if their kernel, bias and normalization are, and that "
    "one later layer takes, without anything else. Residual connections, tied "
    "parameters, layer normalization, and a softmax at the end are different: leave "
    "the kernel out by where, or describe its units by bopt.units.describe."
)


class _Probe:
    """Gradients of a network on random parameters, some of which are set to 0.

    Leaves have indices: parameters, then the state, then the outputs. A set of entries
    is a dictionary, (index of the leaf, axis) -> booleans along this axis.
    """

    def __init__(self, apply, params, inputs, state):
        leaves, structure = jax.tree.flatten((params, state))
        self.names = jax.tree.leaves((path_names(params), path_names(state)))
        self.parameters = len(jax.tree.leaves(params))
        self.outputs = len(leaves)
        self.state = (state,) if len(leaves) > self.parameters else ()
        rng = np.random.default_rng(0)

        def positive(like, scale=1.0):
            """Random values, so that no activation is 0 and no sum cancels."""
            if not _is_float(like):
                return jnp.zeros(like.shape, like.dtype)
            return jnp.asarray(scale * rng.uniform(0.5, 1.5, like.shape), like.dtype)

        values = []
        for index, leaf in enumerate(leaves):
            scale = 1.0
            if index >= self.parameters:
                scale = 0.5  # stored means below the values
            elif len(leaf.shape) > 1:
                scale = leaf.shape[-1] / math.prod(leaf.shape)
            values.append(positive(leaf, scale))
        floats = [i for i, leaf in enumerate(values) if _is_float(leaf)]
        inputs = jax.tree.map(lambda x: positive(x) if _is_float(x) else x, inputs)

        def network(own, values):
            merged = [own.get(index, leaf) for index, leaf in enumerate(values)]
            params, state = jax.tree.unflatten(structure, merged)
            return apply(params, inputs, *((state,) if self.state else ()))

        out = jax.eval_shape(network, {}, values)
        if not hasattr(out, "shape") or not out.shape:
            raise ValueError(
                f"find got an apply that returns {jax.tree.structure(out)}; expected "
                "one array of outputs, whose last axis is that of the classes."
            )
        weights = positive(out)
        self.shapes = [leaf.shape for leaf in (*values, out)]

        @jax.jit
        def alive(values, kept):
            def entries(index, leaf):
                for axis in (-1, -2):
                    own = kept[index, axis].astype(leaf.dtype)
                    leaf = leaf * jnp.expand_dims(own, _others(leaf.shape, axis))
                return leaf

            def total(own):
                return jnp.sum(network(own, values) * entries(self.outputs, weights))

            own = {index: entries(index, values[index]) for index in floats}
            return {
                (index, axis): jnp.any(leaf != 0, _others(leaf.shape, axis))
                for index, leaf in jax.grad(total)(own).items()
                for axis in (-1, -2)
            }

        self._alive = functools.partial(alive, values)
        self._all = {
            (index, axis): np.ones(shape[axis:][:1] * (len(shape) >= -axis), bool)
            for index, shape in enumerate(self.shapes)
            for axis in (-1, -2)
        }
        self._base = jax.device_get(self._alive(self._all))
        for index in floats:
            if not self._base[index, -1].any():
                raise ValueError(
                    f"find got '{self.names[index]}', on which the outputs do not "
                    "depend; expected an apply of the network as it is used after "
                    "training, and no leaves besides its own."
                )

    def dead(self, zeros):
        """Entries whose gradients become 0 if others are set to 0."""
        kept = {key: ~values for key, values in zeros.items()}
        alive = jax.device_get(self._alive(self._all | kept))
        return {key: base & ~alive[key] for key, base in self._base.items()}

    def groups(self):
        """Leaves that compute units, by the leaf that takes them."""
        ranks = [len(shape) for shape in self.shapes[: self.parameters]]
        kernels = [index for index, rank in enumerate(ranks) if rank > 1]
        numbers = sorted({self.shapes[kernel][-1] for kernel in kernels} - {1})
        found = {}
        for taker in (*kernels, self.outputs):
            for number in numbers:
                if group := self._group(taker, number):
                    found[taker] = group
        return found

    def _group(self, taker, number):
        """Leaves of which exactly the units die that the taker does not take."""
        axis, owners = self._rows(taker, number)
        if len(owners) % number or (axis == -1 and len(owners) != number):
            return []
        group = None
        for subset in _subsets(number):
            found = []
            zeros = {(taker, axis): subset[owners]}
            for (index, along), dead in self.dead(zeros).items():
                if not dead.any():
                    continue
                if index == taker or along == -2 or not np.array_equal(dead, subset):
                    return []
                found.append(index)
            if group not in (None, found):
                return []
            group = found
        return group or []

    def takes_nothing_else(self, taker, group):
        """Return whether exactly the rows of units die that are not computed."""
        number = self.shapes[group[0]][-1]
        axis, owners = self._rows(taker, number)
        return all(
            np.array_equal(
                self.dead({(index, -1): subset for index in group})[taker, axis],
                subset[owners],
            )
            for subset in _subsets(number)[:2]
        )

    def _rows(self, taker, number):
        """(axis, owners) of the units in the leaf that takes them."""
        axis = -1 if taker == self.outputs else -2
        return axis, np.arange(self.shapes[taker][axis]) % number

    def layer(self, taker, group):
        """Describe the units of a group."""
        name = next(self.names[index] for index in group if len(self.shapes[index]) > 1)
        return Layer(
            name=name.rpartition("/")[0] or name,
            number=self.shapes[group[0]][-1],
            incoming=tuple(Slice(self.names[i]) for i in group if i < self.parameters),
            outgoing=(Slice(self.names[taker], -2),),
            state=tuple(Slice(self.names[i]) for i in group if i >= self.parameters),
        )


def _subsets(number: int) -> list[np.ndarray]:
    """Sets of units that tell all of them apart: by each bit of their numbers."""
    bits = np.arange(number) >> np.arange((number - 1).bit_length())[:, None] & 1
    return [bit == value for bit in bits for value in (0, 1)]


def _others(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """All axes but one, which small ranks may lack."""
    return tuple(i for i in range(len(shape)) if i != len(shape) + axis)


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)
