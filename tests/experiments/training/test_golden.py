"""Known values: one step of the default experiment, on the digits."""

import pytest

import bopt
from bopt.models import LeNet5
from experiments import data
from experiments.config import Config, resolve
from experiments.training.optimizers import compose
from experiments.training.trainer import Trainer

GOLDEN = {
    "objective 0": 2.3240564,
    "objective 1": 3549.2703,
    "weight 0": 0.5668020,
    "weight 1": 0.4331980,
    "train cross entropy": 2.2974899,
    "test cross entropy": 2.3080373,
    "l1": 3523.5179,
}


def test_golden_metrics_of_one_step():
    config = resolve(Config(epochs=1), "digits")
    digits = data.load("digits", train_size=32)
    trainer = Trainer(LeNet5(), compose(config, 1), digits, config)
    ((_, _, _, objectives, weights, _),) = trainer.epoch(1)
    assert isinstance(weights, list)
    scores = trainer.evaluate()
    found = {
        "objective 0": objectives[0],
        "objective 1": objectives[1],
        "weight 0": weights[0],
        "weight 1": weights[1],
        "train cross entropy": scores["train"].cross_entropy,
        "test cross entropy": scores["test"].cross_entropy,
        "l1": bopt.sparsity.report(trainer.params).dense.l1,
    }
    assert found == pytest.approx(GOLDEN, rel=1e-4), (
        "One step of the default experiment gives other numbers. If the network, its "
        "initialisation, the data's order, the objectives or madam were changed on "
        "purpose, or JAX's random numbers have changed, put the new numbers here, and "
        "measure README's tables again; otherwise this is a bug."
    )
