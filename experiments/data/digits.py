"""The handwritten digits that scikit-learn carries: data for a machine without network.

1,797 images of 8x8 pixels with values 0 to 16, here enlarged and scaled to 0 to 255, so
that they can take another dataset's place: the same network and the same options serve.

Source: E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine
Learning Repository, 1998 (its test part).
"""

import numpy as np

from experiments.data.errors import EXTRA
from experiments.errors import DataError


def read(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Reads the digits and puts them in a fixed, random order.

    The original order is by writer: parts cut from it would differ in kind.

    Args:
      shape: height, width and channels to give the images: (28, 28, 1) as MNIST's,
        (32, 32, 3) as CIFAR-10's. All channels are equal.

    Returns:
      Images (1797, *shape) and labels (1797,), uint8.

    Raises:
      DataError: scikit-learn is not installed.
    """
    try:
        from scipy import ndimage
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            f"scikit-learn, whose handwritten digits were asked for, is missing "
            f"({error}): {EXTRA}."
        ) from None
    small, labels = map(np.asarray, load_digits(return_X_y=True))
    small = small.reshape(-1, 8, 8) * (255 / 16)
    # Pixels are areas, not points: grid_mode keeps the image's edges where they are.
    factors = (1, shape[0] / 8, shape[1] / 8)
    large = ndimage.zoom(small, factors, order=1, mode="nearest", grid_mode=True)
    # RandomState's streams are frozen by NumPy's policy, those of Generator are not.
    order = np.random.RandomState(0).permutation(len(labels))
    images = np.rint(np.asarray(large)[order, :, :, np.newaxis]).astype(np.uint8)
    return np.repeat(images, shape[2], axis=-1), labels[order].astype(np.uint8)
