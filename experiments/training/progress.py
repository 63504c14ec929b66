"""What a trainer says of a training while it goes on, and when it cannot."""

from typing import NamedTuple

from experiments.errors import NonFiniteError


class Scores(NamedTuple):
    """Accuracy (0 to 1) and mean cross entropy (nats) over a split."""

    accuracy: float
    cross_entropy: float


class Progress(NamedTuple):
    """Where an epoch stands after a chunk of steps.

    Attributes:
      epoch: its number, from 1.
      step: steps done in it.
      steps: steps it has.
      objectives: means over its steps so far.
      weights: likewise; with groups of layers, group -> means.
      seconds: what the chunk took.
    """

    epoch: int
    step: int
    steps: int
    objectives: list[float]
    weights: list[float] | dict[str, list[float]]
    seconds: float


def not_finite(loss: str, epoch: int, step: int, steps: int) -> NonFiniteError:
    """The error of a loss that is NaN or infinite."""
    return NonFiniteError(
        f"{loss} not finite in epoch {epoch}, step {step} of {steps}. Lower "
        "--learning-rate, or change --normalize or --optimizer."
    )
