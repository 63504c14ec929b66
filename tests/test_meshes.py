"""The library on meshes of several devices, as `jax.make_mesh` makes them."""

import subprocess
import sys
from os import environ
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "meshes.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["models", "jacobians", "pruning", "many_networks"])
def test_the_same_numbers_as_on_one_device(name):
    own = environ.get("XLA_FLAGS", "")  # by conftest
    told = {"XLA_FLAGS": f"{own} --xla_force_host_platform_device_count=4"}
    kept = {key: environ[key] for key in environ if key != "JAX_NUM_CPU_DEVICES"}
    done = subprocess.run(
        [sys.executable, "-W", "error", PROGRAM, name],
        env=kept | told | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
