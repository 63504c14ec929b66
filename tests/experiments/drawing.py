"""Runs to draw, and what is drawn of them, for the tests of the figures."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes

from experiments import figures
from experiments.runs.directory import RunDirectory

NAMES = ["accuracy.png", "loss.png", "weight.png", "nonzeros.png"]
LENET = {"Dense_0": 48_000, "Dense_1": 10_080, "Dense_2": 840}
VGG = {f"Conv_{i}": 864 << min(2 * i, 7) for i in range(6)}


def row(epoch: int, **changes) -> dict:
    """A line of the metrics of LeNet-5, as the first version wrote them."""
    falling = 0.8**epoch
    scores = {
        f"{split}_{name}": value + shift
        for shift, split in enumerate(("train", "validation", "test"))
        for name, value in (("accuracy", 0), ("cross_entropy", 2.3 * falling))
    }
    scores |= {
        f"{split}_accuracy": (1 - falling) * (1 - 0.05 * shift)
        for shift, split in enumerate(("train", "validation", "test"))
    }
    weights = [1 - 1e-3 * falling, 1e-3 * falling] if epoch else None
    return {
        "epoch": epoch,
        "weights": weights,
        "nonzeros": {name: int(count * falling) for name, count in LENET.items()},
        **scores,
        **changes,
    }


def vgg_row(epoch: int, *, pruned=False, split=False, **changes) -> dict:
    """A line of the metrics of VGG."""
    left, right = 0.6**epoch, 0.9**epoch if pruned else 1
    weights = [1 - 1e-4 * left, 1e-4 * left]
    groups = {"conv": [1 - 1e-2 * left, 1e-2 * left], "dense": weights}
    own = {
        "weights": None if epoch == 0 else groups if split else weights,
        "nonzeros": {"Dense_0": int(20_480 * left)},
        "nonzeros_conv": {name: int(count * right) for name, count in VGG.items()},
        "conv_sparsity": 1 - right,
    }
    return row(epoch, **own | changes)


def make(
    folder: Path, rows, name="run", title="MNIST", optimizer="madam", **config
) -> Path:
    """Makes a run directory of these rows; returns its path."""
    run = RunDirectory.create(str(folder / name), "example")
    run.write_config({"dataset_title": title, "optimizer": optimizer, **config})
    (run.path / "metrics.jsonl").touch()
    for content in rows:
        run.append_metrics(content)
    return run.path


def draw(out: Path, *paths) -> dict[str, Axes]:
    """Draws, checks the files, and returns the axes as they were when saved."""
    saved, close = [], plt.close
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "close", saved.append)
        files = figures.draw(paths, out)
    assert [file.name for file in files] == NAMES
    for file in files:
        content = file.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(content) > 5_000
        pixels = plt.imread(file)
        assert pixels.shape == (672, 1024, 4)
        assert pixels[..., :3].var() > 1e-3  # not blank
    axes = {file.stem: fig.axes[0] for file, fig in zip(files, saved, strict=True)}
    for figure in saved:
        close(figure)
    return axes


def labels(axes: Axes) -> list[str]:
    return [text.get_text() for text in getattr(axes.get_legend(), "texts", [])]


def points(line) -> np.ndarray:
    return np.asarray(line.get_xydata())
