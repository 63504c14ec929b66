"""Resume: options stored with a run, and checks that it can be continued."""

from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from rich.console import Console

from experiments.config import flat, from_flat, is_own
from experiments.errors import ConfigError, RunDirectoryError
from experiments.runs import schema
from experiments.runs.console import say
from experiments.runs.reading import check, check_value, read_json

# Options that are never taken from a file: a host in it would be connected to.
# Nor is a module imported that it names, see `experiments.launch.read_options`.
OWN = frozenset({"resume", "distributed", "coordinator", "processes", "process_id"})
# Options that do not change the result, except by rounding.
FREE = OWN | {
    *("data_dir", "figures", "checkpoint_every", "compilation_cache"),
    *("save", "parallel", "devices", "model"),
}

Options = TypeVar("Options")


def stored(path: str, program: str) -> dict[str, Any]:
    """Read config.json of a run, which is one of this program."""
    file, whole = Path(path, "config.json"), Path(path).absolute()
    content = read_json(file)
    if whole.name.startswith("seed-") and (whole.parent / "config.json").is_file():
        raise RunDirectoryError(
            f"{path} is one seed of a run of several; expected the whole run. Give "
            f"--resume {whole.parent}."
        )
    found = content.get("experiment")
    if found != program:
        problem = f"is a run of {found}" if content else "has no config.json"
        raise RunDirectoryError(
            f"{path} cannot be resumed: it {problem}; expected a run of python -m "
            f"experiments.{program}. Check the path, or start a new run with --out."
        )
    check(content, schema.Config, file)
    return content


def options(content: dict[str, Any], cls: type[Options], path: str) -> Options:
    """Build options from config.json, except those of `OWN`."""
    if is_own(content.get("model")):
        content = content | {"model": flat(cls())["model"]}
    lists = {key: tuple(v) for key, v in content.items() if isinstance(v, list)}
    values = {key: value for key, value in (content | lists).items() if key not in OWN}
    if "pruning" not in content:  # of a run before there was such an option
        to_sparsity = {"pruning": "magnitude", "threshold": None}
        by_threshold = {"pruning": "threshold"}
        values |= by_threshold if content.get("sparsity") is None else to_sparsity
    config, file = from_flat(cls, values | {"resume": path}), Path(path, "config.json")
    for group in vars(config).values():
        for key, hint in get_type_hints(type(group)).items():
            check_value(file, key, getattr(group, key), hint)
    return config


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
