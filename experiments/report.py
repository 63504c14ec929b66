"""A page of results, from run directories alone: RESULTS.md and its figures.

    python -m experiments.report DIR

DIR is what `experiments.reproduce` wrote, or any folder of run directories. Nothing is
trained. Of a run, only config.json, metrics.jsonl and summary.json are read; of a
front, config.json, front.csv and summary.json. What the files cannot know about how
they were made, DIR/notes.md may say; it becomes part of the page.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from experiments import report_figures
from experiments.config import STR, parse
from experiments.published import read_published
from experiments.reproduce import PARTS
from experiments.results import Difference, Mean, Result, difference, results
from experiments.run_directory import RunDirectoryError

_MODELS = {"mnist_lenet": "LeNet-5", "cifar_vgg": "VGG", "pareto_front": "Fronts"}
_FRONTS = "pareto_front"
_UNKNOWN = "-"
# Heading -> key of the summary, factor, digits.
_COLUMNS = {
    "accuracy (%)": ("test_accuracy", 100, 2),
    "cross entropy": ("test_cross_entropy", 1, 4),
    "l1": ("l1", 1, 1),
    "dense weights left": ("nonzero_dense", 1, 0),
    "dense zeros (%)": ("dense_sparsity", 100, 2),
    "zeros in all (%)": ("total_sparsity", 100, 2),
}
_INTRODUCTION = """\
# Results

Written by `python -m experiments.report` from run directories; not edited by hand.

Accuracy and cross entropy (nats) are those on test data after the last epoch; l1 is the
norm of the dense kernels. A ± B: mean and sample standard deviation over seeds. A
difference is called one only where it exceeds two standard errors over the seeds
(Welch's, given after ±). Seconds are those of a whole program, which trains all seeds
at once.
"""


def report(folder: str | Path, compare: str | Path | None = None) -> Path:
    """Writes RESULTS.md and figures/ into a folder of run directories.

    Args:
      folder: where they are, at any depth.
      compare: a CSV file of published networks, see `experiments.published`; they are
        drawn beside LeNet-5's, and the last section of the page is about them.

    Returns:
      RESULTS.md.

    Raises:
      RunDirectoryError: there is no finished run; a file cannot be read or written.

    Example:
      >>> from experiments.report import report
      >>> report("nowhere")
      Traceback (most recent call last):
      experiments.run_directory.RunDirectoryError: nowhere holds no finished run.
    """
    folder = Path(folder)
    published = read_published(compare) if compare else []
    found = list(results(folder))
    groups: dict[tuple[str, str, int], list[Result]] = {}
    for result in found:
        if result.summary.get("finished"):
            keys = "experiment", "dataset_title", "epochs"
            experiment, title, epochs = (result.config[key] for key in keys)
            groups.setdefault((experiment, title, epochs), []).append(result)
    if not groups:
        raise RunDirectoryError(f"{folder} holds no finished run.")
    lines = _INTRODUCTION.splitlines()
    for (experiment, title, epochs), own in groups.items():
        heading = f"{_MODELS[experiment]} on {title}, {_epochs(epochs)}"
        lines += ["", f"## {heading}", "", _conditions(own)]
        place = f"{experiment}-{own[0].config['dataset_found']}-{epochs}"
        files = folder / "figures" / place
        others = published if own[0].lenet else []
        if experiment == _FRONTS:
            lines += _fronts(own)
            drawn = report_figures.of_fronts(own, others, heading, files)
        else:
            lines += _trainings(own)
            fronts = [
                x
                for (kind, data, _), those in groups.items()
                for x in those
                if (kind, data, x.lenet) == (_FRONTS, title, own[0].lenet)
            ]
            drawn = report_figures.of_trainings(own, fronts, others, heading, files)
        there = [file.relative_to(folder).as_posix() for file in drawn]
        lines += ["", *(f"![{Path(name).stem}]({name})" for name in there)]
    lines += _origins(found, folder)
    if compare:
        lines += _published(published, Path(compare))
    try:
        (folder / "RESULTS.md").write_text("\n".join(lines) + "\n")
    except OSError as error:
        raise RunDirectoryError(
            f"Cannot write {folder / 'RESULTS.md'}: {error.strerror or error}."
        ) from error
    return folder / "RESULTS.md"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown; the first column is text, the others are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return ["", *(f"| {' | '.join(row)} |" for row in (header, rule, *rows))]


def _epochs(number: int) -> str:
    return f"{number} epoch" + "s" * (number != 1)


def _conditions(own: Sequence[Result]) -> str:
    def said(key: str) -> str:
        return ", ".join(dict.fromkeys(str(x.config[key]) for x in own))

    text = (
        f"Batch size: {said('batch_size')}; seeds: {said('seeds')}; data: "
        f"{said('data_source')}."
    )
    shortened = list(dict.fromkeys(x.shortened for x in own if x.shortened))
    if shortened:
        text += f" **Shortened: {'; '.join(shortened)}.**"
    return text


def _mean(mean: Mean, factor: float, digits: int) -> str:
    text = f"{factor * mean.mean:,.{digits}f}"
    if mean.seeds == 1:
        return text
    return f"{text} ± {factor * mean.deviation:,.{digits}f}"


def _difference(
    found: Difference, factor: float, digits: int, up: str, down: str
) -> str:
    if found.verdict is None:
        return f"{factor * found.value:+,.{digits}f} (one seed)"
    word = {1: up, 0: "no difference", -1: down}[found.verdict]
    numbers = (factor * found.value, factor * found.errors)
    return f"{numbers[0]:+,.{digits}f} ± {numbers[1]:,.{digits}f}: {word}"


def _trainings(own: Sequence[Result]) -> list[str]:
    rows = [
        [
            x.name,
            *(_mean(x.mean(key), *form) for key, *form in _COLUMNS.values()),
            f"{x.summary['seconds_total']:,.0f}",
        ]
        for x in own
    ]
    return [
        *_table(["run", *_COLUMNS, "seconds"], rows),
        *_what_pruning_changes(own),
        *_against_others(own),
    ]


def _what_pruning_changes(own: Sequence[Result]) -> list[str]:
    named = {x.name: x for x in own}
    pairs = [(x, named.get(f"{x.name}-unpruned")) for x in own]
    rows = [
        [pruned.name, *_differences(pruned, other)] for pruned, other in pairs if other
    ]
    if not rows:
        return []
    header = ["run", "accuracy (points)", "dense weights left"]
    return ["", "### Pruned against not pruned", *_table(header, rows)]


def _differences(first: Result, second: Result) -> list[str]:
    accuracy, left = _compared(first, second)
    return [
        _difference(accuracy, 100, 2, "higher", "lower"),
        _difference(left, 1, 0, "more", "fewer"),
    ]


def _compared(first: Result, second: Result) -> list[Difference]:
    keys = "test_accuracy", "nonzero_dense"
    return [difference(first.mean(key), second.mean(key)) for key in keys]


def _against_others(own: Sequence[Result]) -> list[str]:
    """Multi-gradient descent with pruning, the paper's method, against all else that
    prunes."""
    rows, lost = [], []
    for method in (x for x in own if x.multi_gradient):
        for other in (x for x in own if x.pruned and not x.multi_gradient):
            outcome = _outcome(*_compared(method, other))
            rows.append(
                [method.name, other.name, *_differences(method, other), outcome]
            )
            if outcome == "loses":
                lost.append(f"{method.name} to {other.name}")
    if not rows:
        return []
    header = ["run", "against", "accuracy (points)", "dense weights left", "it"]
    verdict = f"Where it loses: {'; '.join(lost) or 'nowhere in this table'}."
    if all(row[-1] == _UNKNOWN for row in rows):
        verdict = "Where it loses cannot be told from one seed."
    return [
        "",
        "### Multi-gradient descent with pruning against other pruned trainings",
        "",
        "It wins where it is better in one of the two and not worse in the other, and "
        "loses likewise.",
        *_table(header, rows),
        "",
        verdict,
    ]


def _outcome(accuracy: Difference, left: Difference) -> str:
    if accuracy.verdict is None or left.verdict is None:
        return _UNKNOWN
    better = {accuracy.verdict, -left.verdict}
    match 1 in better, -1 in better:
        case True, False:
            return "wins"
        case False, True:
            return "loses"
        case True, True:
            return "trades one for the other"
    return "does not differ"


def _fronts(own: Sequence[Result]) -> list[str]:
    rows = []
    for x in own:
        final = x.summary["final"] or {}
        accuracy, left = (final.get(k) for k in ("test_accuracy", "nonzero_dense"))
        rows.append(
            [
                x.name,
                f"{x.summary['points']}",
                f"{x.summary['nondominated']}",
                f"{x.summary['hypervolume']:.4f}",
                "-" if accuracy is None else f"{100 * accuracy:.2f}",
                "-" if left is None else f"{left:,}",
                f"{x.summary['seconds_total']:,.0f}",
            ]
        )
    error, share = own[0].summary["reference"]
    header = ["search", "trainings", "not dominated", "hypervolume"]
    header += ["knee: accuracy (%)", "knee: left", "seconds"]
    return [
        *_table(header, rows),
        "",
        "Hypervolume: of test error and share of dense weights left, in the box up to "
        f"({error:g}, {share:g}), as a share of it; of all trainings. Knee: by "
        f"{own[0].summary['knee']}, trained again for the full number of epochs, one "
        "seed. Continuation goes on from network to network: a warm-started l1 path, "
        "of far fewer epochs.",
    ]


def _origins(found: Sequence[Result], folder: Path) -> list[str]:
    """Which hardware and versions; and what is missing."""
    lines = ["", "## How these were made", ""]
    for key in ("device", "versions"):
        values = dict.fromkeys(
            ", ".join(f"{k} {v}" for k, v in x.config[key].items() if v is not None)
            for x in found
        )
        lines += [f"- {key.capitalize()}: {value}." for value in values]
    names = sorted({x.path.parent.name for x in found})
    lines += [
        f"- `python -m experiments.reproduce --part {name} --out DIR`"
        for name in names
        if name in PARTS
    ]
    lines += [
        f"- Not finished, and so left out: {x.path.relative_to(folder)}."
        for x in found
        if not x.summary.get("finished")
    ]
    notes = folder / "notes.md"
    try:
        return lines + (["", notes.read_text().strip()] if notes.is_file() else [])
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"Cannot read {notes}: {error}.") from error


def _published(published: Sequence[tuple[float, float]], file: Path) -> list[str]:
    accuracy, left = max(published)
    said = [
        line[1:].strip() for line in file.read_text().splitlines() if line[:1] == "#"
    ]
    return [
        "",
        "## Published networks",
        "",
        f"The figure shows {len(published)} of them beside ours; the most accurate has "
        f"{100 * accuracy:.2f} % and {left:,.0f} dense weights left.",
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
