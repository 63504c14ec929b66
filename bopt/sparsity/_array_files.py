"""Files of named arrays and a header, without pickle: what `export` writes its forms
into."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # of jax; gives NumPy the names of its narrow floats
import numpy as np

_HEADER = "bopt"
Write = Callable[[Path, dict[str, np.ndarray], str], None]
Read = Callable[[Path], tuple[Mapping[str, np.ndarray], str]]


def array_format(path: str | Path) -> tuple[Write, Read]:
    """How a file of this name is written and read.

    Raises:
      ValueError: another ending than .npz and .safetensors.
    """
    match ending := Path(path).suffix:
        case ".npz":
            return _write_npz, _read_npz
        case ".safetensors":
            return _write_safetensors, _read_safetensors
    raise ValueError(f"{path} ends in '{ending}'; expected .npz or .safetensors.")


def _plain(array: np.ndarray) -> np.ndarray:
    """As bytes, if NumPy's own format does not know the type."""
    narrow = not array.dtype.isbuiltin and hasattr(ml_dtypes, array.dtype.name)
    return array.view(f"u{array.dtype.itemsize}") if narrow else array


def _write_npz(path: Path, arrays: dict[str, np.ndarray], header: str) -> None:
    plain: dict[str, Any] = {name: _plain(array) for name, array in arrays.items()}
    with open(path, "wb") as file:  # a path would get another ending
        np.savez_compressed(file, **{_HEADER: np.array(header)}, **plain)


def _read_npz(path: Path) -> tuple[Mapping[str, np.ndarray], str]:
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, str(arrays.pop(_HEADER))


def _write_safetensors(path: Path, arrays: dict[str, np.ndarray], header: str) -> None:
    plain = {name: _plain(array) for name, array in arrays.items()}
    _safetensors().save_file(plain, path, {_HEADER: header})


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
            "pip install safetensors. Or choose .npz."
        ) from error
    return safetensors.numpy
