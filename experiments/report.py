"""A page of results, from run directories alone: RESULTS.md and its figures.

    python -m experiments.report DIR

DIR is what `experiments.reproduce` wrote, or any folder of run directories. Nothing is
trained. Of a run, only config.json, metrics.jsonl and summary.json are read; of a
front, config.json, front.csv and summary.json. What the files cannot know about how
they were made, DIR/notes.md may say; it becomes part of the page.
"""

import dataclasses
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from experiments import report_tables
from experiments.config import STR, parse
from experiments.errors import RunDirectoryError
from experiments.paper_runs import PARTS
from experiments.plots import tradeoff as report_figures
from experiments.plots.published import read_published
from experiments.runs.results import Result, results

_CONDITIONS = {"batch_size": "Batch size", "seeds": "seeds", "data_source": "data"}
_INTRODUCTION = """\
# Results

Written by `python -m experiments.report` from run directories; not edited by hand.

Accuracy and cross entropy (nats) are those on test data after the last epoch; l1 is the
norm of the dense kernels. A ± B: mean and sample standard deviation over seeds; of
differences, where it says so, two standard errors (Welch's): only what exceeds them is
called one. Seconds are those of a whole program, which trains all seeds at once.
"""


def report(folder: str | Path, compare: str | Path | None = None) -> Path:
    """Writes RESULTS.md and figures/ into a folder of run directories.

    Args:
      folder: where they are, at any depth.
      compare: a CSV file of published networks, see `experiments.plots.published`; they
        are drawn beside LeNet-5's, and the last section of the page is about them.

    Returns:
      RESULTS.md.

    Raises:
      RunDirectoryError: there is no finished run; a file cannot be read or written.

    Example:
      >>> from experiments.report import report
      >>> report("nowhere")
      Traceback (most recent call last):
      experiments.errors.RunDirectoryError: nowhere holds no finished run.
    """
    folder = Path(folder)
    published = read_published(compare) if compare else []
    found = list(results(folder))
    sections: dict[_Section, list[Result]] = {}
    for result in found:
        if result.summary.get("finished"):
            sections.setdefault(_section(result), []).append(result)
    if not sections:
        raise RunDirectoryError(f"{folder} holds no finished run.")
    lines = _INTRODUCTION.splitlines()
    for section, own in sections.items():
        lines += ["", f"## {section.heading}", "", _conditions(own), "", _origin(own)]
        comparable = section.lenet and own[0].config["dataset_found"] == "mnist"
        others = published if comparable else []
        files = folder / "figures" / re.sub(r"\W+", "-", section.heading.lower())
        if section.front:
            lines += report_tables.of_fronts(own)
            drawn = report_figures.of_fronts(own, others, section.heading, files)
        else:
            lines += report_tables.of_trainings(own)
            fronts = [
                front
                for other, those in sections.items()
                for front in those
                if other.front
                and (other.lenet, other.title) == (section.lenet, section.title)
            ]
            drawn = report_figures.of_trainings(
                own, fronts, others, section.heading, files
            )
        there = [file.relative_to(folder).as_posix() for file in drawn]
        lines += ["", *(f"![{Path(x).stem}: {section.heading}]({x})" for x in there)]
    lines += _remarks(found, folder)
    if compare:
        lines += _published(published, Path(compare))
    try:
        (folder / "RESULTS.md").write_text("\n".join(lines) + "\n")
    except OSError as error:
        raise RunDirectoryError(
            f"Cannot write {folder / 'RESULTS.md'}: {error.strerror or error}."
        ) from error
    return folder / "RESULTS.md"


class _Section(NamedTuple):
    """What must be equal for runs to be compared."""

    front: bool
    lenet: bool
    title: str
    epochs: int
    train_size: int | None

    @property
    def heading(self) -> str:
        model = "Fronts of " * self.front + ("LeNet-5" if self.lenet else "VGG")
        images = f", {self.train_size:,} images" if self.train_size else ""
        many = "s" * (self.epochs != 1)
        return f"{model} on {self.title}, {self.epochs} epoch{many}{images}"


def _section(result: Result) -> _Section:
    config = result.config
    front = config["experiment"] == "pareto_front"
    keys = "dataset_title", "epochs", "train_size"
    return _Section(front, result.lenet, *(config[key] for key in keys))


def _conditions(own: Sequence[Result]) -> str:
    said = {key: _said(x.config[key] for x in own) for key in _CONDITIONS}
    text = "; ".join(f"{word}: {said[key]}" for key, word in _CONDITIONS.items()) + "."
    shortened = _said(x.shortened for x in own)
    if shortened:
        text += f" **Shortened: {shortened}.**"
    return text


def _said(values: Iterable[Any]) -> str:
    """Each once."""
    return " and ".join(dict.fromkeys(str(x) for x in values if x not in (None, "")))


def _origin(own: Sequence[Result]) -> str:
    """By which command, and on which device and versions."""
    commands = _said(f"`{x.command}`" for x in own if x.command)
    pairs = [
        f"{key} {_said(x.config[kind].get(key) for x in own)}"
        for kind in ("device", "versions")
        for key in own[0].config[kind]
    ]
    made = f"Made by {commands}, on" if commands else "Made on"
    return f"{made} {', '.join(x.strip() for x in pairs)}."


def _remarks(found: Sequence[Result], folder: Path) -> list[str]:
    """What is missing, and what `notes.md` says."""
    paths = [x.path.relative_to(folder) for x in found]
    missing = [
        f"- Not finished, and so left out: {path}."
        for x, path in zip(found, paths, strict=True)
        if not x.summary.get("finished")
    ]
    begun = {path.parent for path in paths}
    missing += [
        f"- Not begun: {path}."
        for name, part in PARTS.items()
        for path in (Path(name, run) for run in part.runs)
        if path.parent in begun and path not in paths
    ]
    lines = ["", "## Missing", "", *missing] if missing else []
    notes = folder / "notes.md"
    try:
        if notes.is_file():
            lines += ["", "## Notes", "", notes.read_text().strip()]
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"Cannot read {notes}: {error}.") from error
    return lines


def _published(published: Sequence[tuple[float, float]], file: Path) -> list[str]:
    accuracy, left = max(published)
    said = [
        line[1:].strip() for line in file.read_text().splitlines() if line[:1] == "#"
    ]
    return [
        "",
        "## Published networks",
        "",
        f"Figures of LeNet-5 on MNIST show {len(published)} of them beside ours; the "
        f"most accurate has {100 * accuracy:.2f} % and {left:,.0f} dense weights left.",
        *(["", "Source: " + " ".join(said)] if said else []),
    ]


@dataclasses.dataclass(frozen=True)
class Options:
    """Writes RESULTS.md and its figures into a folder of run directories."""

    folder: tyro.conf.Positional[str]
    """As `experiments.reproduce` wrote it."""
    compare: Annotated[str | None, STR] = None
    """A CSV file with the columns test_accuracy and nonzero_dense: published networks
    to draw beside LeNet-5's."""


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parse(Options, "report", words)
    try:
        print(report(options.folder, options.compare))
    except RunDirectoryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
