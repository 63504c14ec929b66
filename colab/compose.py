# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/compose.ipynb)
#
# # Compose your own pipeline
#
# `bopt.smgd()` is the first link of an Optax chain: it takes the gradients of several
# objectives and returns one direction. The next links are your choice. This notebook
# composes such a chain for a Flax NNX model with three objectives: clipping, a
# learning rate schedule, Adam, pruning of some layers only, and batches split across
# all devices. The data are scikit-learn's small digits, so that everything takes
# seconds.
# [`quickstart.ipynb`](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/quickstart.ipynb)
# is a simpler introduction.

# %%
import importlib.util
import os
import shutil
import subprocess
import sys

if importlib.util.find_spec("bopt") is None and "BOPT_SMOKE" not in os.environ:
    extras = "experiments"
    if shutil.which("nvidia-smi"):
        extras += ",cuda"
    elif os.path.exists("/dev/accel0") or "TPU_ACCELERATOR_TYPE" in os.environ:
        extras += ",tpu"
    source = f"bopt-jax[{extras}] @ git+https://github.com/bopt-jax/bopt@v0.1.0"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", source]
    subprocess.run(pip, check=True)

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from sklearn.datasets import load_digits

import bopt

SMOKE = "BOPT_SMOKE" in os.environ  # set by the tests: short trainings
# On a CPU, make two devices, so that batches can be split.
jax.config.update("jax_num_cpu_devices", 2)
device = jax.devices()[0]
print(f"JAX {jax.__version__} found {jax.device_count()} x {device.device_kind}.")
if device.platform == "cpu" and shutil.which("nvidia-smi"):
    print("JAX was installed without CUDA and does not use the GPU of this machine.")

# %% [markdown]
# ## Model
#
# Every model works whose parameters are a tree of arrays. An NNX model is split into
# its graph and its parameters; with further state, such as batch statistics, use
# `nnx.split(model, nnx.Param, ...)`, which also returns the rest.


# %%
class Network(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(64, 64, rngs=rngs)
        self.second = nnx.Linear(64, 32, rngs=rngs)
        self.head = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.relu(self.second(nnx.relu(self.first(x)))))


graph, initial = nnx.split(Network(nnx.Rngs(0)), nnx.Param)

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
images, labels = images[order].astype(np.float32) / 16, labels[order]
train, test = slice(0, 1408), slice(1408, None)
print(f"{len(labels[train]):,} training images, {len(labels[test])} test images")

# %% [markdown]
# ## Three objectives
#
# With the logits $z_\theta(x)$ of an image $x$ with label $y$, and the kernel $K$ of
# the first layer, which has a weight per unit $u$ (of 64) and pixel $(i, j)$:
#
# $$
# \begin{aligned}
# f_0(\theta) &= \text{the mean cross entropy of } z_\theta(x) \text{ and } y, \\
# f_1(\theta) &= \text{the l1 norm } \textstyle\sum |\theta_i|
#   \text{ of the kernels of the two hidden layers}, \\
# f_2(\theta) &= \tfrac{1}{2} \textstyle\sum_{u,i,j}
#   (K_{u,i+1,j} - K_{u,i,j})^2 + (K_{u,i,j+1} - K_{u,i,j})^2 .
# \end{aligned}
# $$
#
# The third is the *roughness* of the first layer's filters: neighboring pixels of an
# image are similar, and so should be their weights. No parameters minimize all three
# at once: the objectives conflict.
#
# A *selection* names the leaves of an objective or of pruning: a rank, a path
# pattern, a predicate, a tree of bools, or a union of these. Here it selects the two
# hidden layers by name; the head keeps all its weights.

# %%
HIDDEN = bopt.union("first/kernel*", "second/kernel*")


def loss(params, images, labels):
    logits = nnx.merge(graph, params)(images)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean()


def l1(params, *batch):
    return bopt.l1(params, where=HIDDEN)


def roughness(params, *batch):
    kernel = nnx.merge(graph, params).first.kernel[...].reshape(8, 8, 64)
    down, right = jnp.diff(kernel, axis=0), jnp.diff(kernel, axis=1)
    return ((down**2).sum() + (right**2).sum()) / 2


value_and_jac = bopt.value_and_jac([loss, l1, roughness])
first_values, first_jac = jax.jit(value_and_jac)(initial, images[:64], labels[:64])
print("objectives: {:.2f}, {:.1f} and {:.1f}".format(*first_values))

for path, chosen in jax.tree.leaves_with_path(bopt.select(HIDDEN, initial)):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    print(f"{name:<20} {'l1 and pruning' if chosen else '-'}")

# %% [markdown]
# ## Chain
#
# `smgd` combines the three gradients with the weights $w$ that make the combination
# as short as possible,
#
# $$\min_w \Big\| \sum_i w_i \nabla f_i \Big\|, \qquad \sum_i w_i = 1, \; w_i \ge 0 .$$
#
# To first order, a step against it decreases all three, and it is zero only if no
# step does. The next links see an ordinary gradient: here it is clipped and scaled by
# Adam (entry by entry, so that the statement is exact for Adam's input and a
# heuristic for its output).
#
# Clipping and wrappers such as `optax.apply_if_finite` go after `smgd`, never before
# or around it, because only `smgd` takes a jacobian. `prune` is the last link, so
# that pruned weights are exactly zero.

# %%
BATCH = 64
EPOCHS = 4 if SMOKE else 60
STEPS = 1408 // BATCH  # per epoch


def make_optimizer(objectives):
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, peak_value=2e-3, warmup_steps=STEPS, decay_steps=EPOCHS * STEPS
    )
    return optax.chain(
        bopt.smgd(num_objectives=objectives),
        optax.clip_by_global_norm(1.0),
        optax.adam(schedule),
        bopt.prune(threshold=1e-3, where=HIDDEN),
    )


# %% [markdown]
# ## Devices
#
# The chain does not depend on the devices. The parameters and the optimizer's state
# are replicated, the rows of each batch are split, and the compiler adds the
# communication. The result is that of one device up to rounding. The batch size must
# be a multiple of the number of devices.

# %%
mesh = jax.make_mesh((jax.device_count(),), ("rows",), axis_types=(AxisType.Auto,))
everywhere = NamedSharding(mesh, P())
split = NamedSharding(mesh, P(None, "rows"))  # steps, rows of a batch, ...


def batches(epoch):
    order = np.random.default_rng(epoch).permutation(1408).reshape(STEPS, BATCH)
    return jax.device_put((images[train][order], labels[train][order]), split)


for shard in batches(0)[0].addressable_shards:
    print(f"{shard.device}: {shard.data.shape} of each epoch's images")

# %% [markdown]
# ## Training loop


# %%
def fit(objectives):
    value_and_jac = bopt.value_and_jac(objectives)
    optimizer = make_optimizer(len(objectives))
    params, state = jax.device_put((initial, optimizer.init(initial)), everywhere)

    @jax.jit
    def train_epoch(params, state, batches):
        def step(carry, batch):
            params, state = carry
            values, jac = value_and_jac(params, *batch)
            updates, state = optimizer.update(jac, state, params, values=values)
            weights = optax.tree.get(state, "SmgdState").weights
            return (optax.apply_updates(params, updates), state), (values, weights)

        return jax.lax.scan(step, (params, state), batches)

    history = []
    for epoch in range(EPOCHS):
        (params, state), means = train_epoch(params, state, batches(epoch))
        history.append([rows.mean(0) for rows in means])
    values, weights = map(np.array, zip(*history, strict=True))
    return params, state, values, weights


params, state, values, weights = fit([loss, l1, roughness])

figure, panels = plt.subplots(2, 2, figsize=(9, 6), sharex=True, layout="constrained")
epochs = range(1, EPOCHS + 1)
for i, name in enumerate(("cross entropy (nats)", "l1 norm", "roughness")):
    panels.flat[i].plot(epochs, values[:, i], color="black")
    panels.flat[i].set_ylabel(f"$f_{i}$, {name}")
    panels.flat[i].set_ylim(bottom=0)
    panels[1, 1].plot(epochs, weights[:, i], label=f"$w_{i}$, {name.split(' (')[0]}")
panels[1, 1].set_yscale("log")
panels[1, 1].set_ylabel("weights")
panels[1, 1].legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.93))
for axes in panels.flat:
    axes.grid(alpha=0.4)
    axes.spines[["top", "right"]].set_visible(False)
for axes in panels[1]:
    axes.set_xlabel("epoch")
plt.show()

# %% [markdown]
# Long gradients get small weights. The gradient of the l1 norm has a length of up to
# $\sqrt{6144} \approx 78$, and a small weight balances it with the gradient of the
# cross entropy.
#
# ## Optimizer state
#
# The state of a chain is a tuple with one state per link. `optax.tree.get` finds a
# state at any depth by the name of its type: `SmgdState` has the weights of the last
# step, `PruneState` the masks. A mask is a tree like the parameters, with `True`
# where a weight is kept; in place of leaves that are not pruned it has an empty
# `optax.MaskedNode`.

# %%
print([type(link).__name__ for link in state])
print("weights:", optax.tree.get(state, "SmgdState").weights)

mask = optax.tree.get(state, "PruneState").mask
for path, kept in jax.tree.leaves_with_path(mask):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    print(f"{name}: {kept.sum():,} of {kept.size:,} weights kept")

print(bopt.sparsity.report(params, where=HIDDEN))

# %% [markdown]
# ## Effect of the third objective
#
# `nnx.merge` makes a model of the trained parameters. The comparison is the same
# training with two objectives, cross entropy and l1 norm. The figure shows the 14
# units with the largest weights of each first layer, as images of 8 x 8 weights: red
# is positive, blue is negative, white is close to zero or pruned. Each row has its
# own scale.

# %%
two_params, *_ = fit([loss, l1])

figure, panels = plt.subplots(2, 14, figsize=(10, 2), layout="constrained")
for row, (name, trained) in zip(
    panels, (("two objectives", two_params), ("three objectives", params)), strict=True
):
    model = nnx.merge(graph, trained)
    accuracy = (model(images[test]).argmax(-1) == labels[test]).mean()
    print(f"{name}: test accuracy {accuracy:.2%}, roughness {roughness(trained):.1f}")
    kernel = np.asarray(model.first.kernel[...])
    strongest = np.argsort(-np.abs(kernel).sum(0))[:14]
    limit = np.abs(kernel).max()
    for axes, unit in zip(row, strongest, strict=True):
        picture = kernel[:, unit].reshape(8, 8)
        axes.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.set(xticks=[], yticks=[])
    row[0].set_ylabel(name.replace(" ", "\n"), fontsize=9)
plt.show()

# %% [markdown]
# ## Other weightings
#
# The first argument of `smgd` is a weighting, a function from the inner products of
# the gradients (and the objective values) to the weights. `min_norm` uses the
# gradients as they are, `min_norm("l2")` divides them by their norms,
# `min_norm("loss")` by the objective values; `fixed` is a weighted sum. The weights
# below are those of the first batch.

# %%
weightings = {
    "min_norm()": bopt.min_norm(),
    'min_norm("l2")': bopt.min_norm("l2"),
    'min_norm("loss")': bopt.min_norm("loss"),
    "fixed": bopt.fixed([1.0, 1e-3, 1e-3]),
}


@jax.jit
def first_weights(jac, values):
    links = [
        bopt.smgd(weighting, num_objectives=3) for weighting in weightings.values()
    ]
    states = [link.update(jac, link.init(initial), values=values)[1] for link in links]
    return [state.weights for state in states]


for name, own in zip(weightings, first_weights(first_jac, first_values), strict=True):
    print(f"{name:<17}", "  ".join(f"{weight:.1e}" for weight in own))

# %% [markdown]
# An objective that can reach zero, as the roughness can, needs care: the shorter its
# gradient, the larger its weight, until it dominates the training. Try
# `min_norm("l2")` in the chain above, or a roughness divided by ten. The method does
# not fail there: a network whose hidden weights are all zero is one end of the range
# of compromises. To see the whole range and choose, continue with
# [`pareto_front.ipynb`](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/pareto_front.ipynb).
