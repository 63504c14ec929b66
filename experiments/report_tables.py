"""Tables of the page of results: final values of runs, and their differences."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

_MULTI_GRADIENT = ("smgd", "madam", "mrmsprop")
_UNKNOWN = "-"
# Heading -> key of the summary, factor, digits.
_COLUMNS = {
    "Accuracy (%)": ("test_accuracy", 100, 2),
    "Cross entropy": ("test_cross_entropy", 1, 4),
    "l1": ("l1", 1, 1),
    "Dense weights left": ("nonzero_dense", 1, 0),
    "Dense sparsity (%)": ("dense_sparsity", 100, 2),
    "Total sparsity (%)": ("total_sparsity", 100, 2),
}
_DIFFERENCES = ["Accuracy (percentage points)", "Dense weights left"]


class Mean(NamedTuple):
    """Mean and sample standard deviation (0 for one seed) of a value over seeds."""

    mean: float
    deviation: float
    seeds: int

    def text(self, factor: float, digits: int) -> str:
        text = f"{factor * self.mean:,.{digits}f}"
        if self.seeds == 1:
            return text
        return f"{text} ± {factor * self.deviation:,.{digits}f}"


class Difference(NamedTuple):
    """Difference of two means, with two standard errors.

    The verdict is 1 or -1 if the value exceeds them, 0 if not, and None if one of the
    means has one seed or is not finite.
    """

    value: float
    errors: float
    verdict: int | None

    def text(self, factor: float, digits: int, up: str, down: str) -> str:
        value = f"{factor * self.value:+,.{digits}f}"
        if self.verdict is None:
            reason = "one seed" if math.isfinite(self.value) else "not finite"
            return f"{value} ({reason})"
        word = {1: up, 0: "no difference", -1: down}[self.verdict]
        return f"{value} ± {factor * self.errors:,.{digits}f}: {word}"


def difference(first: Mean, second: Mean) -> Difference:
    """Compare two means by Welch's standard error.

    Example:
      >>> from experiments.report_tables import Mean, difference
      >>> difference(Mean(5.0, 1.0, 2), Mean(2.0, 1.0, 2))
      Difference(value=3.0, errors=2.0, verdict=1)
    """
    value = first.mean - second.mean
    errors = 2 * math.sqrt(sum(x.deviation**2 / x.seeds for x in (first, second)))
    if min(first.seeds, second.seeds) < 2 or not math.isfinite(value):
        return Difference(value, errors, None)
    verdict = 0 if abs(value) <= errors else int(math.copysign(1, value))
    return Difference(value, errors, verdict)


class Result(NamedTuple):
    """A training or a front, read from its run directory."""

    name: str
    path: Path
    config: dict[str, Any]
    summary: dict[str, Any]

    def mean(self, key: str) -> Mean:
        value = self.summary[key]
        deviation = self.summary.get("deviation", {}).get(key, 0.0)
        value, deviation = (math.nan if x is None else x for x in (value, deviation))
        return Mean(value, deviation, len(self.summary.get("seeds", [0])))

    @property
    def finished(self) -> bool:
        return bool(self.summary.get("finished"))

    @property
    def pruned(self) -> bool:
        return self.config["prune"]

    @property
    def multi_gradient(self) -> bool:
        """The method of the paper: multi-gradient steps with pruning."""
        return self.pruned and self.config["optimizer"] in _MULTI_GRADIENT

    @property
    def description(self) -> str:
        """Optimizer, weights and pruning in words."""
        config = self.config
        if config["l1"]:
            weights = f"on cross entropy + {config['l1']:g} * l1"
        elif config["l1"] is not None:
            weights = "on cross entropy alone"
        elif config["weights"]:
            weights = "with fixed weights " + " and ".join(map(str, config["weights"]))
        else:
            rows = config["weigh_by"] or "gradients"
            if config["normalize"] != "none":
                rows += f" divided by {config['normalize']}"
            at_zero = f"derivative of l1 at 0: {config['l1_at_zero']:g}"
            weights = f"with weights of least norm of {rows}, {at_zero}"
        if not config["prune"]:
            pruning = "not pruned"
        elif config.get("sparsity") is None:  # older runs have no such option
            pruning = f"pruned below {config['threshold']:g}"
        else:
            how = {"cubic": "gradually", "once": "once"}[config["sparsity_schedule"]]
            pruning = f"pruned to {100 * config['sparsity']:g} %, {how}"
        return f"{config['optimizer']} {weights}; {pruning}"


def training_tables(own: Sequence[Result]) -> list[str]:
    rows = [
        [
            x.name,
            *(x.mean(key).text(*form) for key, *form in _COLUMNS.values()),
            f"{x.summary['seconds_total']:,.0f}",
        ]
        for x in own
    ]
    named = {x.name: x for x in own}
    pruned = [
        [x.name, *_difference_cells(*_compare(x, named[f"{x.name}-unpruned"]))]
        for x in own
        if f"{x.name}-unpruned" in named
    ]
    lines = _table(["Run", "Description"], [[x.name, x.description] for x in own], 2)
    lines += _table(["Run", *_COLUMNS, "Seconds"], rows)
    if pruned:
        lines += ["", "### Pruned minus unpruned", "", "± is two standard errors."]
        lines += _table(["Run", *_DIFFERENCES], pruned)
    return lines + _against_others(own)


def _compare(first: Result, second: Result) -> tuple[Difference, Difference]:
    accuracy, left = (
        difference(first.mean(key), second.mean(key))
        for key in ("test_accuracy", "nonzero_dense")
    )
    return accuracy, left


def _difference_cells(accuracy: Difference, left: Difference) -> list[str]:
    return [
        accuracy.text(100, 2, "higher", "lower"),
        left.text(1, 0, "more", "fewer"),
    ]


def _against_others(own: Sequence[Result]) -> list[str]:
    """Compare the method of the paper with every other training that prunes."""
    rows = []
    for method in (x for x in own if x.multi_gradient):
        for other in (x for x in own if x.pruned and not x.multi_gradient):
            found = _compare(method, other)
            cells = _difference_cells(*found)
            rows.append([method.name, other.name, *cells, _outcome(*found)])
    if not rows:
        return []
    lost, unknown = (
        "; ".join(f"{row[0]} to {row[1]}" for row in rows if row[-1] == outcome)
        for outcome in ("loses", _UNKNOWN)
    )
    verdict = (
        [f"Losses: {lost or 'none in this table'}."] if lost or not unknown else []
    )
    verdict += [f"Undecided with one seed or diverged runs: {unknown}."] * bool(unknown)
    return [
        "",
        "### Multi-gradient training with pruning against other pruned training",
        "",
        "Multi-gradient training has one gradient per objective (smgd, madam, "
        "mrmsprop). It wins where it is better in accuracy or in dense weights left "
        "and not worse in the other, and loses in the opposite case. ± is two standard "
        "errors.",
        *_table(["Run", "Against", *_DIFFERENCES, "Outcome"], rows, 2),
        "",
        " ".join(verdict),
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


def front_tables(own: Sequence[Result]) -> list[str]:
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
                _UNKNOWN if accuracy is None else f"{100 * accuracy:.2f}",
                _UNKNOWN if left is None else f"{left:,}",
                f"{x.summary['seconds_total']:,.0f}",
            ]
        )
    error, share = own[0].summary["reference"]
    header = ["Search", "Optimizer", "Trainings", "Non-dominated", "Hypervolume"]
    header += ["Knee: accuracy (%)", "Knee: dense weights left", "Seconds"]
    return [
        *_table(header, rows, 2),
        "",
        "The hypervolume is that of all trainings and seeds in test error and share of "
        "dense weights left, as a share of the box up to the reference point "
        f"({error:g}, {share:g}). The knee is selected by the "
        f"{own[0].summary['knee']} criterion and trained again for the full number of "
        "epochs with one seed. Continuation is a warm-started l1 path with far fewer "
        "epochs: each network starts from its neighbour. With madam and mrmsprop the "
        "weights are those of their directions, "
        "as in the paper's own fronts. Each search ran once, so this table does not "
        "show which is better.",
    ]


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1
) -> list[str]:
    """Format a table in Markdown; the first `text` columns are text, others numbers."""
    rule = [*["---"] * text, *["---:"] * (len(header) - text)]
    return ["", *(f"| {' | '.join(row)} |" for row in (header, rule, *rows))]
