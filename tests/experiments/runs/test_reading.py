"""Files of a run directory with other content than the programs write."""

import json
from pathlib import Path

import pytest
from drawing import make_front, point

import experiments
from experiments import figures
from experiments.errors import RunDirectoryError
from experiments.runs import reading, schema

KEPT = Path(experiments.__file__).parent / "results/fronts"


def change(run, name, **values):
    file = run / name
    text = file.read_text()
    lines = [json.loads(x) for x in (text.splitlines() if name[-1] == "l" else [text])]
    lines[-1].update(values)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("config.json", {"epochs": "x"}, "epochs is 'x'; expected int"),
        ("config.json", {"dataset_title": None}, "dataset_title is None; expected str"),
        ("summary.json", {"finished": "yes"}, "finished is 'yes'; expected bool"),
        ("summary.json", {"seeds": ["a"]}, "seeds is ['a']; expected list[int]"),
        ("metrics.jsonl", {"l1": []}, "l1 is []; expected float | None"),
        ("metrics.jsonl", {"objectives": [1.0]}, "objectives is [1.0]; expected 2 num"),
        ("metrics.jsonl", {"weights": {"a": [1]}}, "weights is [1]; expected 2 num"),
        ("metrics.jsonl", {"stationarity": "0"}, "stationarity is '0'; expected float"),
        ("metrics.jsonl", {"epoch": 7}, "epoch is 7; expected 2"),
        (
            "metrics.jsonl",
            {"nonzeros": {"x": 1}},
            "nonzeros is ['x']; expected the",
        ),
    ],
)
def test_a_value_of_another_type(name, values, message, copied_run):
    change(copied_run, name, **values)
    with pytest.raises(RunDirectoryError) as caught:
        reading.read(copied_run)
    assert str(caught.value).startswith(f"{copied_run / name}")
    assert message in str(caught.value)
    assert str(caught.value).endswith("Restore the file, or start a new run.")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Expecting value"),
        ("[]", "It is not a JSON object"),
        ("[" * 10**5, "recursion"),
        ('{"a": NaN}', "NaN is too large a number, or none"),
        ('{"a": ' + "9" * 400 + "}", "is too large a number"),
        (b"\xff", "can't decode byte 0xff"),
        (" " * 2**21, "It has more than 1,048,576 bytes"),
    ],
)
def test_other_text(content, message, copied_run):
    file = copied_run / "summary.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RunDirectoryError) as caught:
        reading.read(copied_run)
    assert str(caught.value).startswith(f"Cannot read {file}: ")
    assert message in str(caught.value)


def test_a_missing_key(copied_run):
    file = copied_run / "config.json"
    config = json.loads(file.read_text())
    del config["dataset_title"]
    file.write_text(json.dumps(config))
    with pytest.raises(RunDirectoryError, match=r"has no dataset_title; expected str"):
        reading.read(copied_run)


@pytest.mark.parametrize("name", ["", "..", "/tmp", "0-1", "final", "0-1.0/.."])
def test_names_of_points(name, tmp_path):
    path = make_front(tmp_path / "run", [point(0.1), point(0.2, name=name)])
    with pytest.raises(RunDirectoryError, match=r"expected level-rank\.seed, for"):
        reading.read_front(path)


COLUMNS = (
    "name,level,weight_0,weight_1,objective_0,objective_1,validation_accuracy,"
    "test_accuracy,test_cross_entropy,nonzero_dense,nonzero_total,seed,epochs,seconds"
)


def test_the_columns_of_points_are_those_that_readers_rely_on(trained_front):
    assert (trained_front / "front.csv").read_text().splitlines()[0] == COLUMNS
    assert ",".join(schema.POINT_COLUMNS) == COLUMNS


@pytest.mark.parametrize("path", sorted(KEPT.glob("*/front.csv")), ids=str)
def test_points_of_older_runs_are_read(path):
    lines = path.read_text().splitlines()
    front = reading.read_front(path.parent)
    assert front.to_csv(schema.POINT_COLUMNS).splitlines() == lines


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("level", "0.5", "level is 0.5; expected a whole number"),
        ("seed", "nan", "seed is nan; expected a whole number"),
        ("seconds", "", "Line 2, column seconds, is empty; expected a number"),
        ("test_accuracy", "98 %", "Line 2, column test_accuracy, is '98 %'"),
        ("weight_1", "inf", r"Line 2: .*expected finite numbers"),
        ("nonzero_dense", None, "Line 1 has no column nonzero_dense"),
    ],
)
def test_values_of_points(column, value, message, tmp_path):
    fields = dict.fromkeys(COLUMNS.split(","), "1") | {"name": "1-1.1", column: value}
    fields = {name: text for name, text in fields.items() if text is not None}
    text = f"{','.join(fields)}\n{','.join(fields.values())}\n"
    (tmp_path / "front.csv").write_text(text)
    with pytest.raises(RunDirectoryError, match=message):
        reading.read_front(tmp_path)


def test_texts_are_drawn_as_texts(copied_run, tmp_path):
    title = "$\\frac{$ \x1b[31m" + "long " * 100
    change(copied_run, "config.json", dataset_title=title)
    drawn = figures.run_figures([copied_run])["accuracy"]
    shown = drawn.axes[0].get_title()
    assert "\x1b" not in shown and r"\$\frac{\$" in shown and len(shown) < 200
    assert len(figures.draw([copied_run], tmp_path)) == 5


@pytest.mark.slow
def test_a_finished_front_lacks_nothing(trained_front):
    assert [*reading.missing(trained_front, True)] == []


def test_what_a_finished_run_lacks(copied_run):
    assert [*reading.missing(copied_run, True)] == []
    (copied_run / "figures" / "loss.png").unlink()
    assert [*reading.missing(copied_run, True)] == ["figures/loss.png"]
    assert [*reading.missing(copied_run, False)] == []
    (copied_run / "figures" / "stationarity.png").unlink()
    missing = [*reading.missing(copied_run, True)]
    assert missing == ["figures/loss.png", "figures/stationarity.png"]
    (copied_run / "model" / "_METADATA").write_text("")
    change(copied_run, "summary.json", epochs=5)
    assert [*reading.missing(copied_run, False)] == ["metrics.jsonl", "model"]
    (copied_run / "summary.json").unlink()
    assert "summary.json" in [*reading.missing(copied_run, False)]
