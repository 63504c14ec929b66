"""Known values: one step of the default experiment, on the digits."""

import functools

import pytest
from programs import SmallConfig

import bopt
from bopt.models import LeNet5
from experiments import data
from experiments.config import resolve, updated
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
# Processors add in different orders: about 1e-6. Accelerators may multiply numbers of
# 10 bits: about 1e-4 in these means of many products. Both also move single weights
# across the pruning threshold, which changes the l1 norm by less than 1e-6.
TOLERANCE = 1e-3


@pytest.mark.slow
def test_golden_metrics_of_one_step():
    config = resolve(updated(SmallConfig(), epochs=1), "digits")
    digits = data.load("digits", train_size=32)
    optimizer = functools.partial(compose, config, 1)
    trainer = Trainer(LeNet5(), optimizer, digits, config, [0])
    (progress,) = trainer.epoch(1)
    (objectives,), (weights,) = progress.objectives, progress.weights
    (scores,), (network,) = trainer.evaluate(), trainer.networks()
    found = {
        "objective 0": objectives[0],
        "objective 1": objectives[1],
        "weight 0": weights[0],
        "weight 1": weights[1],
        "train cross entropy": scores["train"].cross_entropy,
        "test cross entropy": scores["test"].cross_entropy,
        "l1": bopt.sparsity.report(network).dense.l1,
    }
    assert found == pytest.approx(GOLDEN, rel=TOLERANCE), (
        "One step of madam by directions gives other numbers. If the network, its "
        "initialization, the order of the images, the objectives or madam were changed "
        "on purpose, or JAX's random numbers have changed, put the new numbers here, "
        "and measure README's tables again; otherwise this is a bug."
    )
