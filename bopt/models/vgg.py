"""VGG-like networks: that of the paper for CIFAR-10, and larger ones."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from bopt.models.conv import Conv, Method, check_widths, max_pool


class VGG(nn.Module):
    """Stages of 3x3 convolutions, each followed by pooling, then dense layers.

    Convolutions keep the size of the image; each is followed by ELU and batch
    normalisation (momentum 0.99 and epsilon 1e-3, as in Keras), each stage by 2x2 max
    pooling and dropout. Kernels are initialised Glorot-uniformly, biases with zeros. On
    32x32x3 images the default, the network of the paper, has 308,394 parameters, of
    which 20,480 are entries of its dense kernel, and 896 batch statistics.

    ``VGG(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 0.0, (4096, 4096), 1000)``
    is VGG-16 for 224x224 images, with batch normalisation, and ELU instead of ReLU.

    Attributes:
      stages: (channels, number of convolutions) of each stage.
      dropout: dropout rate after each stage; one number for all stages, or one each.
      dense: sizes of hidden dense layers between the last stage and the logits, each
        followed by ELU and a dropout of one half.
      classes: number of outputs.
      dtype: dtype of the computation, e.g. `jax.numpy.bfloat16`; None: that of images
        and parameters. Parameters, batch statistics, logits and gradients stay float32.
      method: method of convolution, see `bopt.models.Conv`; ``"auto"`` without `train`
        is the library's, whose gradient is slow on CPUs.
      widths: numbers of channels of each convolution, then of units of each hidden
        dense layer, instead of those in `stages` and `dense`.

    Raises:
      ValueError: when called, `dropout` of another length than `stages`, `widths` that
        are not one number from 1 per layer, or images too small to be halved once per
        stage.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from bopt.models import VGG
      >>> shapes = jax.eval_shape(
      ...     VGG().init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
      >>> sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
      308394
      >>> model, images = VGG(stages=[(4, 1)], dropout=0.2), jnp.ones((8, 8, 8, 3))
      >>> def step(key):
      ...     return model.apply(model.init(key, images), images, train=True,
      ...                        mutable=["batch_stats"], rngs={"dropout": key})
      >>> logits, updated = jax.jit(step)(jax.random.key(0))
      >>> logits.shape, list(updated)
      ((8, 10), ['batch_stats'])

    Source: K. Simonyan, A. Zisserman, *Very deep convolutional networks for large-scale
    image recognition* (arXiv 1409.1556), in the form of arXiv 2008.13590.
    """

    EPSILON: ClassVar[float] = 1e-3  # of batch normalisation

    stages: Sequence[tuple[int, int]] = ((32, 2), (64, 2), (128, 2))
    dropout: float | Sequence[float] = (0.2, 0.3, 0.4)
    dense: Sequence[int] = ()
    classes: int = 10
    dtype: Any = None
    method: Method = "auto"
    widths: Sequence[int] | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Return logits (B, classes) of standardised images (B, H, W, C).

        With `train`, the statistics of the batch are used and stored (pass
        ``mutable=["batch_stats"]``), and dropout needs a key (``rngs={"dropout":
        key}``). Without, the stored statistics are used, and nothing is dropped.
        """
        rates = _rates(self.dropout, self.stages)
        least = 2 ** len(self.stages)
        if min(images.shape[1:3]) < least:
            raise ValueError(
                f"VGG got images of shape {images.shape}; expected a height and width "
                f"of at least {least}, because {len(self.stages)} stages halve them."
            )
        x, widths = images, iter(self._widths())
        for (_, convolutions), rate in zip(self.stages, rates, strict=True):
            for _ in range(convolutions):
                x = nn.elu(self._conv(next(widths), train)(x))
                x = self._batch_norm(use_running_average=not train)(x)
            x = nn.Dropout(rate, deterministic=not train)(max_pool(x))
        x = x.reshape(len(x), -1)
        for features in widths:
            x = nn.elu(self._dense(features)(x))
            x = nn.Dropout(0.5, deterministic=not train)(x)
        logits = self._dense(self.classes)(x)
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))

    def _widths(self) -> Sequence[int]:
        widths = [width for width, number in self.stages for _ in range(number)]
        widths += self.dense
        if self.widths is None:
            return widths
        check_widths("VGG", self.widths, len(widths))
        return self.widths

    def _conv(self, features: int, train: bool) -> Conv:
        # The library's convolution is fast on CPUs, too, but not its gradient.
        inference = self.method == "auto" and not train
        method = "library" if inference else self.method
        return Conv(features, padding="SAME", method=method, dtype=self.dtype)

    def _batch_norm(self, use_running_average: bool) -> nn.BatchNorm:
        return nn.BatchNorm(
            use_running_average, momentum=0.99, epsilon=self.EPSILON, dtype=self.dtype
        )

    def _dense(self, features: int) -> nn.Dense:
        glorot = nn.initializers.glorot_uniform()
        return nn.Dense(features, kernel_init=glorot, dtype=self.dtype)


def _rates(dropout: float | Sequence[float], stages: Sequence[Any]) -> Sequence[float]:
    if isinstance(dropout, int | float):
        return [dropout] * len(stages)
    if len(dropout) != len(stages):
        raise ValueError(
            f"VGG got dropout={tuple(dropout)} for {len(stages)} stages; expected one "
            "number for all, or one per stage."
        )
    return dropout
