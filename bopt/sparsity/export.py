"""Compact forms of pruned parameters, and files of them.

Pruning alone makes nothing smaller, because a zero takes as many bytes as any other
number. `masked` packs a kernel into its nonzero entries and one bit per entry, `csr`
into a SciPy matrix. `save` and `load` use files without pickle. To make a network
itself smaller, use `bopt.models.shrink`.
"""

import functools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np
import scipy.sparse

from bopt.selections import PyTree, Where, path_name, select
from bopt.sparsity._array_files import Accept, array_format, storable

_MOST_ENTRIES = 2**32  # of a leaf that `load` accepts


class Masked(NamedTuple):
    """Nonzero entries of a kernel, and their positions.

    Attributes:
      values: (nonzeros,) in the order of the entries.
      bits: (ceil(entries / 8),) uint8, one bit per entry: 1 where it is not 0.
      shape: shape of the kernel.

    Example:
      >>> import jax.numpy as jnp
      >>> from bopt.sparsity import export
      >>> masked = export.masked({"kernel": jnp.eye(4)})["kernel"]
      >>> masked.values.nbytes + masked.bits.nbytes
      18
    """

    values: np.ndarray
    bits: np.ndarray
    shape: tuple[int, ...]


def masked(params: PyTree, where: Where = 2) -> PyTree:
    """Pack the selected leaves into their nonzero entries and one bit per entry.

    Args:
      params: nested dictionaries of arrays; packed on the host.
      where: a selection (see `bopt.selections`), by default leaves of rank 2.

    Returns:
      The same tree with a `Masked` instead of each selected leaf; `dense` reverts it.

    Raises:
      ValueError: the selection matches nothing.

    Example:
      >>> import jax.numpy as jnp
      >>> from bopt.sparsity import export
      >>> export.masked({"kernel": jnp.eye(2)})["kernel"].bits
      array([144], dtype=uint8)
    """

    def pack(path: str, leaf: np.ndarray) -> Masked:
        del path
        return Masked(leaf[leaf != 0], np.packbits(leaf != 0), leaf.shape)

    return _replaced(params, where, pack)


def csr(params: PyTree, where: Where = 2) -> PyTree:
    """Turn the selected kernels into SciPy's compressed sparse rows.

    Args:
      params: nested dictionaries of arrays; converted on the host.
      where: a selection (see `bopt.selections`), by default leaves of rank 2.

    Returns:
      The same tree with a `scipy.sparse.csr_array` instead of each selected leaf;
      `dense` reverts it.

    Raises:
      ValueError: the selection matches nothing, or a leaf that is no matrix (named).

    Example:
      >>> import jax.numpy as jnp
      >>> from bopt.sparsity import export
      >>> export.csr({"kernel": jnp.eye(2)})["kernel"].nnz
      2
    """

    def pack(path: str, leaf: np.ndarray) -> scipy.sparse.csr_array:
        if leaf.ndim != 2:
            raise ValueError(
                f"csr got {path} of shape {leaf.shape}; expected matrices only: choose "
                "others with where=, or take masked."
            )
        return scipy.sparse.csr_array(leaf)

    return _replaced(params, where, pack)


def dense(params: PyTree) -> PyTree:
    """Turn the forms of `masked` and `csr` into plain arrays.

    Args:
      params: nested dictionaries of arrays and of these forms.

    Returns:
      The same tree of `numpy.ndarray`.

    Example:
      >>> import jax.numpy as jnp
      >>> from bopt.sparsity import export
      >>> export.dense(export.masked({"kernel": jnp.eye(2)}))["kernel"].tolist()
      [[1.0, 0.0], [0.0, 1.0]]
    """

    def unpack(leaf: Any) -> np.ndarray:
        match leaf:
            case Masked(values, bits, shape):
                array = np.zeros(shape, values.dtype)
                kept = np.unpackbits(bits, count=array.size).astype(bool)
                array.reshape(-1)[kept] = values
                return array
            case scipy.sparse.csr_array():
                return leaf.toarray()
        return np.asarray(leaf)

    return jax.tree.map(unpack, params, is_leaf=_is_form)


def nbytes(params: PyTree) -> int:
    """Count the bytes of all arrays in memory.

    Args:
      params: nested dictionaries of arrays and of the forms of `masked` and `csr`.

    Returns:
      The number of bytes.

    Example:
      >>> import jax.numpy as jnp
      >>> from bopt.sparsity import export
      >>> params = {"kernel": jnp.eye(4)}
      >>> [export.nbytes(tree) for tree in (params, export.masked(params))]
      [64, 18]
    """
    leaves = jax.tree.leaves(params, is_leaf=_is_form)
    return sum(part.nbytes for leaf in leaves for part in _parts(leaf).values())


def save(
    path: str | Path, params: PyTree, metadata: Mapping[str, str] | None = None
) -> None:
    """Write parameters to a file, without pickle.

    Args:
      path: ends in ``.npz`` (compressed) or ``.safetensors`` (needs the package
        `safetensors`).
      params: nested dictionaries of arrays and of the forms of `masked` and `csr`.
      metadata: texts to store with the parameters.

    Raises:
      ValueError: another ending, or a tree that does not consist of dictionaries whose
        keys are texts without ``/``.
      ImportError: a ``.safetensors`` file without the package.
      OSError: the file cannot be written.

    Returns:
      None.

    Example:
      >>> import jax.numpy as jnp, tempfile
      >>> from bopt.sparsity import export
      >>> path = tempfile.mkdtemp() + "/network.npz"
      >>> export.save(path, export.csr({"kernel": jnp.eye(2)}), {"trained": "today"})
      >>> params, metadata = export.load(path)
      >>> params["kernel"].toarray().tolist(), metadata
      ([[1.0, 0.0], [0.0, 1.0]], {'trained': 'today'})
    """
    write, _ = array_format(path)
    arrays: dict[str, np.ndarray] = {}
    forms: dict[str, dict[str, Any]] = {}
    for name, leaf in _flat(params).items():
        parts = _parts(leaf)
        dtypes = {key: part.dtype.name for key, part in parts.items()}
        forms[name] = {"form": _form(leaf), "shape": list(leaf.shape), "dtypes": dtypes}
        for key, part in parts.items():
            arrays[f"{name}/{key}"] = storable(part)
    header = {"leaves": forms, "metadata": dict(metadata or {})}
    write(Path(path), arrays, json.dumps(header))


def load(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a file written by `save`.

    Args:
      path: path of the file.

    Returns:
      The parameters in the forms that were saved (`numpy.ndarray` for plain arrays),
      and the metadata.

    Raises:
      ValueError: another ending, or a file that is damaged or not written by `save`:
        also one whose indices or bits do not fit its shapes, or with a leaf of more
        than 2**32 entries.
      ImportError: a ``.safetensors`` file without the package.
      OSError: the file cannot be read.

    Example:
      >>> from bopt.sparsity import export
      >>> export.load("network.pickle")
      Traceback (most recent call last):
      ValueError: network.pickle ends in '.pickle'; expected .npz or .safetensors.
    """
    _, read = array_format(path)
    header: dict[str, Any] = {}

    def wanted(text: str) -> dict[str, Accept]:
        header.update(json.loads(text))
        return _wanted(header)

    try:
        arrays, tree = read(Path(path), wanted), {}
        for name, leaf in header["leaves"].items():
            parts = {
                key: arrays[f"{name}/{key}"].view(_dtype(dtype))
                for key, dtype in leaf["dtypes"].items()
            }
            *folders, last = name.split("/")
            folder = tree
            for key in folders:
                folder = folder.setdefault(key, {})
            if last in folder:
                raise ValueError(f"{name} is a leaf and a folder")
            folder[last] = _joined(name, leaf["form"], parts, tuple(leaf["shape"]))
        metadata = {str(key): str(text) for key, text in header["metadata"].items()}
    except (OSError, ImportError):
        raise
    except Exception as error:  # damaged files make their readers raise any error
        raise ValueError(
            f"{path} is damaged, or was not written by bopt.sparsity.export.save: "
            f"{type(error).__name__}: {error}"
        ) from error
    return tree, metadata


def _wanted(header: Mapping[str, Any]) -> dict[str, Accept]:
    """Name of each array -> function that accepts its shape, see `array_format`."""
    found: dict[str, Accept] = {}
    for name, leaf in header["leaves"].items():
        shape, dtypes = tuple(leaf["shape"]), leaf["dtypes"]
        names = _PARTS.get(leaf["form"], ("array",))
        whole = all(type(size) is int and size >= 0 for size in shape)
        large = whole and math.prod(max(size, 1) for size in shape) > _MOST_ENTRIES
        if not whole or large or {*dtypes} != {*names}:
            raise ValueError(f"{name} has shape {leaf['shape']} and arrays {[*dtypes]}")
        found |= {
            f"{name}/{part}": functools.partial(
                _accept, f"{name}/{part}", leaf["form"], shape, _dtype(dtype)
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


def _dtype(name: str) -> np.dtype:
    """A dtype of numbers by its name."""
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    if dtype.kind not in "biufc" and (dtype.hasobject or not hasattr(ml_dtypes, name)):
        raise ValueError(f"{name} is no dtype of numbers")
    return dtype


def _form(leaf: Any) -> str:
    match leaf:
        case Masked():
            return "masked"
        case scipy.sparse.csr_array():
            return "csr"
    return "array"


def _is_form(leaf: Any) -> bool:
    return _form(leaf) != "array"


# Names of the arrays that each form is made of.
_PARTS = {"masked": ("values", "bits"), "csr": ("data", "indices", "indptr")}


def _parts(leaf: Any) -> dict[str, np.ndarray]:
    names = _PARTS.get(_form(leaf))
    if names is None:
        return {"array": np.asarray(leaf)}
    return {name: getattr(leaf, name) for name in names}


def _joined(name: str, form: str, parts: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """A leaf of its checked parts."""
    match form:
        case "masked":
            _check_masked(name, Masked(**parts, shape=shape))
            return Masked(**parts, shape=shape)
        case "csr":
            data, indices, indptr = (parts[key] for key in _PARTS["csr"])
            _check_csr(name, data, indices, indptr, shape)
            return scipy.sparse.csr_array((data, indices, indptr), shape=shape)
        case "array":
            return parts["array"].reshape(shape)
    raise ValueError(f"{name} has the unknown form {form!r}")


def _check_masked(name: str, leaf: Masked) -> None:
    if leaf.bits.dtype != np.uint8:
        raise ValueError(f"{name}/bits has dtype {leaf.bits.dtype}; expected uint8")
    kept = int(np.unpackbits(leaf.bits, count=math.prod(leaf.shape)).sum())
    if kept != len(leaf.values):
        raise ValueError(
            f"{name}/bits has {kept} ones; expected {len(leaf.values)}, the length of "
            f"{name}/values"
        )


def _check_csr(
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


def _replaced(
    params: PyTree, where: Where, pack: Callable[[str, np.ndarray], Any]
) -> PyTree:
    """The tree with packed leaves where selected, NumPy arrays elsewhere."""

    def replace(path, chosen, leaf):
        leaf = np.asarray(leaf)
        return pack(path_name(path), leaf) if chosen else leaf

    return jax.tree.map_with_path(replace, select(where, params), params)


def _flat(params: PyTree) -> dict[str, Any]:
    leaves = jax.tree.leaves_with_path(params, is_leaf=_is_form)
    for path, _ in leaves:
        for key in path:
            text = getattr(key, "key", None)
            if not isinstance(text, str) or "/" in text:
                raise ValueError(
                    f"save got a tree with {key} in '{path_name(path)}'; expected "
                    "nested dictionaries whose keys are texts without /."
                )
    return {path_name(path): leaf for path, leaf in leaves}
