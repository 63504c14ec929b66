"""CIFAR-10's binary files in a folder, what can be wrong with them, its splits.

The archive is in test_data_cifar10_archive.py, what TFDS fetches or has prepared in
test_data_cifar10_tfds.py.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments import data
from experiments.data import cifar10


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A folder with files of the full size; an image's first pixel says which it is."""
    folder = tmp_path_factory.mktemp("full")
    for number, name in enumerate(cifar10.FILES):
        records = np.zeros((10_000, 3_073), np.uint8)
        records[:, 0] = (np.arange(10_000) + number) % 10
        records[:, 1] = number
        records[:, 1 + 1_024] = np.arange(10_000) // 256
        records[:, 1 + 2_048] = np.arange(10_000) % 256
        records.tofile(folder / name)
    yield folder
    shutil.rmtree(folder)  # 184 MB, which pytest would keep


@pytest.fixture
def small(cifar10_batches, tmp_path) -> Path:
    """A folder with the files of the small CIFAR-10."""
    folder = tmp_path / "small"
    write(folder, cifar10_batches)
    return folder


def write(folder: Path, batches: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, content in batches.items():
        (folder / name).write_bytes(content)


def change(path: Path, how: Callable[[bytearray], object]) -> None:
    content = bytearray(path.read_bytes())
    how(content)
    path.write_bytes(content)


# Datasets, splits, sizes


def test_cifar10_from_binary_files(full):
    loaded = data.load("cifar10", full)
    assert loaded.name == "cifar10"
    assert loaded.title == data.TITLES["cifar10"] == "CIFAR-10"
    assert loaded.source == f"binary files in {full}"
    assert loaded.images.shape == (60_000, 32, 32, 3)
    assert loaded.images.dtype == loaded.labels.dtype == np.uint8
    assert loaded.train == range(45_000)
    assert loaded.validation == range(45_000, 50_000)
    assert loaded.test == range(50_000, 60_000)
    number, high, low = loaded.images[:, 0, 0].astype(int).T
    position = np.arange(60_000)
    assert (number * 10_000 + high * 256 + low == position).all()
    assert (loaded.labels == (position % 10_000 + number) % 10).all()


def test_train_size_keeps_the_first_and_leaves_the_other_parts(full):
    loaded = data.load("auto", full, train_size=100, preferred="cifar10")
    assert loaded.train == range(100)
    assert loaded.validation == range(45_000, 50_000)
    assert loaded.test == range(50_000, 60_000)


def test_train_size_out_of_range(full):
    with pytest.raises(data.DataError, match=r"from 1 to 45000, .* of CIFAR-10"):
        data.load("cifar10", full, train_size=45_001)


def test_the_jpeg_copy(cifar10_dir):
    folder = cifar10_dir / "cifar-10-batches-bin"
    loaded = data.load("cifar10", cifar10_dir)
    assert loaded.source == f"binary files in {folder}"
    assert loaded.images.flags.c_contiguous
    # Mean intensities of red, green, blue in the training images, as everywhere
    # published; JPEG leaves these as they are.
    means = loaded.images[:50_000].mean((0, 1, 2)) / 255
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=2e-4)
    # Upright: the sky is above, so the upper rows of airplanes are brighter.
    rows = loaded.images[loaded.labels == 0].mean((0, 2, 3))
    assert rows[:8].mean() > rows[-8:].mean()


# The digits in CIFAR-10's place


def test_digits_in_cifar10s_shape():
    from sklearn.datasets import load_digits

    digits = data.load("digits", preferred="cifar10")
    assert digits.name == "digits"
    assert digits.source == "scikit-learn's handwritten digits"
    assert digits.images.shape == (1_797, 32, 32, 3)
    assert digits.images.dtype == np.uint8
    assert (digits.images == digits.images[..., :1]).all()
    as_mnist = data.load("digits")
    assert (digits.labels == as_mnist.labels).all()
    assert digits[5:] == as_mnist[5:]
    # Linear between the centres of the pixels, constant beyond the outermost.
    centres = (np.arange(32) + 0.5) / 4 - 0.5
    weights = np.stack([np.interp(centres, range(8), row) for row in np.eye(8)], axis=1)
    pixels, _ = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(1_797)
    pixels = np.asarray(pixels)[order].reshape(-1, 8, 8) * 255 / 16
    expected = weights @ pixels @ weights.T
    assert np.abs(digits.images[..., 0] - expected).max() < 0.5 + 1e-9


def test_mnist_keeps_its_shape_whatever_is_preferred(mnist_dir):
    loaded = data.load("mnist", mnist_dir, preferred="cifar10")
    assert loaded.images.shape == (70_000, 28, 28, 1)


def test_unknown_preference_lists_the_names():
    with pytest.raises(data.DataError, match=r"dataset 'digits': .* of mnist, cifar10"):
        data.load(preferred="digits")


# The binary files


def test_pixels_are_where_they_belong(small, cifar10_batches):
    images, labels, source = cifar10.from_folder(small)
    assert source == f"binary files in {small}"
    assert images.shape == (120, 32, 32, 3)
    assert images.flags.c_contiguous
    content = np.frombuffer(b"".join(cifar10_batches.values()), np.uint8)
    record, row, column, channel = np.indices(images.shape)
    where = 3_073 * record + 1 + 1_024 * channel + 32 * row + column
    assert (images == content[where]).all()
    assert (labels == content[::3_073]).all()


def test_the_folder_of_the_archive_and_what_comes_first(small, cifar10_batches):
    write(small / "cifar-10-batches-bin", cifar10_batches)
    (small / "cifar-10-binary.tar.gz").touch()
    original, labels, source = cifar10.from_folder(small)
    assert source == f"binary files in {small}"
    for name in cifar10.FILES:
        (small / name).unlink()
    images, labels_below, source = cifar10.from_folder(small)
    assert source == f"binary files in {small / 'cifar-10-batches-bin'}"
    assert (images == original).all()
    assert (labels_below == labels).all()


@pytest.mark.parametrize("name", cifar10.FILES)
def test_a_missing_file_is_named(small, name):
    (small / name).unlink()
    (small / "cifar-10-binary.tar.gz").touch()  # no way out
    expected = f"{small}: {name} not found, .* from {cifar10.ADDRESS}, .*--data-dir"
    with pytest.raises(data.DataError, match=expected):
        data.load("cifar10", small)


def test_missing_files_in_the_folder_of_the_archive_are_named(small, tmp_path):
    small.rename(tmp_path / "cifar-10-batches-bin")
    for name in cifar10.FILES[1:]:
        (tmp_path / "cifar-10-batches-bin" / name).unlink()
    expected = (
        f"{tmp_path}: cifar-10-batches-bin/data_batch_2.bin, .*test_batch.bin not "
        "found, expected beside cifar-10-batches-bin/data_batch_1.bin. Get what"
    )
    with pytest.raises(data.DataError, match=expected):
        data.load("cifar10", tmp_path)


def test_a_file_in_place_of_the_folder(tmp_path):
    path = tmp_path / "cifar.npz"
    path.touch()
    expected = r"cifar\.npz: expected a folder, .* holds CIFAR-10's files with --data-d"
    with pytest.raises(data.DataError, match=expected):
        data.load("cifar10", path)


def test_a_folder_that_cannot_be_looked_into(tmp_path):
    name = "x" * 300  # longer than file names can be
    with pytest.raises(data.DataError, match=r"too long.* Name another --data-dir"):
        data.load("cifar10", tmp_path / name)


@pytest.mark.parametrize("name", cifar10.FILES)
@pytest.mark.parametrize("size", [0, 30_729_999, 30_730_001])
def test_a_file_of_another_size_is_named(full, tmp_path, name, size):
    for other in cifar10.FILES:
        (tmp_path / other).symlink_to(full / other)
    (tmp_path / name).unlink()
    with open(tmp_path / name, "wb") as file:
        file.truncate(size)
    expected = (
        f"{tmp_path}: {name}: wrong size: found {size} bytes, expected 30730000. "
        f"Replace it by the original from {cifar10.ADDRESS}, or name another --data-dir"
    )
    with pytest.raises(data.DataError, match=re.escape(expected)):
        data.load("auto", tmp_path, preferred="cifar10")


@pytest.mark.parametrize("name", cifar10.FILES)
def test_a_wrong_label_is_named_with_its_position(small, name):
    change(small / name, lambda content: content.__setitem__(3 * 3_073, 10))
    expected = f"{name}: wrong label: found 10 at position 3, expected 0 to 9. Replace"
    with pytest.raises(data.DataError, match=expected):
        data.load("cifar10", small)


@pytest.mark.parametrize(
    ("name", "names", "each"),
    [
        ("data_batch_1.bin", "data_batch_1.bin, .*data_batch_5.bin", 10),
        ("data_batch_5.bin", "data_batch_1.bin, .*data_batch_5.bin", 10),
        ("test_batch.bin", "test_batch.bin", 2),
    ],
)
def test_unequal_classes_are_counted(small, name, names, each):
    path = small / name
    first = path.read_bytes()[0]
    change(path, lambda content: content.__setitem__(0, (first + 1) % 10))
    counts = [each] * 10
    counts[first] -= 1
    counts[(first + 1) % 10] += 1
    expected = (
        f"{small}: {names}: wrong classes: found {re.escape(str(counts))} images of "
        f"the classes 0 to 9, expected {each} of each"
    )
    with pytest.raises(data.DataError, match=expected):
        data.load("cifar10", small)


def test_a_file_that_cannot_be_read(small, monkeypatch):
    # Permissions do not keep the superuser out.
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    expected = f"Permission denied: '{small / 'data_batch_1.bin'}' Replace it"
    with pytest.raises(data.DataError, match=expected):
        data.load("cifar10", small)
