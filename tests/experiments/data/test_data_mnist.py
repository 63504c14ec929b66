"""MNIST's original files, and what can be wrong with them."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from experiments import data
from experiments.data import mnist


def test_the_published_files(mnist_dir, monkeypatch):
    monkeypatch.chdir(mnist_dir.parent)
    loaded = data.load("auto", mnist_dir.name)
    assert (loaded.name, loaded.title) == ("mnist", "MNIST")
    assert loaded.source == "original files in mnist"
    assert loaded.images.shape == (70_000, 28, 28, 1)
    assert loaded.images.dtype == loaded.labels.dtype == np.uint8
    assert loaded.train == range(55_000)
    assert loaded.validation == range(55_000, 60_000)
    assert loaded.test == range(60_000, 70_000)
    # The published files begin with these labels; a shift or swap of parts shows here.
    assert loaded.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert loaded.labels[60_000:60_010].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # Mean intensities of the training and the test images, as everywhere published.
    for part, mean in ((slice(60_000), 0.1307), (slice(60_000, None), 0.1325)):
        assert loaded.images[part].mean() / 255 == pytest.approx(mean, abs=5e-5)
    # Constants for datasets in another order.
    train, test = mnist.SORTED_SHA256
    reverse = slice(None, 59_999, -1)
    images, labels = loaded.images[reverse], loaded.labels[reverse]
    assert mnist.sorted_sha256(images, labels) == test
    assert mnist.sorted_sha256(images, np.roll(labels, 1)) != test
    images, labels = loaded.images[:60_000], loaded.labels[:60_000]
    assert mnist.sorted_sha256(images, labels) == train


def test_pixels_and_labels_are_where_they_belong(small_mnist):
    folder, expected = small_mnist
    loaded = data.load("mnist", folder)
    assert (loaded.images == expected.images).all()
    assert (loaded.labels == expected.labels).all()


def cut(path: Path) -> str:
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    return f"wrong size: found {len(content) - 9} bytes, expected {len(content)}."


def flip(path: Path) -> str:
    content = bytearray(path.read_bytes())
    expected = hashlib.sha256(content).hexdigest()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    return f"wrong SHA-256: found {found}, expected {expected}."


def exchange(path: Path) -> str:
    size = path.stat().st_size
    path.write_bytes(b"<html>not found</html>")
    return f"wrong size: found 22 bytes, expected {size}."


@pytest.mark.parametrize("damage", [cut, flip, exchange])
def test_a_damaged_file_is_named(small_mnist, damage):
    folder, _ = small_mnist
    path = folder / "t10k-images-idx3-ubyte.gz"
    expected = (
        f"{path}: {damage(path)} Replace it by the original from {mnist.ADDRESS}, or "
        "name another --data-dir."
    )
    with pytest.raises(data.DataError, match=f"^{re.escape(expected)}$"):
        data.load("auto", folder)


def test_a_huge_file_is_not_read(small_mnist, monkeypatch):
    folder, _ = small_mnist
    path = folder / "train-images-idx3-ubyte.gz"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"read {path}"))
    with pytest.raises(data.DataError, match="wrong size: found 1099511627776 bytes"):
        data.load("mnist", folder)


@pytest.mark.parametrize("name", mnist.FILES)
def test_a_missing_file_is_named(small_mnist, name):
    folder, _ = small_mnist
    (folder / name).unlink()
    expected = f"^{folder}: {name} not found, expected beside .*-ubyte.gz. Get what"
    with pytest.raises(data.DataError, match=expected):
        data.load("auto", folder)
