"""Tables, ratios and verdicts of the benchmark, from made-up measurements."""

import io
import re

import numpy as np
import pytest
from networks import noise
from rich.console import Console

from bopt.models import Size
from experiments.benchmark import (
    checkpoint,
    inference,
    step,
    timing,
    trainers,
)
from experiments.benchmark.checkpoint import WITH, WITHOUT
from experiments.benchmark.inference import Form
from experiments.benchmark.models import MODELS

MIB = 1 << 20
# The ratio of the medians is 2, 1 and 1; the median of the ratios is 2, 3 and 1.
PLAIN, TWICE, THRICE = [1.0, 10.0, 2.0], [2.0, 20.0, 1.0], [3.0, 2.0, 6.0]


def printed(table, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def cells(text: str) -> dict[str, list[str]]:
    """Name -> the other cells, of the rows below the head."""
    rows = text.split("━\n" if "━\n" in text else "━ \n")[-1].splitlines()
    split = [re.split(r" {2,}", row.strip()) for row in rows]
    return {name: others for name, *others in split if name}


def test_runners_take_turns():
    calls = []
    runners = {
        name: (lambda number, name=name: calls.append((name, number))) for name in "abc"
    }
    times = timing.measure(runners, number=5, repeats=2)
    assert calls == [(name, 5) for name in "abcabc"]
    assert {name: len(values) for name, values in times.items()} == dict.fromkeys(
        "abc", 2
    )


def test_trainers_do_whole_epochs():
    class Counted:
        steps_per_epoch, epochs = 4, ()

        def epoch(self, number):
            self.epochs = (*self.epochs, number)
            return iter(())

    for steps, epochs in ((1, 1), (11, 2)):
        trainer = Counted()
        times = trainers.measure({"1": trainer}, steps, 2)  # pyright: ignore[reportArgumentType]
        # Three to find their pace, and none twice.
        assert trainer.epochs == tuple(range(1, 3 + 2 * epochs + 1))
        assert len(times["1"]) == 2


def test_the_ratio_is_the_median_of_the_ratios():
    """Not the ratio of the medians: other load between repeats cancels."""
    assert timing.ratio(TWICE, PLAIN) == 2
    assert timing.ratio(THRICE, PLAIN) == 3


def test_steps():
    times = {"plain": PLAIN, "other": THRICE}
    costs = {"plain": (0.5, None), "other": (1.5, 1_234 * MIB)}
    text = printed(step.table(times, costs, "VGG, batch 64"))
    assert "VGG, batch 64" in text
    assert "memory" in text
    assert cells(text) == {
        "plain": ["2.000", "1.00", "0.5", "-"],
        "other": ["3.000", "3.00", "1.5", "1,234"],
    }


@pytest.mark.parametrize("model", MODELS)
def test_rows_of_steps_fit_80_columns(model):
    """Each network's own optimizer is the reference."""
    name = {"lenet5": "adam", "vgg": "rmsprop"}[model]
    found = list(step.make_rows(MODELS[model], noise(8, train=8, validation=0)))
    assert found == [
        f"{name}, one objective",
        f"{name}, by threshold",
        f"{name}, to 98 % by magnitude",
        f"{name}, to 98 % by saliency",
        f"{name} + l1, pruned",
        "smgd, pruned",
        "madam, pruned",
        "madam by gradients, pruned",
        "mrmsprop, pruned",
        "smgd by jacrev, pruned",
    ]
    names = [*found, "PyTorch adam, one objective"]
    times, costs = (
        {n: [1_234.567] for n in names},
        {n: (99.9, MIB << 10) for n in names},
    )
    text = printed(step.table(times, costs, "title"))
    for name in names:
        assert re.search(rf"^ +{re.escape(name)} +1234\.567 .* 1,024 *$", text, re.M)


def test_networks():
    """Times are those of a step and network; memory is known or not."""
    times = {"1": PLAIN, "4": [8.0, 40.0, 64.0], "16": [16.0] * 3, "17": [17.0] * 3}
    memory = {"1": 9 * MIB, "4": 16 * MIB, "16": None, "17": 9_876_543 * MIB}
    assert cells(printed(trainers.networks_table(times, memory, "title"))) == {
        "1": ["2.000", "1.00", "9.0", "-"],
        "4": ["10.000", "2.00", "16.0", "2.33"],
        "16": ["1.000", "0.50", "-", "-"],
        "17": ["1.000", "0.50", "9,876,543.0", "-"],
    }


def test_devices():
    """Ratios are those of speeds: above 1 is faster."""
    times = {"1": [2.0, 20.0, 4.0], "2": [1.0, 10.0, 8.0], "4": [4.0] * 3}
    assert cells(printed(trainers.devices_table(times, "title"))) == {
        "1": ["250.0", "1.00"],
        "2": ["125.0", "2.00"],
        "4": ["250.0", "1.00"],
    }


def test_checkpoints():
    times = {
        WITHOUT: [1_000.0, 10_000.0, 2_000.0, 1_000.0, 1_000.0],
        WITH: [1_010.0, 10_200.0, 2_060.0, 1_040.0, 1_050.0],
    }
    assert cells(printed(checkpoint.table(times, [9.0, 20.0, 50.0], "title"))) == {
        WITHOUT: ["1.000", "-", "-", "-"],
        WITH: ["1.050", "3.0", "2.0 to 4.0", "20.0"],
    }


def test_images_are_repeated():
    images = noise(120, train=80, validation=20)
    many = checkpoint.repeated(images, 300)
    assert (len(many.images), len(many.labels), many.train) == (300, 300, range(300))
    np.testing.assert_array_equal(many.images[240:], images.images[:60])
    np.testing.assert_array_equal(many.labels[120:240], images.labels)


def test_inference():
    form = Form(Size(9, 39_000_000, 1_234_567), 500_000, print)
    times = {
        1: {"unpruned": [1.0, 2.0, 4.0], "CSR (SciPy)": [1.0, 1.0, 1.0]},
        256: {"unpruned": [1.0, 1.0, 1.0], "CSR (SciPy)": [2.0, 0.1, 0.95]},
    }
    found = {"unpruned": form, "CSR (SciPy)": form}
    text = printed(inference.table(found, times, "title"), width=100)
    sizes = ["500,000", "1,234,567", "39,000,000"]
    assert cells(text) == {
        "unpruned": [*sizes, "2.000", "1.00", "1.000", "1.00"],
        "CSR (SciPy)": [*sizes, "1.000", "0.50", "0.950", "0.95"],
    }
