"""MNIST, from its four original files or as prepared by TFDS.

The files are IDX: a header of 16 bytes (images) or 8 bytes (labels), then one byte per
pixel or label. They are published gzipped; unpacked or gzipped anew they are the same.

Source: Y. LeCun, C. Cortes, C. Burges, *The MNIST database of handwritten digits*.
"""

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
# Published files, and their content without compression.
FILES = {
    "train-images-idx3-ubyte.gz": Original(
        47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte.gz": Original(
        60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte.gz": Original(
        7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte.gz": Original(
        10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}
ORIGINALS = f"the four original files ({', '.join(FILES)}, or unpacked; from {ADDRESS})"
# `sorted_sha256` of the training and of the test examples.
SORTED_SHA256 = (
    "386a0fff07efe9ae3f934853780556ca1fe630371d4964508a3e3256c2063b0e",
    "292a2c8e9008782f6c6c94df46012a17c808c2666413d175e62502bbcf68dd61",
)


def from_folder(folder: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """Read the four original files, gzipped or unpacked."""
    paths = files.find(folder, [[_names(name) for name in FILES]], TITLE, ADDRESS)
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


def _names(published: str) -> list[str]:
    """Names under which a file may lie in a folder, the published one first."""
    dotted = published.replace("-idx", ".idx")  # as some programs unpack it
    packed = [published, dotted]
    return packed + [name.removesuffix(".gz") for name in packed]


def _read(paths: Iterable[Path], remedy: str) -> tuple[np.ndarray, np.ndarray]:
    parts = [
        np.frombuffer(files.read_unpacked(path, original, remedy), np.uint8)
        for path, original in zip(paths, FILES.values(), strict=True)
    ]
    images = np.concatenate([part[16:] for part in parts[::2]])
    return images.reshape(-1, *SHAPE), np.concatenate([p[8:] for p in parts[1::2]])
