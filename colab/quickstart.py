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
# # Quickstart: train and prune LeNet-5
#
# This notebook trains LeNet-5, a small convolutional network, on handwritten digits
# with two objectives: few errors and few weights. It prunes the network during
# training. It takes a few minutes on two CPU cores, and less on a GPU or a TPU.
#
# [`bopt`](https://github.com/bopt-jax/bopt) is a set of
# [Optax](https://github.com/google-deepmind/optax) transformations. The parameters, the
# loss and the training loop are your own, as in any JAX program.

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

SMOKE = "BOPT_SMOKE" in os.environ  # set by the tests: short trainings
device = jax.devices()[0]
print(f"JAX {jax.__version__} found {jax.device_count()} x {device.device_kind}.")
if device.platform == "cpu" and shutil.which("nvidia-smi"):
    print("JAX was installed without CUDA and does not use the GPU of this machine.")

# %% [markdown]
# ## Data
#
# MNIST has 70,000 images of 28 x 28 pixels. It is downloaded, or read from the folder
# `data/`; if neither works, the 1,797 small digits of scikit-learn are used instead.
# Decisions use the validation images; the test images are used once, at the end.

# %%
digits = data.load("digits" if SMOKE else "auto")
images, labels = jnp.asarray(digits.images), jnp.asarray(digits.labels, jnp.int32)
splits = {"training": digits.train, "validation": digits.validation}
splits["test"] = digits.test
sizes = ", ".join(f"{len(split):,} {name}" for name, split in splits.items())
print(f"{digits.title}: {sizes} images")
if digits.name == "digits" and not SMOKE:
    print(f"MNIST is unavailable: {digits.source}.")

figure, panels = plt.subplots(1, 10, figsize=(9, 1.2))
for number, axes in enumerate(panels):
    axes.imshow(digits.images[number, ..., 0], cmap="gray_r")
    axes.set_title(int(digits.labels[number]), fontsize=10)
    axes.axis("off")
plt.show()

# %% [markdown]
# ## Two objectives
#
# A training usually minimizes one number. Here there are two, functions of the
# parameters $\theta$:
#
# $$f_0(\theta) = \text{the mean cross entropy of a batch}, \qquad
# f_1(\theta) = \sum_{i \,\in\, \text{dense kernels}} |\theta_i| .$$
#
# The second, the *l1 norm*, measures complexity. Unlike the number of weights it has
# a gradient, which pulls weights of little use to zero.
#
# The two objectives conflict: with all weights zero, $f_1$ is minimal and the network
# is useless. There is no single best network. A network is *Pareto optimal* if
# neither objective can be improved without loss in the other, and each such network
# is a different compromise.
#
# The usual method minimizes the sum $f_0 + c \, f_1$ with a coefficient $c$ found by
# trial. `bopt` uses the two gradients instead. `bopt.value_and_jac` is
# `jax.value_and_grad` for several objectives: instead of a gradient it returns a
# *jacobian*, a tree like the parameters whose leaves have a leading axis. Row $i$ is
# the gradient of objective $i$.

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
# Each step combines the rows,
#
# $$d = w_0 \nabla f_0 + w_1 \nabla f_1, \qquad w_0 + w_1 = 1, \quad w_0, w_1 \ge 0,$$
#
# with the weights that make $d$ as short as possible: *multi-gradient descent*. To
# first order, a step along $-d$ decreases both objectives, and $d = 0$ only if no
# direction does.
#
# `bopt.madam` is the Adam of this family: each gradient has its own Adam moments, and
# `weigh_by="directions"` computes the weights from Adam's directions. These have
# similar sizes in any units of the objectives, so that there is no coefficient to
# tune. (The statement about $-d$ is exact for gradients and a heuristic for
# directions. With `at_zero=1.0` above, pruned weights still count in the gradient of
# the l1 norm; otherwise it would shrink with each pruned weight and get ever more
# weight.)
#
# `bopt.prune` is the last link of the chain. After each step it sets all entries of
# the dense kernels to zero whose magnitude is at most the threshold.

# %%
BATCH = 32
EPOCHS = 3 if SMOKE else {"mnist": 6, "digits": 100}[digits.name]
STEPS = len(digits.train) // BATCH  # per epoch

schedule = bopt.logistic_decay(1e-3, EPOCHS, STEPS)
multi_gradient = optax.chain(
    bopt.madam(schedule, weigh_by="directions"),
    bopt.prune(threshold=1e-3),
)

# %% [markdown]
# ## Training loop
#
# The loop is the usual one, except that the optimizer takes a jacobian. An epoch is
# one compiled program, a `jax.lax.scan` over batches. Every step reads the weights of
# the objectives from the optimizer's state.


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
# ## Progress
#
# The figure shows both objectives, the weight $w_1$ of the l1 norm (its mean over
# each epoch) and the number of remaining dense weights, of 48,000, 10,080 and 840.
#
# (On the small digits less is pruned. The network soon classifies all 1,294 training
# images correctly; then the gradient of the cross entropy is zero, and so is $d$. No
# step improves both objectives, because one of them cannot be improved.)

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
# The remaining weights per layer. `dense` is the sum over the pruned kernels, `total`
# includes biases and convolutions, and `bytes` is the size of the arrays, zeros
# included (`bopt.sparsity.export` writes smaller files).

# %%
print(bopt.sparsity.report(params))

# %% [markdown]
# ## Remaining edges
#
# The optimizer's state contains the masks of `bopt.prune`: `True` where a weight is
# kept. Each dot below is a remaining edge of the network, from an input of the layer
# (horizontal) to a unit (vertical). An empty column is an unused input, an empty row
# an unused unit.

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
# ## Comparison with plain Adam
#
# `bopt.smgd(bopt.fixed((1, 0)))` gives all weight to the first objective, so that the
# next link sees the gradient of the cross entropy alone: this is Adam. The loop stays
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
# Is pruning after training with Adam as good? The third line of the table takes
# Adam's network and keeps its largest dense weights, the same number as in the pruned
# network. If they are few, as on MNIST, it is far worse without further training,
# because the remaining weights were trained together with the removed ones. `madam`'s
# remaining weights were trained without the others.

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
# This notebook found one compromise without a number to choose. If you know how many
# weights to keep, prune to this number by saliency, as `python -m
# experiments.mnist_lenet` does:
#
# ```python
# bopt.prune_to(
#     bopt.cubic_sparsity(0.98, 3 * EPOCHS * STEPS // 5),
#     score=bopt.saliency(),
#     optimizer=bopt.madam(bopt.hold_cosine(3e-3, EPOCHS * STEPS)),
#     every=100,
# )
# ```
#
# After full trainings it leaves fewer weights than this notebook's optimizer, and wins
# against weighted sums with pruning and against gradual magnitude pruning
# ([results](https://github.com/bopt-jax/bopt/blob/main/experiments/results/RESULTS.md)).
#
# To choose among many compromises, continue with
# [`pareto_front.ipynb`](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/pareto_front.ipynb);
# for your own network, objectives and optimizer, with
# [`compose.ipynb`](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/compose.ipynb).
