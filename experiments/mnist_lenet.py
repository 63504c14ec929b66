"""LeNet-5 on MNIST: cross entropy against the l1 norm of the dense weights.

    python -m experiments.mnist_lenet

Trains for 30 epochs and prunes after every step.
"""

import sys

from bopt.models import LeNet5
from experiments.config import Config
from experiments.devices import use_all_cores
from experiments.launch import main

if __name__ == "__main__":
    use_all_cores()
    sys.exit(main("mnist_lenet", Config, lambda _: LeNet5()))
