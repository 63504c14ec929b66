"""TensorFlow Datasets (TFDS) without TensorFlow: prepared datasets and downloads.

TFDS prepares most datasets only with TensorFlow, so preparing is not tried here.
"""

import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.files import INSTALL, UnavailableError
from experiments.errors import DataError

# Time for a server to answer. The download manager alone retries for minutes.
PROBE_SECONDS = 4.0
REMEDY = "Delete it and run again to download it once more."


def root() -> Path:
    """TFDS's folder: ``TFDS_DATA_DIR`` or ``~/tensorflow_datasets``."""
    folder = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(folder).expanduser()


def read_prepared(
    name: str,
    shape: tuple[int, ...],
    sizes: tuple[int, int, int],
    check: Callable[[np.ndarray, np.ndarray], str],
) -> tuple[np.ndarray, np.ndarray, str]:
    """Read images, labels and their source in the order in which TFDS stored them.

    `check` describes the difference from the original dataset, or returns nothing.
    """
    parts, folder = prepared(name)
    if missing := {"train", "test"} - parts.keys():
        raise UnavailableError(f"found no split {missing.pop()}, in {folder}")
    pairs = parts["train"], parts["test"]
    images, labels = map(np.concatenate, zip(*pairs, strict=True))
    labels = labels.astype(np.uint8)
    found, expected = [len(part) for _, part in pairs], [sum(sizes[:2]), sizes[2]]
    if (found, images.shape[1:]) != (expected, shape):
        wrong = (
            f"found {found} training and test images of shape {images.shape[1:]}, "
            f"expected {expected} of shape {shape}"
        )
    else:
        wrong = check(images, labels)
    if wrong:
        raise UnavailableError(f"{wrong}, in {folder}")
    order = "in TFDS's order, so the validation images differ from the original files'"
    return images, labels, f"prepared by TFDS in {folder} ({order})"


def prepared(name: str) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], Path]:
    """Read what TFDS has prepared: split -> images and labels; and its folder."""
    if not (root() / name).is_dir():
        raise UnavailableError(f"the folder {root() / name} is missing")
    tfds = _import_tfds()
    try:
        builder = tfds.builder(name, data_dir=root())
        folder = builder.data_dir
        if not builder.is_prepared():
            raise FileNotFoundError(f"no prepared dataset in {folder}")
        sources = builder.as_data_source()
        return {split: _arrays(sources[split]) for split in sources}, folder
    except NotImplementedError:
        raise UnavailableError(
            f"only TensorFlow reads the format of the dataset in {root() / name}, "
            "expected array_record"
        ) from None
    # Damaged files and missing packages raise errors without a common class.
    except Exception as error:
        raise UnavailableError(
            f"the dataset in {root() / name} is unreadable: {_first_cause(error)}"
        ) from error


def _arrays(source: Any) -> tuple[np.ndarray, np.ndarray]:
    # In chunks, because array_record takes as long for one example as for hundreds.
    indices = range(len(source))
    chunks = [indices[start : start + 1_000] for start in indices[::1_000]]
    examples = [example for chunk in chunks for example in source.__getitems__(chunk)]
    images = np.stack([example["image"] for example in examples])
    return images, np.array([example["label"] for example in examples])


def fetch(name: str, urls: Sequence[str]) -> list[Path]:
    """Find files in TFDS's download cache, or download them with TFDS into it.

    A download that has begun is never cut off.
    """
    downloads, paths = root() / "downloads", {}
    try:
        # Beside each file, one of the same name and .INFO lists its addresses.
        for info in (*downloads.glob("*.INFO"), *(downloads / name).glob("*.INFO")):
            path, text = info.with_suffix(""), info.read_text(errors="replace")
            if path.is_file():
                paths |= {url: path for url in urls if f'"{url}"' in text}
    except OSError as error:
        raise UnavailableError(f"TFDS's cache is unreadable: {error}") from None
    if missing := [url for url in urls if url not in paths]:
        paths |= _download(name, missing)
    return [paths[url] for url in urls]


def _download(name: str, urls: Sequence[str]) -> dict[str, Path]:
    tfds = _import_tfds()
    if reason := _probe(urls[0]):
        raise UnavailableError(f"{urls[0]} is out of reach: {reason}")
    try:
        downloads = root() / "downloads"
        manager = tfds.download.DownloadManager(
            download_dir=downloads, extract_dir=downloads, dataset_name=name
        )
        paths = manager.download({url: url for url in urls})
    except (OSError, tfds.download.DownloadError) as error:
        raise UnavailableError(f"the download failed: {_first_cause(error)}") from None
    except Exception as error:  # TFDS's error about a wrong checksum is private
        raise DataError(
            f"wrong download: {_first_cause(error)}. Run again, or get the file by "
            "other means: a proxy or a login page may have answered."
        ) from None
    return {url: Path(path) for url, path in paths.items()}


def _probe(url: str) -> str | None:
    """Find the reason why a server cannot be reached, within `PROBE_SECONDS`."""
    import requests

    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            with requests.get(url, stream=True, timeout=PROBE_SECONDS) as response:
                ok = response.status_code == 200
                answers.put(None if ok else f"HTTP status {response.status_code}")
        except Exception as error:
            answers.put(_first_cause(error))

    # The look-up of a server's name takes no time limit, so it runs in a thread that
    # does not keep the program from ending.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=PROBE_SECONDS)
    except queue.Empty:
        return f"no answer within {PROBE_SECONDS:g} seconds"


def _import_tfds() -> Any:
    """Import TFDS and keep its log and progress bars off the terminal."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        reason = f"tensorflow-datasets is missing ({error}): {INSTALL}"
        raise UnavailableError(reason) from None
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    tfds.disable_progress_bar()
    return tfds


def _first_cause(error: BaseException) -> str:
    """Describe an error's first cause, because `requests` wraps it four layers deep."""
    while error.__context__ is not None:
        error = error.__context__
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message or 'no message'}"
