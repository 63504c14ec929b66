"""The multi-gradient optimizers MAdam and MRMSprop.

Where Keras (the paper's code) and Optax differ, these follow Optax: Adam's epsilon is
added after bias correction, AMSGrad takes the maximum of bias-corrected moments, and
momentum, as in ``chain(smgd(), optax.sgd(lr, 0.9))``, keeps the learning rate outside
its buffer. MRMSprop has its epsilon outside the root, as in Keras. Keras' forms are
`scale_by_keras_adam` and ``chain(smgd(), optax.scale_by_learning_rate(lr),
optax.trace(0.9))``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from bopt.selections import Where, path_names
from bopt.smgd import WeighBy, check_static, smgd
from bopt.weightings import Weighting
from bopt.weightings.weighting import WeightingFunction


def madam(
    learning_rate: optax.ScalarOrSchedule = 1e-3,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    amsgrad: bool = False,
    *,
    weighting: Weighting | WeightingFunction | None = None,
    num_objectives: int = 2,
    where: Where | None = None,
    weigh_by: WeighBy = "directions",
) -> optax.GradientTransformationExtraArgs:
    """MAdam: Adam with moments of its own for each objective's gradient.

    By default the weights come from the ``"directions"`` that are combined, with
    `bopt.l1`'s derivative of 1 at 0: this balances a loss and an l1 norm without
    tuning. The paper's pair is ``weigh_by="gradients"`` with
    ``bopt.l1(..., at_zero=0)``: the l1 norm gets weights of 1e-4 to 1e-6, and little is
    pruned. Never use ``"directions"`` with ``at_zero=0``: pruned entries shorten the l1
    direction, which gets more weight and prunes more, until the network is dead.

    Args:
      learning_rate: a float or a schedule over the steps.
      b1: decay of the first moments.
      b2: decay of the second moments.
      eps: added to the root of the second moments, after bias correction.
      amsgrad: keep the maximum of the second moments.
      weighting: see `bopt.smgd`; `bopt.min_norm()` by default.
      num_objectives: m, the length of the jacobian's leading axis.
      where: leaves that the gram matrix is made of, see `bopt.smgd`; all by default.
      weigh_by: rows of the gram matrix: the ``"directions"`` that are combined, or the
        raw ``"gradients"`` (the paper).

    Returns:
      An `optax.GradientTransformationExtraArgs` that turns a jacobian into updates.
      Under `optax.inject_hyperparams`, name `weighting`, `num_objectives` and `where`
      in `static_args`.

    Raises:
      ValueError: as `bopt.smgd`.

    Example:
      >>> import bopt, jax.numpy as jnp, optax
      >>> params = {"w": jnp.array([[3.0, 1.0]])}
      >>> optimizer = optax.chain(bopt.madam(0.1), bopt.prune())
      >>> state = optimizer.init(params)
      >>> jac = {"w": jnp.array([[[2.0, -2.0]], [[1.0, 1.0]]])}
      >>> updates, state = optimizer.update(jac, state, params)
      >>> print(optax.tree.get(state, "SmgdState").weights)
      [0.5 0.5]
      >>> print((abs(updates["w"]) * 1000).round())
      [[100.   0.]]

    Source: MAdam of arXiv 2008.13590; Adam of D. P. Kingma, J. Ba (arXiv 1412.6980).
    """
    check_static("madam", "amsgrad", amsgrad, bool)
    scale = optax.scale_by_amsgrad if amsgrad else optax.scale_by_adam
    link = smgd(
        weighting,
        num_objectives=num_objectives,
        where=where,
        preconditioner=scale(b1=b1, b2=b2, eps=eps),
        weigh_by=weigh_by,
    )
    return optax.chain(link, optax.scale_by_learning_rate(learning_rate))


def mrmsprop(
    learning_rate: optax.ScalarOrSchedule = 1e-3,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-7,
    *,
    weighting: Weighting | WeightingFunction | None = None,
    num_objectives: int = 2,
    where: Where | None = None,
    weigh_by: WeighBy = "directions",
) -> optax.GradientTransformationExtraArgs:
    """MRMSprop: RMSprop with moments of its own for each objective's gradient.

    As in `madam`, ``weigh_by="directions"`` goes with `bopt.l1`'s derivative of 1 at 0,
    and the paper's pair is ``weigh_by="gradients"`` with ``bopt.l1(..., at_zero=0)``;
    ``"directions"`` with ``at_zero=0`` kills the network.

    Args:
      learning_rate: a float or a schedule over the steps.
      decay: decay of the second moments.
      eps: added to the root of the second moments.
      weighting: see `bopt.smgd`; `bopt.min_norm()` by default.
      num_objectives: m, the length of the jacobian's leading axis.
      where: leaves that the gram matrix is made of, see `bopt.smgd`; all by default.
      weigh_by: as in `madam`.

    Returns:
      As `madam`.

    Raises:
      ValueError: as `bopt.smgd`.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> params = {"w": jnp.array([[3.0, 1.0]])}
      >>> optimizer = bopt.mrmsprop(0.1)
      >>> jac = {"w": jnp.array([[[2.0, -2.0]], [[1.0, 1.0]]])}
      >>> updates, _ = optimizer.update(jac, optimizer.init(params), params)
      >>> print(abs(updates["w"]).round(4))
      [[0.3162 0.    ]]

    Source: MRMSProp of arXiv 2008.13590; RMSprop of T. Tieleman, G. Hinton (2012,
    lecture 6.5).
    """
    link = smgd(
        weighting,
        num_objectives=num_objectives,
        where=where,
        preconditioner=optax.scale_by_rms(decay=decay, eps=eps, eps_in_sqrt=False),
        weigh_by=weigh_by,
    )
    return optax.chain(link, optax.scale_by_learning_rate(learning_rate))


class KerasAdamState(NamedTuple):
    """State of `scale_by_keras_adam`.

    Attributes:
      step: number of steps done.
      mu: first moments, without bias correction.
      nu: second moments, without bias correction.
      nu_max: their maxima over the steps; ``()`` without AMSGrad.

    Example:
      >>> import bopt, jax.numpy as jnp
      >>> bopt.scale_by_keras_adam().init({"w": jnp.ones(2)}).nu_max
      ()
    """

    step: jax.Array
    mu: Any
    nu: Any
    nu_max: Any


def scale_by_keras_adam(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-7,
    *,
    amsgrad: bool = False,
) -> optax.GradientTransformation:
    """Rescale updates as Adam does in Keras 2, the paper's library.

    `optax.scale_by_adam` differs in two points: it adds epsilon to the root of the
    bias-corrected second moments, and `optax.scale_by_amsgrad` takes the maximum of
    bias-corrected ones. Here, the moments themselves get epsilon and the maximum, and
    the step is multiplied by sqrt(1 - b2^t) / (1 - b1^t). As a preconditioner of
    `bopt.smgd`, it makes the MAdam of the paper's code.

    Args:
      b1: decay of the first moments.
      b2: decay of the second moments.
      eps: added to the root of the second moments.
      amsgrad: divide by the maximum of the second moments.

    Returns:
      An `optax.GradientTransformation`.

    Raises:
      ValueError: an `amsgrad` that is no Python bool; when traced, an update of another
        shape than its parameter (named).

    Example:
      >>> import bopt, jax.numpy as jnp, optax
      >>> optimizer = optax.chain(
      ...     bopt.smgd(preconditioner=bopt.scale_by_keras_adam()),
      ...     optax.scale_by_learning_rate(0.1),
      ... )
      >>> params = {"w": jnp.array([[3.0, 1.0]])}
      >>> jac = {"w": jnp.array([[[2.0, -2.0]], [[1.0, 1.0]]])}
      >>> updates, _ = optimizer.update(jac, optimizer.init(params), params)
      >>> print(updates["w"].round(3))
      [[-0.1  -0.06]]

    Source: `keras.optimizers.Adam` of Keras 2.3.1; MAdam in the code of arXiv
    2008.13590.
    """
    check_static("scale_by_keras_adam", "amsgrad", amsgrad, bool)

    def init_fn(params):
        def zeros():  # arrays of their own, so that the state can be donated
            return optax.tree.zeros_like(params)

        step = jnp.zeros([], jnp.int32)
        return KerasAdamState(step, zeros(), zeros(), zeros() if amsgrad else ())

    def check(name, update, moment):
        if jnp.shape(update) != jnp.shape(moment):
            raise ValueError(
                f"scale_by_keras_adam got an update of shape {jnp.shape(update)} at "
                f"'{name}'; expected {jnp.shape(moment)}, the shape of the parameter: "
                "give it to bopt.smgd as preconditioner, or put it after smgd."
            )

    def update_fn(updates, state, params=None):
        del params
        jax.tree.map(check, path_names(state.mu), updates, state.mu)
        step = optax.safe_increment(state.step)
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(updates, state.nu, b2, 2)
        nu_max = jax.tree.map(jnp.maximum, state.nu_max, nu) if amsgrad else ()
        factor = jnp.sqrt(1 - b2**step) / (1 - b1**step)
        scaled = jax.tree.map(
            lambda m, v: factor.astype(m.dtype) * m / (jnp.sqrt(v) + eps),
            mu,
            nu_max if amsgrad else nu,
        )
        return scaled, KerasAdamState(jnp.asarray(step), mu, nu, nu_max)

    return optax.GradientTransformation(init_fn, update_fn)
