"""Selections: the leaves of a parameter tree that a penalty, pruning or report covers.

Every `where` argument of this library takes the same five kinds of selection:

* an **int**: leaves of that rank. ``2`` selects every dense kernel of a Flax, NNX or
  Equinox network, ``4`` every 2-d convolution kernel;
* a **str**: a path pattern with ``*`` and ``?`` (`fnmatch.fnmatchcase`), matched
  against the keys of a leaf joined by ``/``, as in ``"params/Dense_*/kernel"``. A
  leading ``*/`` may stand for nothing: ``"*/kernel"`` matches ``kernel``, too. The
  boxes of Flax (`nnx.Param`, `nn.Partitioned`) are no part of a path;
* a **predicate** ``(path, leaf) -> bool`` of the same path and the leaf;
* a **boolean tree**: one bool per leaf or per subtree (a tree prefix);
* the `union` of several, or the `complement` of one.

Rank misleads for stacked layers and attention layers, whose kernels have rank 3 and
whose biases have rank 2, and for embeddings, whose tables have rank 2. Use a path
pattern there: ``"*/kernel"`` selects all kernels of a Flax network and nothing else.

A selection that matches nothing is an error. Inside a union or complement a rank may
match nothing (a network without convolutions), and a path pattern that does is warned
of, because it is probably misspelled.
"""

import dataclasses
import fnmatch
import warnings
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

PyTree = Any
Where = Any  # one of the five kinds above


@dataclasses.dataclass(frozen=True)
class _Union:
    parts: tuple[Where, ...]


@dataclasses.dataclass(frozen=True)
class _Complement:
    part: Where


def union(*parts: Where) -> Where:
    """Select the leaves that at least one of `parts` selects.

    Args:
      *parts: selections of any kind (see `bopt.selections`).

    Returns:
      A selection. Single parts may match nothing (a path pattern that does is warned
      of), their union may not.

    Raises:
      ValueError: no parts, or a part of none of the five kinds.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> params = {"kernel": jnp.ones((4, 2)), "bias": jnp.ones(2), "eps": jnp.ones(2)}
      >>> bopt.select(bopt.union(2, "b*"), params)
      {'bias': True, 'eps': False, 'kernel': True}
    """
    if not parts:
        raise ValueError("union() needs at least one selection, got none.")
    return _Union(tuple(checked(part) for part in parts))


def complement(part: Where) -> Where:
    """Select the leaves that `part` does not select.

    Args:
      part: a selection of any kind (see `bopt.selections`).

    Returns:
      A selection. `part` may match nothing; a path pattern that does is warned of.

    Raises:
      ValueError: a selection of none of the five kinds.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> params = {"kernel": jnp.ones((4, 2)), "bias": jnp.ones(2)}
      >>> bopt.select(bopt.complement("bias"), params)
      {'bias': False, 'kernel': True}
    """
    return _Complement(checked(part))


def checked(where: Where) -> Where:
    """Check the kind of a selection before there is a tree to resolve it on.

    Args:
      where: a selection of any kind (see `bopt.selections`).

    Returns:
      The same selection.

    Raises:
      ValueError: a selection of none of the five kinds.

    Example:
      >>> import bopt
      >>> bopt.selections.checked("*/kernel")
      '*/kernel'
    """
    if isinstance(where, _Union | _Complement | str | int) or _is_predicate(where):
        return where
    leaves = jax.tree.leaves(where)
    if any(isinstance(leaf, str) for leaf in leaves):
        raise ValueError(
            f"where={where!r} is no selection: for several path patterns or ranks, "
            f"write bopt.union({', '.join(map(repr, leaves))})."
        )
    for path, leaf in jax.tree.leaves_with_path(where):
        if isinstance(leaf, Tracer) or (
            not isinstance(leaf, bool | np.bool_)
            and (np.ndim(leaf) != 0 or jax.dtypes.result_type(leaf) != np.bool_)
        ):
            raise ValueError(
                f"where has {leaf!r} at '{path_name(path)}'. Expected a rank (int), a "
                "path pattern (str), a predicate (path, leaf) -> bool, a tree of "
                "bools, or bopt.union / bopt.complement of these; under "
                "optax.inject_hyperparams, name 'where' in static_args."
            )
    return where


def select(where: Where, tree: PyTree) -> PyTree:
    """Resolve a selection on a tree.

    Args:
      where: a selection of any kind (see `bopt.selections`).
      tree: a pytree of arrays, or of anything with a shape.

    Returns:
      A tree like `tree` of Python bools, True where selected.

    Raises:
      ValueError: the selection matches no leaf of a tree that has leaves, is a
        boolean tree of another structure, or is of none of the five kinds.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> params = {"kernel": jnp.ones((4, 2)), "bias": jnp.ones(2)}
      >>> bopt.select(2, params)
      {'bias': False, 'kernel': True}
      >>> bopt.select(lambda path, leaf: "bias" in path, params)
      {'bias': True, 'kernel': False}
    """
    leaves = jax.tree.leaves(tree)
    named = list(zip(jax.tree.leaves(path_names(tree)), leaves, strict=True))
    chosen = _resolve(checked(where), tree, named)
    if not any(chosen) and chosen:
        raise ValueError(
            f"where={_describe(where)} matches {_none_of(named)}. Expected "
            "a selection that matches at least one; select by a path pattern such "
            "as '*/kernel' or by another rank."
        )
    return jax.tree.unflatten(jax.tree.structure(tree), chosen)


def selected_leaves(where: Where, tree: PyTree) -> list[jax.Array]:
    """List the selected leaves, in the order of the tree.

    Args:
      where: a selection of any kind (see `bopt.selections`).
      tree: a pytree of arrays.

    Returns:
      A list of leaves.

    Raises:
      ValueError: as `select`.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> params = {"kernel": jnp.ones((4, 2)), "bias": jnp.ones(2)}
      >>> [leaf.shape for leaf in bopt.selections.selected_leaves(2, params)]
      [(4, 2)]
    """
    keep = jax.tree.leaves(select(where, tree))
    return [leaf for leaf, k in zip(jax.tree.leaves(tree), keep, strict=True) if k]


def path_names(tree: PyTree) -> PyTree:
    """Name the leaves of a tree as path patterns see them.

    The names are those of `path_name`, without the keys of Flax's boxes: a parameter
    of NNX, or one of Linen with partitioning, has the same name as the bare array.

    Args:
      tree: a pytree.

    Returns:
      A tree like `tree` of strings.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> from flax import nnx
      >>> params = {"Dense_0": {"kernel": nnx.Param(jnp.ones(2))}, "scale": 1.0}
      >>> jax.tree.leaves(bopt.selections.path_names(params))
      ['Dense_0/kernel', 'scale']
    """
    names = [path_name(path) for path, _ in _unboxed_paths(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree), names)


def _unboxed_paths(tree: PyTree) -> list[tuple[tuple[Any, ...], Any]]:
    """`jax.tree.leaves_with_path` without the keys of boxes."""
    found = []
    for path, node in jax.tree.leaves_with_path(tree, is_leaf=_is_box):
        # The first key inside a box is the box's own.
        inner = jax.tree.leaves_with_path(node) if _is_box(node) else [((), node)]
        found += [(path + rest[1:], leaf) for rest, leaf in inner]
    return found


def _is_box(node: Any) -> bool:
    """True for `nnx.Variable` and `nn.Partitioned`, without an import of Flax."""
    return any(
        kind.__name__ in ("Variable", "AxisMetadata")
        and kind.__module__.startswith("flax.")
        for kind in type(node).__mro__
    )


def path_name(path: tuple[Any, ...]) -> str:
    """Join the keys of a leaf's path by ``/``.

    Args:
      path: a key path from `jax.tree.leaves_with_path`.

    Returns:
      The text that path patterns match; ``.`` for a tree that is a leaf.

    Example:
      >>> import bopt, jax
      >>> tree = {"Dense_0": {"kernel": 1.0}}
      >>> [bopt.selections.path_name(p) for p, _ in jax.tree.leaves_with_path(tree)]
      ['Dense_0/kernel']
    """
    return jax.tree_util.keystr(path, simple=True, separator="/") or "."


def _resolve(where: Where, tree: PyTree, named: list[tuple[str, Any]]) -> list[bool]:
    """One bool per leaf, possibly all False, from the names and leaves of the tree."""
    match where:
        case _Union(parts):
            resolved = [_resolve_part(part, tree, named) for part in parts]
            return [any(column) for column in zip(*resolved, strict=True)]
        case _Complement(part):
            return [not chosen for chosen in _resolve_part(part, tree, named)]
        case int() if not isinstance(where, bool):
            return [np.ndim(leaf) == where for _, leaf in named]
        case str():
            return [_matches(name, where) for name, _ in named]
    if _is_predicate(where):
        return [bool(where(name, leaf)) for name, leaf in named]
    return _resolve_tree(where, tree)


def _resolve_part(part: Where, tree: PyTree, named: list[tuple[str, Any]]):
    """As `_resolve`; warn of a path pattern that matches nothing."""
    chosen = _resolve(part, tree, named)
    if isinstance(part, str) and named and not any(chosen):
        warnings.warn(
            f"The path pattern {part!r} in a bopt.union or bopt.complement matches "
            f"{_none_of(named)}.",
            stacklevel=2,
        )
    return chosen


def _matches(name: str, pattern: str) -> bool:
    # "*/*" keeps its meaning: leaves that are not at the root.
    root = pattern.startswith("*/") and not pattern.startswith("*/*")
    return fnmatch.fnmatchcase(name, pattern) or (
        root and fnmatch.fnmatchcase(name, pattern[2:])
    )


def _is_predicate(where: Where) -> bool:
    return callable(where) and jax.tree.structure(where).num_nodes == 1


def _none_of(named: list[tuple[str, Any]]) -> str:
    """The end of a message: the number of leaves, and the first ones."""
    listed = ", ".join(f"{name} {np.shape(leaf)}" for name, leaf in named[:8])
    return f"none of the {len(named)} leaves: {listed}{', ...' * (len(named) > 8)}"


def _resolve_tree(where: PyTree, tree: PyTree) -> list[bool]:
    """One bool per leaf from a boolean tree or a prefix of one."""
    try:
        full = jax.tree.broadcast(where, tree)
    except ValueError as error:
        raise ValueError(
            f"where is a boolean tree of structure {jax.tree.structure(where)}, "
            f"expected that of the parameters or a prefix of it, "
            f"{jax.tree.structure(tree)}."
        ) from error
    return [bool(leaf) for leaf in jax.tree.leaves(full)]


def _describe(where: Where) -> str:
    return getattr(where, "__name__", None) or repr(where)
