"""Strictness and speed that all tests share.

An implicit broadcast between ranks is an error; warnings are errors by pyproject's
`filterwarnings`. Strict dtype promotion is left to the tests of bopt's own functions,
because `optax.adam` itself raises under it.

Most of the time of the tests is the time of XLA's compiler. Therefore the compiled
programs are kept for the session, for all workers and for the processes that the tests
start. The fast tests do without most optimizations; the slow ones have them all.
"""

import gc
import os
import shutil
import tempfile

import hypothesis
import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
# The same examples everywhere, and no deadline, which a busy machine would miss.
hypothesis.settings.register_profile(
    "tests", deadline=None, derandomize=True, database=None, max_examples=50
)
hypothesis.settings.load_profile("tests")

CACHE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")  # inherited by the workers
    if folder is None:
        folder = config.stash[CACHE] = tempfile.mkdtemp(prefix="bopt-tests-")
    options = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0.1,
        "jax_disable_most_optimizations": config.option.markexpr == "not slow",
    }
    for name, value in options.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value).lower()


def pytest_collection_finish() -> None:
    """Keep the garbage collector from what all modules hold: tracing makes it busy."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def pytest_unconfigure(config: pytest.Config) -> None:
    if CACHE in config.stash:
        shutil.rmtree(config.stash[CACHE], ignore_errors=True)
