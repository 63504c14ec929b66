"""The forms of a trained network; and a table that is arithmetic on measurements."""

import io
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from programs import small
from rich.console import Console

from bopt.models import LeNet5, Size
from experiments.benchmark import inference as benchmark_inference
from experiments.benchmark.inference import FORMS, Form
from experiments.mnist_lenet import Config, main
from experiments.runs.directory import RunDirectory, RunDirectoryError

IMAGE = (28, 28, 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "run"
    words = "--dataset digits --train-size 320 --epochs 3 --threshold 0.1 --no-figures"
    run = [*words.split(), "--out", str(path)]
    assert main("mnist_lenet", Config, lambda _: LeNet5(), run) == 0
    return str(path)


def test_all_forms_of_a_run_have_the_same_logits(trained):
    found = benchmark_inference.forms(LeNet5(), IMAGE, trained)
    assert list(found) == list(FORMS)
    images = np.random.default_rng(0).uniform(size=(4, *IMAGE)).astype(np.float32)
    like = LeNet5().init(jax.random.key(0), images)
    variables = RunDirectory(Path(trained)).load_model("model", like)
    expected: Any = LeNet5().apply(variables, images)
    for name, form in found.items():
        if name != "unpruned":
            np.testing.assert_allclose(form.run(images), expected, atol=1e-5)
    sizes = {name: form.size for name, form in found.items()}
    assert sizes["unpruned"].bytes == sizes["masked"].bytes == 60_074 * 4
    for name in ("bcoo", "csr", "shrunk"):
        assert sizes[name].parameters < 60_074
        assert sizes[name].multiply_adds < sizes["unpruned"].multiply_adds
    for name, form in found.items():
        assert name == "unpruned" or form.file < found["unpruned"].file


def test_of_a_run_with_seeds_the_first_is_taken(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run" / "seed-0")
    found = benchmark_inference.forms(LeNet5(), IMAGE, str(tmp_path / "run"))
    alone = benchmark_inference.forms(LeNet5(), IMAGE, trained)
    assert found["shrunk"].size == alone["shrunk"].size
    with pytest.raises(RunDirectoryError, match="holds no trained network"):
        benchmark_inference.forms(LeNet5(), IMAGE, str(tmp_path))


def test_a_run_of_another_network(tmp_path):
    words = "--dataset digits --train-size 64 --epochs 1 --no-figures --out"
    assert small(f"{words} {tmp_path / 'run'}") == 0
    with pytest.raises(RunDirectoryError, match="is of another model or optimizer"):
        benchmark_inference.forms(LeNet5(), IMAGE, str(tmp_path / "run"))


def test_the_table_and_the_verdict():
    form = Form(Size(9, 80, 36), 500, print)
    times = {
        1: {"unpruned": [1.0, 2.0, 4.0], "csr": [1.0, 1.0, 1.0]},
        256: {"unpruned": [1.0, 1.0, 1.0], "csr": [2.0, 0.1, 0.95]},
    }
    console = Console(width=96, file=io.StringIO(), record=True)
    console.print(
        benchmark_inference.table({"unpruned": form, "csr": form}, times, "title")
    )
    cells = [line.split() for line in console.export_text().splitlines()]
    sizes = ["500", "36", "80"]
    assert ["unpruned", *sizes, "2.000", "1.00", "1.000", "1.00"] in cells
    last = ["CSR", "kernels", "(SciPy)", *sizes, "1.000", "0.50", "0.950", "0.95"]
    assert last in cells
    assert benchmark_inference.verdict(times).splitlines() == [
        "Batch 1: faster than unpruned is CSR kernels (SciPy); not faster is none.",
        "Batch 256: faster than unpruned is none; not faster is CSR kernels (SciPy).",
    ]
