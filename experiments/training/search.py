"""A series of trainings whose weights a search chooses, many as one program."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from rich.console import Console

from bopt.fronts import Batch, Front, Point
from experiments.data import Dataset
from experiments.devices import Network, data_devices
from experiments.errors import Interrupted
from experiments.front_options import FrontConfig, make_search
from experiments.runs import records
from experiments.runs.checkpoints import Checkpoints, remove
from experiments.runs.console import progress_bar, say
from experiments.runs.directory import RunDirectory, read_front
from experiments.training.optimizers import compose
from experiments.training.step import make_penalties, steps_per_epoch
from experiments.training.trainer import Trainer

CORRECTOR_RATE = 0.3  # of the learning rate: steps below the pruning threshold
MEMORY = 0.8  # share of an accelerator's memory that a program may plan with


class Job(NamedTuple):
    """A training to do.

    Attributes:
      point: its weights, seed, name and level.
      start: the name of the network that it starts from; None: from scratch.

    Example:
      >>> from bopt.fronts import Point
      >>> from experiments.training.search import Job
      >>> Job(Point((0.9, 0.1), (0.0, 0.0), "1-1.0"), start="0-1.0").start
      '0-1.0'
    """

    point: Point
    start: str | None


class Series:
    """The trainings of a search, written into a run directory as they end.

    Args:
      directory: where to; the points of an earlier process are there already.
      config: resolved options.
      dataset: the images.
      console: where the progress is shown.
      check: raises `experiments.interrupts.Interrupted` when a signal has come.

    Attributes:
      front: the points so far.

    Example:
      >>> import tempfile
      >>> from rich.console import Console
      >>> from experiments import data
      >>> from experiments.front_options import LenetFront, resolve_front
      >>> from experiments.runs.directory import RunDirectory
      >>> from experiments.training.search import Series
      >>> config = resolve_front(LenetFront(budget=2, epochs=1), "digits")
      >>> digits = data.load("digits", train_size=64)
      >>> directory = RunDirectory.create(tempfile.mkdtemp(), "pareto_front")
      >>> quiet = Console(quiet=True)
      >>> series = Series(directory, config, digits, quiet, lambda: None)
      >>> series.run()
      'all weights of the list have been tried'
      >>> len(series.front)
      2
    """

    def __init__(
        self,
        directory: RunDirectory,
        config: FrontConfig,
        dataset: Dataset,
        console: Console,
        check: Callable[[], None],
    ):
        self.front = read_front(directory.path)
        self._directory, self._config, self._dataset = directory, config, dataset
        self._console, self._check = console, check
        self._described = records.config("pareto_front", config, dataset)
        self._trainers: dict[bool, Trainer] = {}  # warm start or not -> trainer

    def run(self) -> str:
        """Trains what the search asks for, until it, the budget or the levels end.

        What the directory holds already is not trained again. A level is searched
        from the points of the levels before it alone, so an interrupted one goes on
        with the same weights.

        Returns:
          Why the search ended.

        Raises:
          RunDirectoryError, Interrupted: the points before are intact.
        """
        config = self._config
        search, key = make_search(config), jax.random.key(config.seed)
        assert config.budget is not None
        for point in self.front:  # killed before it removed them
            remove(self._directory.path / "checkpoints" / point.name)
        level = 0
        while level <= config.levels:
            before = Front(point for point in self.front if point.level < level)
            batch = search(before, jax.random.fold_in(key, level))
            if not batch.weights:
                return batch.reason
            left = config.budget - len(before) // config.seeds
            if left < 1:
                return f"all {config.budget} weights of the budget are spent"
            self._train(self._jobs(batch, left, level))
            level += 1
        return f"all {config.levels} levels are done"

    def _jobs(self, batch: Batch, number: int, level: int) -> list[Job]:
        """The first trainings of a batch, with each seed, that have not been done."""
        config = self._config
        starts = batch.warm_starts or (None,) * len(batch.weights)
        names = {(point.weights, point.seed): point.name for point in self.front}
        jobs = [
            Job(
                Point(weights, (math.nan,) * 2, f"{level}-{rank}.{seed}", level, seed),
                start and names[start, seed],
            )
            for rank, (weights, start) in enumerate(
                list(zip(batch.weights, starts, strict=True))[:number], 1
            )
            for seed in range(config.seed, config.seed + config.seeds)
        ]
        done = {point.name for point in self.front}
        return [job for job in jobs if job.point.name not in done]

    def _train(self, jobs: list[Job]) -> None:
        """Trains them, as many at once as a program takes."""
        while jobs:
            warm = jobs[0].start is not None
            if warm not in self._trainers:
                self._trainers[warm] = self._make_trainer(len(jobs), warm)
            trainer = self._trainers[warm]
            now, jobs = jobs[: trainer.parallel], jobs[trainer.parallel :]
            trainer.start([Network(j.point.seed or 0, j.point.weights) for j in now])
            path = self._directory.path / "checkpoints" / now[0].point.name
            with Checkpoints(path, self._described, self._console) as checkpoints:
                epochs, seconds = self._train_epochs(trainer, now, warm, checkpoints)
            scores = trainer.evaluate(("validation", "test"))
            trained = []
            for row, (job, own) in enumerate(
                zip(now, trainer.networks(), strict=False)
            ):
                own_scores = {split: scores[split][row] for split in scores}
                point = job.point._replace(seconds=seconds / len(now), epochs=epochs)
                trained.append(self._measured(point, own, own_scores))
                self._directory.save_model(own, f"networks/{point.name}")
            # After the parameters: no point without them.
            self.front = self.front.merge(Front(trained))
            self._directory.append_points(Front(trained), self.front)
            remove(path)
            for point in trained:
                say(self._console, _line(point))

    def _load(self, name: str | None, trainer: Trainer) -> Any:
        return self._directory.load_model(f"networks/{name}", trainer.networks()[0])

    def _make_trainer(self, networks: int, warm: bool) -> Trainer:
        """A program for so many networks, or as many as there is room for."""
        config = self._config
        if warm:
            config = dataclasses.replace(
                config,
                epochs=config.corrector_epochs,
                learning_rate=(config.learning_rate or 0.0) * CORRECTOR_RATE,
            )
        batch_devices = data_devices(config.devices, config.batch_size)
        devices = jax.device_count() // batch_devices
        on_cpu = jax.default_backend() == "cpu"
        parallel = config.parallel or (devices if on_cpu else networks)
        steps = steps_per_epoch(self._dataset, config.batch_size)
        optimizer = functools.partial(compose, config, steps)
        # Over many networks, the library's convolution is a grouped one, and slow.
        model = config.module("patches")
        while True:
            trainer = Trainer(model, optimizer, self._dataset, config, parallel)
            room = (jax.local_devices()[0].memory_stats() or {}).get(
                "bytes_limit", math.inf
            )
            fits = (trainer.memory or 0) <= MEMORY * room
            if fits or config.parallel or parallel <= devices:
                return trainer
            parallel //= 2

    def _train_epochs(
        self, trainer: Trainer, jobs: list[Job], warm: bool, checkpoints: Checkpoints
    ) -> tuple[int, float]:
        """Trains them to the end; returns for how many epochs and seconds."""
        config, points = self._config, [job.point for job in jobs]
        epochs = (config.corrector_epochs if warm else config.epochs) or 0
        before = points[0].level * epochs if warm else 0  # another order of the images
        steps, step, seconds = trainer.steps_per_epoch, 0, 0.0
        batch = [point.name for point in points]
        saved = checkpoints.restore(trainer.carry)
        if saved is not None and saved.recorded["batch"] == batch:
            trainer.carry, step = saved.carry, saved.step
            seconds = saved.recorded["seconds"]
        elif warm:
            trainer.load([self._load(job.start, trainer) for job in jobs])

        def save() -> None:
            recorded = {"batch": batch, "seconds": time.perf_counter() - start}
            checkpoints.save(step, trainer.carry, recorded)

        start = time.perf_counter() - seconds
        names = " to ".join(dict.fromkeys((batch[0], batch[-1])))
        text = f"training {names}, epoch {{task.description}}"
        with progress_bar(self._console, text) as bar:
            task = bar.add_task("", total=epochs * steps)
            try:
                for epoch in range(step // steps, epochs):
                    done = step - epoch * steps
                    for progress in trainer.epoch(before + epoch + 1, done):
                        step = epoch * steps + progress.step
                        description = f"{epoch + 1}/{epochs}"
                        bar.update(task, completed=step, description=description)
                        self._check()
                    if (epoch + 1) % config.checkpoint_every == 0:
                        save()
            except Interrupted:
                save()
                checkpoints.wait()
                raise
        return epochs, time.perf_counter() - start

    def _measured(self, point: Point, variables: Any, scores: dict[str, Any]) -> Point:
        params = {"params": variables["params"]}
        report = records.sparsity(params).report
        _, complexity = make_penalties(self._config)
        return point._replace(
            objectives=(scores["validation"].cross_entropy, float(complexity(params))),
            nonzero_dense=report.dense.nonzeros,
            nonzero_total=report.total.nonzeros,
            validation_accuracy=scores["validation"].accuracy,
            test_accuracy=scores["test"].accuracy,
            test_cross_entropy=scores["test"].cross_entropy,
        )


def _line(point: Point) -> str:
    return (
        f"{point.name:>6}  weight of l1 {point.weights[1]:.3g}  cross entropy "
        f"{point.objectives[0]:.4f}  l1 {point.objectives[1]:,.1f}  validation "
        f"{point.validation_accuracy:.4f}  nonzeros {point.nonzero_dense:,}  "
        f"{point.seconds:.1f} s"
    )
