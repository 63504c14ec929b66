"""A small transformer on Python's manual: cross entropy against its kernels' l1 norm.

    python -m experiments.text_transformer

Predicts each next character. Trains for 10 epochs and prunes after every step.
"""

if __name__ == "__main__":
    from experiments import startup

    startup.handle_ctrl_c()

import sys
from typing import Any

from experiments.config import TextConfig
from experiments.errors import ConfigError
from experiments.launch import main


def network(config: Any, method: Any, classes: int):
    """Return the transformer."""
    del method, classes  # ASCII, if not all of it occurs
    from bopt.models import Transformer

    if config.pruning.widths is not None:
        raise ConfigError("--widths has no meaning for the transformer. Leave it out.")
    return Transformer()


if __name__ == "__main__":
    sys.exit(main("text_transformer", TextConfig, network))
