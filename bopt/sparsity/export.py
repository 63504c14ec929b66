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
from bopt.sparsity._array_files import Accept, array_format
from bopt.sparsity._checks import PARTS, check_csr, check_masked, dtype_of, wanted


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
      params: a pytree of arrays; packed on the host.
      where: a selection (see `bopt.selections`), by default leaves of rank 2.

    Returns:
      The same tree with a `Masked` instead of each selected leaf; `dense` reverts it.

    Raises:
      ValueError: the selection matches nothing, or a leaf holds no numbers.

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
      params: a pytree of arrays; converted on the host.
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
      params: a pytree of arrays and of these forms.

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
      params: a pytree of arrays and of the forms of `masked` and `csr`.

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
    return sum(
        np.asarray(part).nbytes for leaf in leaves for part in _parts(leaf).values()
    )


def save(
    path: str | Path, params: PyTree, metadata: Mapping[str, str] | None = None
) -> None:
    """Write parameters to a file, without pickle.

    A file that is there is replaced by the whole new one, or stays as it is.

    Args:
      path: ends in ``.npz`` (compressed) or ``.safetensors`` (needs the package
        `safetensors`).
      params: a pytree of arrays and of the forms of `masked` and `csr`. The path of a
        leaf is its keys joined by ``/``: dictionary keys, positions in lists and
        tuples, and names of attributes.
      metadata: texts to store with the parameters.

    Raises:
      ValueError: another ending; a leaf that is not made of numbers, such as a PRNG
        key, or of a dtype that the format lacks; two leaves of one path, such as those
        of ``{"a/b": x, "a": {"b": y}}``. Nothing is written then.
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
        form, shape = _form(leaf), tuple(np.shape(leaf))
        parts = {key: _array(name, part) for key, part in _parts(leaf).items()}
        dtypes = {key: part.dtype.name for key, part in parts.items()}
        forms[name] = {"form": form, "shape": shape, "dtypes": dtypes}
        _joined(name, form, parts, shape)  # raises what load would raise
        arrays |= {f"{name}/{key}": part for key, part in parts.items()}
    header = {"leaves": forms, "metadata": dict(metadata or {})}
    wanted(header)
    write(Path(path), arrays, json.dumps(header))


def load(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a file written by `save`.

    Args:
      path: path of the file.

    Returns:
      The parameters in the forms that were saved (`numpy.ndarray` for plain arrays),
      and the metadata. Whatever the saved tree was, the parameters are nested
      dictionaries, with a key per part of a path: ``{"mlp/~/linear": [x]}`` comes back
      as ``{"mlp": {"~": {"linear": {"0": x}}}}``.

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

    def parse(text: str) -> dict[str, Accept]:
        header.update(json.loads(text))
        return wanted(header)

    open(path, "rb").close()  # a missing file is no damaged one
    try:
        arrays, tree = read(Path(path), parse), {}
        for name, leaf in header["leaves"].items():
            parts = {
                key: arrays[f"{name}/{key}"].view(dtype_of(dtype))
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
    except ImportError:
        raise
    except Exception as error:  # damaged files make their readers raise any error
        raise ValueError(
            f"{path} is damaged, or was not written by bopt.sparsity.export.save: "
            f"{type(error).__name__}: {error}"
        ) from error
    return tree, metadata


def _form(leaf: Any) -> str:
    match leaf:
        case Masked():
            return "masked"
        case scipy.sparse.csr_array():
            return "csr"
    return "array"


def _is_form(leaf: Any) -> bool:
    return _form(leaf) != "array"


def _parts(leaf: Any) -> dict[str, Any]:
    names = PARTS.get(_form(leaf))
    if names is None:
        return {"array": leaf}
    return {name: getattr(leaf, name) for name in names}


def _joined(name: str, form: str, parts: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """A leaf of its checked parts."""
    match form:
        case "masked":
            check_masked(name, **parts, shape=shape)
            return Masked(**parts, shape=shape)
        case "csr":
            data, indices, indptr = (parts[key] for key in PARTS["csr"])
            check_csr(name, data, indices, indptr, shape)
            return scipy.sparse.csr_array((data, indices, indptr), shape=shape)
        case "array":
            return parts["array"].reshape(shape)
    raise ValueError(f"{name} has the unknown form {form!r}")


def _replaced(
    params: PyTree, where: Where, pack: Callable[[str, np.ndarray], Any]
) -> PyTree:
    """The tree with packed leaves where selected, NumPy arrays elsewhere."""

    def replace(path, chosen, leaf):
        array = _array(path_name(path), leaf)
        return pack(path_name(path), array) if chosen else array

    return jax.tree.map_with_path(replace, select(where, params), params)


def _array(path: str, leaf: Any) -> np.ndarray:
    """A leaf as an array of numbers in this machine's byte order."""
    try:
        array = np.asarray(leaf)
        dtype_of(array.dtype.name)
    except (TypeError, ValueError):
        kind = getattr(leaf, "dtype", type(leaf).__name__)
        raise ValueError(
            f"export got {path} of dtype {kind}; expected numbers or booleans. Leave "
            "it out, or take jax.random.key_data of a PRNG key."
        ) from None
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _flat(params: PyTree) -> dict[str, Any]:
    """Path -> leaf; all paths fit into one tree of dictionaries."""
    leaves: dict[str, Any] = {}
    for keys, leaf in jax.tree.leaves_with_path(params, is_leaf=_is_form):
        path = path_name(keys)
        if path in leaves or not path.isprintable():
            raise ValueError(
                f"save got the path {path!r} with control characters or twice; "
                "expected a different text per leaf: the keys of a leaf are joined by "
                "/. Rename them."
            )
        leaves[path] = leaf
    for path in leaves:
        keys = path.split("/")
        for end in range(1, len(keys)):
            if (folder := "/".join(keys[:end])) in leaves:
                raise ValueError(
                    f"save got a leaf {folder!r} and, within it, {path!r}: the keys of "
                    "a leaf are joined by /. Rename one."
                )
    return leaves
