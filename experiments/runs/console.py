"""Terminal output of a program: messages, progress, the final table, exit codes."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

from rich import box, progress
from rich.console import Console
from rich.table import Table

from experiments.errors import Failure, Interrupted

_BAR = 10  # columns


def exit_code(body: Callable[[], Any]) -> int:
    """Call a program's body; print known failures, and return the exit code.

    The body may return an exit code; None is 0. Output that cannot be shown is lost,
    and does not end the program.
    """
    with tolerant_output():
        try:
            return body() or 0
        except Interrupted as interrupt:
            then = "nothing had begun."
            if interrupt.command:
                then = f"everything done is saved. Resume with: {interrupt.command}"
            print(f"Stopped by {interrupt}: {then}", file=sys.stderr)
            if interrupt.compiling:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(interrupt.code)
            return interrupt.code
        except Failure as failure:
            print(f"error: {failure}", file=sys.stderr)
            return failure.code
        except KeyboardInterrupt:
            print("Stopped by SIGINT: nothing had begun.", file=sys.stderr)
            return 130


@contextlib.contextmanager
def tolerant_output() -> Iterator[None]:
    """Make standard output and error lose what they cannot show.

    A reader that goes away (`| head`), a full disk behind a redirection, a closed
    terminal or an encoding that lacks a letter must not end a training.
    """
    out, err = _Tolerant(sys.stdout), _Tolerant(sys.stderr)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    finally:
        out.flush()
        err.flush()


class _Tolerant:
    """A text stream that raises no errors; None is a closed one."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def write(self, text: str) -> int:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        known = text.encode(encoding, "backslashreplace").decode(encoding)
        self._try(lambda: self._stream.write(known))
        return len(text)

    def flush(self) -> None:
        self._try(lambda: self._stream.flush())

    def _try(self, action: Callable[[], Any]) -> None:
        if self._stream is None:
            return
        try:
            action()
        except (OSError, ValueError):  # ValueError: closed by Python
            # What the stream still holds would raise again when Python ends.
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a line as it is: not wrapped, and coloured by `style` alone."""
    console.print(text, style=style, highlight=False, soft_wrap=True)


def progress_bar(
    console: Console, text: str, *columns: progress.ProgressColumn
) -> progress.Progress:
    """Return a bar that is shown on a terminal only and leaves nothing behind.

    The text before it is a format of the task's fields. The columns after it are by
    default the time left.
    """
    left = progress.TextColumn("left"), progress.TimeRemainingColumn(compact=True)
    return progress.Progress(
        progress.TextColumn(text),
        progress.BarColumn(bar_width=_BAR),
        *(columns or left),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


class Display:
    """Progress of a training: a bar on a terminal, one line per epoch elsewhere.

    A narrow terminal keeps the epoch, the bar and the time left; a wider one has the
    accuracy, the number of nonzero weights, the objectives, their weights and the
    speed, in this order, as far as they fit. `entries` counts the dense weights.
    """

    def __init__(
        self, console: Console, epochs: int, steps_per_epoch: int, entries: int
    ):
        self._console, self._epochs, self._entries = console, epochs, entries
        self._steps = steps_per_epoch
        self._began: tuple[float, int] | None = None  # seconds, and steps before
        self._evaluated: list[str] = []  # accuracy and nonzeros of the last epoch
        text = f"epoch {{task.fields[epoch]}}/{epochs}"
        fields = progress.TextColumn("{task.description}")
        self._bar = progress_bar(console, text, fields)
        self._task = self._bar.add_task("", total=epochs * steps_per_epoch, epoch=0)

    def shown(self) -> progress.Progress:
        """Return a context manager that keeps the bar on the screen."""
        return self._bar

    def chunk(
        self,
        epoch: int,
        step: int,
        *,
        objectives: Sequence[float],
        weights: Any,
        steps_per_second: float,
    ) -> None:
        """Move the bar to a step of an epoch, both counted from 1."""
        if self._began is None:  # without the time of the compilation
            start = perf_counter() - step / steps_per_second
            self._began = start, (epoch - 1) * self._steps
        done = (epoch - 1) * self._steps + step
        fields = [*self._evaluated, *_objectives(objectives, weights)]
        fields += [f"{steps_per_second:,.0f} steps/s", self._left(done)]
        # One space between the columns of the bar.
        room = self._console.width - len(f"epoch {epoch}/{self._epochs} ") - _BAR - 1
        while len(fields) > 1 and len("  ".join(fields)) > room:
            del fields[-2]  # the time left stays
        text = "  ".join(fields)
        self._bar.update(self._task, completed=done, description=text, epoch=epoch)

    def epoch(
        self, row: dict[str, Any], steps_per_second: float | None, epochs_left: int
    ) -> None:
        """Report an epoch by its line of metrics.jsonl; the speed is None before it."""
        accuracy = f"accuracy {100 * row['validation_accuracy']:.1f} %"
        nonzeros = f"{sum(row['nonzeros'].values()):,.0f} of {self._entries:,}"
        if row["conv_sparsity"]:
            conv = sum(row["nonzeros_conv"].values())
            nonzeros += f" dense and {conv:,.0f} convolution"
        self._evaluated = [accuracy, f"{nonzeros} weights"]
        if self._console.is_terminal:
            return
        fields = [
            f"epoch {row['epoch']}/{self._epochs}",
            *_objectives(row["objectives"], row["weights"]),
            f"validation {accuracy}",
            self._evaluated[1],
        ]
        if steps_per_second is not None:
            done = (self._epochs - epochs_left) * self._steps
            fields += [f"{steps_per_second:,.0f} steps/s", self._left(done)]
        say(self._console, "  ".join(fields))

    def _left(self, done: int) -> str:
        """Return the time left by the pace so far, evaluations included."""
        now = perf_counter()
        start, before = self._began or (now, done)
        pace = (now - start) / max(done - before, 1)
        left = round(pace * (self._epochs * self._steps - done))
        minutes, seconds = divmod(left, 60)
        hours, minutes = divmod(minutes, 60)
        text = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
        return f"left {text}:{seconds:02d}"


def _objectives(objectives: Sequence[float], weights: Any) -> list[str]:
    loss, l1 = objectives
    return [f"loss {loss:.4f}", f"l1 {l1:,.1f}", f"weights {_weights(weights)}"]


def _weights(weights: Sequence[float] | dict[str, Any] | None) -> str:
    if isinstance(weights, dict):  # groups of layers
        return ", ".join(f"{name} {_weights(own)}" for name, own in weights.items())
    return " ".join(f"{weight:.2g}" for weight in weights) if weights else "-"


def print_summary(
    console: Console, summary: dict[str, Any], row: dict[str, Any], title: str
) -> None:
    """Print the final table, of summary.json and the last line of metrics.jsonl."""
    say(console, title, style="bold")
    table = Table(box=box.SIMPLE_HEAVY, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    splits = ("train", "validation", "test")
    for split in splits:
        table.add_row(f"{split} accuracy", f"{100 * row[f'{split}_accuracy']:.2f} %")
    for split in splits:
        table.add_row(f"{split} cross entropy", f"{row[f'{split}_cross_entropy']:.4f}")
    pruned_conv = bool(summary["conv_sparsity"])
    for name in ("dense", "conv", "total") if pruned_conv else ("dense", "total"):
        sparsity = summary[f"{name}_sparsity"]
        table.add_row(f"{name} sparsity", f"{100 * sparsity:.2f} %")
        left, entries = summary[f"nonzero_{name}"], summary[f"entries_{name}"]
        table.add_row(f"nonzeros, {name}", f"{left:,.0f} of {entries:,}")
    layers = row["nonzeros"] | (row["nonzeros_conv"] if pruned_conv else {})
    for layer, left in layers.items():
        table.add_row(f"nonzeros, {layer}", f"{left:,.0f}")
    rate = summary["steps_per_second"]
    if rate is not None:
        table.add_row("steps per second", f"{rate:,.0f}")
    table.add_row("time", f"{summary['seconds_total']:.1f} s")
    table.add_row("compilation", f"{summary['seconds_compile']:.1f} s")
    console.print(table)
