"""The same network, objectives and pruning in PyTorch and TorchJD, for comparison."""

# For machines without the bench extra:
# pyright: reportMissingImports=false

import numpy as np
import torch
from torch import nn
from torchjd.aggregation import MGDA
from torchjd.autojac import backward, jac_to_grad

from experiments.benchmark.timing import Runner
from experiments.data import Dataset


def make_runner(
    dataset: Dataset, batch_size: int, multi: bool = False
) -> tuple[Runner, None]:
    """Make a runner of steps, with one objective or two; its memory is unknown."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.from_numpy(dataset.images.transpose(0, 3, 1, 2) / 255).float()
    labels = torch.from_numpy(dataset.labels.astype(np.int64)).to(device)
    images = images.to(device)
    model = nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, 3), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU()),
        *(nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    ).to(device)
    convolutions = [layer.weight for layer in model if isinstance(layer, nn.Conv2d)]
    kernels = [layer.weight for layer in model if isinstance(layer, nn.Linear)]
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    aggregator, parameters = MGDA(), list(model.parameters())
    order = torch.randperm(len(images), device=device)
    batches = len(images) // batch_size

    def step(number: int) -> None:
        start = number % batches * batch_size
        chosen = order[start : start + batch_size]
        penalty = torch.stack([kernel.square().sum() for kernel in convolutions]).sum()
        loss = nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
        loss = loss + 1e-4 * penalty
        optimizer.zero_grad()
        if not multi:
            loss.backward()
            optimizer.step()
            return
        l1 = torch.stack([kernel.abs().sum() for kernel in kernels]).sum()
        backward([loss, l1], inputs=parameters)
        jac_to_grad(parameters, aggregator)
        optimizer.step()
        with torch.no_grad():
            for kernel in kernels:
                kernel.masked_fill_(kernel.abs() <= 1e-3, 0.0)

    def run(steps: int) -> None:
        for number in range(steps):
            step(number)
        if device == "cuda":
            torch.cuda.synchronize()

    return run, None
