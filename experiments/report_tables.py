"""Tables of the page of results: final values of runs, and their differences."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from bopt.fronts import Front
from experiments.config import MULTI_GRADIENT
from experiments.runs.reading import network_title, read_front

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
# (better in one, worse in one) -> outcome.
_OUTCOMES = {
    (True, False): "wins",
    (False, True): "loses",
    (True, True): "trades one for the other",
    (False, False): "does not differ",
}
_AGAINST_OTHERS = """
### Multi-gradient training with pruning against other pruned training

Multi-gradient training has one gradient per objective (smgd, madam, mrmsprop). It \
wins where it is better in accuracy or in dense weights left and not worse in the \
other, and loses in the opposite case. ± is the 95 % confidence interval."""
_FRONT_COLUMNS = ["Search", "Optimizer", "Trainings", "Non-dominated", "Hypervolume"]
_FRONT_COLUMNS += ["Hypervolume, chosen"]
_FRONT_COLUMNS += ["Knee: accuracy (%)", "Knee: dense weights left", "Seconds"]
_FRONTS = """\
The hypervolume is that of the trainings of one seed in test error and share of dense
weights left, as a share of the box up to the reference point ({error:g}, {share:g});
the chosen ones are non-dominated in validation accuracy and dense weights left.
The knee is selected by the criterion {knee} and trained again for the full number of
epochs with one seed. Continuation is a warm-started l1 path with far fewer epochs: each
network starts from its neighbour. With madam and mrmsprop, fixed weights combine their
directions. Each search ran once, so this table does not show which is better."""
_MATCHED = "Published matched (%)"
_TOLERANCE = 0.003  # of the test accuracy
_PUBLISHED = """\
Published matched is the share of the published networks for which a front has a network
with at most as many dense weights left that is at most {tolerance:g} percentage points
less accurate."""


class Mean(NamedTuple):
    """Mean and sample standard deviation (0 for one seed) of a value over seeds."""

    mean: float
    deviation: float
    seeds: int

    def text(self, factor: float, digits: int) -> str:
        spread = f" ± {factor * self.deviation:,.{digits}f}" if self.seeds > 1 else ""
        return f"{factor * self.mean:,.{digits}f}{spread}"


class Difference(NamedTuple):
    """Difference of two means, with half of its 95 % confidence interval.

    The verdict is 1 or -1 if the interval lies on one side of 0, 0 if not, and None if
    one of the means has one seed or is not finite.
    """

    value: float
    margin: float
    verdict: int | None

    def text(self, factor: float, digits: int, up: str, down: str) -> str:
        value = f"{factor * self.value:+,.{digits}f}"
        if self.verdict is None:
            reason = "one seed" if math.isfinite(self.value) else "not finite"
            return f"{value} ({reason})"
        word = {1: up, 0: "no difference", -1: down}[self.verdict]
        return f"{value} ± {factor * self.margin:,.{digits}f}: {word}"


def difference(first: Mean, second: Mean) -> Difference:
    """Compare two means by Welch's t, with Welch's and Satterthwaite's degrees of
    freedom."""
    value = first.mean - second.mean
    if min(first.seeds, second.seeds) < 2 or not math.isfinite(value):
        return Difference(value, math.nan, None)
    parts = [(x.deviation**2 / x.seeds, x.seeds - 1) for x in (first, second)]
    variance, margin = sum(part for part, _ in parts), 0.0
    if variance:
        freedom = variance**2 / sum(part**2 / own for part, own in parts)
        margin = float(stats.t.ppf(0.975, freedom)) * math.sqrt(variance)
    verdict = 0 if abs(value) <= margin else int(math.copysign(1, value))
    return Difference(value, margin, verdict)


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
        return Mean(value, deviation, len(self.summary.get("seeds") or [0]))

    @property
    def front(self) -> bool:
        return self.config["experiment"] == "pareto_front"

    @property
    def network(self) -> str:
        return network_title(self.config)

    @property
    def subject(self) -> str:
        return f"{self.network} on {self.config['dataset_title']}"

    @property
    def place(self) -> tuple[float, float, float, float]:
        """Means of the dense weights left and of the accuracy, and their deviations."""
        left, accuracy = self.mean("nonzero_dense"), self.mean("test_accuracy")
        return left.mean, accuracy.mean, left.deviation, accuracy.deviation

    @property
    def description(self) -> str:
        """Optimizer, weights and pruning in words."""
        config = self.config
        if config["l1"]:
            norm = "log penalty" if config.get("complexity") == "log" else "l1"
            weights = f"on cross entropy + {config['l1']:g} * {norm}"
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
        if decay := config.get("weight_decay"):
            weights += f", weight decay {decay:g}"
        if config.get("schedule") == "hold_cosine":
            weights += f", rate {config['learning_rate']:g} held, then decayed to 0"
        kind = config.get("pruning")  # older runs have no such option
        if not config["prune"]:
            pruning = "not pruned"
        elif kind == "evidence":
            pruning = "pruned by evidence"
        elif config.get("sparsity") is None:
            pruning = f"pruned below {config['threshold']:g}"
        else:
            how = {"cubic": "gradually"}.get(config["sparsity_schedule"], "once")
            pruning = f"pruned to {100 * config['sparsity']:g} %, {how}"
            pruning += " by saliency" if kind == "saliency" else ""
        if config["prune"] and config.get("prune_where") == "all":
            pruning += ", convolutions, too"
        released = ", as in the released code" if config.get("published") else ""
        return f"{config['optimizer']} {weights}; {pruning}{released}"


def training_tables(own: Sequence[Result]) -> list[str]:
    rows = [
        [
            x.name,
            *(x.mean(key).text(*form) for key, *form in _COLUMNS.values()),
            f"{x.summary['seconds_total']:,.0f}",
        ]
        for x in own
    ]
    lines = _table(["Run", "Description"], [[x.name, x.description] for x in own], 2)
    lines += _table(["Run", *_COLUMNS, "Seconds"], rows)
    named = {x.name: x for x in own}
    pairs = [(x, named.get(f"{x.name}-unpruned")) for x in own]
    pruned = [[x.name, *_compare(x, other)[:2]] for x, other in pairs if other]
    if pruned:
        interval = "± is the 95 % confidence interval."
        lines += ["", "### Pruned minus unpruned", "", interval]
        lines += _table(["Run", *_DIFFERENCES], pruned)
    return lines + _against_others(own)


def _compare(first: Result, second: Result) -> tuple[str, str, str]:
    """Compare accuracies and dense weights left; the last cell is the outcome."""
    accuracy, left = (
        difference(first.mean(key), second.mean(key))
        for key in ("test_accuracy", "nonzero_dense")
    )
    if accuracy.verdict is None or left.verdict is None:
        outcome = _UNKNOWN
    else:
        verdicts = (accuracy.verdict, -left.verdict)
        outcome = _OUTCOMES[max(verdicts) > 0, min(verdicts) < 0]
    cells = accuracy.text(100, 2, "higher", "lower"), left.text(1, 0, "more", "fewer")
    return *cells, outcome


def _against_others(own: Sequence[Result]) -> list[str]:
    """Compare multi-gradient training with every other training that prunes.

    The default is compared with other multi-gradient training, too.
    """
    pruned = [run for run in own if run.config["prune"]]
    multi = [run for run in pruned if run.config["optimizer"] in MULTI_GRADIENT]
    others = [run for run in pruned if run not in multi]
    rows = [
        [x.name, y.name, *_compare(x, y)]
        for x in multi
        for y in (pruned if x.name == "default" else others)
        if x is not y
    ]
    if not rows:
        return []
    lost, unknown = (
        "; ".join(f"{row[0]} to {row[1]}" for row in rows if row[-1] == outcome)
        for outcome in ("loses", _UNKNOWN)
    )
    verdict = []
    if lost or not unknown:
        verdict += [f"Losses: {lost or 'none in this table'}."]
    if unknown:
        verdict += [f"Undecided with one seed or diverged runs: {unknown}."]
    table = _table(["Run", "Against", *_DIFFERENCES, "Outcome"], rows, 2)
    return [*_AGAINST_OTHERS.splitlines(), *table, "", " ".join(verdict)]


def hypervolume(front: Front, reference: Sequence[float], entries: float) -> float:
    """Compute the hypervolume of a front of one seed.

    It is that of test error and share of the `entries` dense weights left, as a share
    of the box up to the reference point in these units.
    """
    error, share = reference
    bounds = (1 - error, share * entries)
    columns = ("test_accuracy", "nonzero_dense")
    volume = front.hypervolume(bounds, columns, maximize=["test_accuracy"])
    return volume / (error * share * entries)


def _hypervolumes(result: Result) -> list[str]:
    """Return those of all trainings and of the chosen ones, as means over the seeds."""
    left, reference = "nonzero_dense", result.summary["reference"]
    seeds = read_front(result.path).by_seed()
    best = ("validation_accuracy", left)
    chosen = [own.nondominated(*best, maximize=best[:1]) for own in seeds]
    texts = []
    for fronts in seeds, chosen:
        volumes = [
            hypervolume(own, reference, result.summary["entries_dense"])
            for own in fronts
        ]
        deviation = statistics.stdev(volumes) if len(volumes) > 1 else 0.0
        mean = Mean(statistics.fmean(volumes), deviation, len(volumes))
        texts.append(mean.text(1, 4))
    return texts


def matched(front: Front, published: Front, tolerance: float = _TOLERANCE) -> float:
    """Return the share of the published networks that a front matches.

    It matches a network if the best test accuracy of its points with at most as many
    dense weights left is at most `tolerance` lower. Nothing is interpolated.

    Example:
      >>> from bopt.fronts import Front, Point
      >>> def networks(*pairs):
      ...     names = "test_accuracy", "nonzero_dense"
      ...     return Front(Point(metrics=dict(zip(names, pair))) for pair in pairs)
      >>> front = networks((0.98, 1000), (0.96, 500))
      >>> published = networks((0.981, 1000), (0.97, 999), (0.95, 499), (0.9, 9000))
      >>> matched(front, published)
      0.5
    """
    names = ("test_accuracy", "nonzero_dense")
    accuracy, left = (front.column(name) for name in names)
    known = np.isfinite(accuracy)  # those of diverged trainings are not
    accuracies, limits = (published.column(name) for name in names)
    best = [
        np.max(accuracy[known & (left <= limit)], initial=-np.inf) for limit in limits
    ]
    # The tables have four digits: rounding in the difference must not decide.
    return float(np.mean(np.array(best) >= accuracies - tolerance - 1e-9))


def front_tables(own: Sequence[Result], published: Front) -> list[str]:
    """Return the table of fronts, compared with published networks if there are any."""
    columns, rows = [*_FRONT_COLUMNS], []
    for x in own:
        found, final = x.summary, x.summary["final"] or {}
        accuracy, left = (final.get(k) for k in ("test_accuracy", "nonzero_dense"))
        counts = f"{found['points']}", f"{found['nondominated']}"
        row = [x.name, x.config["optimizer"], *counts, *_hypervolumes(x)]
        row += [_UNKNOWN if accuracy is None else f"{100 * accuracy:.2f}"]
        row += [_UNKNOWN if left is None else f"{left:,}"]
        rows.append([*row, f"{found['seconds_total']:,.0f}"])
    reference = own[0].summary["reference"]
    criteria = " or ".join(dict.fromkeys(x.summary["knee"] for x in own))
    text = _FRONTS.format(error=reference[0], share=reference[1], knee=criteria)
    if published:
        text += "\n" + _PUBLISHED.format(tolerance=100 * _TOLERANCE)
        columns.insert(6, _MATCHED)
        for x, row in zip(own, rows, strict=True):
            row.insert(6, f"{100 * matched(read_front(x.path), published):.0f}")
        sizes = {x.summary["entries_dense"] for x in own}
        volume = [f"{hypervolume(published, reference, n):.4f}" for n in sizes]
        counts = [f"{len(published)}", _UNKNOWN, *(volume or [_UNKNOWN])]
        rows.append(["published", _UNKNOWN, *counts, *[_UNKNOWN] * 5])
    return [*_table(columns, rows, 2), "", text.replace("\n", " ")]


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1
) -> list[str]:
    """Format a table in Markdown; the first `text` columns are text, others numbers."""
    rule = [*["---"] * text, *["---:"] * (len(header) - text)]
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    return ["", *(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))]
