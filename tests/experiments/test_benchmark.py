"""The benchmark runs, and its table is arithmetic on what it measured."""

import io
import re
import subprocess
import sys

import pytest
from rich.console import Console

from experiments import benchmark, data

ROWS = [
    "adam, one objective",
    "adam + l1, pruned",
    "smgd, pruned",
    "madam, pruned",
    "madam by gradients, pruned",
    "mrmsprop, pruned",
    "smgd by jacrev, pruned",
]


@pytest.mark.slow
def test_the_program():
    words = "-m experiments.benchmark --repeats 1 --steps 2 --device-info"
    done = subprocess.run(
        [sys.executable, *words.split()], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert re.match(r"\w+: .* x \d+; .+, \d+ cores; Python 3\.\d+\.\d+, jax ", first)
    table = "\n".join(rest)
    for name in ROWS:
        row = rf"^ +{re.escape(name)} +(\d+\.\d{{3}}) +(\d+\.\d\d) +(\d+\.\d) *$"
        found = re.search(row, table, re.MULTILINE)
        assert found, name
        assert float(found[1]) > 0
    assert re.search(rf"{ROWS[0]} +[\d.]+ +1\.00 ", table)
    assert re.search(r"^peak memory of this process: [\d,]+ MiB$", rest[-1])


def test_the_rows_are_those_of_the_issue():
    makers = benchmark._jax_makers(data.load("digits"), 32)
    assert list(makers) == ROWS


def test_all_take_turns():
    calls = []
    runners = {
        name: (lambda steps, name=name: calls.append((name, steps))) for name in "abc"
    }
    times = benchmark._measure(runners, steps=5, repeats=2)
    assert calls == [(name, 5) for name in "abcabc"]
    assert {name: len(values) for name, values in times.items()} == dict.fromkeys(
        "abc", 2
    )


def test_the_ratio_is_the_median_of_the_ratios():
    """Not the ratio of the medians: what the machine did between repeats cancels."""
    times = {"plain": [1.0, 10.0, 2.0], "other": [2.0, 20.0, 6.0]}
    console = Console(file=io.StringIO(), width=80)
    console.print(benchmark._table(times, {"plain": 0.5, "other": 1.5}, 64))
    text = console.file.getvalue()  # pyright: ignore
    assert "LeNet-5, batch 64" in text
    assert re.search(r"plain +2\.000 +1\.00 +0\.5", text)
    assert re.search(r"other +6\.000 +2\.00 +1\.5", text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--repeats 0", "--repeats 0; expected at least 1 of each"),
        ("--steps 0", "--steps is 0, .*expected at least 1 of each"),
        ("--batch-size 1798", "--batch-size is 1798; expected 1 to 1797"),
    ],
)
def test_options_out_of_range(words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", *words.split()])
    assert benchmark.main() == 2
    assert re.search(message, capsys.readouterr().err)
