"""Runs all that the paper and its code report, and baselines, in one folder.

    python -m experiments.reproduce --part mnist --out DIR

Each run has its run directory, DIR/PART/NAME, as if its program had been started by
hand. Given again, the same command goes on with what was interrupted, and leaves alone
what is finished. `experiments.report` makes a page of results of DIR.
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from rich.console import Console

from bopt.models import LeNet5
from experiments import cifar_vgg, data, pareto_front
from experiments.cifar_vgg import VggConfig
from experiments.config import INT, Config, parse, resolve
from experiments.devices import Network, use_all_cores
from experiments.errors import ConfigError
from experiments.front_options import LenetFront, resolve_front
from experiments.launch import load, make_console
from experiments.launch import main as run_experiment
from experiments.option_checks import check_at_least
from experiments.paper_runs import PARTS, Part
from experiments.runs.console import say
from experiments.training.optimizers import compose
from experiments.training.step import steps_per_epoch
from experiments.training.trainer import TRAIN_EVALUATION, Trainer


class _Program(NamedTuple):
    main: Callable[[list[str]], int]
    options: Any
    resolve: Callable[[Any, str], Any]
    module: Callable[[Any], Any]


PROGRAMS = {
    "mnist_lenet": _Program(
        lambda words: run_experiment("mnist_lenet", Config, lambda _: LeNet5(), words),
        Config,
        resolve,
        lambda _: LeNet5(),
    ),
    "cifar_vgg": _Program(
        lambda words: run_experiment("cifar_vgg", VggConfig, cifar_vgg.network, words),
        VggConfig,
        resolve,
        cifar_vgg.network,
    ),
    "pareto_front": _Program(
        pareto_front.main, LenetFront, resolve_front, lambda config: config.module()
    ),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Runs all that the paper and its code report, and baselines, in one folder; given
    again, goes on where it was interrupted."""

    out: str
    """The folder; each run gets a run directory OUT/PART/NAME."""
    part: Literal["all", "mnist", "cifar", "fronts", "normalize"] = "all"
    """mnist: LeNet-5 with four optimizers, pruned and not, and magnitude pruning;
    cifar: VGG likewise; fronts: the searches of pareto_front, two of them also on
    madam's directions; normalize: what the gradients are divided by before the weights
    are sought, in short trainings."""
    seeds: int = 3
    """Of each training, from 0 on."""
    epochs: Annotated[int | None, INT] = None
    """Of each training but a front's last, where there is no time for all of them; the
    page of results says so (default the experiment's own number)."""
    smoke: bool = False
    """Do it all in a few minutes, on the digits: to see that it works."""
    data_dir: str = "data"
    """Folder that may hold the original files of the data sets."""


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 1 if a run failed, else as
    `experiments.launch.main`.

    Example:
      >>> import contextlib, sys
      >>> from experiments.reproduce import main
      >>> with contextlib.redirect_stderr(sys.stdout):
      ...     main(["--out", "nowhere", "--seeds", "0"])
      error: --seeds is 0; expected at least 1.
      2
    """
    options = parse(Options, "reproduce", words)
    try:
        check_at_least(options, {"seeds": 1})
        names = PARTS if options.part == "all" else [options.part]
        return reproduce({name: PARTS[name] for name in names}, options)
    except (ConfigError, data.DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # between two runs, which see to it themselves
        print("Stopped by SIGINT.", file=sys.stderr)
        return 130


def reproduce(parts: Mapping[str, Part], options: Options) -> int:
    """Does all the runs that are not finished.

    Args:
      parts: name -> part, see `PARTS`.
      options: see `Options`.

    Returns:
      The exit code: that of a run that a signal has stopped; 1 if runs failed, after
      all the others.

    Raises:
      ConfigError, data.DataError: before anything has begun.
    """
    console = make_console()
    say(console, "Measuring this machine's pace.")
    seconds = sum(expected(part, options) for part in parts.values())
    number = sum(len(part.runs) for part in parts.values())
    say(
        console,
        f"{number} runs of {options.seeds} seeds into {options.out}: about "
        f"{seconds / 60:.0f} minutes if none is done yet, at this machine's pace now.",
    )
    failed = []
    for name, part in parts.items():
        for run in part.runs:
            path = Path(options.out, name, run)
            say(console, str(path), "bold")
            begun = (path / "config.json").is_file()
            where = ("--resume" if begun else "--out", str(path))
            code = PROGRAMS[part.program].main([*_words(part, run, options), *where])
            if code > 128:
                print("This command, given again, goes on, too.", file=sys.stderr)
                return code
            if code:
                failed.append(str(path))
    if failed:
        print(f"error: failed, as said above: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _words(part: Part, run: str, options: Options) -> list[str]:
    return [
        *(part.smoke if options.smoke else part.words).split(),
        *part.runs[run].split(),
        *("--seeds", str(options.seeds), "--data-dir", options.data_dir),
        *(() if options.epochs is None else ("--epochs", str(options.epochs))),
    ]


def expected(part: Part, options: Options) -> float:
    """How many seconds a part will take here, measured by a few steps of training.

    Args:
      part: one of `PARTS`.
      options: see `Options`.

    Raises:
      data.DataError: its data cannot be had.
    """
    dataset, pace, total = None, None, 0.0
    for run in part.runs:
        config = parse(
            PROGRAMS[part.program].options, "reproduce", _words(part, run, options)
        )
        dataset = dataset or load(config, Console(quiet=True))
        config = PROGRAMS[part.program].resolve(config, dataset.name)
        pace = pace or _pace(part, config, dataset)
        epochs = config.epochs
        if isinstance(config, LenetFront):  # and its knee, of one seed
            assert config.budget is not None and config.final_epochs is not None
            others = epochs
            if config.search == "continuation":
                others = config.corrector_epochs or 0
            epochs += (config.budget - 1) * others + config.final_epochs / config.seeds
        total += pace.compile + config.seeds * epochs * pace.epoch
    return total


class _Pace(NamedTuple):
    """Seconds."""

    compile: float
    epoch: float  # of one network


def _pace(part: Part, config: Any, dataset: data.Dataset) -> _Pace:
    steps, short = steps_per_epoch(dataset, config.batch_size), 48
    some = dataset._replace(train=dataset.train[: short * config.batch_size])
    trainer = Trainer(
        PROGRAMS[part.program].module(config),
        lambda *weights: compose(config, steps),
        some,
        config,
        parallel=config.seeds,
    )
    trainer.start([Network(seed, (1.0, 0.0)) for seed in range(config.seeds)])
    seconds = []
    for epoch in (1, 2):  # the first warms up
        start = time.perf_counter()
        for _ in trainer.epoch(epoch):
            pass
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    trainer.evaluate(("validation",))
    evaluation = (time.perf_counter() - start) / len(dataset.validation)
    train = len(dataset.train)
    evaluated = len(dataset.images) - train + min(train, TRAIN_EVALUATION)
    all_networks = seconds[1] / min(steps, short) * steps + evaluation * evaluated
    return _Pace(trainer.seconds_compile, all_networks / config.seeds)


if __name__ == "__main__":
    use_all_cores()
    sys.exit(main())
