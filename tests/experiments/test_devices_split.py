"""Batches split across devices: the same training as on one, each doing its share.

Devices are CPU cores that XLA counts as several, in processes of their own. The results
agree up to rounding: each number of devices is another program, which adds in another
order. A weight at the pruning threshold may then be pruned in one of them only.
"""

import json
import os
import re

import pytest
from on_devices import BATCH, run
from programs import SMALL, finish, small, start, wait_for_epochs

from experiments.runs.reading import read, read_front

DIGITS = "--dataset digits --no-figures"
ONE_IMAGE = 1 / 143  # of the smallest split of the digits
AT_THRESHOLD = 3  # number of weights that may be pruned in one program only

pytestmark = pytest.mark.slow


def forced(devices: int) -> dict[str, str]:
    own = os.environ.get("XLA_FLAGS", "")  # by conftest
    flags = f"{own} --xla_force_host_platform_device_count={devices}"
    return {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


# The same training


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("small", "2 4"), ("normalised", "4 8"), ("lenet", "2"), ("vgg", "8")],
)
def test_as_on_one_device(name, numbers):
    """Parameters, statistics, moments, masks, means and scores; and the same bits when
    the same program runs twice."""
    out, _ = run(f"compare {name} {numbers}")
    assert out.splitlines() == [f"{name}: {n} devices" for n in numbers.split()]


@pytest.mark.parametrize(
    ("name", "networks", "devices", "rows", "size"),
    [
        ("small", 4, 2, 4, 8),
        ("normalised", 3, 4, 4, 8),  # two at a time: the last is trained twice
    ],
)
def test_several_networks_as_each_alone(name, networks, devices, rows, size):
    out, _ = run(f"both_axes {name} {networks} {devices} {rows} {size}")
    assert out == f"{name}: {networks} networks on {rows} rows, {size} devices\n"


def test_networks_at_once_and_one_after_another():
    assert run("at_once")[0] == "one after another\nat once\n"


# The share of each device


def test_each_device_works_on_an_eighth_of_the_batch(tmp_path):
    """As XLA's text of the programs shows; parameters are whole on each (`compare`)."""
    dump = f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text"
    run("compiled normalised 8", flags=dump, JAX_ENABLE_COMPILATION_CACHE="false")
    for program, rows in (("steps", BATCH), ("evaluate", 200)):
        pattern = f"*.jit_{program}.cpu_after_optimizations.txt"
        (text,) = (file.read_text() for file in tmp_path.glob(pattern))
        assert "num_partitions=8" in text
        assert re.search(r"all-reduce(-start)?\(", text)
        assert f"f32[{rows // 8},28,28,1]" in text
        assert not re.findall(rf"\w+\[{rows},[\d,]+\]", text)


# Whole runs


def test_a_run_continues_on_other_devices(tmp_path, capsys):
    """It begins on 8 devices and continues on one; as a run on one throughout."""
    words = f"{DIGITS} --train-size 64 --epochs 60 --checkpoint-every 10"
    assert small(f"{words} --out {tmp_path / 'whole'}") == 0
    path = tmp_path / "run"
    process = start(SMALL, f"{words} --devices all --out {path}", env=forced(8))
    wait_for_epochs(process, path, 2)
    process.terminate()
    code, _, err = finish(process)
    assert code == 143, err
    assert json.loads((path / "config.json").read_text())["devices"] == "all"
    capsys.readouterr()
    assert small(f"--resume {path}") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(
        r"began with device \{.*'count': 8,.*\}, now \{.*'count': 1,", printed
    )
    assert read(path).summary["finished"]
    found, expected = (read(p).metrics for p in (path, tmp_path / "whole"))
    for row, other in zip(found[1:], expected[1:], strict=True):
        for key in ("objectives", "weights", "test_cross_entropy", "l1"):
            assert row[key] == pytest.approx(other[key], rel=1e-3)
        left, right = (sum(one["nonzeros"].values()) for one in (row, other))
        assert left == pytest.approx(right, abs=AT_THRESHOLD)


def test_a_front_as_on_one_device(tmp_path):
    """Two networks at a time, each on two devices."""
    from fronts import PROGRAM, WORDS

    words, fronts = f"{WORDS} --budget 4 --train-size 128", []
    for number, available in ((1, 1), (2, 4)):
        path = tmp_path / str(number)
        given = f"{words} --devices {number} --out {path}"
        code, _, err = finish(start(PROGRAM, given, env=forced(available)))
        assert (code, err) == (0, "")
        fronts.append(read_front(path))
    assert [point.name for point in fronts[0]] == [f"0-{n}.0" for n in range(1, 5)]
    for one, other in zip(*fronts, strict=True):
        assert one.weights == other.weights
        assert one.objectives == pytest.approx(other.objectives, rel=1e-3)
        for name, value in one.metrics.items():
            same = other.metrics[name]
            if name.endswith("accuracy"):
                assert value == pytest.approx(same, abs=2 * ONE_IMAGE)
            elif name == "nonzero_dense":
                assert value == pytest.approx(same, abs=AT_THRESHOLD)
            elif name == "test_cross_entropy":
                assert value == pytest.approx(same, rel=1e-3)
            elif name not in ("seconds", "nonzero_total"):
                assert value == same
