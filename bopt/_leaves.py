"""Comparison of the leaves of updates and parameters."""

import jax

from bopt.selections import PyTree, path_names


def check_same_leaves(name: str, updates: PyTree, params: PyTree) -> None:
    """Raise ValueError if updates have some of the parameters' leaves, by path.

    Trees that share none are of wrappers: `optax.lookahead` gives two copies.
    """
    if jax.tree.structure(updates) == jax.tree.structure(params):
        return
    found, expected = (
        set(jax.tree.leaves(path_names(tree))) for tree in (updates, params)
    )
    wrong = [f"without '{path}'" for path in sorted(expected - found)]
    wrong += [f"with '{path}', which is no parameter" for path in found - expected]
    if wrong and found & expected:
        raise ValueError(
            f"{name} got updates {wrong[0]}; expected one for each of the "
            f"{len(expected)} parameters, in a tree like theirs."
        )
