"""Terminal output: the progress line, lines per epoch and the final table."""

import io
import re
import sys

import pytest
from rich.console import Console

from experiments.errors import ConfigError
from experiments.runs import console as console_module
from experiments.runs.console import (
    Display,
    exit_code,
    print_summary,
    progress_bar,
    say,
)

UNPRUNED = {"nonzeros_conv": {"Conv_0": 864, "Conv_1": 9_216}, "conv_sparsity": 0.0}
PRUNED = {"nonzeros_conv": {"Conv_0": 64, "Conv_1": 4_976}, "conv_sparsity": 0.5}
WITHOUT = {"nonzeros_conv": {}, "conv_sparsity": None}
GROUPS = {"conv": [1.0, 2.5e-6], "dense": [0.25, 0.75]}


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Stop the clock, so that the time left follows from the speed alone."""
    monkeypatch.setattr(console_module, "perf_counter", lambda: 100.0)


def row(conv, weights=(0.52, 0.48), epoch=3) -> dict:
    splits = ("train", "validation", "test")
    scores = {f"{split}_accuracy": 0.9731 for split in splits}
    scores |= {f"{split}_cross_entropy": 1.25 for split in splits}
    dense = {"nonzeros": {"Dense_0": 3_000, "Dense_1": 412}, "dense_sparsity": 0.94}
    objectives = [0.0741, 412.3]
    rest = {"epoch": epoch, "objectives": objectives, "weights": weights}
    return {**rest, **scores, **dense, **conv}


def printed(function, *args, width=200, **options) -> str:
    file = io.StringIO()
    function(Console(file=file, width=width, **options), *args)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())


# Lines per epoch


def line(row, chunks=((3, 10),), speed: float | None = 812.3) -> str:
    def show(console):
        display = Display(console, 30, 10, 58_920)
        for epoch, step in chunks:
            display.chunk(
                epoch,
                step,
                objectives=[1, 2],
                weights=[1, 0],
                steps_per_second=speed or 0,
            )
        display.epoch(row, speed, 30 - row["epoch"])

    return printed(show)


@pytest.mark.parametrize("conv", [UNPRUNED, WITHOUT])
def test_every_number_of_a_line_has_a_name_or_a_unit(conv):
    assert re.fullmatch(
        r"epoch 3/30  loss 0\.0741  l1 412\.3  weights 0\.52 0\.48  "
        r"validation accuracy 97\.3 %  3,412 of 58,920 weights  812 steps/s  "
        r"left \d:\d\d\n",
        line(row(conv)),
    )


def test_a_line_of_pruned_convolutions():
    expected = "  3,412 of 58,920 dense and 5,040 convolution weights  812 steps/s"
    assert expected in line(row(PRUNED))


def test_a_line_before_training_has_no_speed():
    first = line(row(UNPRUNED, None, epoch=0), chunks=(), speed=None)
    assert "  weights -  " in first
    assert first.endswith("  3,412 of 58,920 weights\n")


def test_a_line_of_groups():
    assert "  weights conv 1 2.5e-06, dense 0.25 0.75  " in line(row(UNPRUNED, GROUPS))


@pytest.mark.parametrize(
    ("epoch", "speed", "expected"),
    [(3, 10.0, "left 0:27"), (3, 1.0, "left 4:30"), (2, 0.05, "left 1:33:20")],
)
def test_the_time_left(epoch, speed, expected):
    """A resumed run counts the steps of its own process only."""
    found = line(row(WITHOUT, epoch=epoch), chunks=[(epoch, 10)], speed=speed)
    assert found.endswith(f"  {expected}\n")


# The progress line


def bar(width, epoch=3, conv=WITHOUT, weights=(0.52, 0.48)) -> str:
    """Return the last progress line on a terminal."""

    def show(console):
        display = Display(console, 30, 10, 58_920)
        with display.shown():
            display.epoch(row(conv), 10.0, 28)
            display.chunk(
                epoch,
                4,
                objectives=[0.0741, 412.3],
                weights=weights,
                steps_per_second=10.0,
            )

    terminal = {"force_terminal": True, "force_interactive": True}
    shown = printed(show, width=width, **terminal)
    return shown.rpartition("epoch ")[2].splitlines()[0].rstrip()


WIDE = "  loss 0.0741  l1 412.3  weights 0.52 0.48  10 steps/s"


@pytest.mark.parametrize(
    ("width", "fields"),
    [
        (160, f"accuracy 97.3 %  3,412 of 58,920 weights{WIDE}  left 0:28"),
        (88, "accuracy 97.3 %  3,412 of 58,920 weights  loss 0.0741  left 0:28"),
        (80, "accuracy 97.3 %  3,412 of 58,920 weights  left 0:28"),
        (60, "accuracy 97.3 %  left 0:28"),
        (40, "left 0:28"),
    ],
)
def test_a_narrow_terminal_drops_fields_by_priority(width, fields):
    found = bar(width)
    assert len(f"epoch {found}") <= width
    assert re.fullmatch(rf"3/30 [━╸╺]{{10}} {re.escape(fields)}", found)


def test_the_line_fits_whatever_the_numbers():
    for width in (40, 80):
        found = bar(width, epoch=30, conv=PRUNED, weights=GROUPS)
        assert found.startswith("30/30 ") and " left " in found
        assert len(f"epoch {found}") <= width


def test_a_bar_of_its_own_has_the_time_left():
    def show(console):
        with progress_bar(console, "training 0-1.0") as shown:
            shown.add_task("", total=10)

    found = printed(show, force_terminal=True, force_interactive=True)
    assert re.search(r"training 0-1\.0 ━+ left --:--", found)
    assert printed(show).strip() == ""


def test_text_is_printed_as_it_is():
    text = "runs/[a] is a long line: 1"
    assert printed(say, text, width=8, markup=False) == text + "\n"


# The final table

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
        "test accuracy": "97.31 %",
        "test cross entropy": "1.2500",
        "dense sparsity": "95.00 %",
        "nonzeros, dense": "1,024 of 20,480",
        "conv sparsity": "50.00 %",
        "nonzeros, conv": "5,040 of 10,080",
        "total sparsity": "50.00 %",
        "nonzeros, Dense_0": "3,000",
        "nonzeros, Conv_0": "64",
        "nonzeros, Conv_1": "4,976",
        "time": "9.0 s",
        "compilation": "1.0 s",
    }.items():
        assert re.search(rf"^ +{label} +{value} *$", found, re.MULTILINE), label


@pytest.mark.parametrize("conv", [UNPRUNED, WITHOUT])
def test_the_table_of_dense_layers(conv):
    found = table(conv)
    assert not re.search("conv", found, re.IGNORECASE)
    assert "nonzeros, Dense_0" in found


# Output that cannot be shown


class Broken(io.StringIO):
    """A stream that fails, as one whose reader went away."""

    encoding = "ascii"  # pyright: ignore[reportAssignmentType]

    def __init__(self, error: Exception | None = None):
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        text.encode("ascii")
        if self.error:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(28, "full"), ValueError()]
)
def test_output_that_fails_is_lost(error, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Broken(error))
    monkeypatch.setattr(sys, "stderr", Broken(error))

    def body():
        print("x")
        say(Console(), "y")
        raise ConfigError("z")

    assert exit_code(body) == 2


def test_letters_that_the_encoding_lacks_are_escaped(monkeypatch):
    monkeypatch.setattr(sys, "stdout", out := Broken())
    assert exit_code(lambda: print("caf\u00e9 \udc80")) == 0
    assert out.getvalue() == "caf\\xe9 \\udc80\n"


def test_closed_streams(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert exit_code(lambda: say(Console(), "x")) == 0
