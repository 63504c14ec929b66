"""Going on with a run that was interrupted, with the options stored with it."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.config import AnyConfig, parse
from experiments.errors import ConfigError, RunDirectoryError
from experiments.runs.directory import read_json

# Options that do not change the result, but for rounding.
FREE = frozenset(
    {
        *("resume", "data_dir", "figures", "checkpoint_every", "save", "parallel"),
        *("devices", "distributed", "coordinator", "processes", "process_id"),
    }
)


def options(
    config: type[AnyConfig], experiment: str, words: Sequence[str] | None = None
) -> AnyConfig:
    """Reads a configuration from the command line; with --resume, a stored one.

    Args:
      config: a dataclass of options.
      experiment: the program's name.
      words: of the command line; None: those of this process.

    Raises:
      RunDirectoryError: --resume names no run of this experiment.
      ConfigError: options besides it would change the result; all are named.

    Example:
      >>> from experiments.config import Config
      >>> from experiments.runs.resume import options
      >>> options(Config, "mnist_lenet", ["--resume", "nowhere"])
      Traceback (most recent call last):
      experiments.errors.RunDirectoryError: nowhere holds no run of \
python -m experiments.mnist_lenet to go on with: it has no config.json.
    """
    given = parse(config, experiment, words)
    if given.resume is None:
        return given
    there = stored(given.resume, config, experiment)
    given = parse(config, experiment, words, there)
    differences = [
        f"--{field.name.replace('_', '-')} {getattr(given, field.name)} "
        f"(there {getattr(there, field.name)})"
        for field in dataclasses.fields(config)
        if field.name not in FREE
        and getattr(given, field.name) != getattr(there, field.name)
    ]
    if differences:
        raise ConfigError(
            f"--resume {given.resume} goes on with the options stored there, but these "
            f"would change the result: {', '.join(differences)}. Leave them out, or "
            "begin a new run (from its parameters: --init-from)."
        )
    return given


def stored(path: str, config: type[AnyConfig], experiment: str) -> AnyConfig:
    """The options of a run that was begun before.

    Args:
      path: its run directory.
      config: a dataclass of options.
      experiment: the program's name.

    Raises:
      RunDirectoryError: there is none, or it is of another program.

    Example:
      >>> import json, pathlib, tempfile
      >>> from experiments.config import Config
      >>> from experiments.runs.resume import stored
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> content = {"experiment": "mnist_lenet", "epochs": 7}
      >>> _ = (folder / "config.json").write_text(json.dumps(content))
      >>> stored(str(folder), Config, "mnist_lenet").epochs
      7
    """
    program = f"{path} holds no run of python -m experiments.{experiment} to go on with"
    file = Path(path) / "config.json"
    if not file.is_file():
        raise RunDirectoryError(f"{program}: it has no config.json.")
    content = read_json(file)
    if content.get("experiment") != experiment:
        raise RunDirectoryError(f"{program}, but of {content.get('experiment')}.")
    names = [field.name for field in dataclasses.fields(config)]
    values: dict[str, Any] = {
        name: _value(content[name]) for name in names if name in content
    }
    values["resume"] = path
    return config(**values)


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def check_same(path: Path, now: dict[str, Any], say: Callable[[str], None]) -> None:
    """Compares what a run was begun with and what it is to go on with.

    Args:
      path: its run directory.
      now: what its config.json would be now.
      say: shows a line to the user: other versions or devices may round otherwise.

    Raises:
      RunDirectoryError: the data are others.

    Example:
      >>> import json, pathlib, tempfile
      >>> from experiments.runs.resume import check_same
      >>> path = pathlib.Path(tempfile.mkdtemp())
      >>> then = {"dataset_found": "digits", "sizes": {}, "versions": {"jax": "0.10.1"}}
      >>> _ = (path / "config.json").write_text(json.dumps(then))
      >>> check_same(path, then | {"versions": {"jax": "0.10.2"}}, print)
      Begun with versions {'jax': '0.10.1'}, now {'jax': '0.10.2'}: what follows may \
differ from an uninterrupted run, by rounding.
    """
    then = read_json(path / "config.json")
    for key in ("dataset_found", "sizes"):
        if then.get(key) != now.get(key):
            raise RunDirectoryError(
                f"{path} was begun with {key} {then.get(key)}, but now it is "
                f"{now.get(key)}. Give the --data-dir of then."
            )
    for key in ("versions", "device"):
        if then.get(key) != now.get(key):
            say(
                f"Begun with {key} {then.get(key)}, now {now.get(key)}: what follows "
                "may differ from an uninterrupted run, by rounding."
            )
