"""All runs of `reproduce`: their options, their processes, and what is resumed."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from fronts import use_small
from programs import finish, normalised, small, start, wait_for_epochs

from experiments import pareto_front, report, reproduce
from experiments.config import (
    Config,
    FrontConfig,
    TextConfig,
    VggConfig,
    flat,
    resolve,
    resolve_front,
)
from experiments.launch import read_options
from experiments.paper_runs import PARTS
from experiments.report_tables import Result
from experiments.reproduce import Options, arguments
from experiments.runs.reading import read, read_json

RUNS = [(name, run) for name, part in PARTS.items() for run in part.runs]
OPTIONS = {
    "mnist_lenet": Config,
    "cifar_vgg": VggConfig,
    "text_transformer": TextConfig,
    "pareto_front": FrontConfig,
}
REPRODUCE = ("-m", "experiments.reproduce")


def options_of(name: str, run: str, options: Options) -> dict:
    """Return the resolved options with which a run starts."""
    part = PARTS[name]
    words = arguments(part, run, options, Path("nowhere"))
    config = read_options(lambda _: OPTIONS[part.program], part.program, words)
    resolved = resolve_front if part.program == "pareto_front" else resolve
    return flat(resolved(config, config.data.dataset))


@pytest.mark.parametrize("smoke", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PARTS)
def test_the_options_of_each_run(name, smoke):
    part = PARTS[name]
    for run in part.runs:
        found = options_of(name, run, Options("all", smoke=smoke))
        expected = "digits" if smoke else "mnist"
        if part.program == "text_transformer":
            expected = "python_docs"
        elif part.program == "cifar_vgg" and not smoke:
            expected = "cifar10"
        assert found["dataset"] == expected  # never whichever is available
        assert (found["seeds"], found["out"]) == (3, "nowhere")
        if part.program == "pareto_front":
            search, _, optimizer = run.removeprefix("published-").partition("-")
            default = "madam" if name == "published-fronts" else "adam"
            if name == "sparse-fronts":
                assert (found["pruning"], search) == ("saliency", "saliency")
                search, optimizer = "grid", ""
            assert found["search"] == search
            assert found["optimizer"] == (optimizer or default)
        else:
            assert found["prune"] is not run.endswith(("unpruned", "-plain"))
        if not smoke:
            epochs = {"mnist": 30, "cifar": 125, "fronts": 10, "published": 30}
            epochs |= {"normalize": 10, "sparse": 30, "text": 10}
            own = 30 if run == "saliency-30" else epochs[name.split("-")[-1]]
            assert found["epochs"] == own


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PARTS if "fronts" not in name])
def test_the_page_distinguishes_the_runs_of_a_part(name):
    descriptions = {
        Result(run, Path(run), options_of(name, run, Options("all")), {}).description
        for run in PARTS[name].runs
    }
    assert len(descriptions) == len(PARTS[name].runs)


def test_options_of_all_runs():
    options = Options("all", seeds=2, epochs=7, data_dir="there")
    found = options_of("mnist", "adam", options)
    given = {"seeds": 2, "epochs": 7, "data_dir": "there"}
    assert found == found | given


def test_a_run_that_has_begun_is_resumed(tmp_path):
    words = arguments(PARTS["mnist"], "adam", Options("all"), tmp_path)
    assert words[-2:] == ["--out", str(tmp_path)]
    (tmp_path / "config.json").write_text("{}")
    words = arguments(PARTS["mnist"], "adam", Options("all"), tmp_path)
    assert words[-2:] == ["--resume", str(tmp_path)]


@pytest.fixture
def codes(monkeypatch):
    """Exit codes that runs, which are not started, end with; then their folders."""
    given, folders = {}, []

    def run(module, words):
        assert module == "experiments.mnist_lenet"
        folders.append(Path(words[-1]).name)
        return given.get(folders[-1], 0)

    monkeypatch.setattr(reproduce, "_run", run)
    return given, folders


FOUR = {name: "" for name in ("a", "b", "c", "d")}


@pytest.mark.parametrize(
    ("code", "expected", "begun", "message"),
    [
        (0, 0, "abcd", ""),
        (1, 1, "abcd", "error: These runs failed: all/mnist/b, all/mnist/d.\n"),
        (2, 2, "ab", ""),  # wrong options or data: the same for all
        (130, 130, "ab", "Rerun the command to resume.\n"),
        (143, 143, "ab", "Rerun the command to resume.\n"),
    ],
)
def test_the_exit_code(code, expected, begun, message, codes, capsys):
    given, folders = codes
    given.update({"b": code, "d": code})
    parts = {"mnist": PARTS["mnist"]._replace(runs=FOUR)}
    assert reproduce.reproduce(parts, Options("all")) == expected
    assert "".join(folders) == begun
    out, err = capsys.readouterr()
    assert err == message
    assert out.splitlines() == [
        f"Run {number} of 4: all/mnist/{name}" for number, name in enumerate(begun, 1)
    ]


@pytest.mark.parametrize("part", ["all", *PARTS])
def test_the_runs_of_each_part(part, codes, monkeypatch):
    started = []
    monkeypatch.setattr(
        reproduce, "_run", lambda module, words: started.append(module) or 0
    )
    assert reproduce.main(["--part", part, "--out", "all"]) == 0
    names = PARTS if part == "all" else [part]
    assert started == [
        f"experiments.{PARTS[name].program}" for name in names for _ in PARTS[name].runs
    ]


# Whole runs


@pytest.fixture
def short():
    """Two runs of LeNet-5 instead of those of the part mnist."""
    runs = {"adam": "--optimizer adam", "once": PARTS["mnist"].runs["once"]}
    words = "--dataset digits --no-figures --train-size 64 --epochs 1"
    return {"mnist": PARTS["mnist"]._replace(smoke=words, runs=runs)}


@pytest.mark.slow
def test_finished_runs_are_left_alone_and_failed_ones_are_named(short, tmp_path, capfd):
    short["mnist"].runs["bad"] = "--optimizer adam --learning-rate 1e38"
    options = Options(str(tmp_path / "all"), seeds=2, smoke=True, epochs=2)
    adam, once, bad = (tmp_path / "all" / "mnist" / run for run in short["mnist"].runs)
    assert reproduce.reproduce(short, options) == 1
    err = capfd.readouterr().err
    assert (
        "error: The cross entropy is not finite" in err or "objectives are not" in err
    )
    assert err.endswith(f"error: These runs failed: {bad}.\n")
    for path in (adam, once):
        assert read(path).summary["finished"] and read(path).config["seeds"] == 2
        assert read(path).config["epochs"] == 2  # as given
    assert read(once).summary["dense_sparsity"] == pytest.approx(0.98, abs=1e-4)
    # As if the second had been killed before its figures.
    for file in once.rglob("summary.json"):
        file.write_text(
            file.read_text().replace('"finished": true', '"finished": false')
        )
    del short["mnist"].runs["bad"]
    shutil.rmtree(bad)
    assert reproduce.reproduce(short, options) == 0
    out = capfd.readouterr().out
    assert f"{adam} is finished: nothing is left to do." in out
    assert f"{once} is finished" not in out
    assert read(once).summary["finished"] is True
    page = report.report(tmp_path / "all").read_text()
    assert "| adam |" in page and "| once |" in page


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_run_and_the_command_resumes(number, tmp_path):
    words = f"--smoke --part mnist --seeds 1 --epochs 100000 --out {tmp_path}"
    path = tmp_path / "mnist" / "sgd"
    process = start(REPRODUCE, words)
    wait_for_epochs(process, path, 2)
    os.kill(process.pid, number)
    code, _, err = finish(process)
    assert code == 128 + number
    assert f"Stopped by {number.name}: everything done is saved." in err
    assert err.endswith("\nRerun the command to resume.\n")
    done = read(path)
    assert done.summary["finished"] is False
    assert done.summary["epochs"] == len(done.metrics) - 1  # nothing was cut in two
    if number == signal.SIGTERM:
        process = start(REPRODUCE, words)
        wait_for_epochs(process, path, len(done.metrics) + 1)
        os.kill(process.pid, number)
        assert finish(process)[0] == 143
        assert read(path).metrics[: len(done.metrics)] == done.metrics


TRAINED = {
    "mnist": "sgd adam smgd-unpruned madam madam-gradients adam-plain cubic once",
    "cifar": "sgd rmsprop-unpruned smgd mrmsprop-unpruned mrmsprop-directions "
    "mrmsprop-gradients",
    "normalize": "madam-none madam-gradients-l2 smgd-loss madam-loss+",
    "published": " ".join(PARTS["published"].runs),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_runs_with_each_option_train(name, tmp_path):
    """With small networks instead of LeNet-5 and VGG."""
    part, runs = PARTS[name], TRAINED[name].split()
    trained, given = (
        {word for run in names for word in part.runs[run].split()}
        for names in (runs, part.runs)
    )
    assert trained == given
    program = small if part.program == "mnist_lenet" else normalised
    for run in runs:
        words = arguments(part, run, Options("", smoke=True, seeds=1), tmp_path / run)
        assert program(f"{' '.join(words)} --train-size 64 --epochs 1") == 0
        assert read_json(tmp_path / run / "summary.json")["finished"]


@pytest.mark.slow
def test_all_fronts_train(tmp_path, monkeypatch, capfd):
    """In this process, with a small network instead of LeNet-5; and their page."""
    use_small(monkeypatch)
    monkeypatch.setattr(reproduce, "_run", lambda _, words: pareto_front.main(words))
    words = f"--smoke --part fronts --seeds 1 --epochs 1 --out {tmp_path / 'all'}"
    assert reproduce.main(words.split()) == 0
    assert capfd.readouterr().err == ""
    page = report.report(tmp_path / "all").read_text()
    for run in PARTS["fronts"].runs:
        assert f"\n| {run} |" in page
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert len(headings) == 1 and headings[0].startswith("Fronts of LeNet-5 on")
