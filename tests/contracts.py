"""The table of public transforms that the contract tests run over."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
import problems

import bopt


class Transform(NamedTuple):
    """One row of the table.

    Attributes:
      build: makes the transform.
      factory: the public name it stands for; None for a chain.
      num_objectives: rows of the jacobian it takes; 0: it takes plain updates.
      inject: (factory, static_args, the hyperparameters that stay numeric) for
        `optax.inject_hyperparams`; None for a chain.
      args, kwargs: what `build` gives to the factory.
    """

    build: Callable[[], Any]
    factory: str | None = None
    num_objectives: int = 2
    inject: Any = None
    args: tuple = ()
    kwargs: Any = None

    def updates(self, params):
        """A jacobian or, for transforms that follow one, plain updates."""
        if not self.num_objectives:
            return problems.row(problems.jacobian(params, 1), 0)
        return problems.jacobian(params, self.num_objectives)


def extra(transform: Transform) -> dict[str, Any]:
    """The extra arguments that a training loop passes."""
    m = transform.num_objectives
    return {"values": jnp.arange(1.0, m + 1)} if m else {}


SMGD_STATIC = ("weighting", "num_objectives", "where", "preconditioner")
ADAM_STATIC = ("weighting", "num_objectives", "where")
PRUNE_STATIC = ("score", "optimizer", "where", "every", "start", "stop")
PRUNE_TO_STATIC = (*PRUNE_STATIC, "scope")
N_M_STATIC = (*PRUNE_STATIC, "n", "m", "axis")
EVIDENCE_STATIC = ("optimizer", "examples", "batch_size", "transition_steps")
EVIDENCE_STATIC += ("where", "regrow", "every", "stop")
UNITS_STATIC = ("units", "optimizer", "cost", "multiple_of", "every", "start", "stop")
PROXIMAL_STATIC = ("optimizer", "metric", "where")
ADAM_NUMERIC = ("learning_rate", "b1", "b2", "eps")


def public(name: str, static, numeric, *args, num_objectives=2, **kwargs) -> Transform:
    factory = getattr(bopt, name)
    if num_objectives > 2:
        kwargs["num_objectives"] = num_objectives
    return Transform(
        build=lambda: factory(*args, **kwargs),
        factory=name,
        num_objectives=num_objectives,
        inject=(factory, static, numeric),
        args=args,
        kwargs=kwargs,
    )


def smgd(**kwargs) -> Transform:
    return public("smgd", SMGD_STATIC, (), **kwargs)


def mean_gram() -> bopt.Weighting:
    """Min-norm weights of a running mean of the gram matrices."""

    def update(gram, values, state):
        mean = (0.9 * state + 0.1 * gram).astype(state.dtype)
        return bopt.min_norm().update(mean, values, ())[0], mean

    return bopt.Weighting(init=lambda m: jnp.zeros((m, m)), update=update)


# Public name -> weighting of m objectives.
WEIGHTINGS: dict[str, Callable[[int], bopt.Weighting]] = {
    "aligned": lambda m: bopt.aligned(),
    "cagrad": lambda m: bopt.cagrad(0.5),
    "conflict_free": lambda m: bopt.conflict_free(),
    "dual_projection": lambda m: bopt.dual_projection(),
    "ema": lambda m: bopt.ema(bopt.imtl_g(), decay=0.5),
    "fairgrad": lambda m: bopt.fairgrad(2.0),
    "famo": lambda m: bopt.famo(),
    "fixed": lambda m: bopt.fixed(np.linspace(1, 0.5, m)),
    "imtl_g": lambda m: bopt.imtl_g(),
    "min_norm": lambda m: bopt.min_norm(),
    "nash": lambda m: bopt.nash(),
    "pcgrad": lambda m: bopt.pcgrad(),
    "tchebycheff": lambda m: bopt.tchebycheff(np.linspace(1, 0.5, m), mu=0.5),
    "upgrad": lambda m: bopt.upgrad(),
}


def units() -> bopt.units.Units:
    """Units of `problems.parameters`: one per row of the convolution, with two columns
    of the dense kernel."""
    taken = tuple(bopt.units.Slice(f"dense/{leaf}") for leaf in ("kernel", "bias"))
    rows = bopt.units.Layer("conv", 2, (bopt.units.Slice("conv", 0),), taken)
    return bopt.units.describe(problems.parameters(), [rows])


def chain(*links) -> Transform:
    return Transform(build=lambda: optax.chain(*links))


TRANSFORMS = {
    "smgd": smgd(),
    "smgd, one objective": Transform(
        lambda: bopt.smgd(num_objectives=1), num_objectives=1
    ),
    "smgd, three objectives": smgd(num_objectives=3),
    "smgd, l2": smgd(weighting=bopt.min_norm("l2")),
    "smgd, loss": smgd(weighting=bopt.min_norm("loss")),
    "smgd, loss+": smgd(weighting=bopt.min_norm("loss+")),
    "smgd, fixed": smgd(weighting=bopt.fixed([1.0, 3e-4])),
    "smgd, preconditioned": smgd(preconditioner=optax.scale_by_adam()),
    "smgd, where": smgd(where=bopt.complement("conv")),
    "smgd, with a state": smgd(weighting=mean_gram(), num_objectives=6),
    **{
        f"smgd, {name}": smgd(weighting=build(3), num_objectives=3)
        for name, build in WEIGHTINGS.items()
        if name not in ("fixed", "min_norm")  # above
    },
    "smgd, directions": smgd(
        preconditioner=optax.scale_by_rms(), weigh_by="directions"
    ),
    "madam": public("madam", ADAM_STATIC, ADAM_NUMERIC, 0.1),
    "madam, amsgrad": public("madam", ADAM_STATIC, ADAM_NUMERIC, 0.1, amsgrad=True),
    "madam, gradients": public(
        "madam", ADAM_STATIC, ADAM_NUMERIC, 0.1, weigh_by="gradients"
    ),
    "madam, three objectives, where": public(
        "madam", ADAM_STATIC, ADAM_NUMERIC, 0.1, num_objectives=3, where=2
    ),
    "mrmsprop": public(
        "mrmsprop", ADAM_STATIC, ("learning_rate", "decay", "eps"), 0.1
    ),
    "scale_by_keras_adam": public(
        "scale_by_keras_adam", ("amsgrad",), ("b1", "b2", "eps"), num_objectives=0
    ),
    "scale_by_keras_adam, amsgrad": public(
        "scale_by_keras_adam",
        ("amsgrad",),
        ("b1", "b2", "eps"),
        num_objectives=0,
        amsgrad=True,
    ),
    "prune": public("prune", PRUNE_STATIC, ("threshold",), 0.3, num_objectives=0),
    "prune, regrow=False": public(
        "prune", PRUNE_STATIC, ("threshold",), 0.3, num_objectives=0, regrow=False
    ),
    "prune, now and then": public(
        "prune",
        PRUNE_STATIC,
        ("threshold",),
        0.3,
        num_objectives=0,
        where="*",
        every=2,
        stop=5,
    ),
    "prune_to": public(
        "prune_to", PRUNE_TO_STATIC, ("sparsity",), 0.7, num_objectives=0
    ),
    "prune_to, by layer, now and then": public(
        "prune_to",
        PRUNE_TO_STATIC,
        ("sparsity",),
        0.7,
        num_objectives=0,
        where="*",
        scope="layer",
        regrow=False,
        every=2,
        stop=5,
    ),
    "prune_to, saliency": public(
        "prune_to",
        PRUNE_TO_STATIC,
        ("sparsity",),
        0.7,
        score=bopt.saliency(),
        optimizer=bopt.madam(0.1),
    ),
    "prune_to, movement, erdos_renyi": public(
        "prune_to",
        PRUNE_TO_STATIC,
        ("sparsity",),
        0.7,
        where="*",
        scope="erdos_renyi",
        score=bopt.movement(),
        optimizer=optax.chain(bopt.smgd(), optax.sgd(0.1)),
    ),
    "prune_by_evidence": public(
        "prune_by_evidence",
        EVIDENCE_STATIC,
        (),
        bopt.madam(0.1),
        examples=1_000,
        batch_size=10,
        transition_steps=4,
    ),
    "prune_units": public(
        "prune_units",
        UNITS_STATIC,
        ("budget", "decay"),
        0.6,
        units=units(),
        optimizer=bopt.madam(0.1),
    ),
    "prune_units, now and then": public(
        "prune_units",
        UNITS_STATIC,
        ("budget", "decay"),
        0.6,
        units=units(),
        optimizer=optax.chain(bopt.smgd(), optax.sgd(0.1)),
        cost=lambda numbers: 1.0 * numbers[0],
        every=2,
        stop=5,
    ),
    "soft_threshold": public(
        "soft_threshold", PROXIMAL_STATIC, ("threshold",), 0.3, num_objectives=0
    ),
    "soft_threshold, adam": public(
        "soft_threshold",
        PROXIMAL_STATIC,
        ("threshold",),
        0.3,
        where="*",
        optimizer=optax.chain(bopt.smgd(), optax.adam(0.1)),
        metric=bopt.adam_metric(),
    ),
    "prune_n_m": public("prune_n_m", N_M_STATIC, (), 1, 3, num_objectives=0),
    "smgd, sgd, prune": chain(
        bopt.smgd(), optax.sgd(0.1, momentum=0.9), bopt.prune(0.3)
    ),
    "smgd, clip, adam, prune": chain(
        bopt.smgd(), optax.clip_by_global_norm(1.0), optax.adam(0.1), bopt.prune(0.3)
    ),
    "madam, prune": chain(bopt.madam(0.1), bopt.prune(0.3, regrow=False)),
    "mrmsprop, prune": chain(bopt.mrmsprop(0.1), bopt.prune(0.3)),
}  # fmt: skip
