"""Speed of one training whose batches are split across several devices."""

import os
import statistics

import jax
from rich.console import Console
from rich.table import Table

from experiments.benchmark import timing
from experiments.benchmark.models import Model
from experiments.devices import data_devices

NUMBERS = (1, 2, 4, 8)


def force_devices() -> None:
    """Make 8 devices of this machine's CPU; call it before JAX is used.

    Does nothing if their number is given, see `experiments.devices.use_all_cores`.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    given = "JAX_NUM_CPU_DEVICES" in os.environ or "device_count" in flags
    if not given:
        jax.config.update("jax_num_cpu_devices", max(NUMBERS))


def compare(model: Model, console: Console, steps: int, repeats: int) -> None:
    """Measure and print one row per number of devices."""
    numbers = [number for number in NUMBERS if number <= jax.device_count()]
    for number in numbers:  # before anything is compiled
        data_devices(number, model.batch_size)
    dataset = model.digits()
    trainers = {str(n): model.make_trainer(dataset, devices=n) for n in numbers}
    times = timing.measure_trainers(trainers, steps, repeats)
    console.print(table(times, str(model)))
    console.print(describe_devices(), highlight=False)


def table(times: timing.Times, title: str) -> Table:
    """Make a table of speeds; a ratio above 1 is faster than the first row."""
    one, rows = next(iter(times.values())), []
    for name, values in times.items():
        speed = 1e3 / statistics.median(values)
        rows.append((name, f"{speed:,.1f}", f"{timing.ratio(one, values):.2f}"))
    return timing.make_table(title, ("devices", "steps per second", "ratio"), rows)


def describe_devices() -> str:
    """Return the kind of the devices; of a CPU's, the reason why they are no faster."""
    number = jax.device_count()
    if jax.default_backend() != "cpu":
        return f"{number} x {jax.devices()[0].device_kind}."
    return (
        f"The {number} CPU devices share {os.cpu_count()} cores: the table shows that "
        "splitting a batch works, not a gain in speed."
    )
