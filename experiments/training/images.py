"""Images: scaling and augmentation on the device."""

import jax
import jax.numpy as jnp
import numpy as np

PADDING = 4  # pixels around an image that is cropped at random


def moments(images: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of all entries; of bytes, exactly."""
    if images.dtype != np.uint8:
        return float(images.mean(dtype=float)), float(images.std(dtype=float)) or 1.0
    # Integer sums, without a copy of the images in a wider type.
    total, squares = (
        int(np.einsum(subscripts, *[images.ravel()] * operands, dtype=np.int64))
        for subscripts, operands in (("n->", 1), ("n,n->", 2))
    )
    number = images.size
    variance = (number * squares - total**2) / number**2
    return total / number, variance**0.5


def scaled(
    images: jax.Array, mean: float = 0.0, deviation: float | None = None
) -> jax.Array:
    """Return (images - mean) / deviation as floats.

    Without a deviation, bytes are scaled to [0, 1], and numbers of other types, such as
    text, are returned as they are.
    """
    if deviation is None and images.dtype != jnp.uint8:
        return images
    return (images.astype(jnp.float32) - mean) / (deviation or 255.0)


def example(images: np.ndarray) -> jax.Array:
    """Return one image of zeros as a network gets it, (1, ...)."""
    return scaled(jnp.zeros((1, *images.shape[1:]), images.dtype))


def augmented(images: jax.Array, key: jax.Array) -> jax.Array:
    """Crop padded images (B, H, W, C) at random, and mirror half of them.

    Each is shifted by up to `PADDING` pixels in each direction; the padding is black.

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
