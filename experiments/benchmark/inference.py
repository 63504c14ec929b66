"""Size and speed of a run's pruned network in several forms.

unpruned: an untrained network of the same shape; masked: stored as nonzero entries and
bits, used as dense arrays; CSR (SciPy): dense layers by SciPy's sparse matrices;
shrunk: without the units that pruning has disconnected.
"""

import functools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from bopt.models import Chain, Size, chain, shrink, size
from bopt.sparsity import export
from experiments.benchmark.models import MODELS, Model
from experiments.benchmark.timing import Times, make_table, measure, ratio
from experiments.runs.directory import read
from experiments.training.loop import initial

UNPRUNED = "unpruned"
PROGRAMS = {"mnist_lenet": "lenet5", "cifar_vgg": "vgg"}  # pareto_front has --model


class Form(NamedTuple):
    """A network in one of the forms: its size, bytes of its .npz file, and a call."""

    size: Size
    file: int
    run: Callable[[np.ndarray], Any]


def compare(path: str, console: Console, steps: int, repeats: int) -> None:
    """Measure and print one row per form of a run's network, in batches of 1 and 256.

    With several seeds, it is the network of seed 0. The table needs 100 columns.
    """
    config = read(path).config
    model = MODELS[PROGRAMS.get(config["experiment"]) or config["model"]]
    found, times = forms(model, path), {}

    def repeat(form: Form, images: np.ndarray, number: int) -> None:
        for _ in range(number):
            form.run(images)

    for batch in (1, 256):
        images = np.zeros((batch, *model.image), np.float32)
        runners = {
            name: functools.partial(repeat, form, images)
            for name, form in found.items()
        }
        measure(runners, 1, 1)  # compiles
        times[batch] = measure(runners, steps, repeats)
    console.width = max(console.width, 100)
    console.print(table(found, times, f"{model.title} of {path}"))
    console.print(verdict(times), highlight=False, soft_wrap=True)


def forms(model: Model, path: str) -> dict[str, Form]:
    """Read a run's network and return name -> form.

    Raises:
      RunDirectoryError: the run has no trained network, or one of another kind.
    """
    image = np.zeros((1, *model.image), np.float32)
    init, key = model.module.init, jax.random.key(0)
    shapes = jax.eval_shape(init, key, image)
    like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    pruned = chain(model.module, initial(path, 0, like))
    fresh = jax.jit(init)(key, image)
    unpruned, small = chain(model.module, fresh), shrink(pruned, model.image)
    masked, csr = (
        Chain(pruned.kinds, pack(pruned.params)) for pack in (export.masked, export.csr)
    )

    def form(counted: Chain, stored: Chain, run: Callable[[np.ndarray], Any]) -> Form:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.npz"
            stored.save(file)
            return Form(size(counted, model.image), file.stat().st_size, run)

    return {
        UNPRUNED: form(unpruned, unpruned, _on_device(unpruned)),
        "masked": form(pruned, masked, _on_device(pruned)),
        "CSR (SciPy)": form(csr, csr, _on_host(pruned)),
        "shrunk": form(small, small, _on_device(small)),
    }


def _on_device(used: Chain) -> Callable[[np.ndarray], Any]:
    arrays, compiled = jax.device_put(used), jax.jit(Chain.__call__)
    return lambda images: jax.block_until_ready(compiled(arrays, images))


def _on_host(pruned: Chain) -> Callable[[np.ndarray], Any]:
    """Compute the convolutions by JAX and the dense layers by SciPy."""
    cut = pruned.kinds.index("flatten") + 1
    head = jax.device_put(Chain(pruned.kinds[:cut], pruned.params[:cut]))
    compiled = jax.jit(Chain.__call__)
    layers = [
        # Transposed once, because SciPy multiplies from the left.
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


def table(found: dict[str, Form], times: dict[int, Times], title: str) -> Table:
    """Make a table of sizes and of milliseconds per batch, with ratios to unpruned."""
    columns = ["network", "file (bytes)", "in memory", "multiply-adds"]
    for batch in times:
        columns += [f"ms for {batch}", "ratio"]
    rows = []
    for name, form in found.items():
        counts = (form.file, form.size.bytes, form.size.multiply_adds)
        row = [name, *(f"{count:,}" for count in counts)]
        for measured in times.values():
            row.append(f"{statistics.median(measured[name]):.3f}")
            row.append(f"{ratio(measured[name], measured[UNPRUNED]):.2f}")
        rows.append(row)
    return make_table(title, columns, rows)


def verdict(times: dict[int, Times]) -> str:
    """Return which forms are faster than the unpruned network."""
    lines = []
    for batch, measured in times.items():
        ratios = {
            name: ratio(own, measured[UNPRUNED]) for name, own in measured.items()
        }
        faster = [name for name, value in ratios.items() if value <= 0.9] or ["none"]
        lines.append(f"Batch {batch}: a tenth or more faster: {', '.join(faster)}.")
    return "\n".join(lines)
