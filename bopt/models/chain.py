"""Chains: trained networks of plain layers, which can be made smaller.

In a chain batch normalisation is a scale and an offset, and there is no dropout.
"""

import dataclasses
import functools
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn

from bopt.models.conv import avg_pool, convolve, max_pool
from bopt.models.lenet import LeNet5
from bopt.models.vgg import VGG
from bopt.sparsity import export

_ACTIVATIONS = {"relu": nn.relu, "elu": nn.elu}
_FUNCTIONS = {**_ACTIVATIONS, "avg_pool": avg_pool, "max_pool": max_pool}


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["kinds"]
)
@dataclasses.dataclass(frozen=True)
class Chain:
    """A sequence of layers; a pytree, callable under `jax.jit`.

    Attributes:
      kinds: kind of each layer: ``"conv VALID"``, ``"conv SAME"`` or ``"dense"`` (with
        ``kernel`` and ``bias``), ``"scale"`` (with ``scale`` and ``offset``),
        ``"flatten"`` (with ``kept``, the positions that the next layer takes, if not
        all), ``"relu"``, ``"elu"``, ``"avg_pool"`` or ``"max_pool"``.
      params: arrays of each layer, by name.

    Example:
      >>> import jax.numpy as jnp
      >>> from bopt.models import Chain
      >>> dense = {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}
      >>> print(Chain(("dense", "relu"), (dense, {}))(jnp.ones((1, 3))))
      [[3. 3.]]
    """

    kinds: tuple[str, ...]
    params: tuple[dict[str, Any], ...]

    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits (B, classes) of images (B, H, W, C)."""
        x = images
        for kind, params in zip(self.kinds, self.params, strict=True):
            x = _apply(kind, params, x)
        return x

    def save(self, path: str | Path) -> None:
        """Write the chain to a file, see `bopt.sparsity.export.save`."""
        layers = {str(n): params for n, params in enumerate(self.params) if params}
        export.save(path, layers, {"chain": json.dumps(self.kinds)})

    @classmethod
    def load(cls, path: str | Path) -> "Chain":
        """Read a file written by `save`; errors as `bopt.sparsity.export.load`."""
        layers, metadata = export.load(path)
        if "chain" not in metadata:
            raise ValueError(
                f"{path} holds parameters, but no chain; read it with "
                "bopt.sparsity.export.load."
            )
        kinds = tuple(json.loads(metadata["chain"]))
        return cls(kinds, tuple(layers.get(str(n), {}) for n in range(len(kinds))))


def _apply(kind: str, params: dict[str, Any], x: jax.Array) -> jax.Array:
    match kind.split():
        case ["conv", padding]:
            x = convolve(x, params["kernel"], padding)  # pyright: ignore[reportArgumentType]
            return x + params["bias"][None, None, None]
        case ["dense"]:
            return x @ params["kernel"] + params["bias"][None]
        case ["scale"]:
            scale, offset = params["scale"], params["offset"]
            return x * scale[None, None, None] + offset[None, None, None]
        case ["flatten"]:
            x = x.reshape(len(x), -1)
            return x[:, params["kept"]] if "kept" in params else x
    return _FUNCTIONS[kind](x)


def chain(model: LeNet5 | VGG, variables: Any) -> Chain:
    """Turn a trained network into a chain.

    Args:
      model: a `LeNet5` or a `VGG`, of any size.
      variables: collections of the network: ``params`` and, for VGG, ``batch_stats``.

    Returns:
      A `Chain` with the same logits to float error, computed in the parameters' dtype.

    Raises:
      TypeError: another kind of network.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from bopt.models import LeNet5, chain
      >>> images = jnp.ones((1, 28, 28, 1))
      >>> variables = jax.jit(LeNet5().init)(jax.random.key(0), images)
      >>> chain(LeNet5(), variables).kinds[:3]
      ('conv VALID', 'relu', 'avg_pool')
    """
    variables = jax.tree.map(np.asarray, dict(variables))
    params, layers = variables["params"], []

    def dense(number: int) -> tuple[str, dict[str, Any]]:
        return "dense", dict(params[f"Dense_{number}"])

    match model:
        case LeNet5():
            for number in range(2):
                conv = dict(params[f"Conv_{number}"])
                layers += [("conv VALID", conv), ("relu", {}), ("avg_pool", {})]
            activation, hidden = "relu", 2
        case VGG():
            number = 0
            for _, convolutions in model.stages:
                for _ in range(convolutions):
                    conv = dict(params[f"Conv_{number}"])
                    layers += [("conv SAME", conv), ("elu", {})]
                    layers.append(("scale", _normalisation(variables, number)))
                    number += 1
                layers.append(("max_pool", {}))
            activation, hidden = "elu", len(model.dense)
        case _:
            raise TypeError(
                f"chain got {type(model).__name__}; expected LeNet5 or VGG."
            )
    layers.append(("flatten", {}))
    for number in range(hidden):
        layers += [dense(number), (activation, {})]
    layers.append(dense(hidden))
    kinds, arrays = zip(*layers, strict=True)
    return Chain(kinds, arrays)


def _normalisation(variables: Any, number: int) -> dict[str, np.ndarray]:
    """Batch normalisation with the stored statistics, as a scale and an offset."""
    name = f"BatchNorm_{number}"
    params, stats = variables["params"][name], variables["batch_stats"][name]
    scale = params["scale"] / np.sqrt(stats["var"] + VGG.EPSILON)
    return {"scale": scale, "offset": params["bias"] - stats["mean"] * scale}


def shrink(chain: Chain, image: tuple[int, int, int]) -> Chain:
    """Remove the units (channels, neurons) that pruning left without input or output.

    The constant value of a unit without input moves into the biases of the next layer,
    unless this is a convolution with ``"SAME"`` padding, with zeros at its borders.
    This takes the known activations of a chain. `bopt.compact` has any network, and its
    training, without the units that nothing takes.

    Args:
      chain: see `bopt.models.chain`.
      image: (H, W, C), the shape of an image.

    Returns:
      A `Chain` with the same logits to float error, NaN included. Each layer keeps at
      least one unit, and those of parameters that are not finite.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from bopt.models import LeNet5, chain, shrink
      >>> images = jnp.ones((1, 28, 28, 1))
      >>> variables = jax.jit(LeNet5().init)(jax.random.key(0), images)
      >>> kernel = variables["params"]["Dense_1"]["kernel"]
      >>> variables["params"]["Dense_1"]["kernel"] = kernel.at[20:].set(0)
      >>> small = shrink(chain(LeNet5(), variables), (28, 28, 1))
      >>> [params["kernel"].shape for params in small.params if "kernel" in params][2:]
      [(400, 20), (20, 84), (84, 10)]
    """
    params = [jax.tree.map(np.array, layer) for layer in chain.params]
    _fold_constants(chain.kinds, params, image)
    _cut(chain.kinds, params, image)
    return Chain(chain.kinds, tuple(params))


def _fold_constants(kinds, params, image) -> None:
    """Move values that do not depend on the image into biases."""
    value = np.full(image[-1], np.nan)  # of each unit; NaN: depends on the image
    shapes = _shapes(kinds, params, image)
    for kind, own, shape in zip(kinds, params, shapes[:-1], strict=True):
        match kind.split():
            case ["conv" | "dense", *padding]:
                kernel = own["kernel"]
                foldable = np.isfinite(value) & ((padding != ["SAME"]) | (value == 0))
                positions = tuple(range(kernel.ndim - 2))
                extra = value[foldable] @ kernel.sum(positions)[foldable]
                own["bias"] = own["bias"] + extra.astype(own["bias"].dtype)
                kernel[..., foldable, :] = 0
                without = ~kernel.any((*positions, kernel.ndim - 2))
                value = np.where(without, own["bias"], np.nan)
            case ["scale"]:
                value = value * own["scale"] + own["offset"]
            case ["flatten"]:
                value = np.tile(value, math.prod(shape[:-1]))
                value = value[own["kept"]] if "kept" in own else value
            case ["relu" | "elu"]:
                value = np.asarray(_ACTIVATIONS[kind](value))


def _cut(kinds, params, image) -> None:
    """Remove units that no later layer takes, from the last layer to the first."""
    shapes = _shapes(kinds, params, image)
    broken = _broken(kinds, params, shapes)
    used: np.ndarray | None = None  # units that the next layer takes; None: all
    first = next((i for i, own in enumerate(params) if "kernel" in own), len(kinds))
    for number in reversed(range(first, len(kinds))):
        own, shape = params[number], shapes[number]
        match kinds[number].split():
            case ["conv" | "dense", *_]:
                if used is not None:
                    own["kernel"] = own["kernel"][..., used]
                    own["bias"] = own["bias"][used]
                kernel = own["kernel"]
                taken = kernel.any((*range(kernel.ndim - 2), kernel.ndim - 1))
                taken |= broken[number]
                if number == first:  # an image keeps all its channels
                    return
                used = np.flatnonzero(taken) if taken.any() else np.array([0])
                own["kernel"] = kernel[..., used, :]
            case ["scale"]:
                own["scale"], own["offset"] = own["scale"][used], own["offset"][used]
            case ["flatten"]:
                kept = own.get("kept", np.arange(math.prod(shape)))[used]
                places, units = np.divmod(kept, shape[-1])
                used = np.unique(units)
                kept = places * len(used) + np.searchsorted(used, units)
                own.pop("kept", None)
                if len(kept) < math.prod(shape[:-1]) * len(used):
                    own["kept"] = kept.astype(np.int32)


def _broken(kinds, params, shapes) -> list[np.ndarray]:
    """Input units of each layer whose own parameters are not all finite.

    Their NaN reaches the logits even through zeros, as 0 * NaN is NaN.
    """
    units = np.zeros(shapes[0][-1], bool)
    found = []
    for kind, own, shape in zip(kinds, params, shapes[:-1], strict=True):
        found.append(units)
        if "kernel" in own:
            kernel = own["kernel"].reshape(-1, len(own["bias"]))
            units = ~np.isfinite(np.vstack([kernel, own["bias"]])).all(0)
        elif kind == "scale":
            units = units | ~np.isfinite(own["scale"] + own["offset"])
        elif kind == "flatten":
            units = np.tile(units, math.prod(shape[:-1]))
            units = units[own["kept"]] if "kept" in own else units
    return found


def _shapes(kinds, params, image) -> list[tuple[int, ...]]:
    """Shapes of each layer's input, then of the output, without the batch's axis."""
    x = jax.ShapeDtypeStruct((1, *image), np.float32)
    shapes = [x.shape[1:]]
    for kind, own in zip(kinds, params, strict=True):
        x = jax.eval_shape(functools.partial(_apply, kind), own, x)
        shapes.append(x.shape[1:])
    return shapes


class Size(NamedTuple):
    """Size of a chain.

    Attributes:
      parameters: entries of all arrays; of CSR kernels, those that are stored.
      multiply_adds: products per image; with CSR kernels, those of stored entries.
      bytes: in memory, indices of CSR kernels included.

    Example:
      >>> from bopt.models import Size
      >>> Size(parameters=10, multiply_adds=80, bytes=40).multiply_adds
      80
    """

    parameters: int
    multiply_adds: int
    bytes: int


def size(chain: Chain, image: tuple[int, int, int]) -> Size:
    """Count the parameters, multiply-adds and bytes of a chain.

    Args:
      chain: see `bopt.models.chain`; its dense kernels may be CSR matrices, made by
        `bopt.sparsity.export.csr`.
      image: (H, W, C), the shape of an image.

    Returns:
      A `Size`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from bopt.models import LeNet5, chain, size
      >>> images = jnp.ones((1, 28, 28, 1))
      >>> variables = jax.jit(LeNet5().init)(jax.random.key(0), images)
      >>> size(chain(LeNet5(), variables), (28, 28, 1))
      Size(parameters=60074, multiply_adds=199968, bytes=240296)
    """
    parameters = multiply_adds = 0
    layers = export.dense(list(chain.params))
    shapes = _shapes(chain.kinds, layers, image)
    for number, (kind, own) in enumerate(zip(chain.kinds, chain.params, strict=True)):
        stored = {name: array.size for name, array in own.items()}
        parameters += sum(number for name, number in stored.items() if name != "kept")
        if "kernel" in stored:
            multiply_adds += stored["kernel"] * math.prod(shapes[number + 1][:-1])
        elif kind == "scale":
            multiply_adds += math.prod(shapes[number])
    return Size(parameters, multiply_adds, export.nbytes(list(chain.params)))
