"""What TensorFlow Datasets (TFDS) can do without TensorFlow, for any of its datasets.

It knows the addresses, sizes and checksums of the original files, downloads and caches
them (`fetch`), and reads datasets that were prepared in a format with random access
(`read_prepared`). It prepares most datasets only with TensorFlow, so that is not tried.
"""

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.errors import EXTRA, UnavailableError
from experiments.errors import DataError

# A server that has not begun to answer by then counts as out of reach. TFDS's own
# retries would go on for minutes.
PROBE_SECONDS = 4.0
# What to do about a wrong file that `fetch` gave.
REMEDY = "Delete it, and TFDS downloads it again when this is next run."


def root() -> Path:
    """TFDS's folder: ``TFDS_DATA_DIR``, else ``~/tensorflow_datasets``."""
    # Not TFDS's own constant: that is fixed when TFDS is first imported.
    folder = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(folder).expanduser()


def fetch(name: str, url_infos: Mapping[str, Any] | None = None) -> dict[str, Path]:
    """Has TFDS's download manager fetch a dataset's original files, or finds its cache.

    The cache is the one TFDS itself uses, ``downloads`` in `root`. Only if a file is
    not in it, the network is asked, for `PROBE_SECONDS`; a download that has begun is
    never cut off. Prints nothing.

    Args:
      name: TFDS's name of the dataset, e.g. "mnist" or "cifar10".
      url_infos: address -> TFDS's ``UrlInfo`` (size, SHA-256, file name), instead of
        those that TFDS knows for the dataset.

    Returns:
      Original file name -> path in the cache. TFDS checks the SHA-256 of what it
      downloads, but not of what was in the cache.

    Raises:
      UnavailableError: TFDS is not installed, or the files are not cached and cannot be
        downloaded.
      DataError: a downloaded file is not the original.
    """
    tfds = _import()
    with _quiet():
        if url_infos is None:
            url_infos = tfds.builder_cls(name).url_infos
        assert url_infos is not None
        missing = _not_cached(name, url_infos)
        if missing and (reason := _unreachable(missing[0])):
            raise UnavailableError(f"{missing[0]} cannot be reached: {reason}")
        names = {
            info.filename or Path(url).name: url for url, info in url_infos.items()
        }
        paths = _download(tfds, name, names, url_infos)
    return {file: Path(os.fspath(path)) for file, path in paths.items()}


def read_prepared(
    name: str,
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], Path]:
    """Reads a dataset of labelled images that TFDS has prepared before.

    Args:
      name: TFDS's name of the dataset; its examples have an "image" and a "label".

    Returns:
      Split -> (images (N, H, W, C) uint8, labels (N,) uint8), in the order in which
      TFDS stored them (see `stored_order`), and the folder they were read from.

    Raises:
      UnavailableError: none is prepared under `root`, or it cannot be read here.
    """
    if not (root() / name).is_dir():
        raise UnavailableError(f"the folder {root() / name} does not exist")
    tfds = _import()
    with _quiet():
        folder = root() / name / str(tfds.builder_cls(name).VERSION)
        if not (folder / "dataset_info.json").is_file():
            raise UnavailableError(f"{folder} is no prepared dataset")
        # What TFDS, array_record and the image decoders raise on damaged files, other
        # formats and missing packages has no common class.
        try:
            sources = tfds.data_source(name, data_dir=root(), download=False)
            return {split: _arrays(part) for split, part in sources.items()}, folder
        except NotImplementedError:
            raise UnavailableError(
                f"the dataset in {folder} is in a format that only TensorFlow reads "
                "(array_record would do)"
            ) from None
        except Exception as error:
            raise UnavailableError(
                f"the dataset in {folder} cannot be read: {_in_short(error)}"
            ) from error


def read_in_order(
    name: str, wanted: Iterable[str]
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], Path]:
    """Reads a prepared dataset and puts it back in the order of the original files.

    Args:
      name: TFDS's name of a dataset whose keys are the examples' positions in the
        original files, counted from 0 in each split: "mnist" and "cifar10" are such.
      wanted: TFDS's names of the splits.

    Returns:
      As `read_prepared`, with the wanted splits.

    Raises:
      UnavailableError: as `read_prepared`; or a split is missing.
    """
    splits, folder = read_prepared(name)
    ordered = {}
    for split in wanted:
        if split not in splits:
            raise UnavailableError(f"{folder} has no split {split!r}")
        images, labels = splits[split]
        # The inverse of the stored order.
        position = np.argsort(stored_order(split, range(len(labels))))
        ordered[split] = images[position], labels[position]
    return ordered, folder


def stored_order(split: str, keys: Iterable[int | str]) -> np.ndarray:
    """The order in which TFDS stores a split's examples: by a hash of their keys.

    Args:
      split: TFDS's name of the split.
      keys: the examples' keys, in the order of the original files.

    Returns:
      ``order`` with stored[i] == original[order[i]].

    Raises:
      UnavailableError: TFDS is not installed.
    """
    _import()
    from tensorflow_datasets.core.hashing import Hasher

    hasher = Hasher(split)
    hashes = [hasher.hash_key(key) for key in keys]
    return np.array(sorted(range(len(hashes)), key=hashes.__getitem__), dtype=np.int64)


def _import() -> Any:
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UnavailableError(
            f"tensorflow-datasets is missing ({error}): {EXTRA}"
        ) from None
    return tensorflow_datasets


def _not_cached(name: str, url_infos: Mapping[str, Any]) -> list[str]:
    from etils import epath
    from tensorflow_datasets.core.download import resource

    downloads = root() / "downloads"
    missing = []
    for url, info in url_infos.items():
        file = resource.get_dl_fname(url, info.checksum)
        # Older versions of TFDS had one folder for all datasets; it still looks there.
        paths = [downloads / name / file, downloads / file]
        if not any(resource.is_locally_cached(epath.Path(p)) for p in paths):
            missing.append(url)
    return missing


def _unreachable(url: str) -> str | None:
    """Why `url` cannot be downloaded, or None; decided within `PROBE_SECONDS`."""
    import requests

    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            with requests.get(url, stream=True, timeout=PROBE_SECONDS) as response:
                ok = response.status_code == 200
                answers.put(None if ok else f"HTTP status {response.status_code}")
        except Exception as error:
            answers.put(_in_short(error))

    # A thread, because the look-up of the server's name cannot be given a time limit;
    # a daemon, so that one that hangs does not keep the program from ending.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=PROBE_SECONDS)
    except queue.Empty:
        return f"no answer within {PROBE_SECONDS:g} seconds"


def _download(
    tfds: Any, name: str, names: dict[str, str], url_infos: Mapping[str, Any]
) -> dict[str, Any]:
    from tensorflow_datasets.core.download.download_manager import (
        NonMatchingChecksumError,
    )

    downloads = root() / "downloads"
    try:
        manager = tfds.download.DownloadManager(
            download_dir=downloads,
            extract_dir=downloads,  # nothing is extracted: no folder of its own for it
            dataset_name=name,
            url_infos=dict(url_infos),
        )
        return manager.download(names)
    except NonMatchingChecksumError as error:
        found = str(error).partition("\nTo debug")[0]
        raise DataError(
            f"wrong SHA-256 or size: {found}\nWhat to do: run again, or get the file "
            "by other means; a proxy or a login page may have answered in the server's "
            "place."
        ) from None
    except (OSError, tfds.download.DownloadError) as error:
        raise UnavailableError(f"the download failed: {_in_short(error)}") from None


def _arrays(source: Any) -> tuple[np.ndarray, np.ndarray]:
    # In chunks, because array_record takes as long for one example as for hundreds.
    images, labels = [], []
    for start in range(0, len(source), 1_000):
        keys = list(range(start, min(start + 1_000, len(source))))
        examples = source.__getitems__(keys)
        images.append(np.stack([example["image"] for example in examples]))
        labels.append(np.stack([example["label"] for example in examples]))
    return np.concatenate(images), np.concatenate(labels).astype(np.uint8)


def _in_short(error: BaseException) -> str:
    """The first cause of an error, for `requests` wraps them four layers deep."""
    while error.__context__ is not None:
        error = error.__context__
    message = " ".join(str(error).split())  # on one line
    return f"{type(error).__name__}: {message or 'no message'}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TFDS's progress bars and log off the terminal; leaves both as they were."""
    from tensorflow_datasets.core.utils import tqdm_utils

    log, handler = logging.getLogger("absl"), logging.NullHandler()
    level, active = log.level, tqdm_utils._active
    log.setLevel(logging.CRITICAL)
    # absl configures the root logger if it finds it without any handler.
    logging.root.addHandler(handler)
    tqdm_utils.display_progress_bar(False)
    try:
        yield
    finally:
        tqdm_utils.display_progress_bar(active)
        logging.root.removeHandler(handler)
        log.setLevel(level)
