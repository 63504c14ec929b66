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
# # A pipeline of your own
#
# `bopt.smgd()` is the first link of an Optax chain: gradients of several objectives go
# in, one direction comes out. What follows is yours. This notebook puts such a chain
# together for a Flax NNX model with three objectives: clipping, a learning rate
# schedule, Adam, pruning of some layers only, and batches divided among all devices.
# The data are scikit-learn's small digits, so that everything takes seconds.
# [`quickstart.ipynb`](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/quickstart.ipynb)
# begins with less.

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

SMOKE = "BOPT_SMOKE" in os.environ  # set by the tests: everything is short
# Of a lone CPU, JAX makes two devices, so that there is something to divide among.
jax.config.update("jax_num_cpu_devices", 2)
device = jax.devices()[0]
print(f"JAX {jax.__version__} found {jax.device_count()} x {device.device_kind}.")
if device.platform == "cpu" and shutil.which("nvidia-smi"):
    print("There is a GPU, too, which JAX does not see: it was installed without CUDA.")

# %% [markdown]
# ## A model
#
# Any model will do whose parameters are a tree of arrays. An NNX model is split into
# its graph and its parameters; where there is more, such as batch statistics, it is
# `nnx.split(model, nnx.Param, ...)`, which returns the rest as well.


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
print(f"{len(labels[train]):,} images to train with, {len(labels[test])} to test")

# %% [markdown]
# ## Three objectives
#
# With the logits $z_\theta(x)$ of an image $x$ with label $y$, and the kernel $K$ of
# the first layer, which has for each of its 64 units $u$ a weight at each pixel
# $(i, j)$:
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
# The third is the *roughness* of what the first layer looks for: neighbouring pixels of
# an image are alike, and so should be their weights. No parameters make each of the
# three as small as it can be alone: the objectives compete.
#
# Which leaves an objective or a pruning is about is a *selection*: a rank, a path
# pattern, a predicate, a tree of bools, or a union of these. Here the two hidden layers
# are selected by name; the head is to keep all its weights.

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
# ## The chain
#
# `smgd` combines the three gradients with the weights $w$ that make their combination
# shortest,
#
# $$\min_w \Big\| \sum_i w_i \nabla f_i \Big\|, \qquad \sum_i w_i = 1, \; w_i \ge 0 .$$
#
# To first order, a step against it decreases all three, and it is zero only where no
# step does. What follows sees an ordinary gradient: here it is clipped, and Adam makes
# a step of it (which changes it entry by entry, so that the first sentence is true of
# Adam's input, and a guide for its output).
#
# Clipping and wrappers such as `optax.apply_if_finite` go after `smgd`, never before or
# around it, for it alone knows what to do with a jacobian. `prune` comes last, to have
# the last word on which weights are zero.

# %%
BATCH = 64
EPOCHS = 4 if SMOKE else 60
STEPS = 1408 // BATCH  # an epoch


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
# ## The devices
#
# Nothing in the chain knows of devices. The parameters and the optimizer's state are
# put on all of them, the rows of each batch are divided, and the compiler adds what is
# to be exchanged between them. The result is that of one device, but for rounding. The
# batch size must be a multiple of the number of devices.

# %%
mesh = jax.make_mesh((jax.device_count(),), ("rows",), axis_types=(AxisType.Auto,))
everywhere = NamedSharding(mesh, P())
divided = NamedSharding(mesh, P(None, "rows"))  # steps, rows of a batch, ...


def batches(epoch):
    order = np.random.default_rng(epoch).permutation(1408).reshape(STEPS, BATCH)
    return jax.device_put((images[train][order], labels[train][order]), divided)


for shard in batches(0)[0].addressable_shards:
    print(f"{shard.device}: {shard.data.shape} of each epoch's images")

# %% [markdown]
# ## The loop


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
# The weights are small where gradients are long. The gradient of the l1 norm has a
# length of up to $\sqrt{6144} \approx 78$, one for each weight in its sum, and little
# of it makes up for the gradient of the cross entropy.
#
# ## What is in the state
#
# The state of a chain is a tuple with a state for each link. `optax.tree.get` finds one
# in it, however deep, by the name of its type: `SmgdState` has the weights of the last
# step, `PruneState` the masks. A mask is a tree like the parameters, with `True` where
# a weight is kept; the leaves that are not pruned have an `optax.MaskedNode` in their
# place, which has no leaves.

# %%
print([type(link).__name__ for link in state])
print("weights:", optax.tree.get(state, "SmgdState").weights)

mask = optax.tree.get(state, "PruneState").mask
for path, kept in jax.tree.leaves_with_path(mask):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    print(f"{name}: {kept.sum():,} of {kept.size:,} weights kept")

print(bopt.sparsity.report(params, where=HIDDEN))

# %% [markdown]
# ## What the third objective does
#
# `nnx.merge` makes a model of the trained parameters again. For comparison, the same
# training with two objectives, cross entropy and l1 norm. Of the first layer of each
# network, those 14 units are shown that have the largest weights, as images of 8 x 8
# weights: red is positive, blue is negative, white is close to zero or pruned. Each row
# has its own scale.

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
# ## Other weights
#
# How the weights are found is the first argument of `smgd`, a function from the inner
# products of the gradients (and the objectives' values) to the weights. Of these,
# `min_norm` takes the gradients as they are, `min_norm("l2")` those divided by their
# lengths, `min_norm("loss")` by the objectives' values; `fixed` takes what it is told,
# a weighted sum. The weights below are those of the first batch.

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
# An objective that can be brought to zero, as the roughness can, deserves care: the
# shorter its gradient, the larger its weight, until it takes over the training. Try
# `min_norm("l2")` in the chain above, or a roughness divided by ten. The method does
# not fail there: a network whose hidden weights are all zero is one end of the range of
# compromises. To see the whole range and choose, go on with
# [`pareto_front.ipynb`](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/pareto_front.ipynb).
