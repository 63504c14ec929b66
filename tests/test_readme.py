"""The texts: their code runs, their commands and addresses are true."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from experiments import figures, report, reproduce
from experiments.benchmark import __main__ as benchmark
from experiments.cifar_vgg import VggConfig
from experiments.config import Config, parse
from experiments.front_options import LenetFront

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
TEXTS = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff"]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.strip().splitlines()[-1][:40])
def test_python_blocks_run(block):
    exec(compile(block, "README.md", "exec"), {})


def test_the_first_example_is_short_and_prunes(capsys):
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]
    assert len(lines) <= 15
    exec(compile(BLOCKS[0], "README.md", "exec"), {})
    total = re.search(r"^total +\d+ +(\d+)", capsys.readouterr().out, re.MULTILINE)
    assert total
    assert int(total[1]) < 8 * 32 + 32 + 32 + 1


def test_the_two_commands_are_there():
    assert (
        'pip install -e ".[experiments]" && python -m experiments.mnist_lenet'
        in COMMANDS
    )
    assert 'pip install -e ".[dev]" && python -m pytest' in COMMANDS


@pytest.mark.parametrize(
    "command",
    sorted({c for c in re.findall(r"python -m experiments\.[^\n`\"]+", README)}),
)
def test_commands_are_understood(command):
    """Options and modules exist; the runs themselves are tested elsewhere."""
    words = shlex.split(command.removeprefix("python -m experiments."))
    options = {
        "mnist_lenet": Config,
        "cifar_vgg": VggConfig,
        "figures": figures.Options,
        "benchmark": benchmark.Options,
        "pareto_front": LenetFront,
        "reproduce": reproduce.Options,
        "report": report.Options,
    }
    if "--help" in words:
        with pytest.raises(SystemExit, match=r"^0$"):
            parse(options[words[0]], words[0], words[1:])
    else:
        parse(options[words[0]], words[0], words[1:])


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("https://"):
            assert (ROOT / target).is_file(), target
    for target in re.findall(r'src="([^"]+)"', README):
        assert (ROOT / target).is_file(), target


def rows(text):
    """The cells of a text's tables, without their heads."""
    bodies = re.findall(r"^\|[-:| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    lines = [line for body in bodies for line in body.splitlines()]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_tables_of_results_quote_the_page():
    own = README.partition("\n### Results\n")[2].partition("\n### Speed\n")[0]
    page = rows((ROOT / "experiments/results/RESULTS.md").read_text())
    assert len(rows(own)) > 10
    for cells in rows(own):
        numbers = {x for x in cells if re.fullmatch(r"[\d.,]+( ± [\d.,]+)?", x)}
        assert len(numbers) > 1
        assert any(numbers <= set(row) for row in page), cells


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
