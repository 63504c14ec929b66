"""What a pruned network of a run needs, in bytes and time; see `benchmark`."""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich import box
from rich.table import Table

from bopt.models import Chain, Size, chain, shrink, size
from bopt.sparsity import export
from experiments.benchmark.step import ratio
from experiments.launch import initial

# The form -> what its table calls it; all but the first are of the run's network.
FORMS = {
    "unpruned": "unpruned",
    "masked": "dense arrays with masks",
    "bcoo": "BCOO kernels (JAX)",
    "csr": "CSR kernels (SciPy)",
    "shrunk": "shrunk",
}


class Form(NamedTuple):
    """A network in one of the forms.

    Attributes:
      size: see `bopt.models.size`; `bytes` are those in memory.
      file: bytes of its .npz file.
      run: from images to logits.

    Example:
      >>> from bopt.models import Size
      >>> from experiments.benchmark.inference import Form
      >>> Form(Size(1, 1, 4), 12, lambda images: images).file
      12
    """

    size: Size
    file: int
    run: Callable[[np.ndarray], Any]


def forms(module: Any, image: tuple[int, int, int], path: str) -> dict[str, Form]:
    """Reads a run's network, and makes all its forms.

    Args:
      module: `bopt.models.LeNet5` or `VGG`, as the run trained.
      image: (H, W, C).
      path: the run directory; of one with several seeds, seed 0 is taken.

    Returns:
      Name, of `FORMS`, -> form.

    Raises:
      RunDirectoryError: no trained network there, or one of another kind.
    """
    fresh = jax.jit(module.init)(jax.random.key(0), np.zeros((1, *image), np.float32))
    trained = initial(path, 0, fresh)
    unpruned, pruned = chain(module, fresh), chain(module, trained)
    small, sparse = shrink(pruned, image), _with_dense(pruned, export.bcoo)
    found = {
        "unpruned": _form(unpruned, image),
        # In memory and on the device, it is as large as ever.
        "masked": _form(pruned, image, stored=_with_dense(pruned, export.masked)),
        "bcoo": _form(sparse, image),
        "csr": _form(
            sparse, image, _with_dense(pruned, export.csr), runner=_on_host(pruned)
        ),
        "shrunk": _form(small, image),
    }
    return {name: found[name] for name in FORMS}


def _with_dense(whole: Chain, pack: Callable[[dict[str, Any]], Any]) -> Chain:
    """With another form of its dense layers' kernels."""
    layers = [
        pack(params) if kind == "dense" else params
        for kind, params in zip(whole.kinds, whole.params, strict=True)
    ]
    return Chain(whole.kinds, tuple(layers))


def _form(
    used: Chain,
    image: tuple[int, int, int],
    stored: Chain | None = None,
    runner: Callable[[np.ndarray], Any] | None = None,
) -> Form:
    counted = size(used, image)
    if runner is not None and stored is not None:
        counted = counted._replace(bytes=export.nbytes(list(stored.params)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.npz"
        (stored or used).save(file)
        on_disk = file.stat().st_size
    return Form(counted, on_disk, runner or _on_device(used))


def _on_device(used: Chain) -> Callable[[np.ndarray], Any]:
    arrays, compiled = jax.device_put(used), jax.jit(Chain.__call__)
    return lambda images: jax.block_until_ready(compiled(arrays, images))


def _on_host(pruned: Chain) -> Callable[[np.ndarray], Any]:
    """The convolutions by JAX, the dense layers by SciPy."""
    cut = pruned.kinds.index("flatten") + 1
    head = jax.device_put(Chain(pruned.kinds[:cut], pruned.params[:cut]))
    compiled = jax.jit(Chain.__call__)
    layers = [
        # Transposed once: SciPy multiplies from the left.
        (export.csr({"kernel": params["kernel"].T})["kernel"], params["bias"][:, None])
        for kind, params in zip(pruned.kinds, pruned.params, strict=True)
        if kind == "dense"
    ]
    elu = "elu" in pruned.kinds

    def run(images: np.ndarray) -> np.ndarray:
        x = np.asarray(compiled(head, images)).T
        for number, (kernel, bias) in enumerate(layers):
            if number:
                x = np.where(x > 0, x, np.expm1(np.minimum(x, 0)) if elu else 0)
            x = kernel @ x + bias
        return x.T

    return run


def table(
    found: dict[str, Form],
    times: dict[int, dict[str, list[float]]],
    title: str,
) -> Table:
    """Bytes, multiply-adds ("products"), and milliseconds a batch with their ratio to
    the first row.

    Args:
      found: name -> form.
      times: batch size -> name -> milliseconds a batch, one number a repeat.
      title: of the table.

    Returns:
      A table.

    Example:
      >>> from bopt.models import Size
      >>> from rich.console import Console
      >>> from experiments.benchmark.inference import Form, table
      >>> found = {"unpruned": Form(Size(9, 80, 36), 500, print)}
      >>> Console(width=90).print(
      ...     table(found, {1: {"unpruned": [0.5]}}, "LeNet-5"))  # doctest: +ELLIPSIS
      <BLANKLINE>
      ...
         unpruned             500          36              80          0.500    1.00
      <BLANKLINE>
    """
    result = Table(title=title, box=box.SIMPLE_HEAVY)
    result.add_column("network", no_wrap=True)
    columns = ["bytes, file", "in memory", "products"]
    for batch in times:
        columns += [f"ms for {batch}", "ratio"]
    for column in columns:
        result.add_column(column, justify="right")
    for name, form in found.items():
        numbers = [form.file, form.size.bytes, form.size.multiply_adds]
        cells = [f"{number:,}" for number in numbers]
        for measured in times.values():
            cells += [
                f"{statistics.median(measured[name]):.3f}",
                f"{ratio(measured[name], measured['unpruned']):.2f}",
            ]
        result.add_row(FORMS[name], *cells)
    return result


def verdict(times: dict[int, dict[str, list[float]]]) -> str:
    """Says which forms are faster than the unpruned network, by a tenth or more.

    Example:
      >>> from experiments.benchmark.inference import verdict
      >>> verdict({1: {"unpruned": [2.0], "bcoo": [3.0], "shrunk": [1.0]}})
      'Batch 1: faster than unpruned is shrunk; not faster is BCOO kernels (JAX).'
    """
    lines = []
    for batch, measured in times.items():
        faster, others = [], []
        for name in measured:
            if name != "unpruned":
                quick = ratio(measured[name], measured["unpruned"]) <= 0.9
                (faster if quick else others).append(FORMS[name])
        named = [", ".join(names) or "none" for names in (faster, others)]
        lines.append(
            f"Batch {batch}: faster than unpruned is {named[0]}; not faster is "
            f"{named[1]}."
        )
    return "\n".join(lines)
