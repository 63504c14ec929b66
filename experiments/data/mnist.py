"""MNIST, from its four original files or as prepared by TFDS.

The files are gzipped IDX: a header of 16 bytes (images) or 8 bytes (labels), then one
byte per pixel or label.

Source: Y. LeCun, C. Cortes, C. Burges, *The MNIST database of handwritten digits*.
"""

import gzip
import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from experiments.data import download, files
from experiments.data.files import Original

TITLE = "MNIST"
SHAPE = (28, 28, 1)
SIZES = (55_000, 5_000, 10_000)
ADDRESS = "https://storage.googleapis.com/cvdf-datasets/mnist/"
FILES = {
    "train-images-idx3-ubyte.gz": Original(
        9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "train-labels-idx1-ubyte.gz": Original(
        28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "t10k-images-idx3-ubyte.gz": Original(
        1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    "t10k-labels-idx1-ubyte.gz": Original(
        4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
}
ORIGINALS = f"the four original files ({', '.join(FILES)}; from {ADDRESS})"
# `sorted_sha256` of the training and of the test examples.
SORTED_SHA256 = (
    "386a0fff07efe9ae3f934853780556ca1fe630371d4964508a3e3256c2063b0e",
    "292a2c8e9008782f6c6c94df46012a17c808c2666413d175e62502bbcf68dd61",
)


def from_folder(folder: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """Read the four original files."""
    paths = files.find(folder, [list(FILES)], TITLE, ADDRESS)
    images, labels = _read(paths, files.replace_from(ADDRESS))
    return images, labels, f"original files in {folder}"


def from_prepared() -> tuple[np.ndarray, np.ndarray, str]:
    """Read what TFDS has prepared if it holds MNIST's examples, in any order."""
    return download.read_prepared("mnist", SHAPE, SIZES, _other_examples)


def from_download() -> tuple[np.ndarray, np.ndarray, str]:
    """Read the four original files from TFDS's cache or the network."""
    paths = download.fetch("mnist", [ADDRESS + name for name in FILES])
    images, labels = _read(paths, download.REMEDY)
    return images, labels, f"original files fetched by TFDS into {paths[0].parent}"


def sorted_sha256(images: np.ndarray, labels: np.ndarray) -> str:
    """SHA-256 that does not depend on the order of the examples."""
    rows = np.column_stack([images.reshape(len(images), -1), labels])
    return hashlib.sha256(b"".join(sorted(row.tobytes() for row in rows))).hexdigest()


def _other_examples(images: np.ndarray, labels: np.ndarray) -> str:
    train = sum(SIZES[:2])
    parts = slice(train), slice(train, None)
    found = tuple(sorted_sha256(images[part], labels[part]) for part in parts)
    return "" if found == SORTED_SHA256 else "found other examples than MNIST's"


def _read(paths: Iterable[Path], remedy: str) -> tuple[np.ndarray, np.ndarray]:
    parts = [
        np.frombuffer(gzip.decompress(files.read(path, original, remedy)), np.uint8)
        for path, original in zip(paths, FILES.values(), strict=True)
    ]
    images = np.concatenate([part[16:] for part in parts[::2]])
    return images.reshape(-1, *SHAPE), np.concatenate([p[8:] for p in parts[1::2]])
