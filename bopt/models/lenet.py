"""LeNet-5, the network of the paper for MNIST."""

import jax
from flax import linen as nn

from bopt.models.conv import Conv, Method, avg_pool


class LeNet5(nn.Module):
    """3x3 convolutions with 6 and 16 channels, then dense layers 120, 84 and 10.

    Convolutions are valid, each followed by ReLU and 2x2 average pooling. Kernels are
    initialised Glorot-uniformly, biases with zeros. On 28x28 images there are 60,074
    parameters, of which 58,920 are entries of dense kernels.

    Attributes:
      classes: number of outputs.
      method: method of convolution, see `bopt.models.Conv`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from bopt.models import LeNet5
      >>> images = jnp.zeros((1, 28, 28, 1))
      >>> params = jax.eval_shape(LeNet5().init, jax.random.key(0), images)
      >>> sum(leaf.size for leaf in jax.tree.leaves(params))
      60074

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, *Gradient-based learning
    applied to document recognition* (1998), in the form of arXiv 2008.13590.
    """

    classes: int = 10
    method: Method = "auto"

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Return logits (B, classes) of images (B, 28, 28, 1); `train` is ignored."""
        del train
        x = images
        for features in (6, 16):
            x = avg_pool(nn.relu(Conv(features, method=self.method)(x)))
        x = x.reshape(len(x), -1)
        glorot = nn.initializers.glorot_uniform()
        for features in (120, 84):
            x = nn.relu(nn.Dense(features, kernel_init=glorot)(x))
        return nn.Dense(self.classes, kernel_init=glorot)(x)
