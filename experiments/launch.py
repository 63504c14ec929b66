"""Launch: options to a finished run directory, or a message and an exit code.

JAX, and everything that needs it, is imported once the data are found: a program shows
its first line at once.
"""

import difflib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console

from experiments import data
from experiments.config import (
    AnyConfig,
    Config,
    flat,
    is_own,
    parse,
    peek,
    published,
    resolve,
    updated,
)
from experiments.errors import ConfigError, RunDirectoryError
from experiments.runs.console import exit_code, say
from experiments.runs.files import check_new

if TYPE_CHECKING:
    from bopt.units import Units
    from experiments.training.session import Session

Options = TypeVar("Options")
# Options, a convolution method (see `bopt.models.Conv`) and the number of classes to a
# network.
MakeModel = Callable[[Any, Any, int], Any]
Penalty = Callable[[Any], Any]  # parameters to a scalar


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
      model: options, convolution method and number of classes to a Flax Linen module
        from (images, train) to logits.
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
        run(program, config, chosen(config, model), prepare=words is None)

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
    if is_own(content.get("model")) and flat(given)["model"] != content["model"]:
        raise ConfigError(
            f"{first.resume} trains {content['model']}, but no module is imported that "
            f"a file names. If you trust it, add --model {content['model']}."
        )
    return given


def train(
    model: Any,
    dataset: str | Mapping[str, Any] = "auto",
    *,
    complexity: Penalty | None = None,
    **options: Any,
) -> Path:
    """Train and prune a network of your own, as the programs do.

    Args:
      model: a Flax Linen module; an NNX module's class, or a function of ``rngs`` that
        makes one; or a pair of functions ``init(key, images) -> parameters`` and
        ``apply(parameters, images) -> logits``. Classes and functions are called with
        ``classes=`` if they take it. Linen modules are called with ``train=`` if they
        take it, those of NNX are switched by their ``train()`` and ``eval()``.
      dataset: as ``--dataset``, or arrays by name, see `experiments.data.own`.
      complexity: objective 1, a function of the parameters (in Linen
        ``{"params": ...}``); by default that of the options ``complexity`` and
        ``l1_where``.
      **options: those of `mnist_lenet`, with underscores; ``resume`` too, which needs
        the same `model` and `dataset` again.

    Returns:
      The run directory.

    Raises:
      ConfigError: options, a network or data that do not fit.
      DataError: data that are missing or damaged.

    Example:
      >>> from experiments.launch import train
      >>> from bopt.models import LeNet5
      >>> train(LeNet5, "digits", epoch=3)
      Traceback (most recent call last):
      experiments.errors.ConfigError: There is no option 'epoch'; expected 'epochs'?
    """
    config = options_of(Config, "train", model, dataset, options)
    return run(
        "train", config, lambda *_: model, dataset=dataset, complexity=complexity
    )


def options_of(
    cls: type[Options],
    program: str,
    model: Any,
    dataset: str | Mapping[str, Any],
    given: Mapping[str, Any],
) -> Options:
    """Return options by name; of a run to resume, those stored there.

    The options ``model`` and ``dataset`` only name them, in files and figures.
    """
    known = flat(cls())
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1) or ["one of --help"]
            raise ConfigError(f"There is no option {name!r}; expected {close[0]!r}?")
    one = model[-1] if isinstance(model, tuple) else model
    kind = one if hasattr(one, "__qualname__") else type(one)
    given = {
        "model": f"{kind.__module__}:{kind.__qualname__}",
        "dataset": dataset if isinstance(dataset, str) else "arrays",
        **given,
    }
    path = given.get("resume")
    if not path:
        return updated(cls(), **given)
    from experiments.runs import resume

    begun = resume.options(resume.stored(path, program), cls, path)
    found = updated(begun, **given)
    resume.check_unchanged(flat(found), flat(begun))
    return found


def network(config: Any, model: MakeModel, method: str, dataset: data.Dataset):
    """Return a network as the trainer calls it."""
    from experiments.training import networks

    name, widths = flat(config)["model"], flat(config).get("widths")
    if widths is not None and is_own(name):
        raise ConfigError(f"--widths has no meaning for {name}. Leave it out.")
    made = model(config, method, dataset.classes)
    return networks.adapted(made, dataset.classes)


def chosen(config: Any, model: MakeModel) -> MakeModel:
    """Return the user's own network if --model names one, else the program's."""
    name = flat(config)["model"]
    if not is_own(name):
        if isinstance(config, Config) and name is not None:
            raise ConfigError(
                f"--model is {name}; expected MODULE:NAME. Name a Flax module in an "
                "importable Python module."
            )
        return model
    from experiments.training import networks

    own = networks.load(name)
    return lambda *_: own


def run(
    program: str,
    config: Config,
    model: MakeModel,
    *,
    prepare: bool = False,
    dataset: str | Mapping[str, Any] | None = None,
    complexity: Penalty | None = None,
) -> Path:
    """Train, write the run directory, and return it: see `main` and `train`."""
    start = time.perf_counter()
    resolve(config, config.data.dataset)  # report mistakes before the data are sought
    begun = begin(config, config.PREFERRED, prepare=prepare, dataset=dataset)
    if begun is None:
        return Path(config.run.resume or "")
    from experiments.training import networks
    from experiments.training.session import opened

    found, console = begun
    config = resolve(config, found.name)
    made = network(config, model, "auto", found)
    units = networks.check(made, found, config, complexity)
    with opened(program, flat(config), found, console, start) as session:
        _train(session, config, model, complexity, units)
    return session.directory.path


def begin(
    config: Any,
    preferred: str,
    *,
    prepare: bool,
    dataset: str | Mapping[str, Any] | None = None,
) -> tuple[data.Dataset, Console] | None:
    """Find the data, print the first line, and prepare this process.

    The `dataset` takes the place of the option's.

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
    wanted = options.dataset if dataset is None else dataset
    find = functools.partial(
        data.load,
        wanted,
        options.data_dir,
        options.train_size,
        preferred=preferred,
    )
    if several:
        from experiments.devices import on_first

        on_first(find)
    found = find()
    fallback = wanted == "auto" and found.name != preferred
    warning = f"NOT {data.TITLES[preferred]}! " if fallback else ""
    style = "bold yellow" if fallback else None
    say(console, f"{warning}Training on {found.source}.", style)
    if prepare and not early:
        _prepare(config)
    from experiments.training.step import steps_per_epoch

    steps_per_epoch(found, config.optimizer.batch_size)  # reports too few images
    return found, console


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


def _train(
    session: "Session",
    config: Config,
    model: MakeModel,
    complexity: Penalty | None,
    units: "Units | None",
) -> None:
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
        network(config, model, "auto" if len(runs) == 1 else "patches", dataset),
        functools.partial(compose, config, steps, units=units),
        dataset,
        config,
        list(runs),
        check=functools.partial(session.check, alone=True),
        complexity=complexity,
    )
    described = records.config(program, flat(config), dataset)
    with Checkpoints(directory.path / "checkpoints", described, console) as saved:
        path = config.run.init_from
        if path and not saved.steps():
            like = trainer.networks()[0]
            trainer.load([initial(path, seed, like) for seed in runs])
        loop = Loop(session, config, trainer, saved, units=units)
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
