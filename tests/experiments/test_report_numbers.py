"""Numbers of the page of results: means, differences, the runs of a folder."""

import json
import math
from pathlib import Path

import pytest
from drawing import filled
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.report import read_results
from experiments.report_tables import Mean, difference
from experiments.runs import schema

numbers = st.floats(-1e6, 1e6)
means = st.builds(Mean, numbers, st.floats(0, 1e3), st.integers(2, 9))


@given(means, means)
def test_welch_s_t_decides(first, second):
    found = difference(first, second)
    assert found.value == first.mean - second.mean
    expected = 0 if abs(found.value) <= found.margin else (1 if found.value > 0 else -1)
    assert found.verdict == expected
    assert difference(second, first).verdict == -expected
    if max(first.deviation, second.deviation) > 1e-6:
        p = stats.ttest_ind_from_stats(*first, *second, equal_var=False).pvalue
        assert abs(p - 0.05) < 1e-9 or (p < 0.05) == bool(expected)


@given(means, numbers)
def test_one_seed_has_no_verdict(first, value):
    alone = Mean(value, 0.0, 1)
    assert difference(first, alone).verdict is None
    assert difference(alone, first).verdict is None


def test_a_diverged_run_has_no_verdict():
    assert difference(Mean(math.nan, 1.0, 3), Mean(0.0, 1.0, 3)).verdict is None


def written(path: Path, **config) -> None:
    path.mkdir(parents=True)
    config = filled(schema.Config, {"experiment": "mnist_lenet", **config})
    (path / "config.json").write_text(json.dumps(config))


def test_the_runs_of_a_folder(tmp_path):
    """In the order of reproduce, then others; means of seeds; without a summary."""
    for name in ("a", "mnist/madam", "mnist/sgd", "mnist/sgd/seed-0", "b/c"):
        written(tmp_path / name, name=name)
    summary = filled(schema.Summary, {"finished": True})
    (tmp_path / "a" / "summary.json").write_text(json.dumps(summary))
    found = list(read_results(tmp_path))
    names = [result.config["name"] for result in found]
    assert names == ["mnist/sgd", "mnist/madam", "a", "b/c"]
    assert [result.summary for result in found] == [{}, {}, summary, {}]


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ({"l1": 2.0}, Mean(2.0, 0.0, 1)),
        ({"l1": None}, Mean(math.nan, 0.0, 1)),
        ({"l1": 2.0, "seeds": [0, 1], "deviation": {"l1": 0.5}}, Mean(2.0, 0.5, 2)),
    ],
)
def test_means_of_a_summary(summary, expected, tmp_path):
    written(tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text(
        json.dumps(filled(schema.Summary, summary))
    )
    (result,) = read_results(tmp_path)
    assert result.mean("l1") == pytest.approx(expected, nan_ok=True)
