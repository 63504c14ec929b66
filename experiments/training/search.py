"""Search: a series of trainings whose weights a search of the front chooses."""

import functools
import math
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import jax
import numpy as np

import bopt
from bopt import fronts
from bopt.fronts import Batch, Front, Point
from experiments.config import BASELINES, FrontConfig, flat, updated
from experiments.config.defaults import TO_SPARSITY
from experiments.config.options import Config
from experiments.devices import data_devices
from experiments.errors import Interrupted
from experiments.runs import records
from experiments.runs.checkpoints import Checkpoints
from experiments.runs.console import progress_bar, say
from experiments.runs.reading import read_front
from experiments.training.optimizers import compose
from experiments.training.session import Session
from experiments.training.step import make_penalties, steps_per_epoch
from experiments.training.trainer import Trainer

CORRECTOR_RATE = 0.3  # of the learning rate: steps below the pruning threshold
MEMORY = 0.8  # share of an accelerator's memory that a program may plan with


class Job(NamedTuple):
    """A training to do, and the name of the network that it starts from."""

    name: str
    weights: tuple[float, float]
    level: int
    seed: int
    start: str | None


def make_search(config: FrontConfig) -> fronts.Search:
    """Return the search of resolved options, see `bopt.fronts`."""
    options = config.search
    smallest, largest, budget = options.smallest, options.largest, options.budget
    assert smallest is not None and largest is not None and budget is not None
    if config.pruning.pruning in TO_SPARSITY:  # the shares kept and pruned
        shares = np.geomspace(largest, smallest, budget).tolist()
        pairs = [(share, 1 - share) for share in shares]
        if options.search == "grid":
            return fronts.grid(pairs)
        return fronts.bisection((pairs[0], pairs[-1]))
    summed = config.optimizer.optimizer in BASELINES
    if options.released and options.search != "grid":
        rule = cast(Literal["bisection", "dichotomic", "stochastic"], options.search)
        return fronts.released(rule, budget, config.run.seed)
    match options.search:
        case "grid" if options.grid == "original":
            return fronts.grid(fronts.ORIGINAL_WEIGHTS)
        case "grid":
            return fronts.grid(fronts.geometric(budget, smallest, largest))
        case "bisection" if summed:
            ends = ((1.0, 0.0), (1 - largest, largest))
            return fronts.bisection(ends, smallest=smallest)
        case "bisection":
            return fronts.bisection(((1.0, 0.0), (0.9, 0.1)), spacing="arithmetic")
        case "dichotomic":
            return fronts.dichotomic()
        case "stochastic":
            return fronts.stochastic_dichotomic(smallest=smallest)
        case "bisection_dichotomic":
            return fronts.bisection_dichotomic(smallest=smallest)
    start = smallest**0.65 * largest**0.35  # 1.5e-4 between 3e-5 and 3e-3
    return fronts.continuation(budget, start, smallest, largest)


class FrontSearch:
    """The trainings of a search, written into a run directory as they end.

    `make_model` takes a convolution method, see `bopt.models.Conv`; `penalty` is
    objective 1 of the trainings instead of the options'.
    """

    def __init__(
        self,
        session: Session,
        config: FrontConfig,
        make_model: Callable[[str], Any],
        penalty: Callable[[Any], Any] | None = None,
    ):
        self.front = read_front(session.directory.path)
        self._session, self._config = session, config
        self._training, self._make_model = config.training(), make_model
        self._penalty = penalty
        options = flat(self._training) | flat(config)
        self._record = records.config("pareto_front", options, session.dataset)
        self._trainers: dict[bool, Trainer] = {}  # warm start -> trainer

    def run(self) -> str:
        """Train the search's proposals until it, the budget or the levels end.

        Points that the directory holds are not trained again. A level is searched from
        the points of earlier levels alone, so an interrupted one resumes with the same
        weights. Where it exceeds the budget, the widest gaps are trained, or all with
        --finish-level.

        Returns:
          The reason why the search ended.
        """
        options, seeds = self._config.search, self._config.run.seeds
        search = make_search(self._config)
        key = jax.random.key(self._config.run.seed)
        assert options.budget is not None
        if self.front:  # a process killed between two files left them different
            self._session.directory.append_points(Front([]), self.front)
        for point in self.front:  # left by a process killed before it removed them
            self._session.directory.remove(f"checkpoints/{point.name}")
        level = 0
        while level <= options.levels:
            before = Front(
                point for point in self.front if point.metrics["level"] < level
            )
            batch = search(before, jax.random.fold_in(key, level))
            if not batch.weights:
                return batch.reason
            left = options.budget - len(before) // seeds
            if left < 1:
                return f"all {options.budget} weights of the budget are spent"
            if not options.finish_level:
                batch = batch.widest(left, before)
            self._train(self._jobs(batch, level))
            level += 1
        return f"all {options.levels} levels are done"

    def _jobs(self, batch: Batch, level: int) -> list[Job]:
        """Return the trainings of a batch, with every seed, still to be done."""
        first = self._config.run.seed
        starts = batch.warm_starts or (None,) * len(batch.weights)
        names = {(p.weights, p.metrics["seed"]): p.name for p in self.front}
        pairs = zip(batch.weights, starts, strict=True)
        jobs = [
            Job(
                f"{level}-{rank}.{seed}",
                weights,
                level,
                seed,
                start and names[start, seed],
            )
            for rank, (weights, start) in enumerate(pairs, 1)
            for seed in range(first, first + self._config.run.seeds)
        ]
        done = {point.name for point in self.front}
        return [job for job in jobs if job.name not in done]

    def _train(self, jobs: list[Job]) -> None:
        """Train jobs, as many at once as one program takes."""
        console, directory = self._session.console, self._session.directory
        while jobs:
            warm = jobs[0].start is not None
            if warm not in self._trainers:
                self._trainers[warm] = self._make_trainer(jobs, warm)
            trainer = self._trainers[warm]
            now, jobs = jobs[: trainer.capacity], jobs[trainer.capacity :]
            trainer.start(*_seeds_and_weights(now))
            name = f"checkpoints/{now[0].name}"
            with Checkpoints(
                directory.path / name, self._record, console
            ) as checkpoints:
                epochs, seconds = self._train_epochs(trainer, now, warm, checkpoints)
            scores = trainer.evaluate(("validation", "test"))
            trained = []
            for job, network, own in zip(now, trainer.networks(), scores, strict=True):
                spent = {"epochs": epochs, "seconds": seconds / len(now)}
                trained.append(self._measured(job, network, own, spent))
                directory.save_model(network, f"networks/{job.name}")
            # After the parameters, so that no point is without them.
            self.front = self.front.merge(Front(trained))
            directory.append_points(Front(trained), self.front)
            directory.remove(name)
            for point in trained:
                say(console, self._line(point))

    def _options(self, warm: bool) -> Config:
        """Return the options of a training; warm starts take fewer, smaller steps."""
        if not warm:
            return self._training
        rate = (self._training.optimizer.learning_rate or 0.0) * CORRECTOR_RATE
        epochs = self._config.search.corrector_epochs
        return updated(self._training, epochs=epochs, learning_rate=rate)

    def _make_trainer(self, jobs: list[Job], warm: bool) -> Trainer:
        """Compile a program for the jobs, or for as many as fit in memory."""
        config, dataset = self._options(warm), self._session.dataset
        batch_size, given = config.optimizer.batch_size, self._config.search.parallel
        devices = jax.device_count() // data_devices(config.devices.devices, batch_size)
        on_cpu = jax.default_backend() == "cpu"
        parallel = given or (devices if on_cpu else len(jobs))
        steps = steps_per_epoch(dataset, batch_size)
        optimizer = functools.partial(compose, config, steps)
        while True:
            # Over many networks, the library's convolution is a grouped one, and slow.
            model = self._make_model("auto" if parallel == 1 else "patches")
            seeds, weights = _seeds_and_weights((jobs * parallel)[:parallel])
            check = functools.partial(self._session.check, alone=True)
            trainer = Trainer(
                *(model, optimizer, dataset, config, seeds, weights),
                check=check,
                complexity=self._penalty,
            )
            statistics = jax.local_devices()[0].memory_stats() or {}
            room = statistics.get("bytes_limit", math.inf)
            fits = (trainer.memory or 0) <= MEMORY * room
            if fits or given or parallel <= devices:
                return trainer
            parallel //= 2

    def _train_epochs(
        self, trainer: Trainer, jobs: list[Job], warm: bool, checkpoints: Checkpoints
    ) -> tuple[int, float]:
        """Train to the end, and return the numbers of epochs and seconds."""
        options, level = self._options(warm), jobs[0].level
        epochs = options.optimizer.epochs or 0
        before = level * epochs if warm else 0  # for another order of the images
        steps, step, seconds = trainer.steps_per_epoch, 0, 0.0
        batch = [job.name for job in jobs]
        # Other devices, or another --parallel, train other networks at once.
        same = {"batch": batch}
        saved = checkpoints.restore(trainer.state, same)
        if saved is not None:
            trainer.state, step = saved.carry, saved.step
            seconds = saved.recorded["seconds"]
        elif warm:
            like, directory = trainer.networks()[0], self._session.directory
            names = [f"networks/{job.start}" for job in jobs]
            trainer.load([directory.load_model(name, like) for name in names])

        def save() -> None:
            recorded = {"batch": batch, "seconds": time.perf_counter() - start}
            checkpoints.save(step, trainer.state, recorded)

        start = time.perf_counter() - seconds
        names = " to ".join(dict.fromkeys((batch[0], batch[-1])))
        text = f"training {names}, epoch {{task.description}}"
        with progress_bar(self._session.console, text) as bar:
            task = bar.add_task("", total=epochs * steps)
            try:
                for epoch in range(step // steps, epochs):
                    done = step - epoch * steps
                    for progress in trainer.epoch(before + epoch + 1, done):
                        step = epoch * steps + progress.step
                        description = f"{epoch + 1}/{epochs}"
                        bar.update(task, completed=step, description=description)
                        self._session.check()
                    if (epoch + 1) % options.run.checkpoint_every == 0:
                        save()
            except Interrupted:
                save()
                checkpoints.wait()
                raise
        return epochs, time.perf_counter() - start

    def _line(self, point: Point) -> str:
        l1 = f"l1 {point.objectives[1]:,.1f}  "
        if self._config.pruning.pruning in TO_SPARSITY:
            l1 = ""
        return (
            f"{point.name:>6}  {named(self._config, point)}  cross entropy "
            f"{point.objectives[0]:.4f}  {l1}validation accuracy "
            f"{100 * point.metrics['validation_accuracy']:.2f} %  "
            f"{point.metrics['nonzero_dense']:,} weights  "
            f"{point.metrics['seconds']:.1f} s"
        )

    def _measured(
        self, job: Job, network: Any, scores: dict[str, Any], spent: dict[str, Any]
    ) -> Point:
        params = {"params": network["params"]}
        report = records.sparsity(params).report
        cost = complexity(self._training, params, self._penalty)
        return Point(
            job.weights,
            (scores["validation"].cross_entropy, cost),
            job.name,
            level=job.level,
            seed=job.seed,
            **spent,
            nonzero_dense=report.dense.nonzeros,
            nonzero_total=report.total.nonzeros,
            validation_accuracy=scores["validation"].accuracy,
            test_accuracy=scores["test"].accuracy,
            test_cross_entropy=scores["test"].cross_entropy,
        )


def named(config: FrontConfig, point: Point) -> str:
    """Return what distinguishes a point's training from the others."""
    if config.pruning.pruning in TO_SPARSITY:
        return f"{100 * point.weights[0]:.3g} % of the weights"
    return f"weight of l1 {point.weights[1]:.3g}"


def complexity(
    config: Config, params: Any, penalty: Callable[[Any], Any] | None = None
) -> float:
    """Return the second objective of a front: the number of weights that are left where
    the front is one of numbers, else objective 1 of the training."""
    if config.pruning.pruning in TO_SPARSITY:
        where = records.KERNELS[config.pruning.prune_where]
        return bopt.sparsity.report(params, where).dense.nonzeros
    _, own = make_penalties(config.objectives, penalty)
    return float(own(params))


def _seeds_and_weights(jobs: list[Job]):
    return [job.seed for job in jobs], [job.weights for job in jobs]
