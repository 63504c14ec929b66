"""The program pareto_front: files of its run directory, and refusals."""

import json
import math

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from fronts import SMALL, WORDS, table, trace, use_small

from bopt.fronts import Front
from experiments.config import FrontConfig, from_flat
from experiments.runs.reading import read, read_front, read_json
from experiments.training.search import make_search

SEARCHES = ("grid", "bisection", "dichotomic", "stochastic")
SEARCHES += ("bisection_dichotomic", "continuation")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    use_small(monkeypatch)


def knees_of(path):
    config = json.loads((path / "config.json").read_text())
    return read_front(path).knees(
        examples=config["sizes"]["train"], size="nonzero_total"
    )


def check_networks(path, save: str) -> None:
    """Check which networks were kept, and that they are those of the points."""
    front = read_front(path)
    kept = {
        "knee": knees_of(path).values(),
        "front": {*front.nondominated(), *knees_of(path).values()},
        "all": front,
    }[save]
    folders = (path / "networks").glob("*") if (path / "networks").exists() else []
    assert {folder.name for folder in folders} == {point.name for point in kept}
    for point in kept:
        with ocp.StandardCheckpointer() as checkpointer:
            params = checkpointer.restore(path / "networks" / point.name)["params"]
        left = sum(
            np.count_nonzero(own["kernel"])
            for name, own in params.items()
            if name.startswith("Dense")
        )
        assert left == point.metrics["nonzero_dense"]


def test_the_files_of_a_run(trained_front):
    names = {
        str(p.relative_to(trained_front))
        for p in trained_front.rglob("*.*")
        if p.is_file()
    }
    assert {"config.json", "front.csv", "front.json", "metrics.jsonl"} <= names
    assert {"summary.json", "compare.csv", "figures/front.png"} <= names
    assert {f"figures/{n}.png" for n in ("levels", "accuracy", "nonzeros")} <= names
    assert not [name for name in names if "partial" in name]
    front = read_front(trained_front)
    assert front == Front.from_json((trained_front / "front.json").read_text())
    assert [point.name for point in front] == [f"0-{n}.0" for n in range(1, 6)]
    assert {point.metrics["epochs"] for point in front} == {2}
    check_networks(trained_front, "knee")


def test_the_summary_agrees_with_the_front(trained_front):
    front, summary = read_front(trained_front), read(trained_front).summary
    assert summary["finished"] is True
    assert summary["search"] == "grid"
    assert summary["points"] == 5
    assert summary["nondominated"] == len(front.nondominated())
    assert summary["knees"] == {k: p.name for k, p in knees_of(trained_front).items()}
    assert summary["seconds_search"] == pytest.approx(front.column("seconds").sum())
    error, share = summary["reference"]
    left, entries = front.column("nonzero_dense"), summary["entries_dense"]
    points = np.stack([1 - front.column("test_accuracy"), left / entries], 1)
    assert (error, share) == (0.9, 1.0)
    area, height = 0.0, share
    for x, y in sorted(points.tolist()):
        if x < error and y < height:
            area, height = area + (error - x) * (height - y), y
    assert summary["hypervolume"] == pytest.approx(area / (error * share))


def test_the_knee_is_trained_again(trained_front):
    run = read(trained_front)
    assert [row["epoch"] for row in run.metrics] == [0, 1]  # --final-epochs 1
    knee = next(
        p for p in read_front(trained_front) if p.name == run.summary["knees"]["chord"]
    )
    final = run.summary["final"]
    assert final["weights"] == list(knee.weights)
    assert final["nonzero_dense"] == run.summary["nonzero_dense"]
    assert final["objectives"][0] == run.metrics[-1]["validation_cross_entropy"]
    assert final["objectives"][1] == pytest.approx(run.summary["l1"], rel=1e-6)
    better = [
        p
        for p in read_front(trained_front)
        if all(np.less_equal(p.objectives, final["objectives"]))
    ]
    assert final["nondominated"] is not bool(better)
    assert run.metrics[-1]["weights"] == pytest.approx(knee.weights, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("search", "save"),
    [("grid", "front"), *((search, "all") for search in SEARCHES)],
)
def test_networks_are_kept(search, save, tmp_path, capsys):
    path = tmp_path / "run"
    words = f"{SMALL} --final-epochs 0 --budget 5 --search {search} --save {save}"
    assert trace(f"{words} --out {path}") == 0
    front = read_front(path)
    assert len(front) <= 5
    check_networks(path, save)
    assert "No final training: --final-epochs is 0" in capsys.readouterr().out or (
        "chord" not in knees_of(path)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "--search bisection --optimizer madam --budget 6",
        "--search bisection --optimizer madam --budget 6 --finish-level",
        "--search bisection --optimizer madam --budget 6 --released",
        "--grid original --budget 5 --seeds 2",
    ],
)
def test_the_last_level_is_cut_to_the_widest_gaps_or_finishes(words, tmp_path):
    path = tmp_path / "run"
    assert trace(f"{SMALL} --final-epochs 0 {words} --out {path}") == 0
    config = from_flat(FrontConfig, read_json(path / "config.json"))
    front, search = read_front(path), make_search(config)
    budget, finish = config.search.budget or 0, config.search.finish_level
    levels = sorted({int(point.metrics["level"]) for point in front})
    for level in levels:
        before = Front(p for p in front if p.metrics["level"] < level)
        own = Front(p for p in front if p.metrics["level"] == level).means()
        batch = search(before, jax.random.fold_in(jax.random.key(0), level))
        cut = batch.widest(budget - len(before), before)
        assert (len(cut.weights) < len(batch.weights)) == (level == levels[-1])
        expected = batch if finish else cut
        assert [point.weights for point in own] == [*expected.weights]
    assert (len(front.means()) > budget) == finish


@pytest.mark.slow
@pytest.mark.parametrize("search", ["grid", "bisection"])
@pytest.mark.parametrize("rule", ["saliency", "magnitude"])
def test_a_front_of_numbers_of_weights(rule, search, tmp_path, capsys):
    path = tmp_path / "run"
    words = f"{WORDS} --train-size 64 --parallel 2 --pruning {rule} --search {search}"
    words += " --budget 4 --smallest 0.05 --largest 0.5"
    assert trace(f"{words} --out {path}") == 0
    front = read_front(path)
    assert len(front) == 4
    for point in front:
        left, pruned = point.weights
        assert left + pruned == pytest.approx(1)
        assert point.objectives[1] == point.metrics["nonzero_dense"]
        assert point.objectives[1] == pytest.approx(left * 864, abs=0.5)
    shares = sorted(point.weights[0] for point in front)
    assert (shares[0], shares[-1]) == (pytest.approx(0.05), pytest.approx(0.5))
    out = capsys.readouterr().out
    assert "share left (%)" in out and "weight of l1" not in out
    final = json.loads((path / "summary.json").read_text())["final"]
    assert final is None or final["objectives"][1] == final["nonzero_dense"]


@pytest.mark.slow
def test_seeds_are_trained_for_each_weight(tmp_path):
    path = tmp_path / "run"
    assert trace(f"{SMALL} --seeds 2 --seed 7 --budget 3 --out {path}") == 0
    front = read_front(path)
    assert [point.name for point in front] == [
        f"0-{n}.{seed}" for n in (1, 2, 3) for seed in (7, 8)
    ]
    assert len(front.means()) == 3
    assert all(spread.number == 2 for spread in front.over_seeds())
    assert front[0].objectives != front[1].objectives  # another order of the images


@pytest.mark.slow
def test_without_a_knee_there_is_no_final_training(tmp_path, capsys):
    path = tmp_path / "run"
    assert trace(f"{SMALL} --budget 2 --out {path}") == 0
    assert "No final training: the front has no chord knee" in capsys.readouterr().out
    assert not (path / "metrics.jsonl").exists()
    assert json.loads((path / "summary.json").read_text())["finished"] is True


@pytest.mark.slow
def test_a_training_that_diverges_is_a_point_of_nans(tmp_path):
    path = tmp_path / "run"
    assert trace(f"{SMALL} --budget 3 --learning-rate 1e38 --out {path}") == 0
    assert all(math.isnan(point.objectives[0]) for point in read_front(path))
    assert json.loads((path / "summary.json").read_text())["nondominated"] == 0


@pytest.mark.slow
def test_the_number_of_networks_at_once_changes_nothing(tmp_path):
    for parallel in (1, 3):
        words = f"{WORDS} --train-size 64 --budget 4 --parallel {parallel}"
        assert trace(f"{words} --out {tmp_path / str(parallel)}") == 0
    assert table(tmp_path / "1") == table(tmp_path / "3")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--budget 1", "--budget is 1; expected at least 2"),
        ("--seeds 0", "--seeds is 0; expected at least 1"),
        ("--parallel 0", "--parallel is 0; expected at least 1"),
        ("--levels -1", "--levels is -1; expected at least 0"),
        ("--final-epochs -1", "--final-epochs is -1"),
        ("--smallest 0.1 --largest 0.01", "--smallest is 0.1 and --largest is 0.01;"),
        ("--epochs -1", "--epochs is -1"),
        ("--pruning saliency --search dichotomic", "--pruning saliency is a front of"),
        ("--l1 1e-3", "--l1 is given with --pruning threshold, where the search"),
        ("--search continuation --optimizer mrmsprop", "--search continuation follows"),
        (
            "--search continuation --released",
            "--released and --search continuation contradict each other",
        ),
        ("--distributed --processes 2", "Only --processes is given; expected all of"),
        ("--train-size 64 --batch-size 65", "--batch-size is 65"),
    ],
)
def test_options_that_do_not_fit(words, message, tmp_path, capsys):
    path = tmp_path / "run"
    assert trace(f"--dataset digits {words} --out {path}") == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert not path.exists()


@pytest.mark.parametrize("option", ["--weights 1 0", "--normalize l2"])
def test_the_search_chooses_the_weights(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        trace(option)
    assert option.split()[0] in capsys.readouterr().err


def test_a_bad_file_to_compare_with_is_found_before_training(tmp_path, capsys):
    file, path = tmp_path / "bad.csv", tmp_path / "run"
    file.write_text("accuracy\n")
    assert trace(f"{SMALL} --compare {file} --out {path}") == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "bad.csv" in err and "test_accuracy" in err
    assert not path.exists()


def test_a_folder_with_a_front_is_refused(trained_front, capsys):
    assert trace(f"{SMALL} --out {trained_front}") == 1
    assert "already holds a run" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["lenet5", "vgg"])
def test_the_help(model, capsys):
    with pytest.raises(SystemExit, match="0"):
        trace(f"--model {model} --help")
    text = capsys.readouterr().out
    assert "--search" in text and "--weights " not in text
    assert ("--dtype" in text) == (model == "vgg")
