"""Datasets that TFDS has prepared, read without TensorFlow."""

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import data
from experiments.data import mnist, tfds

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")
pytestmark = pytest.mark.usefixtures("tfds_root")


def prepare(root: Path, mnist_dir: Path, size: int | None = None) -> Path:
    """Prepares MNIST with TFDS's keys and features; its builder needs TensorFlow."""
    from PIL import Image

    core, features = tensorflow_datasets.core, tensorflow_datasets.features
    version = tensorflow_datasets.builder_cls("mnist").VERSION

    # Not registered: it must not take the place of TFDS's own "mnist".
    with core.registered.skip_registration():

        class Mnist(core.GeneratorBasedBuilder):
            """As in tensorflow_datasets.image_classification."""

            VERSION = version

            def _info(self):
                image = features.Image(shape=(28, 28, 1))
                label = features.ClassLabel(num_classes=10)
                both = features.FeaturesDict({"image": image, "label": label})
                return core.DatasetInfo(builder=self, features=both)

            def _split_generators(self, dl_manager):
                return {
                    "train": self._generate_examples("train"),
                    "test": self._generate_examples("t10k"),
                }

            def _generate_examples(self, prefix):
                names = [name for name in mnist.FILES if name.startswith(prefix)]
                images, labels = (
                    mnist.read_idx(mnist_dir / name, mnist.FILES[name].shape)[:size]
                    for name in names
                )
                for key, (image, label) in enumerate(zip(images, labels, strict=True)):
                    png = io.BytesIO()
                    Image.fromarray(image).save(png, "png", compress_level=0)
                    yield key, {"image": png.getvalue(), "label": int(label)}

    builder = Mnist(data_dir=root, file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


@pytest.fixture
def small(tfds_root, mnist_dir) -> Path:
    return prepare(tfds_root, mnist_dir, size=20)


def why_not(folder: Path) -> str:
    """What `load` says where it has to do without MNIST."""
    with pytest.raises(data.DataError, match="MNIST could not be had") as caught:
        data.load("mnist", folder)
    return str(caught.value)


@pytest.mark.slow
def test_mnist_prepared_by_tfds_is_the_original_bit_by_bit(
    tfds_root, mnist_dir, tmp_path
):
    folder = prepare(tfds_root, mnist_dir)
    prepared = data.load("auto", tmp_path / "empty")
    assert prepared.source == f"prepared by TFDS in {folder}"
    original = data.load("mnist", mnist_dir)
    assert (prepared.images == original.images).all()
    assert (prepared.labels == original.labels).all()
    assert prepared[5:] == original[5:]


def test_read_prepared_gives_every_split(small, mnist_dir):
    splits, folder = tfds.read_prepared("mnist")
    assert folder == small
    assert set(splits) == {"train", "test"}
    name, file = next(iter(mnist.FILES.items()))
    images, labels = splits["train"]
    assert images.dtype == labels.dtype == np.uint8
    original = mnist.read_idx(mnist_dir / name, file.shape)[:20, ..., np.newaxis]
    order = tfds.stored_order("train", range(20))
    assert (images == original[order]).all()
    assert order.tolist() != list(range(20))


def test_a_prepared_dataset_of_another_size_is_a_reason(small, tmp_path):
    message = why_not(tmp_path / "empty")
    assert f"{small} holds (20, 28, 28) where train-images" in message


@pytest.mark.parametrize("split", ["train", "t10k"])
@pytest.mark.parametrize("kind", ["images", "labels"])
def test_a_prepared_dataset_with_other_values_is_a_reason(
    small, mnist_dir, tmp_path, monkeypatch, split, kind
):
    # The first 20 of each file pass for the whole, except for one file's last value.
    expected, other = {}, f"{split}-{kind}"
    for name, file in mnist.FILES.items():
        values = mnist.read_idx(mnist_dir / name, file.shape)[:20].copy()
        if name.startswith(other):
            values[-1] ^= 1
        digest = hashlib.sha256(values.tobytes()).hexdigest()
        expected[name] = mnist.IdxFile(values.shape, file.sha256, digest)
    monkeypatch.setattr(mnist, "FILES", expected)
    message = why_not(tmp_path / "empty")
    assert f"{small} holds other values or another order than {other}" in message


def test_a_prepared_dataset_in_tensorflows_format_is_a_reason(small, tmp_path):
    info = small / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    for path in small.glob("*array_record*"):
        path.rename(str(path).replace("array_record", "tfrecord"))
    message = why_not(tmp_path / "empty")
    assert f"{small} is in a format that only TensorFlow reads" in message


def test_a_damaged_prepared_dataset_is_a_reason(small, tmp_path):
    for path in small.glob("*array_record*"):
        path.write_bytes(path.read_bytes()[:-1_000])
    message = why_not(tmp_path / "empty")
    assert f"the dataset in {small} cannot be read" in message


def test_an_unfinished_preparation_is_a_reason(small, tmp_path):
    (small / "dataset_info.json").unlink()
    message = why_not(tmp_path / "empty")
    assert f"{small} is no prepared dataset" in message


@pytest.mark.parametrize("configured", [False, True])
def test_nothing_reaches_the_terminal_and_logging_stays_as_it_was(
    small, tmp_path, configured
):
    # Goes through every way: the prepared dataset is too small, the network is down.
    code = f"""
import logging, sys
from experiments import data
if {configured}:
    logging.basicConfig()
root, absl = logging.root, logging.getLogger("absl")
handlers = list(root.handlers)
found = data.load("auto", sys.argv[1])
assert "holds (20, 28, 28)" in found.source, found.source
assert (root.handlers, absl.level) == (handlers, 0)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "empty")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
