"""The benchmark of many networks runs, and its table is arithmetic on what it
measured."""

import io
import re
import subprocess
import sys

import jax
import pytest
from networks import Small, noise
from rich.console import Console

from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import networks as benchmark_front
from experiments.benchmark.networks import ALONE
from experiments.config import Config
from experiments.training.trainer import Trainer

MIB = 1 << 20


def rows(times, memory, steps=10, width=80) -> dict[str, list[str]]:
    """Name -> the other columns, as printed."""
    console = Console(file=io.StringIO(), width=width)
    console.print(benchmark_front.table(times, memory, steps, "LeNet-5, batch 32"))
    text = console.file.getvalue()  # pyright: ignore
    assert "LeNet-5, batch 32" in text
    found = re.findall(r"^ +(one alone|\d+) +(.*\S) *$", text, re.MULTILINE)
    assert [name for name, _ in found] == list(times)
    return {name: columns.split() for name, columns in found}


def test_milliseconds_are_those_of_a_step_and_network():
    """Of the repeats, the median. The ratio is the median of the ratios, not the ratio
    of the medians: what the machine did between repeats cancels."""
    times = {ALONE: [10.0, 100.0, 20.0], "1": [11.0] * 3, "4": [20.0, 200.0, 120.0]}
    found = rows(times, dict.fromkeys(times), steps=5)
    assert {name: columns[:2] for name, columns in found.items()} == {
        ALONE: ["4.000", "1.00"],
        "1": ["2.200", "0.55"],
        "4": ["6.000", "0.50"],
    }


def test_memory_in_all_and_what_each_network_adds():
    memory = {ALONE: 9 * MIB, "1": 10 * MIB, "4": 16 * MIB, "16": 1_234 * MIB}
    found = rows({name: [1.0] for name in memory}, memory)
    assert {name: columns[2:] for name, columns in found.items()} == {
        ALONE: ["9.0", "-"],
        "1": ["10.0", "-"],
        "4": ["16.0", "2.00"],
        "16": ["1,234.0", "101.50"],
    }


@pytest.mark.parametrize(
    ("memory", "added"),
    [
        ({ALONE: 9, "4": 16}, {"4": "-"}),  # one alone is another program
        ({ALONE: 9, "16": 40, "4": 16}, {"16": "2.00", "4": "-"}),
        ({ALONE: 9, "2": 8, "4": None, "8": 11}, {"2": "-", "4": "-", "8": "0.50"}),
        ({ALONE: None, "1": None, "4": None}, {"1": "-", "4": "-"}),
        ({ALONE: None, "1": 4, "3": 2}, {"1": "-", "3": "-1.00"}),
    ],
    ids=str,
)
def test_the_next_smaller_number_is_what_counts(memory, added):
    """In whatever order they come; None: the memory is not known."""
    memory = {name: mib and mib * MIB for name, mib in memory.items()}
    found = rows({name: [1.0] for name in memory}, memory)
    for name, (*_, total, more) in found.items():
        assert more == added.get(name, "-")
        assert (total == "-") == (memory[name] is None)


def test_a_row_fits_into_a_line_of_80_characters():
    times = {ALONE: [1_234.567], "1": [1_234.567], "1024": [9e6]}
    memory = {ALONE: None, "1": 12_345 * MIB, "1024": 9_876_543 * MIB}
    found = rows(times, memory, steps=1)
    assert found[ALONE] == ["1234.567", "1.00", "-", "-"]
    assert found["1"] == ["1234.567", "1.00", "12,345.0", "-"]
    assert found["1024"][2:] == ["9,876,543.0", "9,642.42"]


# The rows


@pytest.mark.slow
def test_each_row_trains_and_knows_its_memory(monkeypatch):
    images, epochs = noise(1_600, train=1_500, validation=50), []
    epoch = Trainer.epoch

    def counted(trainer, number):
        epochs.append((id(trainer), number))
        return epoch(trainer, number)

    monkeypatch.setattr(Trainer, "epoch", counted)
    config = Config(batch_size=500, optimizer="adam", conv_l2=0.0)
    makers = benchmark_front.makers(Small(), Small(), config, images, [1, 3])
    assert list(makers) == [ALONE, "1", "3"]
    memory, runners = {}, []
    for name, make in makers.items():
        run, memory[name] = make()
        runners.append(run)
    before = len(epochs)
    for run in runners:
        run(1)
        run(2)
    assert len(epochs) == before + 9
    assert len(set(epochs)) == len(epochs)  # no trainer repeats one
    devices = min(3, jax.device_count())
    size = images.images.nbytes  # 1.2 MiB, and each device has a copy
    for name, number in {ALONE: 1, "1": 1, "3": devices}.items():
        assert memory[name] is not None
        assert number * size < memory[name] < 40 * number * size


def test_memory_is_that_of_all_devices(monkeypatch):
    """Cause: the table showed that of one device as if it were all."""

    class Plan:
        parallel, devices, memory = 8, 4, 100
        start = staticmethod(lambda networks: None)
        epoch = staticmethod(lambda number: iter(()))

    monkeypatch.setattr(benchmark_front, "Trainer", lambda *_: Plan())
    images = noise(60, train=40, validation=10)
    make = benchmark_front.makers(Small(), Small(), Config(), images, [6])["6"]
    assert make()[1] == 400
    monkeypatch.setattr(Plan, "memory", None)
    assert make()[1] is None


# The program


@pytest.mark.slow
def test_the_program():
    words = "-m experiments.benchmark front --networks 1 2 --repeats 1 --steps 2"
    done = subprocess.run(
        [sys.executable, *words.split()], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"LeNet-5, batch 32, \d+ devices?", done.stdout)
    number = r"(-?[\d.,]+|-)"
    for name, added in ((ALONE, False), ("1", False), ("2", True)):
        columns = rf"^ +{name} +{number} +{number} +{number} +{number} *$"
        found = re.search(columns, done.stdout, re.MULTILINE)
        assert found, name
        assert float(found[1]) > 0
        assert name != ALONE or found[2] == "1.00"
        assert 1 < float(found[3]) < 100  # the images, 1.3 MiB, and little else
        assert (found[4] != "-") == added


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--networks 0", "--networks is 0; expected numbers of at least 1"),
        ("--networks 4 -1 2", "--networks is 4 -1 2; expected numbers of at least 1"),
        ("--repeats 0", "--repeats 0; expected at least 1 of each"),
        ("--steps 0", "--steps is 0, .*expected at least 1 of each"),
        # Cause: the network trains on a part of the images, unlike `benchmark step`'s.
        ("--batch-size 1797", "--batch-size is 1797; expected 1 to 1294"),
        ("--batch-size 0", "--batch-size is 0; expected 1 to 1294"),
    ],
)
def test_options_out_of_range(words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "front", *words.split()])
    assert benchmark.main() == 2
    assert re.search(message, capsys.readouterr().err)
