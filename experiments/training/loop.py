"""All epochs of a run, into its directory: what is recorded, saved and shown."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console

from experiments.config import Config
from experiments.data import Dataset
from experiments.errors import Interrupted
from experiments.runs import records
from experiments.runs.checkpoints import Checkpoints
from experiments.runs.console import Display
from experiments.runs.directory import RunDirectory
from experiments.runs.seeds import mean
from experiments.training.optimizers import schedule
from experiments.training.progress import Progress, not_finite
from experiments.training.step import make_penalties
from experiments.training.trainer import Trainer


class Training:
    """The epochs of one network, or of one a seed that train as one program.

    Args:
      directory: of the run, which holds the configuration already.
      config: resolved options.
      dataset: the images.
      trainer: untrained, or with the parameters to start from.
      checkpoints: of this training; where there is one, it goes on from there.
      console: where the progress is shown.
      check: raises `Interrupted` when a signal has come.
      start: when the run began, by `time.perf_counter`.
      more: what the summary holds besides, and instead.
    """

    def __init__(
        self,
        directory: RunDirectory,
        config: Config,
        dataset: Dataset,
        trainer: Trainer,
        checkpoints: Checkpoints,
        console: Console,
        check: Callable[[], None],
        start: float,
        more: dict[str, Any] | None = None,
    ):
        self._config, self._dataset, self._more = config, dataset, more or {}
        self._trainer, self._checkpoints, self._check = trainer, checkpoints, check
        self._epochs, self._steps = config.epochs or 0, trainer.steps_per_epoch
        self._display = Display(console, self._epochs, self._steps)
        self._start, self._step, self._training_seconds = start, 0, 0.0
        self._directory, self._seeds = directory, by_seed(directory, config)
        self._rows: list[list[dict[str, Any]]] = []  # epoch -> a row for each seed
        self._summaries: list[dict[str, Any]] = []

    def run(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Trains to the end.

        Returns:
          The summary, and the last row of the metrics; of several seeds, the means.

        Raises:
          RunDirectoryError, NonFiniteError: the checkpoints before are intact.
          Interrupted: all that was done is saved.
        """
        self._resume()
        with self._display.shown():
            try:
                if not self._rows:
                    self._record(None)
                    self._save()
                self._train()
            except Interrupted:
                self._save()
                self._checkpoints.wait()
                raise
        return self._summary(), mean(self._rows[-1])

    def _resume(self) -> None:
        saved = self._checkpoints.restore(self._trainer.carry)
        if saved is not None:
            self._trainer.carry, self._step = saved.carry, saved.step
            self._rows = saved.recorded["rows"]
            self._summaries = saved.recorded["summaries"]
            self._training_seconds = saved.recorded["training_seconds"]
            self._start -= self._rows[-1][0]["seconds"]
        # What was written after that checkpoint will be written again.
        for number, own in enumerate(self._seeds.values()):
            own.write_metrics([rows[number] for rows in self._rows])
        if len(self._seeds) > 1:
            self._directory.write_metrics([mean(rows) for rows in self._rows])

    def _train(self) -> None:
        for epoch in range(len(self._rows), self._epochs + 1):
            self._check()
            before, progress = (epoch - 1) * self._steps, None
            for progress in self._trainer.epoch(epoch, self._step - before):
                self._step = before + progress.step
                self._training_seconds += progress.seconds
                self._display.chunk(
                    self._shown(progress), self._step / self._training_seconds
                )
                if progress.step < self._steps:  # else the epoch is recorded first
                    self._check()
            self._record(progress)
            if epoch == self._epochs or epoch % self._config.checkpoint_every == 0:
                self._save()

    def _record(self, progress: Progress | None) -> None:
        """Evaluates, and writes the epoch's rows and the summaries so far; progress is
        None before training."""
        epoch = progress.epoch if progress else 0
        scores, networks = self._trainer.evaluate(), self._trainer.networks()
        rate, speed = None, None
        if progress is not None:
            at = schedule(self._config, self._steps)(self._step - 1)
            rate, speed = np.asarray(at).item(), self._step / self._training_seconds
        rows, summaries = [], []
        for number, (seed, directory) in enumerate(self._seeds.items()):
            own = {split: self._of(number, score) for split, score in scores.items()}
            # The steps' own check sees the parameters before each step, never the last.
            lost = not np.isfinite(own["train"].cross_entropy)
            if epoch and lost and not self._trainer.many:
                steps = self._steps
                raise not_finite("The cross entropy is", epoch, steps, steps)
            params = {"params": networks[number]["params"]}
            sparsity = records.sparsity(params)
            if progress is None:
                regularizer, complexity = make_penalties(self._config)
                loss = own["train"].cross_entropy + float(regularizer(params))
                objectives, weights = [loss, float(complexity(params))], None
            else:
                objectives = self._of(number, progress.objectives)
                weights = self._of(number, progress.weights)
            row = records.epoch(
                epoch=epoch,
                step=self._step,
                seconds=time.perf_counter() - self._start,
                learning_rate=rate,
                objectives=objectives,
                weights=weights,
                scores=own,
                sparsity=sparsity,
            )
            directory.append_metrics(row)
            summary = records.summary(
                options=self._config,
                dataset=self._dataset,
                row=row,
                sparsity=sparsity,
                seconds_compile=self._trainer.seconds_compile,
                steps_per_second=speed,
                finished=epoch == self._epochs,
            )
            if summary["finished"]:
                directory.save_model(networks[number])
            summary |= {"seed": seed} | self._more
            directory.write_summary(summary)
            rows.append(row)
            summaries.append(summary)
        self._rows.append(rows)
        self._summaries = summaries
        if len(self._seeds) > 1:
            self._directory.append_metrics(mean(rows))
            self._directory.write_summary(self._summary())
        self._display.epoch(mean(rows), speed, self._epochs - epoch)

    def _summary(self) -> dict[str, Any]:
        if len(self._seeds) == 1:
            return self._summaries[0]
        rest = [{k: v for k, v in s.items() if k != "seed"} for s in self._summaries]
        return {"seeds": list(self._seeds), **mean(rest)}

    def _save(self) -> None:
        recorded = {
            "rows": self._rows,
            "summaries": self._summaries,
            "training_seconds": self._training_seconds,
        }
        score = mean(self._rows[-1])["validation_accuracy"]
        self._checkpoints.save(self._step, self._trainer.carry, recorded, score)

    def _of(self, number: int, values: Any) -> Any:
        """What is a network's own of the trainer's figures."""
        if not self._trainer.many:
            return values
        if isinstance(values, dict):  # with groups of layers
            return {group: own[number] for group, own in values.items()}
        return values[number]

    def _shown(self, progress: Progress) -> Progress:
        """The means over the seeds."""
        rows = [
            {
                "objectives": self._of(number, progress.objectives),
                "weights": self._of(number, progress.weights),
            }
            for number in range(len(self._seeds))
        ]
        means = mean(rows)
        return progress._replace(
            objectives=means["objectives"], weights=means["weights"]
        )


def by_seed(directory: RunDirectory, config: Config) -> dict[int, RunDirectory]:
    """Seed -> its run directory: that of the run, or with several one in it for each.

    Example:
      >>> from pathlib import Path
      >>> from experiments.config import Config
      >>> from experiments.runs.directory import RunDirectory
      >>> from experiments.training.loop import by_seed
      >>> runs = by_seed(RunDirectory(Path("runs/a")), Config(seed=7, seeds=2))
      >>> {seed: str(own.path) for seed, own in runs.items()}
      {7: 'runs/a/seed-7', 8: 'runs/a/seed-8'}
    """
    if config.seeds == 1:
        return {config.seed: directory}
    return {
        seed: RunDirectory(directory.path / f"seed-{seed}")
        for seed in range(config.seed, config.seed + config.seeds)
    }
