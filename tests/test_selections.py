"""Selections: five kinds, one meaning, and errors that show the leaves."""

# Optax's and Flax's unions of types know no state's fields and no tree's keys.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

import equinox as eqx
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from hypothesis import strategies

import bopt

PARAMS = {
    "Conv_0": {"kernel": jnp.ones((3, 3, 1, 2)), "bias": jnp.ones(2)},
    "Dense_0": {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)},
    "scale": jnp.ones(()),
}
PATHS = {
    "Conv_0/bias",
    "Conv_0/kernel",
    "Dense_0/bias",
    "Dense_0/kernel",
    "scale",
}
KERNELS = {"Conv_0/kernel", "Dense_0/kernel"}


def paths(where, tree=PARAMS):
    """The paths of the selected leaves."""
    chosen = jax.tree.leaves_with_path(bopt.select(where, tree))
    assert all(isinstance(keep, bool) for _, keep in chosen)
    return {
        "/".join(str(getattr(key, "key", key)) for key in path)
        for path, keep in chosen
        if keep
    }


TREE = jax.tree.map(lambda leaf: leaf.ndim == 1, PARAMS)


@pytest.mark.parametrize(
    "where, expected",
    [
        (2, {"Dense_0/kernel"}),
        (4, {"Conv_0/kernel"}),
        (0, {"scale"}),
        ("*", PATHS),
        ("*/kernel", KERNELS),
        ("Dense_?/bias", {"Dense_0/bias"}),
        (lambda path, leaf: path in KERNELS and leaf.ndim > 2, {"Conv_0/kernel"}),
        (TREE, {"Conv_0/bias", "Dense_0/bias"}),
        (True, PATHS),
        ({"Conv_0": False, "Dense_0": True, "scale": np.bool_(True)},
         {"Dense_0/kernel", "Dense_0/bias", "scale"}),
        (bopt.union(2, "scale"), {"Dense_0/kernel", "scale"}),
        (bopt.union(2, 7), {"Dense_0/kernel"}),
        (bopt.union(bopt.complement("*/*"), 4), {"scale", "Conv_0/kernel"}),
        (bopt.complement(bopt.union(4, "*/bias")), {"Dense_0/kernel", "scale"}),
        (bopt.complement(7), PATHS),
    ],
)  # fmt: skip
def test_the_five_kinds(where, expected):
    assert paths(where) == expected


wheres = strategies.recursive(
    strategies.sampled_from([0, 1, 2, 4, 9, "*", "*/bias", "no such", True, False]),
    lambda inner: (
        inner.map(bopt.complement)
        | strategies.lists(inner, min_size=1, max_size=3).map(lambda w: bopt.union(*w))
    ),
    max_leaves=6,
)


@pytest.mark.filterwarnings("ignore:The path pattern")
@hypothesis.given(wheres, wheres)
def test_they_are_an_algebra_of_sets(a, b):
    # With "*" beside it a union is never empty, which select refuses.
    def full(where):
        return paths(bopt.union(where, "scale"))

    assert full(bopt.union(a, b)) == full(a) | full(b)
    assert full(bopt.complement(bopt.complement(a))) == full(a)
    rest = bopt.complement(bopt.union(bopt.complement(a), bopt.complement(b)))
    assert full(rest) == full(a) & full(b)
    assert full(a) | full(bopt.complement(a)) == PATHS


def test_structure_is_the_trees():
    chosen = bopt.select(2, PARAMS)
    assert jax.tree.structure(chosen) == jax.tree.structure(PARAMS)
    shapes = jax.eval_shape(lambda: PARAMS)
    assert bopt.select(2, shapes) == chosen
    assert jax.jit(lambda p: p["scale"] * len(paths(2, p)))(PARAMS) == 1


def test_one_selection_serves_penalty_pruning_and_report():
    where = bopt.union("Conv_*/kernel", 2)
    assert bopt.l1(PARAMS, where=where) == 18 + 12
    mask = bopt.prune(where=where).init(PARAMS).mask
    assert sum(leaf.size for leaf in jax.tree.leaves(mask)) == 18 + 12
    assert bopt.sparsity.report(PARAMS, where).dense.entries == 18 + 12


@pytest.mark.parametrize("where", [2, "*", lambda path, leaf: True, bopt.union(2, 4)])
@pytest.mark.parametrize("tree", [{}, (), None])
def test_a_tree_without_leaves_selects_nothing(where, tree):
    assert jax.tree.leaves(bopt.select(where, tree)) == []


def test_none_is_no_leaf():
    assert bopt.select(2, {"a": jnp.ones((1, 1)), "b": None}) == {"a": True, "b": None}


def test_a_lone_leaf_has_a_path():
    assert bopt.select(".", jnp.ones(3)) is True


@pytest.mark.parametrize(
    "where, message",
    [
        (
            3,
            r"where=3 matches none of the 5 leaves: Conv_0/bias \(2,\), .*another rank",
        ),
        ("Dens/*", r"where='Dens/\*' matches none of the 5 leaves"),
        (False, "where=False matches none"),
        (bopt.union(3, 5), "matches none of the 5 leaves"),
        (bopt.complement("*"), "matches none of the 5 leaves"),
        (["*/kernel", "scale"], r"write bopt.union\('\*/kernel', 'scale'\)"),
        ((2, "scale"), r"write bopt.union\(2, 'scale'\)"),
        (2.0, r"where has 2.0 at '\.'. Expected a rank \(int\), a path pattern"),
        ({"Conv_0": 1}, r"where has 1 at 'Conv_0'. Expected a rank"),
        (jnp.asarray(2), r"at '\.'. Expected a rank .* 'where' in static_args"),
        ({"Conv_0": True}, "boolean tree of structure .* expected that of the param"),
        (PARAMS, r"at 'Conv_0/bias'. Expected a rank"),
    ],
)
def test_wrong_selections_are_named(where, message):
    with pytest.raises(ValueError, match=message):
        bopt.select(where, PARAMS)


def test_an_empty_union_is_refused():
    with pytest.raises(ValueError, match="needs at least one selection, got none"):
        bopt.union()


def test_a_long_list_of_leaves_is_cut():
    with pytest.raises(
        ValueError, match=r"none of the 20 leaves: .*, \.\.\.\. Expected"
    ):
        bopt.select(2, [jnp.ones(1)] * 20)


@pytest.mark.parametrize(
    "build",
    [
        bopt.complement,
        lambda where: bopt.union(2, where),
        lambda where: bopt.prune(where=where),
        lambda where: bopt.prune_to(0.5, where=where),
    ],
)
def test_wrong_kinds_are_refused_before_there_is_a_tree(build):
    with pytest.raises(ValueError, match=r"write bopt.union\('\*w'\)"):
        build(["*w"])
    with pytest.raises(ValueError, match=r"where has 2.0 at '\.'. Expected a rank"):
        build(2.0)


@pytest.mark.parametrize(
    "where",
    [
        bopt.union(2, "*/bais"),
        bopt.complement(bopt.complement(bopt.union("*/bais", "*/kernel"))),
        bopt.complement("*/bais"),
    ],
)
def test_a_part_that_matches_nothing_is_warned_of_by_name(where):
    message = r"pattern '\*/bais' in .* matches none of the 5 leaves: Conv_0/bias"
    with pytest.warns(UserWarning, match=message):
        bopt.select(where, PARAMS)
    assert bopt.select(where, {}) == {}  # nothing to match is no misspelling


def test_a_leading_folder_may_be_missing():
    params = {"kernel": 1.0, "a": {"kernel": 1.0, "bias": 1.0}, "b": {"a": 1.0}}
    assert paths("*/kernel", params) == {"kernel", "a/kernel"}
    assert paths("*/a/*", params) == {"a/kernel", "a/bias"}
    assert paths("*/*", params) == {"a/kernel", "a/bias", "b/a"}


# Boxes


def names(where, tree):
    """The names of the selected leaves."""
    chosen = bopt.select(where, tree)
    leaves = zip(
        jax.tree.leaves(bopt.selections.path_names(tree)),
        jax.tree.leaves(chosen),
        strict=True,
    )
    return [name for name, keep in leaves if keep]


class Value(eqx.Module):
    value: jax.Array


def boxed_linen():
    init = nn.with_partitioning(nn.initializers.ones, (None, None))
    bias = nn.with_partitioning(nn.initializers.zeros, (None,))
    model = nn.Dense(3, kernel_init=init, bias_init=bias)
    return model.init(jax.random.key(0), jnp.ones((1, 2)))["params"]


@pytest.mark.parametrize(
    "tree",
    [
        lambda: nn.Dense(3).init(jax.random.key(0), jnp.ones((1, 2)))["params"],
        boxed_linen,
        lambda: nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0))),
        lambda: nnx.Linear(2, 3, rngs=nnx.Rngs(0)),
    ],
    ids=["Linen", "Linen, boxed", "NNX", "NNX module"],
)
def test_boxes_are_no_part_of_a_path(tree):
    tree = tree()
    assert names("*/kernel", tree) == names("kernel", tree) == ["kernel"]
    assert names(bopt.complement("*/bias"), tree) == ["kernel"]
    assert list(bopt.sparsity.report(tree, "kernel").layers) == ["kernel"]
    with pytest.raises(ValueError, match=r"none of the 2 leaves: bias \(3,\), kernel"):
        bopt.select("*/value", tree)


def test_a_module_called_value_keeps_its_name():
    tree = {"a": Value(jnp.ones(2)), "value": {"value": nnx.Param(jnp.ones(2))}}
    assert names("*", tree) == ["a/value", "value/value"]


def nnx_attention(**options):
    attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=nnx.Rngs(0), **options)
    return nnx.state(attention, nnx.Param)


def linen_attention():
    attention = nn.MultiHeadDotProductAttention(num_heads=2)
    return jax.eval_shape(attention.init, jax.random.key(0), jnp.ones((1, 3, 8)))


@pytest.mark.parametrize(
    "tree", [nnx_attention, lambda: nnx_attention(normalize_qk=True), linen_attention]
)
def test_all_kernels_of_attention(tree):
    """Kernels have rank 3 and biases rank 2."""
    tree = tree()
    kernels = [f"{name}/kernel" for name in ("key", "out", "query", "value")]
    assert [name.removeprefix("params/") for name in names("*/kernel", tree)] == kernels
    assert all("bias" in name for name in names(2, tree))
    mask = jax.tree.leaves(jax.eval_shape(bopt.prune(where="*/kernel").init, tree).mask)
    assert [leaf.ndim for leaf in mask] == [3] * 4
