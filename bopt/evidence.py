"""Pruning without a coefficient: by what the data pay for a parameter."""

import math

import jax
import jax.numpy as jnp
import optax

from bopt.pruning import prune
from bopt.scores import saliency
from bopt.selections import PyTree, Where, path_names, select

_EXAMPLES_PER_ENTRY = 0.25  # the least with which saliencies were found to be right


def prune_by_evidence(
    optimizer: optax.GradientTransformation,
    *,
    examples: int,
    batch_size: int,
    transition_steps: int,
    where: Where = 2,
    regrow: bool = True,
    every: int = 1,
    stop: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Prune entries for which the data give less than a parameter costs.

    Removing an entry raises the loss of n examples by about ``n / 2 * B * nu * w^2``,
    in nats: B * nu is the diagonal Fisher information, estimated from the mean squared
    gradient nu of batches of B. A parameter costs ``log(n) / 2`` nats (the description
    length, or Schwarz' criterion). So `bopt.saliency(power=0.5)`, ``|w| * sqrt(nu)``,
    is compared with ``sqrt(log(n) / (n B))``, a threshold that is reached linearly in
    its square. Error and complexity are in one unit, and there is nothing to tune.

    It judges each entry by itself, which is right for dense layers with enough data.
    Otherwise it would remove the whole network, a little at a time, and refuses: in
    convolutions many entries are worth almost nothing one by one, and a training set
    with few examples is learnt by heart, so that gradients, and with them all worths,
    vanish. There, prune to a sparsity: `bopt.prune_to` with `bopt.saliency`.

    Args:
      optimizer: the optimizer whose updates are pruned, see `bopt.prune`.
      examples: n, the number of training examples.
      batch_size: B, the number of examples per step.
      transition_steps: steps until the whole threshold is reached.
      where: a selection (see `bopt.selections`), by default leaves of rank 2.
      regrow: if True, a pruned entry may come back on a later pruning step.
      every: steps between two pruning steps.
      stop: the step from which the last mask is held; None: never. Gradients vanish at
        the end of a training: the end of the transition is a good choice.

    Returns:
      An `optax.GradientTransformationExtraArgs`, with the state of `bopt.prune`, whose
      ``update`` needs `params`. Under `optax.inject_hyperparams`, name all arguments in
      `static_args`.

    Raises:
      ValueError: fewer than 2 `examples`, another number below 1; at init, a selected
        leaf of rank 3 or more (named), or less than one example for 4 selected entries;
        else as `bopt.prune`.

    Example:
      >>> import bopt, jax.numpy as jnp, optax
      >>> pruning = bopt.prune_by_evidence(
      ...     optax.sgd(0.1), examples=1_000, batch_size=10, transition_steps=1)
      >>> params = {"kernel": jnp.array([[1.0, 1.0]])}
      >>> state = pruning.init(params)
      >>> for _ in range(2):
      ...     gradients = {"kernel": jnp.array([[0.1, 0.01]])}
      ...     updates, state = pruning.update(gradients, state, params)
      >>> print(params["kernel"] + updates["kernel"])
      [[0.99 0.  ]]

    Source: G. Schwarz, *Estimating the dimension of a model* (Annals of Statistics
    1978); the Fisher information as in `bopt.saliency`.
    """
    if examples < 2 or batch_size < 1 or transition_steps < 1:
        raise ValueError(
            f"prune_by_evidence got examples={examples}, batch_size={batch_size}, "
            f"transition_steps={transition_steps}; expected at least 2, 1 and 1."
        )
    end = math.log(examples) / (examples * batch_size)
    squared = optax.linear_schedule(0.0, end, transition_steps)
    pruning = prune(
        lambda step: jnp.sqrt(squared(step)),
        score=saliency(0.5),
        optimizer=optimizer,
        where=where,
        regrow=regrow,
        every=every,
        stop=stop,
    )

    def init_fn(params: PyTree) -> optax.OptState:
        check(params, where, examples)
        return pruning.init(params)

    return optax.GradientTransformationExtraArgs(init_fn, pruning.update)


def check(params: PyTree, where: Where, examples: int) -> None:
    """Raise ValueError where `prune_by_evidence` would ruin the network."""
    instead = "Prune to a sparsity instead: prune_to(..., score=bopt.saliency())."
    entries = 0
    chosen = select(where, params), path_names(params), params
    for selected, name, leaf in zip(*map(jax.tree.leaves, chosen), strict=True):
        if selected and leaf.ndim > 2:
            raise ValueError(
                f"prune_by_evidence got '{name}' of shape {leaf.shape}; expected "
                "leaves of dense layers, because many entries of convolutions are "
                f"worth almost nothing one by one. {instead}"
            )
        entries += leaf.size if selected else 0
    if examples < _EXAMPLES_PER_ENTRY * entries:
        raise ValueError(
            f"prune_by_evidence got {examples:,} examples for {entries:,} entries; "
            f"expected at least {math.ceil(_EXAMPLES_PER_ENTRY * entries):,}, because "
            f"few examples are learnt by heart, and no entry seems to matter. {instead}"
        )
