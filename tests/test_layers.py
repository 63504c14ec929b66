"""The structure of the code: layers of imports, no cycles, no long files."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the top down. A room imports from itself and from the layers below its own.
LAYERS = (
    ("mnist_lenet", "cifar_vgg", "text_transformer", "pareto_front", "benchmark"),
    ("__main__",),
    ("launch", "report"),
    ("figures", "report_tables"),
    ("training", "plots", "reproduce"),
    ("runs",),
    ("devices", "data"),
    ("config",),
    ("errors", "paper_runs", "startup", "__init__"),
)
LEVELS = {room: -n for n, rooms in enumerate(LAYERS) for room in rooms}
LONGEST = 400  # lines of a file


def files(package: str) -> dict[str, Path]:
    """Module names and paths of the files of a package."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = {**files("bopt"), **files("experiments")}


def imports(text: str, modules=MODULES) -> set[str]:
    """Names of the modules that a source text imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = names & modules.keys()
            found |= submodules
            if submodules != names:
                found.add(str(node.module))
    return found


def room(module: str) -> str:
    """A file or folder directly in experiments/."""
    _, *rest = module.split(".")
    name = rest[0] if rest else "__init__"
    assert name in LEVELS, f"{module} is in none of LAYERS"
    return name


def refused(module: str, imported: str) -> bool:
    """An import of one module of experiments by another, up or sideways."""
    own, other = room(module), room(imported)
    return own != other and LEVELS[own] <= LEVELS[other]


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other; empty without a cycle."""
    left = dict(graph)
    while ends := [name for name, own in left.items() if not own & left.keys()]:
        for name in ends:
            del left[name]
    if not left:
        return []
    path = [min(left)]
    while len(set(path)) == len(path):
        path.append(min(left[path[-1]] & left.keys()))
    return path[path.index(path[-1]) :]


@functools.cache
def graph() -> dict[str, set[str]]:
    """Imports of every module."""
    return {name: imports(path.read_text()) for name, path in MODULES.items()}


def test_experiments_import_downwards_only():
    assert all(room(module) for module in files("experiments"))
    upwards = [
        f"{module} imports {imported}"
        for module in files("experiments")
        for imported in sorted(graph()[module])
        if imported.split(".")[0] == "experiments" and refused(module, imported)
    ]
    assert not upwards, "\n".join(["expected layers below its own:", *upwards])


def test_bopt_never_imports_experiments():
    users = [
        name
        for name in files("bopt")
        if any(used.split(".")[0] == "experiments" for used in graph()[name])
    ]
    assert not users


@pytest.mark.parametrize("package", ["bopt", "experiments"])
def test_no_import_cycles(package):
    assert not cycle({name: graph()[name] for name in files(package)})


def test_no_long_files():
    lengths = {
        name: len(path.read_text().splitlines()) for name, path in MODULES.items()
    }
    assert not {name: n for name, n in lengths.items() if n > LONGEST}


def test_the_checks_find_what_they_look_for():
    modules = dict.fromkeys(["experiments.data.mnist", "experiments.runs"])
    text = "def f():\n  from experiments.data import mnist, Dataset"
    assert imports(f"{text}\nimport experiments.runs", modules) == {
        *modules,
        "experiments.data",
    }
    with pytest.raises(AssertionError, match="relative"):
        imports("from . import data")
    assert refused("experiments.runs.records", "experiments.launch")
    assert refused("experiments.training.loop", "experiments.plots.axes")
    assert refused("experiments.errors", "experiments.paper_runs")
    assert not refused("experiments.runs.records", "experiments.runs.console")
    assert not refused("experiments.launch", "experiments.errors")
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b", "json"}}) == ["b", "c", "b"]
    assert not cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()})
