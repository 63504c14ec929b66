"""`--published`: its options, its updates and losses against the released code's."""

import json

import jax
import numpy as np
import pytest
from programs import small
from released_code import CASES, ours, theirs

import bopt
from bopt.models import VGG, LeNet5
from experiments.config import Config, FrontConfig, VggConfig, VggFront, flat
from experiments.launch import read_options

FAST = ("smgd", "madam", "madam, split")  # the others are alike


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=case.name,
            marks=() if case.name in FAST else pytest.mark.slow,
        )
        for case in CASES
    ],
)
def test_updates_are_those_of_the_released_code(case):
    found, expected = ours(case), theirs(case)
    assert (expected == 0).any() and (expected[-1] != 0).any()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def options(kind, words):
    return flat(read_options(lambda _: kind, "program", words.split()))


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        (Config, "", {"weigh_by": "gradients", "conv_l2_both": True}),
        (Config, "--optimizer smgd", {"weigh_by": None, "conv_l2_both": True}),
        (Config, "--optimizer adam", {"conv_l2_both": False, "conv_l2": 1e-4}),
        (Config, "--optimizer=sgd", {"conv_l2_both": False}),
        (
            Config,
            "--optimizer smgd --split",
            {"split_loss": "whole", "conv_l2": 0.0, "conv_l2_both": False},
        ),
        (VggConfig, "", {"learning_rate": 1e-2, "schedule": "logistic"}),
        (VggConfig, "--optimizer smgd", {"schedule": "constant"}),
        (
            FrontConfig,
            "",
            {"optimizer": "madam", "schedule": "constant", "conv_l2_both": True},
        ),
        (FrontConfig, "--search bisection", {"search": "bisection", "budget": 20}),
        (VggFront, "", {"learning_rate": 1e-2, "conv_l2": 1e-6}),
    ],
)
def test_the_options_that_it_sets(kind, words, expected):
    found = options(kind, f"--published {words}")
    common = {"update_rule": "keras", "prune_where": "dense_layers"}
    common |= {"l1_at_zero": 0.0, "prune_initial": True, "published": True}
    assert found == found | common | expected


def test_each_option_may_still_be_given():
    words = "--l1-at-zero 1 --update-rule optax --published --no-prune-initial"
    found = options(Config, words)
    expected = {"l1_at_zero": 1.0, "update_rule": "optax", "prune_initial": False}
    assert found == found | expected | {"prune_where": "dense_layers"}


@pytest.fixture(scope="module", params=[LeNet5, VGG])
def params(request):
    """Parameters of a network of the paper, all different from 0."""
    image = np.zeros((1, 28, 28, 1) if request.param is LeNet5 else (1, 32, 32, 3))
    model = request.param()
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)


def released_losses(params):
    """The five penalties of the released code, by the names of its variables."""
    dense, kernels, others = [], [], []
    for layer, leaves in params.items():
        for name, leaf in leaves.items():
            values = np.asarray(leaf, np.float64).ravel()
            (dense if "dense" in layer.lower() else others).append(values)
            if "dense" in layer.lower() and "bias" not in name:
                kernels.append(values)
    dense, kernels, others = map(np.concatenate, (dense, kernels, others))
    return {
        "L1loss": np.abs(dense).sum() + np.abs(others).sum(),
        "L2loss": (dense**2).sum() + (others**2).sum(),
        "L1L2lossDenseConv": np.abs(dense).sum() + (others**2).sum(),
        "L1lossDense": np.abs(kernels).sum(),
        "L2lossConv": (others**2).sum(),
    }


def test_losses_of_the_released_code(params):
    """In the forms of docs/differences.md."""
    dense, others = "*Dense_*", bopt.complement("*Dense_*")
    found = {
        "L1loss": bopt.l1(params, where="*"),
        "L2loss": bopt.l2(params, where="*"),
        "L1L2lossDenseConv": bopt.l1(params, where=dense)
        + bopt.l2(params, where=others),
        "L1lossDense": bopt.l1(params, where="*Dense_*/kernel"),
        "L2lossConv": bopt.l2(params, where=others),
    }
    expected = released_losses(params)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_biases_of_dense_layers_are_pruned_before_and_after_steps(tmp_path):
    words = "--published --optimizer smgd --dataset digits --train-size 64 --epochs 0"
    assert small(f"{words} --threshold 0.1 --no-figures --out {tmp_path}/run") == 0
    (row,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(row)["dense_sparsity"] > 0.1
