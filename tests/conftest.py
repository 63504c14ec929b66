"""Strictness and hypothesis settings that all tests share.

An implicit broadcast between ranks is an error, and so are warnings (pyproject's
``filterwarnings``). Strict dtype promotion is left to the tests of bopt's own functions
(`optax.adam` itself raises under it).
"""

import hypothesis
import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
# The same examples everywhere, and no deadline, which a busy machine would miss.
hypothesis.settings.register_profile(
    "tests", deadline=None, derandomize=True, database=None, max_examples=50
)
hypothesis.settings.load_profile("tests")
