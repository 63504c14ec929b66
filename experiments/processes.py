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
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.config import Config
from experiments.errors import ConfigError, ProcessError

HEARTBEAT_SECONDS = 30  # a process that is silent for so long is lost
_INNER = (
    "BOPT_INNER_PROCESS"  # in its environment: the pipe that tells of the outer's end
)


def fetched(tree: Any) -> Any:
    """A tree of arrays on the host, wherever their parts are.

    Args:
      tree: of arrays; all processes ask for the same ones.

    Example:
      >>> import jax.numpy as jnp
      >>> from experiments.processes import fetched
      >>> fetched({"a": jnp.arange(2)})
      {'a': array([0, 1], dtype=int32)}
    """

    def whole(leaf):
        if leaf.is_fully_addressable or leaf.is_fully_replicated:
            return leaf
        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.device_get(jax.tree.map(whole, tree))


def gathered(number: int) -> list[int]:
    """Every process' number, in the processes' order, which all of them ask for.

    Example:
      >>> from experiments.processes import gathered
      >>> gathered(3)
      [3]
    """
    if jax.process_count() == 1:
        return [number]
    return multihost_utils.process_allgather(np.int32(number)).tolist()


def on_first(function: Callable[[], Any]) -> Any:
    """Calls a function in the first process alone; where it fails, all fail.

    Returns:
      What the function returned; None in the other processes.

    Raises:
      ProcessError: in the other processes, when the first failed.

    Example:
      >>> from experiments.processes import on_first
      >>> on_first(lambda: "done")
      'done'
    """
    if jax.process_count() == 1:
        return function()
    result, error = None, None
    if jax.process_index() == 0:
        try:
            result = function()
        except Exception as raised:
            error = raised
    failed = gathered(error is not None)[0]
    if error is not None:
        raise error
    if failed:
        raise ProcessError("Process 0 failed; it says why.")
    return result


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
