"""Points as CSV and JSON: exact there and back, and errors that name the place."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bopt.fronts import Front, Point

FLOATS = st.floats(allow_nan=True, allow_infinity=False)
NUMBERS = st.none() | st.integers(0, 10**6) | FLOATS
NAMES = st.sampled_from(["top-5, in %", "nonzeros", "seed", "#", "äß", '"', "1"])
POINTS = st.builds(
    Point,
    weights=st.tuples(*[st.floats(0, 1)] * 2),
    objectives=st.tuples(FLOATS, FLOATS, FLOATS),
    # Python 3.11's csv does not quote a carriage return.
    name=st.text(st.characters(codec="utf-8", exclude_characters="\r")),
    metrics=st.dictionaries(NAMES, NUMBERS),
)


def same(a: Front, b: Front) -> bool:
    """Equal, NaN included, and of the same types."""
    texts = (
        repr(
            [(p.weights, p.objectives, p.name, sorted(p.metrics.items())) for p in own]
        )
        for own in (a, b)
    )
    return len({*texts}) == 1


@settings(max_examples=20)
@given(st.lists(POINTS, max_size=4))
def test_csv_is_exact(points):
    made = Front(points)
    assert same(Front.from_csv(made.to_csv()), made)


@settings(max_examples=20)
@given(st.lists(POINTS, max_size=4))
def test_json_is_exact(points):
    made = Front(points)
    text = made.to_json()
    assert "NaN" not in text.replace("'NaN'", "") or any("NaN" in p.name for p in made)
    assert same(Front.from_json(text), made)


def test_columns_of_csv():
    point = Point((0.9, 0.1), (0.25, math.nan), "1-2", seed=7, accuracy=0.5)
    other = Point((1, 0), (1, 2), size=3)
    header, *lines = Front([point, other]).to_csv().splitlines()
    assert header == "name,weight_0,weight_1,objective_0,objective_1,seed,accuracy,size"
    assert lines == ["1-2,0.9,0.1,0.25,nan,7,0.5,", ",1.0,0.0,1.0,2.0,,,3"]
    columns = ["accuracy", "name", "unknown", "weight_2"]
    text = Front([point]).to_csv(columns)
    assert text == "accuracy,name,unknown,weight_2\n0.5,1-2,,\n"


def test_appended_lines_are_one_table():
    made = Front(Point((1, 0), (float(n), 0.0), str(n)) for n in range(3))
    first, rest = Front(made.points[:1]), Front(made.points[1:])
    assert Front.from_csv(first.to_csv() + rest.to_csv(header=False)) == made


def test_json_holds_an_object_a_point():
    made = Front([Point((1, 0), (math.nan, 2.0), "a", seed=3, accuracy=math.nan)])
    (own,) = json.loads(made.to_json())["points"]
    assert own == {
        "weights": [1.0, 0.0],
        "objectives": [None, 2.0],
        "name": "a",
        "seed": 3,
        "accuracy": None,
    }


WEIGHTS = [f"weight_{i}" for i in range(2)] + [f"objective_{i}" for i in range(3)]
HEADER = "name,weight_0,weight_1,objective_0,objective_1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,weight_0\n", "Line 1 has no column objective_0"),
        ("a,b,a,objective_0\n", "Line 1 has the column 'a' twice"),
        (HEADER + "a,nan,0,2,3\n", r"Line 2: .* weights=\(nan, 0.0\); expected fin"),
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


@given(
    st.lists(POINTS, min_size=1, max_size=3),
    st.sampled_from(["\n", " \n", "#x\n", None]),
)
def test_comments_blank_lines_and_a_mark_change_nothing(points, ignored):
    made = Front(points)
    first, rest = Front(made.points[:1]), Front(made.points[1:])
    columns = list(dict.fromkeys(x for p in points for x in p.metrics))
    columns = ["name", *WEIGHTS, *columns]
    ignored = ignored or "," * (len(columns) - 1) + "\n"  # of a spreadsheet
    text = (
        first.to_csv(columns) + ignored + rest.to_csv(columns, header=False) + ignored
    )
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
        "network, test_accuracy ,nonzero_dense,weights,weight_decay,commit,,seed\n"
        "lenet, 0.9902,25128,few,1e-4,1234567,,\n"
        "vgg, 0.9,9,many,0,12ab567,,3\n"
    )
    points = Front.from_csv(text, required=FIGURES)
    known = ({"test_accuracy": 0.9902, "nonzero_dense": 25128, "weight_decay": 1e-4},)
    known += ({"test_accuracy": 0.9, "nonzero_dense": 9, "weight_decay": 0, "seed": 3},)
    assert points == Front(Point(metrics=metrics) for metrics in known)


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
                f"Line 2, column nonzero_dense, is {got}; expected a number",
            )
            for value, got in [("", "empty"), (" ", "empty"), ("98 %", "'98 %'")]
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
        ("[" * 100_000, "nested too deeply"),
        ("[]", "Not a front"),
        ('{"points": [1]}', "Point 1 has no list of objectives"),
        ('{"points": [{"weights": [1, 0]}]}', "Point 1 has no list of objectives"),
        (text(weights=[1, None]), "Point 1: A point got None in weights"),
        (text(objectives=["x", 2]), "Point 1: A point got 'x' in objectives"),
        (text(seconds=[3]), r"Point 1: A point got \[3\] in seconds; expected a numb"),
        (text(name=7), "Point 1: A point got name=7; expected text"),
    ],
)
def test_what_is_wrong_in_a_json_file_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        Front.from_json(text)
