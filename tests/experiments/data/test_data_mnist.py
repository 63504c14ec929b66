"""MNIST's original files, and what can be wrong with them."""

import gzip
import hashlib
import re
import tracemalloc
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


def unpack(path: Path) -> None:
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()


def unpack_with_dots(path: Path) -> None:
    unpack(path)
    path = path.with_suffix("")
    path.rename(path.with_name(path.name.replace("-idx", ".idx")))


def unpack_in_place(path: Path) -> None:
    """Keep the name, as browsers do."""
    path.write_bytes(gzip.decompress(path.read_bytes()))


def gzip_anew(path: Path) -> None:
    content = gzip.decompress(path.read_bytes())
    path.unlink()
    path = path.with_name(path.name.replace("-idx", ".idx"))
    path.write_bytes(gzip.compress(content[:99], 9) + gzip.compress(content[99:], 0))


FORMS = [unpack, unpack_with_dots, unpack_in_place, gzip_anew]


@pytest.mark.parametrize("forms", [*([form] * 4 for form in FORMS), FORMS])
def test_files_in_other_forms(small_mnist, forms):
    folder, expected = small_mnist
    for form, path in zip(forms, sorted(folder.iterdir()), strict=True):
        form(path)
    loaded = data.load("mnist", folder)
    assert (loaded.images == expected.images).all()
    assert (loaded.labels == expected.labels).all()
    assert loaded.source == f"original files in {folder}"


def cut(path: Path, content: bytes) -> str:
    path.write_bytes(content[:-9])
    return f"wrong size: found {len(content) - 9} bytes, expected {len(content)}."


def cut_compressed(path: Path, content: bytes) -> str:
    path.write_bytes(gzip.compress(content)[:-9])
    return "Compressed file ended before the end-of-stream marker was reached."


def flip(path: Path, content: bytes) -> str:
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    path.write_bytes(gzip.compress(changed))
    found, expected = (hashlib.sha256(x).hexdigest() for x in (changed, content))
    return f"wrong SHA-256: found {found}, expected {expected}."


def flip_compressed(path: Path, content: bytes) -> str:
    packed = bytearray(gzip.compress(content))
    packed[-5] ^= 1  # of the checksum
    path.write_bytes(packed)
    return "CRC check failed "


def exchange(path: Path, content: bytes) -> str:
    path.write_bytes(b"<html>not found</html>")
    return f"wrong size: found 22 bytes, expected {len(content)}."


def pack_more(path: Path, content: bytes) -> str:
    path.write_bytes(gzip.compress(content + bytes(10**6)))
    return f"wrong size: found more bytes, expected {len(content)}."


DAMAGES = [cut, cut_compressed, flip, flip_compressed, exchange, pack_more]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named(small_mnist, damage):
    folder, _ = small_mnist
    path = folder / "t10k-images-idx3-ubyte.gz"
    reason = damage(path, gzip.decompress(path.read_bytes()))
    remedy = f"Replace it by the original from {mnist.ADDRESS}, or name another --data-"
    expected = f"^{re.escape(f'{path}: {reason}')}.*{re.escape(remedy)}dir.$"
    with pytest.raises(data.DataError, match=expected):
        data.load("auto", folder)


def test_a_bomb_is_not_unpacked(small_mnist):
    """Cause: 3 GB were unpacked before their size was compared."""
    folder, _ = small_mnist
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(bytes(2**24), 9))
    tracemalloc.start()
    try:
        with pytest.raises(data.DataError, match="wrong size: found more bytes"):
            data.load("mnist", folder)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packed", [False, True])
def test_a_huge_file_is_not_read(small_mnist, packed):
    folder, _ = small_mnist
    path = folder / "train-images-idx3-ubyte.gz"
    with open(path, "wb") as file:
        file.write(b"\x1f\x8b" * packed)
        file.truncate(1 << 40)
    with pytest.raises(data.DataError, match="wrong size: found 1099511627776 bytes"):
        data.load("mnist", folder)


@pytest.mark.parametrize("name", mnist.FILES)
def test_a_missing_file_is_named(small_mnist, name):
    folder, _ = small_mnist
    (folder / name).unlink()
    expected = f"^{folder}: {name} not found, expected beside .*-ubyte.gz. Get what"
    with pytest.raises(data.DataError, match=expected):
        data.load("auto", folder)


def test_other_files_are_named(tmp_path):
    def reason() -> str:
        with pytest.raises(data.DataError, match="MNIST is unavailable") as caught:
            data.load("mnist", tmp_path)
        return str(caught.value).splitlines()[1]

    start = (
        f"  - original files: the folder {tmp_path} holds none of MNIST's files, but "
    )
    assert reason() == f"{start}nothing"
    for name in ("mnist.npz", "train.csv", "\x1b[31m"):
        (tmp_path / name).touch()
    assert reason() == f"{start}'\\x1b[31m', mnist.npz, train.csv"
    for number in range(9):
        (tmp_path / f"a{number}").touch()
    assert reason() == f"{start}'\\x1b[31m', a0, a1, a2 and 8 more"
