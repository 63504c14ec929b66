"""One run from options to run directory: what all experiments have in common."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from experiments import data, figures, interrupts, processes
from experiments.config import AnyConfig, Config, resolve
from experiments.devices import Network, on_first
from experiments.errors import Failure, Interrupted, RunDirectoryError
from experiments.runs import records, resume
from experiments.runs.checkpoints import Checkpoints
from experiments.runs.console import print_summary, say
from experiments.runs.directory import RunDirectory, read_json
from experiments.training.loop import Training, by_seed
from experiments.training.optimizers import compose
from experiments.training.step import steps_per_epoch
from experiments.training.trainer import Trainer


def main(
    experiment: str,
    options: type[AnyConfig],
    model: Callable[[AnyConfig], Any],
    words: Sequence[str] | None = None,
) -> int:
    """Runs an experiment; what can go wrong becomes a message and an exit code.

    Args:
      experiment: the program's name.
      options: a dataclass of options.
      model: from the options to a Flax Linen module from (images, train) to logits.
      words: of the command line; None: those of this process.

    Returns:
      The exit code: 0; 1 after an error; 2 for options or data that do not fit; 130
      after Ctrl-C, 143 after SIGTERM.

    Example:
      >>> import contextlib, sys
      >>> from bopt.models import LeNet5
      >>> from experiments.config import Config
      >>> from experiments.launch import main
      >>> with contextlib.redirect_stderr(sys.stdout):
      ...     main("mnist_lenet", Config, lambda _: LeNet5(), ["--epochs", "-1"])
      error: --epochs is -1; expected a finite number, at least 0.
      2
    """

    def program(config: AnyConfig) -> None:
        run(experiment, config, model(config))

    return exit_code(lambda: resume.options(options, experiment, words), program)


def exit_code(
    options: Callable[[], AnyConfig], program: Callable[[AnyConfig], Any]
) -> int:
    """Runs a program; what can go wrong becomes a message and an exit code.

    Args:
      options: reads the options.
      program: a function of them.

    Returns:
      See `main`.

    Example:
      >>> from experiments.config import Config
      >>> from experiments.launch import exit_code
      >>> exit_code(Config, lambda config: None)
      0
    """

    def told(function: Callable[[], int]) -> int:
        try:
            return function()
        except Interrupted as interrupt:
            then = "nothing was begun"
            if interrupt.command:
                then = f"all that was done is saved. Go on with: {interrupt.command}"
            return _failed(f"Stopped by {interrupt}: {then}", interrupt.code)
        except Failure as failure:
            return _failed(f"error: {failure}", failure.code)
        except KeyboardInterrupt:
            return _failed("Stopped by SIGINT.", 130)

    def inner() -> int:
        program(config)
        return 0

    config: AnyConfig

    def outer() -> int:
        nonlocal config
        config = options()
        return processes.run(config, lambda: told(inner))

    return told(outer)


def run(experiment: str, config: Config, model: Any) -> RunDirectory:
    """Loads the data, trains, writes the run directory, draws the figures.

    Args:
      experiment: the program's name.
      config: the options as given; with `resume`, those that are stored there.
      model: a Flax Linen module from (images, train) to logits.

    Returns:
      The run directory, complete.

    Raises:
      ConfigError, data.DataError, RunDirectoryError, NonFiniteError, Interrupted:
        whatever the cause, the last checkpoint stays, and `resume` goes on from it.

    Example:
      >>> import contextlib, io, tempfile
      >>> from bopt.models import LeNet5
      >>> from experiments.config import Config
      >>> from experiments.launch import run
      >>> from experiments.runs.directory import read
      >>> config = Config(dataset="digits", train_size=64, epochs=1, figures=False,
      ...                 out=tempfile.mkdtemp())
      >>> with contextlib.redirect_stdout(io.StringIO()):
      ...     directory = run("mnist_lenet", config, LeNet5())
      >>> read(directory.path).summary["steps"]
      2
    """
    start = time.perf_counter()
    resolve(config, config.dataset)  # mistakes are told before the data are sought
    console = make_console()
    if config.resume and finished(config.resume, console):
        return RunDirectory(Path(config.resume))
    dataset = load(config, console)
    config = resolve(config, dataset.name)
    optimizer = compose(config, steps_per_epoch(dataset, config.batch_size))
    with opened(experiment, config, dataset, console) as (directory, check):
        seeds = by_seed(directory, config)
        if config.seeds > 1:
            for seed, own in seeds.items():
                alone = dataclasses.replace(config, seed=seed, seeds=1)
                own.make()
                own.write_config(records.config(experiment, alone, dataset))
            trainer = Trainer(
                model, lambda _: optimizer, dataset, config, parallel=config.seeds
            )
            trainer.start([Network(seed, (1.0, 0.0)) for seed in seeds])
        else:
            trainer = Trainer(model, optimizer, dataset, config)
        described = records.config(experiment, config, dataset)
        with Checkpoints(directory.path / "checkpoints", described, console) as saved:
            if config.init_from and not saved.steps():
                like = trainer.networks()[0]
                trainer.load([initial(config.init_from, seed, like) for seed in seeds])
            summary, row = Training(
                directory, config, dataset, trainer, saved, console, check, start
            ).run()
        if config.figures:
            for own in {directory.path, *(own.path for own in seeds.values())}:
                on_first(lambda own=own: figures.draw([own], own / "figures"))
    title = f"{config.optimizer} on {dataset.title}, {summary['epochs']} epochs"
    if config.seeds > 1:
        title += f", means over {config.seeds} seeds"
    print_summary(console, summary, row, title)
    say(console, f"Written to {directory.path}")
    return directory


def make_console() -> Console:
    """Where a program speaks; of several processes, the first.

    Paths and reasons are shown as they are, whatever brackets and colons they hold.
    """
    return Console(markup=False, emoji=False, quiet=jax.process_index() != 0)


def finished(path: str, console: Console) -> bool:
    """Whether nothing is left to do in a run directory, which is then said.

    Example:
      >>> from experiments.launch import finished, make_console
      >>> finished("nowhere", make_console())
      False
    """
    done = bool(read_json(Path(path) / "summary.json").get("finished"))
    if done:
        say(console, f"{path} is finished: nothing is left to do.")
    return done


@contextlib.contextmanager
def opened(
    experiment: str, config: Config, dataset: data.Dataset, console: Console
) -> Iterator[tuple[RunDirectory, Callable[[], None]]]:
    """The run directory, a new one or the one to go on with, for this run alone.

    Args:
      experiment: the program's name.
      config: resolved options.
      dataset: what was found.
      console: where other versions than before are told.

    Yields:
      The directory, and a function that raises `Interrupted` when a signal has come.

    Raises:
      RunDirectoryError: it cannot be written, another process is writing it, or it
        was begun with other data.
    """
    now, new = records.config(experiment, config, dataset), config.resume is None
    if config.resume is None:
        directory = RunDirectory.create(config.out, experiment)
    else:
        directory = RunDirectory(Path(config.resume))
        resume.check_same(directory.path, now, lambda line: say(console, line))
    with directory.locked(new), interrupts.deferred() as check:
        if new:
            directory.write_config(now)
        try:
            yield directory, check
        except Interrupted as interrupt:
            interrupt.command = (
                f"python -m experiments.{experiment} --resume {directory.path}"
            )
            raise


def initial(path: str, seed: int, like: Any) -> Any:
    """The parameters and batch statistics of a finished run, to start another from.

    Args:
      path: its run directory; of one with several seeds, `seed` is taken.
      seed: of the run that starts.
      like: a network's variables, for their shapes.

    Raises:
      RunDirectoryError: there are none, or they are another model's.

    Example:
      >>> from experiments.launch import initial
      >>> initial("nowhere", 0, {})
      Traceback (most recent call last):
      experiments.errors.RunDirectoryError: nowhere holds no trained network: \
it has no model/, which a finished run has. Go on with it by --resume first.
    """
    directory = RunDirectory(Path(path))
    if (directory.path / f"seed-{seed}").is_dir():
        directory = RunDirectory(directory.path / f"seed-{seed}")
    if not (directory.path / "model").is_dir():
        raise RunDirectoryError(
            f"{directory.path} holds no trained network: it has no model/, which a "
            "finished run has. Go on with it by --resume first."
        )
    return directory.load_model("model", like)


def load(config: Config, console: Console) -> data.Dataset:
    """Finds the data set, and says which it is.

    Args:
      config: the options as given.
      console: where to.

    Raises:
      data.DataError: it cannot be had.

    Example:
      >>> from rich.console import Console
      >>> from experiments.config import Config
      >>> from experiments.launch import load
      >>> load(Config(dataset="digits"), Console(quiet=True)).name
      'digits'
    """
    preferred = config.PREFERRED

    def found() -> data.Dataset:
        return data.load(
            config.dataset, config.data_dir, config.train_size, preferred=preferred
        )

    dataset = on_first(found) or found()  # the first downloads what is to be
    fallen_back = config.dataset == "auto" and dataset.name != preferred
    warning = f"NOT {data.TITLES[preferred]}! " if fallen_back else ""
    style = "bold yellow" if fallen_back else None
    say(console, f"{warning}Training on {dataset.source}.", style)
    return dataset


def _failed(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code
