"""A user's own data: arrays, .npz files, folders of IDX files and of binary files."""

import gzip
import io
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from experiments import data
from experiments.data import cifar10, files, idx, kmnist, own
from experiments.data.files import Original

NUMBERS = np.random.default_rng(0)


def bytes_of(*shape: int) -> np.ndarray:
    return NUMBERS.integers(256, size=shape, dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


IDX = {  # end of a name -> content
    "train-images-idx3-ubyte": bytes_of(40, 5, 4),
    "train-labels-idx1-ubyte": np.arange(40, dtype=np.uint8) % 3,
    "t10k-images-idx3-ubyte": bytes_of(10, 5, 4),
    "t10k-labels-idx1-ubyte": np.arange(10, dtype=np.uint8) % 3,
}


def write_idx(folder, start="", packed=False, changes=()):
    folder.mkdir()
    for name, array in (IDX | dict(changes)).items():
        content = array if isinstance(array, bytes) else idx_bytes(array)
        end = ".gz" if packed else ""
        file = folder / f"{start}{name}{end}"
        file.write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("start", ["", "emnist-letters-"])
def test_a_folder_of_idx_files(start, packed, tmp_path):
    folder = write_idx(tmp_path / "mine", start, packed)
    found = data.load(str(folder))
    assert (found.name, found.title, found.classes) == ("mine", "mine", 3)
    assert found.source == (
        f"IDX files in {folder}: 36, 4, 10 examples for training, validation and test, "
        "uint8 of shape 5x4x1, 3 classes"
    )
    images, labels = (
        np.concatenate([IDX[f"{split}-{kind}-ubyte"] for split in ("train", "t10k")])
        for kind in ("images-idx3", "labels-idx1")
    )
    np.testing.assert_array_equal(found.images, images[..., None])
    np.testing.assert_array_equal(found.labels, labels)
    assert (found.train, found.validation) == (range(36), range(36, 40))
    assert found.test == range(40, 50)
    assert data.load(str(folder), train_size=7).train == range(7)


def without(name):
    return {key: array for key, array in IDX.items() if key != name}


FEW = IDX["train-labels-idx1-ubyte"][:-1]
WRONG = {
    "other magic": ("train-images-idx3-ubyte", b"\x89PNG", "begins with 89 50 4e 47"),
    "empty": ("t10k-labels-idx1-ubyte", b"", "begins with nothing"),
    "cut": (
        "train-images-idx3-ubyte",
        idx_bytes(IDX["train-images-idx3-ubyte"])[:-3],
        r"found 797 bytes after the header, which states shape \(40, 5, 4\); expected",
    ),
    "longer": (
        "t10k-labels-idx1-ubyte",
        idx_bytes(IDX["t10k-labels-idx1-ubyte"]) + b"1",
        r"found more bytes .*expected 10\.",
    ),
    "one label less": (
        "train-labels-idx1-ubyte",
        FEW,
        "found 40 images and 39 labels; expected equal numbers",
    ),
    "other sizes": (
        "t10k-images-idx3-ubyte",
        bytes_of(10, 4, 4),
        r"differ in shape or type: uint8 \(5, 4, 1\), uint8 \(5, 4, 1\), uint8 \(4, 4",
    ),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_wrong_idx_files_are_named(case, packed, tmp_path):
    name, content, told = WRONG[case]
    folder = write_idx(tmp_path / "mine", "", packed, {name: content})
    with pytest.raises(data.DataError, match=told) as caught:
        data.load(str(folder))
    assert str(folder) in str(caught.value) and "--dataset" in str(caught.value)


def test_missing_and_double_idx_files_are_named(tmp_path):
    folder = write_idx(tmp_path / "mine")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(data.DataError, match="found no file of test labels, expected"):
        data.load(str(folder))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"")
    (folder / "b-train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(data.DataError, match="found two files of train images, b-tr"):
        data.load(str(folder))


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path, monkeypatch):
    """No more is unpacked than the header states, and it may not state too much."""
    monkeypatch.setattr(files, "LARGEST", 10**6)
    header = struct.pack(">4B3I", 0, 0, 8, 3, 40, 5, 4)
    more = struct.pack(">4B3I", 0, 0, 8, 3, 2**20, 2**10, 2**10)
    for content, told in (
        (header + bytes(2 * 10**8), "found more bytes"),
        (more, "its header states 1,099,511,627,776 bytes; expected at most 1,000,000"),
    ):
        name = "train-images-idx3-ubyte"
        folder = write_idx(tmp_path / told[:5], "", True, {name: content})
        del content
        tracemalloc.start()
        with pytest.raises(data.DataError, match=told):
            data.load(str(folder))
        assert tracemalloc.get_traced_memory()[1] < 10**7
        tracemalloc.stop()


def test_published_files_with_the_names_of_mnist_are_checked(tmp_path):
    """As of Fashion-MNIST and Kuzushiji-MNIST, of which a checksum is known."""
    labels = np.arange(40, dtype=np.uint8) % 10
    changes = {
        "train-labels-idx1-ubyte": labels,
        "t10k-labels-idx1-ubyte": labels[:10],
    }
    folder = write_idx(tmp_path / "mine", "", True, changes)
    originals = {path.name: path.read_bytes() for path in folder.iterdir()}
    known = {name: originals[name] for name in kmnist.FILES}
    originals = {name: files_original(content) for name, content in known.items()}
    read, *_ = idx.sources("kmnist", "Kana", "http://nowhere/", originals, (36, 4, 10))
    images, found, source = read(folder)
    assert (images.shape, source) == ((50, 5, 4, 1), f"original files in {folder}")
    np.testing.assert_array_equal(found, np.concatenate([labels, labels[:10]]))
    with pytest.raises(data.DataError, match=r"wrong size: .* read by --dataset DIR"):
        data.load("kmnist", folder)


def files_original(content: bytes) -> Original:
    import hashlib

    return Original(len(content), hashlib.sha256(content).hexdigest())


# Arrays


def arrays(split="", number=30, dtype=np.float32, classes=4):
    images = NUMBERS.normal(size=(number, 6)).astype(dtype)
    return {f"{split}images": images, f"{split}labels": np.arange(number) % classes}


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        (arrays(), (25, 2, 3)),
        (arrays() | arrays("test_", 8), (27, 3, 8)),
        (arrays() | arrays("validation_", 5), (27, 5, 3)),
        (arrays() | arrays("validation_", 5) | arrays("test_", 8), (30, 5, 8)),
        (arrays(number=3), (1, 1, 1)),
    ],
)
def test_splits_that_are_not_given_are_cut_off(given, sizes, tmp_path):
    np.savez(tmp_path / "mine.npz", **given)
    found = data.load(str(tmp_path / "mine.npz"))
    parts = found.train, found.validation, found.test
    assert tuple(map(len, parts)) == sizes
    assert (found.name, found.classes) == ("mine", 4 if sum(sizes) > 3 else 3)
    joined = [given[key] for key in own._KEYS[::2] if key in given]
    assert sorted(found.images.tolist()) == sorted(np.concatenate(joined).tolist())
    for split, own_part in (("validation_", found.validation), ("test_", found.test)):
        if f"{split}images" in given:
            chosen = found.images[own_part.start : own_part.stop]
            np.testing.assert_array_equal(chosen, given[f"{split}images"])
    assert found.images.dtype == np.float32


def test_large_sets_give_as_many_as_mnist():
    labels = np.zeros(200_000, np.uint8)
    found = own.from_arrays({"images": labels[:, None], "labels": labels}, "mine")
    assert found.sizes == (185_000, 5_000, 10_000)


@pytest.mark.parametrize(
    ("dtype", "shape", "read"),
    [
        (np.uint8, (9, 4, 4), (np.uint8, (4, 4, 1))),
        (np.uint8, (9, 4, 4, 3), (np.uint8, (4, 4, 3))),
        (np.float64, (9, 4, 4), (np.float32, (4, 4))),
        (np.int64, (9, 5), (np.int32, (5,))),
    ],
)
def test_types_and_shapes(dtype, shape, read):
    images = np.ones(shape, dtype)
    found = own.from_arrays({"images": images, "labels": np.arange(9)}, "mine")
    assert (found.images.dtype, found.images.shape[1:]) == read


NAN = np.full((30, 6), np.nan)
WRONG_ARRAYS = {
    "no labels": ({"images": NAN}, "found images alone; expected images and labels"),
    "nothing": ({}, "found nothing; expected images and labels"),
    "other names": ({"x": NAN}, "found 'x'; expected images, labels, validation_i"),
    "test only": (arrays("test_"), "found test_images, test_labels; expected images"),
    "nan": (arrays() | {"images": NAN}, "images hold NaN or infinity"),
    "text": (arrays() | {"labels": np.array(["a"] * 30)}, "labels <U1; expected numb"),
    "float labels": (arrays() | {"labels": np.ones(30)}, "labels float64; expected"),
    "negative": (arrays() | {"labels": np.arange(30) - 1}, "labels are -1 to 28; expe"),
    "large": (arrays() | {"labels": np.arange(30) << 40}, "expected class numbers"),
    "few": (arrays(number=1), r"found 1 examples, \(0, 0, 1\)|expected at least one"),
    "lengths": (arrays() | {"labels": np.arange(29)}, "30 images and 29 labels"),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_wrong_arrays_are_named(case, tmp_path):
    given, told = WRONG_ARRAYS[case]
    np.savez(tmp_path / "mine.npz", **given)
    with pytest.raises(data.DataError, match=told) as caught:
        data.load(str(tmp_path / "mine.npz"))
    assert str(tmp_path / "mine.npz") in str(caught.value)


def test_files_that_are_no_arrays_are_named(tmp_path, monkeypatch):
    path = tmp_path / "mine.npz"
    path.write_bytes(b"text")
    with pytest.raises(data.DataError, match=r"File is not a zip file. Expected a fil"):
        data.load(str(path))
    np.savez(path, images=np.array([{}]), labels=np.zeros(1, int))
    with pytest.raises(data.DataError, match="allow_pickle=False"):
        data.load(str(path))
    monkeypatch.setattr(files, "LARGEST", 10**6)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        content = io.BytesIO()
        np.save(content, np.zeros(2 * 10**7, np.uint8))
        archive.writestr("images.npy", content.getvalue())
    assert path.stat().st_size < 10**5
    with pytest.raises(data.DataError, match=r"holds 20,000,\d+ bytes; expected at"):
        data.load(str(path))


def test_a_missing_path_is_named(tmp_path):
    for path in ("mine.npz", "a/folder"):
        with pytest.raises(data.DataError, match=rf"{re.escape(path)} is missing; exp"):
            data.load(path)
    (tmp_path / "note.txt").write_text("")
    with pytest.raises(data.DataError, match=r"holds neither IDX files, .*note\.txt"):
        data.load(str(tmp_path))


def test_binary_files_of_cifar_10s_layout(tmp_path):
    records = bytes_of(25, 3_073)
    records[:, 0] = np.arange(25) % 7
    for name, part in (
        ("data_batch_1", records[:12]),
        ("data_batch_2", records[12:20]),
    ):
        part.tofile(tmp_path / f"{name}.bin")
    records[20:].tofile(tmp_path / "test_batch.bin")
    found = data.load(str(tmp_path))
    assert (len(found.train), len(found.validation), len(found.test)) == (18, 2, 5)
    planes = records[:, 1:].reshape(25, *cifar10.SHAPE[2:], 32, 32)
    np.testing.assert_array_equal(found.images, np.moveaxis(planes, 1, -1))
    np.testing.assert_array_equal(found.labels, records[:, 0])
    (tmp_path / "data_batch_1.bin").write_bytes(b"12")
    with pytest.raises(
        data.DataError, match=r"found 2 bytes, expected a multiple of 3"
    ):
        data.load(str(tmp_path))
    (tmp_path / "test_batch.bin").unlink()
    (tmp_path / "data_batch_1.bin").unlink()
    with pytest.raises(data.DataError, match=r"test_batch\.bin: .*No such file"):
        data.load(str(tmp_path))
