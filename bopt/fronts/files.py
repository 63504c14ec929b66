"""Points as text: CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from bopt.fronts.points import Point

# Of a point, besides its name, weights and objectives; in the order of the columns.
FIGURES = (
    "validation_accuracy",
    "test_accuracy",
    "test_cross_entropy",
    "nonzero_dense",
    "nonzero_total",
    "seconds",
)
_LAST = (*FIGURES[:-1], "seed", "epochs", "seconds")


def row(point: Point) -> dict[str, Any]:
    """Column -> value, in the order of the columns.

    Example:
      >>> from bopt.fronts import Point
      >>> from bopt.fronts.files import row
      >>> list(row(Point((1.0, 0.0), (0.1, 9.0))))[:4]
      ['name', 'level', 'weight_0', 'weight_1']
    """
    return {
        "name": point.name,
        "level": point.level,
        **{f"weight_{i}": value for i, value in enumerate(point.weights)},
        **{f"objective_{i}": value for i, value in enumerate(point.objectives)},
        **{name: getattr(point, name) for name in _LAST},
    }


def csv_text(points: Iterable[Point], header: bool = True) -> str:
    """A line a point; None is empty, floats are as they are to the last bit.

    Example:
      >>> from bopt.fronts import Point
      >>> from bopt.fronts.files import csv_text
      >>> csv_text([Point((1.0, 0.0), (0.1, 9.0), "a", seed=3)], header=False)
      'a,0,1.0,0.0,0.1,9.0,,,,,,3,,\\n'
    """
    rows = [row(point) for point in points]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header and rows:
        writer.writerow(rows[0])
    writer.writerows(own.values() for own in rows)
    return text.getvalue()


def points_of_csv(text: str) -> list[Point]:
    """The points of a CSV text.

    Raises:
      ValueError: a missing column, or a value that is no number; line and column are
        named.

    Example:
      >>> from bopt.fronts.files import points_of_csv
      >>> points_of_csv("name,weight_0\\na,1.0\\n")
      Traceback (most recent call last):
      ValueError: Line 1 has no column objective_0; expected at least weight_0 and \
objective_0.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(f"Line {reader.line_num}", fields) for fields in reader]
    except csv.Error as error:
        raise ValueError(f"Line {reader.line_num} is not CSV: {error}.") from error
    if not lines:
        return []
    (where, header), *rest = lines
    _check(header, where)
    points = []
    for where, fields in rest:
        if len(fields) != len(header):
            raise ValueError(
                f"{where} has {len(fields)} fields; expected {len(header)}, as line 1."
            )
        values = {
            name: field if name == "name" else _number(field, name, where)
            for name, field in zip(header, fields, strict=True)
        }
        if values.get("level", 0) is None:
            values["level"] = 0
        points.append(_checked(_point(values), where))
    return points


def json_text(points: Iterable[Point]) -> str:
    """``{"points": [...]}`` with an object a point; weights and objectives are lists.

    Example:
      >>> from bopt.fronts import Point
      >>> from bopt.fronts.files import json_text
      >>> json_text([Point((1.0, 0.0), (float("nan"), 9.0))])[:62]
      '{"points": [{"weights": [1.0, 0.0], "objectives": [null, 9.0],'
    """

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        nan = isinstance(value, float) and not math.isfinite(value)
        return None if nan else value

    objects = [
        {name: plain(value) for name, value in point._asdict().items()}
        for point in points
    ]
    return json.dumps({"points": objects}, allow_nan=False)


def points_of_json(text: str) -> list[Point]:
    """The points of a JSON text.

    Raises:
      ValueError: not JSON, or not a front's; the point and key are named.

    Example:
      >>> from bopt.fronts.files import points_of_json
      >>> text = '{"points": [{"weights": [1, 0], "objectives": [null, 9.0]}]}'
      >>> points_of_json(text)[0].objectives
      (nan, 9.0)
    """
    content = json.loads(text)
    if not isinstance(content, dict) or not isinstance(content.get("points"), list):
        raise ValueError('Not a front: expected {"points": [...]}.')
    points = []
    for number, own in enumerate(content["points"], 1):
        for name in ("weights", "objectives"):
            if not isinstance(own, dict) or not isinstance(own.get(name), list):
                raise ValueError(f"Point {number} has no list of {name}.")
        if unknown := own.keys() - set(Point._fields):
            raise ValueError(
                f"Point {number} has the unknown key {min(unknown)!r}; expected "
                f"{', '.join(Point._fields)}."
            )
        objectives = (math.nan if v is None else v for v in own["objectives"])
        tuples = {"weights": tuple(own["weights"]), "objectives": tuple(objectives)}
        points.append(_checked(Point(**{**own, **tuples}), f"Point {number}"))
    return points


def _check(header: list[str], where: str) -> None:
    """Raises ValueError unless these can be a front's columns."""
    for name in ("weight_0", "objective_0"):
        if name not in header:
            raise ValueError(
                f"{where} has no column {name}; expected at least weight_0 and "
                "objective_0."
            )
    known = {"name", "level", *_LAST}
    for prefix in ("weight", "objective"):
        number = sum(name.startswith(f"{prefix}_") for name in header)
        known |= {f"{prefix}_{i}" for i in range(number)}
    for name in header:
        if header.count(name) > 1:
            raise ValueError(f"{where} has the column {name!r} twice; leave one out.")
        if name not in known:
            raise ValueError(
                f"{where} has the unknown column {name!r}; expected one of "
                f"{', '.join(sorted(known))}."
            )


def _number(field: str, column: str, where: str) -> float | None:
    if not field:
        return None
    try:
        return int(field) if field.lstrip("-").isdecimal() else float(field)
    except ValueError:
        raise ValueError(
            f"{where}, column {column}, is {field!r}; expected a number."
        ) from None


def _point(values: Mapping[str, Any]) -> Point:
    def numbered(prefix: str) -> tuple[float, ...]:
        names = (f"{prefix}_{i}" for i in range(len(values)))
        return tuple(values[name] for name in names if name in values)

    rest = {name: value for name, value in values.items() if name in Point._fields}
    return Point(numbered("weight"), numbered("objective"), **rest)


def _checked(point: Point, where: str) -> Point:
    """The point; ValueError if a value is of the wrong type."""
    for column, value in row(point).items():
        optional = value is None and column in _LAST
        types, words = (int | float, "a number")
        if column == "name":
            types, words = str, "text"
        if not optional and not isinstance(value, types):
            got = "empty" if value is None else repr(value)
            raise ValueError(f"{where}, column {column}, is {got}; expected {words}.")
    return point
