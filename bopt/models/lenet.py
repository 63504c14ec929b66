"""LeNet-5, the network of the paper for MNIST."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import lax

from bopt.models.conv import Method, avg_pool, check_widths, convolve, is_divided

Layer = tuple[jax.Array, jax.Array]  # kernel and bias


class LeNet5(nn.Module):
    """3x3 convolutions with 6 and 16 channels, then dense layers 120, 84 and 10.

    Convolutions are valid, each followed by ReLU and 2x2 average pooling. Kernels are
    initialised Glorot-uniformly, biases with zeros. On 28x28 images there are 60,074
    parameters, of which 58,920 are entries of dense kernels.

    Attributes:
      classes: number of outputs.
      method: ``"library"``: XLA's convolution, see `bopt.models.Conv`; ``"patches"``:
        slices and one matrix product per convolution, with the batch as last axis of
        all arrays inside; ``"auto"``: patches on CPU, library elsewhere.
      widths: numbers of channels of the two convolutions and of units of the two hidden
        dense layers.

    Raises:
      ValueError: when called, `widths` that are not four numbers from 1.

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
    widths: Sequence[int] = (6, 16, 120, 84)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Return logits (B, classes) of images (B, 28, 28, 1); `train` is ignored."""
        del train
        check_widths("LeNet5", self.widths, 4)
        _, height, width, channels = images.shape
        convolutions, dense = [], []
        for number, features in enumerate(self.widths[:2]):
            shape = (3, 3, channels, features)
            convolutions.append(_Layer(shape, name=f"Conv_{number}")())
            height, width, channels = (height - 2) // 2, (width - 2) // 2, features
        inputs = height * width * channels
        for number, outputs in enumerate((*self.widths[2:], self.classes)):
            dense.append(_Layer((inputs, outputs), name=f"Dense_{number}")())
            inputs = outputs
        layers, tree = jax.tree.flatten((convolutions, dense))
        images, *layers = promote_dtype(images, *layers)
        arguments = images, *jax.tree.unflatten(tree, layers)
        library = functools.partial(_batch_first, method="library")
        # The batch cannot be merged with other axes if a mesh divides it.
        patches = (
            functools.partial(_batch_first, method="patches")
            if is_divided(images)
            else _batch_last
        )
        match self.method:
            case "auto":
                return lax.platform_dependent(*arguments, cpu=patches, default=library)
            case "patches":
                return patches(*arguments)
        return _batch_first(*arguments, method=self.method)


class _Layer(nn.Module):
    """Parameters of a layer, with the names and the values of Flax's layers."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self) -> Layer:
        glorot, zeros = nn.initializers.glorot_uniform(), nn.initializers.zeros_init()
        kernel = self.param("kernel", glorot, self.shape)
        return kernel, self.param("bias", zeros, self.shape[-1:])


def _batch_first(
    images: jax.Array,
    convolutions: Sequence[Layer],
    dense: Sequence[Layer],
    method: Method,
) -> jax.Array:
    """Compute in the layout of images, (B, H, W, C)."""
    x = images
    for kernel, bias in convolutions:
        product = convolve(x, kernel, "VALID", method)
        x = avg_pool(nn.relu(product + bias[None, None, None]))
    x = x.reshape(len(x), -1)
    for number, (kernel, bias) in enumerate(dense):
        x = (nn.relu(x) if number else x) @ kernel + bias[None]
    return x


def _batch_last(
    images: jax.Array, convolutions: Sequence[Layer], dense: Sequence[Layer]
) -> jax.Array:
    """Compute in the layout (C, H, W, B), whose long rows are copied fast on CPUs."""
    x = jnp.transpose(images, (3, 1, 2, 0))
    for kernel, bias in convolutions:
        rows, columns, _, features = kernel.shape
        height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
        patches = jnp.concatenate(
            [
                x[:, i : i + height, j : j + width]
                for i in range(rows)
                for j in range(columns)
            ]
        )
        matrix = kernel.reshape(-1, features)
        # Two axes only: with all of them kept, the gradient is half as fast.
        product = matrix.T @ patches.reshape(len(matrix), -1)
        x = product.reshape(features, height, width, -1)
        x = nn.relu(x + bias[:, None, None, None])
        height, width = height // 2, width // 2
        windows = x[:, : 2 * height, : 2 * width]
        windows = windows.reshape(features, height, 2, width, 2, -1)
        upper, lower = windows[:, :, 0], windows[:, :, 1]
        x = (
            upper[:, :, :, 0]
            + upper[:, :, :, 1]
            + lower[:, :, :, 0]
            + lower[:, :, :, 1]
        ) / 4
    # In the order of the rows of the dense kernel.
    x = jnp.transpose(x, (1, 2, 0, 3)).reshape(-1, x.shape[-1])
    for number, (kernel, bias) in enumerate(dense):
        x = kernel.T @ (nn.relu(x) if number else x) + bias[:, None]
    return x.T
