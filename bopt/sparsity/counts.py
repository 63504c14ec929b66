"""Counts, sparsities and bytes of a parameter tree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bopt.selections import PyTree, Where, path_names, select


class Count(NamedTuple):
    """Counts of one leaf, or of several together.

    Attributes:
      entries: number of entries.
      nonzeros: number of entries that are not 0, NaN included.
      l1: sum of absolute values.
      bytes: size in memory, zeros included; pruning alone does not reduce it.

    Example:
      >>> import bopt
      >>> bopt.sparsity.Count(entries=4, nonzeros=1, l1=2.0, bytes=16).sparsity
      0.75
    """

    entries: int
    nonzeros: int
    l1: float
    bytes: int

    @property
    def sparsity(self) -> float:
        """Share of zeros, 0 to 1."""
        return 1 - self.nonzeros / self.entries if self.entries else 0.0


class Report(NamedTuple):
    """The result of `report`; `str` makes it a table.

    Attributes:
      layers: path -> `Count` of every selected leaf.
      dense: `Count` of all selected leaves together.
      total: `Count` of all parameters together.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> report = bopt.sparsity.report({"kernel": jnp.eye(2), "bias": jnp.ones(4)})
      >>> report.dense_sparsity, report.total_sparsity
      (0.5, 0.25)
    """

    layers: dict[str, Count]
    dense: Count
    total: Count

    @property
    def dense_sparsity(self) -> float:
        """Share of zeros among the selected leaves, 0 to 1."""
        return self.dense.sparsity

    @property
    def total_sparsity(self) -> float:
        """Share of zeros among all parameters, 0 to 1."""
        return self.total.sparsity

    def __str__(self) -> str:
        # A list: a layer may itself be called "dense".
        rows = [*self.layers.items(), ("dense", self.dense), ("total", self.total)]
        width = max(len("layer"), *(len(name) for name, _ in rows))
        lines = [
            f"{'layer':<{width}} {'entries':>10} {'nonzeros':>10} {'sparsity':>9} "
            f"{'l1':>11} {'bytes':>11}"
        ]
        lines += [
            f"{name:<{width}} {row.entries:>10,} {row.nonzeros:>10,} "
            f"{row.sparsity:>9.2%} {row.l1:>11.5g} {row.bytes:>11,}"
            for name, row in rows
        ]
        return "\n".join(lines)


def report(params: PyTree, where: Where = 2) -> Report:
    """Count entries and nonzeros of the parameters, per layer and in total.

    Args:
      params: a pytree of arrays; counted on the host, not inside jit. Integers count
        as other numbers, complex numbers by their magnitudes, and random keys (of
        `jax.random.key`) not at all, so that the whole state of a model can be given.
      where: a selection (see `bopt.selections`) of the leaves that count as dense.

    Returns:
      A `Report`.

    Raises:
      ValueError: the selection matches nothing, or a leaf holds no numbers (named).

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> params = {"Dense_0": {"kernel": jnp.eye(10), "bias": jnp.ones(10)}}
      >>> print(bopt.sparsity.report(params))
      layer             entries   nonzeros  sparsity          l1       bytes
      Dense_0/kernel        100         10    90.00%          10         400
      dense                 100         10    90.00%          10         400
      total                 110         20    81.82%          20         440
    """
    chosen = jax.tree.leaves(select(where, params))
    names = jax.tree.leaves(path_names(params))
    rows = [
        (name, _count(name, leaf), keep)
        for name, leaf, keep in zip(names, jax.tree.leaves(params), chosen, strict=True)
        if not _is_key(leaf)
    ]
    layers = {name: count for name, count, keep in rows if keep}
    dense = [count for _, count, keep in rows if keep]
    return Report(layers, _sum(dense), _sum([count for _, count, _ in rows]))


def _is_key(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _count(name: str, leaf: Any) -> Count:
    array = np.asarray(leaf)
    if not jnp.issubdtype(array.dtype, np.number) and array.dtype != bool:
        raise ValueError(
            f"report got a leaf of type {type(leaf).__name__} and dtype {array.dtype} "
            f"at '{name}'; expected an array of numbers: leave it out of the tree."
        )
    wide = np.complex128 if np.iscomplexobj(array) else np.float64
    return Count(
        entries=array.size,
        nonzeros=int(np.count_nonzero(array)),
        l1=float(np.abs(array.astype(wide)).sum()),
        bytes=array.nbytes,
    )


def _sum(counts: list[Count]) -> Count:
    columns = list(zip(*counts, strict=True)) or [(), (), (), ()]
    return Count(*(sum(column) for column in columns))
