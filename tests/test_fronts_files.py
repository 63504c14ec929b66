"""Points as CSV and JSON: exact there and back, and errors that name the place."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bopt.fronts import Front, Point

FLOATS = st.floats(allow_nan=True, allow_infinity=False)
COUNTS = st.none() | st.integers(0, 10**6) | st.floats(0, 1e6)
POINTS = st.builds(
    Point,
    weights=st.tuples(FLOATS, FLOATS),
    objectives=st.tuples(FLOATS, FLOATS, FLOATS),
    # Python 3.11's csv does not quote a carriage return.
    name=st.text(st.characters(codec="utf-8", exclude_characters="\r")),
    level=st.integers(0, 99),
    seed=st.none() | st.integers(0, 2**32 - 1),
    nonzero_dense=COUNTS,
    validation_accuracy=st.none() | st.floats(0, 1),
    **dict.fromkeys(
        ("epochs", "seconds", "nonzero_total", "test_accuracy", "test_cross_entropy"),
        st.none(),
    ),
)


def same(a: Front, b: Front) -> bool:
    """Equal, NaN included, and of the same types."""
    return repr(a) == repr(b)


@given(st.lists(POINTS, max_size=4))
def test_csv_is_exact(points):
    made = Front(points)
    assert same(Front.from_csv(made.to_csv()), made)


@given(st.lists(POINTS, max_size=4))
def test_json_is_exact(points):
    """But for NaN among the weights, which no training has."""
    made = Front(p._replace(weights=(0.25, 0.75)) for p in points)
    text = made.to_json()
    assert "NaN" not in text.replace("'NaN'", "") or any("NaN" in p.name for p in made)
    assert same(Front.from_json(text), made)


def test_the_columns_are_those_that_readers_rely_on():
    point = Point((0.9, 0.1), (0.25, math.nan), "1-2", 1, 7, 10, 2.5, 12, 34, 0.5)
    header, line = Front([point]).to_csv().splitlines()
    assert header == (
        "name,level,weight_0,weight_1,objective_0,objective_1,validation_accuracy,"
        "test_accuracy,test_cross_entropy,nonzero_dense,nonzero_total,seed,epochs,"
        "seconds"
    )
    assert line == "1-2,1,0.9,0.1,0.25,nan,0.5,,,12,34,7,10,2.5"


def test_appended_lines_are_one_table():
    made = Front(Point((1, 0), (float(n), 0.0), str(n)) for n in range(3))
    first, rest = Front(made.points[:1]), Front(made.points[1:])
    assert Front.from_csv(first.to_csv() + rest.to_csv(header=False)) == made


def test_json_holds_an_object_a_point():
    made = Front([Point((1, 0), (math.nan, 2.0), "a")])
    (own,) = json.loads(made.to_json())["points"]
    assert own["objectives"] == [None, 2.0]
    assert own["name"] == "a"
    assert list(own) == list(Point._fields)


HEADER = "name,weight_0,weight_1,objective_0,objective_1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,weight_0\n", "Line 1 has no column objective_0"),
        ("objective_0\n", "Line 1 has no column weight_0"),
        (HEADER + "a,1,0,2\n", "Line 2 has 4 fields; expected 5"),
        (HEADER + "a,1,0,2,3\nb,1,0,x,3\n", "Line 3, column objective_0, is 'x'"),
        (HEADER + "a,1,,2,3\n", "Line 2, column weight_1, is empty"),
        (HEADER + "a,1,0,2,\n", "Line 2, column objective_1, is empty"),
        # Causes: a csv.Error is no ValueError; numbers with gaps were closed up.
        (HEADER + 'a,1,0,2,3\n"b,1,0,2', "Line 3 is not CSV: unexpected end of data"),
        (HEADER.replace("t_1", "t_2"), "column 'weight_2'; expected 2 columns numb"),
        (HEADER.replace("t_1", "t_01"), "column 'weight_01'; expected 2 columns numb"),
        (HEADER.replace("t_1", "t_0"), "Line 1 has the column 'weight_0' twice"),
    ],
)
def test_what_is_wrong_in_a_csv_file_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        Front.from_csv(text)


@given(st.lists(POINTS, min_size=1, max_size=3), st.sampled_from(["\n", " \n", "#x\n"]))
def test_comments_blank_lines_and_a_mark_change_nothing(points, ignored):
    made = Front(points)
    first, rest = Front(made.points[:1]), Front(made.points[1:])
    text = first.to_csv() + ignored + rest.to_csv(header=False) + ignored
    assert same(Front.from_csv("\ufeff" + ignored + text), made)


def test_lines_are_counted_as_an_editor_does():
    text = f'# one\n\n{HEADER}"two\nlines",1,0,2,3\n# seven\nb,1,0,2,x\n'
    with pytest.raises(ValueError, match="Line 7, column objective_1, is 'x'"):
        Front.from_csv(text)


@pytest.mark.parametrize("name", ["#1", "# a comment?", '#"quoted"', "#,"])
def test_a_name_is_never_a_comment(name):
    made = Front([Point((1, 0), (2, 3), name)])
    assert Front.from_csv(made.to_csv()) == made


FIGURES = "test_accuracy", "nonzero_dense"


def test_a_table_of_figures_has_neither_weights_nor_objectives():
    """Such as one of published networks."""
    text = (
        "# Read off figure 4b.\n"
        "network, test_accuracy ,nonzero_dense,weights,weight_decay,seed\n"
        "lenet, 0.9902,25128,few,1e-4,\n"
    )
    (point,) = Front.from_csv(text, required=FIGURES)
    assert point == Point((), (), test_accuracy=0.9902, nonzero_dense=25128)


@pytest.mark.parametrize("required", [("weight_0", "objective_0"), FIGURES])
@pytest.mark.parametrize("rows", ["", "#\n", "{header}\n", "#\n\n{header}\n\n"])
def test_no_points_are_an_empty_front(required, rows):
    text = rows.format(header=",".join(required))
    assert Front.from_csv(text, required=required) == Front()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "#\ntest_accuracy\n",
            "Line 2 has no column nonzero_dense: it is 'test_accuracy'; expected a "
            "header with test_accuracy,nonzero_dense",
        ),
        ("0.9,100\n", "Line 1 has no column test_accuracy: it is '0.9,100'"),
        (
            "test_accuracy,nonzero_dense\n\n0.9\n",
            "Line 3 has 1 fields; expected 2, as the header in line 1",
        ),
        *(
            (
                f"test_accuracy,nonzero_dense\n0.9,{value}\n",
                f"Line 2, column nonzero_dense, is {got}; expected a {words}",
            )
            for value, got, words in [
                ("", "empty", "finite number"),
                (" ", "empty", "finite number"),
                ("nan", "nan", "finite number"),
                ("-inf", "-inf", "finite number"),
                ("98 %", "'98 %'", "number"),
            ]
        ),
    ],
)
def test_what_is_wrong_in_a_table_of_figures_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        Front.from_csv(text, required=FIGURES)


def text(**changed) -> str:
    point = {"weights": [1, 0], "objectives": [1, 2], **changed}
    return json.dumps({"points": [point]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting"),
        ("[]", "Not a front"),
        ('{"points": [1]}', "Point 1 has no list of weights"),
        ('{"points": [{"weights": [1, 0]}]}', "Point 1 has no list of objectives"),
        (
            '{"points": [{"weights": [1], "objectives": [0], "los": 1}]}',
            "Point 1 has the unknown key 'los'",
        ),
        *(
            (text(**{key: value}), f"Point 1, column {message}; expected {words}")
            for key, value, message, words in [
                ("weights", [1, None], "weight_1, is empty", "a number"),
                ("objectives", ["x", 2], "objective_0, is 'x'", "a number"),
                ("seconds", [3], r"seconds, is \[3\]", "a number"),
                ("level", None, "level, is empty", "a number"),
                ("name", 7, "name, is 7", "text"),
            ]
        ),
    ],
)
def test_what_is_wrong_in_a_json_file_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        Front.from_json(text)
