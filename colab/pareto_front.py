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
# # A Pareto front: accuracy against the number of weights
#
# A network should make few errors and have few weights. This notebook trains a dozen
# networks with different compromises and queries them afterwards: which is the
# smallest that is accurate enough, which is the most accurate that is small enough,
# and where does further pruning cost too much?
#
# The networks are LeNet-5, trained on handwritten digits and pruned during training.
# This takes some minutes on two CPU cores; a GPU or a TPU trains all networks at the
# same time.
# [`quickstart.ipynb`](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/quickstart.ipynb)
# shows the training of one network step by step.

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
from experiments.config import FrontConfig, updated
from experiments.devices import use_all_cores
from experiments.pareto_front import run
from experiments.runs.directory import RunDirectory
from experiments.runs.reading import read_front

SMOKE = "BOPT_SMOKE" in os.environ  # set by the tests: short trainings
use_all_cores()  # each CPU core becomes a device that trains its own networks
device = jax.devices()[0]
print(f"JAX {jax.__version__} found {jax.device_count()} x {device.device_kind}.")
if device.platform == "cpu" and shutil.which("nvidia-smi"):
    print("JAX was installed without CUDA and does not use the GPU of this machine.")

# %% [markdown]
# ## The Pareto front
#
# The two objectives, functions of the parameters $\theta$ to be minimized, are the
# cross entropy $f_0(\theta)$ and the l1 norm of the dense weights, $f_1(\theta) =
# \sum_i |\theta_i|$. Its gradient pulls weights to zero, where they are pruned.
#
# A network $\theta$ *dominates* another, $\theta'$, if it is at least as good in both
# objectives and better in one:
#
# $$f_0(\theta) \le f_0(\theta'), \quad f_1(\theta) \le f_1(\theta'), \quad
# f(\theta) \ne f(\theta').$$
#
# The non-dominated networks among many form the *Pareto front*: along it, less of one
# objective always means more of the other.
#
# A point of the front minimizes a weighted sum
#
# $$w_0 f_0(\theta) + w_1 f_1(\theta), \qquad w_0 + w_1 = 1,$$
#
# and other weights give other points (of the convex part of the front). Evenly spaced
# weights are unsuitable: the l1 norm is in the hundreds while the cross entropy is
# below one, so that nearly all of them would give networks without any weight. The
# weights below are spaced geometrically, from $w_1 = 3 \cdot 10^{-5}$ to $3 \cdot
# 10^{-3}$, after the first, $w_1 = 0$.
#
# ## Search
#
# `experiments.pareto_front` trains many networks as one program, divided among the
# devices. Here it uses a list of weights, a *grid*. It then trains the network at the
# knee (see below) again, for longer. The program for a shell is `python -m
# experiments.pareto_front`; see its `--help`. With `--search dichotomic` or
# `continuation`, for example, it chooses each batch of weights from the results so
# far.

# %%
digits = data.load("digits" if SMOKE else "auto")
mnist = digits.name == "mnist"
print(f"{digits.title}: {len(digits.train):,} training images")
if digits.name == "digits" and not SMOKE:
    print(f"MNIST is unavailable: {digits.source}.")

config = updated(
    FrontConfig(),
    dataset=digits.name,
    search="grid",
    budget=3 if SMOKE else 12,  # number of weights
    epochs=2 if SMOKE else 3 if mnist else 30,  # of each training
    final_epochs=2 if SMOKE else 9 if mnist else 60,  # of the final training
    save="front",  # keep the parameters of all non-dominated networks
)
path = run(config)

# %% [markdown]
# ## Result
#
# The run directory named in the last line holds all results, this figure among them.
# The left panel shows the objectives on validation data; the right panel shows test
# accuracy and the number of remaining dense weights, of 58,920. The color is the
# weight of the l1 norm. The star is the knee after its final training; longer
# trainings would move the whole front in that direction.
#
# The *hypervolume* above is the area that the points dominate, in test error and
# share of remaining dense weights, as a share of the box up to 3 % and 10 %: one
# number to compare whole fronts.

# %%
Image(filename=path / "figures" / "front.png", width=900)

# %% [markdown]
# ## Knees
#
# From the right, the first weights can be removed at almost no cost, the last ones
# only at a high cost. In between is a *knee*: beyond it, each objective gains little
# for the loss in the other. There are several definitions, and `Front.knees` returns
# the knees by four criteria:
#
# - `weight_jump`: the largest jump of $w_0 / w_1$ to the next denser network;
# - `chord`: the largest distance below the straight line between the ends;
# - `angle`: the sharpest bend of the front;
# - `hypervolume`: the largest area dominated by one point alone.
#
# If they agree, the knee is pronounced. (All but the first use both objectives scaled
# to [0, 1], not the logarithms of the figure.)

# %%
points = read_front(path)
front = points.nondominated()
print(f"{len(points)} networks, {len(front)} of them non-dominated")

print("knee           weight   loss    l1 norm  accuracy  dense weights")
for criterion, knee in front.knees().items():
    loss, l1 = knee.objectives
    print(
        f"{criterion:<12} {knee.weights[1]:8.2g} {loss:7.4f} {l1:9.1f} "
        f"{knee.metrics['validation_accuracy']:9.2%} "
        f"{knee.metrics['nonzero_dense']:14,}"
    )

# %% [markdown]
# ## Queries
#
# A front is a table that answers queries. They use validation data only, never the
# test images. (Network 0-2.0 has the second weight of the list and seed 0; the first
# 0 is the level of the search, of which a grid has one.)

# %%
accuracy, nonzeros = "validation_accuracy", "nonzero_dense"
accurate = front.best(maximize=accuracy)
best = accurate.metrics[accuracy]
print(f"The most accurate network has {best:.2%}.")

cheap = front.best(minimize=nonzeros, at_least={accuracy: best - 0.01})
print(
    f"With one percentage point less, {cheap.metrics[nonzeros]:,} dense weights "
    f"suffice: network {cheap.name}, {cheap.metrics[accuracy]:.2%}."
)

fewest = front.best(minimize=nonzeros).metrics[nonzeros]
small = front.best(maximize=accuracy, at_most={nonzeros: 2 * fewest})
print(
    f"With at most {2 * fewest:,}, the best is network {small.name}: "
    f"{small.metrics[accuracy]:.2%} with {small.metrics[nonzeros]:,}."
)

# %% [markdown]
# ## Two networks side by side
#
# The most accurate network, and the one of the last query; the run directory holds
# their parameters by name. Each dot is a remaining edge, from an input of a layer
# (horizontal) to a unit (vertical).

# %%
model = LeNet5()
image = digits.images.shape[1:]
like = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, *image)))
chosen = {"most accurate": accurate, "small": small}
networks = {
    name: RunDirectory(path).load_model(f"networks/{point.name}", like)
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
# Pruned weights are zeros in arrays of the original size. `bopt.models.shrink` makes
# the arrays smaller: it removes units without an input or without an output, and
# preserves the logits.

# %%
for name, network in networks.items():
    print(f"{name}, network {chosen[name].name}:")
    print(bopt.sparsity.report(network["params"]))
    whole = chain(model, network)
    sizes = size(whole, image), size(shrink(whole, image), image)
    print("bytes: {:,}, without dead units {:,}\n".format(*(s.bytes for s in sizes)))

# %% [markdown]
# The test error of both, per digit:

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
# The table is `front.csv` in the run directory; `bopt.fronts.Front.from_csv` reads
# it, and a `Front` takes the points of any training with two objectives. Resume an
# interrupted search with `python -m experiments.pareto_front --resume` and the run
# directory. For your own network and objectives, continue with
# [`compose.ipynb`](https://colab.research.google.com/github/bopt-jax/bopt/blob/main/colab/compose.ipynb).
