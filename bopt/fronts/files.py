"""CSV and JSON text of points."""

import csv
import io
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bopt.fronts.points import FIGURES, Point

_OPTIONAL = (*FIGURES[:-1], "seed", "epochs", "seconds")  # columns that may be empty
_KNOWN = {"name", "level", *_OPTIONAL}
_NUMBERED = re.compile(r"(weight|objective)_(\d{1,9})", re.ASCII)
REQUIRED = ("weight_0", "objective_0")


def row(point: Point) -> dict[str, Any]:
    """The values of a point by column, in the order of the columns."""
    return {
        "name": point.name,
        "level": point.level,
        **{f"weight_{i}": value for i, value in enumerate(point.weights)},
        **{f"objective_{i}": value for i, value in enumerate(point.objectives)},
        **{name: getattr(point, name) for name in _OPTIONAL},
    }


def value(point: Point, column: str) -> Any:
    """The value of a point in one column."""
    if match := _NUMBERED.fullmatch(column):
        return getattr(point, f"{match[1]}s")[int(match[2])]
    return getattr(point, column)


def csv_text(points: Iterable[Point], header: bool = True) -> str:
    """One line per point; None is empty, floats are exact."""
    rows = [row(point) for point in points]
    lines = [_csv_line(own.values()) for own in rows]
    if header and rows:
        lines.insert(0, _csv_line(rows[0]))
    return "".join(lines)


def points_of_csv(text: str, required: Sequence[str] = REQUIRED) -> list[Point]:
    """The points of a CSV text, see `Front.from_csv`."""
    records = _csv_records(text)
    where, fields = next(records, ("", []))
    header = [name.strip() for name in fields]
    if not header:
        return []
    _check_header(header, where, required)
    points = []
    for own, fields in records:
        if len(fields) != len(header):
            raise ValueError(
                f"{own} has {len(fields)} fields; expected {len(header)}, as the "
                f"header in {where.lower()}."
            )
        values = {
            name: field if name == "name" else _number(field.strip(), name, own)
            for name, field in zip(header, fields, strict=True)
            if name in _KNOWN or _NUMBERED.fullmatch(name)
        }
        if values.get("level", 0) is None:
            values["level"] = 0
        points.append(_checked(_point(values), own, required))
    return points


def json_text(points: Iterable[Point]) -> str:
    """``{"points": [...]}``, one object per point; NaN and infinity become null."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        bad = isinstance(value, float) and not math.isfinite(value)
        return None if bad else value

    objects = [
        {name: plain(value) for name, value in point._asdict().items()}
        for point in points
    ]
    return json.dumps({"points": objects}, allow_nan=False)


def points_of_json(text: str) -> list[Point]:
    """The points of a JSON text, see `Front.from_json`."""
    content = json.loads(text)
    if not isinstance(content, dict) or not isinstance(content.get("points"), list):
        raise ValueError('Not a front; expected {"points": [...]}.')
    points = []
    for number, own in enumerate(content["points"], 1):
        for name in ("weights", "objectives"):
            if not isinstance(own, dict) or not isinstance(own.get(name), list):
                raise ValueError(f"Point {number} has no list of {name}; expected one.")
        if unknown := own.keys() - set(Point._fields):
            raise ValueError(
                f"Point {number} has the unknown key {min(unknown)!r}; expected "
                f"{', '.join(Point._fields)}."
            )
        objectives = (math.nan if v is None else v for v in own["objectives"])
        tuples = {"weights": tuple(own["weights"]), "objectives": tuple(objectives)}
        points.append(_checked(Point(**{**own, **tuples}), f"Point {number}"))
    return points


def _csv_line(fields: Iterable[Any]) -> str:
    """One record, with a first field that cannot be taken for a comment."""
    own = list(fields)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(own)
    line = text.getvalue()
    return f'"{own[0]}"{line[len(own[0]) :]}' if line.startswith("#") else line


def _csv_records(text: str) -> Iterator[tuple[str, list[str]]]:
    """("Line n", fields) of each record, n being the line where it begins."""
    lines = io.StringIO(text.removeprefix("\ufeff"), newline="")
    number = 1
    for line in lines:
        if not line.strip() or line.startswith("#"):
            number += 1
            continue
        # A quoted field may take more lines.
        reader = csv.reader(itertools.chain([line], lines), strict=True)
        try:
            fields = next(reader)
        except csv.Error as error:
            raise ValueError(f"Line {number} is not CSV: {error}.") from error
        yield f"Line {number}", fields
        number += reader.line_num


def _check_header(header: list[str], where: str, required: Sequence[str]) -> None:
    """Raise ValueError unless the columns are those of points."""
    for name in required:
        if name not in header:
            raise ValueError(
                f"{where} has no column {name}: it is {','.join(header)!r}; expected a "
                f"header with {','.join(required)}."
            )
    numbered = [match for match in map(_NUMBERED.fullmatch, header) if match]
    known = _KNOWN | {match[0] for match in numbered}
    for name in header:
        if name in known and header.count(name) > 1:
            raise ValueError(f"{where} has the column {name!r} twice; leave one out.")
    for prefix in ("weight", "objective"):
        own = [match[0] for match in numbered if match[1] == prefix]
        expected = [f"{prefix}_{i}" for i in range(len(own))]
        if gaps := set(own) - set(expected):
            raise ValueError(
                f"{where} has the column {min(gaps)!r}; expected {len(own)} columns "
                f"numbered from 0: {', '.join(expected)}."
            )


def _number(field: str, column: str, where: str) -> float | None:
    """The number in a field; None if it is empty."""
    if not field:
        return None
    try:
        number = int(field) if field.lstrip("-").isdecimal() else float(field)
        float(number)  # an integer may have too many digits
        return number
    except (ValueError, OverflowError):
        raise ValueError(
            f"{where}, column {column}, is {field!r}; expected a number."
        ) from None


def _point(values: dict[str, Any]) -> Point:
    """The point with these values by column."""

    def numbered(prefix: str) -> tuple[float, ...]:
        names = (f"{prefix}_{i}" for i in range(len(values)))
        return tuple(values[name] for name in names if name in values)

    rest = {name: value for name, value in values.items() if name in _KNOWN}
    return Point(numbered("weight"), numbered("objective"), **rest)


def _checked(point: Point, where: str, required: Sequence[str] = ()) -> Point:
    """The point; ValueError if a value is of the wrong type or a figure is missing."""
    for column, value in row(point).items():
        optional = column in _OPTIONAL
        types, words = (int | float, "a number")
        if column == "name":
            types, words = str, "text"
        wrong = not isinstance(value, types) and not (optional and value is None)
        if optional and column in required:
            wrong = value is None or not math.isfinite(value)
            words = "a finite number"
        if wrong:
            got = "empty" if value is None else repr(value)
            raise ValueError(f"{where}, column {column}, is {got}; expected {words}.")
    return point
