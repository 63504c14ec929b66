"""The reference manual that Python itself carries, as sequences of characters.

The text of the help on language topics (`pydoc_data.topics`) is cut into sequences of
65 characters: 64 inputs, and the character that follows each of them as label. It
differs a little between versions of Python.

Source: Python Software Foundation, *The Python Language Reference*.
"""

import platform

import numpy as np

from experiments.errors import DataError

TITLE = "Python's manual"
SIZES = (5_600, 600, 800)
LENGTH = 64  # characters of a sequence


def read() -> tuple[np.ndarray, np.ndarray, str]:
    """Read sequences (N, 64) int32, the characters that follow (N, 64), the source."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    # Other characters than ASCII become question marks.
    codes = np.frombuffer(text.encode("ascii", "replace"), np.uint8)
    source = f"pydoc_data.topics of Python {platform.python_version()}"
    number = sum(SIZES)
    if len(codes) <= number * LENGTH:
        raise DataError(
            f"{source} holds {len(codes):,} characters; expected more than "
            f"{number * LENGTH:,}. Use another version of Python."
        )
    inputs, labels = (codes[start:][: number * LENGTH] for start in (0, 1))
    inputs, labels = (part.reshape(number, LENGTH) for part in (inputs, labels))
    return inputs.astype(np.int32), labels, source
