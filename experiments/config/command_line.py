"""Options as a command line and as a flat dictionary."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from experiments.errors import ConfigError

Options = TypeVar("Options")


def flat(config: Any) -> dict[str, Any]:
    """Return all options by name, without their groups."""
    groups = vars(config).values()
    return {name: value for group in groups for name, value in vars(group).items()}


def from_flat(cls: type[Options], values: dict[str, Any]) -> Options:
    """Build options from a flat dictionary; other keys are ignored."""
    groups = {}
    for name, group in vars(cls()).items():
        own = {key: values[key] for key in vars(group) if key in values}
        groups[name] = dataclasses.replace(group, **own)
    return cls(**groups)


def updated(config: Options, **values: Any) -> Options:
    """Return the options with some of them replaced."""
    before = flat(config)
    unknown = ", ".join(values.keys() - before.keys())
    assert not unknown, f"{type(config).__name__} has no option {unknown}"
    return from_flat(type(config), before | values)


def parse(
    options: type[Options],
    program: str,
    words: Sequence[str] | None = None,
    default: Options | None = None,
) -> Options:
    """Read options from the command line.

    Values that are not given are those of `default`. A mistake ends the process with
    code 2 and a message that suggests the nearest option.
    """
    words = expanded(words)
    if "--version" in words:
        import bopt

        print(f"bopt {bopt.__version__}")
        raise SystemExit(0)
    given: dict[str, Any] = {} if default is None else {"default": default}
    return tyro.cli(
        options,
        prog=f"python -m experiments.{program}",
        args=words,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone),
        **given,
    )


@dataclasses.dataclass(frozen=True)
class First:
    """Options that decide the defaults of the others."""

    model: str | None = None
    optimizer: str | None = None
    published: bool = False
    split: bool = False
    resume: str | None = None


def peek(words: Sequence[str] | None) -> First:
    """Read the options that decide the defaults of the others, and no others."""
    words = expanded(words)
    return tyro.cli(First, args=words, return_unknown_args=True, add_help=False)[0]


def expanded(words: Sequence[str] | None) -> list[str]:
    """Return words, by default this process's, with home folders instead of tildes.

    No shell expands the tilde of --out=~/run.
    """
    found = []
    for word in sys.argv[1:] if words is None else words:
        start = word.find("=") + 1 if word.startswith("--") else 0
        option, path = word[:start], word[start:]
        try:
            path = str(Path(path).expanduser()) if path.startswith("~") else path
        except RuntimeError:
            raise ConfigError(
                f"{word} names the home folder of an unknown user; expected a path. "
                "Give it without ~."
            ) from None
        found.append(option + path)
    return found
