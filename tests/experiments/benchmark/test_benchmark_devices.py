"""The benchmark of devices runs, and its table is arithmetic on what it measured."""

import io
import re
import sys

import jax
import pytest
from networks import Small, noise
from programs import printed
from rich.console import Console

from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import devices as benchmark_devices
from experiments.config import Config
from experiments.option_checks import ConfigError
from experiments.training.trainer import Trainer


def run(*words: str, **environment: str) -> str:
    return printed(*words, strict=False, **environment)


def rows(text: str) -> dict[str, list[str]]:
    """Devices -> the other columns, as printed."""
    found = re.findall(r"^ +(\d+) +([\d.,]+) +([\d.]+) *$", text, re.M)
    return {name: columns for name, *columns in found}


def test_the_ratio_is_the_median_of_the_ratios():
    """Of speeds: above 1 is faster. Not the ratio of the medians: what the machine did
    between repeats cancels."""
    console = Console(file=io.StringIO(), width=80)
    times = {"1": [10.0, 100.0, 20.0], "2": [5.0, 50.0, 20.0], "4": [20.0] * 3}
    console.print(benchmark_devices.table(times, 40, "LeNet-5, batch 32"))
    text = console.file.getvalue()  # pyright: ignore
    assert "LeNet-5, batch 32" in text
    assert rows(text) == {
        "1": ["2,000.0", "1.00"],
        "2": ["2,000.0", "2.00"],
        "4": ["2,000.0", "1.00"],
    }


# The rows


def test_there_is_a_row_for_each_number_of_devices_that_there_is(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 5)
    images = noise(60, train=40, validation=10)
    makers = benchmark_devices.makers(Small(), Config(batch_size=8), images)
    assert list(makers) == ["1", "2", "4"]
    with pytest.raises(ConfigError, match="--batch-size is 6, which 4 devices do not"):
        benchmark_devices.makers(Small(), Config(batch_size=6), images)


def test_a_row_trains_on_so_many_devices(monkeypatch):
    trainings, epoch = [], Trainer.epoch

    def counted(trainer, number):
        trainings.append((trainer.devices, number))
        return epoch(trainer, number)

    monkeypatch.setattr(Trainer, "epoch", counted)
    images = noise(60, train=40, validation=10)
    makers = benchmark_devices.makers(Small(), Config(batch_size=8), images)
    train = makers["1"]()
    trainings.clear()
    train(2)
    assert trainings == [(1, 4), (1, 5)]  # three before, to know its pace


# The program


@pytest.mark.slow
def test_the_program():
    """On CPU devices, 8 unless told otherwise."""
    words = "-m experiments.benchmark devices --repeats 1 --steps 2"
    for told, number in (({}, 8), ({"JAX_NUM_CPU_DEVICES": "2"}, 2)):
        out = run(*words.split(), **told)
        assert "LeNet-5, batch 32" in out
        found = rows(out)
        assert list(found) == [str(n) for n in (1, 2, 4, 8) if n <= number]
        assert found["1"][1] == "1.00"
        assert f"Forced CPU devices ({number}) share the same cores" in out
        assert "no speed is to be expected" in " ".join(out.split())


FORCED = "from experiments.benchmark.devices import force_devices; force_devices(); "
FORCED += "import jax; print(jax.device_count())"


@pytest.mark.parametrize(
    ("told", "number"),
    [
        ({}, 8),
        ({"JAX_NUM_CPU_DEVICES": "3"}, 3),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, 5),
    ],
    ids=str,
)
def test_there_are_8_devices_unless_told_otherwise(told, number):
    assert int(run("-c", FORCED, **told)) == number


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--repeats 0", "--repeats 0; expected at least 1 of each"),
        ("--batch-size 1295", "--batch-size is 1295; expected 1 to 1294"),
    ],
)
def test_options_out_of_range(words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "devices", *words.split()])
    assert benchmark.main() == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_batch_that_the_devices_do_not_divide(monkeypatch, capsys):
    """Told before anything is compiled."""
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    words = ["benchmark", "devices", "--batch-size", "20"]
    monkeypatch.setattr(sys, "argv", words)
    assert benchmark.main() == 2
    message = "--batch-size is 20, which 8 devices do not divide"
    assert message in capsys.readouterr().err
