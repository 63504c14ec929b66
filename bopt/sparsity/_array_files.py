"""Files of named arrays and a text header, without pickle.

A file may come from somebody else: only the arrays that the header names are read, and
none before its dtype and shape are known and accepted.
"""

import math
import os
import secrets
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes  # a dependency of jax; registers its narrow floats with NumPy
import numpy as np

_HEADER = "bopt"
_HEADER_LIMIT = 2**26  # bytes
Write = Callable[[Path, dict[str, np.ndarray], str], None]
# From the header to the arrays to read: name -> function that raises an error unless
# it accepts a shape and the number of bytes per entry.
Accept = Callable[[tuple[int, ...], int], None]
Wanted = Callable[[str], dict[str, Accept]]
Read = Callable[[Path, Wanted], dict[str, np.ndarray]]


def array_format(path: str | Path) -> tuple[Write, Read]:
    """Functions that write and read a file, by the ending of its name."""
    match ending := Path(path).suffix:
        case ".npz":
            return _write_npz, _read_npz
        case ".safetensors":
            return _write_safetensors, _read_safetensors
    raise ValueError(f"{path} ends in '{ending}'; expected .npz or .safetensors.")


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write or replace a file: whole or not at all."""
    path = Path(os.path.realpath(path))  # a link stays a link
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{path} cannot be written: there is no folder {path.parent}. Make it."
        )
    temporary = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _storable(
    arrays: dict[str, np.ndarray], known: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """The arrays, as unsigned integers where only ml_dtypes (except `known`) has the
    dtype."""
    own = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return {
        name: array.view(f"u{array.dtype.itemsize}")
        if hasattr(ml_dtypes, array.dtype.name) and array.dtype.name not in known
        else array
        for name, array in own.items()
    }


def _write_npz(path: Path, arrays: dict[str, np.ndarray], header: str) -> None:
    named: dict[str, Any] = {_HEADER: np.array(header), **_storable(arrays)}
    _write(path, lambda file: np.savez_compressed(file, **named))


def _read_npz(path: Path, wanted: Wanted) -> dict[str, np.ndarray]:
    def small(shape: tuple[int, ...], itemsize: int) -> None:
        if shape or itemsize > _HEADER_LIMIT:
            raise ValueError(f"the header has {itemsize} bytes, shape {shape}")

    with zipfile.ZipFile(path) as archive:
        header = str(_read_npy(archive, _HEADER, small))
        names = wanted(header).items()
        return {name: _read_npy(archive, name, accept) for name, accept in names}


def _read_npy(archive: zipfile.ZipFile, name: str, accept: Accept) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, by_columns, dtype = read_header(file)
        accept(shape, dtype.itemsize)
        size = math.prod(shape) * dtype.itemsize
        content = file.read(size + 1)
    if len(content) != size or dtype.hasobject:
        raise ValueError(f"{name} has other bytes than {dtype} of shape {shape}")
    array = np.frombuffer(bytearray(content), dtype)
    return array.reshape(shape, order="F" if by_columns else "C")


def _write_safetensors(path: Path, arrays: dict[str, np.ndarray], header: str) -> None:
    numpy, arrays = _safetensors(), _storable(arrays, known=("bfloat16",))
    try:
        content = numpy.save(arrays, {_HEADER: header})
    except Exception as error:  # the package's own, about a dtype that it lacks
        raise ValueError(f"{path} cannot be a .safetensors file: {error}") from error
    _write(path, lambda file: file.write(content))


def _read_safetensors(path: Path, wanted: Wanted) -> dict[str, np.ndarray]:
    _safetensors()
    from safetensors import safe_open

    # The package checks that the arrays lie in the file and do not overlap.
    arrays = {}
    with safe_open(path, "np") as file:
        for name, accept in wanted((file.metadata() or {})[_HEADER]).items():
            arrays[name] = array = file.get_tensor(name)
            accept(array.shape, array.dtype.itemsize)
    return arrays


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "Files that end in .safetensors need the package safetensors: "
            "pip install safetensors, or write an .npz file."
        ) from error
    return safetensors.numpy
