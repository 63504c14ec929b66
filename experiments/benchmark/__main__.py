"""Benchmarks that print ratios measured side by side.

All rows of a table take turns in each repeat. Times are medians over the repeats;
ratios are medians of the repeats' own ratios to the first row. Memory is the peak that
XLA plans for the program, images included. With the `bench` extra, PyTorch and TorchJD
are measured on LeNet-5, too.
"""

if __name__ == "__main__":
    from experiments import startup

    startup.handle_ctrl_c()

import dataclasses
import functools
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

from experiments.benchmark import checkpoint, inference, step, trainers, weightings
from experiments.benchmark.models import MODELS
from experiments.config import check_at_least, parse, updated
from experiments.config.options import DEPENDS
from experiments.devices import use_all_cores
from experiments.errors import ConfigError
from experiments.runs import records
from experiments.runs.console import exit_code

What = Literal["step", "front", "checkpoint", "devices", "inference", "weightings"]
_argument = functools.partial(tyro.conf.arg, help_behavior_hint="")


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure training steps, checkpoints, networks or weightings side by side.

    Attributes:
      what: step (default): training steps under each optimizer; front: many networks
        as one program; checkpoint: epochs with and without one; devices: batches split
        across several; inference: the trained network of RUN in several forms;
        weightings: directions of 2 to 64 gradients under each weighting.
      run: Run directory, for inference.
      model: Network to train.
      batch_size: Number of images per step (default 32 for lenet5, 64 for vgg).
      steps: Number of steps per repeat (default 200 for lenet5, 4 for vgg; for
        checkpoint an epoch of 1718 or 703, which for vgg takes minutes without an
        accelerator; for inference 20 batches; for weightings 3).
      networks: Numbers of networks, for front, besides 1 (default 4 16; on accelerators
        also 64 256).
      repeats: Number of repeats.
      device_info: Print the hardware and the versions, too.
    """

    what: Annotated[tyro.conf.Positional[What], _argument(metavar="[WHAT]")] = "step"
    run: Annotated[tyro.conf.Positional[str | None], _argument(metavar="[RUN]")] = None
    model: Literal["lenet5", "vgg"] = "lenet5"
    batch_size: Annotated[int | None, DEPENDS] = None
    steps: Annotated[int | None, DEPENDS] = None
    networks: Annotated[tuple[int, ...], _argument(metavar="INT ...")] = ()
    repeats: int = 15
    device_info: bool = False


def main(words: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code, see `experiments.launch.main`."""
    return exit_code(lambda: _run(parse(Options, "benchmark", words), words is None))


def _run(options: Options, prepare: bool) -> None:
    what, repeats = options.what, options.repeats
    if prepare and what == "front":
        use_all_cores()
    elif prepare and what == "devices":  # a later flag, or JAX's own variable, wins
        eight = "--xla_force_host_platform_device_count=8 "
        os.environ["XLA_FLAGS"] = eight + os.environ.get("XLA_FLAGS", "")
    values = vars(options) | {"networks": min(options.networks, default=1)}
    check_at_least(values, {"steps": 1, "repeats": 1, "networks": 1})
    model = MODELS[options.model]
    if options.batch_size is not None:
        config = updated(model.config, batch_size=options.batch_size)
        model = model._replace(config=config)
    digits = model.digits()
    images = {"step": len(digits.images), "checkpoint": model.train_size}
    most = images.get(what, len(digits.train))
    if what != "inference" and not 1 <= model.batch_size <= most:
        raise ConfigError(
            f"--batch-size is {model.batch_size}; expected 1 to {most}, the number of "
            "images to train on."
        )
    if what == "inference" and options.run is None:
        raise ConfigError(
            "RUN is missing; expected the run directory of a finished run. Add it: "
            "benchmark inference RUN."
        )
    if options.device_info:
        about = records.config("benchmark", {}, digits)
        about = (about["device"] | about["versions"]).items()
        print(", ".join(f"{name} {value}" for name, value in about))
    defaults = {
        "checkpoint": model.train_size // model.batch_size,
        "inference": 20,
        "weightings": 3,
    }
    steps = options.steps or defaults.get(what, model.steps)
    match what:
        case "step":
            step.compare(model, steps, repeats)
        case "front":
            trainers.compare_networks(model, steps, repeats, options.networks)
        case "checkpoint":
            checkpoint.compare(model, steps, repeats)
        case "devices":
            trainers.compare_devices(model, steps, repeats)
        case "inference":
            inference.compare(str(options.run), steps, repeats)
        case "weightings":
            weightings.compare(steps, repeats)


if __name__ == "__main__":
    sys.exit(main())
