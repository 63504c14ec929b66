"""An axis over networks: one after another or at once, on one device or several."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import printed

from experiments.devices import make_mesh, over_networks, sharding

# The axis


def function(number, vector, shared):
    """Of one network: without an axis over networks."""
    assert (number.shape, vector.shape, shared.shape) == ((), (2,), (2, 2))
    return {"product": shared @ (number * vector), "key": number + 1}


def arguments(networks: int):
    generator = np.random.default_rng(0)
    shapes = ((networks,), (networks, 2), (2, 2))
    return [jnp.asarray(generator.normal(size=s), jnp.float32) for s in shapes]


@pytest.mark.parametrize("at_once", [None, False, True])
@pytest.mark.parametrize("networks", [1, 3])
def test_a_function_of_one_network_becomes_one_of_many(networks, at_once):
    numbers, vectors, shared = arguments(networks)
    mapped = over_networks(function, 2, make_mesh(1), at_once)
    found = jax.jit(mapped)(numbers, vectors, shared)
    expected = [function(*own, shared) for own in zip(numbers, vectors, strict=True)]
    assert set(found) == {"product", "key"}
    for name, values in found.items():
        rows = np.stack([row[name] for row in expected])
        np.testing.assert_allclose(values, rows, rtol=1e-6)
        assert values.shape == rows.shape


def test_a_cpu_takes_one_network_after_another():
    """`jax.lax.map` is a loop; `jax.vmap` is none."""
    mesh = make_mesh(1)
    loops = {
        at_once: "scan[" in str(jax.make_jaxpr(mapped)(*arguments(3)))
        for at_once in (None, False, True)
        for mapped in [over_networks(function, 2, mesh, at_once)]
    }
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    assert loops == {None: on_cpu, False: True, True: False}


def test_what_is_compiled_has_the_functions_name():
    assert over_networks(function, 2, make_mesh(1)).__name__ == "function"


def test_no_more_devices_than_networks():
    assert make_mesh(1).size == 1
    assert make_mesh(10_000).devices.flatten().tolist() == jax.devices()
    array = jax.device_put(jnp.zeros((2, 3)), sharding(make_mesh(1), split=True))
    assert array.sharding.device_set == {jax.devices()[0]}


# Several devices


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(
            {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
            marks=pytest.mark.slow,
        ),
        pytest.param({"JAX_NUM_CPU_DEVICES": "4"}, marks=pytest.mark.slow),
    ],
    ids="".join,
)
def test_networks_on_four_devices(told):
    out = printed(str(Path(__file__).with_name("many_networks.py")), **told)
    assert out.splitlines() == [
        "4 networks, 4 rows, 4 devices",
        "6 networks, 8 rows, 4 devices",
    ]


COUNT = "from experiments.devices import use_all_cores; use_all_cores(); "
COUNT += "import jax; print(jax.device_count())"


@pytest.mark.parametrize(
    ("told", "number"),
    [
        ({"JAX_NUM_CPU_DEVICES": "3"}, 3),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, 5),
    ],
    ids=str,
)
def test_the_number_of_devices_that_was_told_counts(told, number):
    assert int(printed("-c", COUNT, **told)) == number


def test_else_there_is_a_device_for_each_core():
    """That this process may use."""
    other_flags = "--xla_cpu_enable_fast_math=false"
    if not hasattr(os, "sched_getaffinity"):
        assert int(printed("-c", COUNT)) == os.cpu_count()
        return
    cores = os.sched_getaffinity(0)
    assert int(printed("-c", COUNT, XLA_FLAGS=other_flags)) == len(cores)
    one = f"import os; os.sched_setaffinity(0, {{{min(cores)}}}); "
    assert int(printed("-c", one + COUNT)) == 1
