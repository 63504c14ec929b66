"""The networks of the paper in Flax Linen, and chains to use after training."""

from bopt.models.chain import Chain, Size, chain, shrink, size
from bopt.models.conv import Conv, avg_pool, convolve, max_pool
from bopt.models.lenet import LeNet5
from bopt.models.vgg import VGG

__all__ = [
    "VGG",
    "Chain",
    "Conv",
    "LeNet5",
    "Size",
    "avg_pool",
    "chain",
    "convolve",
    "max_pool",
    "shrink",
    "size",
]
