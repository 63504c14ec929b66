"""The program pareto_front for the tests, with a network that compiles fast.

Run as a program, it is pareto_front with that network.
"""

import sys
from pathlib import Path

import pytest
from networks import Small
from programs import SmallConfig, start_quickly

from experiments import pareto_front
from experiments.config import FrontConfig
from experiments.runs import schema
from experiments.runs.reading import read_front

WORDS = "--dataset digits --no-figures --batch-size 16 --epochs 2 --final-epochs 1"
PROGRAM = (__file__,)
# The programs of the session's `trained_front`, which are compiled once.
SMALL, BUDGET = f"{WORDS} --train-size 64 --parallel 2 --smallest 1e-3", 5


def use_small(patch: pytest.MonkeyPatch) -> None:
    """Replace LeNet-5 by the small network."""
    patch.setattr(pareto_front, "network", lambda *_: Small())
    patch.setattr(FrontConfig, "TRAINING", SmallConfig)


def trace(words: str) -> int:
    """Run the program in this process; return the exit code."""
    return pareto_front.main(words.split())


def table(path: Path) -> str:
    """Return the points of a front, without times."""
    columns = [name for name in schema.POINT_COLUMNS if name != "seconds"]
    return read_front(path).to_csv(columns)


if __name__ == "__main__":
    start_quickly()
    use_small(pytest.MonkeyPatch())
    sys.exit(pareto_front.main())
