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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/quickstart.ipynb)
#
# # A first network: few errors, few weights
#
# This notebook trains LeNet-5, a small convolutional network, to read handwritten
# digits, and has two wishes at once: that it makes few errors, and that it has few
# weights. It prunes while it trains. A few minutes on two CPU cores are enough; a GPU
# or a TPU is faster.
#
# [`bopt`](https://github.com/bopt-jax/bopt) is a set of
# [Optax](https://github.com/google-deepmind/optax) transformations. The parameters, the
# loss and the training loop stay yours, as in any JAX program.

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
import functools
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import bopt
from bopt.models import LeNet5
from experiments import data

plt.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "axes.grid": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.alpha": 0.4,
        "legend.frameon": False,
    }
)

SMOKE = "BOPT_SMOKE" in os.environ  # set by the tests: everything is short
device = jax.devices()[0]
print(f"JAX {jax.__version__} found {jax.device_count()} x {device.device_kind}.")
if device.platform == "cpu" and shutil.which("nvidia-smi"):
    print("There is a GPU, too, which JAX does not see: it was installed without CUDA.")

# %% [markdown]
# ## The data
#
# MNIST: 70,000 images of 28 x 28 pixels. It is downloaded, or read from a folder
# `data/`; where neither works, the 1,797 small digits that come with scikit-learn take
# its place. Decisions are made on the validation images; the test images are looked at
# once, at the end.

# %%
digits = data.load("digits" if SMOKE else "auto")
images, labels = jnp.asarray(digits.images), jnp.asarray(digits.labels, jnp.int32)
sizes = f"{len(digits.train):,} to train, {len(digits.validation):,} to validate"
print(f"{digits.title}: {sizes}, {len(digits.test):,} to test")
if digits.name == "digits" and not SMOKE:
    print(f"Why not MNIST: {digits.source}.")

figure, panels = plt.subplots(1, 10, figsize=(9, 1.2))
for number, axes in enumerate(panels):
    axes.imshow(digits.images[number, ..., 0], cmap="gray_r")
    axes.set_title(int(digits.labels[number]), fontsize=10)
    axes.axis("off")
plt.show()

# %% [markdown]
# ## Two objectives
#
# A training minimises one number. Here there are two, functions of the parameters
# $\theta$:
#
# $$f_0(\theta) = \text{the mean cross entropy of a batch}, \qquad
# f_1(\theta) = \sum_{i \,\in\, \text{dense kernels}} |\theta_i| .$$
#
# The second, the *l1 norm*, is a measure of complexity that has a gradient, which the
# number of weights has not: a weight that is worth little is pulled to zero.
#
# The two contradict each other. With all weights zero $f_1$ is as small as can be, and
# the network is useless. So there is not one best network but many: all those that
# cannot be improved in one objective without loss in the other. They are called *Pareto
# optimal*, and each is another compromise.
#
# The usual way is to minimise the sum $f_0 + c \, f_1$ with a coefficient $c$ that one
# has to find by trial. `bopt` looks at the two gradients instead. `bopt.value_and_jac`
# is `jax.value_and_grad` for several objectives; instead of a gradient it returns a
# *jacobian*: a tree like the parameters, each leaf with one more axis in front, whose
# row $i$ is the gradient of objective $i$.

# %%
model = LeNet5()


def cross_entropy(params, images, labels):
    logits = model.apply(params, images / 255)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean()


complexity = functools.partial(bopt.l1, at_zero=1.0)  # see below
value_and_jac = bopt.value_and_jac([cross_entropy, complexity])

params = model.init(jax.random.key(0), images[:1])
values, jac = jax.jit(value_and_jac)(params, images[:32], labels[:32])
print(f"objectives: {values[0]:.3f} and {values[1]:.1f}")
kernel, rows = (tree["params"]["Dense_2"]["kernel"] for tree in (params, jac))
print(f"a kernel {kernel.shape}, its jacobian {rows.shape}")

# %% [markdown]
# ## One direction
#
# At each step the rows are combined,
#
# $$d = w_0 \nabla f_0 + w_1 \nabla f_1, \qquad w_0 + w_1 = 1, \quad w_0, w_1 \ge 0,$$
#
# with the weights that make $d$ as short as possible. This is *multi-gradient descent*.
# Two facts make that choice a good one: to first order a step along $-d$ decreases both
# objectives; and $d = 0$ only where no direction does.
#
# `bopt.madam` is the Adam of this family: each of the two gradients has Adam moments of
# its own, and `weigh_by="directions"` takes the weights from what Adam makes of the
# gradients. These directions are of like size, whatever the units of the objectives, so
# there is no coefficient to find. (What is exact for gradients is a guide for
# directions. And `at_zero=1.0`, above, goes with them: pruned weights go on counting in
# the gradient of the l1 norm, or it would get shorter with each of them, and so be
# given ever more weight.)
#
# `bopt.prune` is the last link of the chain. After each step it makes all entries of
# the dense kernels exact zeros that are not larger than a threshold.

# %%
BATCH = 32
EPOCHS = 3 if SMOKE else {"mnist": 6, "digits": 100}[digits.name]
STEPS = len(digits.train) // BATCH  # an epoch

schedule = bopt.logistic_decay(1e-3, EPOCHS, STEPS)
multi_gradient = optax.chain(
    bopt.madam(schedule, weigh_by="directions"),
    bopt.prune(threshold=1e-3),
)

# %% [markdown]
# ## The loop
#
# It is the usual one, but that a jacobian goes into the optimizer. An epoch is one
# compiled program, a `jax.lax.scan` over batches. The weights of the objectives are
# read out of the optimizer's state, at every step.


# %%
def train(optimizer, epochs):
    params = model.init(jax.random.key(0), images[:1])
    state = optimizer.init(params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def train_epoch(params, state, batches, images, labels):
        def step(carry, batch):
            params, state = carry
            values, jac = value_and_jac(params, images[batch], labels[batch])
            updates, state = optimizer.update(jac, state, params, values=values)
            weights = optax.tree.get(state, "SmgdState").weights
            return (optax.apply_updates(params, updates), state), (values, weights)

        return jax.lax.scan(step, (params, state), batches)

    history = []
    for epoch in range(epochs):
        order = jax.random.permutation(jax.random.key(epoch), len(digits.train))
        batches = order[: STEPS * BATCH].reshape(STEPS, BATCH)
        (params, state), (values, weights) = train_epoch(
            params, state, batches, images, labels
        )
        left = bopt.sparsity.report(params)
        history.append(
            {
                "cross entropy": float(values[:, 0].mean()),
                "l1 norm": float(values[-1, 1]),
                "weight": float(weights[:, 1].mean()),
                "left": {name: layer.nonzeros for name, layer in left.layers.items()},
                "accuracy": accuracy(params, digits.validation),
            }
        )
    return params, state, history


@jax.jit
def count_right(params, images, labels):
    return (model.apply(params, images / 255).argmax(-1) == labels).sum()


def accuracy(params, part):
    right = 0
    for start in range(part.start, part.stop, 1000):
        rows = slice(start, min(start + 1000, part.stop))
        right += count_right(params, images[rows], labels[rows])
    return int(right) / len(part)


# %%
start = time.perf_counter()
params, state, history = train(multi_gradient, EPOCHS)
print(f"{EPOCHS} epochs of {STEPS:,} steps took {time.perf_counter() - start:.0f} s.")

# %% [markdown]
# ## Watching it
#
# Both objectives, as the training goes on. The weight $w_1$ of the l1 norm is found
# anew at every step; drawn is its mean over an epoch. The last picture counts the dense
# weights that are left of 48,000, 10,080 and 840.
#
# (On the small digits less is pruned. The network soon reads all 1,294 training images
# without an error; then the gradient of the cross entropy is zero, and with it $d$.
# There the method ends: no step improves both objectives, for one of them cannot be
# improved.)

# %%
epochs = range(1, EPOCHS + 1)
figure, panels = plt.subplots(2, 2, figsize=(9, 6), sharex=True)
for axes, name, label in zip(
    panels.flat,
    ("cross entropy", "l1 norm", "weight"),
    ("$f_0$, cross entropy (nats)", "$f_1$, l1 norm", "$w_1$, weight of the l1 norm"),
    strict=False,
):
    axes.plot(epochs, [row[name] for row in history], color="black")
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
axes = panels[1, 1]
for layer in history[0]["left"]:
    name = layer.split("/")[1]
    axes.plot(epochs, [row["left"][layer] for row in history], label=name)
axes.set_yscale("log")
axes.set_ylabel("weights left")
axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
for axes in panels[1]:
    axes.set_xlabel("epoch")
plt.show()

# %% [markdown]
# What is left, layer by layer. `dense` is the sum of the kernels that were pruned,
# `total` has biases and convolutions as well, and `bytes` is what the arrays take as
# they are, zeros included (`bopt.sparsity.export` writes them smaller).

# %%
print(bopt.sparsity.report(params))

# %% [markdown]
# ## Which edges are left
#
# The masks of `bopt.prune` are in the optimizer's state: `True` where a weight is kept.
# Each dot below is an edge that is left in the network, from an input of the layer
# (horizontal) to a unit (vertical). An empty column is an input that is no longer
# looked at, an empty row a unit that is not needed any more.

# %%
masks = optax.tree.get(state, "PruneState").mask["params"]
masks = {name: np.asarray(masks[name]["kernel"]) for name in sorted(masks)[-3:]}

figure = plt.figure(figsize=(9, 6.2))
grid = figure.add_gridspec(2, 2, height_ratios=(120 / 400, 84 / 300))
places = (grid[0, :], grid[1, 0], grid[1, 1])
for place, (name, mask) in zip(places, masks.items(), strict=True):
    axes = figure.add_subplot(place)
    axes.spy(mask.T, markersize=1.5, color="black", aspect="auto")
    axes.xaxis.tick_bottom()
    axes.grid(False)
    axes.set_title(f"{name}: {mask.sum():,} of {mask.size:,} edges", fontsize=10)
    axes.set_xlabel("input")
    axes.set_ylabel("unit")
plt.show()

for name, mask in masks.items():
    inputs, units = mask.any(1).sum(), mask.any(0).sum()
    print(
        f"{name}: {inputs} of {len(mask)} inputs, {units} of {len(mask.T)} units in use"
    )

# %% [markdown]
# ## Against plain Adam
#
# `bopt.smgd(bopt.fixed((1, 0)))` gives all weight to the first objective, so what
# follows it sees the gradient of the cross entropy alone: this is Adam. The loop stays
# the same.

# %%
plain = optax.chain(bopt.smgd(bopt.fixed((1.0, 0.0))), optax.adam(schedule))
plain_params, _, plain_history = train(plain, EPOCHS)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
for name, rows in (("madam, pruned", history), ("Adam", plain_history)):
    left.plot(epochs, [100 * row["accuracy"] for row in rows], label=name)
    right.plot(epochs, [row["l1 norm"] for row in rows], label=name)
left.set_ylabel("validation accuracy (%)")
right.set_ylabel("l1 norm of the dense kernels")
right.set_ylim(bottom=0)
for axes, place in ((left, "lower right"), (right, "center right")):
    axes.set_xlabel("epoch")
    axes.legend(loc=place)
plt.show()

# %% [markdown]
# Could one not train with Adam and prune afterwards? The third line of the table takes
# Adam's network and keeps as many of its dense weights as the pruned network has, the
# largest ones. Where these are few, as on MNIST, it is far worse, unless it is trained
# on: the weights that are left were trained together with those that were cut. What
# `madam` left had been trained to do without the others.

# %%
left = bopt.sparsity.report(params).dense
cut = optax.chain(optax.identity(), bopt.prune_to(1 - left.nonzeros / left.entries))
zero = jax.tree.map(jnp.zeros_like, plain_params)
updates, _ = cut.update(zero, cut.init(plain_params), plain_params)
cut_params = optax.apply_updates(plain_params, updates)

print("test accuracy    dense weights")
for name, trained in (
    ("madam, pruned", params),
    ("Adam", plain_params),
    ("Adam, cut", cut_params),
):
    number = bopt.sparsity.report(trained).dense.nonzeros
    share = accuracy(trained, digits.test)
    print(f"{share:13.2%} {number:16,}    {name}")

# %% [markdown]
# One compromise was found here, without a coefficient to choose. Who knows a good
# coefficient of the l1 norm, or how many weights are to be left, can do without
# `madam`: trained to the end, the weighted sum with pruning, and gradual magnitude
# pruning, leave fewer weights, and no difference in accuracy is to be seen
# ([measured](https://github.com/bopt-jax/bopt/blob/main/experiments/results/RESULTS.md)).
#
# To choose among many compromises, go on with
# [`pareto_front.ipynb`](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/pareto_front.ipynb);
# for a network, objectives and an optimizer of your own, with
# [`compose.ipynb`](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/compose.ipynb).
