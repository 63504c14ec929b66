"""Strictness that all tests share, and a cache of compiled programs.

An implicit broadcast between ranks is an error; warnings are errors by pyproject's
``filterwarnings``. Strict dtype promotion is left to the tests of bopt's own functions
(`optax.adam` itself raises under it).
"""

import os
import shutil
import tempfile

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")

# Most whole runs in the tests train the same small program: it is compiled once per
# session, for the tests, their workers and their processes, which inherit the variables.
_FOLDER = "JAX_COMPILATION_CACHE_DIR"
_SECONDS = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
_own = None if _FOLDER in os.environ else tempfile.mkdtemp(prefix="bopt-tests-")
if _own is not None:
    os.environ[_FOLDER], os.environ[_SECONDS] = _own, "0.1"
jax.config.update("jax_compilation_cache_dir", os.environ[_FOLDER])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def pytest_unconfigure():
    """Remove the cache, if this process made it."""
    if _own is not None:
        shutil.rmtree(_own, ignore_errors=True)
