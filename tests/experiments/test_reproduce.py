"""All runs of the paper: their options, and that they go on where they were."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
from programs import start

from experiments import report, reproduce
from experiments.config import parse
from experiments.reproduce import PARTS, Options
from experiments.runs.directory import read
from experiments.report_tables import Result

RUNS = [(name, run) for name, part in PARTS.items() for run in part.runs]


@pytest.mark.parametrize("smoke", [False, True])
@pytest.mark.parametrize(("name", "run"), RUNS)
def test_the_options_of_each_run(name, run, smoke):
    part = PARTS[name]
    words = part.smoke if smoke else part.words
    config = parse(
        reproduce.PROGRAMS[part.program].options,
        "reproduce",
        f"{words} {part.runs[run]}".split(),
    )
    expected = "digits" if smoke else {"cifar": "cifar10"}.get(name, "mnist")
    assert config.dataset == expected  # never what happens to be found
    resolved = program.resolve(config, config.dataset)
    if name == "fronts":
        search, _, optimizer = run.partition("-")
        assert resolved.search == search
        assert resolved.optimizer == (optimizer or "adam")
    else:
        assert resolved.prune is not run.endswith(("-unpruned", "-plain"))
    if not smoke:
        epochs = {"mnist": 30, "cifar": 125, "fronts": 10, "normalize": 10}
        assert resolved.epochs == epochs[name]


@pytest.mark.parametrize("name", [name for name in PARTS if name != "fronts"])
def test_the_page_tells_the_runs_of_a_part_apart(name):
    part, told = PARTS[name], set()
    program = reproduce.PROGRAMS[part.program]
    for run, words in part.runs.items():
        config = parse(
            reproduce.PROGRAMS[part.program].options,
            "reproduce",
            f"{part.words} {words}".split(),
        )
        described = dataclasses.asdict(
            reproduce.PROGRAMS[part.program].resolve(config, config.dataset)
        )
        told.add(Result(run, Path(run), described, {}).description)
    assert len(told) == len(part.runs)


@pytest.fixture
def short():
    """Two runs of LeNet-5."""
    runs = {"adam": "--optimizer adam", "once": PARTS["mnist"].runs["once"]}
    words = "--dataset digits --no-figures --train-size 64 --epochs 1"
    return {"mnist": PARTS["mnist"]._replace(smoke=words, runs=runs)}


@pytest.mark.slow
def test_what_is_done_is_not_done_again(short, tmp_path, capsys):
    options = Options(str(tmp_path / "all"), seeds=2, smoke=True, epochs=2)
    assert reproduce.reproduce(short, options) == 0
    out = capsys.readouterr().out
    assert re.match(
        r"Measuring.*\n2 runs of 2 seeds into .*all: about \d+ minutes if none", out
    )
    paths = [tmp_path / "all" / "mnist" / run for run in ("adam", "once")]
    for path in paths:
        assert read(path).summary["finished"] and read(path).config["seeds"] == 2
    assert read(paths[1]).summary["dense_sparsity"] == pytest.approx(0.98, abs=1e-4)
    assert all(read(path).config["epochs"] == 2 for path in paths)  # as asked for
    # The second is as if it had been killed in its last epoch.
    shutil.rmtree(max((paths[1] / "checkpoints").glob("[0-9]*")))
    summary = paths[1] / "summary.json"
    content = json.loads(summary.read_text())
    summary.write_text(json.dumps(content | {"finished": False}))
    assert reproduce.reproduce(short, options) == 0
    out = capsys.readouterr().out
    assert f"{paths[0]} is finished: nothing is left to do." in out
    assert f"{paths[1]} is finished" not in out
    assert json.loads(summary.read_text())["finished"] is True
    page = report.report(tmp_path / "all").read_text()
    assert "| adam |" in page and "| once |" in page


def test_a_run_that_fails_does_not_stop_the_others(short, tmp_path, capsys):
    short["mnist"].runs["adam"] = "--optimizer adam --learning-rate nan"
    options = Options(str(tmp_path / "all"), seeds=1, smoke=True)
    with pytest.raises(reproduce.ConfigError, match="--learning-rate is nan"):
        reproduce.reproduce(short, options)  # before anything has begun
    assert not (tmp_path / "all").exists()
    short["mnist"].runs["adam"] = "--optimizer adam --learning-rate 1e38"
    assert reproduce.reproduce(short, options) == 1
    err = capsys.readouterr().err
    assert "error: The objectives are not finite" in err
    assert f"error: failed, as said above: {tmp_path}/all/mnist/adam\n" in err
    assert read(tmp_path / "all" / "mnist" / "once").summary["finished"] is True


@pytest.mark.slow
def test_all_of_it_in_minutes(tmp_path):
    words = f"--smoke --seeds 2 --out {tmp_path / 'all'}"
    process = start(("-m", "experiments.reproduce"), words)
    _, err = process.communicate(timeout=1800)
    assert (process.returncode, err) == (0, "")
    page = report.report(tmp_path / "all").read_text()
    for _, run in RUNS:
        assert f"\n| {run} |" in page
    headings = ["LeNet-5 on", "VGG on", "Fronts of LeNet-5 on", "Missing"]
    assert [page.count(f"\n## {heading}") for heading in headings] == [2, 1, 1, 0]
