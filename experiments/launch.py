"""Launch: options to a finished run directory, or a message and an exit code.

JAX, and everything that needs it, is imported once the data are found: a program shows
its first line at once.
"""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from experiments import data
from experiments.config import (
    AnyConfig,
    Config,
    flat,
    parse,
    peek,
    published,
    resolve,
    updated,
)
from experiments.errors import RunDirectoryError
from experiments.runs.console import exit_code, say
from experiments.runs.files import check_new

if TYPE_CHECKING:
    from experiments.training.session import Session

# Options and a convolution method (see `bopt.models.Conv`) to a network.
MakeModel = Callable[[Any, Any], Any]


def main(
    program: str,
    options: type[AnyConfig],
    model: MakeModel,
    words: Sequence[str] | None = None,
) -> int:
    """Run an experiment; known failures become a message and an exit code.

    Args:
      program: name of the program.
      options: a dataclass of options.
      model: options and convolution method to a Flax Linen module from (images, train)
        to logits.
      words: words of the command line; None for those of this process, which then is
        prepared: devices, compilation cache, other processes.

    Returns:
      The exit code: 0; 1 after a failure; 2 for wrong options or data; 128 + number
      after a signal (130 after Ctrl-C, 143 after SIGTERM).

    Example:
      >>> import contextlib, sys
      >>> from experiments.config import Config
      >>> from experiments.launch import main
      >>> with contextlib.redirect_stderr(sys.stdout):
      ...     main("mnist_lenet", Config, lambda *_: None, ["--epochs", "-1"])
      error: --epochs is -1; expected a finite number, at least 0.
      2
    """

    def body() -> None:
        config = read_options(lambda _: options, program, words)
        run(program, config, model, prepare=words is None)

    return exit_code(body)


def read_options(
    choose: Callable[[str | None], Any], program: str, words: Sequence[str] | None
) -> Any:
    """Read options from the command line; with --resume, the stored ones.

    `choose` turns the value of --model, given or stored, into a dataclass of options.
    """
    first = peek(words)
    if first.resume is None:
        options = choose(first.model)
        default = published(options(), first) if first.published else None
        return parse(options, program, words, default)
    from experiments.runs import resume

    content = resume.stored(first.resume, program)
    options = choose(first.model or content.get("model"))
    begun = resume.options(content, options, first.resume)
    given = parse(options, program, words, begun)
    resume.check_unchanged(flat(given), flat(begun))
    return given


def run(
    program: str, config: Config, model: MakeModel, *, prepare: bool = False
) -> Path:
    """Train, write the run directory, and return it; for arguments see `main`."""
    start = time.perf_counter()
    resolve(config, config.data.dataset)  # report mistakes before the data are sought
    begun = begin(config, config.PREFERRED, prepare=prepare)
    if begun is None:
        return Path(config.run.resume or "")
    from experiments.training.session import opened
    from experiments.training.step import check_evidence

    dataset, console = begun
    config = resolve(config, dataset.name)
    check_evidence(model(config, "auto"), dataset, config)
    with opened(program, flat(config), dataset, console, start) as session:
        _train(session, config, model)
    return session.directory.path


def begin(
    config: Any, preferred: str, *, prepare: bool
) -> tuple[data.Dataset, Console] | None:
    """Find the data, print the first line, and prepare this process.

    Returns:
      The dataset and the terminal output; None if the run to resume is finished.
    """
    console = Console(markup=False, emoji=False)
    several, path = config.devices.distributed, config.run.resume
    # The first process alone may download, and devices are counted before.
    early = several or config.devices.devices != 1
    if prepare and early:
        _prepare(config)
    if several:
        import jax

        console.quiet = jax.process_index() != 0
    if path and _complete(Path(path), config.run.figures, console):
        return None
    _check_before_data(config)
    options = config.data
    found = functools.partial(
        data.load,
        options.dataset,
        options.data_dir,
        options.train_size,
        preferred=preferred,
    )
    if several:
        from experiments.devices import on_first

        on_first(found)
    dataset = found()
    fallback = options.dataset == "auto" and dataset.name != preferred
    warning = f"NOT {data.TITLES[preferred]}! " if fallback else ""
    style = "bold yellow" if fallback else None
    say(console, f"{warning}Training on {dataset.source}.", style)
    if prepare and not early:
        _prepare(config)
    from experiments.training.step import steps_per_epoch

    steps_per_epoch(dataset, config.optimizer.batch_size)  # reports too few images
    return dataset, console


def _complete(path: Path, figures: bool, console: Console) -> bool:
    """Return whether a run is finished with all its files, and report it."""
    from experiments.runs.reading import missing

    try:
        lacks = [*missing(path, figures)]
    except RunDirectoryError:  # damaged files are made again
        return False
    if not lacks:
        say(console, f"{path} is finished: nothing is left to do.")
    elif "summary.json" not in lacks:
        say(console, f"{path} is finished but lacks {', '.join(lacks)}.")
    return not lacks


def _check_before_data(config: Any) -> None:
    """Report mistakes that can be judged without data."""
    devices, run = config.devices, config.run
    if devices.devices != 1:
        from experiments.devices import data_devices

        data_devices(devices.devices, config.optimizer.batch_size)
    if run.resume:
        return
    if run.out and not devices.distributed:  # another process may have begun
        check_new(Path(run.out))
    if path := getattr(run, "init_from", None):
        from experiments.training.loop import trained

        for number in range(run.seeds):
            trained(path, run.seed + number)


def _prepare(config: Any) -> None:
    from experiments import devices

    options = config.devices
    devices.use_all_cores()
    if config.run.compilation_cache:
        devices.use_compilation_cache()
    if options.distributed:
        devices.initialize_processes(
            options.coordinator, options.processes, options.process_id
        )


def _train(session: "Session", config: Config, model: MakeModel) -> None:
    from experiments import figures
    from experiments.devices import on_first
    from experiments.runs import records
    from experiments.runs.checkpoints import Checkpoints
    from experiments.runs.console import print_summary
    from experiments.training.loop import Loop, by_seed, initial
    from experiments.training.optimizers import compose
    from experiments.training.step import steps_per_epoch
    from experiments.training.trainer import Trainer

    program, directory, dataset, console, *_ = session
    runs = by_seed(directory, config)
    for seed, own in runs.items():
        if own is not directory:
            alone = flat(updated(config, seed=seed, seeds=1))
            own.make()
            own.write_config(records.config(program, alone, dataset))
    say(console, "Compiling.")
    steps = steps_per_epoch(dataset, config.optimizer.batch_size)
    trainer = Trainer(
        # Over many networks, the library's convolution is a grouped one, and slow.
        model(config, "auto" if len(runs) == 1 else "patches"),
        functools.partial(compose, config, steps),
        dataset,
        config,
        list(runs),
        check=functools.partial(session.check, alone=True),
    )
    described = records.config(program, flat(config), dataset)
    with Checkpoints(directory.path / "checkpoints", described, console) as saved:
        path = config.run.init_from
        if path and not saved.steps():
            like = trainer.networks()[0]
            trainer.load([initial(path, seed, like) for seed in runs])
        loop = Loop(session, config, trainer, saved)
        summary, row = loop.run()
    if config.run.figures:
        for path in {directory.path, *(own.path for own in runs.values())}:
            on_first(lambda path=path: figures.draw([path]))
    loop.finish()
    title = f"{config.optimizer.optimizer} on {dataset.title}, {row['epoch']} epochs"
    if len(runs) > 1:
        title += f", means over {len(runs)} seeds"
    print_summary(console, summary, row, title)
    say(console, f"Written to {directory.path}")
