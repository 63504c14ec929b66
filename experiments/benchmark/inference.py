"""Size and speed of a run's pruned network in several forms.

unpruned: an untrained network of the same shape; masked: stored as nonzero entries and
bits, used as dense arrays; CSR (SciPy): dense layers by SciPy's sparse matrices;
shrunk: without the units that pruning has disconnected.
"""

import functools
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
from experiments.benchmark.timing import Times, cells, make_table, measure
from experiments.errors import RunDirectoryError
from experiments.runs.reading import read
from experiments.training.loop import initial

UNPRUNED = "unpruned"
PROGRAMS = {"mnist_lenet": "lenet5", "cifar_vgg": "vgg"}  # pareto_front has --model


class Form(NamedTuple):
    """A network in one of the forms: its size, bytes of its .npz file, and a call."""

    size: Size
    file: int
    run: Callable[[np.ndarray], Any]

    def repeat(self, images: np.ndarray, number: int) -> None:
        """Compute the logits of a batch, a number of times."""
        for _ in range(number):
            self.run(images)


def compare(path: str, steps: int, repeats: int) -> None:
    """Measure and print one row per form of a run's network, in batches of 1 and 256.

    With several seeds, it is the network of seed 0. The table needs 100 columns.
    """
    config = read(path).config
    name = PROGRAMS.get(config["experiment"]) or config.get("model")
    if name not in MODELS:
        raise RunDirectoryError(
            f"{path} is a run of {config['experiment']}; expected one of "
            f"{', '.join(PROGRAMS)} or pareto_front. Name another run directory."
        )
    model = MODELS[name]
    found, times, console = forms(model, path), {}, Console()
    for batch in (1, 256):
        images = np.zeros((batch, *model.image), np.float32)
        runners = {
            name: functools.partial(form.repeat, images) for name, form in found.items()
        }
        measure(runners, 1, 1)  # compiles
        times[batch] = measure(runners, steps, repeats)
    console.width = max(console.width, 100)
    console.print(table(found, times, f"{model.title} of {path}"))


def forms(model: Model, path: str) -> dict[str, Form]:
    """Read a run's network and return name -> form."""
    image, key = np.zeros((1, *model.image), np.float32), jax.random.key(0)
    fresh = jax.device_get(jax.jit(model.module.init)(key, image))
    trained = initial(path, 0, fresh)
    unpruned, pruned = (chain(model.module, net) for net in (fresh, trained))
    masked = Chain(pruned.kinds, export.masked(pruned.params))
    csr = Chain(pruned.kinds, export.csr(pruned.params))
    small = shrink(pruned, model.image)

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
    convolve = _on_device(Chain(pruned.kinds[:cut], pruned.params[:cut]))
    layers = [
        # Transposed once, because SciPy multiplies from the left.
        (export.csr({"kernel": params["kernel"].T})["kernel"], params["bias"][:, None])
        for kind, params in zip(pruned.kinds, pruned.params, strict=True)
        if kind == "dense"
    ]
    elu = "elu" in pruned.kinds

    def run(images: np.ndarray) -> np.ndarray:
        x = np.asarray(convolve(images)).T
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
        rows.append([name, *(f"{count:,}" for count in counts)])
        for measured in times.values():
            rows[-1] += cells(measured[name], measured[UNPRUNED])
    return make_table(title, columns, rows)
