"""Rows and points to draw, and readers of what is drawn."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

import numpy as np
from matplotlib.figure import Figure

from bopt.fronts import Front, Point
from experiments.runs import schema

CURVES = ["accuracy.png", "loss.png", "weight.png", "nonzeros.png"]
COMPARED = [*CURVES, "train_validation.png", "layers.png"]
FRONT = ["front.png", "levels.png"]
LENET = {"Dense_0": 48_000, "Dense_1": 10_080, "Dense_2": 840}
VGG = {f"Conv_{i}": 864 << min(2 * i, 7) for i in range(6)}
NAN = float("nan")


def filled(keys: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Add the missing required keys of a file, with values that mean nothing."""
    empty = {str: "", int: 0, float: 0.0, bool: False, dict: {}}

    def value(hint):
        if hint in (schema.Pair, Annotated[list[float], 2]):
            return [0.0, 0.0]
        return empty.get(get_origin(hint) or hint)

    hints = get_type_hints(keys, include_extras=True)
    required = getattr(keys, "__required_keys__", ())
    return {key: value(hints[key]) for key in hints if key in required} | dict(values)


def row(epoch: int, **changes) -> dict:
    """Row of metrics.jsonl of LeNet-5, with the keys of the first version."""
    falling = 0.8**epoch
    scores = {
        f"{split}_cross_entropy": 2.3 * falling + shift
        for shift, split in enumerate(("train", "validation", "test"))
    } | {
        f"{split}_accuracy": (1 - falling) * (1 - 0.05 * shift)
        for shift, split in enumerate(("train", "validation", "test"))
    }
    own = {
        "epoch": epoch,
        "weights": [1 - 1e-3 * falling, 1e-3 * falling] if epoch else None,
        "nonzeros": {name: int(count * falling) for name, count in LENET.items()},
    }
    return filled(schema.Row, own | scores | changes)


def vgg_row(epoch: int, *, pruned=False, split=False, **changes) -> dict:
    """Row of metrics.jsonl of VGG, with pruned convolutions or weights per group."""
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


def point(w1: float, level=0, seed=0, **changes) -> Point:
    """Network trained with weights (1 - w1, w1); these do not dominate each other."""
    l1 = w1**-0.7 if w1 else 5_000.0
    accuracy = 0.99 - 2 * w1 - 1e-3 * seed
    values = {
        "objectives": (0.04 + 5 * w1 + 1e-3 * seed, l1),
        "name": f"{level}-{round(1e5 * w1)}.{seed}",
        "nonzero_dense": int(9 * l1),
        "validation_accuracy": accuracy,
        "test_accuracy": accuracy - 0.001,
        "epochs": 10,
    }
    # The other columns of front.csv, which no figure shows.
    values |= {"test_cross_entropy": 0.05, "nonzero_total": 2_000, "seconds": 1.0}
    return Point((1 - w1, w1), **values | changes, level=level, seed=seed)


def changed(given: Point, **changes) -> Point:
    """Return a point with other objectives or metrics."""
    fields = {"objectives": given.objectives, "name": given.name, **given.metrics}
    return Point(given.weights, **fields | changes)


def dead(w1: float, l1=0.0, left=0, **changes) -> Point:
    """Network at chance; without weights it is not dominated."""
    made = point(w1, objectives=(2.3, l1), nonzero_dense=left, test_accuracy=0.11)
    return changed(made, validation_accuracy=0.1, **changes)


def diverged(w1: float) -> Point:
    lost = dict.fromkeys(("nonzero_dense", "test_accuracy", "validation_accuracy"), NAN)
    return point(w1, objectives=(NAN, NAN), **lost)


def make_run(path: Path, rows, optimizer="madam", **config) -> Path:
    """Write a run directory of these rows."""
    path.mkdir(parents=True)
    config = {"dataset_title": "MNIST", "optimizer": optimizer, **config}
    (path / "config.json").write_text(json.dumps(filled(schema.Config, config)))
    lines = [json.dumps(row) + "\n" for row in rows]
    (path / "metrics.jsonl").write_text("".join(lines))
    return path


def make_front(path: Path, points, summary=None, compare=None, **config) -> Path:
    """Write a run directory of a front without its final training."""
    path.mkdir(parents=True)
    known = {"dataset_title": "MNIST", "optimizer": "adam", "search": "grid"}
    config = filled(schema.FrontConfig, known | {"model": "lenet5"} | config)
    (path / "config.json").write_text(json.dumps(config))
    (path / "front.csv").write_text(Front(points).to_csv())
    if summary is not None:
        summary = filled(schema.FrontSummary, summary)
        (path / "summary.json").write_text(json.dumps(summary))
    if compare is not None:
        (path / "compare.csv").write_text(compare)
    return path


def labels(axes) -> list[str]:
    return [text.get_text() for text in getattr(axes.get_legend(), "texts", [])]


def legend(figure: Figure) -> list[str]:
    """Labels of the only legend of a figure."""
    strips = [figure, *figure.subfigs]
    found = [one for strip in strips for one in strip.legends]
    assert len(found) <= 1
    return [text.get_text() for one in found for text in one.texts]


def parts(axes) -> dict:
    """Label -> artist."""
    return {artist.get_label(): artist for artist in [*axes.collections, *axes.lines]}


def places(artist) -> list[list[float]]:
    scattered = hasattr(artist, "get_offsets")
    values = artist.get_offsets() if scattered else artist.get_xydata()
    return np.asarray(values).tolist()


def note(axes) -> str:
    return axes.get_title(loc="right")


def shows(axes, x: float, y: float) -> bool:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    return left < x < right and bottom < y < top
