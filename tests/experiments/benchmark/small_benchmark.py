"""A small network that stands for LeNet-5 in the benchmark; also run as a program."""

import sys

from networks import Small
from programs import SmallConfig

from experiments.benchmark import models
from experiments.benchmark.__main__ import main
from experiments.benchmark.models import Model


class Method(Small):
    """A small network with an option of LeNet-5's that has no effect."""

    method: str = "auto"


SMALL = Model("Small", Method(), SmallConfig(), "adam", 2, 96, (28, 28, 1))

if __name__ == "__main__":
    models.MODELS["lenet5"] = SMALL
    sys.exit(main())
