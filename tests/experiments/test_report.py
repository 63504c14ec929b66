"""The page of results: tables of runs with known values, and the kept page."""

import json
import math
import shutil
from pathlib import Path

import pytest
from drawing import filled, row

import experiments
from bopt.fronts import Front, Point
from experiments.config import Config, flat, parse, resolve
from experiments.errors import RunDirectoryError
from experiments.figures import read_compared
from experiments.report import main, page, read_results, report
from experiments.report_tables import Result, hypervolume, matched
from experiments.runs import schema
from experiments.runs.reading import read_front

KEPT = Path(experiments.__file__).parent / "results"
PUBLISHED = KEPT / "published.csv"
EPOCH = row(0, objectives=[1.0, 2.0], weights=[0.5, 0.5], nonzeros={"Dense_0": 9})


class Both(schema.FrontSummary, schema.Summary):
    """summary.json of a front with a final training."""


def run(
    path: Path,
    accuracy,
    left,
    deviation=0.001,
    seeds=3,
    epochs=30,
    config=None,
    **options,
) -> None:
    """Write a run directory with these final values."""
    path.mkdir(parents=True)
    described = {
        "experiment": "mnist_lenet",
        "optimizer": path.name.partition("-")[0],
        "prune": not path.name.endswith("unpruned"),
        **{"epochs": epochs, "batch_size": 32, "seeds": seeds, "data_source": "files"},
        **{"train_size": None, "l1": 3e-4, "weights": None, "threshold": 1e-3},
        **{"weigh_by": None, "normalize": "none", "l1_at_zero": 1.0},
        **{"dataset_title": "MNIST", "dataset_found": "mnist"},
        **{"device": {"kind": "cpu"}, "versions": {"jax": "0.10", "commit": None}},
    }
    summary = {
        **{"test_accuracy": accuracy, "nonzero_dense": left, "l1": 5.0},
        **{"test_cross_entropy": 0.1, "dense_sparsity": 0.9, "total_sparsity": 0.8},
        **{"seconds_total": 60.0, "finished": True},
    }
    if seeds > 1:
        deviations = {"test_accuracy": deviation, "nonzero_dense": 10.0}
        summary |= {"seeds": [*range(seeds)], "deviation": deviations}
    kind = schema.Summary if config is None or "search" not in config else Both
    files = {
        "config.json": filled(schema.Config, described | (config or {})),
        "summary.json": filled(kind, summary | options),
    }
    for name, content in {**files, "metrics.jsonl": EPOCH}.items():
        (path / name).write_text(json.dumps(content) + "\n")


def text(folder: Path, published=()) -> str:
    """The page without its figures."""
    runs, others = list(read_results(folder)), Front(published)
    return "\n".join(page(runs, folder, {}, others)) + "\n"


def cells(page: str, *starts: str) -> list[str]:
    """The cells after these in the only row that begins with them."""
    rows = [[x.strip() for x in line.split("|")[1:-1]] for line in page.splitlines()]
    (found,) = (row for row in rows if row[: len(starts)] == [*starts])
    return found[len(starts) :]


OUTCOMES = {
    "adam-0": (0.97, 1000, "wins"),
    "adam-1": (0.98, 2000, "wins"),
    "adam-2": (0.99, 1000, "loses"),
    "adam-3": (0.98, 500, "loses"),
    "adam-4": (0.99, 2000, "trades one for the other"),
    "adam-5": (0.97, 500, "trades one for the other"),
    "adam-6": (0.9805, 1005, "does not differ"),
}


def test_multi_gradient_training_against_others(tmp_path):
    """The margins are 0.23 points, and 23 weights."""
    run(tmp_path / "madam", 0.98, 1000)
    for name, (accuracy, left, _) in OUTCOMES.items():
        run(tmp_path / name, accuracy, left)
    found = text(tmp_path)
    for name, (_, _, outcome) in OUTCOMES.items():
        assert cells(found, "madam", name)[-1] == outcome
    assert "\nLosses: madam to adam-2; madam to adam-3.\n" in found
    (tmp_path / "adam-2" / "config.json").unlink()
    (tmp_path / "adam-3" / "config.json").unlink()
    found = text(tmp_path)
    assert "\nLosses: none in this table.\n" in found


def test_one_seed_shows_no_difference(tmp_path):
    run(tmp_path / "madam", 0.98, 1000)
    run(tmp_path / "adam", 0.99, 900, seeds=1)
    found = text(tmp_path)
    told = ["-1.00 (one seed)", "+100 (one seed)", "-"]
    assert cells(found, "madam", "adam") == told
    assert "\nUndecided with one seed or diverged runs: madam to adam.\n" in found
    run(tmp_path / "adam-2", 0.99, 900)
    found = text(tmp_path)
    assert "\nLosses: madam to adam-2. Undecided with one seed or dive" in found


def test_a_diverged_run_shows_no_difference(tmp_path):
    run(tmp_path / "madam", 0.98, 1000)
    run(tmp_path / "adam", None, 900)
    found = text(tmp_path)
    assert cells(found, "madam", "adam")[0] == "+nan (not finite)"


def test_each_run_on_the_page(tmp_path):
    run(tmp_path / "adam", 0.9876, 1234)
    run(tmp_path / "adam-unpruned", 0.99, 58_920, seeds=1)
    run(tmp_path / "smgd", 0.98, 1000, finished=False)
    (tmp_path / "notes.md").write_text("A cold day.\n")
    found = text(tmp_path)
    assert found.endswith("left out: smgd.\n\n## Notes\n\nA cold day.\n")
    assert cells(found, "adam", "98.76 ± 0.10") == [
        *("0.1000 ± 0.0000", "5.0 ± 0.0", "1,234 ± 10"),
        *("90.00 ± 0.00", "80.00 ± 0.00", "60"),
    ]
    assert cells(found, "adam-unpruned", "99.00")[0] == "0.1000"
    assert cells(found, "adam", "-0.24 (one seed)") == ["-57,686 (one seed)"]
    sum_of = "adam on cross entropy + 0.0003 * l1"
    assert cells(found, "adam", f"{sum_of}; pruned below 0.001") == []
    assert cells(found, "adam-unpruned", f"{sum_of}; not pruned") == []
    assert "\n- Not finished, therefore left out: smgd.\n" in found
    assert "| smgd |" not in found
    assert "\nProduced on kind cpu, jax 0.10, commit.\n" in found


def test_what_is_missing_of_a_part(tmp_path):
    run(tmp_path / "mnist" / "adam", 0.98, 1000)
    run(tmp_path / "mnist" / "sgd", 0.98, 1000, epochs=2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"experiment": "mine"}')
    found = text(tmp_path)
    command = "`python -m experiments.reproduce --part mnist --seeds 3 --out DIR`"
    assert f"\nProduced by {command} on kind cpu, jax 0.10, commit.\n" in found
    assert f"Produced by {command.replace('--seeds', '--epochs 2 --seeds')} on" in found
    missing = found.partition("\n## Missing\n")[2]
    assert "\n- Not started: mnist/madam.\n" in missing
    assert "mnist/adam." not in missing and "cifar" not in missing


def test_runs_of_other_lengths_are_not_compared(tmp_path):
    run(tmp_path / "adam", 0.99, 500)
    run(tmp_path / "madam", 0.98, 1000, epochs=2)
    found = text(tmp_path)
    first, _, second = found.partition("\n## LeNet-5 on MNIST, 2 epochs\n")
    assert "\n## LeNet-5 on MNIST, 30 epochs\n" in first
    assert "| adam |" in first and "| madam |" not in first
    assert "| madam |" in second and "| adam |" not in second
    assert "Losses" not in found
    assert "Shortened" not in first
    shortened = "\nBatch size: 32; seeds: 3; data: files. **Shortened: 2 of the "
    assert second.startswith(shortened + "experiment's own 30 epochs.**\n")
    run(tmp_path / "sgd", 0.98, 1000, config={"train_size": 1500})
    found = text(tmp_path)
    assert "\n## LeNet-5 on MNIST, 30 epochs, 1,500 images\n" in found
    assert "Shortened: 1,500 training images.**\n" in found


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--threshold 0.01", "pruned below 0.01"),
        ("--sparsity 0.9", "pruned to 90 %, gradually by saliency"),
        ("--pruning saliency", "pruned to 98 %, gradually by saliency"),
        ("--pruning evidence", "pruned by evidence"),
        ("--no-prune", "not pruned"),
    ],
)
def test_pruning_in_words(words, told):
    config = flat(resolve(parse(Config, "mnist_lenet", words.split()), "mnist"))
    found = Result("run", Path("run"), config, {}).description
    assert found.endswith(f"; {told}")


def test_differences_within_the_interval_are_none(tmp_path):
    run(tmp_path / "adam", 0.982, 1000)
    run(tmp_path / "adam-unpruned", 0.98, 1000)
    found = text(tmp_path)
    told = ["+0.20 ± 0.23: no difference", "+0 ± 23: no difference"]
    assert cells(found, "adam", *told) == []


def test_nothing_to_report(tmp_path, capsys):
    run(tmp_path / "smgd", 0.98, 1000, finished=False)
    with pytest.raises(RunDirectoryError, match="holds no finished run"):
        report(tmp_path)
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} holds no finished r")


def front(
    path: Path, model="lenet5", dataset_found="mnist", more=(), **summary
) -> None:
    """Write a run directory of a front, with `more` points than two."""
    own = {"experiment": "pareto_front", "model": model, "search": "grid"}
    own |= {"dataset_found": dataset_found}
    run(path, 0.9, 100, epochs=10, seeds=1, config=own, **FRONT | summary)
    same = dict.fromkeys(schema.POINT_METRICS, 0) | {"level": 0}
    points = [
        Point(
            (0.9, 0.1), (0.2, 9), "0-1.0", same, nonzero_dense=300, test_accuracy=0.97
        ),
        Point(
            (0.8, 0.2), (0.4, 5), "0-2.0", same, nonzero_dense=100, test_accuracy=0.95
        ),
    ]
    points += [Point((0.9, 0.1), (0.2, 9), "0-3.0", same | own) for own in more]
    (path / "front.csv").write_text(Front(points).to_csv(schema.POINT_COLUMNS))


FRONT = {
    **{"final": None, "points": 20, "nondominated": 15, "knee": "chord"},
    **{"hypervolume": 0.4, "reference": [0.03, 0.1], "seconds_total": 600.0},
    "entries_dense": 5_000.0,
}


def test_fronts_have_a_table_of_their_own(tmp_path):
    front(tmp_path / "adam")
    final = {"test_accuracy": 0.9876, "nonzero_dense": 1_234}
    final = filled(schema.Final, final)
    # Validation data do not tell the points of seed 1 apart: they choose the smaller.
    better = [
        {"seed": 1, "test_accuracy": 0.98, "nonzero_dense": 200},
        {"seed": 1, "test_accuracy": 0.99, "nonzero_dense": 250},
    ]
    front(tmp_path / "grid-madam", final=final, more=better)
    found = text(tmp_path)
    assert "\n## Fronts of LeNet-5 on MNIST, 10 epochs\n" in found
    volumes = ["0.0000", "0.0000"]  # on the edge of the box, or outside of it
    assert cells(found, "adam") == ["adam", "20", "15", *volumes, "-", "-", "600"]
    chosen, both = (300 * 0.01) / 15, (300 * 0.01 + 250 * 0.01) / 15
    texts = [f"{x / 2:.4f} ± {x / 2**0.5:.4f}" for x in (both, chosen)]
    assert cells(found, "grid-madam")[3:7] == [*texts, "98.76", "1,234"]
    assert "dense weights left. The knee is selected by the criterion chord" in found
    assert "published" not in found.lower()


def networks(*pairs) -> Front:
    names = "test_accuracy", "nonzero_dense"
    return Front(Point(metrics=dict(zip(names, x, strict=True))) for x in pairs)


OTHERS = networks((0.953, 100), (0.973, 301), (0.9731, 300), (0.9, 99))


def test_fronts_beside_published_networks(tmp_path):
    final = filled(schema.Final, {"test_accuracy": 0.9876, "nonzero_dense": 1_234})
    front(tmp_path / "adam", final=final)
    front(tmp_path / "grid")
    found = text(tmp_path, OTHERS)
    volumes = ["0.0000", "0.0000"]
    assert cells(found, "adam", "adam", "20", "15", *volumes)[0] == "50"
    assert cells(found, "grid", "grid", "20", "15", *volumes)[0] == "50"
    # The third alone, up to 10 % of the weights and an error of 0.03; the others are
    # dominated, or beyond.
    volume = (500 - 300) * (0.9731 - 0.97) / (500 * 0.03)
    expected = ["-", "4", "-", f"{volume:.4f}", *["-"] * 5]
    assert cells(found, "published") == expected
    assert "that is at most 0.3 percentage points less accurate.\n" in found


@pytest.mark.parametrize(
    "config", [{"dataset_found": "digits"}, {"model": "vgg"}], ids=str
)
def test_published_networks_are_those_of_lenet_on_mnist(config, tmp_path):
    front(tmp_path / "grid", **config)
    assert "published" not in text(tmp_path, OTHERS).lower()


OWN = [(0.97, 300), (0.95, 100), (math.nan, math.nan), (math.nan, 5)]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ((0.973, 300), 1),  # 0.3 points better, at the same number of weights
        ((0.9731, 300), 0),
        ((0.96, 299), 0),  # what has more weights does not count,
        ((0.953, 299), 1),  # and nothing is interpolated
        ((0.5, 99), 0),
        ((0.97, 58_920), 1),
    ],
)
def test_a_front_matches_a_published_network(network, expected):
    assert matched(networks(*OWN), networks(network)) == expected
    assert matched(networks(*OWN), networks(network, network)) == expected
    assert matched(Front(), networks(network)) == 0


@pytest.mark.slow
def test_published_networks_and_figures(tmp_path, capsys):
    """Those of trainings, of too few epochs for curves, and of a front."""
    folder = tmp_path / "runs"
    run(folder / "adam", 0.98, 1000, epochs=2)
    front(folder / "grid")
    file = tmp_path / "published.csv"
    file.write_text("# Their page.\ntest_accuracy,nonzero_dense\n0.99,2000\n0.98,500\n")
    assert main([str(folder), "--compare", str(file)]) == 0
    assert capsys.readouterr().out == f"{folder / 'RESULTS.md'}\n"
    found = (folder / "RESULTS.md").read_text()
    assert found.endswith(
        "\n\nThe figures of LeNet-5 on MNIST show 2 published networks for comparison. "
        "The most accurate has 99.00 % and 2,000 dense weights left.\n\n"
        "Source: Their page.\n"
    )
    links = [x.partition("](")[2][:-1] for x in found.splitlines() if x[:1] == "!"]
    fronts, trainings = (
        f"figures/{x}lenet-5-on-mnist-{epochs}-epochs"
        for x, epochs in (("fronts-of-", 10), ("", 2))
    )
    names = ["tradeoff", "front", "levels"]
    expected = {f"{fronts}/{x}.png" for x in names} | {f"{trainings}/tradeoff.png"}
    assert set(links) == expected
    written = {x.relative_to(folder).as_posix() for x in folder.rglob("*.png")}
    assert written == expected


def test_published_networks_in_the_folder_are_found(tmp_path):
    front(tmp_path / "grid")
    path = tmp_path / "published.csv"
    path.write_text("# First.\ntest_accuracy,nonzero_dense\n0.97,300\n")
    assert report(tmp_path).read_text().endswith("\nSource: First.\n")
    other = tmp_path / "other.csv"
    other.write_text("test_accuracy,nonzero_dense\n0.98,300\n")
    found = report(tmp_path, other).read_text()
    assert cells(found, "grid", "grid", "20", "15", "0.0000", "0.0000")[0] == "0"
    path.write_text("test_accuracy\n0.97\n")
    with pytest.raises(RunDirectoryError, match=r"published\.csv: .* no column nonz"):
        report(tmp_path)


# The kept page


def test_the_kept_page_has_the_tables_of_its_runs():
    kept = (KEPT / "RESULTS.md").read_text().partition("\n## Published networks")[0]
    lines = [line for line in kept.splitlines() if not line.startswith("!")]
    assert text(KEPT, read_compared(PUBLISHED)).splitlines() == lines


def test_the_hypervolumes_of_the_kept_page():
    """Those of the fronts are in their summaries, too."""
    published = read_compared(PUBLISHED)
    assert hypervolume(published, (0.03, 0.1), 58_920) == pytest.approx(0.429, abs=5e-4)
    assert matched(published, published, 0.0) == 1
    for path in (KEPT / "fronts").iterdir():
        summary = json.loads((path / "summary.json").read_text())
        own = hypervolume(read_front(path), summary["reference"], 58_920)
        assert own == pytest.approx(summary["hypervolume"])


@pytest.mark.slow
def test_the_kept_page_is_the_output_of_the_command(tmp_path):
    def pictures(folder):
        return {path.relative_to(folder) for path in folder.rglob("*.png")}

    shutil.copytree(KEPT, tmp_path / "results", ignore=shutil.ignore_patterns("*.png"))
    kept = (KEPT / "RESULTS.md").read_text()
    assert report(tmp_path / "results").read_text() == kept
    assert pictures(tmp_path / "results") == pictures(KEPT)
