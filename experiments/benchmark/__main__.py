"""Benchmarks that print ratios measured side by side.

    python -m experiments.benchmark [--model vgg] [--device-info]
    python -m experiments.benchmark front
    python -m experiments.benchmark checkpoint [--model vgg]
    python -m experiments.benchmark devices [--model vgg]
    python -m experiments.benchmark inference RUN_DIR

All rows of a table take turns in each repeat. Times are medians over the repeats;
ratios are medians of the repeats' own ratios to the first row. Memory is the peak that
XLA plans for the program, images included. With the `bench` extra, PyTorch and TorchJD
are measured on LeNet-5, too.
"""

import dataclasses
import functools
import os
import platform
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import jax
import optax
import tyro
from rich.console import Console

from experiments.benchmark import checkpoint, devices, inference, step, trainers
from experiments.benchmark.models import MODELS, Model
from experiments.config import check_at_least, parse, updated
from experiments.config.options import INT
from experiments.devices import use_all_cores
from experiments.errors import ConfigError
from experiments.launch import exit_code
from experiments.runs import records

What = Literal["step", "front", "checkpoint", "devices", "inference"]
_argument = functools.partial(tyro.conf.arg, help_behavior_hint="")


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure training steps, checkpoints or a pruned network side by side.

    Attributes:
      what: step (default): training steps under each optimizer; front: many networks
        as one program; checkpoint: epochs with and without one; devices: batches split
        across several; inference: the trained network of RUN in several forms.
      run: Run directory, for inference.
      model: Network to train.
      batch_size: Number of images per step (default 32 for lenet5, 64 for vgg).
      steps: Number of steps per repeat (default 200 for lenet5, 4 for vgg; for
        checkpoint an epoch of 1718 or 703, which for vgg takes minutes without an
        accelerator; for inference 20 batches).
      networks: Numbers of networks, for front, besides 1 (default 4 16; on accelerators
        also 64 256).
      repeats: Number of repeats.
      device_info: Print the hardware and the versions, too.
    """

    what: Annotated[tyro.conf.Positional[What], _argument(metavar="[WHAT]")] = "step"
    run: Annotated[tyro.conf.Positional[str | None], _argument(metavar="[RUN]")] = None
    model: Literal["lenet5", "vgg"] = "lenet5"
    batch_size: Annotated[int | None, INT] = None
    steps: Annotated[int | None, INT] = None
    networks: Annotated[tuple[int, ...], _argument(metavar="INT ...")] = ()
    repeats: int = 15
    device_info: bool = False


def main(words: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code, see `experiments.launch.main`."""
    return exit_code(lambda: _run(parse(Options, "benchmark", words), words is None))


def _run(options: Options, prepare: bool) -> None:
    if prepare and options.what == "front":
        use_all_cores()
    elif prepare and options.what == "devices":
        devices.force_devices()
    model = MODELS[options.model]
    if options.batch_size is not None:
        config = updated(model.config, batch_size=options.batch_size)
        model = model._replace(config=config)
    _check(options, model)
    console = Console()
    if options.device_info:
        console.print(_device_info(), highlight=False, soft_wrap=True)
    steps, repeats = options.steps or model.steps, options.repeats
    match options.what:
        case "step":
            step.compare(model, console, steps, repeats)
        case "front":
            trainers.compare(model, console, steps, repeats, options.networks)
        case "checkpoint":
            steps = options.steps or model.train_size // model.batch_size
            checkpoint.compare(model, console, steps, repeats)
        case "devices":
            devices.compare(model, console, steps, repeats)
        case "inference":
            assert options.run is not None
            inference.compare(options.run, console, options.steps or 20, repeats)


def _check(options: Options, model: Model) -> None:
    fewest = min(options.networks, default=1)
    values = vars(options) | {"networks": fewest}
    check_at_least(values, {"steps": 1, "repeats": 1, "networks": 1})
    if options.what == "inference":
        if options.run is None:
            raise ConfigError(
                "RUN is missing; expected the run directory of a finished run. Add it: "
                "benchmark inference RUN."
            )
        return
    digits = model.digits()
    images = {"step": len(digits.images), "checkpoint": model.train_size}
    most = images.get(options.what, len(digits.train))
    if not 1 <= model.batch_size <= most:
        raise ConfigError(
            f"--batch-size is {model.batch_size}; expected 1 to {most}, the number of "
            "images to train on."
        )


def _device_info() -> str:
    device = jax.devices()[0]
    return (
        f"{device.platform}: {device.device_kind} x {jax.device_count()}; "
        f"{records.processor()}, {os.cpu_count()} cores; "
        f"Python {platform.python_version()}, jax {jax.__version__}, "
        f"optax {optax.__version__}"
    )


if __name__ == "__main__":
    sys.exit(main())
