"""One run in several processes: what they agree on, and what becomes of a lost one.

With --distributed, a program is two processes. The outer one, which the user started,
only waits; the inner one trains, and JAX ends it from C++ where it can say no last word
when another process of the run is lost. The outer one then says which.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable

import jax

from experiments.config import Config
from experiments.errors import ConfigError

HEARTBEAT_SECONDS = 30  # a process that is silent for so long is lost
_INNER = (
    "BOPT_INNER_PROCESS"  # in its environment: the pipe that tells of the outer's end
)


def run(config: Config, program: Callable[[], int]) -> int:
    """Runs a program in the processes that its options ask for.

    Args:
      config: options; without `distributed`, the program is just called.
      program: a function that returns an exit code.

    Returns:
      The program's exit code; 1 where a process was lost.

    Raises:
      ConfigError: options that do not fit, or a cluster that JAX does not know.

    Example:
      >>> from experiments.config import Config
      >>> from experiments.processes import run
      >>> run(Config(), lambda: 0)
      0
    """
    told = {
        "--coordinator": config.coordinator,
        "--processes": config.processes,
        "--process-id": config.process_id,
    }
    given = [name for name, value in told.items() if value is not None]
    if not config.distributed:
        if given:
            raise ConfigError(f"{given[0]} is for --distributed. Add it.")
        return program()
    if given and len(given) < len(told):
        raise ConfigError(
            f"{', '.join(given)} was given; expected all of {', '.join(told)}, or none "
            "where the cluster's environment tells them."
        )
    if config.out is None and config.resume is None:
        raise ConfigError(
            "--distributed needs --out: a folder that all processes see, the same for "
            "all."
        )
    return _inner(config, program) if _INNER in os.environ else _outer()


def _outer() -> int:
    """Starts the inner process, passes signals on, says who was lost."""
    alive, ours = os.pipe()
    process = subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        env=os.environ | {_INNER: str(alive)},
        pass_fds=[alive],
        stderr=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C comes through here, and so but once
    )
    os.close(alive)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: process.send_signal(number))
    said = b""
    assert process.stderr is not None
    for line in process.stderr:
        said += line
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
    code = process.wait()
    os.close(ours)
    if code >= 0:
        return code
    print(f"error: {_lost(said.decode(errors='replace'))}", file=sys.stderr)
    return 1


def _lost(said: str) -> str:
    """Who, from what JAX said before it ended a process."""
    advice = "All processes have to be started again, with --resume."
    silent = re.search(
        r"unhealthy \(stopped sending heartbeats\):\n((?:.*\d\n)+)", said
    )
    if silent:
        numbers = ", ".join(re.findall(r"(\d+)\n", silent[1]))
        return (
            f"Process {numbers} was lost: it has stopped sending heartbeats. {advice}"
        )
    if "Failed to send RPC to coordination service" in said:
        return f"Process 0 was lost, or ended because another was. {advice}"
    return f"The run ended from outside. {advice}"


def _inner(config: Config, program: Callable[[], int]) -> int:
    threading.Thread(
        target=_end_with, args=[int(os.environ[_INNER])], daemon=True
    ).start()
    try:
        jax.distributed.initialize(
            config.coordinator,
            config.processes,
            config.process_id,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,  # where others do not end
        )
    except ValueError as error:  # nothing told, and no cluster that JAX knows
        raise ConfigError(
            f"--distributed: {error} Give --coordinator HOST:PORT, --processes and "
            "--process-id."
        ) from error
    try:
        code = program()
    except Exception:
        traceback.print_exc()
        # If another process was lost, JAX will find out, and end this one.
        time.sleep(1.5 * HEARTBEAT_SECONDS)
        sys.stderr.flush()
        os._exit(1)  # at shutdown, this one would wait for the others
    with contextlib.suppress(Exception):
        jax.distributed.shutdown()
    return code


def _end_with(pipe: int) -> None:
    """Ends this process when the outer one ends, however it does."""
    os.read(pipe, 1)
    os._exit(1)
