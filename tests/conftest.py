"""Strictness and speed that all tests share.

An implicit broadcast between ranks is an error; warnings are errors by pyproject's
`filterwarnings`. Strict dtype promotion is left to the tests of bopt's own functions,
because `optax.adam` itself raises under it.

Most of the time of the tests is the time of XLA's compiler. Therefore the compiled
programs are kept for the session, for all workers and for the processes that the tests
start, without most optimizations. With all of them, as the programs of users have:

    JAX_DISABLE_MOST_OPTIMIZATIONS=false XLA_FLAGS=--xla_cpu_use_fusion_emitters=true \\
        python -m pytest -m "slow or not slow"
"""

import gc
import mmap
import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
import jax
import jaxlib
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
# The same examples everywhere, and no deadline, which a busy machine would miss.
hypothesis.settings.register_profile(
    "tests", deadline=None, derandomize=True, database=None, max_examples=50
)
hypothesis.settings.load_profile("tests")

CACHE = pytest.StashKey[str]()
# Without these emitters of XLA, small programs compile in two thirds of the time.
EMITTERS = "xla_cpu_use_fusion_emitters"


def known(flag: str) -> bool:
    """Return whether XLA knows a flag; one that it does not know ends the process."""
    for file in Path(jaxlib.__file__).parent.glob("libjax_common.*"):
        with (
            open(file, "rb") as library,
            mmap.mmap(library.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return content.find(flag.encode()) >= 0
    return False


def pytest_configure(config: pytest.Config) -> None:
    options = {
        "jax_compilation_cache_dir": None,
        "jax_persistent_cache_min_compile_time_secs": 0.1,
        "jax_disable_most_optimizations": True,
    }
    for name, value in options.items():
        if name.upper() not in os.environ:  # which workers and programs inherit
            if value is None:
                value = config.stash[CACHE] = tempfile.mkdtemp(prefix="bopt-tests-")
            jax.config.update(name, value)
            os.environ[name.upper()] = str(value)
    flags = os.environ.get("XLA_FLAGS", "")
    if EMITTERS not in flags and known(EMITTERS):
        os.environ["XLA_FLAGS"] = f"{flags} --{EMITTERS}=false".strip()


def pytest_collection_finish() -> None:
    """Keep the garbage collector from what all modules hold: tracing makes it busy."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def pytest_unconfigure(config: pytest.Config) -> None:
    if CACHE in config.stash:
        shutil.rmtree(config.stash[CACHE], ignore_errors=True)
