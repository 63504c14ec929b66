"""Networks to benchmark with the options of their programs."""

import functools
from typing import Any, NamedTuple

from bopt.models import VGG, LeNet5
from experiments import data
from experiments.config import Config, VggConfig, resolve, updated
from experiments.training.optimizers import compose
from experiments.training.step import steps_per_epoch
from experiments.training.trainer import Trainer


class Model(NamedTuple):
    """A network and the options of its program, not resolved."""

    title: str
    module: Any
    config: Config
    optimizer: str  # the reference, in optax
    steps: int  # default number per repeat
    train_size: int  # number of training images of its own dataset
    image: tuple[int, int, int]  # (H, W, C)

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
        self, dataset: data.Dataset, networks: int | None = None, **options: Any
    ) -> Trainer:
        """Make a trainer of one network, or of several with fixed weights."""
        config = resolve(updated(self.config, **options), self.config.PREFERRED)
        steps, number = steps_per_epoch(dataset, self.batch_size), networks or 1
        weights = None if networks is None else [(0.999, 0.001)] * networks
        # Over many networks, the library's convolution is a grouped one, and slow.
        module = self.module.clone(method="auto" if number == 1 else "patches")
        optimizer = functools.partial(compose, config, steps)
        return Trainer(module, optimizer, dataset, config, [0] * number, weights)


# Fixed weights are those of the objectives with this rule of pruning.
_LENET = updated(Config(), pruning="threshold")
MODELS = {
    "lenet5": Model("LeNet-5", LeNet5(), _LENET, "adam", 200, 55_000, (28, 28, 1)),
    "vgg": Model("VGG", VGG(), VggConfig(), "rmsprop", 4, 45_000, (32, 32, 3)),
}
