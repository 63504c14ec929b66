"""The handwritten digits that scikit-learn carries, for a machine without network.

1,797 images of 8x8 pixels with values 0 to 16, enlarged and scaled to 0 to 255 so that
the networks and options of another dataset serve unchanged.

Source: E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine
Learning Repository, 1998 (its test part).
"""

import numpy as np

from experiments.data.files import INSTALL
from experiments.errors import DataError

TITLE = "handwritten digits (scikit-learn)"
SIZES = (1_294, 143, 360)


def read(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Read the digits, enlarged to a shape, with equal channels.

    Their order is random but fixed: parts of the original, by writer, differ in kind.
    """
    try:
        from scipy import ndimage
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            f"scikit-learn is missing ({error}), expected for its handwritten digits: "
            f"{INSTALL}."
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
