"""The benchmark runs, and its table is arithmetic on what it measured."""

import io
import re
import subprocess
import sys

import pytest
from networks import Normalised, noise
from rich.console import Console

from experiments import data
from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import step as benchmark_step
from experiments.benchmark.step import Cost
from experiments.cifar_vgg import VggConfig

MULTI_GRADIENT = [
    "smgd, pruned",
    "madam, pruned",
    "madam by gradients, pruned",
    "mrmsprop, pruned",
    "smgd by jacrev, pruned",
]
ROWS = {
    "lenet5": ["adam, one objective", "adam + l1, pruned", *MULTI_GRADIENT],
    "vgg": ["rmsprop, one objective", "rmsprop + l1, pruned", *MULTI_GRADIENT],
}


@pytest.mark.slow
def test_the_program():
    words = "-m experiments.benchmark --model lenet5 --repeats 1 --steps 2"
    done = subprocess.run(
        [sys.executable, *words.split(), "--device-info"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert re.match(r"\w+: .* x \d+; .+, \d+ cores; Python 3\.\d+\.\d+, jax ", first)
    table = "\n".join(rest)
    assert "LeNet-5, batch 32" in table
    for name in ROWS["lenet5"]:
        numbers = r"(\d+\.\d{3}) +(\d+\.\d\d) +(\d+\.\d) +(\d+)"
        found = re.search(rf"^ +{re.escape(name)} +{numbers} *$", table, re.MULTILINE)
        assert found, name
        assert float(found[1]) > 0
        # The images, 1.3 MiB, and little else.
        assert 1 < int(found[4]) < 100
    assert re.search(r"adam, one objective +[\d.]+ +1\.00 ", table)
    assert re.search(r"^peak memory of this process: [\d,]+ MiB$", rest[-1])


@pytest.mark.parametrize("model", ROWS)
def test_the_rows_are_those_of_the_issue(model):
    network = benchmark.NETWORKS[model]
    digits = data.load("digits", preferred=network.config.PREFERRED)
    makers = benchmark_step.makers(
        network.module, network.config, network.plain, digits, 32
    )
    assert list(makers) == ROWS[model]


def test_each_model_has_the_batch_of_its_experiment():
    networks = benchmark.NETWORKS
    assert {name: n.config.batch_size for name, n in networks.items()} == {
        "lenet5": 32,
        "vgg": 64,
    }
    assert list(networks) == list(ROWS)


@pytest.mark.parametrize("number", [0, -1])
def test_a_row_trains_and_knows_its_memory(number):
    """Of a small network with batch statistics and dropout."""
    plain = benchmark.NETWORKS["vgg"].plain
    images = noise(4_000, train=4_000, validation=0)
    makers = benchmark_step.makers(Normalised(), VggConfig(), plain, images, 8)
    run, memory = list(makers.values())[number]()
    run(3)
    size = images.images.nbytes
    assert memory is not None
    assert size < memory < 2 * size  # 3 MiB, and little else


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
    costs = {"plain": Cost(0.5, None), "other": Cost(1.5, 1_234 << 20)}
    console.print(benchmark_step.table(times, costs, "VGG, batch 64"))
    text = console.file.getvalue()  # pyright: ignore
    assert "VGG, batch 64" in text
    assert "memory (MiB)" in text
    assert re.search(r"plain +2\.000 +1\.00 +0\.5 +- *$", text, re.MULTILINE)
    assert re.search(r"other +6\.000 +2\.00 +1\.5 +1,234 *$", text, re.MULTILINE)


def test_a_row_fits_into_a_line_of_80_characters():
    """Cause: with a column more, names were broken in two where output is piped."""
    names = [*ROWS["vgg"], "PyTorch adam, one objective"]
    console = Console(file=io.StringIO(), width=80)
    costs = dict.fromkeys(names, Cost(99.9, 1_234 << 20))
    times = {name: [1_234.567] for name in names}
    console.print(benchmark_step.table(times, costs, "VGG, batch 64"))
    text = console.file.getvalue()  # pyright: ignore
    for name in names:
        row = rf"^ +{re.escape(name)} +1234\.567 +1\.00 +99\.9 +1,234 *$"
        assert re.search(row, text, re.MULTILINE), name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--repeats 0", "--repeats 0; expected at least 1 of each"),
        ("--steps 0", "--steps is 0, .*expected at least 1 of each"),
        ("--batch-size 1798", "--batch-size is 1798; expected 1 to 1797"),
        ("--model vgg --batch-size 0", "--batch-size is 0; expected 1 to 1797"),
        ("--model vgg --steps 0", "--steps is 0, .*expected at least 1 of each"),
    ],
)
def test_options_out_of_range(words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", *words.split()])
    assert benchmark.main() == 2
    assert re.search(message, capsys.readouterr().err)
