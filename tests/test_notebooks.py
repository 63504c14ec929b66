"""The notebooks: equal to their texts, with clean outputs, and executed.

A notebook is edited as its text, `colab/NAME.py`; `colab/README.md` describes how the
notebook is made from it and executed.
"""

import os
import re
import sys
import tomllib
from pathlib import Path

import jupytext
import matplotlib.font_manager  # noqa: F401  # builds its cache, and reports it on stderr
import nbformat
import pytest
import traitlets
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
COLAB = ROOT / "colab"
NOTEBOOKS = sorted(COLAB.glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ADDRESS = PROJECT["urls"]["Repository"]

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


class Kernel(AsyncKernelManager):
    """Kernel of this interpreter, whichever others are installed."""

    @traitlets.default("kernel_spec_manager")
    def _kernel_spec_manager(self):
        return KernelSpecManager(kernel_dirs=[])


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def pictures(notebook):
    return ["image/png" in output.get("data", {}) for output in outputs(notebook)]


def texts(output):
    """Return the texts of an output, plain and HTML."""
    if output.output_type == "stream":
        return [output.text]
    if output.output_type == "error":
        return output.traceback
    return [text for kind, text in output.data.items() if kind.startswith("text/")]


def complaints(notebook):
    """Return errors, and everything on stderr, where warnings are."""
    return [
        text
        for output in outputs(notebook)
        if output.output_type == "error" or output.get("name") == "stderr"
        for text in texts(output)
    ]


def test_each_notebook_has_its_text():
    stems = {path.stem for path in NOTEBOOKS}
    assert stems == {path.stem for path in COLAB.glob("*.py")}
    assert stems >= {"quickstart", "pareto_front", "compose"}


@every_notebook
def test_text_and_notebook_are_equal(path):
    text = jupytext.read(path.with_suffix(".py"), fmt="py:percent")
    cells = [
        [(cell.cell_type, cell.source) for cell in notebook.cells]
        for notebook in (text, read(path))
    ]
    assert cells[0] == cells[1], "see colab/README.md"


@every_notebook
def test_the_file_is_valid_and_small(path):
    notebook = read(path)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert path.stat().st_size < 2e6


@every_notebook
def test_kept_outputs_are_those_of_one_run_without_complaints(path):
    notebook = read(path)
    cells = code_cells(notebook)
    counts = [cell.execution_count for cell in cells]
    assert counts == list(range(1, len(cells) + 1))
    assert not complaints(notebook)
    assert any(pictures(notebook))


@every_notebook
def test_kept_outputs_are_neutral(path):
    """No paths of the machine they were made on, no traces of progress bars."""
    for output in outputs(read(path)):
        for text in texts(output):
            assert not re.search(r"(?<![\w<./])(/|~/|[A-Z]:\\)\w", text), text
            assert "\r" not in text
            assert "\x1b[?25" not in text  # a cursor, hidden or shown


@every_notebook
def test_the_first_cell_opens_this_notebook_in_colab(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    owner_and_name = ADDRESS.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{owner_and_name}"
    assert first.source.startswith(
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"({colab}/blob/main/colab/{path.name})\n"
    )


@every_notebook
def test_addresses_are_the_repositorys_and_links_lead_somewhere(path):
    text = path.with_suffix(".py").read_text()
    for address in re.findall(r"https://github\.com/[\w-]+/bopt\b", text):
        assert address == ADDRESS
    for name in re.findall(r"/blob/main/([\w/.]+)", text):
        assert (ROOT / name).is_file(), name


@every_notebook
def test_this_version_is_installed_and_only_where_it_is_missing(path):
    cell = code_cells(read(path))[0].source
    pinned = re.findall(r"bopt-jax\[\{extras\}\] @ git\+([^@\s]+)@v([\w.]+)\"", cell)
    assert pinned == [(ADDRESS, PROJECT["version"])]
    assert 'if importlib.util.find_spec("bopt") is None' in cell
    assert 'and "BOPT_SMOKE" not in os.environ' in cell
    extras = re.findall(r'"(\w*,?\w+)"$', cell, re.MULTILINE)
    assert {name.strip(",") for name in extras} <= set(PROJECT["optional-dependencies"])


@pytest.mark.slow
@every_notebook
def test_it_runs(path, tmp_path, monkeypatch):
    """With short settings, from the first cell to the last, and nothing on stderr."""
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    notebook = jupytext.read(path.with_suffix(".py"), fmt="py:percent")
    kernel = Kernel(kernel_name="python3").kernel_spec
    assert kernel and kernel.argv[0] == sys.executable
    client = NotebookClient(notebook, kernel_manager_class=Kernel, timeout=300)
    environment = os.environ | {
        "BOPT_SMOKE": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "default",  # they are shown, on stderr
    }
    client.execute(env=environment, cwd=str(tmp_path))
    assert all(cell.execution_count for cell in code_cells(notebook))
    assert not complaints(notebook)
    assert sum(pictures(notebook)) == sum(pictures(read(path)))
