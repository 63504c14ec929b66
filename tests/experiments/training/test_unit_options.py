"""`--pruning units`, `--budget` and `--widths`: whole runs, records, refusals."""

import json

import numpy as np
import pytest
from networks import Small
from programs import SmallConfig, small

from bopt.models import LeNet5
from experiments import launch, text_transformer
from experiments.config import Config, resolve, updated
from experiments.data import Dataset
from experiments.errors import ConfigError
from experiments.launch import main
from experiments.mnist_lenet import network
from experiments.runs.reading import read
from experiments.training.networks import adapted, check

IMAGES = np.zeros((4, 28, 28, 1), np.uint8)
DATASET = Dataset(
    *("digits", "", "", IMAGES, np.arange(4, dtype=np.uint8) + 6),
    *(range(2), range(2, 3), range(3, 4)),
)


def checked(model, **options):
    """Units of a network, or the error of the options."""
    config = updated(Config(), batch_size=2, **options)
    return check(adapted(model, 10), DATASET, resolve(config, "digits"))


def test_only_pruning_of_units_needs_them():
    assert checked(Small()) is None
    units = checked(Small(), budget=0.5)
    assert units is not None and units.numbers == (2, 8)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (LeNet5(widths=(6, 16)), {}, r"LeNet5 got widths=\(6, 16\); expected 4"),
        (Small(), {"budget": 0.001}, "--pruning units: .*budget=0.001; expected from"),
    ],
)
def test_what_does_not_fit_is_refused(model, options, message):
    with pytest.raises(ConfigError, match=message):
        checked(model, **options)


def test_widths_reach_the_network():
    assert network(Config(), "auto", 10) == LeNet5()
    config = updated(Config(), widths=(3, 4, 5, 6))
    assert network(config, "auto", 10).widths == (3, 4, 5, 6)
    with pytest.raises(ConfigError, match="--widths has no meaning for my:Network"):
        own = updated(config, model="my:Network")
        launch.network(own, lambda *_: Small(), "auto", DATASET)
    with pytest.raises(ConfigError, match="--widths has no meaning for the transf"):
        text_transformer.network(config, "auto", 10)


@pytest.mark.slow
def test_a_run_prunes_units_and_counts_them(tmp_path):
    path = tmp_path / "run"
    words = "--dataset digits --train-size 160 --epochs 4 --no-figures"
    assert small(f"{words} --budget 0.6 --out {path}") == 0
    run = read(path)
    assert (run.config["pruning"], run.config["budget"]) == ("units", 0.6)
    summary = run.summary
    assert summary["units"].keys() == {"Conv_0", "Dense_0"}
    share = summary["multiply_adds"] / summary["multiply_adds_unpruned"]
    assert 0.2 < share <= 0.6
    assert summary["nonzero_dense"] < summary["entries_dense"]
    # What is left is counted per seed, and the mean of several is in the run's file.
    path = tmp_path / "seeds"
    assert small(f"{words} --pruning units --budget 0.6 --seeds 2 --out {path}") == 0
    both = [read(path / f"seed-{seed}").summary["units"] for seed in (0, 1)]
    mean = read(path).summary["units"]
    assert mean["Dense_0"] == (both[0]["Dense_0"] + both[1]["Dense_0"]) / 2


@pytest.mark.slow
def test_widths_are_stored_and_a_run_resumes_with_them(tmp_path):
    path = tmp_path / "run"
    words = f"--dataset digits --train-size 96 --epochs 1 --out {path} --no-figures"

    def run(words):
        return main("mnist_lenet", SmallConfig, network, words.split())

    assert run(f"{words} --widths 2 3 8 4") == 0
    config = json.loads((path / "config.json").read_text())
    assert config["widths"] == [2, 3, 8, 4]
    assert read(path).summary["entries_dense"] == 75 * 8 + 8 * 4 + 4 * 10
    (path / "summary.json").unlink()
    assert run(f"--resume {path}") == 0
    assert read(path).summary["entries_dense"] == 75 * 8 + 8 * 4 + 4 * 10
