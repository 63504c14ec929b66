"""Kill a program at every change of its run directory, resume it, and compare.

    python tests/experiments/kills.py [PROGRAM ...] [--every N] [--random N] [--jobs N]

Python reports each opening for writing, renaming, creation and removal of a file to an
audit hook, which kills the process just before the n-th of them, for n = 1, 2, ...; the
run is then resumed, and must end with the same bits as an undisturbed one, with nothing
left half-written. What Orbax's own threads write is not reported; therefore `--random`
kills the program at random moments while it saves a checkpoint.

JAX is imported and the digits are read once: each program is a fork of this process,
which never uses JAX.
"""

import argparse
import concurrent.futures
import functools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# Compiled programs are shared by all processes.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="kills-jax-")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import fronts
import jax
import matplotlib.backends.backend_agg  # noqa: F401  (imports once)
import orbax.checkpoint  # noqa: F401
import pytest
from networks import Small
from resuming import results, untimed

import experiments.figures
import experiments.training.loop
import experiments.training.search  # noqa: F401
from experiments import pareto_front, reproduce
from experiments.config import Config
from experiments.data import digits
from experiments.launch import main
from experiments.paper_runs import Part

DIGITS = "--dataset digits --train-size 64"
CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
HALF = "*.orbax-checkpoint-tmp*"


class Program(NamedTuple):
    """A program to kill: its options, and its call with all words."""

    words: str
    call: Callable[[list[str]], int]


def small(words: list[str]) -> int:
    return main("small", Config, lambda *_: Small(), words)


def front(words: list[str]) -> int:
    fronts.use_small(pytest.MonkeyPatch())
    return pareto_front.main(words)


def both(words: list[str]) -> int:
    """`reproduce` of two runs, each in a process as it is, but without its process."""

    def run(module: str, own: list[str]) -> int:
        del module
        return small(own)

    part = Part(
        "small", {"digits": 1}, "", DIGITS, {"a": "--epochs 1", "b": "--epochs 2"}
    )
    reproduce._run = run
    reproduce.PARTS = {"mnist": part}
    words = ["--out" if word == "--resume" else word for word in words]
    return reproduce.main([*words, "--part", "mnist", "--seeds", "1", "--smoke"])


PROGRAMS = {
    "run": Program(f"{DIGITS} --epochs 2 --no-figures", small),
    "seeds": Program(f"{DIGITS} --epochs 2 --no-figures --seeds 2", small),
    "figures": Program(f"{DIGITS} --epochs 1", small),
    "front": Program(
        f"{DIGITS} --batch-size 16 --epochs 1 --final-epochs 1 --budget 3 "
        "--parallel 2 --smallest 1e-3 --save front",
        front,
    ),
    "reproduce": Program("", both),
}


def content(path: Path) -> dict[str, Any]:
    """Return everything below a folder, except times, pictures and their order."""
    left = [str(file) for name in (HALF, "*.partial") for file in path.rglob(name)]
    assert not left, f"left half-written: {left}"
    found: dict[str, Any] = {}
    for file in sorted(path.rglob("config.json")):
        run, name = file.parent, str(file.parent.relative_to(path))
        found[f"{name}/files"] = sorted(
            str(own.relative_to(run))
            for own in (*run.glob("*"), *run.glob("figures/*"), *run.glob("networks/*"))
        )
        if (run / "front.csv").is_file():
            found[f"{name}/front"] = fronts.table(run)
            front = json.loads((run / "front.json").read_text())
            found[f"{name}/front.json"] = untimed(front)
        if (run / "metrics.jsonl").is_file() and not run.name.startswith("seed-"):
            plain = not (run / "front.csv").is_file()
            found[f"{name}/results"] = results(run, checkpoints=plain)
    return json.loads(json.dumps(found, default=bytes.hex))


def fork(body: Callable[[], Any], log: Path) -> int:
    """Start a process that calls a function; return its number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX warns of forks: it is not used here
        pid = os.fork()
    if pid:
        return pid
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = body() or 0
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def watched(root: Path, at: int, counted: Path) -> None:
    """Count the changes below a folder, and kill this process before number `at`."""
    number = 0
    inside = os.fspath(root)

    def hook(event: str, args: tuple) -> None:
        nonlocal number
        if event == "open":
            changes = isinstance(args[0], str | bytes) and args[2] & CHANGES
        else:
            changes = event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir")
        if not changes:
            return
        name, folder = os.fsdecode(args[0]), args[-1]
        named = event in ("os.remove", "os.rmdir") and isinstance(folder, int)
        if named and folder >= 0:  # a name in an open folder
            name = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)
        if name.startswith(inside):
            number += 1
            if number == at:
                os.kill(os.getpid(), signal.SIGKILL)
            if at == 0:
                counted.write_text(str(number))

    sys.addaudithook(hook)


class Case:
    """One program, its undisturbed result, and its kills."""

    def __init__(self, name: str, folder: Path):
        self.name, self.program = name, PROGRAMS[name]
        self.folder, self.counted = folder, folder / f"{name}.count"
        whole = folder / f"{name}-whole"
        code = wait(self.start(whole, at=0))
        assert code == 0, (folder / f"{whole.name}.log").read_text()
        self.changes = int(self.counted.read_text())
        self.expected = folder / f"{name}.expected"

        def keep() -> None:
            self.expected.write_text(json.dumps(content(whole)))

        assert wait(fork(keep, log(whole))) == 0, log(whole).read_text()

    def start(self, path: Path, at: int | None) -> int:
        """Start the program in a run directory, or resume it if it had begun."""
        begun = (path / "config.json").is_file()
        words = [*self.program.words.split(), "--out", str(path)]
        if begun or (self.name == "reproduce" and path.exists()):
            words = ["--resume", str(path)]

        def body() -> int:
            if at is not None:
                watched(path, at, self.counted)
            return self.program.call(words)

        return fork(body, log(path))

    def ends_as_whole(self, path: Path) -> str:
        """Resume a killed run; return what is wrong, or nothing."""
        code = wait(self.start(path, at=None))
        if code:
            return f"exit {code}: {log(path).read_text()[-2000:]}"

        def compare() -> int:
            own, other = content(path), json.loads(self.expected.read_text())
            for key in own | other:
                if own.get(key) != other.get(key):
                    print(
                        f"{key} differs: {own.get(key)!r:.300} {other.get(key)!r:.300}"
                    )
            return own != other

        code = wait(fork(compare, log(path)))
        if code:
            return log(path).read_text()[-3000:]
        shutil.rmtree(path)
        log(path).unlink()
        return ""

    def at_change(self, number: int) -> str:
        """Kill the program just before a change."""
        path = self.folder / f"{self.name}-{number}"
        code = wait(self.start(path, at=number))
        if code not in (0, -signal.SIGKILL):  # 0: it made fewer changes this time
            return f"exit {code}: {log(path).read_text()[-2000:]}"
        return self.ends_as_whole(path)

    def while_saving(self, number: int) -> str:
        """Kill the program at a random moment while it saves a checkpoint."""
        path, chance = (
            self.folder / f"{self.name}-random-{number}",
            random.Random(number),
        )
        pid, saves = self.start(path, at=None), chance.randrange(1, 4)
        delay, seen = chance.uniform(0, 0.04), set()
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            seen |= {folder.name for folder in path.glob(f"checkpoints/**/{HALF}")}
            if len(seen) >= saves:
                time.sleep(delay)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                break
        return self.ends_as_whole(path)


def log(path: Path) -> Path:
    return path.with_name(f"{path.name}.log")


def wrong(case: Case, every: int, saving: int, jobs: int) -> tuple[int, dict[str, str]]:
    """Kill one program; return the number of kills, and what was wrong by kill."""
    # From another first change in each run of the tests.
    numbers = range(1 + random.randrange(every), case.changes + 1, every)
    kills = [(f"change {n}", lambda n=n: case.at_change(n)) for n in numbers]
    kills += [(f"save {n}", lambda n=n: case.while_saving(n)) for n in range(saving)]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        done = [(name, pool.submit(kill)) for name, kill in kills]
        found = {name: own.result() for name, own in done}
    return len(kills), {name: text for name, text in found.items() if text}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Kill programs.")
    parser.add_argument("programs", nargs="*", default=list(PROGRAMS))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options, failed = parser.parse_args(), 0
    # For all programs, which are forks of this process.
    jax.config.update("jax_disable_most_optimizations", True)
    digits.read = functools.cache(digits.read)
    digits.read((28, 28, 1))
    root = Path(tempfile.mkdtemp(prefix="kills-"))
    for name in options.programs:
        began = time.monotonic()
        case = Case(name, root)
        kills, bad = wrong(case, options.every, options.random, options.jobs)
        for kill, text in bad.items():
            print(f"{name}, {kill}:\n{text}", file=sys.stderr)
        seconds = time.monotonic() - began
        print(
            f"{name}: {case.changes} changes, {kills} kills, {kills - len(bad)} "
            f"survived, {seconds:.0f} s",
            flush=True,
        )
        failed += len(bad)
    if not failed:
        shutil.rmtree(root)
    sys.exit(min(failed, 1))
