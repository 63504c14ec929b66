"""Checkpoints: exactly what was saved comes back, or damage is reported."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from rich.console import Console

import bopt
from experiments.runs import checkpoints as checkpoints_module
from experiments.runs.checkpoints import Checkpoints
from experiments.runs.directory import RunDirectoryError

NAN = float("nan")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoints"


def opened(path) -> Checkpoints:
    return Checkpoints(path, {"seed": 3}, Console(width=500, markup=False))


def small(step: int) -> dict:
    """A carry of floats that do not compress, integers and flags."""
    generator = np.random.default_rng(step)
    return {
        "w": jnp.asarray(generator.normal(size=500), jnp.float32),
        "count": jnp.asarray(step),
        "mask": jnp.asarray(generator.random(7) < 0.5),
    }


def same(a, b) -> bool:
    """Compare two trees: equal in structure, types and bits."""
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(
        x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in pairs
    )


def fill(path, steps, scores=None) -> None:
    with opened(path) as checkpoints:
        for step, score in zip(steps, scores or [0.5] * len(steps), strict=True):
            checkpoints.save(step, small(step), {"rows": [step]}, score)


# Round trips


def test_a_carry_comes_back_bit_by_bit(path):
    """With an optimizer's state, masks, random keys, NaN, infinity and minus zero."""
    params = {"kernel": jnp.eye(3), "bias": jnp.asarray([1, -0.0], jnp.bfloat16)}
    optimizer = optax.chain(optax.adam(1e-3), bopt.prune(regrow=False))
    carry = {
        "params": params,
        "state": optimizer.init(params),
        "odd": jnp.asarray([NAN, jnp.inf, -jnp.inf, -0.0, 1e-45], jnp.float32),
        "bytes": jnp.arange(3, dtype=jnp.uint8),  # nothing is aligned from here on
        "key": jax.random.key_data(jax.random.key(7)),
        "nothing": (),
    }
    like, expected = jax.tree.map(jnp.zeros_like, carry), jax.device_get(carry)
    with opened(path) as checkpoints:
        checkpoints.save(6, carry, {"loss": NAN, "pair": (1, 2)})
        jax.tree.map(lambda leaf: leaf.delete(), carry)  # as a donated argument is
    with opened(path) as checkpoints:
        saved = checkpoints.restore(like)
    assert saved is not None and saved.step == 6
    assert saved.recorded == {"loss": None, "pair": [1, 2]}
    assert same(jax.device_get(saved.carry), expected)
    where = [leaf.sharding for leaf in jax.tree.leaves(saved.carry)]
    assert where == [leaf.sharding for leaf in jax.tree.leaves(like)]


def test_an_empty_folder_has_no_checkpoint(path, capsys):
    with opened(path) as checkpoints:
        assert checkpoints.restore(small(0)) is None
        assert checkpoints.steps() == []
    assert capsys.readouterr().out == ""


# Which are kept


@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([0.1, 0.9, 0.3, 0.2, 0.4], [1, 3, 4]),
        ([0.1, 0.2, 0.3, 0.4, 0.5], [3, 4]),
        ([0.0, NAN, None, -1.0, NAN], [0, 3, 4]),
    ],
)
def test_the_last_two_and_the_best_are_kept(scores, kept, reopened, path):
    """A process that resumed knew no score of the checkpoints before."""
    if reopened:
        fill(path, range(3), scores[:3])
        fill(path, range(3, 5), scores[3:])
    else:
        fill(path, range(5), scores)
    assert sorted(int(file.name) for file in path.iterdir()) == kept


def test_a_step_is_saved_once(path):
    fill(path, [2, 4])
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    with opened(path) as checkpoints:
        checkpoints.save(4, small(99), {"rows": "others"}, 1.0)
        saved = checkpoints.restore(small(0))
    assert saved is not None and same(saved.carry, small(4))
    assert saved.recorded == {"rows": [4]}
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


# Damage


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def unlink(file: Path) -> None:
    file.unlink()


def restored(path, capsys, newest=6, before=4) -> str:
    """Resume from the newest checkpoint or the one before; return what was printed."""
    with opened(path) as checkpoints:
        saved = checkpoints.restore(small(0))
        printed = capsys.readouterr().out
        assert saved is not None and saved.step in (newest, before)
        assert same(saved.carry, small(saved.step))
        assert saved.recorded == {"rows": [saved.step]}
        if saved.step == newest:
            assert printed == ""
        else:
            first, second = printed.splitlines()
            assert first.startswith(f"Checkpoint {path / str(newest)} is damaged: ")
            assert second == f"Using the checkpoint before, of step {before}."
            assert newest not in checkpoints.steps()
        checkpoints.save(newest, small(newest), {"rows": [newest]}, 0.1)
        checkpoints.save(8, small(8), {"rows": [8]}, 0.1)
        assert checkpoints.steps()[-2:] == [newest, 8]
    return printed


def largest(folder: Path) -> Path:
    files = (file for file in folder.rglob("*") if file.is_file())
    return max(files, key=lambda file: file.stat().st_size)


def edit(path, step: int, **changes) -> None:
    """Change a record."""
    file = path / str(step) / "record" / "metadata"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda folder: flip(largest(folder / "state")), "the checksum differs"),
        (lambda folder: halve(largest(folder / "state")), ""),
        (lambda folder: unlink(folder / "state" / "manifest.ocdbt"), ""),
        (lambda folder: halve(largest(folder / "record")), ""),
        (lambda folder: shutil.rmtree(folder / "record"), ""),
        (  # rows of another run would be believed
            lambda folder: edit(folder.parent, 6, recorded={"rows": [7]}),
            "the checksum differs",
        ),
    ],
    ids=["state-bit", "state-half", "state-lost", "half", "lost", "changed"],
)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(harm, reason, path, capsys):
    """Orbax alone reads a flipped bit in an array without an error."""
    fill(path, [2, 4, 6])
    harm(path / "6")
    printed = restored(path, capsys)
    assert f"6 is damaged: {reason}" in printed


@pytest.mark.slow
@pytest.mark.parametrize("harm", [flip, halve, unlink])
def test_any_damage_is_noticed_or_harmless(
    harm: Callable[[Path], None], path, tmp_path, capsys
):
    fill(path, [2, 4, 6])
    copy, printed = tmp_path / "copy", []
    files = [file for file in (path / "6").rglob("*") if file.is_file()]
    assert len(files) > 8
    for file in files:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(path, copy)
        harm(copy / file.relative_to(path))
        printed.append(restored(copy, capsys))
    assert sum(bool(text) for text in printed) >= 4


def test_two_damaged_checkpoints_are_both_reported(path, capsys):
    fill(path, [2, 4, 6], [0.9, 0.1, 0.2])
    for step in (4, 6):
        edit(path, step, checksum=1)
    with opened(path) as checkpoints:
        saved = checkpoints.restore(small(0))
        assert checkpoints.steps() == [2]
    assert saved is not None and same(saved.carry, small(2))
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in printed] == [
        f"Checkpoint {path / '6'} is damaged",
        f"Checkpoint {path / '4'} is damaged",
        "Using the checkpoint before, of step 2.",
    ]


def test_if_all_are_damaged_it_is_an_error(path):
    fill(path, [2, 4])
    for step in (2, 4):
        edit(path, step, checksum=1)
    message = r"All checkpoints in .*/checkpoints are damaged\. Remove that folder to "
    with opened(path) as checkpoints, pytest.raises(RunDirectoryError, match=message):
        checkpoints.restore(small(0))
    assert {file.name for file in path.iterdir()} == {"2", "4"}  # the user removes them


def test_a_half_written_checkpoint_is_ignored_and_removed(path, capsys):
    """A killed process leaves one."""
    fill(path, [2, 4])
    half = path / "6.orbax-checkpoint-tmp-123"
    shutil.copytree(path / "4" / "state", half / "state.orbax-checkpoint-tmp-7")
    assert restored(path, capsys, newest=4, before=2) == ""
    assert {file.name for file in path.iterdir()} == {"4", "8"}


# Failures


def test_a_full_disk_is_one_error_and_keeps_the_checkpoints_before(path, limit, capfd):
    fill(path, [2, 4])
    message = r"^Cannot write .*/checkpoints: File too large\. The epochs before are in"
    with pytest.raises(RunDirectoryError, match=message), opened(path) as checkpoints:
        limit(1_000)
        checkpoints.save(6, small(6), {"rows": [6]}, 0.1)
    limit(1_000_000)
    with opened(path) as checkpoints:
        saved = checkpoints.restore(small(0))
    assert saved is not None and same(saved.carry, small(4))
    assert capfd.readouterr() == ("", "")


def test_the_first_error_is_reported(path, monkeypatch):
    """Closing fails, too, if a write in the background does."""
    close = ocp.CheckpointManager.close

    def broken(self):
        close(self)
        raise OSError("the second")

    monkeypatch.setattr(ocp.CheckpointManager, "close", broken)
    with pytest.raises(KeyboardInterrupt, match="the first"), opened(path):
        raise KeyboardInterrupt("the first")


# Others


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": jnp.zeros(501)}, r"w is float32\[500\]; expected float32\[501\]\."),
        ({"w": jnp.zeros(500, int)}, r"w is float32\[500\]; expected int32\[500\]\."),
        ({"more": jnp.zeros(2)}, r"more is nothing; expected float32\[2\]\."),
    ],
)
def test_another_model_or_optimizer_is_refused(change, message, path):
    fill(path, [2, 4])
    with opened(path) as checkpoints:
        message = rf"checkpoints/4 belongs to another model or optimizer: {message} Use"
        with pytest.raises(RunDirectoryError, match=message):
            checkpoints.restore(small(0) | change)
        assert checkpoints.steps() == [2, 4]


def test_a_checkpoint_of_a_later_version_is_refused(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints_module, "FORMAT", 999)
        fill(path, [2, 4])
    message = r"/4 was written by a later version .*format is 999; expected 3\. Resume"
    with opened(path) as checkpoints:
        with pytest.raises(RunDirectoryError, match=message):
            checkpoints.restore(small(0))
        assert checkpoints.steps() == [2, 4]


def test_a_folder_that_takes_no_files_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    message = r"Cannot write .*/file/checkpoints: Not a directory\. The epochs"
    with pytest.raises(RunDirectoryError, match=message):
        opened(tmp_path / "file" / "checkpoints").__enter__()
