"""States on disk and on several devices: Orbax, `optax.tree.map_params`, sharding."""

import os
import subprocess
import sys
import textwrap

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import problems
import pytest

import bopt

FULL = {
    "smgd": optax.chain(bopt.smgd(), optax.adam(0.1), bopt.prune(0.3)),
    "madam": optax.chain(bopt.madam(0.1, amsgrad=True), bopt.prune(0.3, regrow=False)),
    "mrmsprop": optax.chain(bopt.mrmsprop(0.1), bopt.prune(0.3, where="*")),
}


def full(*fast):
    """One test for each of them; those not named are slow."""
    rows = [
        pytest.param(o, id=n, marks=() if n in fast else pytest.mark.slow)
        for n, o in FULL.items()
    ]
    return pytest.mark.parametrize("optimizer", rows)


def advance(optimizer, params, state, steps):
    update = jax.jit(optimizer.update)
    for _ in range(steps):
        updates, state = update(problems.jacobian(params), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@full("madam")
def test_resuming_from_orbax_equals_never_stopping(optimizer, tmp_path):
    params = problems.parameters()
    params, state = advance(optimizer, params, optimizer.init(params), 2)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", (params, state))
        checkpointer.wait_until_finished()
        # Against an abstract target: without one, NamedTuples come back as dicts.
        target = jax.eval_shape(lambda: (params, optimizer.init(params)))
        restored = checkpointer.restore(tmp_path / "state", target)
    assert jax.tree.structure(restored) == jax.tree.structure((params, state))
    jax.tree.map(np.testing.assert_array_equal, restored, (params, state))
    jax.tree.map(
        np.testing.assert_array_equal,
        advance(optimizer, restored[0], restored[1], 2),
        advance(optimizer, params, state, 2),
    )


@full(*FULL)
def test_map_params_finds_every_copy_of_the_parameters(optimizer):
    state = jax.eval_shape(optimizer.init, problems.parameters())
    marked = optax.tree.map_params(
        optimizer,
        lambda leaf: "param",
        state,
        transform_non_params=lambda leaf: "other",
    )
    for leaf, mark in zip(jax.tree.leaves(state), jax.tree.leaves(marked), strict=True):
        assert mark == ("param" if leaf.ndim > 1 or leaf.shape == (4,) else "other")


def test_map_params_with_specs_for_the_masks():
    params = problems.parameters()
    specs = jax.tree.map(lambda leaf: f"spec of {leaf.shape}", params)
    optimizer = optax.chain(bopt.smgd(), optax.adam(0.1), bopt.prune())
    mapped = optax.tree.map_params(
        optimizer,
        lambda leaf, spec: leaf if isinstance(leaf, optax.MaskedNode) else spec,
        optimizer.init(params),
        specs,
        transform_non_params=lambda leaf: "replicated",
        is_leaf=lambda node: isinstance(node, optax.MaskedNode),
    )
    mask = optax.tree.get(mapped, "PruneState").mask
    assert mask["dense"] == {"kernel": "spec of (3, 4)", "bias": optax.MaskedNode()}
    assert optax.tree.get(mapped, "SmgdState").weights == "replicated"
    assert optax.tree.get(mapped, "ScaleByAdamState").mu == specs


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, optax, bopt
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

assert len(jax.devices()) == 8
mesh = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
explicit = jax.make_mesh((8,), ("x",))
rng = np.random.default_rng(0)
params = {"kernel": jnp.asarray(rng.normal(size=(16, 8)), jnp.float32),
          "bias": jnp.ones(8)}
specs = {"kernel": P("x", None), "bias": P()}
jac = {"kernel": jnp.asarray(rng.normal(size=(2, 16, 8)), jnp.float32),
       "bias": jnp.asarray(rng.normal(size=(2, 8)), jnp.float32)}
place = lambda tree, specs: jax.tree.map(
    lambda leaf, spec: jax.device_put(leaf, NamedSharding(mesh, spec)), tree, specs)
sharded = place(params, specs)
sharded_jac = place(jac, {"kernel": P(None, "x", None), "bias": P()})
for optimizer in (
    optax.chain(bopt.smgd(), optax.adam(0.1), bopt.prune(0.3)),
    optax.chain(bopt.madam(0.1, weigh_by="directions"), bopt.prune(0.3)),
):
    update = jax.jit(optimizer.update)
    expected, expected_state = update(jac, optimizer.init(params), params)
    is_masked = lambda node: isinstance(node, optax.MaskedNode)
    shardings = optax.tree.map_params(
        optimizer,
        lambda leaf, spec: leaf if is_masked(leaf) else NamedSharding(
            mesh, P(None, *spec) if leaf.ndim > len(spec) > 0 else spec),
        jax.eval_shape(optimizer.init, sharded),
        specs,
        transform_non_params=lambda leaf: NamedSharding(mesh, P()),
        is_leaf=is_masked,
    )
    state = jax.jit(optimizer.init, out_shardings=shardings)(sharded)
    updates, new = update(sharded_jac, state, sharded)
    kernel = updates["kernel"]
    assert len({str(shard.index) for shard in kernel.addressable_shards}) == 8
    mask = optax.tree.get(new, "PruneState").mask["kernel"]
    assert len({str(shard.index) for shard in mask.addressable_shards}) == 8
    for ours, one in zip(jax.tree.leaves((updates, new)),
                         jax.tree.leaves((expected, expected_state)), strict=True):
        np.testing.assert_allclose(ours, one, rtol=1e-5, atol=1e-6)

for m in (2, 3, 6):
    rows = jnp.asarray(rng.normal(size=(m, 16, 8)), jnp.float32)
    for factor in (1.0, 1e-20):
        given = {"kernel": factor * rows}
        one = {"kernel": params["kernel"]}
        optimizer = bopt.madam(0.1, num_objectives=m)
        expected, _ = jax.jit(optimizer.update)(given, optimizer.init(one), one)
        split = {"kernel": jax.device_put(one["kernel"],
                                          NamedSharding(explicit, P("x")))}
        split_jac = {"kernel": jax.device_put(given["kernel"],
                                              NamedSharding(explicit, P(None, "x")))}
        updates, _ = jax.jit(optimizer.update)(split_jac, optimizer.init(split), split)
        assert updates["kernel"].sharding.spec == P("x", None)
        np.testing.assert_allclose(updates["kernel"], expected["kernel"],
                                   rtol=1e-4, atol=1e-6)

    # The recipe for jax.shard_map: the loss takes its mean over the devices.
    optimizer = bopt.smgd(num_objectives=m)
    inputs = jnp.asarray(rng.normal(size=(32, 16)), jnp.float32)
    split_inputs = jax.device_put(inputs, NamedSharding(explicit, P("x")))

    def update(params, inputs, mean):
        losses = [lambda p, x, i=i: mean(jnp.mean((jnp.tanh(x @ p["kernel"])[:, i]
                                                   - x[:, i]) ** 2))
                  for i in range(m - 1)]
        _, jac = bopt.value_and_jac([*losses, bopt.l1])(params, inputs)
        return optimizer.update(jac, optimizer.init(params), params)

    expected, state = jax.jit(lambda p, x: update(p, x, lambda v: v))(one, inputs)
    updates, ours = jax.jit(jax.shard_map(
        lambda p, x: update(p, x, lambda v: jax.lax.pmean(v, "x")), mesh=explicit,
        in_specs=(P(), P("x")), out_specs=P()))(one, split_inputs)
    np.testing.assert_allclose(ours.weights, state.weights, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(updates["kernel"], expected["kernel"],
                               rtol=1e-4, atol=1e-6)

    # Without it each device has weights of its own: the solver's loop takes them, too.
    def alone(params, inputs):
        varying = jax.lax.pcast(params, "x", to="varying")
        return update(varying, inputs, lambda v: v)[1].weights[None]

    weights = jax.jit(jax.shard_map(alone, mesh=explicit, in_specs=(P(), P("x")),
                                    out_specs=P("x")))(one, split_inputs)
    assert weights.shape == (8, m) and jnp.isfinite(weights).all()
print("sharded as one")
"""


@pytest.mark.slow
def test_sharded_parameters_on_eight_devices():
    flags = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    )
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SHARDED)],
        env={**os.environ, "XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "sharded as one"
