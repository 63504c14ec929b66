"""Networks to benchmark with the options of their programs."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from bopt.models import VGG, LeNet5
from experiments import data
from experiments.config import Config, VggConfig, resolve, updated
from experiments.training.optimizers import compose
from experiments.training.step import steps_per_epoch
from experiments.training.trainer import Trainer


class Model(NamedTuple):
    """A network and the options of its program.

    Attributes:
      title: name in tables.
      module: Flax Linen module from (images, train) to logits.
      config: options, not resolved.
      optimizer: name of the reference, in `optax`.
      steps: default number of steps per repeat.
      train_size: number of training images of its own dataset.
      image: (H, W, C) of an image.
    """

    title: str
    module: Any
    config: Config
    optimizer: str
    steps: int
    train_size: int
    image: tuple[int, int, int]

    @property
    def batch_size(self) -> int:
        """Number of images per step."""
        return self.config.optimizer.batch_size

    def __str__(self) -> str:
        return f"{self.title}, batch {self.batch_size}"

    def digits(self) -> data.Dataset:
        """Return scikit-learn's digits, in the size of the network's own images."""
        return data.load("digits", preferred=self.config.PREFERRED)

    def make_trainer(
        self,
        dataset: data.Dataset,
        weights: Sequence[tuple[float, float]] | None = None,
        **options: Any,
    ) -> Trainer:
        """Make a trainer of one network, or of one per pair of fixed weights."""
        config = resolve(updated(self.config, **options), self.config.PREFERRED)
        steps = steps_per_epoch(dataset, self.batch_size)
        seeds = [0] * len(weights or [()])
        # Over many networks, the library's convolution is a grouped one, and slow.
        module = self.module.clone(method="auto" if len(seeds) == 1 else "patches")
        optimizer = functools.partial(compose, config, steps)
        return Trainer(module, optimizer, dataset, config, seeds, weights)


MODELS = {
    "lenet5": Model("LeNet-5", LeNet5(), Config(), "adam", 200, 55_000, (28, 28, 1)),
    "vgg": Model("VGG", VGG(), VggConfig(), "rmsprop", 4, 45_000, (32, 32, 3)),
}
