"""From images as they are stored to what a network is given."""

import jax
import jax.numpy as jnp
import numpy as np

PADDING = 4  # pixels around an image that is cropped at random


def moments(images: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of all pixels together, computed exactly.

    Args:
      images: (N, H, W, C) uint8.

    Returns:
      Two floats, in units of the pixels.

    Example:
      >>> import numpy as np
      >>> from experiments.training.images import moments
      >>> moments(np.array([0, 10], np.uint8).reshape(1, 2, 1, 1))
      (5.0, 5.0)
    """
    # Integer sums, without a copy of the images in a wider type.
    total, squares = (
        int(np.einsum(subscripts, *[images] * operands, dtype=np.int64))
        for subscripts, operands in (("nhwc->", 1), ("nhwc,nhwc->", 2))
    )
    number = images.size
    variance = (number * squares - total**2) / number**2
    return total / number, variance**0.5


def scaled(images: jax.Array, mean: float = 0.0, deviation: float = 255.0) -> jax.Array:
    """Images as floats, less a mean and divided by a deviation; by default in [0, 1].

    Example:
      >>> import jax.numpy as jnp
      >>> from experiments.training.images import scaled
      >>> print(scaled(jnp.array([255], jnp.uint8)))
      [1.]
    """
    return (images.astype(jnp.float32) - mean) / deviation


def augmented(images: jax.Array, key: jax.Array) -> jax.Array:
    """Random crops of the images, padded with black, and random horizontal flips.

    Args:
      images: (B, H, W, C).
      key: a JAX random key.

    Returns:
      (B, H, W, C): each image shifted by up to `PADDING` pixels in each direction, and
      mirrored with probability one half.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from experiments.training.images import augmented
      >>> images = jnp.arange(2 * 32 * 32 * 3, dtype=jnp.uint8).reshape(2, 32, 32, 3)
      >>> augmented(images, jax.random.key(0)).shape
      (2, 32, 32, 3)

    Source: S. Zagoruyko, N. Komodakis, *Wide residual networks* (arXiv 1605.07146),
    section 3, and many before them.
    """
    crop_key, flip_key = jax.random.split(key)
    corners = jax.random.randint(crop_key, (len(images), 2), 0, 2 * PADDING + 1)
    around = (PADDING, PADDING)
    padded = jnp.pad(images, ((0, 0), around, around, (0, 0)))

    def crop(image, corner):
        start = (corner[0], corner[1], 0)
        return jax.lax.dynamic_slice(image, start, images.shape[1:])

    cropped = jax.vmap(crop)(padded, corners)
    flip = jax.random.bernoulli(flip_key, shape=(len(images), 1, 1, 1))
    return jnp.where(flip, cropped[:, :, ::-1], cropped)
