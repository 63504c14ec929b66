"""Options as a command line and as a flat dictionary."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

Options = TypeVar("Options")


def flat(config: Any) -> dict[str, Any]:
    """Return all options by name, without their groups.

    Example:
      >>> from experiments.config import Config, flat
      >>> flat(Config())["batch_size"]
      32
    """
    groups = (getattr(config, field.name) for field in dataclasses.fields(config))
    return {name: value for group in groups for name, value in vars(group).items()}


def from_flat(cls: type[Options], values: dict[str, Any]) -> Options:
    """Build options from a flat dictionary; other keys are ignored."""
    default, groups = cls(), {}
    for field in dataclasses.fields(cls):  # pyright: ignore[reportArgumentType]
        group = getattr(default, field.name)
        own = {name: values[name] for name in vars(group) if name in values}
        groups[field.name] = dataclasses.replace(group, **own)
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

    Args:
      options: a dataclass of options.
      program: name of the program, for the help text.
      words: words of the command line; None for those of this process.
      default: values where an option is not given.

    Returns:
      An instance of `options`. A mistake ends the process with code 2 and a message
      that suggests the nearest option.
    """
    words = sys.argv[1:] if words is None else words
    if "--version" in words:
        import bopt

        print(f"bopt {bopt.__version__}")
        raise SystemExit(0)
    given = {} if default is None else {"default": default}
    return tyro.cli(
        options,
        prog=f"python -m experiments.{program}",
        args=words,
        config=(tyro.conf.OmitArgPrefixes,),
        **given,
    )


@dataclasses.dataclass(frozen=True)
class First:
    """Options that decide the defaults of the others."""

    model: str | None = None
    resume: str | None = None


def peek(words: Sequence[str] | None) -> First:
    """Read the options that decide the defaults of the others, and no others."""
    words = sys.argv[1:] if words is None else words
    return tyro.cli(First, args=words, return_unknown_args=True, add_help=False)[0]
