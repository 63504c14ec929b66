"""The texts: their code and commands run, their numbers and addresses are right."""

import ast
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from experiments import figures, report, reproduce
from experiments.benchmark import __main__ as benchmark
from experiments.config import Config, FrontConfig, VggConfig, VggFront, parse

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]
TEXTS = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff"]
OPTIONS = {
    "mnist_lenet": Config,
    "cifar_vgg": VggConfig,
    "figures": figures.Options,
    "benchmark": benchmark.Options,
    "pareto_front": FrontConfig,
    "reproduce": reproduce.Options,
    "report": report.Options,
}


def section(text: str, title: str) -> str:
    """Return the text under a heading, with the headings below it."""
    found = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert found, f"no heading {title}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """Return the cells of a text's tables, without their headers."""
    bodies = re.findall(r"^\|[-:| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    lines = [line for body in bodies for line in body.splitlines()]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# Code and commands


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.strip().splitlines()[-1][:40])
def test_python_blocks_are_python(block):
    ast.parse(block)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.strip().splitlines()[-1][:40])
def test_python_blocks_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_idx(tmp_path / "my_idx_folder")
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def write_idx(folder):
    """Write 200 images in the format of MNIST."""
    folder.mkdir()
    numbers = np.random.default_rng(0)
    for split, size in (("train", 200), ("t10k", 50)):
        for kind, shape in (("images-idx3", (size, 28, 28)), ("labels-idx1", (size,))):
            header = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
            content = numbers.integers(10, size=shape, dtype=np.uint8).tobytes()
            (folder / f"{split}-{kind}-ubyte").write_bytes(header + content)


COMPOSED = next(block for block in BLOCKS if "bopt.smgd" in block)


def test_the_first_example_is_short():
    assert len([line for line in COMPOSED.splitlines() if line.strip()]) <= 15


@pytest.mark.parametrize("name", ["train", "trace"])
def test_examples_of_own_networks_are_short(name):
    found = [block for block in BLOCKS if f"import {name}\n" in block]
    lines = [len([x for x in block.splitlines() if x.strip()]) for block in found]
    assert lines and max(lines) <= 20


@pytest.mark.slow
def test_the_first_example_prunes(capsys):
    exec(compile(COMPOSED, "README.md", "exec"), {})
    total = re.search(r"^total +\d+ +(\d+)", capsys.readouterr().out, re.MULTILINE)
    assert total
    assert int(total[1]) < 8 * 32 + 32 + 32 + 1


def test_the_two_commands_are_there():
    assert (
        'pip install -e ".[experiments]" && python -m experiments.mnist_lenet'
        in COMMANDS
    )
    assert 'pip install -e ".[dev]" && python -m pytest' in COMMANDS


def options_of(words: list[str]):
    """Return the class of options of a command line."""
    options = OPTIONS[words[0]]
    return VggFront if "vgg" in words and options is FrontConfig else options


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"python -m experiments\.[^\n`\"]+", README)))
)
def test_commands_are_understood(command):
    """Programs and options exist."""
    words = shlex.split(command.removeprefix("python -m experiments."), comments=True)
    if "--help" in words or "--version" in words:
        with pytest.raises(SystemExit, match=r"^0$"):
            parse(options_of(words), words[0], words[1:])
    else:
        parse(options_of(words), words[0], words[1:])


# Options that make a command of README short.
TRAINING = "--dataset digits --train-size 64 --epochs 1 --no-figures"
SHORT = {
    "mnist_lenet": TRAINING,
    "cifar_vgg": TRAINING,
    "pareto_front": f"{TRAINING} --final-epochs 1 --budget 3",
    "reproduce": "--smoke --seeds 1 --epochs 1",
    "report": "",
    "figures": "",
    "benchmark": "--steps 2 --repeats 2",
}
ALONE = ("--distributed", "--devices")  # what needs other machines: test_processes
# `experiments.reproduce` with two of a part's runs; test_reproduce trains all kinds.
TWO_RUNS = """
import runpy
from experiments.paper_runs import PARTS
for name, part in PARTS.items():
    PARTS[name] = part._replace(runs=dict([*part.runs.items()][::6]))
runpy.run_module("experiments.reproduce", run_name="__main__", alter_sys=True)
"""
FOLDERS = re.compile(r"\b(?:runs/\w+|results)\b")


def shortened(command: str) -> list[str] | None:
    """Return the words of a command that runs in seconds; None if it cannot run."""
    found = re.search(r"python -m experiments\.(.*)", command)
    if not found or any(word in command for word in ALONE):
        return None
    program, *words = shlex.split(found[1], comments=True)
    more = SHORT[program].split()
    if "--resume" in words:
        more = []  # the options stored there
    if program == "benchmark" and "front" in words:
        more += ["--networks", "1", "2"]
    # Of two equal options, the last one counts.
    return [f"experiments.{program}", *words, *more]


def groups() -> dict[str, list[list[str]]]:
    """Return the short commands of README in its order; those that name a folder of
    others are together with them."""
    found: list[tuple[set[str], list[list[str]]]] = []
    for words in filter(None, map(shortened, COMMANDS)):
        named, together = set(FOLDERS.findall(" ".join(words))), [words]
        for own in [own for own in found if own[0] & named][::-1]:
            found.remove(own)
            named, together = named | own[0], own[1] + together
        found.append((named, together))
    return {" ".join(group[0]): group for _, group in found}


GROUPS = groups()


def make_runs(folder: Path, commands: list[list[str]]) -> None:
    """Make what commands name before it exists: runs, published networks."""
    from experiments.launch import main
    from experiments.mnist_lenet import network

    text = "\n".join(map(" ".join, commands))
    for name in set(re.findall(r"\S+\.csv", text)):
        (folder / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, folder / name)
    named = set(re.findall(r"\bruns/\w+", text))
    first, *others = sorted(named - set(re.findall(r"--out (runs/\w+)", text))) or [""]
    if first:
        words = f"{TRAINING} --out {folder / first}".split()
        assert main("mnist_lenet", Config, network, words) == 0
    for other in others:
        shutil.copytree(folder / first, folder / other)


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_commands_run(group, tmp_path):
    """Those that name each other's runs one after another, in one folder."""
    make_runs(tmp_path, GROUPS[group])
    for program, *words in GROUPS[group]:
        started = ["-c", TWO_RUNS] if program.endswith("reproduce") else ["-m", program]
        done = subprocess.run(
            [sys.executable, *started, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"


def test_commands_of_all_programs_run():
    ran = {program for group in GROUPS.values() for program, *_ in group}
    expected = ("mnist_lenet", "pareto_front", "figures", "reproduce", "report")
    assert {f"experiments.{name}" for name in expected} <= ran


# Numbers, links and addresses


def test_tables_of_results_quote_the_page():
    """Also where a row has another text: its numbers are in one row of the page."""
    page = rows((ROOT / "experiments/results/RESULTS.md").read_text())
    quoted = rows(section(README, "Results"))
    quoted += rows(section(README, "Fronts of LeNet-5 on MNIST"))
    assert len(quoted) > 10
    for cells in quoted:
        numbers = {x for x in cells if re.fullmatch(r"[\d.,]+( ± [\d.,]+)?", x)}
        assert len(numbers) > 1, cells
        assert any(numbers <= set(row) for row in page), cells


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("https://"):
            assert (ROOT / target).is_file(), target
    for target in re.findall(r'src="([^"]+)"', README):
        assert (ROOT / target).is_file(), target


def test_one_address_everywhere():
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    address = project["urls"]["Repository"]
    stated = set()
    for name in TEXTS:
        stated |= set(
            re.findall(r"https://github\.com/[\w-]+/bopt\b", (ROOT / name).read_text())
        )
    assert stated == {address}
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["repository-code"] == address
    assert citation["version"] == project["version"]
    assert project["version"] in (ROOT / "CHANGELOG.md").read_text()


def test_no_text_installs_another_project():
    """Another project owns `bopt` on the package index."""
    for name in TEXTS:
        for line in (ROOT / name).read_text().splitlines():
            assert not re.search(r"pip install\s+(-\S+\s+)*[\"']?bopt\b(?!-jax)", line)


def test_every_file_that_the_texts_name_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for path in re.findall(r"`((?:bopt|tests|experiments)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path
