"""Devices: the mesh, the axis over networks, numbers of devices, several processes."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import printed, small

from experiments import devices
from experiments.devices import data_devices, make_mesh, over_networks, sharding
from experiments.errors import ConfigError, ProcessError

# The axis over networks


def function(number, vector, shared):
    """A function of one network, without an axis over networks."""
    assert (number.shape, vector.shape, shared.shape) == ((), (2,), (2, 2))
    return {"product": shared @ (number * vector), "key": number + 1}


def arguments(networks: int):
    generator = np.random.default_rng(0)
    shapes = ((networks,), (networks, 2), (2, 2))
    return [jnp.asarray(generator.normal(size=s), jnp.float32) for s in shapes]


@pytest.mark.parametrize("at_once", [None, False, True])
@pytest.mark.parametrize("networks", [1, 3])
def test_a_function_of_one_network_becomes_one_of_several(networks, at_once):
    numbers, vectors, shared = arguments(networks)
    mapped = over_networks(function, 2, make_mesh(1), at_once)
    found = jax.jit(mapped)(numbers, vectors, shared)
    expected = [function(*own, shared) for own in zip(numbers, vectors, strict=True)]
    assert set(found) == {"product", "key"}
    for name, values in found.items():
        rows = np.stack([row[name] for row in expected])
        np.testing.assert_allclose(values, rows, rtol=1e-6)
        assert values.shape == rows.shape


@pytest.mark.parametrize("networks", [1, 3])
def test_a_cpu_maps_and_an_accelerator_vectorizes_several_networks(networks):
    """`jax.lax.map` is a loop, `jax.vmap` is none. One network is never vectorized:
    its convolutions would become grouped ones."""

    class Accelerator:
        platform = "gpu"

    class Mesh:
        devices = np.array([[Accelerator()]])

    def loops(mesh, at_once=None):
        mapped = over_networks(function, 2, mesh, at_once)
        return "scan[" in str(jax.make_jaxpr(mapped)(*arguments(networks)))

    mesh = make_mesh(1)
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    assert loops(mesh) == (on_cpu or networks == 1)
    assert loops(mesh, False) and not loops(mesh, True)
    with pytest.MonkeyPatch.context() as patch:
        # The axis alone: there is no accelerator to shard it over.
        patch.setattr(jax, "shard_map", lambda function, **_: function)
        assert loops(Mesh()) == (networks == 1)


def test_a_program_has_the_name_of_its_function():
    assert over_networks(function, 2, make_mesh(1)).__name__ == "function"


def test_no_more_devices_than_networks():
    assert make_mesh(1).size == 1
    assert make_mesh(10_000).devices.flatten().tolist() == jax.devices()
    array = jax.device_put(jnp.zeros((2, 3)), sharding(make_mesh(1), split=True))
    assert array.sharding.device_set == {jax.devices()[0]}


# Numbers of devices


@pytest.mark.parametrize(("number", "found"), [(1, 1), (4, 4), ("all", 8)])
def test_the_devices_of_a_batch(number, found, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    assert data_devices(number, 32) == found


@pytest.mark.parametrize(
    ("number", "batch", "message"),
    [
        (8, 30, "--batch-size is 30, which is not a multiple of 8 devices; expected "),
        ("all", 4, "--batch-size is 4, which is not a multiple of 8 devices; expected"),
        (0, 32, "--devices is 0, but 8 are available; expected 1 to 8."),
        (9, 32, "--devices is 9, but 8 are available; expected 1 to 8."),
    ],
)
def test_numbers_of_devices_that_do_not_fit(number, batch, message, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    with pytest.raises(ConfigError, match=f"^{message}") as error:
        data_devices(number, batch)
    examples = {30: "24 or 32.", 4: "for example 8."}
    assert str(error.value).endswith(examples.get(batch, "1 to 8."))


def test_several_processes_use_all_devices(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert data_devices("all", 32) == data_devices(8, 32) == 8
    message = r"^--devices is 4, but the 2 processes have 8; expected all\.$"
    with pytest.raises(ConfigError, match=message):
        data_devices(4, 32)


def test_a_program_reports_them(tmp_path, capsys):
    there = jax.device_count()
    words = f"--dataset digits --no-figures --devices {there + 1}"
    assert small(f"{words} --out {tmp_path / 'run'}") == 2
    message = f"error: --devices is {there + 1}, but {there} are available; expected"
    assert capsys.readouterr().err.startswith(message)


# Several processes


def test_without_a_cluster_all_of_it_is_to_be_given(monkeypatch):
    def initialize(*given):
        raise ValueError("No cluster.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    message = r"^--distributed found no cluster: No cluster\. Give --coordinator"
    with pytest.raises(ConfigError, match=message):
        devices.initialize_processes(None, None, None)


def test_one_process_calls_the_function():
    assert devices.on_first(lambda: 7) == 7
    assert devices.gathered(3) == [3]
    with pytest.raises(ZeroDivisionError, match="division"):
        devices.on_first(lambda: 1 // 0)


@pytest.mark.parametrize("index", [0, 1])
def test_of_several_processes_the_first_calls_it(index, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: index)
    monkeypatch.setattr(devices, "gathered", lambda failed: [0, failed])
    assert devices.on_first(lambda: 7) == (7 if index == 0 else None)
    monkeypatch.setattr(devices, "gathered", lambda failed: [1, failed])
    expected = ZeroDivisionError if index == 0 else ProcessError
    with pytest.raises(expected, match=r"division|^Process 0 failed; see its own mess"):
        devices.on_first(lambda: 1 // 0)


# The compilation cache


@pytest.mark.parametrize("given", [None, "own"])
def test_the_compilation_cache_is_in_the_users_folder(given, tmp_path, monkeypatch):
    """Unless JAX's own variable names another."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        jax.config.update("jax_compilation_cache_dir", given)
        devices.use_compilation_cache()
        expected = given or str(tmp_path / "bopt" / "jax")
        assert jax.config.values[names[0]] == expected
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


# Several devices, in processes of their own


@pytest.mark.slow
def test_networks_on_four_devices():
    program = str(Path(__file__).with_name("many_networks.py"))
    out = printed(program, XLA_FLAGS="--xla_force_host_platform_device_count=4")
    assert out.splitlines() == [
        "4 networks, 4 rows, 4 devices",
        "6 networks, 8 rows, 4 devices",
    ]


COUNT = "from experiments.devices import use_all_cores; use_all_cores(); "
COUNT += "import jax; print(jax.device_count())"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "number"),
    [
        ({"JAX_NUM_CPU_DEVICES": "3"}, 3),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, 5),
    ],
    ids=str,
)
def test_a_given_number_of_cpu_devices_is_kept(variables, number):
    assert int(printed("-c", COUNT, **variables)) == number


@pytest.mark.slow
def test_otherwise_each_core_of_the_process_is_a_device():
    other_flags = "--xla_cpu_enable_fast_math=false"
    if not hasattr(os, "sched_getaffinity"):
        assert int(printed("-c", COUNT)) == os.cpu_count()
        return
    cores = os.sched_getaffinity(0)
    assert int(printed("-c", COUNT, XLA_FLAGS=other_flags)) == len(cores)
    one = f"import os; os.sched_setaffinity(0, {{{min(cores)}}}); "
    assert int(printed("-c", one + COUNT)) == 1
