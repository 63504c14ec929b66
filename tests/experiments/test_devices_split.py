"""Batches divided among devices: the same training as on one, each doing its share."""

import json
import re

import numpy as np
import pytest
from fronts import PROGRAM as FRONT
from fronts import WORDS
from on_devices import BATCH, run
from programs import SMALL, finish, small, start, wait_for_epochs

from experiments.runs.directory import read, read_front

DIGITS = "--dataset digits --no-figures"


def forced(devices: int) -> dict[str, str]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


# The same training


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("small", "2 4 8"),
        pytest.param("normalised", "2 4 8", marks=pytest.mark.slow),
        pytest.param("lenet", "2 8", marks=pytest.mark.slow),
        pytest.param("vgg", "8", marks=pytest.mark.slow),
    ],
)
def test_as_on_one_device(name, numbers):
    """Parameters, batch statistics, moments, masks, sums over the epoch and scores; and
    once more with the same bits."""
    out, _ = run(f"compare {name} {numbers}")
    lines = [f"{name}: {number} devices, 0 masks differ" for number in numbers.split()]
    assert out.splitlines() == lines


@pytest.mark.parametrize(
    ("name", "networks", "devices", "rows", "size"),
    [
        pytest.param("small", 4, 2, 4, 8, marks=pytest.mark.slow),
        # Two at a time: the last is trained twice.
        pytest.param("small", 3, 4, 4, 8, marks=pytest.mark.slow),
        pytest.param("normalised", 4, 2, 4, 8, marks=pytest.mark.slow),
        pytest.param("normalised", 3, 4, 4, 8, marks=pytest.mark.slow),
    ],
)
def test_several_networks_as_each_alone(name, networks, devices, rows, size):
    out, _ = run(f"both_axes {name} {networks} {devices} {rows} {size}")
    assert out == f"{name}: {networks} networks on {rows} rows, {size} devices\n"


def test_networks_at_once_and_one_after_another():
    assert run("at_once")[0] == "one after another\nat once\n"


# Each its share


@pytest.mark.parametrize("name", ["small", "normalised"])
def test_each_device_works_on_an_eighth_of_the_batch(name, tmp_path):
    """As XLA's text of the programs says; parameters are whole on each (`compare`)."""
    dump = f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text"
    run(f"compiled {name} 8", flags=dump, JAX_ENABLE_COMPILATION_CACHE="false")
    for program, rows in (("steps", BATCH), ("evaluate", 200)):
        pattern = f"*.jit_{program}.cpu_after_optimizations.txt"
        (text,) = (file.read_text() for file in tmp_path.glob(pattern))
        assert "num_partitions=8" in text
        assert re.search(r"all-reduce(-start)?\(", text)
        assert f"f32[{rows // 8},28,28,1]" in text
        assert not re.findall(rf"\w+\[{rows},[\d,]+\]", text)


# The command line


def test_numbers_that_do_not_fit():
    lines = {
        f"{DIGITS} --devices 8 --batch-size 30": "--batch-size is 30, which 8 devices "
        "do not divide; the next that they do: 24 or 32.",
        f"{DIGITS} --devices 8 --batch-size 4": "--batch-size is 4, which 8 devices do "
        "not divide; the next that they do: 8.",
        f"{DIGITS} --devices 0": "--devices is 0, but there are 8; expected 1 to 8.",
        f"{DIGITS} --devices 9": "--devices is 9, but there are 8; expected 1 to 8.",
        f"{DIGITS} --devices all --batch-size 8 --train-size 6": "--batch-size is 8, "
        "but there are 6 training images; expected at most as many.",
    }
    words = " ".join(line.replace(" ", "~") for line in lines)
    out, err = run(f"command_lines {words}")
    assert out.count("code 2") == len(lines)
    assert err.splitlines() == [f"error: {message}" for message in lines.values()]


def test_more_devices_than_there_are(tmp_path, capsys):
    assert small(f"{DIGITS} --devices 2 --out {tmp_path / 'run'}") == 2
    message = "error: --devices is 2, but there are 1; expected 1 to 1.\n"
    assert capsys.readouterr().err == message


def rows_of(path) -> list[list[float]]:
    """What the epochs' lines say, but for the times."""
    kept = ("objectives", "weights", "test_cross_entropy", "l1", "nonzeros")
    rows = [{key: row[key] for key in kept} for row in read(path).metrics[1:]]
    return [[float(n) for n in re.findall(r"[\d.e-]*\d", str(row))] for row in rows]


@pytest.mark.slow
def test_a_run_goes_on_with_other_devices(tmp_path, capsys):
    """Begun on all of 8, gone on with on one; as one that was on one throughout."""
    words = f"{DIGITS} --train-size 64 --epochs 60 --checkpoint-every 10"
    assert small(f"{words} --out {tmp_path / 'whole'}") == 0
    path = tmp_path / "run"
    told = f"{words} --devices all --out {path}"
    process = start(SMALL, told, env=forced(8))
    wait_for_epochs(process, path, 2)
    process.terminate()
    code, _, err = finish(process)
    assert code == 143, err
    assert json.loads((path / "config.json").read_text())["devices"] == "all"
    capsys.readouterr()
    assert small(f"--resume {path}") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(
        r"Begun with device \{.*'count': 8,.*\}, now \{.*'count': 1,", said
    )
    assert read(path).summary["finished"]
    np.testing.assert_allclose(
        rows_of(path), rows_of(tmp_path / "whole"), rtol=1e-4, atol=1e-6
    )


@pytest.mark.slow
def test_a_front_as_on_one_device(tmp_path):
    """Two networks at a time, each on two devices."""
    words = f"{WORDS} --budget 4 --train-size 256"
    found = []
    for number, there in ((1, 1), (2, 4)):
        path = tmp_path / str(number)
        told = f"{words} --devices {number} --out {path}"
        code, _, err = finish(start(FRONT, told, env=forced(there)))
        assert (code, err) == (0, "")
        found.append([point._replace(seconds=0.0) for point in read_front(path)])
    assert [point.name for point in found[0]] == [f"0-{n}.0" for n in range(1, 5)]
    for one, other in zip(*found, strict=True):
        assert one.nonzero_dense == other.nonzero_dense
        for name, value in one._asdict().items():
            if isinstance(value, str | None):
                assert value == getattr(other, name)
            else:
                np.testing.assert_allclose(value, getattr(other, name), rtol=1e-4)
