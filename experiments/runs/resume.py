"""Resume: options stored with a run, and checks that it can be continued."""

from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from experiments.config import from_flat
from experiments.errors import ConfigError, RunDirectoryError
from experiments.runs.console import say
from experiments.runs.directory import read_json

# Options that do not change the result, except by rounding.
FREE = frozenset(
    {
        *("resume", "data_dir", "figures", "checkpoint_every", "compilation_cache"),
        *("save", "parallel", "devices", "distributed"),
        *("coordinator", "processes", "process_id"),
    }
)

Options = TypeVar("Options")


def stored(path: str, program: str) -> dict[str, Any]:
    """Read config.json of the run in a directory.

    Raises:
      RunDirectoryError: there is none, or it is another program's.
    """
    expected = f"expected a run of python -m experiments.{program}"
    file = Path(path) / "config.json"
    if not file.is_file():
        raise RunDirectoryError(
            f"{path} cannot be resumed: it has no config.json; {expected}. Check the "
            "path, or start a new run with --out."
        )
    content = read_json(file)
    if content.get("experiment") != program:
        raise RunDirectoryError(
            f"{path} cannot be resumed: it is a run of "
            f"{content.get('experiment')}; {expected}. Start the right program."
        )
    return content


def options(content: dict[str, Any], cls: type[Options], path: str) -> Options:
    """Build options from config.json."""
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content.items()
    }
    return from_flat(cls, values | {"resume": path})


def check_unchanged(given: dict[str, Any], begun: dict[str, Any]) -> None:
    """Check that options beside --resume do not change the result.

    Raises:
      ConfigError: they do; the message names all of them.
    """
    changed = [
        f"--{name.replace('_', '-')} {given[name]} (stored: {begun[name]})"
        for name in given
        if name not in FREE and given[name] != begun[name]
    ]
    if changed:
        raise ConfigError(
            f"--resume {given['resume']} uses the options stored there, but these "
            f"would change the result: {', '.join(changed)}. Leave them out, or start "
            "a new run (from its parameters: --init-from)."
        )


def check_same(path: Path, now: dict[str, Any], console: Console) -> None:
    """Compare the data, versions and device of a run with those it began with.

    Args:
      path: its run directory.
      now: content that its config.json would have now.
      console: other versions and devices are reported there, because they may round
        differently.

    Raises:
      RunDirectoryError: the data differ.
    """
    begun = read_json(path / "config.json")
    for key in ("dataset_found", "sizes"):
        if begun.get(key) != now.get(key):
            raise RunDirectoryError(
                f"{path} began with {key} {begun.get(key)}, but now it is "
                f"{now.get(key)}; expected the same data. Give the --data-dir that the "
                "run began with."
            )
    for key in ("versions", "device"):
        if begun.get(key) != now.get(key):
            say(
                console,
                f"The run began with {key} {begun.get(key)}, now {now.get(key)}: "
                "results may differ from an uninterrupted run by rounding.",
            )
