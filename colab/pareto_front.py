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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/pareto_front.ipynb)
#
# # Many compromises: a Pareto front
#
# A network should make few errors and have few weights. How many errors is each weight
# worth? This notebook does not decide that beforehand. It trains a dozen networks, each
# on another compromise, and asks afterwards: which is the cheapest that is accurate
# enough? Which is the best that is small enough? Where does it begin to cost too much?
#
# The networks are LeNet-5, trained on handwritten digits and pruned while they train.
# On two CPU cores this takes some minutes; on a GPU or a TPU all networks train at the
# same time.
# [`quickstart.ipynb`](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/quickstart.ipynb)
# shows how one is trained, step by step.

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
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image

import bopt
from bopt.models import LeNet5, chain, shrink, size
from experiments import data
from experiments.devices import use_all_cores
from experiments.front_options import LenetFront
from experiments.pareto_front import run
from experiments.runs.directory import read_front

SMOKE = "BOPT_SMOKE" in os.environ  # set by the tests: everything is short
use_all_cores()  # each core of a CPU becomes a device, and trains networks of its own
device = jax.devices()[0]
print(f"JAX {jax.__version__} found {jax.device_count()} x {device.device_kind}.")
if device.platform == "cpu" and shutil.which("nvidia-smi"):
    print("There is a GPU, too, which JAX does not see: it was installed without CUDA.")

# %% [markdown]
# ## What a front is
#
# The two objectives, functions of the parameters $\theta$ and both to be minimised, are
# the cross entropy $f_0(\theta)$ and the l1 norm of the dense weights,
# $f_1(\theta) = \sum_i |\theta_i|$, whose gradient pulls weights to zero, where they
# are pruned.
#
# A network $\theta$ *dominates* another, $\theta'$, if it is at least as good in both
# objectives and better in one:
#
# $$f_0(\theta) \le f_0(\theta'), \quad f_1(\theta) \le f_1(\theta'), \quad
# f(\theta) \ne f(\theta').$$
#
# Nobody wants a network that another one dominates. What is left of many networks when
# these are taken away is the *Pareto front*: along it, less of the one objective always
# means more of the other.
#
# To get a point of the front, one minimises a weighted sum
#
# $$w_0 f_0(\theta) + w_1 f_1(\theta), \qquad w_0 + w_1 = 1,$$
#
# and to get others, one changes the weights (which finds the convex part of the front,
# and no more). Evenly spaced weights would not do: the l1
# norm is in the hundreds where the cross entropy is below one, so nearly all of them
# would give networks with no weight left. Those below are spaced geometrically, from
# $w_1 = 3 \cdot 10^{-5}$ to $3 \cdot 10^{-3}$, after the first, $w_1 = 0$.
#
# ## The search
#
# `experiments.pareto_front` does this with many networks as one program, divided among
# the devices. Here it tries a list of weights, a *grid*. It then trains the network at
# the knee (see below) once more, for longer. The same from a shell is
# `python -m experiments.pareto_front`, which `--help` explains; with
# `--search dichotomic` or `continuation`, for example, each batch of weights is chosen
# from what the networks before came to.

# %%
digits = data.load("digits" if SMOKE else "auto")
mnist = digits.name == "mnist"
print(f"{digits.title}: {len(digits.train):,} images to train with")
if digits.name == "digits" and not SMOKE:
    print(f"Why not MNIST: {digits.source}.")

config = LenetFront(
    dataset=digits.name,
    search="grid",
    budget=3 if SMOKE else 12,  # so many weights
    epochs=2 if SMOKE else 3 if mnist else 30,  # of each training
    final_epochs=2 if SMOKE else 9 if mnist else 60,  # of the last
    save="front",  # keep the parameters of all networks that are not dominated
)
directory = run(config)

# %% [markdown]
# ## The front
#
# Everything is in the folder that the last line names; among others this picture. Left
# are the objectives, on validation data; right is what they stand for, test accuracy
# and the number of dense weights that are left of 58,920. The colour is the weight of
# the l1 norm. The star is the knee that was trained again; with longer trainings, the
# whole front would move that way.
#
# The *hypervolume* above is the area that the points dominate, in test error and share
# of dense weights left, as a share of the box up to 3 % and 10 %: one number to compare
# whole fronts by.

# %%
Image(filename=directory.path / "figures" / "front.png", width=900)

# %% [markdown]
# ## Knees
#
# Coming from the right, the first weights are given up for almost nothing, the last
# ones cost dearly. Somewhere between is a *knee*: beyond it, either objective gains
# little for what the other loses. There is no one definition of it, so `Front.knees`
# has four, and says what each finds:
#
# - `weight_jump`: from here to the next denser network, $w_0 / w_1$ jumps most;
# - `chord`: farthest below the straight line between the ends;
# - `angle`: where the front bends most;
# - `hypervolume`: the point that dominates most on its own.
#
# Where they agree, the knee is a pronounced one. (All but the first look at the shape
# of the front with both objectives scaled to [0, 1], not at the logarithms in the
# picture.)

# %%
points = read_front(directory.path)
front = points.nondominated()
print(f"{len(points)} networks, {len(front)} of them not dominated")

print("knee           weight   loss    l1 norm  accuracy  dense weights")
for criterion, knee in front.knees().items():
    loss, l1 = knee.objectives
    print(
        f"{criterion:<12} {knee.weights[1]:8.2g} {loss:7.4f} {l1:9.1f} "
        f"{knee.validation_accuracy:9.2%} {knee.nonzero_dense:14,}"
    )

# %% [markdown]
# ## Questions
#
# A front is a table that answers questions. All of them are about validation data; the
# test images have no say in what is chosen. (Network 0-2.0 is that of the second weight
# in the list, with seed 0; the first 0 is the level of the search, of which a grid has
# one.)

# %%
best = max(point.validation_accuracy for point in front)
print(f"The most accurate network has {best:.2%}.")

cheap = front.cheapest(accuracy=best - 0.01)
print(
    f"With one percentage point less, {cheap.nonzero_dense:,} dense weights will do: "
    f"network {cheap.name}, {cheap.validation_accuracy:.2%}."
)

fewest = min(point.nonzero_dense for point in front)
small = front.best(nonzeros=2 * fewest)
print(
    f"With at most {2 * fewest:,}, the best is network {small.name}: "
    f"{small.validation_accuracy:.2%} with {small.nonzero_dense:,}."
)

# %% [markdown]
# ## Two networks side by side
#
# The most accurate network, and the one that answered the last question; their
# parameters are in the folder, by name. Each dot is an edge that is left, from an input
# of a layer (horizontal) to a unit (vertical).

# %%
model = LeNet5()
image = digits.images.shape[1:]
like = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, *image)))
accurate = max(front, key=lambda point: point.validation_accuracy)
chosen = {"most accurate": accurate, "small": small}
networks = {
    name: directory.load_model(f"networks/{point.name}", like)
    for name, point in chosen.items()
}

figure, panels = plt.subplots(
    2, 3, figsize=(10, 5.4), layout="constrained", width_ratios=(4, 1.6, 1.2)
)
for row, (name, network) in zip(panels, networks.items(), strict=True):
    for number, axes in enumerate(row):
        kernel = np.asarray(network["params"][f"Dense_{number}"]["kernel"])
        axes.spy(kernel.T, markersize=0.8, color="black", aspect="auto")
        axes.xaxis.tick_bottom()
        axes.locator_params("x", nbins=8 if number == 0 else 4)
        axes.set_title(f"Dense_{number}: {np.count_nonzero(kernel):,}", fontsize=10)
        axes.set_xlabel("input")
        axes.set_ylabel("unit")
    row[0].set_ylabel(f"{name}\nunit")
plt.show()

# %% [markdown]
# Pruned weights are zeros in arrays as large as before. `bopt.models.shrink` makes the
# arrays smaller: it removes the units that pruning has left without an input or without
# an output, and leaves the logits as they are.

# %%
for name, network in networks.items():
    print(f"{name}, network {chosen[name].name}:")
    print(bopt.sparsity.report(network["params"]))
    whole = chain(model, network)
    sizes = size(whole, image), size(shrink(whole, image), image)
    print("bytes: {:,}, without dead units {:,}\n".format(*(s.bytes for s in sizes)))

# %% [markdown]
# How often each of them is wrong, digit by digit, on the test images:

# %%
test = slice(digits.test.start, digits.test.stop)
images, labels = digits.images[test], digits.labels[test]


@jax.jit
def predict(network, images):
    return model.apply(network, images / 255).argmax(-1)


figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
for shift, (name, network) in zip((-0.2, 0.2), networks.items(), strict=True):
    parts = [predict(network, part) for part in np.array_split(images, 10)]
    wrong = np.concatenate(parts) != labels
    shares = [100 * wrong[labels == digit].mean() for digit in range(10)]
    axes.bar(np.arange(10) + shift, shares, 0.4, label=f"{name}: {wrong.mean():.2%}")
axes.set_xticks(range(10))
axes.set_xlabel("digit")
axes.set_ylabel("test error (%)")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# The table is `front.csv` in the folder; `bopt.fronts.Front.from_csv` reads it
# anywhere, and a `Front` takes the points of any training with two objectives. An
# interrupted search goes on with `python -m experiments.pareto_front --resume` and the
# folder. For a network and objectives of your own, go on with
# [`compose.ipynb`](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/compose.ipynb).
