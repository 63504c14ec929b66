"""Networks: any that a user has, as the pair of functions that the trainer calls."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from flax import nnx

import bopt
from experiments.config.options import Config
from experiments.data import Dataset
from experiments.errors import ConfigError
from experiments.training.images import example
from experiments.training.optimizers import compose
from experiments.training.step import make_penalties, steps_per_epoch
from experiments.training.units import find_units

_EXPECTED = (
    "a Flax Linen module, an NNX module's class (or a function of rngs that makes "
    "one), or a pair of functions: init(key, images) -> parameters, and "
    "apply(parameters, images) -> logits"
)


class Network(NamedTuple):
    """A network as Flax Linen has it.

    Attributes:
      init: ``(key, images) -> variables``, a dictionary with "params" and perhaps other
        collections, such as batch statistics.
      apply: ``(variables, images) -> logits``; with ``train=True``, ``mutable`` (names
        of collections) and ``rngs={"dropout": key}``: logits, and the collections
        updated.
    """

    init: Callable[..., Any]
    apply: Callable[..., Any]


def load(name: str) -> Any:
    """Import a network by ``MODULE:NAME``."""
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
        return getattr(found, attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"--model is {name}: {error}. Expected MODULE:NAME of {_EXPECTED}. Check "
            "the name, and start Python where the module can be imported."
        ) from error


def adapted(model: Any, classes: int) -> Network:
    """Turn a user's network into `Network`.

    Classes and functions are called with ``classes=`` if they take it.

    Raises:
      ConfigError: something else than a network.
    """
    if isinstance(model, nnx.Module):
        raise ConfigError(
            f"The network is an object of {type(model).__name__}; expected its class, "
            "or a function of rngs, because each random seed has its own parameters."
        )
    if inspect.isclass(model) and issubclass(model, nn.Module):
        model = model(**_known(model, classes=classes))
    if isinstance(model, nn.Module):
        return _linen(model)
    if isinstance(model, tuple) and len(model) == 2 and all(map(callable, model)):
        return _pair(*model)
    if callable(model) and "rngs" in _parameters(model):
        return _nnx(model, _known(model, classes=classes))
    if callable(model) and not inspect.isclass(model):
        return adapted(model(**_known(model, classes=classes)), classes)
    raise ConfigError(f"The network is {model!r}; expected {_EXPECTED}.")


def check(
    network: Network,
    dataset: Dataset,
    config: Config,
    complexity: Callable[[Any], Any] | None = None,
    weights: Any = None,
) -> bopt.units.Units | None:
    """Report why a network, the data and the options do not fit, if they do not.

    Nothing is computed but shapes, and the units that ``--pruning units`` prunes, which
    are returned. For `weights` see `optimizers.compose`.
    """
    images = example(dataset.images)
    shape = images.shape[1:]
    try:
        variables = jax.eval_shape(network.init, jax.random.key(0), images)
        logits = jax.eval_shape(network.apply, variables, images)
    except Exception as error:
        raise ConfigError(
            f"The network does not take images of shape {shape}, {images.dtype}: "
            f"{type(error).__name__}: {error}"
        ) from error
    expected = dataset.labels.shape[1:]
    found: Any = getattr(logits, "shape", ())
    if found[:-1] != (1, *expected) or found[-1] < dataset.classes:
        raise ConfigError(
            f"The network turns one image of shape {shape} into {found}; expected "
            f"logits of shape {(1, *expected, dataset.classes)}, one per class."
        )
    if not jax.tree.leaves(params := {"params": variables["params"]}):
        raise ConfigError("The network has no parameters; expected some to train.")
    steps = steps_per_epoch(dataset, config.optimizer.batch_size)
    penalty, own = make_penalties(config.objectives, complexity)
    units = find_units(network, variables, images, config)
    try:
        jax.eval_shape(compose(config, steps, weights, units).init, params)
        jax.eval_shape(penalty, params)
        cost = jax.eval_shape(own, params)
    except ValueError as error:
        advice = " Or choose --pruning saliency." * ("by_evidence" in str(error))
        raise ConfigError(f"{error}{advice}") from None
    if getattr(cost, "shape", None) != ():
        raise ConfigError(
            f"The complexity of the parameters is {cost}; expected a scalar."
        )
    return units


def _known(function: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Return the arguments that a function names."""
    names = _parameters(function)
    return {name: value for name, value in arguments.items() if name in names}


def _parameters(function: Callable[..., Any]) -> Any:
    own = function.__init__ if inspect.isclass(function) else function
    return inspect.signature(own).parameters


def _linen(model: nn.Module) -> Network:
    if "train" in inspect.signature(model.__call__).parameters:
        return Network(model.init, model.apply)

    def apply(variables, images, train=False, **more):
        del train
        return model.apply(variables, images, **more)

    return Network(model.init, apply)


def _pair(make: Callable[..., Any], call: Callable[..., Any]) -> Network:
    def init(key, images):
        return {"params": make(key, images)}

    def apply(variables, images, train=False, mutable=None, rngs=None):
        del train, rngs
        logits = call(variables["params"], images)
        return logits if mutable is None else (logits, {})

    return Network(init, apply)


def _nnx(make: Callable[..., Any], arguments: dict[str, Any]) -> Network:
    """Make the module anew in each call: XLA drops what its parameters replace."""
    kinds = (nnx.Param, nnx.RngState, ...)

    def init(key, images):
        del images
        model = make(rngs=nnx.Rngs(key), **arguments)
        _, params, _, rest = nnx.split(model, *kinds)
        variables = {"params": params, "state": rest}
        return {name: nnx.to_pure_dict(own) for name, own in variables.items() if own}

    def apply(variables, images, train=False, mutable=None, rngs=None):
        key = (rngs or {}).get("dropout", jax.random.key(0))
        model = make(rngs=nnx.Rngs(key), **arguments)
        graph, params, keys, rest = nnx.split(model, *kinds)
        nnx.replace_by_pure_dict(params, variables["params"])
        nnx.replace_by_pure_dict(rest, variables.get("state", {}))
        model = nnx.merge(graph, params, keys, rest)
        model.train() if train else model.eval()
        logits = model(images)
        if mutable is None:
            return logits
        rest = nnx.split(model, *kinds)[-1]
        return logits, {"state": nnx.to_pure_dict(rest)} if mutable else {}

    return Network(init, apply)
