"""A user's own data, network and objective, by `train`, `trace` and the programs."""

import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from drawing import CURVES
from flax import linen as nn

from experiments import mnist_lenet, pareto_front
from experiments.config import Config
from experiments.errors import ConfigError
from experiments.launch import main, train
from experiments.report import report
from experiments.runs.reading import read, read_front, read_json

SMALL: dict[str, Any] = {"figures": False, "batch_size": 20}
NUMBERS = np.random.default_rng(0)
LABELS = NUMBERS.integers(3, size=300)
# Three features are larger the larger the class.
DATA = {
    "images": (NUMBERS.normal(size=(300, 5)) + LABELS[:, None]).astype(np.float32),
    "labels": LABELS,
}


class Mlp(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.classes)(nn.relu(nn.Dense(40)(x)))


def squares(params):
    return jnp.square(params["params"]["Dense_0"]["kernel"]).sum()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"epoch": 3}, "There is no option 'epoch'; expected 'epochs'"),
        ({"epochs": -1}, "--epochs is -1; expected"),
        ({"batch_size": 500}, "--batch-size is 500, but there are 243 training"),
        ({"prune_where": "conv"}, "matches none of the 4 leaves"),
    ],
)
def test_mistakes_are_named_before_there_is_a_run(options, told, tmp_path, capsys):
    with pytest.raises(ConfigError, match=told):
        train(Mlp, DATA, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_of_arrays(tmp_path, capsys):
    options = SMALL | {"seeds": 2, "sparsity": 0.5, "out": str(tmp_path / "run")}
    options |= {"figures": True}
    path = train(Mlp, DATA, epochs=4, complexity=squares, **options)
    run = read(path)
    assert path == tmp_path / "run"
    assert (run.summary["nonzero_dense"], run.summary["entries_dense"]) == (160, 320)
    assert run.summary["test_accuracy"] > 0.5
    assert run.config["model"] == f"{Mlp.__module__}:Mlp"
    assert (run.config["dataset"], run.config["dataset_title"]) == ("arrays", "arrays")
    assert run.config["sizes"] == {"train": 243, "validation": 27, "test": 30}
    first = run.metrics[0]["objectives"][1]
    assert first == pytest.approx(3, rel=0.3)  # of a normal kernel, 40 x 3
    assert set(CURVES) <= {own.name for own in (path / "figures").iterdir()}
    # Finished, and resumed with other options.
    assert train(Mlp, DATA, complexity=squares, resume=str(path)) == path
    assert "nothing is left to do" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"--epochs 9 \(stored: 4\)"):
        train(Mlp, DATA, complexity=squares, resume=str(path), epochs=9)
    assert "## Mlp on arrays, 4 epochs" in report(tmp_path).read_text()


@pytest.mark.slow
def test_a_front(tmp_path):
    options: dict[str, Any] = SMALL | {"epochs": 2, "budget": 3, "final_epochs": 2}
    path = pareto_front.trace(
        Mlp, DATA, pruning="saliency", out=str(tmp_path / "run"), **options
    )
    assert len(read_front(path)) == 3
    assert read_json(path / "summary.json")["finished"]
    assert "Fronts of Mlp on arrays" in report(tmp_path).read_text()


@pytest.mark.slow
def test_a_program_with_a_network_by_name(tmp_path, monkeypatch, capsys):
    """And a resume, for which the network must be named again."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_networks.py").write_text(
        "from flax import nnx\n"
        "class Net(nnx.Module):\n"
        "    def __init__(self, rngs, classes):\n"
        "        self.out = nnx.Linear(5, classes, rngs=rngs)\n"
        "    def __call__(self, x):\n"
        "        return self.out(x)\n"
    )
    np.savez(tmp_path / "mine.npz", **DATA)
    words = f"--dataset {tmp_path / 'mine.npz'} --epochs 2 --batch-size 20 "
    words += f"--no-figures --model my_networks:Net --out {tmp_path / 'run'}"
    assert main("mnist_lenet", Config, mnist_lenet.network, words.split()) == 0
    assert read(tmp_path / "run").summary["entries_dense"] == 15
    del sys.modules["my_networks"]
    resume = ["--resume", str(tmp_path / "run")]
    assert main("mnist_lenet", Config, mnist_lenet.network, resume) == 2
    assert "my_networks" not in sys.modules
    assert "If you trust it, add --model my_networks:Net." in capsys.readouterr().err
    again = [*resume, "--model", "my_networks:Net"]
    assert main("mnist_lenet", Config, mnist_lenet.network, again) == 0
    front = f"--dataset {tmp_path / 'mine.npz'} --epochs 1 --batch-size 20 --budget 2 "
    front += "--pruning magnitude --final-epochs 0 --no-figures --model my_networks:Net"
    assert pareto_front.main([*front.split(), "--out", str(tmp_path / "front")]) == 0
    assert main("mnist_lenet", Config, mnist_lenet.network, ["--model", "Net"]) == 2
    assert "--model is Net; expected MODULE:NAME" in capsys.readouterr().err
