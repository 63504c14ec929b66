"""The recipes of docs/integrations.md run as they stand, and do what their rows say."""

# Optax's unions of types know no state's fields.
# pyright: reportAttributeAccessIssue=false

import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import bopt

TEXT = (Path(__file__).parent.parent / "docs" / "integrations.md").read_text()
RECIPES = dict(
    re.findall(r"^##+ ([^\n]+)\n[^#]*?```python\n(.*?)```", TEXT, re.M | re.S)
)
SETUP = RECIPES.pop("Setup")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in re.findall(r"^\|.*\[recipe\].*$", TEXT, re.M)
]


def run(name: str) -> dict:
    """Execute the setup and a recipe; return their names."""
    found = {}
    with jax.numpy_rank_promotion("allow"):  # some libraries broadcast biases
        for text in (SETUP, RECIPES[name]):
            exec(compile(text, f"docs/integrations.md, {name}", "exec"), found)
    return found


def of(state, name: str):
    return optax.tree.get(state, name)


def assert_pruned(params, state):
    """The masks are those of the parameters: zeros where pruned, and only there."""
    mask = of(state, "PruneState").mask
    nodes = jax.tree.leaves(mask, is_leaf=lambda n: isinstance(n, optax.MaskedNode))
    pairs = [
        (np.asarray(kept), np.asarray(leaf))
        for kept, leaf in zip(nodes, jax.tree.leaves(params), strict=True)
        if not isinstance(kept, optax.MaskedNode)
    ]
    assert pairs and not all(kept.all() for kept, _ in pairs)
    for kept, leaf in pairs:
        np.testing.assert_array_equal(leaf != 0, kept)


def names_of_masks(found) -> list[str]:
    return jax.tree.leaves(
        jax.tree.map(
            lambda mask, name: [] if isinstance(mask, optax.MaskedNode) else name,
            of(found["state"], "PruneState").mask,
            bopt.selections.path_names(found["params"]),
            is_leaf=lambda n: isinstance(n, optax.MaskedNode),
        )
    )


def assert_close(found, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        found,
        expected,
    )


def plain() -> dict:
    """The setup again, with the training of chain(smgd, adam, prune)."""
    fresh = {}
    exec(SETUP, fresh)
    optimizer = optax.chain(bopt.smgd(), optax.adam(1e-2), bopt.prune(0.3))
    fresh["trained"] = fresh["train"](optimizer, fresh["params"])
    return fresh


def check_weights(found):
    weights = np.asarray(of(found["state"], "SmgdState").weights)
    assert weights.shape == (2,) and (weights >= 0).all()
    assert not (weights == 0.5).all()  # those before the first step


def check_boxes(found):
    assert names_of_masks(found) == ["params/kernel"]
    assert type(found["params"]["params"]["kernel"]).__name__ == "Partitioned"


def check_attention(found):
    layers = [f"params/{name}/kernel" for name in ("key", "out", "query", "value")]
    assert names_of_masks(found) == layers


def check_equinox(found):
    assert jnp.isfinite(jax.vmap(found["model"])(found["x"])).all()


def check_microbatches(found):
    expected = found["value_and_jac"](found["params"], found["x"], found["y"])
    assert_close((found["values"], found["jac"]), expected)


def check_multisteps(found):
    assert of(found["state"], "MultiStepsState").gradient_step == 2


def check_freezing(found):
    before, after = found["start"], found["params"]
    jax.tree.map(np.testing.assert_array_equal, before["hidden"], after["hidden"])
    assert (np.asarray(before["out"]["bias"]) != after["out"]["bias"]).all()
    jac = found["value_and_jac"](before, found["x"], found["y"])[1]
    _, own = bopt.smgd().update({"out": jac["out"]}, bopt.smgd().init(before))
    state = found["optimizer"].init(before)
    _, state = found["optimizer"].update(jac, state, before)
    assert_close(of(state, "SmgdState").weights, own.weights)


def check_injected(found):
    np.testing.assert_allclose(
        found["state"][0].hyperparams["learning_rate"], 8e-3, rtol=1e-5
    )


def check_average(found):
    """The average is dense, its masked form as sparse as the parameters."""

    def zeros(tree):
        return [np.asarray(tree[name]["kernel"]) == 0 for name in ("hidden", "out")]

    for average, masked, own in zip(
        *(zeros(found[name]) for name in ("average", "evaluation", "params")),
        strict=True,
    ):
        np.testing.assert_array_equal(masked, own)
        assert average.sum() <= own.sum()
    assert bopt.sparsity.report(found["average"]).dense.nonzeros > (
        bopt.sparsity.report(found["evaluation"]).dense.nonzeros
    )


def check_lookahead(found):
    """Fast and slow parameters have exact zeros of their own."""
    assert_pruned(found["pair"], found["state"])


def check_scan(found):
    assert found["values"].shape == (3, 2)


def check_seeds(found):
    kernel = found["networks"]["hidden"]["kernel"]
    assert kernel.shape == (2, 3, 8)
    assert (kernel[0] != kernel[1]).any()
    alone, _ = found["one"](1)
    assert_close(jax.tree.map(lambda leaf: leaf[1], found["networks"]), alone)


def check_as_plain(found):
    params, state = plain()["trained"]
    assert_close(found["params"], params)
    for name in ("SmgdState", "PruneState"):
        assert_close(of(found["state"], name), of(state, name))


def check_sharded(found):
    kept = jax.tree.leaves(of(found["state"], "PruneState").mask)
    assert sum(int(mask.sum()) for mask in kept) == 16


FAST, SLOW = (), pytest.mark.slow
CHECKS = {
    "Flax NNX": (check_weights, SLOW),
    "Flax TrainState": (check_weights, SLOW),
    "Boxed parameters": (check_boxes, SLOW),
    "Attention": (check_attention, SLOW),
    "Equinox": (check_equinox, SLOW),
    "Haiku": (check_weights, SLOW),
    "Microbatches": (check_microbatches, SLOW),
    "MultiSteps": (check_multisteps, SLOW),
    "apply_if_finite": (check_as_plain, SLOW),
    "Freezing": (check_freezing, SLOW),
    "inject_hyperparams": (check_injected, SLOW),
    "schedule_free": (check_average, SLOW),
    "lookahead": (check_lookahead, SLOW),
    "Averages": (check_average, SLOW),
    "Muon": (check_weights, SLOW),
    "SAM": (check_weights, SLOW),
    "Scan and donation": (check_scan, SLOW),
    "Seeds": (check_seeds, SLOW),
    "Remat": (check_as_plain, SLOW),
    "Data parallelism": (check_sharded, SLOW),
    "shard_map": (check_as_plain, SLOW),
}
UNPRUNED = {"Microbatches", "Seeds", "lookahead"}  # no parameters with a state


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=marks) for n, (_, marks) in CHECKS.items()]
)
def test_recipe(name):
    if name == "Haiku" and importlib.util.find_spec("haiku") is None:
        pytest.skip("dm-haiku is not installed")
    found = run(name)
    if name not in UNPRUNED:
        assert_pruned(found["params"], found["state"])
    CHECKS[name][0](found)


def test_every_row_has_a_recipe_and_a_test():
    anchors = {name.lower().replace(" ", "-"): name for name in RECIPES}
    assert list(anchors.values()) == list(CHECKS)
    linked = [re.search(r"\(#(.+)\)", row[2])[1] for row in ROWS]  # pyright: ignore[reportOptionalSubscript]
    assert linked == list(anchors)
    for anchor, row in zip(linked, ROWS, strict=True):
        assert row[3].removesuffix(" (if installed)") == anchors[anchor]
