"""What TFDS fetches and caches; and life without network."""

import hashlib
import http.server
import json
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from experiments import data
from experiments.data import mnist, tfds
from experiments.data.errors import UnavailableError

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")

SECONDS = 10  # within which it must have given up without network


pytestmark = pytest.mark.usefixtures("tfds_root")


def fill_cache(root: Path, mnist_dir: Path, folder: str = "downloads/mnist") -> None:
    from tensorflow_datasets.core.download import resource

    (root / folder).mkdir(parents=True)
    for url, info in tensorflow_datasets.builder_cls("mnist").url_infos.items():
        path = root / folder / resource.get_dl_fname(url, info.checksum)
        path.symlink_to(mnist_dir / info.filename)
        Path(f"{path}.INFO").write_text(json.dumps({"urls": [url]}))


# The cache of the download manager


def test_what_is_expected_is_what_tfds_knows():
    infos = tensorflow_datasets.builder_cls("mnist").url_infos
    known = {info.filename: (url, info.checksum) for url, info in infos.items()}
    ours = {
        name: (mnist.ADDRESS + name, file.sha256) for name, file in mnist.FILES.items()
    }
    assert known == ours


@pytest.mark.parametrize("folder", ["downloads/mnist", "downloads"])
def test_mnist_from_the_cache(tfds_root, mnist_dir, tmp_path, folder, capfd):
    fill_cache(tfds_root, mnist_dir, folder)
    cached = data.load("auto", tmp_path / "empty")
    assert capfd.readouterr() == ("", "")
    assert cached.name == "mnist"
    assert cached.source == f"original files fetched by TFDS into {tfds_root / folder}"
    original = data.load("mnist", mnist_dir)
    assert (cached.images == original.images).all()
    assert (cached.labels == original.labels).all()
    assert cached[5:] == original[5:]


def test_a_damaged_file_in_the_cache_is_named(tfds_root, mnist_dir, tmp_path):
    fill_cache(tfds_root, mnist_dir)
    (path,) = (tfds_root / "downloads/mnist").glob("*t10k-labels*.gz")
    path.unlink()
    path.write_bytes((mnist_dir / "t10k-labels-idx1-ubyte.gz").read_bytes()[:-20])
    with pytest.raises(
        data.DataError, match=f"{path.name}: truncated.* Delete it, and"
    ):
        data.load("auto", tmp_path / "empty")


# Downloads, from a server on this machine


class Server(http.server.ThreadingHTTPServer):
    """Serves one file; `pause` seconds in the middle of it, or half of it."""

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


def url_infos(server: Server) -> dict:
    from tensorflow_datasets.core.download.checksums import UrlInfo
    from tensorflow_datasets.core.utils import Size

    info = UrlInfo(
        size=Size(len(server.content)),
        checksum=hashlib.sha256(server.content).hexdigest(),
        filename="images.gz",
    )
    return {server.url: info}


def test_download_then_cache(tfds_root, server):
    infos = url_infos(server)
    paths = tfds.fetch("mnist", infos)
    assert list(paths) == ["images.gz"]
    assert paths["images.gz"].read_bytes() == server.content
    assert paths["images.gz"].is_relative_to(tfds_root / "downloads" / "mnist")
    asked = server.requests
    assert tfds.fetch("mnist", infos) == paths
    assert server.requests == asked


def test_a_slow_download_is_not_cut(server, monkeypatch):
    monkeypatch.setattr(tfds, "PROBE_SECONDS", 0.5)
    server.pause = 1.5
    paths = tfds.fetch("mnist", url_infos(server))
    assert paths["images.gz"].read_bytes() == server.content


def test_a_wrong_download_is_an_error(server):
    infos = url_infos(server)
    server.content = server.content[::-1]
    expected = (
        rf"(?s)wrong SHA-256.*{server.url}.*Expected:.*Got:.*What to do: run again"
    )
    with pytest.raises(data.DataError, match=expected):
        tfds.fetch("mnist", infos)


def test_an_interrupted_download_is_a_reason(server):
    server.half = True
    with pytest.raises(UnavailableError, match="download failed: IncompleteRead"):
        tfds.fetch("mnist", url_infos(server))


def test_a_server_without_the_file_is_a_reason(server):
    server.status = 404
    with pytest.raises(
        UnavailableError, match=r"images\.gz .*reached: HTTP status 404"
    ):
        tfds.fetch("mnist", url_infos(server))


# No network


def give_up(dataset: str, folder: Path) -> str:
    """What `load` says without network, within the time limit and silently."""
    start = time.monotonic()
    try:
        text = data.load(dataset, folder).source
    except data.DataError as error:
        text = str(error)
    assert time.monotonic() - start < SECONDS
    return text


def test_no_network_lists_what_was_tried(tfds_root, tmp_path, capfd):
    message = give_up("mnist", tmp_path / "empty")
    assert "MNIST could not be had" in message
    assert f"original files: the folder {tmp_path / 'empty'} does not exist" in message
    assert (
        f"prepared by TFDS: the folder {tfds_root / 'mnist'} does not exist" in message
    )
    assert "downloaded with TFDS: https://storage.googleapis.com" in message
    assert "Connection refused" in message
    assert all(name in message for name in mnist.FILES)
    assert "--dataset digits" in message
    assert not tfds_root.exists()
    assert capfd.readouterr() == ("", "")


def test_no_network_with_auto_gives_the_digits_and_says_why(tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    found = data.load("auto", tmp_path / "empty", train_size=100)
    assert found.name == "digits"
    assert found.title == "handwritten digits (scikit-learn)"
    assert found.source.startswith(
        "scikit-learn's handwritten digits, because MNIST could not be had (original "
        f"files: the folder {tmp_path / 'empty'} holds none of MNIST's files; prepared"
    )
    assert "Connection refused" in found.source
    assert found.train == range(100)
    assert capfd.readouterr() == ("", "")


def test_a_network_that_never_answers(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as hole:
        address = f"http://127.0.0.1:{hole.getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", address)
        message = give_up("mnist", tmp_path / "empty")
    assert "cannot be reached" in message


def test_a_name_server_that_never_answers(tmp_path, monkeypatch):
    # Nothing on one machine can play this part for real.
    release = threading.Event()

    def hang(*_, **__):
        release.wait()
        raise socket.gaierror("released")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(tfds, "PROBE_SECONDS", 0.5)
    message = give_up("mnist", tmp_path / "empty")
    release.set()
    assert "no answer within 0.5 seconds" in message


def test_without_tfds_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    message = give_up("mnist", tmp_path / "empty")
    assert "tensorflow-datasets is missing" in message
    assert 'pip install -e ".[experiments]"' in message


def test_without_any_extra_both_are_named(tmp_path, monkeypatch):
    for name in ("tensorflow_datasets", "sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    message = give_up("auto", tmp_path / "empty")
    assert "scikit-learn, whose" in message
    assert "tensorflow-datasets is missing" in message
