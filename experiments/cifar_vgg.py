"""A VGG-like network on CIFAR-10: cross entropy against its dense layer's l1 norm.

    python -m experiments.cifar_vgg

Trains for 125 epochs and prunes after every step.
"""

if __name__ == "__main__":
    from experiments import startup

    startup.handle_ctrl_c()

import sys
from typing import Any

from experiments.config import VggConfig
from experiments.launch import main


def network(config: Any, method: Any, classes: int):
    """Return the VGG."""
    import jax.numpy as jnp

    from bopt.models import VGG

    return VGG(
        classes=classes,
        dtype=jnp.dtype(config.devices.dtype),
        method=method,
        widths=config.pruning.widths,
    )


if __name__ == "__main__":
    sys.exit(main("cifar_vgg", VggConfig, network))
