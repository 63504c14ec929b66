"""The networks of the paper, in Flax Linen."""

from bopt.models.conv import Conv, avg_pool, convolve
from bopt.models.lenet import LeNet5

__all__ = ["Conv", "LeNet5", "avg_pool", "convolve"]
