"""CIFAR-10's binary files and archive, and what can be wrong with them."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments import data
from experiments.data import cifar10, files

REMEDY = f"Replace it by the original from {cifar10.ADDRESS}, or name another --data-"


def change(path: Path, how: Callable[[bytearray], object]) -> None:
    content = bytearray(path.read_bytes())
    how(content)
    path.write_bytes(content)


def same(loaded: data.Dataset, expected) -> bool:
    assert loaded.images.flags.c_contiguous
    return np.array_equal(loaded.images, expected.images) and np.array_equal(
        loaded.labels, expected.labels
    )


@pytest.mark.slow
def test_the_jpeg_copy(cifar10_dir):
    loaded = data.load("cifar10", cifar10_dir)
    assert (loaded.name, loaded.title) == ("cifar10", "CIFAR-10")
    assert loaded.source == f"binary files in {cifar10_dir / 'cifar-10-batches-bin'}"
    assert loaded.images.shape == (60_000, 32, 32, 3)
    assert loaded.train == range(45_000)
    assert loaded.validation == range(45_000, 50_000)
    assert loaded.test == range(50_000, 60_000)
    # Mean intensities of red, green, blue in the training images, as everywhere
    # published; JPEG leaves these as they are.
    means = loaded.images[:50_000].mean((0, 1, 2)) / 255
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=2e-4)
    # Upright: the sky is above, so the upper rows of airplanes are brighter.
    rows = loaded.images[loaded.labels == 0].mean((0, 2, 3))
    assert rows[:8].mean() > rows[-8:].mean()


# The binary files


def test_the_loose_files_come_before_their_folder_and_the_archive(small_cifar10):
    folder, expected = small_cifar10
    inside = folder / "cifar-10-batches-bin"
    inside.mkdir()
    (inside / "test_batch.bin").touch()
    (folder / cifar10.ARCHIVE).touch()
    loaded = data.load("auto", folder, preferred="cifar10")
    assert loaded.source == f"binary files in {folder}"
    assert same(loaded, expected)
    for name in cifar10.FILES:
        (folder / name).rename(inside / name)
    loaded = data.load("cifar10", folder)
    assert loaded.source == f"binary files in {inside}"
    assert same(loaded, expected)


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin/"])
def test_missing_files_are_named(small_cifar10, inside):
    folder, _ = small_cifar10
    (folder / cifar10.ARCHIVE).touch()  # no way out
    if inside:
        (folder / inside).mkdir()
    for name in cifar10.FILES:
        (folder / name).rename(folder / inside / name)
    for name in cifar10.FILES[1:5]:
        (folder / inside / name).unlink()
    expected = (
        f"{folder}: {inside}data_batch_2.bin, .*data_batch_5.bin not found, expected "
        f"beside {inside}data_batch_1.bin, {inside}test_batch.bin. Get what is missing "
        f"from {cifar10.ADDRESS}, or name another --data-dir"
    )
    with pytest.raises(data.DataError, match=expected):
        data.load("cifar10", folder)


def test_the_size_of_the_published_files(tmp_path):
    for name in cifar10.FILES:
        (tmp_path / name).touch()
    expected = (
        f"{tmp_path / 'data_batch_1.bin'}: wrong size: found 0 bytes, expected "
        f"30730000. {REMEDY}"
    )
    with pytest.raises(data.DataError, match=re.escape(expected)):
        data.load("auto", tmp_path, preferred="cifar10")


@pytest.mark.parametrize("name", ["data_batch_2.bin", "test_batch.bin"])
@pytest.mark.parametrize("more", [-1, 1])
def test_a_file_of_another_size_is_named(small_cifar10, name, more):
    folder, _ = small_cifar10
    with open(folder / name, "r+b") as file:
        file.truncate(61_460 + more)
    expected = f"{name}: wrong size: found {61_460 + more} bytes, expected 61460. Repl"
    with pytest.raises(data.DataError, match=expected):
        data.load("cifar10", folder)


@pytest.mark.parametrize("name", ["data_batch_1.bin", "test_batch.bin"])
def test_a_wrong_label_is_named_with_its_position(small_cifar10, name):
    folder, _ = small_cifar10
    change(folder / name, lambda content: content.__setitem__(3 * 3_073, 10))
    expected = f"{name}: wrong label: found 10 at position 3, expected 0 to 9. Replace"
    with pytest.raises(data.DataError, match=expected):
        data.load("cifar10", folder)


@pytest.mark.parametrize(
    ("name", "split", "each"),
    [("data_batch_5.bin", "training", 10), ("test_batch.bin", "test", 2)],
)
def test_unequal_classes_are_counted(small_cifar10, name, split, each):
    folder, _ = small_cifar10
    first = (folder / name).read_bytes()[0]
    change(folder / name, lambda content: content.__setitem__(0, (first + 1) % 10))
    counts = [each] * 10
    counts[first] -= 1
    counts[(first + 1) % 10] += 1
    expected = (
        f"{folder}: wrong classes: found {counts} {split} images per class, expected "
        f"{each} in each of ten. {REMEDY}"
    )
    with pytest.raises(data.DataError, match=re.escape(expected)):
        data.load("cifar10", folder)


def test_an_unreadable_file_is_named(small_cifar10, monkeypatch):
    # Permissions do not keep the superuser out.
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    folder, _ = small_cifar10
    monkeypatch.setattr(files, "open", refuse, raising=False)
    expected = f"{folder / 'data_batch_1.bin'}: .*Permission denied. Replace it by"
    with pytest.raises(data.DataError, match=expected):
        data.load("cifar10", folder)


# The archive


def test_the_archive_is_read_without_extracting_it(small_archive):
    folder, expected = small_archive
    before = sorted(folder.rglob("*"))
    loaded = data.load("auto", folder, preferred="cifar10")
    assert loaded.source == f"original archive {folder / cifar10.ARCHIVE}"
    assert same(loaded, expected)
    assert sorted(folder.rglob("*")) == before


def test_a_changed_archive_is_not_unpacked(small_archive, monkeypatch):
    folder, _ = small_archive
    path = folder / cifar10.ARCHIVE
    monkeypatch.setattr(cifar10.gzip, "decompress", lambda _: pytest.fail("unpacked"))
    change(path, lambda content: content.__setitem__(4, content[4] ^ 1))
    expected = f"{path}: wrong SHA-256: found .*, expected {cifar10.ORIGINAL.sha256}. "
    with pytest.raises(data.DataError, match=f"{expected}{REMEDY}"):
        data.load("cifar10", folder)
    change(path, lambda content: content.append(0))
    size = cifar10.ORIGINAL.size
    expected = f"{path}: wrong size: found {size + 1} bytes, expected {size}. {REMEDY}"
    with pytest.raises(data.DataError, match=expected):
        data.load("cifar10", folder)
