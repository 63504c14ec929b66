"""Checkpoints: bit by bit what was saved, or a word that it is not."""

import gc
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from networks import Normalised, made, noise
from rich.console import Console

import bopt
from experiments.runs import checkpoints as checkpoints_module
from experiments.runs.checkpoints import Checkpoints
from experiments.runs.directory import RunDirectoryError

NAN = float("nan")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoints"


def opened(path, config=None) -> Checkpoints:
    return Checkpoints(path, config or {"seed": 3}, Console(width=500, markup=False))


def small(step: int) -> dict:
    """A carry: floats that do not compress, integers, flags."""
    generator = np.random.default_rng(step)
    return {
        "w": jnp.asarray(generator.normal(size=500), jnp.float32),
        "count": jnp.asarray(step),
        "mask": jnp.asarray(generator.random(7) < 0.5),
    }


def same(a, b) -> bool:
    """Whether two trees are equal, types and bits and all."""
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


def made_trainer():
    """With batch statistics, dropout, moments, masks and groups of layers."""
    optimizer = optax.chain(bopt.mrmsprop(1e-2), bopt.prune(regrow=False))
    return made(Normalised(), optimizer, noise(96, 48, 16), split=True)


def test_a_trainer_comes_back_bit_by_bit_and_goes_on_the_same(path):
    """What is saved is copied: training on at once must not change it."""
    trainer, other = made_trainer(), made_trainer()
    list(trainer.epoch(1))
    there = jax.device_get(trainer.carry)
    with opened(path) as checkpoints:
        checkpoints.save(6, trainer.carry, {"rows": [{"l1": 1.5, "weights": None}]})
        for epoch in (2, 3, 4):  # its buffers are given to the next steps
            list(trainer.epoch(epoch))
    assert not same(jax.device_get(trainer.carry), there)
    with opened(path) as checkpoints:
        saved = checkpoints.restore(other.carry)
    assert saved is not None and saved.step == 6
    assert saved.recorded == {"rows": [{"l1": 1.5, "weights": None}]}
    assert type(saved.carry) is type(trainer.carry)
    assert same(jax.device_get(saved.carry), there)
    other.carry = saved.carry
    for epoch in (2, 3, 4):
        list(other.epoch(epoch))
    assert same(jax.device_get(other.carry), jax.device_get(trainer.carry))


def test_numbers_that_are_none_and_keys(path):
    """NaN, infinity and minus zero keep their bits; so do keys as data."""
    carry = {
        "odd": jnp.asarray([NAN, jnp.inf, -jnp.inf, -0.0, 1e-45], jnp.float32),
        "bytes": jnp.arange(256, dtype=jnp.uint8),
        "half": jnp.asarray([1.0, -0.0, NAN], jnp.bfloat16),
        "key": jax.random.key_data(jax.random.key(7)),
        "none": jnp.zeros((1,), bool),
    }
    with opened(path) as checkpoints:
        checkpoints.save(1, carry, {"loss": NAN, "pair": (1, 2)})
        saved = checkpoints.restore(jax.tree.map(jnp.zeros_like, carry))
    assert saved is not None and same(saved.carry, carry)
    assert saved.recorded == {"loss": None, "pair": [1, 2]}


def test_there_may_be_none(path, capsys):
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
        ([NAN, 0.1, None, 0.05, NAN], [1, 3, 4]),
        ([0.0, NAN, None, -1.0, NAN], [0, 3, 4]),
    ],
)
def test_the_last_two_and_the_best(scores, kept, reopened, path):
    """Cause of `reopened`: a process that went on knew no score of those before, and
    kept them all, for ever."""
    if reopened:
        for step, score in enumerate(scores):
            fill(path, [step], [score])
    else:
        fill(path, range(5), scores)
    with opened(path) as checkpoints:
        assert checkpoints.steps() == kept
    assert sorted(int(file.name) for file in path.iterdir()) == kept


def test_a_step_that_is_there_is_not_saved_again(path):
    fill(path, [2, 4])
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    with opened(path) as checkpoints:
        checkpoints.save(4, small(99), {"rows": "others"}, 1.0)
        saved = checkpoints.restore(small(0))
    assert saved is not None and same(saved.carry, small(4))
    assert saved.recorded == {"rows": [4]}
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


# Damage


def flip(file) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def halve(file) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def restored(path, said, capsys, newest=6, before=4) -> str:
    """Goes on from a damaged folder: with what was saved last, or before."""
    with opened(path) as checkpoints:
        saved = checkpoints.restore(small(0))
        told = capsys.readouterr().out
        assert saved is not None, said
        assert saved.step in (newest, before), said
        assert same(saved.carry, small(saved.step)), said
        assert saved.recorded == {"rows": [saved.step]}, said
        damaged = f"Checkpoint {path / str(newest)} is damaged: "
        if saved.step == newest:
            assert told == "", said
        else:
            assert told.startswith(damaged), said
            assert f"The one before is used, of step {before}.\n" in told, said
            assert newest not in checkpoints.steps(), said
        checkpoints.save(8, small(8), {"rows": [8]}, 0.1)  # and it goes on
        assert checkpoints.steps()[-2:] == [saved.step, 8], said
    return told


@pytest.mark.parametrize("harm", [flip, halve, lambda file: file.unlink()])
def test_any_damage_is_noticed_or_does_no_harm(harm, path, tmp_path, capsys):
    """Cause: Orbax alone reads a flipped bit in an array without a word."""
    fill(path, [2, 4, 6])
    copy, told = tmp_path / "copy", []
    inside = [file.relative_to(path) for file in (path / "6").rglob("*")]
    files = [name for name in inside if (path / name).is_file()]
    assert len(files) > 10
    for name in files:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(path, copy)
        harm(copy / name)
        told.append(restored(copy, name, capsys))
    gc.collect()  # the warnings come now
    assert sum(bool(text) for text in told) >= 4
    if harm is flip:
        assert any("its state is not what was written" in text for text in told)


@pytest.mark.parametrize("folder", ["state", "record"])
def test_a_folder_that_is_lost(folder, path, capsys):
    fill(path, [2, 4, 6])
    shutil.rmtree(path / "6" / folder)
    assert "6 is damaged: " in restored(path, folder, capsys)


def edit(path, step: int, **changes) -> None:
    """Changes what a record says."""
    file = path / str(step) / "record" / "metadata"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_record_that_was_changed_is_damaged(path, capsys):
    """Rows of another run beside this one's parameters would be believed."""
    fill(path, [2, 4, 6])
    edit(path, 6, recorded={"rows": [7]})
    assert "its record is not what was written" in restored(path, "rows", capsys)


def test_two_damaged_ones(path, capsys):
    fill(path, [2, 4, 6], [0.9, 0.1, 0.2])
    for step in (4, 6):
        edit(path, step, checksum=1)
    with opened(path) as checkpoints:
        saved = checkpoints.restore(small(0))
        assert checkpoints.steps() == [2]
    assert saved is not None and same(saved.carry, small(2))
    said = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in said] == [
        f"Checkpoint {path / '6'} is damaged",
        f"Checkpoint {path / '4'} is damaged",
        "The one before is used, of step 2.",
    ]


def test_all_damaged(path):
    fill(path, [2, 4])
    for step in (2, 4):
        edit(path, step, checksum=1)
    message = r"None of the checkpoints in .*/checkpoints can be read\. Remove that"
    with opened(path) as checkpoints, pytest.raises(RunDirectoryError, match=message):
        checkpoints.restore(small(0))
    assert {file.name for file in path.iterdir()} == {"2", "4"}  # the user's to remove


# Others


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": jnp.zeros(501)}, r"has float32\[500\] as w; expected float32\[501\]"),
        ({"w": jnp.zeros(500, int)}, r"float32\[500\] as w; expected int32\[500\]"),
        ({"more": jnp.zeros(2)}, r"has nothing as more; expected float32\[2\]"),
    ],
)
def test_another_model_or_optimizer(change, message, path):
    fill(path, [2, 4])
    with opened(path) as checkpoints:
        message = rf"checkpoints/4 is of another model or optimizer: .*{message}"
        with pytest.raises(RunDirectoryError, match=message):
            checkpoints.restore(small(0) | change)
        assert checkpoints.steps() == [2, 4]


def test_one_of_a_later_version(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints_module, "FORMAT", 999)
        fill(path, [2, 4])
    message = r"checkpoints/4 is of format 999, which a later version of bopt wrote"
    with opened(path) as checkpoints:
        with pytest.raises(RunDirectoryError, match=message):
            checkpoints.restore(small(0))
        assert checkpoints.steps() == [2, 4]


def test_a_half_written_one_is_ignored_and_removed(path, capsys):
    """What a killed process leaves."""
    fill(path, [2, 4])
    half = path / "6.orbax-checkpoint-tmp-123"
    shutil.copytree(path / "4" / "state", half / "state.orbax-checkpoint-tmp-7")
    assert restored(path, "half", capsys, newest=4, before=2) == ""
    assert {file.name for file in path.iterdir()} == {"4", "8"}


def test_a_folder_that_takes_no_files(tmp_path):
    (tmp_path / "file").write_text("")
    message = r"Cannot write .*/file/checkpoints: Not a directory\. The checkpoints"
    with pytest.raises(RunDirectoryError, match=message):
        opened(tmp_path / "file" / "checkpoints").__enter__()
