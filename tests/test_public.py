"""The public surface: documented, light to import, silent."""

import importlib.metadata
import inspect
import runpy
import subprocess
import sys

import pytest

import bopt
import bopt.fronts
import bopt.models
import bopt.sparsity.export
import bopt.units
from bopt import objectives, pruning, schedules, selections, weightings

MODULES = [selections, bopt.sparsity.export]
NAMES = [
    *((bopt, name) for name in bopt.__all__),
    *((bopt.fronts, name) for name in bopt.fronts.__all__),
    *((bopt.models, name) for name in bopt.models.__all__),
    *((bopt.sparsity, name) for name in bopt.sparsity.__all__),
    *((bopt.units, name) for name in bopt.units.__all__),
    *(
        (module, name)
        for module in MODULES
        for name, value in vars(module).items()
        if not name.startswith("_")
        and inspect.getmodule(value) is module
        and (inspect.isfunction(value) or inspect.isclass(value))
    ),
]
IDS = [f"{module.__name__}.{name}" for module, name in NAMES]
public = pytest.mark.parametrize("module, name", NAMES, ids=IDS)


def test_submodules_are_there_without_an_import_of_their_own():
    code = "import bopt; bopt.sparsity.export.save; bopt.models.LeNet5"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert bopt.__getattr__("models") is bopt.models  # on first use
    for module in (bopt, bopt.sparsity):
        with pytest.raises(AttributeError, match=r"bopt.* has no attribute 'nothing'"):
            module.nothing  # noqa: B018


def objects(module, name):
    """Functions and classes under a public name; not modules and type aliases."""
    value = getattr(module, name)
    return [value] if inspect.isfunction(value) or inspect.isclass(value) else []


@public
def test_every_name_has_a_summary_and_an_example(module, name):
    for value in objects(module, name):
        doc = inspect.getdoc(value)
        assert doc, f"{name} has no docstring"
        summary = doc.splitlines()[0]
        assert summary.endswith("."), summary
        assert ">>>" in doc, f"{name} has no example"


@public
def test_every_function_documents_its_arguments_and_result(module, name):
    for value in objects(module, name):
        doc = inspect.getdoc(value) or ""
        if not inspect.isfunction(value):
            assert "Attributes:" in doc
            continue
        assert "Returns:" in doc
        section = doc.split("Args:")[-1].split("Returns:")[0]
        for argument in inspect.signature(value).parameters:
            assert f"{argument}:" in section, f"{name} does not document {argument}"


def test_all_is_sorted_and_complete():
    assert list(bopt.__all__) == sorted(bopt.__all__)
    for name in bopt.__all__:
        assert hasattr(bopt, name)
    for module in (objectives, weightings, schedules, pruning):
        for name, value in vars(module).items():
            if not inspect.isfunction(value) or name.startswith("_"):
                continue
            # A package's functions are in files of their own.
            if f"{value.__module__}.".startswith(f"{module.__name__}."):
                assert name in bopt.__all__, name


IMPORT = """
import sys, jax, optax
values = dict(jax.config.values)
before = set(sys.modules)
import bopt
assert jax.config.values == values, "import bopt changes jax's configuration"
new = {name.split(".")[0] for name in set(sys.modules) - before}
# What jax itself imports late is not ours to count.
allowed = {"bopt", "jax", "jaxlib", "optax", "numpy", "chex", "absl"}
foreign = new - allowed - set(sys.stdlib_module_names)
assert not foreign, foreign
heavy = {"flax", "orbax", "matplotlib", "experiments", "tensorflow_datasets",
         "sklearn", "torch", "equinox"} & set(sys.modules)
assert not heavy, heavy
import bopt.models
assert "flax" in sys.modules and "experiments" not in sys.modules
"""


def test_import_is_light_silent_and_without_side_effects():
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (result.stdout, result.stderr) == ("", "")


def test_version_is_that_of_the_distribution():
    assert bopt.__version__ == importlib.metadata.version("bopt-jax")


def test_version_without_installation(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    namespace = runpy.run_path(bopt.__file__)
    assert namespace["__version__"] == "0+unknown"
