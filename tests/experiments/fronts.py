"""Runs pareto_front for the tests, with a network that compiles in no time.

Run as a program, this is pareto_front with that network.
"""

import sys
from pathlib import Path

from networks import Small

from experiments import pareto_front
from experiments.devices import use_all_cores
from experiments.front_options import LenetFront
from experiments.runs.directory import read_front

WORDS = "--dataset digits --no-figures --batch-size 16 --epochs 2 --final-epochs 1"
PROGRAM = (__file__,)


def use_small(monkeypatch=None) -> None:
    """Makes LeNet-5 the small network."""

    def module(self, method="auto"):
        return Small()

    if monkeypatch is None:
        LenetFront.module = module
    else:
        monkeypatch.setattr(LenetFront, "module", module)


def trace(words: str) -> int:
    """Runs the program in this process; returns the exit code."""
    return pareto_front.main(words.split())


def table(path: Path) -> str:
    """The front, without what no two runs have in common."""
    return "\n".join(repr(point._replace(seconds=None)) for point in read_front(path))


if __name__ == "__main__":
    use_small()
    use_all_cores()
    sys.exit(pareto_front.main())
