"""LeNet-5 on MNIST: cross entropy against the l1 norm of the dense weights.

    python -m experiments.mnist_lenet

Trains for 30 epochs and prunes after every step.
"""

if __name__ == "__main__":
    from experiments import startup

    startup.handle_ctrl_c()

import sys
from typing import Any

from experiments.config import Config
from experiments.launch import main


def network(config: Any, method: Any, classes: int):
    """Return LeNet-5."""
    from bopt.models import LeNet5

    if config.pruning.widths is None:
        return LeNet5(classes, method=method)
    return LeNet5(classes, method=method, widths=config.pruning.widths)


if __name__ == "__main__":
    sys.exit(main("mnist_lenet", Config, network))
