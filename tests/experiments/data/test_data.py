"""Datasets, their splits and sources, and the digits."""

import importlib
import shutil
import subprocess
import sys
import time
import typing
from pathlib import Path

import numpy as np
import pytest

from experiments import data
from experiments.config.options import Data

ROOT = Path(__file__).resolve().parents[3]


# Names, splits, sizes


@pytest.mark.parametrize("name", data.TITLES)
def test_modules_of_datasets_define_the_documented_names(name):
    module = importlib.import_module(f"experiments.data.{name}")
    assert data.TITLES[name] == module.TITLE
    assert len(module.SHAPE) == len(module.SIZES) == 3
    assert isinstance(module.ORIGINALS, str)
    for source in ("from_folder", "from_prepared", "from_download"):
        assert callable(getattr(module, source))


def test_the_choices_of_the_option_are_known():
    choices = typing.get_args(typing.get_type_hints(Data)["dataset"])
    with pytest.raises(data.DataError, match="expected one of") as caught:
        data.load("no such")
    known = str(caught.value).rstrip(".").rpartition("expected one of ")[2]
    assert set(choices) <= set(known.split(", "))


def test_unknown_names_list_the_known_ones():
    with pytest.raises(
        data.DataError,
        match=r"'mnits': .* auto, cifar10, digits, fashion_mnist, kmnist, mnist, pyth",
    ):
        data.load("mnits")


def test_train_size_keeps_the_first_and_leaves_the_other_parts(small_mnist):
    folder, _ = small_mnist
    for size in (1, 90, None):
        small = data.load("mnist", folder, train_size=size)
        assert small.train == range(size or 90)
        assert small.validation == range(90, 100)
        assert small.test == range(100, 120)


@pytest.mark.parametrize("size", [0, -1, 91, 0.5])
def test_train_size_out_of_range(small_mnist, size):
    expected = f"^train_size is {size}: expected a whole number from 1 to 90, .*MNIST"
    with pytest.raises(data.DataError, match=expected):
        data.load("mnist", small_mnist[0], train_size=size)


@pytest.mark.slow
def test_a_dataset_is_added_by_its_module_and_nothing_heavy_is_imported(tmp_path):
    shutil.copytree(
        ROOT / "experiments" / "data",
        tmp_path / "experiments" / "data",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("__init__.py", "errors.py"):
        shutil.copy(ROOT / "experiments" / name, tmp_path / "experiments")
    (tmp_path / "experiments/data/tiny.py").write_text(
        "import numpy as np\n"
        "TITLE, SHAPE, SIZES, ORIGINALS = 'Tiny', (8, 8, 1), (2, 1, 1), 'a file'\n"
        "def from_folder(folder):\n"
        "    return np.zeros((4, 8, 8, 1), np.uint8), np.arange(4), 'nowhere'\n"
        "from_prepared = from_download = lambda: None\n"
    )
    code = (
        "import sys; from experiments import data; tiny = data.load('tiny');"
        "print(tiny.title, len(tiny.train), tiny.source, data.TITLES['tiny']);"
        "heavy = {'jax', 'tensorflow_datasets', 'sklearn', 'requests', 'scipy'};"
        "print(heavy & set(sys.modules) or 'light')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout == "Tiny 2 nowhere Tiny\nlight\n", done.stderr


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
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    for part in (digits.train, digits.validation, digits.test):
        assert set(digits.labels[part]) == set(range(10))
    # Changes only if the permutation does, and with it every result on the digits.
    assert digits.labels[:8].tolist() == [2, 8, 2, 6, 6, 7, 1, 9]


@pytest.mark.parametrize("preferred", data.TITLES)
def test_digits_are_enlarged_linearly_to_the_preferred_shape(preferred):
    from sklearn.datasets import load_digits

    shape = importlib.import_module(f"experiments.data.{preferred}").SHAPE
    digits = data.load("digits", preferred=preferred)
    assert digits.images.shape == (1_797, *shape)
    assert (digits.images == digits.images[..., :1]).all()
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(1_797)
    assert (digits.labels == labels[order]).all()
    # Linear between the centres of the pixels, constant beyond the outermost.
    centres = (np.arange(shape[0]) + 0.5) * 8 / shape[0] - 0.5
    weights = np.stack([np.interp(centres, range(8), row) for row in np.eye(8)], axis=1)
    small = np.asarray(pixels)[order].reshape(-1, 8, 8) * 255 / 16
    expected = weights @ small @ weights.T
    assert np.abs(digits.images[..., 0] - expected).max() < 0.5 + 1e-9


# Unavailable datasets


@pytest.fixture
def nowhere(tfds_root, tmp_path):
    """Load from an empty machine, in silence and within seconds."""

    def load(dataset: str, preferred: str = "mnist") -> str:
        start = time.monotonic()
        try:
            found = data.load(dataset, tmp_path / "none", preferred=preferred)
            text = f"{found.name} {found.images.shape[1:]}: {found.source}"
        except data.DataError as error:
            text = str(error)
        assert time.monotonic() - start < 10
        assert not tfds_root.exists()
        return text

    return load


@pytest.mark.parametrize("name", data.TITLES)
def test_an_unavailable_dataset_lists_the_sources(
    nowhere, name, tfds_root, tmp_path, capfd
):
    pytest.importorskip("tensorflow_datasets")
    module = importlib.import_module(f"experiments.data.{name}")
    message = nowhere(name)
    first, *tried, advice = message.splitlines()
    assert first == f"{module.TITLE} is unavailable. Tried, in this order:"
    folder, prepared, download = tried
    none = tmp_path / "none"
    assert folder == f"  - original files: the folder {none} is missing"
    assert prepared == f"  - prepared by TFDS: the folder {tfds_root / name} is missing"
    assert download.startswith(f"  - downloaded with TFDS: {module.ADDRESS}")
    assert "is out of reach: " in download
    assert download.endswith("Connection refused")
    assert advice == (
        f"Put {module.ORIGINALS} into {none}, or name their folder with --data-dir, or "
        "train on scikit-learn's digits with --dataset digits."
    )
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", data.TITLES)
def test_auto_falls_back_to_the_digits_and_gives_the_reason(nowhere, name, capfd):
    pytest.importorskip("tensorflow_datasets")
    module = importlib.import_module(f"experiments.data.{name}")
    assert nowhere("auto", name).startswith(
        f"digits {module.SHAPE}: scikit-learn's handwritten digits, because "
        f"{module.TITLE} is unavailable (original files: "
    )
    assert capfd.readouterr() == ("", "")


def test_missing_packages_name_the_extra(nowhere, monkeypatch):
    for name in ("tensorflow_datasets", "sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    extra = r'install the `experiments` extra with `pip install -e ".[experiments]"`'
    message = nowhere("mnist")
    assert "tensorflow-datasets is missing (" in message
    assert extra in message
    message = nowhere("digits")
    assert message.startswith("scikit-learn is missing (")
    assert message.endswith(f"expected for its handwritten digits: {extra}.")
    message = nowhere("auto")
    assert "They were needed, because MNIST is unavailable (original" in message


def test_auto_ignores_what_is_not_preferred(small_mnist, tfds_root):
    folder, _ = small_mnist
    assert data.load("auto", folder, preferred="cifar10").name == "digits"
    assert data.load("mnist", folder, preferred="cifar10").images.shape[1:3] == (28, 28)


def test_a_folder_that_is_a_file_or_unreadable(tmp_path):
    path = tmp_path / "mnist.npz"
    path.touch()
    expected = r"mnist\.npz: found a file, expected a folder. Name .* MNIST's files"
    with pytest.raises(data.DataError, match=expected):
        data.load("auto", path)
    name = "x" * 300  # longer than file names can be
    with pytest.raises(data.DataError, match=r"too long.* Name another --data-dir"):
        data.load("cifar10", tmp_path / name)
