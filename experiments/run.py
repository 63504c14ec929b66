"""One run from options to run directory: what all experiments have in common."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from rich.console import Console

from experiments import data, figures, interrupts, records
from experiments.config import Config, ConfigError, resolve
from experiments.console import Display, print_summary, say
from experiments.optimizers import compose, schedule
from experiments.run_directory import RunDirectory, RunDirectoryError
from experiments.steps import steps_per_epoch
from experiments.train import NonFiniteError, Trainer


def main(experiment: str, config: Config, model: Any) -> int:
    """Runs an experiment; what can go wrong becomes a message and an exit code.

    Args:
      experiment: the program's name.
      config: the options as given.
      model: a Flax Linen module from (images, train) to logits.

    Returns:
      The exit code: 0; 1 after an error; 2 for options or data that do not fit; 130
      after Ctrl-C, 143 after SIGTERM.

    Example:
      >>> import contextlib, sys
      >>> from bopt.models import LeNet5
      >>> from experiments.config import Config
      >>> from experiments.run import main
      >>> with contextlib.redirect_stderr(sys.stdout):
      ...     main("mnist_lenet", Config(epochs=-1), LeNet5())
      error: --epochs is -1; expected a finite number, at least 0.
      2
    """
    return exit_code(lambda: run(experiment, config, model))


def exit_code(program: Callable[[], Any], unit: str = "epochs") -> int:
    """Runs a program; what can go wrong becomes a message and an exit code.

    Args:
      program: a function without arguments.
      unit: what is intact of an interrupted run.

    Returns:
      See `main`.

    Example:
      >>> from experiments.run import exit_code
      >>> exit_code(lambda: None)
      0
    """
    try:
        program()
    except (ConfigError, data.DataError) as error:
        return _failed(f"error: {error}", 2)
    except (RunDirectoryError, NonFiniteError) as error:
        return _failed(f"error: {error}", 1)
    except interrupts.Interrupted as interrupt:
        return _failed(
            f"Stopped by {interrupt}: the run is unfinished; the {unit} finished "
            "before are intact.",
            interrupt.code,
        )
    except KeyboardInterrupt:
        return _failed("Stopped by SIGINT.", 130)
    return 0


def run(experiment: str, config: Config, model: Any) -> RunDirectory:
    """Loads the data, trains, writes the run directory, draws the figures.

    Args:
      experiment: the program's name.
      config: the options as given.
      model: a Flax Linen module from (images, train) to logits.

    Returns:
      The run directory, complete.

    Raises:
      ConfigError, data.DataError, RunDirectoryError, NonFiniteError, Interrupted:
        whatever the cause, the epochs finished before stay readable.

    Example:
      >>> import contextlib, io, tempfile
      >>> from bopt.models import LeNet5
      >>> from experiments.config import Config
      >>> from experiments.run import run
      >>> from experiments.run_directory import read
      >>> config = Config(dataset="digits", train_size=64, epochs=1, figures=False,
      ...                 out=tempfile.mkdtemp())
      >>> with contextlib.redirect_stdout(io.StringIO()):
      ...     directory = run("mnist_lenet", config, LeNet5())
      >>> read(directory.path).summary["steps"]
      2
    """
    start = time.perf_counter()
    resolve(config, config.dataset)  # mistakes are told before the data are sought
    # Paths and reasons are shown as they are, whatever brackets and colons they hold.
    console = Console(markup=False, emoji=False)
    dataset = load(config, console)
    config = resolve(config, dataset.name)
    steps = steps_per_epoch(dataset, config.batch_size)
    directory = RunDirectory.create(config.out, experiment)
    directory.write_config(records.config(experiment, config, dataset))
    with interrupts.deferred() as check:
        trainer = Trainer(model, compose(config, steps), dataset, config)
        summary, row = train(directory, config, dataset, trainer, console, check, start)
        if config.figures:
            figures.draw([directory.path], directory.path / "figures")
    title = f"{config.optimizer} on {dataset.title}, {summary['epochs']} epochs"
    print_summary(console, summary, row, title)
    say(console, f"Written to {directory.path}")
    return directory


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
      >>> from experiments.run import load
      >>> load(Config(dataset="digits"), Console(quiet=True)).name
      'digits'
    """
    preferred = config.PREFERRED
    dataset = data.load(
        config.dataset, config.data_dir, config.train_size, preferred=preferred
    )
    fallen_back = config.dataset == "auto" and dataset.name != preferred
    warning = f"NOT {data.TITLES[preferred]}! " if fallen_back else ""
    style = "bold yellow" if fallen_back else None
    say(console, f"{warning}Training on {dataset.source}.", style)
    return dataset


def train(
    directory: RunDirectory,
    config: Config,
    dataset: data.Dataset,
    trainer: Trainer,
    console: Console,
    check: Callable[[], None],
    start: float,
    more: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All epochs of a run, into its directory.

    Args:
      directory: which holds the configuration already.
      config: resolved options.
      dataset: the images.
      trainer: of one network, untrained.
      console: where the progress is shown.
      check: raises `Interrupted` when a signal has come.
      start: when the run began, by `time.perf_counter`.
      more: what the summary holds besides.

    Returns:
      The summary, and the last row of the metrics.

    Raises:
      RunDirectoryError, NonFiniteError, Interrupted: the epochs before are intact.
    """
    epochs = config.epochs or 0
    steps = trainer.steps_per_epoch
    rate = schedule(config, steps)
    training_seconds = 0.0

    def record(epoch: int, objectives=None, weights=None):
        """Evaluates, and writes the epoch's row and the summary so far."""
        check()
        scores = trainer.evaluate()
        # The steps' own check sees the parameters before each step, never the last.
        if epoch and not np.isfinite(scores["train"].cross_entropy):
            raise NonFiniteError("The cross entropy is", epoch, steps, steps)
        sparsity = records.sparsity(jax.device_get(trainer.params))
        if objectives is None:
            regularizer, complexity = trainer.penalties()
            objectives = [scores["train"].cross_entropy + regularizer, complexity]
        step = epoch * steps
        row = records.epoch(
            epoch=epoch,
            step=step,
            seconds=time.perf_counter() - start,
            learning_rate=np.asarray(rate(step - 1)).item() if epoch else None,
            objectives=objectives,
            weights=weights,
            scores=scores,
            sparsity=sparsity,
        )
        directory.append_metrics(row)
        summary = {**(more or {})} | records.summary(
            options=config,
            dataset=dataset,
            row=row,
            sparsity=sparsity,
            seconds_compile=trainer.seconds_compile,
            steps_per_second=step / training_seconds if epoch else None,
            finished=epoch == epochs,
        )
        if summary["finished"]:
            directory.save_model(trainer.variables)
        directory.write_summary(summary)
        display.epoch(row, summary["steps_per_second"], epochs - epoch)
        return summary, row

    display = Display(console, epochs, steps)
    with display.shown():
        summary, row = record(0)
        for epoch in range(1, epochs + 1):
            for progress in trainer.epoch(epoch):
                check()
                training_seconds += progress.seconds
                done = (epoch - 1) * steps + progress.step
                display.chunk(progress, done / training_seconds)
            summary, row = record(epoch, progress.objectives, progress.weights)
    return summary, row


def _failed(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code
