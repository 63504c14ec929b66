"""What earlier versions wrote is read for ever: a run of each format goes on.

`format-1` was interrupted in the middle of epoch 3 of 4 by SIGTERM, and written by
``programs.py --dataset digits --train-size 64 --batch-size 16 --epochs 4 --no-figures
--learning-rate 5e-3`` with Orbax 0.12. A new format gets a folder of its own; none is
ever written again.
"""

import shutil
from pathlib import Path

import pytest
from programs import small

from experiments.runs.checkpoints import FORMAT
from experiments.runs.directory import read

FOLDER = Path(__file__).parent
WORDS = "--dataset digits --train-size 64 --batch-size 16 --epochs 4 --no-figures"


def numbers(row) -> dict[str, float]:
    rest = {"seconds", "learning_rate", "weights", "nonzeros", "nonzeros_conv"}
    values = {k: v for k, v in row.items() if k not in rest and v is not None}
    first, second = values.pop("objectives")
    return values | {"objective 0": first, "objective 1": second}


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> list[dict[str, float]]:
    """The lines of a run that was never interrupted, by this version."""
    path = tmp_path_factory.mktemp("new") / "run"
    assert small(f"{WORDS} --learning-rate 5e-3 --out {path}") == 0
    return [numbers(row) for row in read(path).metrics]


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_a_run_of_an_earlier_version_goes_on(number, expected, tmp_path, capsys):
    path = tmp_path / "run"
    shutil.copytree(FOLDER / f"format-{number}", path)
    before = read(path).metrics
    assert small(f"--resume {path}") == 0
    said = capsys.readouterr().out
    assert "damaged" not in said
    assert "epoch 3/4" in said and "epoch 2/4" not in said
    after = read(path).metrics
    assert after[:3] == before
    assert [row["epoch"] for row in after] == [0, 1, 2, 3, 4]
    # Other processors round otherwise, and a mask may flip.
    for row, new in zip(after, expected, strict=True):
        assert numbers(row) == pytest.approx(new, rel=0.01, abs=0.01)
