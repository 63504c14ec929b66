"""What is counted of the parameters, and where it stands in the records."""

import dataclasses

import numpy as np
import pytest

from experiments import data
from experiments.cifar_vgg import VggConfig
from experiments.config import resolve
from experiments.runs import records
from experiments.runs.records import Sparsity
from experiments.training.progress import Scores


def kernel(shape, zeros) -> np.ndarray:
    """Entries of -0.5, of them so many 0."""
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
        scores=scores,
        sparsity=sparsity,
    )


@pytest.mark.parametrize(
    ("conv", "dense"), [((0, 0), 0), ((0, 0), 39), ((30, 60), 0), ((36, 144), 40)]
)
def test_what_is_left_of_each_kernel(conv, dense):
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
        options=resolve(VggConfig(), "digits"),
        dataset=data.load("digits"),
        row=found,
        sparsity=sparsity,
        seconds_compile=1.0,
        steps_per_second=10.0,
        finished=True,
    )
    for name, entries in ENTRIES.items():
        assert summary[f"entries_{name}"] == entries
        left = summary[f"nonzero_{name}"]
        assert summary[f"{name}_sparsity"] == pytest.approx(1 - left / entries)
        assert summary[f"{name}_sparsity"] == found[f"{name}_sparsity"]
    assert summary["nonzero_conv"] == 180 - sum(conv)
    assert summary["nonzero_dense"] == 40 - dense


def test_a_network_without_convolutions_has_no_share_of_them():
    found = row(
        records.sparsity({"params": {"Dense_0": {"kernel": kernel((2, 2), 1)}}})
    )
    assert found["conv_sparsity"] is None
    assert found["nonzeros_conv"] == {}
    assert found["dense_sparsity"] == 0.25


def test_the_config_has_every_option_of_its_experiment():
    options = resolve(VggConfig(dtype="bfloat16", augment=True), "digits")
    found = records.config("cifar_vgg", options, data.load("digits"))
    assert found == found | dataclasses.asdict(options)
    assert (found["dtype"], found["augment"]) == ("bfloat16", True)
    assert found["experiment"] == "cifar_vgg"
