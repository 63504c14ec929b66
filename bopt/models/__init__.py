"""The networks of the paper, in Flax Linen."""

from bopt.models.conv import Conv, avg_pool, convolve, max_pool
from bopt.models.lenet import LeNet5
from bopt.models.vgg import VGG

__all__ = ["VGG", "Conv", "LeNet5", "avg_pool", "convolve", "max_pool"]
