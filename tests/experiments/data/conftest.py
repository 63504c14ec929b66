"""Small datasets that the readers take for the whole ones."""

import gzip
import hashlib
import io
import math
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from experiments.data import cifar10, mnist
from experiments.data.files import Original

SIZES = (90, 10, 20)  # train, validation, test


class Examples(NamedTuple):
    """Random images and labels, the same number of each class in train and test."""

    images: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="session")
def examples() -> Callable[[tuple[int, int, int]], Examples]:
    """Maker of 100 training and 20 test examples of a shape."""

    def make(shape: tuple[int, int, int]) -> Examples:
        rng = np.random.default_rng(0)
        labels = [rng.permutation(np.arange(count) % 10) for count in (100, 20)]
        images = rng.integers(256, size=(120, *shape), dtype=np.uint8)
        return Examples(images, np.concatenate(labels).astype(np.uint8))

    return make


def original(content: bytes) -> Original:
    return Original(len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def small_mnist(tmp_path, monkeypatch, examples) -> tuple[Path, Examples]:
    """A folder with the four files of a small MNIST, and the examples in them."""
    folder, (images, labels) = tmp_path / "small", examples(mnist.SHAPE)
    folder.mkdir()
    parts = (images[:100], labels[:100], images[100:], labels[100:])
    originals = {}
    for name, part in zip(mnist.FILES, parts, strict=True):
        shape = part.shape[:3]
        header = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
        content = header + part.tobytes()
        (folder / name).write_bytes(gzip.compress(content, 1))
        originals[name] = original(content)
    monkeypatch.setattr(mnist, "SIZES", SIZES)
    monkeypatch.setattr(mnist, "FILES", originals)
    both = [
        mnist.sorted_sha256(images[part], labels[part])
        for part in (slice(100), slice(100, None))
    ]
    monkeypatch.setattr(mnist, "SORTED_SHA256", tuple(both))
    return folder, Examples(images, labels)


@pytest.fixture
def small_cifar10(tmp_path, monkeypatch, examples) -> tuple[Path, Examples]:
    """A folder with the six binary files of a small CIFAR-10, and their examples."""
    folder, (images, labels) = tmp_path / "small", examples(cifar10.SHAPE)
    folder.mkdir()
    records = np.empty((120, 1 + math.prod(cifar10.SHAPE)), np.uint8)
    records[:, 0] = labels
    records[:, 1:] = np.moveaxis(images, -1, 1).reshape(120, -1)
    for name, part in zip(cifar10.FILES, np.split(records, 6), strict=True):
        part.tofile(folder / name)
    monkeypatch.setattr(cifar10, "SIZES", SIZES)
    return folder, Examples(images, labels)


@pytest.fixture
def small_archive(small_cifar10, monkeypatch) -> tuple[Path, Examples]:
    """A folder with the archive of a small CIFAR-10, and the examples in it."""
    folder, expected = small_cifar10
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.add(folder, cifar10.FOLDER)
    for path in folder.iterdir():
        path.unlink()
    (folder / cifar10.ARCHIVE).write_bytes(file.getvalue())
    monkeypatch.setattr(cifar10, "ORIGINAL", original(file.getvalue()))
    return folder, expected
