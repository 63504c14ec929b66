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
    """Read config.json of a run, which is one of this program."""
    content = read_json(Path(path) / "config.json")
    found = content.get("experiment")
    if found != program:
        problem = f"is a run of {found}" if content else "has no config.json"
        raise RunDirectoryError(
            f"{path} cannot be resumed: it {problem}; expected a run of python -m "
            f"experiments.{program}. Check the path, or start a new run with --out."
        )
    return content


def options(content: dict[str, Any], cls: type[Options], path: str) -> Options:
    """Build options from config.json."""
    lists = {key: tuple(v) for key, v in content.items() if isinstance(v, list)}
    return from_flat(cls, content | lists | {"resume": path})


def check_unchanged(given: dict[str, Any], begun: dict[str, Any]) -> None:
    """Check that options beside --resume do not change the result."""
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
    """Refuse other data than the run began with; report other versions and devices.

    `now` is what config.json would hold if the run began now.
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
