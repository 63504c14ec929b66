"""What finished runs came to, read from their directories, and how runs differ."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments.option_checks import MULTI_GRADIENT
from experiments.paper_runs import EPOCHS, PARTS
from experiments.runs.directory import read_json


class Mean(NamedTuple):
    """A figure over seeds.

    Attributes:
      mean: over them.
      deviation: their sample standard deviation; 0 of one.
      seeds: how many.

    Example:
      >>> from experiments.runs.results import Mean
      >>> Mean(0.99, 0.001, 3).seeds
      3
    """

    mean: float
    deviation: float
    seeds: int


class Difference(NamedTuple):
    """How a figure differs between two runs.

    Attributes:
      value: the first's mean less the second's.
      errors: two standard errors of it.
      verdict: 1 or -1 where the value exceeds that, 0 where it does not; None if one
        of the two has one seed, or no finite value, so that nothing can be said.

    Example:
      >>> from experiments.runs.results import Difference
      >>> Difference(0.1, 0.2, 0).verdict
      0
    """

    value: float
    errors: float
    verdict: int | None


class Result(NamedTuple):
    """A run as its directory has it: `name`, `path`, `config`, `summary`.

    Example:
      >>> from pathlib import Path
      >>> from experiments.runs.results import Result
      >>> Result("adam", Path("runs/adam"), {"prune": True}, {}).name
      'adam'
    """

    name: str
    path: Path
    config: dict[str, Any]
    summary: dict[str, Any]

    def mean(self, key: str) -> Mean:
        """A figure of the summary."""
        seeds = len(self.summary.get("seeds", [0]))
        deviation = self.summary.get("deviation", {}).get(key, 0.0)
        return Mean(_number(self.summary[key]), _number(deviation), seeds)

    @property
    def pruned(self) -> bool:
        """Whether it was pruned while it was trained."""
        return self.config["prune"]

    @property
    def multi_gradient(self) -> bool:
        """Whether it is of the paper's kind: multi-gradient steps and pruning."""
        return self.pruned and self.config["optimizer"] in MULTI_GRADIENT

    @property
    def options(self) -> str:
        """What it is, in words: the optimizer, its weights, its pruning."""
        config = self.config
        if config["l1"]:
            weights = f"on cross entropy + {config['l1']:g} * l1"
        elif config["l1"] is not None:
            weights = "on cross entropy alone"
        elif config["weights"]:
            weights = "with fixed weights " + " and ".join(map(str, config["weights"]))
        else:
            weights = (
                f"with weights of least norm of {config['weigh_by'] or 'gradients'}"
            )
            if config["normalize"] != "none":
                weights += f" divided by {config['normalize']}"
            weights += f", derivative of l1 at 0: {config['l1_at_zero']:g}"
        if not config["prune"]:
            pruning = "not pruned"
        elif config.get("sparsity") is None:  # older runs have no such option
            pruning = f"pruned below {config['threshold']:g}"
        else:
            how = {"cubic": "gradually", "once": "once"}[config["sparsity_schedule"]]
            pruning = f"pruned to {100 * config['sparsity']:g} %, {how}"
        return f"{config['optimizer']} {weights}; {pruning}"

    @property
    def command(self) -> str | None:
        """The command of `experiments.reproduce` that makes it; None if it is not one
        of its runs."""
        part = PARTS.get(self.path.parent.name)
        if part is None or self.name not in part.runs:
            return None
        config = self.config
        command = "python -m experiments.reproduce --part " + self.path.parent.name
        if config["dataset_found"] == "digits":
            return f"{command} --smoke --seeds {config['seeds']} --out DIR"
        if config["epochs"] != part.epochs[config["dataset_found"]]:
            command += f" --epochs {config['epochs']}"
        return f"{command} --seeds {config['seeds']} --out DIR"

    @property
    def lenet(self) -> bool:
        """Whether its network, or those of its front, are LeNet-5."""
        config = self.config
        return config.get("model") == "lenet5" or config["experiment"] == "mnist_lenet"

    @property
    def shortened(self) -> str:
        """In which way it had less to train than its experiment does of itself; empty
        if in none."""
        config = self.config
        model = config.get("model")
        own = EPOCHS[config["experiment"], model][config["dataset_found"]]
        ways = []
        if config["epochs"] < own:
            ways += [f"{config['epochs']} of the experiment's own {own} epochs"]
        if config["train_size"] is not None:
            ways += [f"{config['train_size']:,} training images"]
        return ", ".join(ways)


def difference(first: Mean, second: Mean) -> Difference:
    """Compares two means by Welch's standard error.

    Example:
      >>> from experiments.runs.results import Mean, difference
      >>> difference(Mean(5.0, 1.0, 2), Mean(2.0, 1.0, 2))
      Difference(value=3.0, errors=2.0, verdict=1)
    """
    value = first.mean - second.mean
    variance = sum(x.deviation**2 / x.seeds for x in (first, second))
    errors = 2 * math.sqrt(variance)
    if min(first.seeds, second.seeds) < 2 or not math.isfinite(value):
        return Difference(value, errors, None)
    verdict = 0 if abs(value) <= errors else int(math.copysign(1, value))
    return Difference(value, errors, verdict)


def results(folder: Path) -> Iterator[Result]:
    """Reads all runs in a folder, at any depth, finished or not: those of
    `experiments.reproduce` in its order, then others by name.

    Of a run with several seeds, that is the one that has their means.

    Example:
      >>> from pathlib import Path
      >>> from experiments.runs.results import results
      >>> list(results(Path("nowhere")))
      []
    """
    order = [Path(part, run) for part, own in PARTS.items() for run in own.runs]

    def place(path: Path) -> tuple[int, Path]:
        last = Path(*path.parts[-2:])
        return order.index(last) if last in order else len(order), path

    known = [experiment for experiment, _ in EPOCHS]
    paths = {file.parent for file in folder.rglob("config.json")}
    for path in sorted((x for x in paths if x.parent not in paths), key=place):
        config, summary = (read_json(path / f"{x}.json") for x in ("config", "summary"))
        if config.get("experiment") in known:  # other programs have such files, too
            yield Result(path.name, path, config, summary)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
