"""Loop: all epochs of a run, recorded, saved and shown."""

import contextlib
import time
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

import bopt
from experiments.config.options import Config
from experiments.errors import Interrupted, NonFiniteError, RunDirectoryError
from experiments.runs import reading, records, schema
from experiments.runs.checkpoints import Checkpoints
from experiments.runs.console import Display
from experiments.runs.directory import RunDirectory
from experiments.training.optimizers import schedule
from experiments.training.session import Session
from experiments.training.trainer import Progress, Trainer
from experiments.training.units import record


class Recorded(TypedDict):
    """Record of a run that a checkpoint holds beside the state."""

    rows: list[list[dict[str, Any]]]  # epoch -> seed -> row of metrics.jsonl
    summaries: list[dict[str, Any]]  # per seed
    training_seconds: float


class Loop:
    """The epochs of one network per seed, trained as one program.

    Args:
      session: the run directory already has its config.json.
      config: resolved options.
      trainer: untrained, or with the parameters to start from.
      checkpoints: the loop resumes from the newest, if there is one.
      more: further keys of summary.json.
      units: units of the network, to be counted there.
    """

    def __init__(
        self,
        session: Session,
        config: Config,
        trainer: Trainer,
        checkpoints: Checkpoints,
        more: dict[str, Any] | None = None,
        units: bopt.units.Units | None = None,
    ):
        self._session, self._config, self._more = session, config, more or {}
        self._units = units
        self._trainer, self._checkpoints = trainer, checkpoints
        self._epochs, self._steps = (
            config.optimizer.epochs or 0,
            trainer.steps_per_epoch,
        )
        self._directory = session.directory
        self._seeds = by_seed(session.directory, config)
        self._start, self._step, self._training_seconds = session.start, 0, 0.0
        self._rows: list[list[dict[str, Any]]] = []  # epoch -> seed -> row
        self._summaries: list[dict[str, Any]] = []  # per seed
        params = {"params": trainer.networks()[0]["params"]}
        entries = records.sparsity(params).report.dense.entries
        self._display = Display(session.console, self._epochs, self._steps, entries)

    def run(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Train to the end; checkpoints, metrics and parameters are then on disk.

        Returns:
          The summary and the last row of the metrics; means over several seeds.
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
        self._checkpoints.wait()
        variables = self._trainer.networks()
        for own, network in zip(self._seeds.values(), variables, strict=True):
            own.save_model(network)
        return self._summary(), records.mean(self._rows[-1])

    def finish(self) -> None:
        """Mark the run as finished: its very last write."""
        for summary in self._summaries:
            summary["finished"] = True
        self._write_summaries()

    def _resume(self) -> None:
        saved = self._checkpoints.restore(self._trainer.state)
        if saved is not None:
            name = f"checkpoint {saved.step} of {self._directory.path}"
            reading.check(saved.recorded, Recorded, name)
            for row in (row for rows in saved.recorded["rows"] for row in rows):
                reading.check(row, schema.Row, name)
            self._trainer.state, self._step = saved.carry, saved.step
            self._rows = saved.recorded["rows"]
            self._summaries = saved.recorded["summaries"]
            self._training_seconds = saved.recorded["training_seconds"]
            self._start -= self._rows[-1][0]["seconds"]
            self._write_summaries()
        elif self._was_finished():
            raise RunDirectoryError(
                f"{self._directory.path} is finished, but files are missing, and there "
                "is no checkpoint to make them from. Restore them, or start a new run."
            )
        # Rows written after that checkpoint will be written again.
        for number, own in enumerate(self._seeds.values()):
            own.write_metrics([rows[number] for rows in self._rows])
        if len(self._seeds) > 1:
            means = [records.mean(rows) for rows in self._rows]
            self._directory.write_metrics(means)

    def _was_finished(self) -> bool:
        with contextlib.suppress(RunDirectoryError):
            return bool(reading.read_summary(self._directory.path).get("finished"))
        return False

    def _train(self) -> None:
        for epoch in range(len(self._rows), self._epochs + 1):
            self._session.check()
            before, progress = (epoch - 1) * self._steps, None
            for progress in self._trainer.epoch(epoch, self._step - before):
                self._step = before + progress.step
                self._training_seconds += progress.seconds
                if min(progress.bad_steps) >= 0:  # no network is left
                    last = max(progress.bad_steps)
                    self._raise("The objectives are", epoch, last + 1)
                self._show(progress)
                if progress.step < self._steps:  # otherwise record the epoch first
                    self._session.check()
            self._record(progress)
            every = self._config.run.checkpoint_every
            if epoch == self._epochs or epoch % every == 0:
                self._save()

    def _show(self, progress: Progress) -> None:
        pairs = zip(progress.objectives, progress.weights, strict=True)
        means = records.mean([{"objectives": o, "weights": w} for o, w in pairs])
        self._display.chunk(
            progress.epoch,
            progress.step,
            objectives=means["objectives"],
            weights=means["weights"],
            steps_per_second=self._step / self._training_seconds,
        )

    def _record(self, progress: Progress | None) -> None:
        """Evaluate, and write the epoch's rows and summaries; None before training."""
        epoch, rate, speed = 0, None, None
        if progress is not None:
            epoch = progress.epoch
            at = schedule(self._config.optimizer, self._steps)(self._step - 1)
            rate, speed = np.asarray(at).item(), self._step / self._training_seconds
        scores, networks = self._trainer.evaluate(), self._trainer.networks()
        # The steps check the parameters before each step, never those after the last.
        if epoch and not any(np.isfinite(own["train"].cross_entropy) for own in scores):
            self._raise("The cross entropy is", epoch, self._steps)
        rows, summaries = [], []
        for number, (seed, directory) in enumerate(self._seeds.items()):
            params = {"params": networks[number]["params"]}
            sparsity = records.sparsity(params)
            if progress is None:
                penalty, complexity = self._trainer.penalties
                loss = scores[number]["train"].cross_entropy + float(penalty(params))
                objectives, weights = [loss, float(complexity(params))], None
                stationarity = None
            else:
                objectives = progress.objectives[number]
                weights = progress.weights[number]
                stationarity = progress.stationarity[number]
            row = records.epoch(
                epoch=epoch,
                step=self._step,
                seconds=time.perf_counter() - self._start,
                learning_rate=rate,
                objectives=objectives,
                weights=weights,
                stationarity=stationarity,
                scores=scores[number],
                sparsity=sparsity,
            )
            directory.append_metrics(row)
            summary = records.summary(
                optimizer=self._config.optimizer.optimizer,
                dataset=self._session.dataset,
                row=row,
                sparsity=sparsity,
                seconds_compile=self._trainer.seconds_compile,
                steps_per_second=speed,
                finished=False,
            )
            rows.append(row)
            counted = record(self._units, params) if self._units else {}
            summaries.append(summary | {"seed": seed} | counted | self._more)
        self._rows.append(rows)
        self._summaries = summaries
        if len(self._seeds) > 1:
            self._directory.append_metrics(records.mean(rows))
        self._write_summaries()
        self._display.epoch(records.mean(rows), speed, self._epochs - epoch)

    def _raise(self, losses: str, epoch: int, step: int) -> None:
        raise NonFiniteError(
            f"{losses} not finite in epoch {epoch}, step {step} of {self._steps}; "
            "expected finite numbers. Lower --learning-rate, or change --normalize or "
            "--optimizer."
        )

    def _write_summaries(self) -> None:
        pairs = zip(self._seeds.values(), self._summaries, strict=True)
        for directory, summary in pairs:
            directory.write_summary(summary)
        if len(self._seeds) > 1:
            self._directory.write_summary(self._summary())

    def _summary(self) -> dict[str, Any]:
        if len(self._seeds) == 1:
            return self._summaries[0]
        rest = [{k: v for k, v in s.items() if k != "seed"} for s in self._summaries]
        return {"seeds": list(self._seeds), **records.mean(rest)}

    def _save(self) -> None:
        recorded = {
            "rows": self._rows,
            "summaries": self._summaries,
            "training_seconds": self._training_seconds,
        }
        score = records.mean(self._rows[-1])["validation_accuracy"]
        self._checkpoints.save(self._step, self._trainer.state, recorded, score)


def by_seed(directory: RunDirectory, config: Config) -> dict[int, RunDirectory]:
    """Return seed -> run directory: the run's own, or one inside it per seed."""
    first, number = config.run.seed, config.run.seeds
    if number == 1:
        return {first: directory}
    return {
        seed: RunDirectory(directory.path / f"seed-{seed}")
        for seed in range(first, first + number)
    }


def initial(path: str, seed: int, like: Any) -> Any:
    """Load the variables of a finished run, of several seeds those of `seed`."""
    return trained(path, seed).load_model("model", like)


def trained(path: str, seed: int) -> RunDirectory:
    """Return the directory of a finished run, of several seeds that of `seed`."""
    directory = RunDirectory(Path(path))
    if (directory.path / f"seed-{seed}").is_dir():
        directory = RunDirectory(directory.path / f"seed-{seed}")
    elif found := sorted(own.name for own in directory.path.glob("seed-*")):
        raise RunDirectoryError(
            f"{path} has no network of seed {seed}; expected one of "
            f"{', '.join(found)}. Choose --seed and --seeds among them, or name one of "
            "these folders."
        )
    if not (directory.path / "model").is_dir():
        raise RunDirectoryError(
            f"{directory.path} holds no trained network; expected the folder model/ of "
            "a finished run. Finish it first with --resume."
        )
    return directory
