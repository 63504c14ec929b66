"""The page of results: its statements on runs of known figures, and the kept page."""

import json
import shutil
from pathlib import Path

import pytest

import experiments
from experiments.report import main, report
from experiments.runs.directory import RunDirectoryError

KEPT = Path(experiments.__file__).parent / "results"
PUBLISHED = (
    Path(__file__).parents[3] / "shared/reference/fig4b_accuracy_vs_nonzeros.csv"
)
EPOCH = {
    "epoch": 0,
    "objectives": [1.0, 2.0],
    "weights": [0.5, 0.5],
    "nonzeros": {"Dense_0": 9},
    **{
        f"{split}_{name}": 0.5
        for split in ("train", "validation", "test")
        for name in ("accuracy", "cross_entropy")
    },
}


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
    """A run directory as an experiment writes it, of these figures."""
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
    files = {
        "config.json": described | (config or {}),
        "summary.json": summary | options,
    }
    for name, content in {**files, "metrics.jsonl": EPOCH}.items():
        (path / name).write_text(json.dumps(content) + "\n")


def cells(page: str, *starts: str) -> list[str]:
    """The cells after these, of the one row that begins so."""
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


def test_the_papers_method_against_others(tmp_path):
    """Two standard errors are 0.16 points, and 16 weights."""
    run(tmp_path / "madam", 0.98, 1000)
    for name, (accuracy, left, _) in OUTCOMES.items():
        run(tmp_path / name, accuracy, left)
    page = report(tmp_path).read_text()
    for name, (_, _, outcome) in OUTCOMES.items():
        assert cells(page, "madam", name)[-1] == outcome
    assert "\nWhere it loses: madam to adam-2; madam to adam-3.\n" in page
    (tmp_path / "adam-2" / "config.json").unlink()
    (tmp_path / "adam-3" / "config.json").unlink()
    page = report(tmp_path).read_text()
    assert "\nWhere it loses: nowhere in this table.\n" in page


def test_one_seed_tells_no_difference(tmp_path):
    run(tmp_path / "madam", 0.98, 1000)
    run(tmp_path / "adam", 0.99, 900, seeds=1)
    page = report(tmp_path).read_text()
    told = ["-1.00 (one seed)", "+100 (one seed)", "-"]
    assert cells(page, "madam", "adam") == told
    assert "\nIt cannot be told whether it loses: madam to adam.\n" in page
    run(tmp_path / "adam-2", 0.99, 900)
    page = report(tmp_path).read_text()
    last = "loses: madam to adam-2. It cannot be told whether it loses: madam to adam."
    assert last in page


def test_a_dead_network_tells_no_difference(tmp_path):
    run(tmp_path / "madam", 0.98, 1000)
    run(tmp_path / "adam", None, 900)
    page = report(tmp_path).read_text()
    assert cells(page, "madam", "adam")[0] == "+nan (not finite)"


def test_what_the_page_says_of_each_run(tmp_path):
    run(tmp_path / "adam", 0.9876, 1234)
    run(tmp_path / "adam-unpruned", 0.99, 58_920, seeds=1)
    run(tmp_path / "smgd", 0.98, 1000, finished=False)
    (tmp_path / "notes.md").write_text("A cold day.\n")
    page = report(tmp_path).read_text()
    assert page.endswith("left out: smgd.\n\n## Notes\n\nA cold day.\n")
    assert cells(page, "adam", "98.76 ± 0.10") == [
        *("0.1000 ± 0.0000", "5.0 ± 0.0", "1,234 ± 10"),
        *("90.00 ± 0.00", "80.00 ± 0.00", "60"),
    ]
    assert cells(page, "adam-unpruned", "99.00")[0] == "0.1000"
    assert cells(page, "adam", "-0.24 (one seed)") == ["-57,686 (one seed)"]
    sum_of = "adam on cross entropy + 0.0003 * l1"
    assert cells(page, "adam", f"{sum_of}; pruned below 0.001") == []
    assert cells(page, "adam-unpruned", f"{sum_of}; not pruned") == []
    assert "\n- Not finished, and so left out: smgd.\n" in page
    assert "| smgd |" not in page
    assert "\nMade on kind cpu, jax 0.10, commit.\n" in page
    for line in page.splitlines():
        if line.startswith("!"):
            assert (tmp_path / line.partition("(")[2][:-1]).stat().st_size > 10_000


def test_what_is_missing_of_a_part(tmp_path):
    run(tmp_path / "mnist" / "adam", 0.98, 1000)
    run(tmp_path / "mnist" / "sgd", 0.98, 1000, epochs=2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"experiment": "mine"}')
    page = report(tmp_path).read_text()
    command = "`python -m experiments.reproduce --part mnist --seeds 3 --out DIR`"
    assert f"\nMade by {command}, on kind cpu, jax 0.10, commit.\n" in page
    assert f"Made by {command.replace('--seeds', '--epochs 2 --seeds')}, on" in page
    missing = page.partition("\n## Missing\n")[2]
    assert "\n- Not begun: mnist/madam.\n" in missing
    assert "mnist/adam." not in missing and "cifar" not in missing


def test_runs_of_other_lengths_are_not_compared(tmp_path):
    run(tmp_path / "adam", 0.99, 500)
    run(tmp_path / "madam", 0.98, 1000, epochs=2)
    page = report(tmp_path).read_text()
    first, _, second = page.partition("\n## LeNet-5 on MNIST, 2 epochs\n")
    assert "\n## LeNet-5 on MNIST, 30 epochs\n" in first
    assert "| adam |" in first and "| madam |" not in first
    assert "| madam |" in second and "| adam |" not in second
    assert "loses" not in page
    assert "Shortened" not in first
    shortened = "\nBatch size: 32; seeds: 3; data: files. **Shortened: 2 of the "
    assert second.startswith(shortened + "experiment's own 30 epochs.**\n")
    run(tmp_path / "sgd", 0.98, 1000, config={"train_size": 1500})
    page = report(tmp_path).read_text()
    assert "\n## LeNet-5 on MNIST, 30 epochs, 1,500 images\n" in page
    assert "Shortened: 1,500 training images.**\n" in page


def test_differences_within_two_standard_errors_are_none(tmp_path):
    run(tmp_path / "adam", 0.9811, 1000)
    run(tmp_path / "adam-unpruned", 0.98, 1000)
    page = report(tmp_path).read_text()
    told = ["+0.11 ± 0.16: no difference", "+0 ± 16: no difference"]
    assert cells(page, "adam", *told) == []


def test_nothing_to_report(tmp_path, capsys):
    run(tmp_path / "smgd", 0.98, 1000, finished=False)
    with pytest.raises(RunDirectoryError, match="holds no finished run"):
        report(tmp_path)
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path} holds no finished run.\n"


def test_published_networks(tmp_path):
    run(tmp_path / "runs" / "adam", 0.98, 1000)
    file = tmp_path / "published.csv"
    file.write_text("# Their page.\ntest_accuracy,nonzero_dense\n0.99,2000\n0.98,500\n")
    assert main([str(tmp_path / "runs"), "--compare", str(file)]) == 0
    page = (tmp_path / "runs" / "RESULTS.md").read_text()
    assert page.endswith(
        "\n\nFigures of LeNet-5 on MNIST show 2 of them beside ours; the most accurate "
        "has 99.00 % and 2,000 dense weights left.\n\nSource: Their page.\n"
    )


def test_the_kept_page_is_what_the_command_writes(tmp_path):
    """But for the published networks, whose file a user may not have."""

    def pictures(folder):
        return {path.relative_to(folder) for path in folder.rglob("*.png")}

    shutil.copytree(KEPT, tmp_path / "results", ignore=shutil.ignore_patterns("*.png"))
    kept = (KEPT / "RESULTS.md").read_text()
    there = PUBLISHED.is_file()
    page = report(tmp_path / "results", PUBLISHED if there else None).read_text()
    last = "\n## Published networks"
    assert page == (kept if there else kept.partition(last)[0])
    assert pictures(tmp_path / "results") == pictures(KEPT)
    for file in tmp_path.rglob("*.png"):
        assert file.stat().st_size > 10_000
