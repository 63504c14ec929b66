"""Fixtures of the experiments' tests."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from experiments.data import mnist

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def once(name: str, make: Callable[[Path], None], factory, request) -> Path:
    """Return a folder of the session, which the first worker that needs it makes."""
    root = factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        root = root.parent
    path = root / name
    with FileLock(root / f"{name}.lock"):
        if not path.exists():
            make(path)
    return path


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, request) -> Path:
    """A finished run of the small network: 2 epochs on the digits, with figures.

    All workers share it; `copied_run` is a copy that a test may change.
    """
    from programs import small

    def train(path: Path) -> None:
        words = "--dataset digits --train-size 160 --epochs 2 --threshold 0.08"
        assert small(f"{words} --out {path}") == 0

    return once("trained-run", train, tmp_path_factory, request)


@pytest.fixture
def copied_run(trained_run, tmp_path) -> Path:
    """A copy of `trained_run`."""
    return shutil.copytree(trained_run, tmp_path / "run")


@pytest.fixture(scope="session")
def trained_front(tmp_path_factory, request) -> Path:
    """A finished front of the small network, with a final training and figures.

    All workers share it.
    """
    from fronts import BUDGET, SMALL, trace, use_small

    def train(path: Path) -> None:
        published = path.with_suffix(".csv")
        published.write_text("test_accuracy,nonzero_dense\n0.5,300\n")
        words = SMALL.replace("--no-figures", f"--compare {published}")
        with pytest.MonkeyPatch.context() as patch:
            use_small(patch)
            assert trace(f"{words} --budget {BUDGET} --out {path}") == 0

    return once("trained-front", train, tmp_path_factory, request)


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with MNIST's four original files, beside the repository."""
    folder = SHARED / "mnist"
    missing = [name for name in mnist.FILES if not (folder / name).is_file()]
    if missing:
        pytest.skip(f"needs MNIST's original files in {folder}: no {missing[0]}")
    return folder


@pytest.fixture(scope="session")
def cifar10_dir(tmp_path_factory):
    """A folder with CIFAR-10's binary files, made from the copy beside the repository.

    The images are slightly changed (JPEG), their order is another.
    """
    pytest.importorskip("PIL", reason="needs Pillow to decode CIFAR-10's copy")
    script = SHARED / "make_cifar10.py"
    if not script.is_file():
        pytest.skip(f"needs {script} and CIFAR-10's copy beside it")
    folder = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, script, folder], check=True, capture_output=True)
    yield folder
    shutil.rmtree(folder)  # 184 MB, which pytest would keep


@pytest.fixture
def tfds_root(tmp_path, monkeypatch) -> Path:
    """TFDS's folder, which is missing, on a machine without network.

    A proxy that refuses connections stands for the missing network.
    """
    folder = tmp_path / "tensorflow_datasets"
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)  # it would win over the other spelling
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    return folder
