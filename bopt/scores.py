"""Scores of entries: the order in which `prune` and `prune_to` remove them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from bopt._dtypes import wide_dtype

Leaves = list[jax.Array]
WorthFunction = Callable[[jax.Array], jax.Array]


class Score(NamedTuple):
    """A score of the entries of parameters, with a state of its own.

    The functions get lists of arrays: the leaves that are selected for pruning.

    Attributes:
      init: ``params -> state``.
      update: ``(gradients, params, state) -> state``, at every step until `stop`: the
        gradients of objective 0 at the parameters before the update; None if
        `gradients` is False.
      worth: ``(params, state) -> scores``, real arrays of the shapes of `params`, the
        parameters after the update: entries with the lowest are pruned.
      gradients: whether `update` needs gradients.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> squares = bopt.Score(
      ...     init=lambda params: (),
      ...     update=lambda gradients, params, state: state,
      ...     worth=lambda params, state: [leaf**2 for leaf in params],
      ...     gradients=False,
      ... )
      >>> params = {"kernel": jnp.array([[4.0, -1.0, 2.0, 3.0]])}
      >>> pruning = bopt.prune_to(0.5, score=squares)
      >>> updates, _ = pruning.update(
      ...     {"kernel": jnp.zeros((1, 4))}, pruning.init(params), params)
      >>> print(params["kernel"] + updates["kernel"])
      [[4. 0. 0. 3.]]
    """

    init: Callable[[Leaves], Any]
    update: Callable[[Leaves | None, Leaves, Any], Any]
    worth: Callable[[Leaves, Any], Leaves]
    gradients: bool


def magnitude() -> Score:
    """Score entries by their magnitude, ``|w|``.

    Returns:
      A `Score` without state.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> print(bopt.magnitude().worth([jnp.array([-2.0, 1.0])], ()))
      [Array([2., 1.], dtype=float32)]

    Source: S. Han, J. Pool, J. Tran, W. J. Dally, *Learning both weights and
    connections for efficient neural networks* (arXiv 1506.02626).
    """
    return as_score(lambda leaf: jnp.abs(leaf).astype(wide_dtype([leaf])))


def saliency(power: float = 0.25, decay: ArrayLike = 0.999) -> Score:
    """Score entries by ``|w| * nu^power``, nu their mean squared gradient.

    nu is the bias-corrected exponential moving average of the squared gradient of
    objective 0, the data loss. With ``power=0.5`` the squared score is, up to a factor,
    the rise of the loss when an entry is removed, to second order with the diagonal
    Fisher information; ``power=0`` is the magnitude. In between, the score is less
    noisy: 0.25 prunes best at high sparsities. Costs one array per pruned leaf.

    Args:
      power: exponent of nu, at least 0.
      decay: decay of the moving average, from 0 to 1.

    Returns:
      A `Score` that needs gradients: give `bopt.prune` or `bopt.prune_to` the
      `optimizer` that it prunes.

    Raises:
      ValueError: a negative `power`.

    Example:
      >>> import bopt, jax.numpy as jnp, optax
      >>> params = {"kernel": jnp.array([[2.0, 1.0]])}
      >>> pruning = bopt.prune_to(
      ...     0.5, score=bopt.saliency(), optimizer=optax.sgd(0.1))
      >>> updates, _ = pruning.update(
      ...     {"kernel": jnp.array([[0.01, 1.0]])}, pruning.init(params), params)
      >>> print(params["kernel"] + updates["kernel"])
      [[0.  0.9]]

    Source: Y. LeCun, J. S. Denker, S. A. Solla, *Optimal brain damage* (NeurIPS 1989);
    Fisher information as in L. Theis et al., *Faster gaze prediction with dense
    networks and Fisher pruning* (arXiv 1801.05787).
    """
    if not power >= 0:
        raise ValueError(f"saliency got power={power}; expected at least 0.")

    def init(params):
        zeros = [jnp.zeros_like(leaf, dtype=wide_dtype([leaf])) for leaf in params]
        return zeros, jnp.zeros([], jnp.int32)

    def update(gradients, params, state):
        del params
        nu, step = state
        nu = [
            decay * old + (1 - decay) * jnp.square(new.astype(old.dtype))
            for old, new in zip(nu, gradients, strict=True)
        ]
        return nu, optax.safe_increment(step)

    def worth(params, state):
        nu, step = state
        correction = 1 - decay**step
        return [
            jnp.abs(leaf).astype(own.dtype) * (own / correction) ** power
            for leaf, own in zip(params, nu, strict=True)
        ]

    return Score(init, update, worth, gradients=True)


def movement() -> Score:
    """Score entries by how far the gradients have moved them away from 0.

    The score is the sum over the steps of ``-w * gradient``: positive where descent
    makes the magnitude grow. It suits networks that are fine-tuned rather than trained.

    Returns:
      A `Score` that needs gradients, see `saliency`.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> score = bopt.movement()
      >>> params = [jnp.array([2.0, 1.0])]
      >>> state = score.update([jnp.array([1.0, -1.0])], params, score.init(params))
      >>> print(score.worth(params, state))
      [Array([-2.,  1.], dtype=float32)]

    Source: V. Sanh, T. Wolf, A. M. Rush, *Movement pruning* (arXiv 2005.07683).
    """

    def init(params):
        return [jnp.zeros_like(leaf, dtype=wide_dtype([leaf])) for leaf in params]

    def update(gradients, params, state):
        return [
            sum - leaf.astype(sum.dtype) * gradient.astype(sum.dtype)
            for sum, leaf, gradient in zip(state, params, gradients, strict=True)
        ]

    return Score(init, update, lambda params, state: state, gradients=True)


def as_score(score: Score | WorthFunction) -> Score:
    """Take a function of a leaf for a score without state."""
    if isinstance(score, Score):
        return score
    if not callable(score):
        raise ValueError(
            f"score is {score!r}; expected a bopt.Score, such as bopt.saliency(), or a "
            "function from a leaf to its entries' scores."
        )
    return Score(
        init=lambda params: (),
        update=lambda gradients, params, state: state,
        worth=lambda params, state: [jnp.asarray(score(leaf)) for leaf in params],
        gradients=False,
    )
