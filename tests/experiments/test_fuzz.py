"""Changed files of every kind that a program reads: an error of one line, or none.

Never a traceback, a hang, much memory, or a change outside of the folder.
"""

import gzip
import json
import math
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from matplotlib.figure import Figure
from resuming import snapshot

from bopt.sparsity import export
from experiments import figures, report
from experiments.config import Config, FrontConfig
from experiments.data import cifar10, mnist
from experiments.errors import Failure
from experiments.runs import reading, resume

pytestmark = pytest.mark.slow

MOST_SECONDS, MOST_MEGABYTES = 5.0, 1000
MANY = hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large
SHARED = hypothesis.HealthCheck.function_scoped_fixture

TEXTS = st.text(max_size=30) | st.sampled_from(
    ["", "$\\frac{$", "../..", "/etc", "a|b", "\x1b[31m", "nan", "x" * 5000, "\ud800"]
)
NUMBERS = (
    st.integers() | st.floats() | st.sampled_from([2**63, -(10**400), 1e308, -0.0])
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=5,
)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the path of everything in a JSON value but itself."""
    found = []
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            found += [(*path, key), *places(item, (*path, key))]
    return found


@st.composite
def changed_bytes(draw, content: bytes) -> bytes:
    """Cut, flip, insert, repeat or replace bytes."""
    start = draw(st.integers(0, len(content)))
    end = draw(st.integers(start, min(len(content), start + 20)))
    new = draw(st.binary(max_size=8) | st.just(b"\0" * 200) | st.just(b"[" * 10**5))
    cut = content[: draw(st.integers(start, len(content)))]
    return draw(st.sampled_from([content[:start] + new + content[end:], cut, new]))


@st.composite
def changed_json(draw, content: Any) -> str:
    """Replace or remove values of a JSON text, of one object per line."""
    lines = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(lines) or [()]))
        parent = lines
        for key in path[:-1]:
            parent = parent[key]
        if path and draw(st.booleans()) and draw(st.booleans()):
            del parent[path[-1]]
        elif path:
            parent[path[-1]] = draw(VALUES)
    return "".join(json.dumps(line) + "\n" for line in lines)


@st.composite
def changed_table(draw, text: str) -> str:
    """Replace, remove or repeat fields and lines of a CSV text."""
    rows = [line.split(",") for line in text.splitlines()]
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.sampled_from(rows))
        place = draw(st.integers(0, len(row) - 1)) if row else 0
        change = draw(st.sampled_from(["field", "remove", "row", "column"]))
        if change == "field" and row:
            row[place] = draw(TEXTS | NUMBERS.map(str))
        elif change == "remove" and row:
            del row[place]
        elif change == "row":
            rows.append(list(row))
        else:
            for own in rows:
                del own[place : place + 1]
    return "\n".join(",".join(row) for row in rows) + "\n"


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def harmless(call, *known: type[Exception]) -> bool:
    """Call a function; return whether it raised no error. Others than known fail."""
    start = time.process_time()
    try:
        call()
        return True
    except (Failure, *known) as error:
        assert str(error).strip()
        assert "\n" not in str(error).strip() or isinstance(error, ValueError)
        return False
    finally:
        assert time.process_time() - start < MOST_SECONDS


@pytest.fixture(autouse=True)
def little_memory():
    """Fail a test that takes much memory."""

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    before = peak()
    yield
    assert peak() < before + MOST_MEGABYTES


@pytest.fixture
def small_figures(monkeypatch):
    """Figures of few pixels, which are written in a tenth of the time."""
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, file, dpi: save(self, file, dpi=10)
    )


def examples(number: int):
    return hypothesis.settings(
        max_examples=number, suppress_health_check=[*MANY, SHARED], deadline=None
    )


@pytest.fixture(scope="module")
def front_run(trained_front, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    return shutil.copytree(trained_front, folder)


@pytest.fixture(scope="module")
def plain_run(trained_run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    return shutil.copytree(trained_run, folder)


def read(run: Path, options: type) -> None:
    """Read all files of a run."""
    path = str(run)
    harmless(lambda: reading.read(run))
    harmless(lambda: reading.read_front(run))
    harmless(lambda: [*reading.missing(run, True)])
    harmless(lambda: resume.options(resume.stored(path, "small"), options, path))


def use(run: Path, tmp: Path) -> None:
    """Read a run with the programs that only read; nothing else may change."""
    before = snapshot(run)
    harmless(lambda: figures.draw([run], tmp / "figures"))
    shutil.rmtree(tmp / "all", ignore_errors=True)
    shutil.copytree(run, tmp / "all" / "run", ignore=shutil.ignore_patterns("checkp*"))
    harmless(lambda: report.report(tmp / "all"))
    assert snapshot(run) == before
    assert {own.name for own in tmp.iterdir()} <= {"figures", "all"}


FILES = [
    (kind, f"{x}.json") for kind in ("plain", "front") for x in ("config", "summary")
]
FILES += [
    ("plain", "metrics.jsonl"),
    ("front", "metrics.jsonl"),
    ("front", "front.csv"),
]


@pytest.fixture
def each(plain_run, front_run):
    """A function that calls another for each of many changes of a file of a run."""

    def each(kind, name, number, call):
        run = plain_run if kind == "plain" else front_run
        file = run / name
        original = file.read_bytes()
        text = original.decode()
        if name == "front.csv":
            changes = changed_table(text)
        else:
            lines = text.splitlines() if name == "metrics.jsonl" else [text]
            changes = changed_json([json.loads(line) for line in lines])

        @examples(number)
        @hypothesis.given(changes.map(encoded) | changed_bytes(original))
        def changed(new: bytes) -> None:
            try:
                file.write_bytes(new)
                call(run)
            finally:
                file.write_bytes(original)

        changed()

    return each


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_files_of_a_run(kind, name, each):
    options = Config if kind == "plain" else FrontConfig
    each(kind, name, 300, lambda run: read(run, options))


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_programs_that_read_a_run(kind, name, each, tmp_path, small_figures):
    each(kind, name, 10, lambda run: use(run, tmp_path))


def test_published(tmp_path):
    file = tmp_path / "published.csv"
    original = (
        "# Source: x\ntest_accuracy,nonzero_dense,year\n0.99,1000,2020\n0.9,5,1\n"
    )

    @examples(300)
    @hypothesis.given(
        changed_table(original).map(encoded) | changed_bytes(original.encode())
    )
    def changed(new: bytes) -> None:
        file.write_bytes(new)
        harmless(lambda: figures.read_compared(file))

    changed()


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_export(ending, tmp_path):
    file = tmp_path / f"network.{ending}"
    kernel = np.where(np.arange(60).reshape(6, 10) % 7 == 0, 1.5, 0).astype(np.float32)
    tree = {"a": export.csr({"kernel": kernel}), "b": export.masked({"kernel": kernel})}
    export.save(file, tree | {"bias": np.zeros(3)}, {"trained": "today"})
    original = file.read_bytes()

    def read() -> None:
        export.dense(export.load(file)[0])

    @examples(100)
    @hypothesis.given(changed_bytes(original))
    def changed(new: bytes) -> None:
        file.write_bytes(new)
        harmless(read, ValueError)

    changed()


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_export_whose_arrays_do_not_fit(ending, tmp_path):
    """Files that are whole, with other arrays and another header."""
    from bopt.sparsity._array_files import array_format

    file = tmp_path / f"network.{ending}"
    write, read = array_format(file)
    kernel = np.eye(4, 6, dtype=np.float32)
    tree = {"a": export.csr({"k": kernel}), "b": export.masked({"k": kernel})}
    export.save(file, tree)
    header: dict[str, Any] = {}

    def wanted(text: str):
        header.update(json.loads(text))
        names = {"a/k": ("data", "indices", "indptr"), "b/k": ("values", "bits")}
        return {f"{k}/{x}": lambda *_: None for k, own in names.items() for x in own}

    arrays = read(file, wanted)
    whole = st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 7)
    sizes = st.integers(0, 9)
    dtypes = st.sampled_from(["int32", "int64", "float32", "uint8", "float16", "bool"])

    @examples(100)
    @hypothesis.given(st.data())
    def changed(data) -> None:
        own = dict(arrays)
        name = data.draw(st.sampled_from(sorted(own)))
        if data.draw(st.booleans()):
            numbers = data.draw(st.lists(whole, min_size=len(own[name])))
            with np.errstate(all="ignore"):
                kind = data.draw(dtypes | st.just(own[name].dtype.name))
                own[name] = np.array(numbers, np.int64).astype(kind)
        else:
            own[name] = np.resize(own[name], data.draw(sizes))
        text = json.dumps(header)
        if data.draw(st.booleans()):
            text = data.draw(changed_json([header])).strip()
        write(file, own, text)

        def load() -> None:
            dense = export.dense(export.load(file)[0])
            assert all(math.prod(leaf.shape) < 2**20 for leaf in _leaves(dense))

        harmless(load, ValueError)

    changed()


def _leaves(tree: Any) -> list[np.ndarray]:
    if isinstance(tree, dict):
        return [leaf for own in tree.values() for leaf in _leaves(own)]
    return [tree]


def test_idx(tmp_path):
    """Files of MNIST's names and of any content."""
    whole = gzip.compress(bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28] * 9))

    @examples(100)
    @hypothesis.given(
        st.lists(changed_bytes(whole) | st.binary(max_size=50), min_size=4, max_size=4)
    )
    def changed(contents: list[bytes]) -> None:
        for name, content in zip(mnist.FILES, contents, strict=True):
            (tmp_path / name).write_bytes(content)
        assert not harmless(lambda: mnist.from_folder(tmp_path))

    changed()


@pytest.mark.parametrize("archive", [False, True])
def test_cifar10(archive, tmp_path):
    """Files of CIFAR-10's names, of the right size or another."""
    size = 10_000 * 3073

    @examples(20)
    @hypothesis.given(st.binary(max_size=40), st.booleans(), st.sampled_from(range(6)))
    def changed(content: bytes, right: bool, place: int) -> None:
        names = [cifar10.ARCHIVE] if archive else cifar10.FILES
        for number, name in enumerate(names):
            whole = cifar10.ORIGINAL.size if archive else size
            with open(tmp_path / name, "wb") as file:
                if archive or number == place:
                    file.write(content)
                if right or number != place:
                    file.truncate(whole)
        assert not harmless(lambda: cifar10.from_folder(tmp_path))

    changed()
