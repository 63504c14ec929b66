"""The datasets and their splits, MNIST's files in a folder, damaged files, the digits.

What TFDS fetches or has prepared is in test_data_tfds.py.
"""

import gzip
import hashlib
import math
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import data
from experiments.data import mnist

SMALL = (3, 28, 28)
PIXELS = bytes(i % 256 for i in range(math.prod(SMALL)))


def idx(shape=SMALL, values=PIXELS, kind=8) -> bytes:
    header = bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return header + values


@pytest.fixture
def linked(mnist_dir, tmp_path) -> Path:
    """A folder with links to the original files: replace one to damage it."""
    for name in mnist.FILES:
        (tmp_path / name).symlink_to(mnist_dir / name)
    return tmp_path


def replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


# Datasets, splits, sizes


def test_mnist_from_original_files(mnist_dir):
    mnist_data = data.load("mnist", mnist_dir)
    assert mnist_data.name == "mnist"
    assert mnist_data.title == "MNIST"
    assert mnist_data.source == f"original files in {mnist_dir}"
    assert mnist_data.images.shape == (70_000, 28, 28, 1)
    assert mnist_data.images.dtype == mnist_data.labels.dtype == np.uint8
    assert mnist_data.train == range(55_000)
    assert mnist_data.validation == range(55_000, 60_000)
    assert mnist_data.test == range(60_000, 70_000)
    # The published files begin with these labels; a shift or swap of parts shows here.
    assert mnist_data.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist_data.labels[60_000:60_010].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # Mean intensities of the training and the test images, as everywhere published.
    mean = mnist_data.images[:60_000].mean() / 255
    assert mean == pytest.approx(0.1307, abs=5e-5)
    assert mnist_data.images[60_000:].mean() / 255 == pytest.approx(0.1325, abs=5e-5)


def test_original_files_come_first_with_auto(mnist_dir, monkeypatch):
    monkeypatch.chdir(mnist_dir.parent)
    found = data.load("auto", mnist_dir.name)
    assert (found.name, found.source) == ("mnist", "original files in mnist")


def test_train_size_keeps_the_first_and_leaves_the_other_parts(mnist_dir):
    small = data.load("mnist", mnist_dir, train_size=1_000)
    assert small.train == range(1_000)
    assert small.validation == range(55_000, 60_000)
    assert small.test == range(60_000, 70_000)
    assert data.load("mnist", mnist_dir, train_size=55_000).train == range(55_000)


@pytest.mark.parametrize("size", [0, -1, 1_295, 0.5])
def test_train_size_out_of_range(size):
    with pytest.raises(
        data.DataError, match=rf"is {size}: .* from 1 to 1294, .*scikit"
    ):
        data.load("digits", train_size=size)


def test_unknown_dataset_lists_the_names():
    with pytest.raises(
        data.DataError, match=r"'mnits': .* auto, mnist, cifar10, digits"
    ):
        data.load("mnits")


def test_importing_the_data_layer_imports_nothing_heavy():
    code = (
        "import sys, experiments.data; "
        "heavy = {'jax', 'tensorflow_datasets', 'sklearn', 'requests', 'scipy'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root
    )
    assert done.stdout == "[]\n", done.stderr


# The digits


def test_digits():
    digits = data.load("digits")
    assert digits.name == "digits"
    assert digits.title == "handwritten digits (scikit-learn)"
    assert digits.source == "scikit-learn's handwritten digits"
    assert digits.images.shape == (1_797, 28, 28, 1)
    assert digits.images.dtype == digits.labels.dtype == np.uint8
    assert digits.train == range(1_294)
    assert digits.validation == range(1_294, 1_437)
    assert digits.test == range(1_437, 1_797)
    assert digits.images.min() == 0
    assert digits.images.max() == 255
    for part in (digits.train, digits.validation, digits.test):
        assert set(digits.labels[part]) == set(range(10))


def test_digits_order_is_fixed_and_pairs_images_with_labels():
    from sklearn.datasets import load_digits

    digits = data.load("digits")
    # Changes only if the permutation does, and with it every result on the digits.
    assert digits.labels[:8].tolist() == [2, 8, 2, 6, 6, 7, 1, 9]
    small, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(1_797)
    assert (digits.labels == labels[order]).all()
    # Means over 7x7 blocks cover two of the 8x8 pixels' edges: compare coarsely.
    large = digits.images.reshape(-1, 4, 7, 4, 7).mean((2, 4))
    coarse = small[order].reshape(-1, 4, 2, 4, 2).mean((2, 4)) * 255 / 16
    assert np.abs(large - coarse).mean() < 10


def test_digits_without_scikit_learn_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(data.DataError, match=r"scikit-learn.*\.\[experiments\]"):
        data.load("digits")


# Files in the folder: missing or wrong


@pytest.mark.parametrize("name", mnist.FILES)
def test_a_missing_file_is_named(linked, name):
    (linked / name).unlink()
    with pytest.raises(
        data.DataError, match=f"{linked}: {name} not found, .*--data-dir"
    ):
        data.load("auto", linked)


def test_a_file_in_place_of_the_folder(tmp_path):
    path = tmp_path / "mnist.npz"
    path.touch()
    with pytest.raises(data.DataError, match=r"mnist\.npz: expected a folder, found a"):
        data.load("auto", path)


@pytest.mark.parametrize("name", mnist.FILES)
def test_a_truncated_original_is_named(linked, mnist_dir, name):
    content = (mnist_dir / name).read_bytes()
    replace(linked / name, content[: len(content) // 2])
    expected = f"{linked / name}: truncated: .* Replace it by the original"
    with pytest.raises(data.DataError, match=expected):
        data.load("auto", linked)


def test_another_checksum_with_the_right_format(linked, mnist_dir):
    name = "t10k-images-idx3-ubyte.gz"
    values = bytearray(gzip.decompress((mnist_dir / name).read_bytes()))
    values[-1] ^= 1
    replace(linked / name, gzip.compress(values, 1))
    found = hashlib.sha256((linked / name).read_bytes()).hexdigest()
    expected = (
        f"{name}: wrong SHA-256: found {found}, expected {mnist.FILES[name].sha256}"
    )
    with pytest.raises(data.DataError, match=expected):
        data.load("auto", linked)


def test_exchanged_files_are_told_by_their_shape(linked):
    images, other = "train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"
    (linked / images).unlink()
    shutil.copyfile(linked / other, linked / images)
    expected = rf"{images}: wrong shape: found \(10000, .* expected \(60000, 28, 28\)"
    with pytest.raises(data.DataError, match=expected):
        data.load("auto", linked)


# The reader


def test_read_idx(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx()))
    values = mnist.read_idx(path, SMALL, hashlib.sha256(path.read_bytes()).hexdigest())
    assert values.dtype == np.uint8
    assert values.tobytes() == PIXELS
    assert values.shape == SMALL


def flipped(content: bytes, position: int) -> bytes:
    return (
        content[:position] + bytes([content[position] ^ 255]) + content[position + 1 :]
    )


# Made at import time: gzip writes the time into its header, so the names, not the
# contents, must tell the cases apart.
WRONG = {
    "empty": (b"", "truncated: found 0 bytes"),
    "not gzip": (b"<html>not found</html>", "damaged: .*[Nn]ot a gzipped file"),
    "gzip cut": (gzip.compress(idx())[:-9], "truncated: the gzip data stop after"),
    "gzip CRC": (flipped(gzip.compress(idx()), -8), "damaged: expected intact .*CRC"),
    "no header": (gzip.compress(b""), "wrong magic .*: found 0x, expected 0x00000803"),
    "floats": (gzip.compress(idx(kind=13)), "wrong magic .* found 0x00000d03, exp"),
    "labels": (gzip.compress(idx((3,))), "wrong magic .* 0x00000801, .*3 dimensions"),
    "header cut": (gzip.compress(idx()[:9]), "truncated: found 9 bytes, .* of 16"),
    "shape": (
        gzip.compress(idx((28, 28, 3))),
        r"wrong shape: found \(28, 28, 3\), expected \(3, 28, 28\)",
    ),
    "one value less": (
        gzip.compress(idx(values=PIXELS[:-1])),
        r"wrong length: found 2351 values .*, expected 2352 for .*\(3, 28, 28\)",
    ),
    "one value more": (
        gzip.compress(idx(values=PIXELS + b"!")),
        "wrong length: found 2353",
    ),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG)
def test_read_idx_names_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(data.DataError, match=rf"images\.gz: {message}.* Replace it"):
        mnist.read_idx(path, SMALL)


def test_read_idx_wrong_label(tmp_path):
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(idx((4,), bytes([0, 9, 10, 1]))))
    with pytest.raises(data.DataError, match="found 10 at position 2, expected 0 to 9"):
        mnist.read_idx(path, (4,))


def test_read_idx_wrong_checksum(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx()))
    with pytest.raises(data.DataError, match=f"wrong SHA-256: .*expected {'0' * 64}"):
        mnist.read_idx(path, SMALL, "0" * 64)


def test_read_idx_unreadable(tmp_path):
    with pytest.raises(data.DataError, match=r"no-such\.gz: .*No such file"):
        mnist.read_idx(tmp_path / "no-such.gz", SMALL)
