"""Readers of run directories, which may come from somebody else.

Each file is measured before it is read, and its content is checked against
`experiments.runs.schema`. Whatever is wrong is a `RunDirectoryError` that names the
file, the key, what was found and what was expected.
"""

import json
import math
import re
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import typeguard

from bopt.fronts import Front
from experiments.errors import RunDirectoryError
from experiments.runs import files, schema

# The largest files that are read, in bytes.
LIMIT = 2**20
METRICS_LIMIT = 2**25
POINT = re.compile(r"\d{1,4}-\d{1,6}\.\d{1,10}")  # level-rank.seed
_LARGEST = 1e100  # more than float32 has, and its square is finite
# Figures of a run, and of a front.
FIGURES = ("accuracy", "loss", "weight", "nonzeros")
FRONT_FIGURES = ("front", "levels")
_NETWORKS = {
    **{"lenet5": "LeNet-5", "mnist_lenet": "LeNet-5"},
    **{"vgg": "VGG", "cifar_vgg": "VGG", "text_transformer": "Transformer"},
}
# Control characters, also those that change the direction of a text.
_CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udb7f]")


class Run(NamedTuple):
    """Content of a run directory; `summary` is empty before the first epoch."""

    path: Path
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    summary: dict[str, Any]


def read(path: str | Path) -> Run:
    """Read a run directory, finished or not."""
    path = Path(path)
    for name in ("config.json", "metrics.jsonl"):
        if not (path / name).is_file():
            raise RunDirectoryError(
                f"{path} holds no run: it has no {name}. Name a folder that an "
                "experiment wrote with --out."
            )
    return Run(path, read_config(path), read_metrics(path), read_summary(path))


def read_config(path: Path) -> dict[str, Any]:
    """Read config.json; a missing one is empty."""
    file = path / "config.json"
    config = read_json(file)
    if file.is_file():
        check(config, schema.Config, file)
    return config


def read_summary(path: Path) -> dict[str, Any]:
    """Read summary.json; a missing one is empty."""
    file = path / "summary.json"
    summary = read_json(file)
    if not file.is_file():
        return summary
    front = (path / "front.csv").is_file() or "search" in summary
    if front:
        check(summary, schema.FrontSummary, file)
    if not front or summary["final"] is not None:
        check(summary, schema.Summary, file)
    return summary


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the rows of metrics.jsonl."""
    file = path / "metrics.jsonl"
    with files.reading(file):
        lines = files.read(file, METRICS_LIMIT).splitlines()
    rows = []
    for number, line in enumerate(lines):
        name = f"{file}, line {number + 1}"
        with files.reading(name):
            rows.append(_object(line))
        check(rows[-1], schema.Row, name)
        if rows[-1]["epoch"] != number:
            _raise(name, "epoch", rows[-1]["epoch"], number)
        for key in ("nonzeros", "nonzeros_conv"):
            own, first = (row.get(key, {}).keys() for row in (rows[-1], rows[0]))
            if own != first:
                _raise(name, key, list(own), f"the layers of line 1, {list(first)}")
    return rows


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; a missing file is an empty one."""
    with files.reading(file):
        return _object(files.read(file, LIMIT)) if file.is_file() else {}


def read_front(path: str | Path) -> Front:
    """Read the points of a front so far from its run directory."""
    file = Path(path) / "front.csv"
    with files.reading(file):
        text = files.read(file, METRICS_LIMIT) if file.is_file() else ""
        front = Front.from_csv(text, required=schema.POINT_COLUMNS[1:])
        for point in front:
            if not POINT.fullmatch(point.name):
                raise ValueError(
                    f"A point is named {reprlib.repr(point.name)}; expected "
                    "level-rank.seed, for example 0-1.0"
                )
            for column in ("level", "seed"):
                if not isinstance(point.metrics[column], int):
                    raise ValueError(
                        f"{column} is {point.metrics[column]}; expected a whole number"
                    )
            if len(point.weights) != 2 or len(point.objectives) != 2:
                raise ValueError(
                    f"It has {len(point.weights)} weights and {len(point.objectives)} "
                    "objectives; expected two of each"
                )
    return front


def check(content: Mapping[str, Any], expected: type, name: Path | str) -> None:
    """Check the types of the values of all keys that a TypedDict names."""
    hints = get_type_hints(expected, include_extras=True)
    required = getattr(expected, "__required_keys__", frozenset())
    for key, hint in get_type_hints(expected).items():
        if key in content:
            check_value(name, key, content[key], hint)
            _check_lengths(name, key, content[key], hints[key])
        elif key in required:
            raise RunDirectoryError(
                f"{name} has no {key}; expected {_text(hint)}. Restore it, or start a "
                "new run."
            )


def check_value(name: Path | str, key: str, value: Any, hint: Any) -> None:
    """Check the type of one value."""
    every = typeguard.CollectionCheckStrategy.ALL_ITEMS
    try:
        typeguard.check_type(value, hint, collection_check_strategy=every)
    except typeguard.TypeCheckError:
        _raise(name, key, value, _text(hint))


def _check_lengths(name: Path | str, key: str, value: Any, hint: Any) -> None:
    """Check values against `Annotated[list[...], length]` in any part of a hint."""
    if get_origin(hint) is Annotated:
        if isinstance(value, list) and len(value) != hint.__metadata__[0]:
            _raise(name, key, value, f"{hint.__metadata__[0]} numbers")
        return
    for part in get_args(hint):
        for own in value.values() if isinstance(value, dict) else [value]:
            _check_lengths(name, key, own, part)


def _text(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def _raise(name: Path | str, key: str, value: Any, expected: Any) -> None:
    raise RunDirectoryError(
        f"{name}: {key} is {reprlib.repr(value)}; expected {expected}. Restore the "
        "file, or start a new run."
    )


def _object(text: str) -> dict[str, Any]:
    content = json.loads(
        text, parse_constant=_number, parse_float=_number, parse_int=_number
    )
    if not isinstance(content, dict):
        raise ValueError("It is not a JSON object")
    return _printable(content)


def _number(text: str) -> int | float:
    number = int(text) if text.lstrip("-").isdigit() else float(text)
    if not abs(number) < (_LARGEST if isinstance(number, float) else 2**63):
        raise ValueError(f"{text[:20]} is too large a number, or none")
    return number


def _printable(value: Any) -> Any:
    """Replace control characters in all texts, so that they can be shown."""
    match value:
        case str():
            return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", value)
        case list():
            return [_printable(item) for item in value]
        case dict():
            return {_printable(key): _printable(item) for key, item in value.items()}
    return value


def missing(path: Path, figures: bool) -> Iterator[str]:
    """Yield what a finished run, or a seed of it, should have but has not."""
    config = read_config(path)
    front = (path / "front.csv").is_file() or config.get("search") is not None
    summary = read_summary(path)
    if not summary.get("finished"):
        yield "summary.json"
    trained = not front or summary.get("final") is not None
    if front and len(read_front(path)) != summary.get("points"):
        yield "front.csv"
    metrics = read_metrics(path) if trained else []
    if trained and len(metrics) != summary.get("epochs", math.nan) + 1:
        yield "metrics.jsonl"
    seeds = summary.get("seeds") if trained else None
    for seed in seeds or ():
        yield from (f"seed-{seed}/{x}" for x in missing(path / f"seed-{seed}", figures))
    model = path / "model"
    if trained and not seeds and not _whole(model):
        yield "model"
    names = FIGURES * trained + FRONT_FIGURES * front
    if any(row.get("stationarity") is not None for row in metrics):
        names += ("stationarity",)
    for name in names if figures else ():
        if not (path / "figures" / f"{name}.png").is_file():
            yield f"figures/{name}.png"


def _whole(model: Path) -> bool:
    """Return whether Orbax's folder has its metadata, and no empty file."""
    own = [file for file in model.rglob("*") if file.is_file()]
    sizes = {file.name: file.stat().st_size for file in own}
    return sizes.get("_METADATA", 0) > 0 and all(sizes.values())


def network_title(config: Mapping[str, Any]) -> str:
    """Return the name of a run's network in figures and tables.

    Of a user's network, MODULE:NAME, it is the name.
    """
    names = config.get("model"), config["experiment"]
    known = (_NETWORKS[name] for name in names if name in _NETWORKS)
    return next(known, str(names[0]).rpartition(":")[2])
