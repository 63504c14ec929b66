"""The benchmark of checkpoints runs, and its tables are arithmetic on what it
measured."""

import io
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from networks import Normalised, Small, noise
from rich.console import Console

from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import checkpoint as benchmark_checkpoint
from experiments.benchmark.checkpoint import WITH, WITHOUT
from experiments.cifar_vgg import VggConfig
from experiments.config import Config
from experiments.runs.checkpoints import Checkpoints
from experiments.training.trainer import Trainer

IMAGES = noise(120, train=80, validation=20)
PARTS = ["parameters", "batch statistics", "moments", "masks"]


def printed(table) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    return console.file.getvalue()  # pyright: ignore


def rows(text: str) -> dict[str, list[int]]:
    """Name -> bytes in memory and on disk, as printed."""
    found = re.findall(r"^ +(\w.*?) +([\d,]+) +(-?[\d,]+) +-?[\d.]+ *$", text, re.M)
    return {n: [int(b.replace(",", "")) for b in numbers] for n, *numbers in found}


# Time


def test_the_share_is_the_median_of_the_repeats_own():
    """Not of the medians: what the machine did between repeats cancels."""
    times = {
        WITHOUT: [1_000.0, 10_000.0, 2_000.0, 1_000.0, 1_000.0],
        WITH: [1_010.0, 10_200.0, 2_060.0, 1_040.0, 1_050.0],
    }
    text = printed(benchmark_checkpoint.times_table(times, [9.0, 20.0, 50.0], "Title"))
    assert "Title" in text
    assert re.search(rf"^ +{WITHOUT} +1\.000 +- +- +- *$", text, re.M)
    numbers = r"1\.050 +3\.0 +2\.0 to 4\.0 +20\.0"
    assert re.search(rf"^ +{WITH} +{numbers} *$", text, re.M)


def test_a_row_of_times_fits_into_a_line_of_80_characters():
    times = {WITHOUT: [1e6], WITH: [3e6]}
    text = printed(benchmark_checkpoint.times_table(times, [1_234.5], "Title"))
    assert re.search(r"3000\.000 +200\.0 +200\.0 to 200\.0 +1234\.5 *$", text, re.M)


def test_only_the_one_saves_and_both_train(monkeypatch):
    """In turns: one state, which goes on, and never a step saved twice."""
    events, epoch, save = [], Trainer.epoch, Checkpoints.save

    def counted(trainer, number):
        events.append(("epoch", number))
        return epoch(trainer, number)

    def saved(checkpoints, step, carry, recorded, score=None):
        events.append(("save", step))
        assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(carry))
        assert len(recorded["rows"]) == 31  # a whole run's
        save(checkpoints, step, carry, recorded, score)

    monkeypatch.setattr(Trainer, "epoch", counted)
    monkeypatch.setattr(Checkpoints, "save", saved)
    config = Config(batch_size=8)
    with benchmark_checkpoint.training(Small(), config, IMAGES) as training:
        assert list(training.runners) == [WITHOUT, WITH]
        events.clear()
        training.runners[WITHOUT](2)
        assert [kind for kind, _ in events] == ["epoch"] * 2
        training.runners[WITH](2)
        assert [kind for kind, _ in events[2:]] == ["save", "epoch"] * 2
        assert len(training.blocked) == 2
        assert min(training.blocked) > 0
        checkpoint = training.checkpoint()
        step = optax.tree.get(training.trainer.carry.opt_state, "PruneState").step
        assert step == 5 * 10  # one epoch before them
    assert len(set(events)) == len(events)
    assert not checkpoint.parent.exists()


def test_images_are_repeated():
    many = benchmark_checkpoint.repeated(IMAGES, 300)
    assert (len(many.images), len(many.labels), many.train) == (300, 300, range(300))
    np.testing.assert_array_equal(many.images[240:], IMAGES.images[:60])
    np.testing.assert_array_equal(many.labels[120:240], IMAGES.labels)


# Bytes


@pytest.mark.parametrize(
    ("model", "config"),
    [(Small(), Config(batch_size=8)), (Normalised(), VggConfig(batch_size=8))],
    ids=["madam", "mrmsprop"],
)
def test_bytes_of_each_part(model, config):
    with benchmark_checkpoint.training(model, config, IMAGES) as training:
        checkpoint, carry = training.checkpoint(), training.trainer.carry
        files = [file for file in checkpoint.rglob("*") if file.is_file()]
        on_disk = sum(file.stat().st_size for file in files)
        text = printed(benchmark_checkpoint.sizes_table(carry, checkpoint))
    found = rows(text)
    assert list(found) == [*PARTS, "all else", "all", "masks, were they packed"]
    leaves = jax.tree.leaves(carry)
    assert found["all"] == [sum(leaf.nbytes for leaf in leaves), on_disk]
    assert found["parameters"][0] == sum(
        leaf.nbytes for leaf in jax.tree.leaves(carry.params)
    )
    statistics = sum(leaf.nbytes for leaf in jax.tree.leaves(carry.model_state))
    assert found["batch statistics"][0] == statistics
    # Nothing is left out, or counted twice.
    assert sum(found[name][0] for name in PARTS) == found["all"][0]
    assert sum(found[name][1] for name in [*PARTS, "all else"]) == on_disk
    assert (found["batch statistics"][1] > 0) == (statistics > 0)
    masks = [leaf for leaf in leaves if leaf.dtype == jnp.bool_]
    assert found["masks"][0] == sum(mask.size for mask in masks) > 0
    packed = sum(np.packbits(mask).size for mask in masks)
    assert found["masks, were they packed"][0] == packed
    pruned = 1 - np.concatenate([np.ravel(mask) for mask in masks]).mean()
    assert f"{pruned:.1%} pruned" in text


def test_packing_pays_where_masks_are_random_and_not_where_they_are_plain(tmp_path):
    """What the table is read for: random masks do not compress, others do."""
    random = np.random.default_rng(0).random((400, 400)) < 0.5
    for mask, low, high in [(random, 0.8, 1.6), (random | True, 0.0, 0.2)]:
        masks = {"masks": [{"kernel": jnp.asarray(mask)}]}
        saved = benchmark_checkpoint._saved_bytes(masks)
        saved -= benchmark_checkpoint._saved_bytes({})
        assert low * mask.size / 8 < saved < high * mask.size / 8 + 2_000


# The program


@pytest.mark.slow
def test_the_program():
    words = "-m experiments.benchmark checkpoint --repeats 2 --steps 50"
    done = subprocess.run(
        [sys.executable, *words.split()], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "LeNet-5, batch 32, 50 steps an epoch" in done.stdout
    assert re.search(rf"^ +{WITH} +\d+\.\d+ +-?[\d.]+ ", done.stdout, re.M)
    found = rows(done.stdout)
    kernels = 256 * 120 + 120 * 84 + 84 * 10
    assert found["masks"][0] >= kernels
    assert found["parameters"][1] > found["masks"][1] > 0


def test_an_epoch_is_as_long_as_that_of_the_networks_own_data():
    lengths = {
        n: o.images // o.config.batch_size for n, o in benchmark.NETWORKS.items()
    }
    assert lengths == {"lenet5": 1_718, "vgg": 703}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--steps 0", "--steps is 0, .*expected at least 1 of each"),
        ("--batch-size 55001", "--batch-size is 55001; expected 1 to 55000"),
        ("--batch-size 0", "--batch-size is 0; expected 1 to 55000"),
    ],
)
def test_options_out_of_range(words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "checkpoint", *words.split()])
    assert benchmark.main() == 2
    assert re.search(message, capsys.readouterr().err)
