"""MNIST: its four files, the one reader of their format, and the ways to them.

The files are gzipped IDX: two zero bytes, a byte for the type (0x08, unsigned bytes), a
byte for the number of dimensions, each dimension as a big-endian 32-bit integer, then
the values in row-major order. To work offline, put them under their original names, as
they are keys of `FILES`, into the folder given as ``data_dir``.

Source: Y. LeCun, C. Cortes, C. Burges, *The MNIST database of handwritten digits*.
"""

import hashlib
import math
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import files, tfds
from experiments.data.errors import UnavailableError
from experiments.errors import DataError

ADDRESS = "https://storage.googleapis.com/cvdf-datasets/mnist/"
SHAPE = (28, 28, 1)


class IdxFile(NamedTuple):
    """What one of the original files must be.

    Attributes:
      shape: of the array in it.
      sha256: of the gzipped file.
      values_sha256: of the values in it, without compression and header.
    """

    shape: tuple[int, ...]
    sha256: str
    values_sha256: str


FILES = {
    "train-images-idx3-ubyte.gz": IdxFile(
        (60_000, 28, 28),
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    ),
    "train-labels-idx1-ubyte.gz": IdxFile(
        (60_000,),
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    ),
    "t10k-images-idx3-ubyte.gz": IdxFile(
        (10_000, 28, 28),
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    ),
    "t10k-labels-idx1-ubyte.gz": IdxFile(
        (10_000,),
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    ),
}
# For people without any of them.
ORIGINALS = f"the four original files ({', '.join(FILES)}; they are at {ADDRESS})"
# TFDS's names of the splits -> their files: images, labels.
_SPLITS = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


def read_idx(
    path: str | Path,
    shape: tuple[int, ...],
    sha256: str | None = None,
    remedy: str = "Replace it by an intact copy.",
) -> np.ndarray:
    """Reads a gzipped IDX file of unsigned bytes, mistrusting all of it.

    Args:
      path: the file.
      shape: the shape of the array it must hold. One dimension means labels, which
        must be 0 to 9.
      sha256: the SHA-256 that the file itself must have; None checks none.
      remedy: what to do about a wrong file, a sentence that ends every message.

    Returns:
      A read-only array of that shape, uint8.

    Raises:
      DataError: unreadable, truncated or corrupt gzip; another type, shape or length
        than expected; a label above 9; another checksum.
    """
    try:
        packed = Path(path).read_bytes()
        values = _parse(files.unpack(packed), shape)
        if sha256 is not None:
            files.check_sha256(packed, sha256)
    except (files.WrongError, OSError) as error:
        raise DataError(f"{path}: {error} {remedy}") from None
    return values


def from_folder(folder: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """Reads the four original files from a folder.

    Args:
      folder: where they lie under their original names, beside anything else.

    Returns:
      Images (70000, 28, 28, 1) and labels (70000,), uint8, the 60,000 training examples
      first; and where they came from.

    Raises:
      UnavailableError: there is no such folder, or none of the files in it.
      DataError: some of the files are missing, or one is not the original.
    """
    found = files.present(folder, FILES, "MNIST")
    files.check_complete(folder, FILES, found, ADDRESS)
    paths = {name: folder / name for name in FILES}
    images, labels = _read(paths, files.replace_it(ADDRESS))
    return images, labels, f"original files in {folder}"


def from_download() -> tuple[np.ndarray, np.ndarray, str]:
    """Reads the four original files, fetched by TFDS or found in its cache.

    Returns:
      As `from_folder`.

    Raises:
      UnavailableError: neither in the cache nor to be had from the network.
      DataError: what is in the cache, or came, is not the original.
    """
    paths = tfds.fetch("mnist")
    images, labels = _read(paths, tfds.REMEDY)
    folder = next(iter(paths.values())).parent
    return images, labels, f"original files fetched by TFDS into {folder}"


def from_prepared() -> tuple[np.ndarray, np.ndarray, str]:
    """Reads the dataset that TFDS has prepared, back in the original files' order.

    TFDS stores examples in the order of their keys' hashes. They are put back, and
    compared with the original's checksums, for the validation part is a range of them.

    Returns:
      As `from_folder`.

    Raises:
      UnavailableError: none is prepared, it cannot be read without TensorFlow, or it is
        not the original MNIST.
    """
    splits, folder = tfds.read_in_order("mnist", _SPLITS)
    parts = {}
    for split, names in _SPLITS.items():
        for name, values in zip(names, splits[split], strict=True):
            parts[name] = values.reshape(values.shape[:3])
            _check_values(parts[name], name, folder)
    return *_join(parts), f"prepared by TFDS in {folder}"


def _read(paths: dict[str, Path], remedy: str) -> tuple[np.ndarray, np.ndarray]:
    return _join(
        {
            name: read_idx(paths[name], file.shape, file.sha256, remedy)
            for name, file in FILES.items()
        }
    )


def _join(parts: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*_SPLITS.values(), strict=True)
    return (
        np.concatenate([parts[name] for name in images])[..., np.newaxis],
        np.concatenate([parts[name] for name in labels]),
    )


def _check_values(values: np.ndarray, name: str, folder: Path) -> None:
    file = FILES[name]
    if values.shape != file.shape:
        raise UnavailableError(
            f"{folder} holds {values.shape} where {name} has {file.shape}"
        )
    if hashlib.sha256(values.tobytes()).hexdigest() != file.values_sha256:
        raise UnavailableError(
            f"{folder} holds other values or another order than {name}"
        )


def _parse(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    header = 4 + 4 * len(shape)
    magic = bytes([0, 0, 8, len(shape)])
    if data[:4] != magic:
        raise files.WrongError(
            f"wrong magic number: found 0x{data[:4].hex()}, expected 0x{magic.hex()} "
            f"(IDX, unsigned bytes, {len(shape)} dimensions)."
        )
    if len(data) < header:
        raise files.WrongError(
            f"truncated: found {len(data)} bytes, expected a header of {header}."
        )
    found = struct.unpack(f">{len(shape)}I", data[4:header])
    if found != shape:
        raise files.WrongError(f"wrong shape: found {found}, expected {shape}.")
    if len(data) - header != math.prod(shape):
        raise files.WrongError(
            f"wrong length: found {len(data) - header} values after the header, "
            f"expected {math.prod(shape)} for the shape {shape}."
        )
    values = np.frombuffer(data, np.uint8, offset=header).reshape(shape)
    if len(shape) == 1:
        files.check_labels(values)
    return values
