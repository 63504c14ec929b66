"""What a run says on the screen: a progress bar or plain lines, and the final table."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from experiments.training.progress import Progress as TrainProgress


def say(console: Console, text: str, style: str | None = None) -> None:
    """Prints a line as it is: not broken, not coloured but by the style.

    Args:
      console: where to.
      text: the line.
      style: of the whole of it.

    Example:
      >>> from rich.console import Console
      >>> from experiments.runs.console import say
      >>> say(Console(width=8), "Written to runs/a")
      Written to runs/a
    """
    console.print(text, style=style, highlight=False, soft_wrap=True)


def progress_bar(console: Console, text: str, *columns: ProgressColumn) -> Progress:
    """A bar over steps, which is shown on a terminal and leaves nothing behind.

    Args:
      console: where to.
      text: what stands before the bar, with the task's fields in braces.
      *columns: what stands after it.

    Returns:
      A context manager that shows it.

    Example:
      >>> import io
      >>> from rich.console import Console
      >>> from experiments.runs.console import progress_bar
      >>> with progress_bar(Console(file=io.StringIO()), "epoch {task.id}") as bar:
      ...     task = bar.add_task("", total=10)
    """
    return Progress(
        TextColumn(text),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        *columns,
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


class Display:
    """Shows how a training goes.

    On a terminal: a bar that moves within the epoch. Elsewhere: a line an epoch.

    Args:
      console: where to.
      epochs: of the whole training.
      steps_per_epoch: steps in each.

    Example:
      >>> import io
      >>> from rich.console import Console
      >>> from experiments.runs.console import Display
      >>> Display(Console(file=io.StringIO()), 1, 10).epoch({
      ...     "epoch": 0, "objectives": [2.3, 500.0], "weights": None,
      ...     "validation_accuracy": 0.1, "dense_sparsity": 0.0, "conv_sparsity": 0.0,
      ...     "nonzeros": {"Dense_0": 100}}, None, 1)
    """

    def __init__(self, console: Console, epochs: int, steps_per_epoch: int):
        self._console, self._epochs = console, epochs
        self._steps_per_epoch = steps_per_epoch
        self._evaluated = ""  # what the last evaluation came to
        self._start = time.perf_counter()
        self._bar = progress_bar(
            console,
            "epoch {task.fields[epoch]}/{task.fields[epochs]}",
            TextColumn("{task.description}"),
            TimeRemainingColumn(compact=True),
        )
        self._task = self._bar.add_task(
            "", total=epochs * steps_per_epoch, epoch=0, epochs=epochs
        )

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Keeps the bar on the screen."""
        with self._bar:
            yield

    def chunk(self, progress: TrainProgress, steps_per_second: float) -> None:
        """Moves the bar within an epoch."""
        done = (progress.epoch - 1) * self._steps_per_epoch + progress.step
        text = self._text(progress.objectives, progress.weights)
        text += f"  {steps_per_second:,.0f} steps/s"
        self._bar.update(
            self._task, completed=done, description=text, epoch=progress.epoch
        )

    def epoch(
        self,
        row: dict[str, Any],
        steps_per_second: float | None,
        epochs_left: int,
    ) -> None:
        """Says what an epoch came to; `row` is its line of metrics.jsonl."""
        left, share = sum(row["nonzeros"].values()), 1 - row["dense_sparsity"]
        self._evaluated = (
            f"validation {row['validation_accuracy']:.4f}  "
            f"nonzeros {left:,.0f} ({share:.1%})"
        )
        if row["conv_sparsity"]:
            left, share = sum(row["nonzeros_conv"].values()), 1 - row["conv_sparsity"]
            self._evaluated += f" conv {left:,.0f} ({share:.1%})"
        if self._console.is_terminal:
            return
        text = f"epoch {row['epoch']}/{self._epochs}  "
        text += self._text(row["objectives"], row["weights"])
        if steps_per_second is not None:
            # Evaluation included: what the finished epochs took, on average.
            left = (time.perf_counter() - self._start) / row["epoch"] * epochs_left
            minutes, seconds = divmod(round(left), 60)
            text += f"  {steps_per_second:,.0f} steps/s  left {minutes}:{seconds:02d}"
        say(self._console, text)

    def _text(self, objectives: list[float], weights: Any) -> str:
        return (
            f"losses {objectives[0]:.4f} {objectives[1]:.1f}  "
            f"weights {_weights(weights)}  {self._evaluated}"
        )


def _weights(weights: list[float] | dict[str, list[float]] | None) -> str:
    if isinstance(weights, dict):
        return ", ".join(f"{name} {_weights(own)}" for name, own in weights.items())
    return " ".join(f"{weight:.2g}" for weight in weights) if weights else "-"


def print_summary(
    console: Console, summary: dict[str, Any], row: dict[str, Any], title: str
) -> None:
    """Prints the final table.

    Args:
      console: where to.
      summary: the content of summary.json.
      row: the last line of metrics.jsonl.
      title: of the table: optimizer and data set.

    Example:
      >>> import io
      >>> from rich.console import Console
      >>> from experiments.runs.console import print_summary
      >>> console = Console(file=io.StringIO(), width=60)
      >>> row = {f"{split}_{name}": 0.5 for split in ("train", "validation", "test")
      ...        for name in ("accuracy", "cross_entropy")}
      >>> summary = {"dense_sparsity": 0.9, "nonzero_dense": 10, "entries_dense": 100,
      ...            "conv_sparsity": 0.0,
      ...            "total_sparsity": 0.5, "nonzero_total": 60, "entries_total": 120,
      ...            "seconds_total": 9.0, "seconds_compile": 1.0,
      ...            "steps_per_second": 5.0}
      >>> print_summary(console, summary, row | {"nonzeros": {"Dense_0": 10}}, "adam")
      >>> "90.00 %" in console.file.getvalue()
      True
    """
    say(console, title, style="bold")
    table = Table(box=box.SIMPLE_HEAVY, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for split in ("train", "validation", "test"):
        table.add_row(f"{split} accuracy", f"{row[f'{split}_accuracy']:.4f}")
    for split in ("train", "validation", "test"):
        table.add_row(f"{split} cross entropy", f"{row[f'{split}_cross_entropy']:.4f}")
    pruned_conv = bool(summary["conv_sparsity"])
    for name in ("dense", "conv", "total") if pruned_conv else ("dense", "total"):
        table.add_row(
            f"{name} sparsity",
            f"{summary[f'{name}_sparsity']:.2%}".replace("%", " %"),
        )
        left, entries = summary[f"nonzero_{name}"], summary[f"entries_{name}"]
        table.add_row(f"nonzeros, {name}", f"{left:,.0f} of {entries:,}")
    layers = row["nonzeros"] | (row["nonzeros_conv"] if pruned_conv else {})
    for layer, left in layers.items():
        table.add_row(f"nonzeros, {layer}", f"{left:,.0f}")
    rate = summary["steps_per_second"]
    if rate is not None:
        table.add_row("steps per second", f"{rate:,.0f}")
    table.add_row(
        "time (of it compilation)",
        f"{summary['seconds_total']:.1f} s ({summary['seconds_compile']:.1f} s)",
    )
    console.print(table)
