"""Checks of the parts of compact forms, which may come from somebody else's file."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from bopt.sparsity._array_files import Accept

# Names of the arrays that each form is made of.
PARTS = {"masked": ("values", "bits"), "csr": ("data", "indices", "indptr")}
_MOST_ENTRIES = 2**32  # of a leaf


def wanted(header: Mapping[str, Any]) -> dict[str, Accept]:
    """Name of each array -> function that accepts its shape, see `array_format`."""
    found: dict[str, Accept] = {}
    for name, leaf in header["leaves"].items():
        shape, dtypes = tuple(leaf["shape"]), leaf["dtypes"]
        names = PARTS.get(leaf["form"], ("array",))
        whole = all(type(size) is int and size >= 0 for size in shape)
        large = whole and math.prod(max(size, 1) for size in shape) > _MOST_ENTRIES
        if not whole or large or {*dtypes} != {*names}:
            raise ValueError(f"{name} has shape {leaf['shape']} and arrays {[*dtypes]}")
        found |= {
            f"{name}/{part}": functools.partial(
                _accept, f"{name}/{part}", leaf["form"], shape, dtype_of(dtype)
            )
            for part, dtype in dtypes.items()
        }
    return found


def _accept(
    name: str,
    form: str,
    expected: tuple[int, ...],
    dtype: np.dtype,
    shape: tuple[int, ...],
    itemsize: int,
) -> None:
    """Raise ValueError unless a stored array may be this part of a leaf."""
    entries, size = math.prod(expected), math.prod(shape)
    match name.rpartition("/")[2]:
        case "bits":
            fits = size == -(-entries // 8)
        case "indptr":
            fits = size == expected[0] + 1
        case "array":
            fits = size == entries
        case _:
            fits = size <= entries
    if itemsize != dtype.itemsize or not fits or (form != "array" and len(shape) != 1):
        raise ValueError(
            f"{name} has shape {shape} with {itemsize} bytes per entry, which cannot "
            f"belong to a leaf of shape {expected} as {form}"
        )


def dtype_of(name: str) -> np.dtype:
    """A dtype of numbers by its name."""
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    if dtype.kind not in "biufc" and (dtype.hasobject or not hasattr(ml_dtypes, name)):
        raise ValueError(f"{name} is no dtype of numbers")
    return dtype


def check_masked(
    name: str, values: np.ndarray, bits: np.ndarray, shape: tuple[int, ...]
) -> None:
    """Raise ValueError unless there is a value per bit that is set."""
    if bits.dtype != np.uint8:
        raise ValueError(f"{name}/bits has dtype {bits.dtype}; expected uint8")
    kept = int(np.unpackbits(bits, count=math.prod(shape)).sum())
    if kept != len(values):
        raise ValueError(
            f"{name}/bits has {kept} ones; expected {len(values)}, the length of "
            f"{name}/values"
        )


def check_csr(
    name: str,
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    shape: tuple[int, ...],
) -> None:
    """Raise ValueError unless SciPy, which checks nothing, may trust the arrays."""
    for part, array in (("indices", indices), ("indptr", indptr)):
        if array.dtype.kind not in "iu":
            raise ValueError(
                f"{name}/{part} has dtype {array.dtype}; expected integers"
            )
    if len(shape) != 2:
        raise ValueError(f"{name} has shape {shape}; expected a matrix")
    ends = indptr.astype(np.int64)
    if (
        ends[0]
        or (np.diff(ends) < 0).any()
        or not ends[-1] == len(data) == len(indices)
    ):
        raise ValueError(
            f"{name}/indptr does not lead from 0 to {len(data)}, the length of "
            f"{name}/data, or {name}/indices has another length"
        )
    columns = indices.astype(np.int64)
    if len(columns) and not 0 <= columns.min() <= columns.max() < shape[1]:
        raise ValueError(
            f"{name}/indices has {columns.min()} to {columns.max()}; expected 0 to "
            f"{shape[1] - 1}"
        )
    rows = np.repeat(np.arange(shape[0]), np.diff(ends))
    if (np.diff(rows * shape[1] + columns) <= 0).any():
        raise ValueError(f"{name}/indices does not increase within each row")
