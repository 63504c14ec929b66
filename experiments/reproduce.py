"""Run the trainings and the searches of the results page, in one folder.

    python -m experiments.reproduce --part mnist --out DIR

Each run is a process of its own with the run directory DIR/PART/NAME, as if its program
had been started by hand. Rerun the command to resume what was interrupted; finished
runs are left alone. `experiments.report` makes a page of results of DIR.
"""

if __name__ == "__main__":
    from experiments import startup

    startup.handle_ctrl_c()

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from experiments.config import check_at_least, parse
from experiments.config.options import DEPENDS
from experiments.errors import STOP_SIGNALS
from experiments.paper_runs import PARTS, Part
from experiments.runs.console import exit_code


@dataclasses.dataclass(frozen=True)
class Options:
    """Run the trainings and the searches of the results page.

    Attributes:
      out: Folder; each run gets the run directory OUT/PART/NAME.
      part: mnist: LeNet-5 with four optimizers, pruned and not, and magnitude pruning;
        cifar: VGG with four optimizers, pruned and not; fronts: the searches of
        pareto_front, some also with fixed weights of madam's directions; normalize:
        divisors of the gradients, in short trainings; published, published-cifar,
        published-fronts: the paper's released code (--published); sparse: the
        default and other ways of pruning; sparse-cifar: VGG pruned by saliency;
        sparse-fronts: fronts of numbers of weights; text: a transformer on Python's
        manual.
      seeds: Number of seeds of each training, from 0 on.
      epochs: Number of epochs of each training except a front's last, if there is no
        time for all of them (default the experiment's own number).
      smoke: Train for a few minutes in all, on the digits, to check that it works.
      data_dir: Folder that may hold the original files of the datasets.
    """

    out: str
    part: Literal[
        "all",
        "mnist",
        "cifar",
        "fronts",
        "normalize",
        "published",
        "published-cifar",
        "published-fronts",
        "sparse",
        "sparse-cifar",
        "sparse-fronts",
        "text",
    ] = "all"
    seeds: int = 3
    epochs: Annotated[int | None, DEPENDS] = None
    smoke: bool = False
    data_dir: str = "data"


def main(words: Sequence[str] | None = None) -> int:
    """Run the program; return 1 if a run failed, else as `experiments.launch.main`.

    Example:
      >>> import contextlib, sys
      >>> from experiments.reproduce import main
      >>> with contextlib.redirect_stderr(sys.stdout):
      ...     main(["--out", "nowhere", "--seeds", "0"])
      error: --seeds is 0; expected at least 1.
      2
    """

    def body() -> int:
        options = parse(Options, "reproduce", words)
        check_at_least(vars(options), {"seeds": 1})
        names = PARTS if options.part == "all" else [options.part]
        return reproduce({name: PARTS[name] for name in names}, options)

    return exit_code(body)


def reproduce(parts: Mapping[str, Part], options: Options) -> int:
    """Do all runs that are not finished.

    Returns:
      The exit code: that of wrong options or data, or of a run that a signal stopped;
      1 if runs failed, after all the others.
    """
    failed, number = [], 0
    total = sum(len(part.runs) for part in parts.values())
    for name, part in parts.items():
        for run in part.runs:
            path, number = Path(options.out, name, run), number + 1
            print(f"Run {number} of {total}: {path}", flush=True)
            words = arguments(part, run, options, path)
            code = _run(f"experiments.{part.program}", words)
            if code > 128:
                print("Rerun the command to resume.", file=sys.stderr)
                return code
            if code == 2:
                return code
            if code:
                failed.append(str(path))
    if failed:
        print(f"error: These runs failed: {', '.join(failed)}.", file=sys.stderr)
    return int(bool(failed))


def arguments(part: Part, run: str, options: Options, path: Path) -> list[str]:
    """Return the command line of a run, which starts or resumes it."""
    begun = (path / "config.json").is_file()
    words = (part.smoke if options.smoke else part.words).split()
    return [
        *words,
        *part.runs[run].split(),
        *("--seeds", str(options.seeds)),
        *(("--data-dir", options.data_dir) if "--dataset" in words else ()),
        *(() if options.epochs is None else ("--epochs", str(options.epochs))),
        *("--resume" if begun else "--out", str(path)),
    ]


def _run(module: str, words: list[str]) -> int:
    """Run a program to its end; a signal to this process stops it, too."""
    command = [sys.executable, "-m", module, *words]
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    before = {n: old for n, old in before.items() if old is not signal.SIG_IGN}
    received: list[int] = []
    process = subprocess.Popen(command, start_new_session=True)

    def forward(number, _) -> None:
        received.append(number)
        process.send_signal(number)

    for number in before:
        signal.signal(number, forward)
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 + received[0] if received else code % 256


if __name__ == "__main__":
    sys.exit(main())
