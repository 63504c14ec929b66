"""Fronts to draw, and what is drawn of them, for the tests of their figures."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from bopt.fronts import Front, Point
from experiments.plots.front import draw_front
from experiments.runs.directory import RunDirectory

FRONT_NAMES = ["front.png", "levels.png"]
NAN = float("nan")


def point(w1: float, level=0, seed=0, **changes) -> Point:
    """A network as a training with weights (1 - w1, w1) may give it; not dominated by
    others made so."""
    l1 = w1**-0.7 if w1 else 5_000.0
    accuracy = 0.99 - 2 * w1 - 1e-3 * seed
    values = {
        "objectives": (0.04 + 5 * w1 + 1e-3 * seed, l1),
        "name": f"{w1:g}-{seed}",
        "nonzero_dense": int(9 * l1),
        "validation_accuracy": accuracy,
        "test_accuracy": accuracy - 0.001,
        "epochs": 10,
    }
    return Point((1 - w1, w1), **values | changes, level=level, seed=seed)


def dead(w1: float, **changes) -> Point:
    """One whose parameters are all 0."""
    made = point(w1, objectives=(2.3, 0.0), nonzero_dense=0, test_accuracy=0.11)
    return made._replace(validation_accuracy=0.1, **changes)


def diverged(w1: float) -> Point:
    """One whose training came to NaN."""
    made = point(w1, objectives=(NAN, NAN), nonzero_dense=None, test_accuracy=None)
    return made._replace(validation_accuracy=None)


def make_front(
    folder: Path, points, summary=None, compare=None, name="run", **config
) -> Path:
    """Makes the directory of a front; `compare` is the text of compare.csv."""
    run = RunDirectory.create(str(folder / name), "pareto_front")
    known = {"dataset_title": "MNIST", "optimizer": "adam"}
    run.write_config(known | {"search": "grid", "model": "lenet5"} | config)
    (run.path / "front.csv").write_text(Front(points).to_csv())
    if summary is not None:
        run.write_summary(summary)
    if compare is not None:
        (run.path / "compare.csv").write_text(compare)
    return run.path


def draw(out: Path, path: Path) -> dict[str, Figure]:
    """Draws, checks the files, and returns the figures as they were when saved."""
    saved, close = [], plt.close
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "close", saved.append)
        files = draw_front(path, out)
    assert [file.name for file in files] == FRONT_NAMES
    for file, figure in zip(files, saved, strict=True):
        assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        pixels = plt.imread(file)
        width, height = figure.get_size_inches() * 160
        assert pixels.shape == (round(height), round(width), 4)
        assert pixels[..., :3].var() > 1e-4  # not blank
        close(figure)
    return {file.stem: figure for file, figure in zip(files, saved, strict=True)}


def parts(axes) -> dict:
    """Label -> what is drawn of it in this panel."""
    return {artist.get_label(): artist for artist in [*axes.collections, *axes.lines]}


def places(artist) -> list[list[float]]:
    scattered = hasattr(artist, "get_offsets")
    values = artist.get_offsets() if scattered else artist.get_xydata()
    return np.asarray(values).tolist()


def legend(figure: Figure) -> list[str]:
    """The lines of the one legend."""
    strips = [figure, *figure.subfigs]
    found = [one for strip in strips for one in strip.legends]
    assert len(found) <= 1
    return [text.get_text() for one in found for text in one.texts]


def note(axes) -> str:
    return axes.get_title(loc="right")


def shows(axes, x: float, y: float) -> bool:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    return left < x < right and bottom < y < top
