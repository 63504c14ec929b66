"""Lines and table, of dense layers alone and of pruned convolutions, too."""

import io
import re

import pytest
from rich.console import Console

from experiments.runs.console import Display, print_summary
from experiments.training.progress import Progress

DENSE = {"nonzeros": {"Dense_0": 1_024}, "dense_sparsity": 0.95}
UNPRUNED = {"nonzeros_conv": {"Conv_0": 864, "Conv_1": 9_216}, "conv_sparsity": 0.0}
PRUNED = {"nonzeros_conv": {"Conv_0": 64, "Conv_1": 4_976}, "conv_sparsity": 0.5}
WITHOUT = {"nonzeros_conv": {}, "conv_sparsity": None}


def row(conv, weights=(0.75, 0.25)):
    splits = ("train", "validation", "test")
    scores = {f"{split}_accuracy": 0.5 for split in splits}
    scores |= {f"{split}_cross_entropy": 1.25 for split in splits}
    objectives = [1.5, 321.0]
    return {
        "epoch": 2,
        "objectives": objectives,
        "weights": weights,
        **scores,
        **DENSE,
        **conv,
    }


def printed(function, *args, width=100, **options) -> str:
    console = Console(file=io.StringIO(), width=width, **options)
    function(console, *args)
    return console.file.getvalue()  # pyright: ignore


def line(row) -> str:
    return printed(lambda console: Display(console, 5, 10).epoch(row, 12.3, 3))


@pytest.mark.parametrize("conv", [UNPRUNED, WITHOUT])
def test_a_line_of_dense_layers(conv):
    assert re.fullmatch(
        r"epoch 2/5  losses 1\.5000 321\.0  weights 0\.75 0\.25  validation 0\.5000  "
        r"nonzeros 1,024 \(5\.0%\)  12 steps/s  left 0:\d\d\n",
        line(row(conv)),
    )


def test_a_line_of_pruned_convolutions():
    assert "  nonzeros 1,024 (5.0%) conv 5,040 (50.0%)  12 steps/s" in line(row(PRUNED))


def test_a_line_before_training():
    assert "  weights -  " in line(row(UNPRUNED, None))


GROUPS = {"conv": [1.0, 2.5e-6], "dense": [0.25, 0.75]}
SHOWN = "  weights conv 1 2.5e-06, dense 0.25 0.75  "


def test_a_line_of_groups():
    assert SHOWN in line(row(UNPRUNED, GROUPS))


def test_a_bar_of_groups():
    """Within an epoch, on a terminal."""
    progress = Progress(3, 4, 10, [1.5, 321.0], GROUPS, 0.1)

    def show(console):
        display = Display(console, 5, 10)
        with display.shown():
            display.epoch(row(PRUNED), 12.3, 3)
            display.chunk(progress, 12.3)

    said = printed(show, width=200, force_terminal=True, force_interactive=True)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said).rpartition("epoch ")[2]
    assert last.startswith("3/5 ")
    for part in (
        " 24/50 ",
        SHOWN,
        "validation 0.5000  nonzeros 1,024 (5.0%) conv 5,040",
    ):
        assert part in last


SUMMARY = {
    "dense_sparsity": 0.95,
    "nonzero_dense": 1_024,
    "entries_dense": 20_480,
    "total_sparsity": 0.5,
    "nonzero_total": 6_100,
    "entries_total": 31_000,
    "nonzero_conv": 5_040,
    "entries_conv": 10_080,
    "seconds_total": 9.0,
    "seconds_compile": 1.0,
    "steps_per_second": 5.0,
}


def table(conv) -> str:
    summary = SUMMARY | {"conv_sparsity": conv["conv_sparsity"]}
    return printed(print_summary, summary, row(conv), "smgd on CIFAR-10, 5 epochs")


def test_the_table_of_pruned_convolutions():
    found = table(PRUNED)
    for label, value in {
        "dense sparsity": "95.00 %",
        "nonzeros, dense": "1,024 of 20,480",
        "conv sparsity": "50.00 %",
        "nonzeros, conv": "5,040 of 10,080",
        "total sparsity": "50.00 %",
        "nonzeros, Dense_0": "1,024",
        "nonzeros, Conv_0": "64",
        "nonzeros, Conv_1": "4,976",
    }.items():
        assert re.search(rf"^ +{label} +{value} *$", found, re.MULTILINE), label


@pytest.mark.parametrize("conv", [UNPRUNED, WITHOUT])
def test_the_table_of_dense_layers(conv):
    found = table(conv)
    assert not re.search("conv", found, re.IGNORECASE)
    assert "nonzeros, Dense_0" in found
