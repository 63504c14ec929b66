"""Files of named arrays and a text header, without pickle."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # a dependency of jax; registers its narrow floats with NumPy
import numpy as np

_HEADER = "bopt"
Write = Callable[[Path, dict[str, np.ndarray], str], None]
Read = Callable[[Path], tuple[Mapping[str, np.ndarray], str]]


def array_format(path: str | Path) -> tuple[Write, Read]:
    """Functions that write and read a file, by the ending of its name."""
    match ending := Path(path).suffix:
        case ".npz":
            return _write_npz, _read_npz
        case ".safetensors":
            return _write_safetensors, _read_safetensors
    raise ValueError(f"{path} ends in '{ending}'; expected .npz or .safetensors.")


def storable(array: np.ndarray) -> np.ndarray:
    """The array, as unsigned integers if NumPy's file format lacks the dtype."""
    array = np.ascontiguousarray(array)
    narrow = not array.dtype.isbuiltin and hasattr(ml_dtypes, array.dtype.name)
    return array.view(f"u{array.dtype.itemsize}") if narrow else array


def _write_npz(path: Path, arrays: dict[str, np.ndarray], header: str) -> None:
    named: dict[str, Any] = {_HEADER: np.array(header), **arrays}
    with open(path, "wb") as file:  # NumPy may change the ending of a path
        np.savez_compressed(file, **named)


def _read_npz(path: Path) -> tuple[Mapping[str, np.ndarray], str]:
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, str(arrays.pop(_HEADER))


def _write_safetensors(path: Path, arrays: dict[str, np.ndarray], header: str) -> None:
    _safetensors().save_file(arrays, path, {_HEADER: header})


def _read_safetensors(path: Path) -> tuple[Mapping[str, np.ndarray], str]:
    package = _safetensors()
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        header = (file.metadata() or {})[_HEADER]
    return package.load_file(path), header


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "Files that end in .safetensors need the package safetensors: "
            "pip install safetensors, or write an .npz file."
        ) from error
    return safetensors.numpy
