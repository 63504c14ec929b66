"""The networks of the paper and a transformer in Flax Linen, and chains."""

from bopt.models.chain import Chain, Size, chain, shrink, size
from bopt.models.conv import Conv, avg_pool, convolve, max_pool
from bopt.models.lenet import LeNet5
from bopt.models.transformer import Transformer
from bopt.models.vgg import VGG

__all__ = [
    "VGG",
    "Chain",
    "Conv",
    "LeNet5",
    "Size",
    "Transformer",
    "avg_pool",
    "chain",
    "convolve",
    "max_pool",
    "shrink",
    "size",
]
