"""CSV and JSON text of points."""

import csv
import io
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bopt.fronts.points import NUMBERED, Point, is_metric

REQUIRED = ("objective_0",)


def columns(points: Sequence[Point]) -> list[str]:
    """Names of the columns of points that are alike, in their order."""
    if not points:
        return []
    weights, objectives = len(points[0].weights), len(points[0].objectives)
    metrics = dict.fromkeys(name for point in points for name in point.metrics)
    return [
        "name",
        *(f"weight_{i}" for i in range(weights)),
        *(f"objective_{i}" for i in range(objectives)),
        *metrics,
    ]


def value(point: Point, column: str) -> Any:
    """The value of a point in one column; None if it has none."""
    if match := NUMBERED.fullmatch(column):
        own, i = getattr(point, f"{match[1]}s"), int(match[2])
        return own[i] if i < len(own) else None
    return point.name if column == "name" else point.metrics.get(column)


def csv_text(
    points: Sequence[Point], names: Sequence[str] | None = None, header: bool = True
) -> str:
    """One line per point; None is empty, floats are exact."""
    names = columns(points) if names is None else names
    lines = [_csv_line(value(point, name) for name in names) for point in points]
    if header and lines:
        lines.insert(0, _csv_line(names))
    return "".join(lines)


def points_of_csv(text: str, required: Sequence[str] = REQUIRED) -> list[Point]:
    """The points of a CSV text, see `Front.from_csv`."""
    records = _csv_records(text)
    where, fields = next(records, ("", []))
    header = [name.strip() for name in fields]
    if not header:
        return []
    _check_header(header, where, required)
    rows = []
    for own, fields in records:
        if len(fields) != len(header):
            raise ValueError(
                f"{own} has {len(fields)} fields; expected {len(header)}, as the "
                f"header in {where.lower()}."
            )
        rows.append((own, dict(zip(header, fields, strict=True))))
    must = [x for x in header if x in required or NUMBERED.fullmatch(x)]
    metrics = [
        name
        for name in header
        if name not in must
        and is_metric(name)
        # Of a column with text, no line is read.
        and all(_number(row[name] or "0") is not None for _, row in rows)
    ]
    return [_point(row, own, must, metrics) for own, row in rows]


def json_text(points: Iterable[Point]) -> str:
    """``{"points": [...]}``, one object per point; NaN and infinity become null."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        bad = isinstance(value, float) and not math.isfinite(value)
        return None if bad else value

    objects = [
        {
            name: plain(value)
            for name, value in (
                ("weights", point.weights),
                ("objectives", point.objectives),
                ("name", point.name),
                *point.metrics.items(),
            )
        }
        for point in points
    ]
    return json.dumps({"points": objects}, allow_nan=False)


def points_of_json(text: str) -> list[Point]:
    """The points of a JSON text, see `Front.from_json`."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("It is nested too deeply for the JSON of a front.") from None
    if not isinstance(content, dict) or not isinstance(content.get("points"), list):
        raise ValueError('Not a front; expected {"points": [...]}.')
    points = []
    for number, own in enumerate(content["points"], 1):
        if not isinstance(own, dict) or not isinstance(own.get("objectives"), list):
            raise ValueError(f"Point {number} has no list of objectives; expected one.")
        rest = {name: math.nan if v is None else v for name, v in own.items()}
        weights, name = rest.pop("weights", ()), rest.pop("name", "")
        objectives = [math.nan if v is None else v for v in own["objectives"]]
        del rest["objectives"]
        points.append(_made(f"Point {number}", weights, objectives, name, rest))
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
        if any(field.strip() for field in fields):  # spreadsheets write ,,,
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
    for name in header:
        if name and header.count(name) > 1:
            raise ValueError(f"{where} has the column {name!r} twice; leave one out.")
    numbered = [match for match in map(NUMBERED.fullmatch, header) if match]
    for prefix in ("weight", "objective"):
        own = [match[0] for match in numbered if match[1] == prefix]
        expected = [f"{prefix}_{i}" for i in range(len(own))]
        if gaps := set(own) - set(expected):
            raise ValueError(
                f"{where} has the column {min(gaps)!r}; expected {len(own)} columns "
                f"numbered from 0: {', '.join(expected)}."
            )


def _point(
    row: Mapping[str, str], where: str, must: Sequence[str], metrics: Sequence[str]
) -> Point:
    """The point of a line; the columns in `must` have to hold numbers."""
    numbers = {name: _number(row[name]) for name in (*must, *metrics)}
    for name in must:
        if numbers[name] is None:
            got = repr(row[name].strip()) if row[name].strip() else "empty"
            raise ValueError(f"{where}, column {name}, is {got}; expected a number.")

    def numbered(prefix: str) -> list[Any]:
        names = (f"{prefix}_{i}" for i in range(len(numbers)))
        return [numbers[name] for name in names if name in numbers]

    own = {name: number for name, number in numbers.items() if is_metric(name)}
    weights, objectives = numbered("weight"), numbered("objective")
    return _made(where, weights, objectives, row.get("name", ""), own)


def _made(where: str, *values: Any) -> Point:
    try:
        return Point(*values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _number(field: str) -> int | float | None:
    """The number in a field; None if there is none."""
    field = field.strip()
    try:
        number = int(field) if field.lstrip("-").isdecimal() else float(field)
        float(number)  # an integer may have too many digits
        return number
    except (ValueError, OverflowError):
        return None
