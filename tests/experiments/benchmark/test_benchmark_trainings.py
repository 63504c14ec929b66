"""Every subject of the benchmark from its command line to its table, on small sizes."""

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from drawing import filled
from networks import Normalised, noise
from programs import printed
from small_benchmark import SMALL

from bopt.models import LeNet5
from experiments.benchmark import inference, models, step, weightings
from experiments.benchmark.__main__ import main
from experiments.benchmark.checkpoint import WITH, WITHOUT
from experiments.benchmark.models import MODELS
from experiments.config import VggConfig
from experiments.runs import schema
from experiments.runs.checkpoints import Checkpoints
from experiments.runs.directory import RunDirectory, RunDirectoryError
from experiments.training.trainer import Trainer

pytestmark = pytest.mark.slow
NUMBER = r"(-?[\d,]*\d\.?\d*|-)"


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(models.MODELS, "lenet5", SMALL)


def row(text: str, name: str, columns: int) -> list[str]:
    found = re.search(rf"^ +{re.escape(name)}{f' +{NUMBER}' * columns} *$", text, re.M)
    assert found, f"no row {name} in:\n{text}"
    return [number.replace(",", "") for number in found.groups()]


def test_steps(small, capsys):
    words = "--repeats 1 --steps 2 --device-info"
    assert main(words.split()) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert re.match(r"platform \w+, .* cores \d+, python 3\.\d+\.\d+, .*jax ", first)
    text = "\n".join(rest)
    assert "Small, batch 32" in text
    assert row(text, "adam, one objective", 4)[1] == "1.00"
    for name in step.make_rows(SMALL, noise(8, train=8, validation=0)):
        milliseconds, *_, memory = map(float, row(text, name, 4))
        assert milliseconds > 0
        assert 1 <= memory < 10  # the images, 1.3 MiB, and little else


def test_steps_of_a_network_with_batch_statistics_and_dropout():
    model = MODELS["vgg"]._replace(module=Normalised(), config=VggConfig())
    images = noise(4_000, train=4_000, validation=0)
    for make in list(step.make_rows(model, images).values())[::6]:
        run, memory = make()
        run(3)
        assert memory is not None
        assert images.images.nbytes < memory < 2 * images.images.nbytes


def test_networks(small, capsys):
    words = "front --networks 3 2 --repeats 1 --steps 2"
    assert main(words.split()) == 0
    text = capsys.readouterr().out
    number = jax.device_count()
    assert f"Small, batch 32, {number} devices" in text
    milliseconds, ratio, one, added = row(text, "1", 4)
    assert (float(milliseconds) > 0, ratio, added) == (True, "1.00", "-")
    for name in ("2", "3"):
        memory, added = map(float, row(text, name, 4)[2:])
        # In all, of all devices; each has a copy of the images.
        assert float(one) <= memory < 3 * float(one)
        assert added == pytest.approx(memory - float(one), abs=2) or name == "3"


def test_checkpoints(small, capsys, monkeypatch):
    """One training, which saves each state at most once and never twice the same."""
    events, epoch, save = [], Trainer.epoch, Checkpoints.save

    def counted(trainer, number):
        events.append(("epoch", number))
        return epoch(trainer, number)

    def saved(checkpoints, number, carry, recorded, score=None):
        events.append(("save", number))
        assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(carry))
        assert len(recorded["rows"]) == 31  # those of a whole run
        save(checkpoints, number, carry, recorded, score)

    monkeypatch.setattr(Trainer, "epoch", counted)
    monkeypatch.setattr(Checkpoints, "save", saved)
    words = "checkpoint --repeats 2 --steps 3"
    assert main(words.split()) == 0
    kinds = [kind for kind, _ in events]
    assert kinds == [*["epoch"] * 3, *["save"] * 3, *["epoch", "save", "epoch"] * 2]
    assert len(set(events)) == len(events)
    text = capsys.readouterr().out
    assert "Small, batch 32, 3 steps per epoch" in text
    assert float(row(text, WITHOUT, 4)[0]) > 0
    assert re.search(
        rf"^ +{WITH} +{NUMBER} +{NUMBER} +\S+ to \S+ +{NUMBER}", text, re.M
    )
    found = re.search(r"([\d,]+) bytes in memory, ([\d,]+) bytes on disk", text)
    assert found
    memory, disk = (int(number.replace(",", "")) for number in found.groups())
    entries = SMALL.module.init(jax.random.key(0), np.zeros((1, *SMALL.image)))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(entries))
    # Float32 parameters, two moments and a sum of gradients per objective; masks of a
    # byte.
    assert 28 * parameters < memory < 30 * parameters
    assert disk > 4 * parameters


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ({}, 8),
        ({"JAX_NUM_CPU_DEVICES": "2"}, 2),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}, 1),
    ],
    ids=str,
)
def test_devices(given, number):
    """In a process of its own, with 8 CPU devices unless their number is given."""
    program = str(Path(__file__).with_name("small_benchmark.py"))
    folders = f"{Path(__file__).parents[1]}:{Path.cwd()}"
    words = "devices --repeats 1 --steps 2"
    text = printed(program, *words.split(), strict=False, PYTHONPATH=folders, **given)
    assert f"Small, batch 32, {number} x cpu" in text
    assert row(text, "1", 2)[1] == "1.00"
    expected = [n for n in (1, 2, 4, 8) if n <= number]
    assert len(re.findall(rf"^ +\d+ +{NUMBER} +{NUMBER} *$", text, re.M)) == len(
        expected
    )
    for name in expected:
        assert float(row(text, str(name), 2)[0]) > 0
    assert "CPU devices share the cores" in text


def test_weightings(monkeypatch, capsys):
    monkeypatch.setattr(weightings, "ENTRIES", 100)
    monkeypatch.setattr(weightings, "COUNTS", (2, 5))
    assert main(["weightings", "--repeats", "1", "--steps", "1"]) == 0
    text = capsys.readouterr().out
    tables = text.split("Compiling: 5 objectives")
    assert len(tables) == 2 and "Compiling: 2 objectives" in tables[0]
    for name in weightings.NAMES:
        for table in tables:
            milliseconds, ratio = map(float, row(table, name, 2))
            assert milliseconds > 0 and (ratio == 1 or name != "min_norm")


def test_inference(tmp_path, capsys):
    """All forms of a trained network, of the first seed, have the same logits."""
    model, path = MODELS["lenet5"], tmp_path / "run"
    generator = np.random.default_rng(0)
    images = generator.uniform(size=(4, *model.image)).astype(np.float32)
    variables: Any = jax.jit(LeNet5().init)(jax.random.key(1), images)
    variables = jax.tree.map(
        lambda leaf: (
            np.where(generator.random(leaf.shape) < 0.03, leaf, 0)
            if leaf.ndim == 2
            else np.asarray(leaf)
        ),
        variables,
    )
    directory = RunDirectory.create(str(path), "mnist_lenet")
    directory.write_config(filled(schema.Config, {"experiment": "mnist_lenet"}))
    directory.write_metrics([])
    with pytest.raises(RunDirectoryError, match="holds no trained network"):
        inference.forms(model, str(path))
    (path / "seed-0").mkdir()
    RunDirectory(path / "seed-0").save_model(variables)
    found = inference.forms(model, str(path))
    expected: Any = LeNet5().apply(variables, images)
    for name, form in found.items():
        if name != "unpruned":
            np.testing.assert_allclose(form.run(images), expected, atol=1e-5)
            assert form.file < found["unpruned"].file
    sizes = {name: form.size for name, form in found.items()}
    assert sizes["unpruned"].bytes == sizes["masked"].bytes == 60_074 * 4
    for name in ("CSR (SciPy)", "shrunk"):
        assert sizes[name].parameters < 60_074
        assert sizes[name].multiply_adds < sizes["unpruned"].multiply_adds
    assert main(["inference", str(path), "--repeats", "1", "--steps", "1"]) == 0
    text = capsys.readouterr().out
    for name in found:
        row(text, name, 7)
    with pytest.raises(RunDirectoryError, match="belongs to another model"):
        inference.forms(MODELS["vgg"], str(path))
