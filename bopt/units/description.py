"""Descriptions of units: which entries of which leaves belong to one unit."""

import collections
import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from bopt.selections import PyTree, path_names

OPTIONS = "a path of a leaf, as bopt.selections.path_names gives it"


@dataclasses.dataclass(frozen=True)
class Slice:
    """Entries of one leaf, by units: those with an index along an axis.

    Attributes:
      path: path of the leaf, as path patterns see it: ``"Dense_0/kernel"``.
      axis: the axis along which the units lie.
      owners: the unit of each index along the axis; -1: none of this layer's. By
        default index i belongs to unit i modulo the number of units, which is also
        right for a dense kernel behind a flattened image with channels last.

    Example:
      >>> import bopt
      >>> bopt.units.Slice("Dense_0/kernel", axis=-2).axis
      -2
    """

    path: str
    axis: int = -1
    owners: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Layer:
    """Units of one layer.

    Attributes:
      name: name of the layer.
      number: number of units.
      incoming: entries that compute the units: a kernel's columns, a bias, the scale
        and bias of a normalization.
      outgoing: entries that take the units: the next kernel's rows.
      state: entries of other variables, such as the statistics of a normalization.

    Example:
      >>> from bopt.units import Layer, Slice
      >>> Layer("hidden", 3, incoming=(Slice("w0", -1), Slice("b0", -1)),
      ...       outgoing=(Slice("w1", -2),)).number
      3
    """

    name: str
    number: int
    incoming: tuple[Slice, ...]
    outgoing: tuple[Slice, ...]
    state: tuple[Slice, ...] = ()


@dataclasses.dataclass(frozen=True)
class Units:
    """Units of a network, made by `bopt.units.find` or `bopt.units.describe`.

    Attributes:
      layers: the layers whose units may be pruned, from the input to the output.
      params: structure of the parameters.
      shapes: (path, shape) of each parameter.
      state: structure of the other variables.
      uses: products per entry of each parameter and example: 1 for a dense kernel, the
        number of positions for that of a convolution, 0 for a bias.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> from bopt.units import Layer, Slice
      >>> params = {"w0": jnp.ones((4, 3)), "b0": jnp.ones(3), "w1": jnp.ones((3, 2))}
      >>> hidden = Layer("hidden", 3, (Slice("w0"), Slice("b0")), (Slice("w1", -2),))
      >>> units = bopt.units.describe(params, [hidden])
      >>> units.numbers, float(units.multiply_adds([2]))
      ((3,), 12.0)
      >>> print(units.kept(params | {"w1": params["w1"].at[1].set(0)}))
      [Array([ True, False,  True], dtype=bool)]
    """

    layers: tuple[Layer, ...]
    params: Any
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    state: Any
    uses: tuple[int, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Number of units of each layer."""
        return tuple(layer.number for layer in self.layers)

    def multiply_adds(self, numbers: ArrayLike | Sequence[ArrayLike]) -> jax.Array:
        """Products of kernels per example, with other numbers of units per layer."""
        numbers, total = jnp.asarray(numbers), jnp.zeros(())
        slices = self.slices()
        for (path, shape), uses in zip(self.shapes, self.uses, strict=True):
            shares = collections.defaultdict(lambda: jnp.ones(()))  # of each axis
            for layer, axis, owners in slices.get(path, ()):
                lost = 1 - numbers[layer] / self.layers[layer].number
                shares[axis] -= np.mean(owners >= 0) * lost
            product = functools.reduce(jnp.multiply, shares.values(), jnp.ones(()))
            total += uses * math.prod(shape) * product
        return total

    def kept(self, tree: PyTree) -> list[jax.Array]:
        """One boolean per unit of each layer, from parameters or their masks.

        A unit is left out if all its outgoing entries are 0 or False, those to units
        left out aside. One whose own entries are not finite stays, because 0 * NaN is
        NaN, and so does the first of a layer without any other.
        """
        return self.kept_by(self.leaves(tree))

    def kept_by(self, leaves: Mapping[str, jax.Array]) -> list[jax.Array]:
        """As `kept`, from leaves by path."""
        kept = [jnp.ones(number, bool) for number in self.numbers]
        nonzero = {path: leaf != 0 for path, leaf in leaves.items()}
        for index, layer in reversed(list(enumerate(self.layers))):
            own = jnp.zeros(layer.number, bool)
            for part in layer.outgoing:
                if part.path not in leaves:  # without a mask
                    own = jnp.ones(layer.number, bool)
                    continue
                used = nonzero[part.path] & self.entries(part.path, kept)
                own |= self.totals(part, used, layer.number) > 0
            for part in layer.incoming:
                leaf = leaves.get(part.path)
                if leaf is not None and leaf.dtype != bool:
                    own |= self.totals(part, ~jnp.isfinite(leaf), layer.number) > 0
            kept[index] = own.at[0].set(own[0] | ~own.any())
        return kept

    def leaves(self, tree: PyTree) -> dict[str, jax.Array]:
        """Leaves of a tree like the parameters, by path."""
        names = jax.tree.leaves(path_names(tree))
        return dict(zip(names, map(jnp.asarray, jax.tree.leaves(tree)), strict=True))

    def check(self, name: str, params: PyTree) -> None:
        """Raise ValueError unless the parameters have the structure and shapes."""
        found = _shapes(params)
        for path, shape in self.shapes:
            own = found.get(path)
            if found and own != shape:
                raise ValueError(
                    f"{name} got '{path}' of shape {own}; expected {shape}, as in "
                    "units: describe or find the units of these parameters."
                )

    def slices(self, *, state: bool = False) -> dict[str, list[Any]]:
        """(layer, axis, owners) of each slice of parameters or of the state, by path.

        Axes are below 0.
        """
        found = collections.defaultdict(list)
        for index, layer in enumerate(self.layers):
            for part in layer.state if state else layer.incoming + layer.outgoing:
                found[part.path].append((index, part.axis, np.array(part.owners)))
        return dict(found)

    def entries(self, path: str, kept: Sequence[jax.Array]) -> jax.Array:
        """A mask of a parameter: True for entries of kept units only."""
        shape = dict(self.shapes)[path]
        mask = jnp.ones(shape, bool)
        for layer, axis, owners in self.slices().get(path, ()):
            own = jnp.where(owners >= 0, kept[layer][owners], True)
            mask &= jnp.expand_dims(own, _others(len(shape), axis))
        return mask

    def totals(self, part: Slice, values: jax.Array, number: int) -> jax.Array:
        """Sums over the entries of each unit in one leaf."""
        along = jnp.sum(values, _others(values.ndim, part.axis))
        owners = np.array(part.owners)
        owners = np.where(owners < 0, number, owners)  # dropped
        return jnp.zeros(number, along.dtype).at[owners].add(along, mode="drop")


def _others(ndim: int, axis: int) -> tuple[int, ...]:
    return tuple(i for i in range(ndim) if i != axis % ndim)


def describe(
    params: PyTree,
    layers: Iterable[Layer],
    *,
    state: PyTree = (),
    uses: Mapping[str, int] | None = None,
) -> Units:
    """Describe the units of a network by hand.

    `bopt.units.find` does this for sequential networks of Flax.

    Args:
      params: the parameters, or their shapes.
      layers: the layers whose units may be pruned, from the input to the output. The
        output layer is none of them.
      state: other variables that are used per unit, such as the statistics of a
        normalization.
      uses: products per entry and example of parameters, by path; by default 1 for
        those of rank 2 or more, which is right for dense layers, and 0 for others.

    Returns:
      The `Units`.

    Raises:
      ValueError: a path without a leaf, an axis or owners that do not fit its shape,
        a unit without entries, or an index along an axis that belongs to two units
        (each named).

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> from bopt.units import Layer, Slice
      >>> params = {"w0": jnp.ones((4, 3)), "b0": jnp.ones(3), "w1": jnp.ones((3, 2))}
      >>> hidden = Layer("hidden", 3, (Slice("w0"), Slice("b0")), (Slice("w1", -2),))
      >>> bopt.units.describe(params, [hidden]).layers[0].outgoing
      (Slice(path='w1', axis=-2, owners=(0, 1, 2)),)
    """
    shapes = _shapes(params)
    others = _shapes(state)
    made = []
    for layer in layers:
        if not layer.incoming or not layer.outgoing:
            raise ValueError(
                f"describe got the layer '{layer.name}' without incoming or outgoing "
                "entries; expected both: units of the output layer are not pruned."
            )
        own = {
            kind: tuple(
                _resolved(layer, part, others if kind == "state" else shapes)
                for part in getattr(layer, kind)
            )
            for kind in ("incoming", "outgoing", "state")
        }
        made.append(dataclasses.replace(layer, **own))
    unknown = sorted(set(uses or ()) - shapes.keys())
    if unknown:
        raise ValueError(f"describe got uses of '{unknown[0]}'; expected {OPTIONS}.")
    default = {path: int(len(shape) > 1) for path, shape in shapes.items()}
    units = Units(
        layers=tuple(made),
        params=jax.tree.structure(params),
        shapes=tuple(shapes.items()),
        state=jax.tree.structure(state),
        uses=tuple((default | dict(uses or {})).values()),
    )
    _check_owned_once(units)
    return units


def _shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    names, leaves = jax.tree.leaves(path_names(tree)), jax.tree.leaves(tree)
    return {name: jnp.shape(leaf) for name, leaf in zip(names, leaves, strict=True)}


def _resolved(layer: Layer, part: Slice, shapes: dict[str, tuple[int, ...]]) -> Slice:
    """A slice with its owners, and with an axis below 0."""
    start = f"describe got '{part.path}' in the layer '{layer.name}'"
    if part.path not in shapes:
        raise ValueError(
            f"{start}, which is no leaf; expected {OPTIONS}: {', '.join(shapes)}."
        )
    shape = shapes[part.path]
    if not -len(shape) <= part.axis < len(shape):
        raise ValueError(
            f"{start} with axis={part.axis}; expected an axis of its shape {shape}."
        )
    length = shape[part.axis]
    owners = part.owners
    if owners is None:
        if length % layer.number:
            raise ValueError(
                f"{start}, of length {length} along axis {part.axis}; expected a "
                f"multiple of its {layer.number} units, or owners."
            )
        owners = tuple(index % layer.number for index in range(length))
    if len(owners) != length or set(owners) - {-1} != set(range(layer.number)):
        raise ValueError(
            f"{start} with {len(owners)} owners from {min(owners)} to {max(owners)}; "
            f"expected one for each of {length} indices, with all units from 0 to "
            f"{layer.number - 1}; -1 for an index of none of them."
        )
    axis = part.axis - len(shape) if part.axis >= 0 else part.axis
    return Slice(part.path, axis, tuple(owners))


def _check_owned_once(units: Units) -> None:
    """Raise ValueError if two units own an index of one axis."""
    for path, parts in (*units.slices().items(), *units.slices(state=True).items()):
        axes = collections.defaultdict(list)
        for layer, axis, owners in parts:
            for other, taken in axes[axis]:
                if np.any((owners >= 0) & (taken >= 0)):
                    first, second = units.layers[other].name, units.layers[layer].name
                    raise ValueError(
                        f"describe got axis {axis} of '{path}' in the layer '{first}' "
                        f"and in '{second}'; expected each index to belong to one "
                        "unit: units that are added or tied are one unit."
                    )
            axes[axis].append((layer, owners))
