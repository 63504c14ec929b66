"""Compact forms of pruned parameters, and files of them.

Pruning alone makes nothing smaller, because a zero takes as many bytes as any other
number. `masked` packs a kernel into its nonzero entries and one bit per entry, `csr`
into a SciPy matrix. `save` and `load` use files without pickle. To make a network
itself smaller, use `bopt.models.shrink`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.sparse

from bopt.selections import PyTree, Where, path_name, select
from bopt.sparsity._array_files import array_format, storable


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
      ValueError: another ending, or a file that is damaged or not written by `save`.
      ImportError: a ``.safetensors`` file without the package.
      OSError: the file cannot be read.

    Example:
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
            folder[last] = _joined(leaf["form"], parts, tuple(leaf["shape"]))
    except (OSError, ImportError):
        raise
    except Exception as error:  # damaged files make their readers raise any error
        raise ValueError(
            f"{path} is damaged, or was not written by bopt.sparsity.export.save: "
            f"{type(error).__name__}: {error}"
        ) from error
    return tree, header["metadata"]


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


def _joined(form: str, parts: dict[str, Any], shape: tuple[int, ...]) -> Any:
    match form:
        case "masked":
            return Masked(**parts, shape=shape)
        case "csr":
            return scipy.sparse.csr_array(tuple(parts.values()), shape=shape)
    return parts["array"].reshape(shape)


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
