"""Compaction: a network without its pruned units, in the middle of its training."""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax

from bopt._pruning import PruneState
from bopt.selections import PyTree, path_names
from bopt.units.description import Layer, Slice, Units


def compact(units: Units, params: PyTree, *trees: PyTree) -> tuple[Any, ...]:
    """Remove the units whose outgoing entries are all 0, which changes no output.

    Their entries are cut out of the parameters and of everything shaped like them: the
    moments of an optimizer, masks, the state of `bopt.prune_units`, batch statistics.
    The training continues with a network of ``units.numbers`` units::

        units, params, opt_state = bopt.compact(units, params, opt_state)
        model = LeNet5(widths=units.numbers)

    Its steps are those of the larger network with the mask held, as long as nothing
    depends on the entries that are gone: the norm of a jacobian's row does where a
    penalty has a slope at 0 (``bopt.l1(at_zero=1)``). A new `bopt.prune_units` takes
    its budget as a share of the smaller network's cost.

    Args:
      units: the units, see `bopt.units.find`.
      params: the parameters.
      *trees: whatever else is to be cut, such as an optimizer's state and the state
        that `units` were found with. Parts that have the structure of the parameters,
        possibly with more axes in front, or of that state are cut.

    Returns:
      (units, params, *trees), all of the smaller network. Each layer keeps at least one
      unit, and those whose entries are not finite, so that NaN stays visible. Not to be
      called under `jax.jit`, because the shapes depend on values.

    Raises:
      ValueError: parameters of another shape than those of `units`, or an array in the
        place of a parameter that does not have its shape, as in factored moments (each
        named).

    Example:
      >>> import bopt, jax.numpy as jnp, optax
      >>> from bopt.units import Layer, Slice
      >>> params = {"w0": jnp.ones((4, 3)), "w1": jnp.array([[2.0], [0.0], [3.0]])}
      >>> units = bopt.units.describe(
      ...     params, [Layer("hidden", 3, (Slice("w0"),), (Slice("w1", -2),))])
      >>> state = optax.adam(1e-3).init(params)
      >>> units, params, state = bopt.compact(units, params, state)
      >>> units.numbers, params["w0"].shape, optax.tree.get(state, "mu")["w0"].shape
      ((2,), (4, 2), (4, 2))
    """
    units.check("compact", params)
    cut = _Cut(units, [np.asarray(layer) for layer in jax.jit(units.kept)(params)])
    return cut.units(), *(cut.tree(tree) for tree in (params, *trees))


class _Cut:
    """Removal of units from trees."""

    def __init__(self, units: Units, kept: list[np.ndarray]):
        self.old, self.kept = units, kept
        self.params, self.state = (
            {path: self._indices(parts) for path, parts in slices.items()}
            for slices in (units.slices(), units.slices(state=True))
        )

    def _indices(self, parts) -> dict[int, np.ndarray]:
        """Indices that stay along each axis of a leaf."""
        stay = {}
        for layer, axis, owners in parts:
            own = (owners < 0) | self.kept[layer][owners]
            stay[axis] = stay.get(axis, True) & own
        return {axis: np.flatnonzero(own) for axis, own in stay.items()}

    def units(self) -> Units:
        """Describe the units that stay."""

        def smaller(part: Slice, layer: int, indices: dict[str, Any]) -> Slice:
            # Unit number n becomes the number of units that stay before it; -1 is kept.
            renamed = np.append(np.cumsum(self.kept[layer]) - 1, -1)
            owners = np.array(part.owners)[indices[part.path][part.axis]]
            return dataclasses.replace(part, owners=tuple(renamed[owners].tolist()))

        layers = []
        for index, (layer, kept) in enumerate(
            zip(self.old.layers, self.kept, strict=True)
        ):
            own: dict[str, Any] = {
                kind: tuple(
                    smaller(part, index, self.state if kind == "state" else self.params)
                    for part in getattr(layer, kind)
                )
                for kind in ("incoming", "outgoing", "state")
            }
            layers.append(Layer(layer.name, int(kept.sum()), **own))
        shapes = tuple(
            (path, self._shape(path, shape)) for path, shape in self.old.shapes
        )
        return dataclasses.replace(self.old, layers=tuple(layers), shapes=shapes)

    def _shape(self, path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        smaller = list(shape)
        for axis, indices in self.params.get(path, {}).items():
            smaller[axis] = len(indices)
        return tuple(smaller)

    def tree(self, tree: PyTree) -> PyTree:
        """Cut every part of a tree that is like the parameters or the state."""
        like = {self.old.params: self._parameters, self.old.state: self._statistics}

        def special(node: Any) -> bool:
            return isinstance(node, PruneState) or _structure(node) in like

        def cut(node: Any) -> Any:
            if isinstance(node, PruneState):
                return PruneState(
                    mask=self._parameters(node.mask),
                    step=node.step,
                    score=self._score(node),
                    optimizer=self.tree(node.optimizer),
                )
            return like[_structure(node)](node) if special(node) else node

        return jax.tree.map(cut, tree, is_leaf=special)

    def _parameters(self, tree: PyTree) -> PyTree:
        leaves, structure = jax.tree.flatten(tree, is_leaf=_is_masked)
        pairs = zip(self.old.shapes, leaves, strict=True)
        return structure.unflatten(
            [
                leaf if _is_masked(leaf) else self._leaf(path, shape, leaf)
                for (path, shape), leaf in pairs
            ]
        )

    def _leaf(self, path: str, shape: tuple[int, ...], leaf: Any) -> Any:
        found = np.shape(leaf)
        if path not in self.params or not found:
            return leaf
        if found[len(found) - len(shape) :] != shape:
            raise ValueError(
                f"compact got an array of shape {found} in the place of '{path}'; "
                f"expected {shape}, the shape of the parameter: start a new optimizer "
                "if its state has other shapes."
            )
        return _take(leaf, self.params[path])

    def _statistics(self, tree: PyTree) -> PyTree:
        leaves, structure = jax.tree.flatten(tree)
        names = jax.tree.leaves(path_names(tree))
        return structure.unflatten(
            [
                _take(leaf, self.state.get(name, {}))
                for name, leaf in zip(names, leaves, strict=True)
            ]
        )

    def _score(self, state: PruneState) -> Any:
        """Cut lists of an array per unit's layer, or per leaf that has a mask."""
        paths = jax.tree.leaves(path_names(state.mask))
        masked = [(path, dict(self.old.shapes)[path]) for path in paths]

        def cut(node: Any) -> Any:
            if not isinstance(node, list):
                return node
            shapes = [np.shape(leaf) for leaf in node]
            if shapes == [(number,) for number in self.old.numbers]:
                pairs = zip(node, self.kept, strict=True)
                return [_take(leaf, {-1: np.flatnonzero(own)}) for leaf, own in pairs]
            if shapes == [shape for _, shape in masked]:
                pairs = zip(masked, node, strict=True)
                return [self._leaf(*named, leaf) for named, leaf in pairs]
            return node

        return jax.tree.map(
            cut, state.score, is_leaf=lambda node: isinstance(node, list)
        )


def _take(leaf: Any, indices: dict[int, np.ndarray]) -> Any:
    for axis, own in indices.items():
        leaf = leaf.take(own, axis=axis)
    return leaf


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _structure(tree: PyTree) -> Any:
    return jax.tree.structure(tree, is_leaf=_is_masked)
