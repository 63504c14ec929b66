"""The tables of a page of results: what runs came to, and how they differ."""

import math
from collections.abc import Sequence

from experiments.runs.results import Difference, Mean, Result, difference

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


def _mean(mean: Mean, factor: float, digits: int) -> str:
    text = f"{factor * mean.mean:,.{digits}f}"
    if mean.seeds == 1:
        return text
    return f"{text} ± {factor * mean.deviation:,.{digits}f}"


def _difference(
    found: Difference, factor: float, digits: int, up: str, down: str
) -> str:
    if found.verdict is None:
        why = "one seed" if math.isfinite(found.value) else "not finite"
        return f"{factor * found.value:+,.{digits}f} ({why})"
    word = {1: up, 0: "no difference", -1: down}[found.verdict]
    numbers = (factor * found.value, factor * found.errors)
    return f"{numbers[0]:+,.{digits}f} ± {numbers[1]:,.{digits}f}: {word}"


def of_trainings(own: Sequence[Result]) -> list[str]:
    """What trainings are and came to, what pruning changes, and how multi-gradient
    training does against the others.

    Args:
      own: trainings that can be compared.

    Returns:
      Lines of Markdown.

    Example:
      >>> from experiments.report_tables import of_trainings
      >>> of_trainings([])[1]
      '| run | what it is |'
    """
    rows = [
        [
            x.name,
            *(_mean(x.mean(key), *form) for key, *form in _COLUMNS.values()),
            f"{x.summary['seconds_total']:,.0f}",
        ]
        for x in own
    ]
    return [
        *_table(["run", "what it is"], [[x.name, x.options] for x in own], text=2),
        *_table(["run", *_COLUMNS, "seconds"], rows),
        *_what_pruning_changes(own),
        *_against_others(own),
    ]


def _what_pruning_changes(own: Sequence[Result]) -> list[str]:
    named = {x.name: x for x in own}
    pairs = [(x, named.get(f"{x.name}-unpruned")) for x in own]
    rows = [
        [pruned.name, *_differences(*_compared(pruned, other))]
        for pruned, other in pairs
        if other
    ]
    if not rows:
        return []
    header = ["run", "accuracy (points)", "dense weights left"]
    title = "### Pruned against not pruned"
    return ["", title, "", "± two standard errors.", *_table(header, rows)]


def _differences(accuracy: Difference, left: Difference) -> list[str]:
    return [
        _difference(accuracy, 100, 2, "higher", "lower"),
        _difference(left, 1, 0, "more", "fewer"),
    ]


def _compared(first: Result, second: Result) -> list[Difference]:
    keys = "test_accuracy", "nonzero_dense"
    return [difference(first.mean(key), second.mean(key)) for key in keys]


def _against_others(own: Sequence[Result]) -> list[str]:
    """Multi-gradient training with pruning, the paper's method, against all else that
    prunes."""
    pairs = [
        (method, other, _compared(method, other))
        for method in own
        for other in own
        if method.multi_gradient and other.pruned and not other.multi_gradient
    ]
    rows = [
        [method.name, other.name, *_differences(*compared), _outcome(*compared)]
        for method, other, compared in pairs
    ]
    if not rows:
        return []
    lost, unknown = (
        "; ".join(f"{row[0]} to {row[1]}" for row in rows if row[-1] == outcome)
        for outcome in ("loses", _UNKNOWN)
    )
    verdict = f"Where it loses: {lost or 'nowhere in this table'}."
    if unknown:
        verdict = f"Where it loses: {lost}. " * bool(lost)
        verdict += f"It cannot be told whether it loses: {unknown}."
    header = ["run", "against", "accuracy (points)", "dense weights left", "outcome"]
    return [
        "",
        "### Multi-gradient training with pruning against other pruned trainings",
        "",
        "Multi-gradient training has a gradient for each objective (smgd, madam, "
        "mrmsprop). It wins where it is better in one of the two and not worse in the "
        "other, and loses likewise. ± two standard errors.",
        *_table(header, rows, text=2),
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


def of_fronts(own: Sequence[Result]) -> list[str]:
    """What the searches found.

    Args:
      own: fronts that can be compared, at least one.

    Returns:
      Lines of Markdown.

    Example:
      >>> from pathlib import Path
      >>> from experiments.report_tables import of_fronts
      >>> from experiments.runs.results import Result
      >>> summary = {"final": None, "points": 20, "nondominated": 15, "knee": "chord",
      ...     "hypervolume": 0.4, "reference": [0.03, 0.1], "seconds_total": 600.0}
      >>> config = {"optimizer": "adam", "seeds": 1}
      >>> of_fronts([Result("grid", Path("runs/grid"), config, summary)])[3]
      '| grid | adam | 20 | 15 | 0.4000 | - | - | 600 |'
    """
    rows = []
    for x in own:
        final = x.summary["final"] or {}
        accuracy, left = (final.get(k) for k in ("test_accuracy", "nonzero_dense"))
        rows.append(
            [
                x.name,
                x.config["optimizer"],
                f"{x.summary['points']}",
                f"{x.summary['nondominated']}",
                f"{x.summary['hypervolume']:.4f}",
                "-" if accuracy is None else f"{100 * accuracy:.2f}",
                "-" if left is None else f"{left:,}",
                f"{x.summary['seconds_total']:,.0f}",
            ]
        )
    error, share = own[0].summary["reference"]
    header = ["search", "optimizer", "trainings", "not dominated", "hypervolume"]
    header += ["knee: accuracy (%)", "knee: left", "seconds"]
    return [
        *_table(header, rows, text=2),
        "",
        "Hypervolume: of test error and share of dense weights left, in the box up to "
        f"({error:g}, {share:g}), as a share of it; of all trainings and seeds. Knee: "
        f"by {own[0].summary['knee']}, trained again for the full number of epochs, "
        "one seed. Continuation goes on from network to network: a warm-started l1 "
        "path, of far fewer epochs. With madam and mrmsprop the weights are those of "
        "their directions, as in the paper's own fronts. Each search was done once: "
        "which is better cannot be told from this table.",
    ]


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1
) -> list[str]:
    """Markdown; the first columns are text, the others are numbers."""
    rule = [*["---"] * text, *["---:"] * (len(header) - text)]
    return ["", *(f"| {' | '.join(row)} |" for row in (header, rule, *rows))]
