"""CIFAR-10 as TFDS fetches or has prepared it, and what happens without it."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from experiments import data
from experiments.data import cifar10
from experiments.data.errors import UnavailableError

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")
pytestmark = pytest.mark.usefixtures("tfds_root")


def archive(batches: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in batches.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def read(batches: dict[str, bytes], folder: Path) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir()
    for name, content in batches.items():
        (folder / name).write_bytes(content)
    return cifar10.read_files(folder)


# The cache of the download manager


def cache(root: Path, content: bytes) -> Path:
    """Puts an archive where TFDS's download manager has its downloads."""
    from tensorflow_datasets.core.download import resource

    ((url, info),) = tensorflow_datasets.builder_cls("cifar10").url_infos.items()
    folder = root / "downloads" / "cifar10"
    folder.mkdir(parents=True)
    path = folder / resource.get_dl_fname(url, info.checksum)
    path.write_bytes(content)
    Path(f"{path}.INFO").write_text(json.dumps({"urls": [url]}))
    return path


def test_what_is_expected_is_what_tfds_knows():
    infos = tensorflow_datasets.builder_cls("cifar10").url_infos
    known = {
        url: (info.filename, int(info.size), info.checksum)
        for url, info in infos.items()
    }
    assert known == {cifar10.ADDRESS: (cifar10.ARCHIVE, *cifar10.ORIGINAL)}


def test_cifar10_from_the_cache(
    tfds_root, cifar10_batches, tmp_path, monkeypatch, capfd
):
    content = archive(cifar10_batches)
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(cifar10, "ORIGINAL", cifar10.Original(len(content), digest))
    path = cache(tfds_root, content)
    cached = data.load("auto", tmp_path / "empty", preferred="cifar10")
    assert capfd.readouterr() == ("", "")
    assert cached.name == "cifar10"
    assert cached.source == f"original archive fetched by TFDS into {path.parent}"
    images, labels = read(cifar10_batches, tmp_path / "files")
    assert (cached.images == images).all()
    assert (cached.labels == labels).all()


def test_a_damaged_archive_in_the_cache_is_named(tfds_root, cifar10_batches, tmp_path):
    content = archive(cifar10_batches)[:-20]
    path = cache(tfds_root, content)
    expected = (
        f"{path.name}: truncated: .* after {len(content)} bytes, expected 170052171 "
        "bytes. Delete it, and TFDS downloads it again"
    )
    with pytest.raises(data.DataError, match=expected):
        data.load("auto", tmp_path / "empty", preferred="cifar10")


def test_another_archive_in_the_cache_is_an_error(tfds_root, cifar10_batches, tmp_path):
    path = cache(tfds_root, archive(cifar10_batches))
    expected = f"{path.name}: wrong size: .* expected 170052171. Delete it"
    with pytest.raises(data.DataError, match=expected):
        data.load("cifar10", tmp_path / "empty")


# Prepared by TFDS


def prepare(root: Path, batches: dict[str, bytes], monkeypatch) -> Path:
    """Prepares CIFAR-10 with TFDS's own builder, but for what needs TensorFlow."""
    from PIL import Image
    from tensorflow_datasets.image_classification import cifar

    def load(name, labels_number):
        records = np.frombuffer(batches[name], np.uint8).reshape(-1, 3_073)
        for record in records:
            planes = record[1:].reshape(3, 32, 32)
            png = io.BytesIO()
            Image.fromarray(np.dstack(list(planes))).save(png, "png")
            yield [int(record[0])] * labels_number, png.getvalue()

    monkeypatch.setattr(cifar, "_load_data", load)
    # Not registered: it must not take the place of TFDS's own "cifar10".
    with tensorflow_datasets.core.registered.skip_registration():

        class Cifar10(cifar.Cifar10):
            """Without the download."""

            def _split_generators(self, dl_manager):
                train, test = list(batches)[:-1], list(batches)[-1:]
                return {
                    "train": self._generate_examples("train_", train),
                    "test": self._generate_examples("test_", test),
                }

    builder = Cifar10(data_dir=root, file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


def test_cifar10_prepared_by_tfds_is_the_original_bit_by_bit(
    tfds_root, cifar10_batches, tmp_path, monkeypatch
):
    folder = prepare(tfds_root, cifar10_batches, monkeypatch)
    prepared = data.load("auto", tmp_path / "empty", preferred="cifar10")
    assert prepared.source == f"prepared by TFDS in {folder}"
    images, labels = read(cifar10_batches, tmp_path / "files")
    assert prepared.images.dtype == prepared.labels.dtype == np.uint8
    assert (prepared.images == images).all()
    assert (prepared.labels == labels).all()


def test_a_prepared_dataset_of_another_size_is_a_reason(
    tfds_root, cifar10_batches, monkeypatch
):
    folder = prepare(tfds_root, cifar10_batches, monkeypatch)
    monkeypatch.setattr(cifar10, "RECORDS", 10_000)
    shapes = r"\(100, 32, 32, 3\) where .*train split has \(50000, 32, 32, 3\)$"
    with pytest.raises(UnavailableError, match=f"{folder} holds {shapes}"):
        cifar10.from_prepared()


@pytest.mark.parametrize(
    ("name", "split"), [("data_batch_2.bin", "train"), ("test_batch.bin", "test")]
)
def test_a_prepared_dataset_of_other_classes_is_a_reason(
    tfds_root, cifar10_batches, monkeypatch, name, split
):
    content = cifar10_batches[name]
    other = bytes([(content[0] + 1) % 10])
    batches = cifar10_batches | {name: other + content[1:]}
    folder = prepare(tfds_root, batches, monkeypatch)
    expected = f"{folder} has, in the {split} split, wrong classes: found .* of 0 to 9$"
    with pytest.raises(UnavailableError, match=expected):
        cifar10.from_prepared()


def test_a_prepared_dataset_without_a_split_is_a_reason(
    tfds_root, cifar10_batches, monkeypatch
):
    folder = prepare(tfds_root, cifar10_batches, monkeypatch)
    monkeypatch.setattr(cifar10, "_SPLITS", {"train": (), "validation": ()})
    with pytest.raises(UnavailableError, match=f"{folder} has no split 'validation'"):
        cifar10.from_prepared()


# Nowhere


def test_no_cifar10_lists_what_was_tried(tfds_root, tmp_path, capfd):
    with pytest.raises(data.DataError, match=r"^CIFAR-10 could not be had") as caught:
        data.load("cifar10", tmp_path / "empty")
    message = str(caught.value)
    assert f"original files: the folder {tmp_path / 'empty'} does not exist" in message
    assert f"prepared by TFDS: the folder {tfds_root / 'cifar10'} does not" in message
    assert f"downloaded with TFDS: {cifar10.ADDRESS} cannot be reached" in message
    assert message.endswith(
        "What to do: put the archive cifar-10-binary.tar.gz or the six files in it "
        "(data_batch_1.bin, data_batch_2.bin, data_batch_3.bin, data_batch_4.bin, "
        "data_batch_5.bin, test_batch.bin; they are at "
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz) into "
        f"{tmp_path / 'empty'}, or name their folder with --data-dir; or train on the "
        "images that scikit-learn carries: --dataset digits."
    )
    assert "MNIST" not in message
    assert capfd.readouterr() == ("", "")


def test_auto_gives_the_digits_in_cifar10s_shape_and_says_why(tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    found = data.load("auto", tmp_path / "empty", preferred="cifar10")
    assert found.name == "digits"
    assert found.images.shape == (1_797, 32, 32, 3)
    assert found.source.startswith(
        "scikit-learn's handwritten digits, because CIFAR-10 could not be had (original"
        f" files: the folder {tmp_path / 'empty'} holds none of CIFAR-10's files; prep"
    )
    assert "MNIST" not in found.source
    assert capfd.readouterr() == ("", "")


def test_auto_passes_over_what_is_not_preferred(mnist_dir):
    found = data.load("auto", mnist_dir, preferred="cifar10")
    assert found.name == "digits"
