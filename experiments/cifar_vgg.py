"""A VGG-like network on CIFAR-10: cross entropy against the l1 norm of its dense layer.

    python -m experiments.cifar_vgg

Trains for 125 epochs and prunes after every step.
"""

import dataclasses
import sys
from typing import Annotated, ClassVar, Literal

import jax.numpy as jnp

from bopt.models import VGG
from experiments.config import FLOAT, INT, PAIR, Config, Optimizer
from experiments.devices import use_all_cores
from experiments.launch import main
from experiments.paper_runs import EPOCHS


@dataclasses.dataclass(frozen=True)
class VggConfig(Config):
    """Trains a VGG-like network on two objectives, cross entropy and the l1 norm of its
    dense weights, and prunes it while it trains."""

    PREFERRED: ClassVar = "cifar10"
    EPOCHS: ClassVar = EPOCHS["cifar_vgg", None]
    L1: ClassVar = 0.03
    WEIGHTS: ClassVar = (0.9, 0.1)

    dataset: Literal["auto", "cifar10", "digits"] = "auto"
    """auto: CIFAR-10, or scikit-learn's handwritten digits where it cannot be had."""
    optimizer: Optimizer = "mrmsprop"
    l1: Annotated[float | None, FLOAT] = None
    """Coefficient of the l1 norm for the baselines (default 0.03)."""
    weights: Annotated[tuple[float, float] | None, PAIR] = None
    """Fixed weights of the two objectives for smgd, madam, mrmsprop, instead of those
    of least norm (default 0.9 0.1 for madam and mrmsprop, unless --weigh-by,
    --normalize or --split is given)."""
    epochs: Annotated[int | None, INT] = None
    """Passes over the training images (default 125; 20 on the digits)."""
    batch_size: int = 64
    conv_l2: float = 1e-6
    standardize: bool = True
    augment: bool = False
    """Whether each step crops its images at random (4 pixels of padding) and mirrors
    half of them."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the network's computations; parameters, gradients and statistics are float32
    whatever it is."""


def network(config: VggConfig) -> VGG:
    """The network that the options ask for."""
    return VGG(dtype=jnp.dtype(config.dtype))


if __name__ == "__main__":
    use_all_cores()
    sys.exit(main("cifar_vgg", VggConfig, network))
