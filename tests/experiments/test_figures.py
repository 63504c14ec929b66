"""Figures drawn from run directories, and published networks read from CSV files."""

import json
import re
import sys

import matplotlib.pyplot as plt
import pytest
from drawing import COMPARED, CURVES, FRONT, filled, make_front, make_run, point, row

from bopt.fronts import Front
from experiments import figures
from experiments.errors import RunDirectoryError
from experiments.runs import schema

ROWS = [row(epoch) for epoch in range(4)]
POINTS = [point(w1) for w1 in (0.0, 1e-4, 1e-3)]
HEADER = "test_accuracy,nonzero_dense\n"


@pytest.fixture
def saved(monkeypatch):
    """File name -> figure, instead of PNG files."""
    found = {}

    def save(figure, root, name):
        file = root / name
        found[file.name] = figure
        return file

    monkeypatch.setattr(figures, "save", save)
    return lambda: found


def titles(files) -> list[str]:
    return [figure.axes[0].get_title() for figure in files.values()]


# Runs


def test_titles_name_optimizer_seeds_and_data(tmp_path, saved):
    path = make_run(tmp_path / "run", ROWS)
    assert [file.name for file in figures.draw([path], tmp_path)] == CURVES
    assert titles(saved())[0] == "Accuracy: madam on MNIST"
    summary = filled(schema.Summary, {"seeds": [0, 1]})
    (path / "summary.json").write_text(json.dumps(summary))
    figures.draw([path], tmp_path)
    assert titles(saved())[0] == "Accuracy: madam, 2 seeds on MNIST"


def test_runs_are_compared_by_their_names(tmp_path, saved):
    digits = {"dataset_title": "digits"}
    first = make_run(tmp_path / "first", ROWS)
    second = make_run(tmp_path / "adam", ROWS, optimizer="adam", **digits)
    figures.draw([first, second], tmp_path)
    axes = saved()["accuracy.png"].axes[0]
    assert axes.get_title() == "Test accuracy: 2 runs on MNIST / digits"
    assert [line.get_label() for line in axes.lines] == ["first (madam)", "adam"]


def test_the_stationarity_is_drawn_where_it_is_recorded(tmp_path, saved):
    old = make_run(tmp_path / "old", ROWS)
    new = make_run(
        tmp_path / "new", [r | {"stationarity": r["epoch"] and 0.1} for r in ROWS]
    )
    assert [x.name for x in figures.draw([new])] == [*CURVES, "stationarity.png"]
    files = figures.draw([old, new], tmp_path)
    assert [file.name for file in files] == [
        *(*CURVES, "stationarity.png"),
        *COMPARED[len(CURVES) :],
    ]


def test_published_reference_lines(tmp_path, saved, monkeypatch, capsys):
    """Those of LeNet-5 on MNIST, where they fall into the axes, and only on request."""
    known = {"experiment": "mnist_lenet", "dataset_found": "mnist"}
    rows = [row(epoch) for epoch in range(15)]
    paths = [make_run(tmp_path / name, rows, **known) for name in ("a", "b")]

    def texts(axes) -> list[str]:
        return [text.get_text() for text in axes.texts]

    figures.draw(paths[:1])
    assert not any(texts(figure.axes[0]) for figure in saved().values())
    figures.draw(paths[:1], published=True)
    found = {name: texts(figure.axes[0]) for name, figure in saved().items()}
    assert found == {
        "accuracy.png": ["98.9"],
        "loss.png": [],
        "weight.png": ["0.0003"],
        "nonzeros.png": ["Dense_0: 2,107", "Dense_1: 300", "Dense_2: 170"],
    }
    monkeypatch.setattr(sys, "argv", ["figures", *map(str, paths), "--published"])
    assert figures.main() == 0
    capsys.readouterr()
    assert texts(saved()["nonzeros.png"].axes[0]) == []  # totals
    assert texts(saved()["layers.png"].axes[0]) == ["2,107"]


@pytest.mark.parametrize(
    "config", [{"dataset_found": "digits"}, {"experiment": "cifar_vgg"}]
)
def test_other_runs_have_no_published_reference_lines(config, tmp_path, saved):
    known = {"experiment": "mnist_lenet", "dataset_found": "mnist"}
    first = make_run(tmp_path / "first", ROWS, **known)
    other = make_run(tmp_path / "other", ROWS, **known | config)
    message = r"other has no published reference lines: .* Leave --published out\.$"
    with pytest.raises(RunDirectoryError, match=message):
        figures.draw([first, other], tmp_path, published=True)
    front = make_front(tmp_path / "front", POINTS)
    with pytest.raises(RunDirectoryError, match=r"front has no published reference"):
        figures.draw([front], published=True)
    assert saved() == {}


def test_a_front_alone_and_its_final_training(tmp_path, saved):
    path = make_front(tmp_path / "run", POINTS, compare=f"{HEADER}0.98,700\n")
    assert [file.name for file in figures.draw([path], tmp_path)] == FRONT
    figure = saved()["front.png"]
    title = "LeNet-5 on MNIST, grid search with adam"
    assert figure.get_suptitle() == f"Pareto front: {title}"
    labels = figure.axes[1].get_legend_handles_labels()[1]
    assert labels[0] == "Published networks"
    levels = saved()["levels.png"].subfigs[0]
    assert levels.get_suptitle() == f"Levels of the search: {title}"
    (path / "metrics.jsonl").write_text("")
    final = {"objectives": [0.05, 150.0], "nonzero_dense": 1_400, "nondominated": True}
    final |= {"weights": [0.999, 0.001], "test_accuracy": 0.985}
    final = filled(schema.Final, final)
    summary = {"knee": "chord", "knees": {"chord": "0-10.0"}, "final": final}
    summary = filled(schema.Summary, filled(schema.FrontSummary, summary))
    (path / "summary.json").write_text(json.dumps(summary))
    files = figures.draw([path], tmp_path)
    assert [file.name for file in files] == [*FRONT, *CURVES]
    labels = saved()["front.png"].axes[0].get_legend_handles_labels()[1]
    assert labels[-2:] == ["Knee: chord (chosen)", "Chord knee, trained in full"]


def test_a_front_among_others_stands_for_its_knee(tmp_path, saved):
    paths = [make_run(tmp_path / "a", ROWS), make_front(tmp_path / "b", POINTS)]
    message = r"b cannot be compared: .* Expected a front whose knee is trained in full"
    with pytest.raises(RunDirectoryError, match=message):
        figures.draw(paths, tmp_path)
    assert saved() == {}
    (paths[1] / "metrics.jsonl").write_text("")
    assert [file.name for file in figures.draw(paths, tmp_path)] == COMPARED


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("config.json", "", r"^Cannot read .*config\.json"),
        ("summary.json", "{", r"^Cannot read .*summary\.json"),
        ("front.csv", "x,y\n1,2\n", r"^Cannot read .*front\.csv: .*weight_0"),
        ("compare.csv", "x,y\n", r"^Cannot read .*compare\.csv: .*test_accuracy"),
    ],
)
def test_a_file_of_a_front_that_cannot_be_read(file, text, message, tmp_path, saved):
    path = make_front(tmp_path / "run", POINTS)
    (path / file).write_text(text)
    with pytest.raises(RunDirectoryError, match=message):
        figures.draw([path], tmp_path)
    assert saved() == {}


def test_folders_that_hold_nothing_to_draw(tmp_path, saved):
    run = make_run(tmp_path / "run", ROWS)
    with pytest.raises(RunDirectoryError, match=r"nowhere holds no run"):
        figures.draw([run, tmp_path / "nowhere"], tmp_path)
    with pytest.raises(
        RunDirectoryError, match=r"^No run directory to draw\. Expected"
    ):
        figures.draw([], tmp_path)
    front = make_front(tmp_path / "front", POINTS)
    (front / "config.json").unlink()
    with pytest.raises(
        RunDirectoryError, match=r"front holds no front: it has no conf"
    ):
        figures.draw([front], tmp_path)
    assert saved() == {}


@pytest.mark.slow
def test_the_program_writes_png_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "first", ROWS)
    monkeypatch.setattr(sys, "argv", ["figures", "first"])
    assert figures.main() == 0
    assert capsys.readouterr().out.split() == [f"first/figures/{x}" for x in CURVES]
    for file in (tmp_path / "first" / "figures").iterdir():
        pixels = plt.imread(file)
        assert pixels.shape == (672, 1024, 4)
        assert pixels[..., :3].var() > 1e-3  # not blank


def test_the_program_names_its_folder_and_mistakes(
    tmp_path, saved, monkeypatch, capsys
):
    paths = [str(make_run(tmp_path / name, ROWS)) for name in ("a", "b")]
    for words, folder in ((paths, "figures"), ([*paths, "--out", "both"], "both")):
        monkeypatch.setattr(sys, "argv", ["figures", *words])
        assert figures.main() == 0
        assert capsys.readouterr().out.split() == [f"{folder}/{x}" for x in COMPARED]
    monkeypatch.setattr(sys, "argv", ["figures", str(tmp_path)])
    assert figures.main() == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} holds no run")


# Published networks


def networks(front: Front) -> list:
    return [
        (point.metrics["test_accuracy"], point.metrics["nonzero_dense"])
        for point in front
    ]


@pytest.mark.parametrize(
    "content",
    [
        f"# From a paper,\n# figure 4b.\n{HEADER}0.99,25128\n0.5,0\n",
        "nonzero_dense,test_accuracy\n25128,0.99\n0,0.5\n",
        'name,test_accuracy,nonzero_dense\n"a, b",0.99,25128\nc,0.5,0\n',
        f"{HEADER}\n# a remark\n0.99,2.5128e4\n\n0.5,0",
        f"\ufeff{HEADER}0.99,25128\r\n0.5,0\r\n",  # as spreadsheets write it
    ],
    ids=["comments", "other order", "other columns", "empty lines", "BOM and CRLF"],
)
def test_published_networks_in_the_order_of_the_file(content, tmp_path):
    file = tmp_path / "compare.csv"
    file.write_bytes(content.encode())
    assert networks(figures.read_compared(file)) == [(0.99, 25_128), (0.5, 0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# only this\n", " holds no network. Expected the header test_accuracy,"),
        (HEADER, " holds no network. Expected the header test_accuracy,nonzero_dense"),
        ("accuracy,nonzero_dense\n1,2\n", "no column test_accuracy"),
        (f"{HEADER}0.9,3\n0.9\n", "line 3"),
        (f"{HEADER}high,3\n", "'high'"),
        (f"{HEADER}0.9,\n", "nonzero_dense"),
        (f"{HEADER}nan,3\n", "test_accuracy"),
        (f"{HEADER}0.9,inf\n", "nonzero_dense"),
        (
            f"{HEADER}0.9,3\n99.02,3\n",
            ", network 2: test_accuracy is 99.02. Expected a share from 0 to 1. Divide",
        ),
        (f"{HEADER}-0.1,3\n", ", network 1: test_accuracy is -0.1. Expected a share"),
        (f"{HEADER}0.9,-3\n", ", network 1: nonzero_dense is -3. Expected a number of"),
    ],
)
def test_mistakes_in_published_networks_are_named(text, message, tmp_path):
    file = tmp_path / "compare.csv"
    file.write_text(text)
    with pytest.raises(RunDirectoryError, match=f"(?i){re.escape(message)}") as caught:
        figures.read_compared(file)
    assert str(file) in str(caught.value)


def test_published_networks_that_are_no_text(tmp_path):
    file = tmp_path / "compare.csv"
    with pytest.raises(RunDirectoryError, match=r"^Cannot read .*compare.csv: No such"):
        figures.read_compared(file)
    with pytest.raises(RunDirectoryError, match=r"^Cannot read .*: Not a file"):
        figures.read_compared(tmp_path)
    file.write_bytes(b"\x89PNG\xff")
    with pytest.raises(RunDirectoryError, match=r"Expected a text file in UTF-8"):
        figures.read_compared(file)
