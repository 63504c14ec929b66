"""Records: counts of the parameters, options and means over seeds."""

import math

import jax
import numpy as np
import pytest

from experiments.data import Dataset
from experiments.runs import records
from experiments.runs.records import Scores, Sparsity, mean

DATASET = Dataset(
    "tiny",
    "Tiny",
    "made up",
    np.zeros((6, 2, 2, 1), np.uint8),
    np.zeros(6, np.uint8),
    range(3),
    range(3, 5),
    range(5, 6),
)


def kernel(shape, zeros) -> np.ndarray:
    """Make a kernel of -0.5 with a number of zeros."""
    leaf = np.full(shape, -0.5, np.float32)
    leaf.reshape(-1)[:zeros] = 0
    return leaf


def params(*, conv=(0, 0), dense=0):
    zeros = np.zeros(4, np.float32)  # biases count in total, and nowhere else
    return {
        "params": {
            "Conv_0": {"kernel": kernel((3, 3, 1, 4), conv[0]), "bias": zeros},
            "BatchNorm_0": {"scale": np.ones(4, np.float32), "bias": zeros},
            "Stage": {"Conv_1": {"kernel": kernel((3, 3, 4, 4), conv[1])}},
            "Dense_0": {"kernel": kernel((10, 4), dense), "bias": zeros},
        }
    }


ENTRIES = {"conv": 36 + 144, "dense": 40, "total": 36 + 144 + 40 + 16}


def row(sparsity: Sparsity) -> dict:
    scores = {name: Scores(0.5, 1.5) for name in ("train", "validation", "test")}
    return records.epoch(
        epoch=2,
        step=20,
        seconds=3.0,
        learning_rate=1e-3,
        objectives=[1.5, 20.0],
        weights={"dense": [0.9, 0.1], "conv": [0.8, 0.2]},
        stationarity=0.5,
        scores=scores,
        sparsity=sparsity,
    )


@pytest.mark.parametrize(
    ("conv", "dense"), [((0, 0), 0), ((0, 0), 39), ((30, 60), 0), ((36, 144), 40)]
)
def test_nonzeros_are_counted_by_layer_and_kind(conv, dense):
    sparsity = records.sparsity(params(conv=conv, dense=dense))
    found = row(sparsity)
    assert found["nonzeros"] == {"Dense_0": 40 - dense}
    assert found["nonzeros_conv"] == {
        "Conv_0": 36 - conv[0],
        "Stage/Conv_1": 144 - conv[1],
    }
    assert found["conv_sparsity"] == pytest.approx(sum(conv) / 180, abs=1e-12)
    assert found["dense_sparsity"] == pytest.approx(dense / 40, abs=1e-12)
    total = (sum(conv) + dense + 12) / ENTRIES["total"]
    assert found["total_sparsity"] == pytest.approx(total, abs=1e-12)
    assert found["l1"] == (40 - dense) / 2  # of dense kernels alone
    assert found["weights"] == {"dense": [0.9, 0.1], "conv": [0.8, 0.2]}

    summary = records.summary(
        optimizer="madam",
        dataset=DATASET,
        row=found,
        sparsity=sparsity,
        seconds_compile=1.0,
        steps_per_second=10.0,
        finished=True,
    )
    assert (summary["optimizer"], summary["dataset"]) == ("madam", "tiny")
    assert (summary["epochs"], summary["steps"]) == (2, 20)
    for name, entries in ENTRIES.items():
        assert summary[f"entries_{name}"] == entries
        left = summary[f"nonzero_{name}"]
        assert summary[f"{name}_sparsity"] == pytest.approx(1 - left / entries)
        assert summary[f"{name}_sparsity"] == found[f"{name}_sparsity"]
    assert summary["nonzero_conv"] == 180 - sum(conv)
    assert summary["nonzero_dense"] == 40 - dense


def test_without_convolutions_their_sparsity_is_null():
    found = row(
        records.sparsity({"params": {"Dense_0": {"kernel": kernel((2, 2), 1)}}})
    )
    assert found["conv_sparsity"] is None
    assert found["nonzeros_conv"] == {}
    assert found["dense_sparsity"] == 0.25


def test_the_config_has_every_option_and_the_environment():
    options = {"dtype": "bfloat16", "augment": True, "seed": 3}
    found = records.config("cifar_vgg", options, DATASET)
    assert found == found | options | {"experiment": "cifar_vgg"}
    assert (found["dataset_found"], found["dataset_title"]) == ("tiny", "Tiny")
    assert found["data_source"] == "made up"
    assert found["sizes"] == {"train": 3, "validation": 2, "test": 1}
    assert found["versions"]["jax"] == jax.__version__
    assert found["device"]["count"] == jax.device_count()
    assert found["device"]["processor"]


# Means over seeds


def test_the_mean_of_one_record_is_that_record():
    record = {"epoch": 1, "weights": None, "finished": True}
    assert mean([record]) == record


def test_means_and_deviations():
    first = {"epoch": 1, "n": 2, "text": "a", "weights": None, "pair": [1.0, 5.0]}
    second = {"epoch": 1, "n": 4, "text": "a", "weights": None, "pair": [2.0, 5.0]}
    found = mean([first, second])
    assert found.pop("deviation") == {"epoch": 0.0, "n": pytest.approx(math.sqrt(2))}
    assert found == first | {"n": 3.0, "pair": [1.5, 5.0]}
    assert type(found["epoch"]) is int


@pytest.mark.parametrize("lost", [None, math.nan])
def test_a_diverged_seed_has_no_mean(lost):
    """JSON has null for NaN, which statistics.stdev does not take either."""
    found = mean([{"loss": 1.0}, {"loss": lost}])
    assert math.isnan(found["loss"]) and math.isnan(found["deviation"]["loss"])


def test_nested_numbers_are_averaged():
    rows = [{"nonzeros": {"a": n, "b": 1}, "weights": {"g": [n, 0]}} for n in (1, 2)]
    expected = {"nonzeros": {"a": 1.5, "b": 1}, "weights": {"g": [1.5, 0]}}
    assert mean(rows) == expected | {"deviation": {}}
