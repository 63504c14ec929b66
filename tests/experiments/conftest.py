"""Fixtures of the experiments' tests."""

from pathlib import Path

import pytest

from experiments.data import mnist


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with MNIST's four original files, beside the repository."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"
    missing = [name for name in mnist.FILES if not (folder / name).is_file()]
    if missing:
        pytest.skip(f"needs MNIST's original files in {folder}: no {missing[0]}")
    return folder


@pytest.fixture
def tfds_root(tmp_path, monkeypatch) -> Path:
    """TFDS's folder, which does not exist; and no network but this machine's own ports.

    A proxy that refuses connections stands for "no network", with or without one.
    """
    folder = tmp_path / "tensorflow_datasets"
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)  # it would win over the other spelling
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    return folder
