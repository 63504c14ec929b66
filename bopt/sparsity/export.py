"""Pruned parameters in the forms in which they can be stored and used.

Pruning alone makes nothing smaller: a zero takes as many bytes as any other number.
`masked` packs a kernel into its nonzero entries and a bit for each entry, `csr` into
SciPy's sparse matrices. `save` and `load` write all of them,
and plain arrays, to a file, without pickle. What makes a network itself smaller is
`bopt.models.shrink`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.sparse

from bopt.selections import PyTree, Where, path_name, select
from bopt.sparsity._array_files import array_format


class Masked(NamedTuple):
    """A kernel as its nonzero entries and where they are.

    Attributes:
      values: (nonzeros,) in the order of the entries.
      bits: (ceil(entries / 8),) uint8, a bit an entry: 1 where it is not 0.
      shape: of the kernel.

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
    """Packs the selected leaves: nonzero entries, and a bit for each entry.

    Args:
      params: nested dictionaries of arrays; computed on the host.
      where: a selection (see `bopt.selections`); by default the dense kernels.

    Returns:
      The same tree with a `Masked` instead of each selected leaf. `dense` undoes it.

    Raises:
      ValueError: the selection matches nothing.

    Example:
      >>> import jax.numpy as jnp
      >>> from bopt.sparsity import export
      >>> export.masked({"kernel": jnp.eye(2)})["kernel"].bits
      array([144], dtype=uint8)
    """

    def pack(leaf: np.ndarray) -> Masked:
        return Masked(leaf[leaf != 0], np.packbits(leaf != 0), leaf.shape)

    return _replaced(params, where, pack)


def csr(params: PyTree, where: Where = 2) -> PyTree:
    """Turns the selected kernels into SciPy's compressed sparse rows.

    Args:
      params: nested dictionaries of arrays; computed on the host.
      where: a selection (see `bopt.selections`) of matrices; by default the dense
        kernels.

    Returns:
      The same tree with a `scipy.sparse.csr_array` instead of each selected leaf.

    Raises:
      ValueError: the selection matches nothing, or a leaf that is no matrix (named).

    Example:
      >>> import jax.numpy as jnp
      >>> from bopt.sparsity import export
      >>> export.csr({"kernel": jnp.eye(2)})["kernel"].nnz
      2
    """
    _check_matrices("csr", params, where)
    return _replaced(params, where, scipy.sparse.csr_array)


def dense(params: PyTree) -> PyTree:
    """Makes plain arrays of whatever `masked` or `csr` made.

    Args:
      params: nested dictionaries of arrays and of what these functions make of them.

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
                result = np.zeros(shape, values.dtype)
                count = result.size
                result.reshape(-1)[np.unpackbits(bits, count=count).astype(bool)] = (
                    values
                )
                return result
            case scipy.sparse.csr_array():
                return leaf.toarray()
        return np.asarray(leaf)

    return jax.tree.map(unpack, params, is_leaf=_is_form)


def nbytes(params: PyTree) -> int:
    """Bytes in memory of all arrays, sparse ones included.

    Args:
      params: nested dictionaries of arrays and of what `masked` or `csr` make
        of them.

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
    """Writes parameters to a file, without pickle.

    Args:
      path: ends in ``.npz`` (NumPy's, compressed) or ``.safetensors`` (needs the
        package `safetensors`).
      params: nested dictionaries of arrays and of what `masked` or `csr` make
        of them.
      metadata: texts that are stored with them.

    Raises:
      ValueError: another ending, or a tree that is not of dictionaries with text keys
        without ``/`` (the culprit is named).
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
            arrays[f"{name}/{key}"] = np.ascontiguousarray(part)
    header = {"leaves": forms, "metadata": dict(metadata or {})}
    write(Path(path), arrays, json.dumps(header))


def load(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Reads what `save` wrote.

    Args:
      path: of the file.

    Returns:
      The parameters as they were saved, `numpy.ndarray` where they were arrays, and the
      metadata.

    Raises:
      ValueError: the file is of another ending, damaged, or not of `save`.
      ImportError: a ``.safetensors`` file without the package.
      OSError: it cannot be read.

    Example:
      See `save`.

      >>> from bopt.sparsity import export
      >>> export.load("network.pickle")
      Traceback (most recent call last):
      ValueError: network.pickle ends in '.pickle'; expected .npz or .safetensors.
    """
    _, read = array_format(path)
    try:
        arrays, header = read(Path(path))
        header = json.loads(header)
        tree: dict[str, Any] = {}
        for name, leaf in header["leaves"].items():
            parts = {
                key: arrays[f"{name}/{key}"].view(dtype)
                for key, dtype in leaf["dtypes"].items()
            }
            *folders, last = name.split("/")
            folder = tree
            for key in folders:
                folder = folder.setdefault(key, {})
            folder[last] = _FORMS[leaf["form"]](parts, tuple(leaf["shape"]))
    except (OSError, ImportError):
        raise
    except Exception as error:  # whatever a damaged file makes its reader raise
        raise ValueError(
            f"{path} is damaged, or was not written by bopt.sparsity.export.save: "
            f"{type(error).__name__}: {error}"
        ) from error
    return tree, header["metadata"]


_FORMS: dict[str, Callable[[dict[str, Any], tuple[int, ...]], Any]] = {
    "array": lambda parts, shape: parts["array"].reshape(shape),
    "masked": lambda parts, shape: Masked(parts["values"], parts["bits"], shape),
    "csr": lambda parts, shape: scipy.sparse.csr_array(
        (parts["data"], parts["indices"], parts["indptr"]), shape=shape
    ),
}


def _form(leaf: Any) -> str:
    match leaf:
        case Masked():
            return "masked"
        case scipy.sparse.csr_array():
            return "csr"
    return "array"


def _is_form(leaf: Any) -> bool:
    return _form(leaf) != "array"


def _parts(leaf: Any) -> dict[str, np.ndarray]:
    """The arrays that a leaf is made of."""
    match leaf:
        case Masked(values, bits, _):
            return {"values": values, "bits": bits}
        case scipy.sparse.csr_array():
            return {"data": leaf.data, "indices": leaf.indices, "indptr": leaf.indptr}
    return {"array": np.asarray(leaf)}


def _replaced(params: PyTree, where: Where, pack: Callable[[Any], Any]) -> PyTree:
    return jax.tree.map(
        lambda chosen, leaf: pack(np.asarray(leaf)) if chosen else np.asarray(leaf),
        select(where, params),
        params,
    )


def _check_matrices(name: str, params: PyTree, where: Where) -> None:
    def check(path, chosen, leaf):
        if chosen and np.ndim(leaf) != 2:
            raise ValueError(
                f"{name} got {path_name(path)} of shape {np.shape(leaf)}; expected "
                "matrices only: choose others with where=, or take masked."
            )

    jax.tree.map_with_path(check, select(where, params), params)


def _flat(params: PyTree) -> dict[str, Any]:
    """Path -> leaf, of nested dictionaries."""
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
