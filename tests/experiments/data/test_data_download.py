"""Datasets that TFDS has prepared, cached or downloads."""

import dataclasses
import functools
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from experiments import data
from experiments.data import cifar10, download, files, kmnist, mnist

tfds = pytest.importorskip("tensorflow_datasets")
pytestmark = pytest.mark.usefixtures("tfds_root")
MODULES = {"mnist": mnist, "cifar10": cifar10, "kmnist": kmnist}


def unavailable(name: str = "mnist") -> str:
    """Reasons for which `load` misses a dataset in an empty folder."""
    with pytest.raises(data.DataError, match="is unavailable") as caught:
        data.load(name, "no such folder")
    return str(caught.value)


# Prepared datasets


def prepare(root: Path, dataset: str, images: np.ndarray, labels: np.ndarray) -> Path:
    """Prepare examples with TFDS's names and features; its builders need TensorFlow."""
    from PIL import Image

    version = tfds.builder_cls(dataset).VERSION
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=images.shape[1:]),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
    )

    def examples(part: slice):
        for key, (image, label) in enumerate(
            zip(images[part], labels[part], strict=True)
        ):
            png = io.BytesIO()
            Image.fromarray(image.squeeze()).save(png, "png", compress_level=0)
            yield key, {"image": png.getvalue(), "label": int(label)}

    # Not registered: it must not take the place of TFDS's own builder.
    with tfds.core.registered.skip_registration():

        class Prepared(tfds.core.GeneratorBasedBuilder):
            """The dataset under TFDS's name."""

            name = dataset
            VERSION = version

            def _info(self):
                return tfds.core.DatasetInfo(builder=self, features=features)

            def _split_generators(self, dl_manager):
                return {
                    "train": examples(slice(100)),
                    "test": examples(slice(100, None)),
                }

            def _generate_examples(self):
                raise NotImplementedError

    builder = Prepared(data_dir=root, file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


@pytest.fixture(scope="module")
def prepared_once(tmp_path_factory, examples) -> Path:
    """TFDS's folder with the examples of `small_mnist` and `small_cifar10`."""
    root = tmp_path_factory.mktemp("prepared")
    for name, module in MODULES.items():
        prepare(root, name, *examples(module.SHAPE))
    return root


@pytest.fixture
def prepared(prepared_once, tfds_root):
    """Folder of a dataset under its name in a copy that tests may damage."""
    shutil.copytree(prepared_once, tfds_root)

    def folder(name: str = "mnist") -> Path:
        (found,) = (tfds_root / name).iterdir()
        return found

    return folder


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_prepared_dataset_is_read_in_stored_order(prepared, name, request):
    folder, expected = request.getfixturevalue(f"small_{name}")
    loaded = data.load("auto", folder / "none", preferred=name)
    assert loaded.name == name
    assert loaded.source == (
        f"prepared by TFDS in {prepared(name)} (in TFDS's order, so the validation "
        "images differ from the original files')"
    )
    assert loaded.images.dtype == loaded.labels.dtype == np.uint8
    for part in (slice(100), slice(100, None)):
        images, labels = loaded.images[part], loaded.labels[part]
        ours, theirs = (
            mnist.sorted_sha256(images, labels),
            mnist.sorted_sha256(expected.images[part], expected.labels[part]),
        )
        assert ours == theirs
    assert not (loaded.labels == expected.labels).all()


@pytest.mark.parametrize("name", ["mnist", "cifar10", "kmnist"])
def test_a_prepared_dataset_of_another_size_is_a_reason(prepared, name):
    module = MODULES[name]
    expected = (
        f"found [100, 20] training and test images of shape {module.SHAPE}, expected "
        f"[{sum(module.SIZES[:2])}, 10000] of shape {module.SHAPE}, in {prepared(name)}"
    )
    assert expected in unavailable(name)


def test_any_prepared_dataset_is_read_by_its_name(prepared, examples):
    found = data.load("tfds:kmnist")
    assert (found.name, found.classes) == ("kmnist", 10)
    assert found.source.startswith(f"prepared by TFDS in {prepared('kmnist')}: 90, 10")
    expected = examples(kmnist.SHAPE)
    for part in (slice(100), slice(100, None)):
        ours, theirs = (
            mnist.sorted_sha256(x.images[part], x.labels[part].astype(np.uint8))
            for x in (found, expected)
        )
        assert ours == theirs
    with pytest.raises(data.DataError, match=r"^tfds:emnist is unavailable: the fold"):
        data.load("tfds:emnist")
    for name in ("", "../kmnist", "huggingface:kmnist"):
        with pytest.raises(data.DataError, match="is no name of a dataset"):
            data.load(f"tfds:{name}")


def test_a_prepared_mnist_with_other_examples_is_a_reason(
    prepared, small_mnist, monkeypatch
):
    expected = f"found other examples than MNIST's, in {prepared()}"
    for wrong in ((mnist.SORTED_SHA256[0], ""), ("", mnist.SORTED_SHA256[1])):
        with monkeypatch.context() as patch:
            patch.setattr(mnist, "SORTED_SHA256", wrong)
            assert expected in unavailable()


@pytest.mark.parametrize(("split", "first"), [("training", 0), ("test", 100)])
def test_a_prepared_cifar10_of_other_classes_is_a_reason(
    tfds_root, small_cifar10, split, first
):
    images, labels = small_cifar10[1]
    labels[first] = (labels[first] + 1) % 10
    folder = prepare(tfds_root, "cifar10", images, labels)
    expected = rf"found \[.*\] {split} images per class, .* each of ten, in {folder}"
    assert re.search(expected, unavailable("cifar10"))


def rename_format(folder: Path) -> str:
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    return f"only TensorFlow reads the format of the dataset in {folder.parent}, expec"


def cut_records(folder: Path) -> str:
    for path in folder.glob("*array_record*"):
        path.write_bytes(path.read_bytes()[:-1_000])
    return f"the dataset in {folder.parent} is unreadable: "


def remove_info(folder: Path) -> str:
    (folder / "dataset_info.json").unlink()
    return f"is unreadable: FileNotFoundError: no prepared dataset in {folder}"


@pytest.mark.parametrize("damage", [rename_format, cut_records, remove_info])
def test_a_damaged_prepared_dataset_is_a_reason(prepared, damage, capfd):
    expected = damage(prepared())
    assert expected in unavailable()
    assert capfd.readouterr() == ("", "")


# The download cache


def fill_cache(folder: Path, paths: dict[str, Path]) -> list[Path]:
    """Put files where TFDS's download manager keeps what it has downloaded."""
    folder.mkdir(parents=True)
    cached = []
    for number, (url, path) in enumerate(paths.items()):
        cached.append(folder / f"sanitized_url_{number}.gz")
        shutil.copyfile(path, cached[-1])
        Path(f"{cached[-1]}.INFO").write_text(json.dumps({"urls": [url]}))
    return cached


@pytest.fixture
def cached_mnist(small_mnist, tfds_root):
    folder, expected = small_mnist
    paths = {mnist.ADDRESS + name: folder / name for name in mnist.FILES}
    return paths, expected


@pytest.mark.parametrize("folder", ["downloads/mnist", "downloads"])
def test_mnist_from_the_cache(cached_mnist, tfds_root, folder):
    paths, expected = cached_mnist
    fill_cache(tfds_root / folder, paths)
    loaded = data.load("auto", "no such folder")
    assert loaded.source == f"original files fetched by TFDS into {tfds_root / folder}"
    assert (loaded.images == expected.images).all()
    assert (loaded.labels == expected.labels).all()


def test_cifar10_from_the_cache(small_archive, tfds_root):
    folder, expected = small_archive
    cache = tfds_root / "downloads" / "cifar10"
    (path,) = fill_cache(cache, {cifar10.ADDRESS: folder / cifar10.ARCHIVE})
    loaded = data.load("auto", "no such folder", preferred="cifar10")
    assert loaded.source == f"original archive fetched by TFDS into {cache}"
    assert (loaded.images == expected.images).all()
    assert (loaded.labels == expected.labels).all()
    path.write_bytes(b"damaged")
    expected = f"{path}: wrong size: found 7 bytes, expected .* Delete it and run again"
    with pytest.raises(data.DataError, match=expected):
        data.load("auto", "no such folder", preferred="cifar10")


def test_an_incomplete_cache_is_completed(cached_mnist, tfds_root):
    paths, _ = cached_mnist
    missing = fill_cache(tfds_root / "downloads" / "mnist", paths)[2]
    missing.unlink()
    assert f"{mnist.ADDRESS}t10k-images-idx3-ubyte.gz is out of reach" in unavailable()


# Downloads, from a server on this machine


def test_addresses_sizes_and_checksums_are_those_that_tfds_knows():
    def known(name):
        infos = tfds.builder_cls(name).url_infos.items()
        return {url: (int(info.size), info.checksum) for url, info in infos}

    # Those of MNIST's files, which may be compressed anew, are of their content.
    assert known("mnist").keys() == {mnist.ADDRESS + name for name in mnist.FILES}
    assert known("cifar10") == {cifar10.ADDRESS: tuple(cifar10.ORIGINAL)}


class Server(http.server.ThreadingHTTPServer):
    """Serve one file, with a pause of `pause` seconds in the middle, or half of it."""

    content = bytes(range(256)) * 64
    status = 200
    pause = 0.0
    half = False
    requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/some/images.gz"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        assert isinstance(server, Server)
        server.requests += 1
        content = server.content
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            time.sleep(server.pause)
            if not server.half:
                self.wfile.write(content[len(content) // 2 :])
        except ConnectionError:
            pass  # the probe reads no further than the status

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as instance:
        thread = threading.Thread(target=instance.serve_forever, args=(0.01,))
        thread.start()
        yield instance
        instance.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_download_is_cached(tfds_root, server, capfd):
    (path,) = download.fetch("mnist", [server.url])
    assert path.read_bytes() == server.content
    assert path.is_relative_to(tfds_root / "downloads" / "mnist")
    asked = server.requests
    assert download.fetch("mnist", [server.url]) == [path]
    assert server.requests == asked
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_slow_download_is_not_cut(server, monkeypatch):
    monkeypatch.setattr(download, "PROBE_SECONDS", 0.5)
    server.pause = 1.5
    (path,) = download.fetch("mnist", [server.url])
    assert path.read_bytes() == server.content


@pytest.mark.slow
def test_a_wrong_download_is_an_error(server, monkeypatch):
    info = next(iter(tfds.builder_cls("mnist").url_infos.values()))
    digest = hashlib.sha256(server.content).hexdigest()
    info = dataclasses.replace(info, checksum=digest)
    manager = functools.partial(
        tfds.download.DownloadManager, url_infos={server.url: info}
    )
    monkeypatch.setattr(tfds.download, "DownloadManager", manager)
    server.content = server.content[::-1]
    expected = rf"wrong download: .*{server.url}.*Expected:.*Got:.* Run again, or get"
    with pytest.raises(data.DataError, match=expected):
        download.fetch("mnist", [server.url])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"half": True}, "the download failed: IncompleteRead"),
        ({"status": 404}, r"/some/images\.gz is out of reach: HTTP status 404"),
    ],
)
def test_a_failed_download_is_a_reason(server, fault, reason):
    vars(server).update(fault)
    with pytest.raises(files.UnavailableError, match=reason):
        download.fetch("mnist", [server.url])


# No network


@pytest.mark.slow
def test_a_proxy_that_never_answers(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as hole:
        address = f"http://127.0.0.1:{hole.getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", address)
        start = time.monotonic()
        assert re.search("is out of reach: .*(no answer|[Tt]ime)", unavailable())
    assert time.monotonic() - start < 10


def test_a_name_server_that_never_answers(monkeypatch):
    # Nothing on one machine can play this part for real.
    release = threading.Event()

    def hang(*_, **__):
        release.wait()
        raise socket.gaierror("released")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(download, "PROBE_SECONDS", 0.2)
    message = unavailable()
    release.set()
    assert "no answer within 0.2 seconds" in message


@pytest.mark.slow
def test_nothing_reaches_the_terminal(prepared, tmp_path):
    # Every source: the prepared dataset is too small, and the network is down.
    prepared()
    code = (
        "import sys; from experiments import data;"
        "found = data.load('auto', sys.argv[1]);"
        "assert 'found [100, 20]' in found.source, found.source"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "empty")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
        env=os.environ,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
