"""Strictness that all tests share: an implicit broadcast between ranks is an error.

Warnings are errors by pyproject's ``filterwarnings``. Strict dtype promotion is left
to the tests of bopt's own functions (`optax.adam` itself raises under it).
"""

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
