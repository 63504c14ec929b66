"""Convolution and pooling that are fast on each platform.

XLA's convolution is fast on GPUs and TPUs, but slow on CPUs at the sizes of small
networks. There, shifted slices of the image and one matrix product replace it.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import lax

Method = Literal["auto", "library", "patches"]


class Conv(nn.Module):
    """2-d convolution with stride 1 and bias, with the parameters of `flax.linen.Conv`.

    Attributes:
      features: number of output channels.
      kernel_size: height and width of the kernel.
      padding: ``"VALID"`` or ``"SAME"``.
      method: ``"library"``: XLA's convolution, which becomes a grouped one, slow
        everywhere, under `jax.vmap` over networks; ``"patches"``: slices and one matrix
        product; ``"auto"``: patches on CPU, library elsewhere, chosen when the program
        is lowered. Results are equal to float error.
      dtype: dtype of the computation; None: that of images and parameters.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from bopt.models import Conv
      >>> conv = Conv(features=6)
      >>> params = conv.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
      >>> conv.apply(params, jnp.zeros((5, 28, 28, 1))).shape
      (5, 26, 26, 6)
    """

    features: int
    kernel_size: tuple[int, int] = (3, 3)
    padding: Literal["VALID", "SAME"] = "VALID"
    method: Method = "auto"
    dtype: Any = None

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        shape = (*self.kernel_size, images.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        images, kernel, bias = promote_dtype(images, kernel, bias, dtype=self.dtype)
        bias = bias[None, None, None]  # without implicit rank promotion
        return convolve(images, kernel, self.padding, self.method) + bias


def convolve(
    images: jax.Array,
    kernel: jax.Array,
    padding: Literal["VALID", "SAME"] = "VALID",
    method: Method = "auto",
) -> jax.Array:
    """Cross-correlate images with a kernel, with stride 1.

    Args:
      images: (B, H, W, C_in).
      kernel: (h, w, C_in, C_out), of the same dtype.
      padding: ``"VALID"`` or ``"SAME"``.
      method: see `Conv`.

    Returns:
      (B, H', W', C_out).

    Raises:
      ValueError: an unknown `method` or `padding`.

    Example:
      >>> import jax.numpy as jnp
      >>> from bopt.models import convolve
      >>> print(convolve(jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1))).item())
      9.0
    """
    if padding not in ("VALID", "SAME"):
        raise ValueError(f"padding={padding!r}; expected 'VALID' or 'SAME'.")
    library = functools.partial(_library, padding=padding)
    patches = functools.partial(_patches, padding=padding)
    match method:
        case "library":
            return library(images, kernel)
        case "patches":
            return patches(images, kernel)
        case "auto":
            return lax.platform_dependent(images, kernel, cpu=patches, default=library)
    raise ValueError(f"method={method!r}; expected 'auto', 'library' or 'patches'.")


def _library(images: jax.Array, kernel: jax.Array, padding: str) -> jax.Array:
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        images, kernel, (1, 1), padding, dimension_numbers=dimensions
    )


def _patches(images: jax.Array, kernel: jax.Array, padding: str) -> jax.Array:
    height, width, channels, features = kernel.shape
    if padding == "SAME":
        rows, columns = [((n - 1) // 2, n // 2) for n in (height, width)]
        images = jnp.pad(images, [(0, 0), rows, columns, (0, 0)])
    rows, columns = images.shape[1] - height + 1, images.shape[2] - width + 1
    slices = [
        images[:, i : i + rows, j : j + columns]
        for i in range(height)
        for j in range(width)
    ]
    # Two axes only: with the axes of the batch kept, CPUs are half as fast.
    batch, length = len(images), height * width * channels
    patches = _reshape(jnp.concatenate(slices, axis=-1), batch * rows * columns, length)
    product = patches @ kernel.reshape(length, features)
    return _reshape(product, batch, rows, columns, features)


def avg_pool(images: jax.Array) -> jax.Array:
    """Average 2x2 windows with stride 2; an odd last row or column is dropped.

    Args:
      images: (B, H, W, C).

    Returns:
      (B, H // 2, W // 2, C).

    Example:
      >>> import jax.numpy as jnp
      >>> from bopt.models import avg_pool
      >>> print(avg_pool(jnp.arange(4.0).reshape(1, 2, 2, 1)).item())
      1.5
    """
    return _pool(jnp.add, images) / 4


def max_pool(images: jax.Array) -> jax.Array:
    """Maximum of 2x2 windows with stride 2; an odd last row or column is dropped.

    Equal maxima of a window share the gradient.

    Args:
      images: (B, H, W, C).

    Returns:
      (B, H // 2, W // 2, C).

    Example:
      >>> import jax.numpy as jnp
      >>> from bopt.models import max_pool
      >>> print(max_pool(jnp.arange(4.0).reshape(1, 2, 2, 1)).item())
      3.0
    """
    return _pool(_maximum, images)


@jax.custom_jvp
def _maximum(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.maximum(a, b)


@_maximum.defjvp
def _maximum_jvp(primals, tangents):
    # That of jnp.maximum compares with the result, which XLA may have rounded
    # differently: then neither gets a gradient.
    (a, b), (da, db) = primals, tangents
    share = jnp.where(a > b, 1.0, jnp.where(a == b, 0.5, 0.0)).astype(a.dtype)
    return jnp.maximum(a, b), share * da + (1 - share) * db


def _pool(
    join: Callable[[jax.Array, jax.Array], jax.Array], images: jax.Array
) -> jax.Array:
    """Join the four entries of each 2x2 window."""
    batch, height, width, channels = images.shape
    height, width = height // 2, width // 2
    # Rows before columns: on CPUs faster than both axes at once.
    whole = images[:, : 2 * height, : 2 * width]
    pairs = _reshape(whole, batch, height, 2, 2 * width * channels)
    rows = join(pairs[:, :, 0], pairs[:, :, 1])
    pairs = _reshape(rows, batch, height, width, 2, channels)
    return join(pairs[:, :, :, 0], pairs[:, :, :, 1])


def _reshape(array: jax.Array, *shape: int) -> jax.Array:
    """Reshape within each image; an explicit mesh still divides the batch."""
    if not is_divided(array):
        return jnp.reshape(array, shape)
    sharding = jax.typeof(array).sharding
    spec = jax.sharding.PartitionSpec(sharding.spec[0], *[None] * (len(shape) - 1))
    out = jax.sharding.NamedSharding(sharding.mesh, spec)
    return jnp.reshape(array, shape, out_sharding=out)


def is_divided(images: jax.Array) -> bool:
    """Return whether an explicit mesh divides the batch."""
    return jax.typeof(images).sharding.spec[0] is not None


def check_widths(name: str, widths: Sequence[int], number: int) -> None:
    """Raise ValueError unless there is one positive width per layer."""
    if len(widths) != number or min(widths) < 1:
        raise ValueError(
            f"{name} got widths={tuple(widths)}; expected {number} numbers from 1, one "
            "for each convolution and each hidden dense layer."
        )
