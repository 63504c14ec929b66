"""Forms of pruned parameters: they come back bit by bit, from memory and from files."""

# NumPy's stubs take np.float32 of a list for a conversion of one number.
# pyright: reportArgumentType=false

import builtins
import json
import os
import re
import zipfile
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np
import pytest
import scipy.sparse
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bopt.sparsity import export

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
FORMS = {"masked": export.masked, "csr": export.csr}
values = st.sampled_from([0.0, 0.0, 1.5, -2.0, np.nan, np.inf, 1e-7])
kernels = arrays(
    np.float32, st.tuples(st.integers(0, 5), st.integers(0, 9)), elements=values
)


def params(kernel):
    return {"Dense_0": {"kernel": kernel, "bias": np.arange(3.0)}, "step": np.int32(4)}


def same(found, expected):
    def check(a, b):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)

    jax.tree.map(check, found, expected)


@given(kernels)
@pytest.mark.parametrize("name", FORMS)
def test_dense_undoes_each_form(name, kernel):
    packed = FORMS[name](params(kernel))
    assert type(packed["Dense_0"]["kernel"]) is not np.ndarray
    same(export.dense(packed), jax.tree.map(np.asarray, params(kernel)))


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("name", ["plain", *FORMS])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_what_is_saved_is_loaded(name, dtype, ending, tmp_path):
    if name == "csr" and dtype in (np.float16, ml_dtypes.bfloat16):
        pytest.skip("SciPy has no such matrices")
    kernel = np.array([[0, 1.5, 0], [0, 0, -2], [0, 0, 0]]).astype(dtype)
    tree = FORMS.get(name, lambda tree: tree)(params(kernel))
    path = tmp_path / f"network.{ending}"
    export.save(path, tree, {"a": "b"})
    loaded, metadata = export.load(path)
    assert metadata == {"a": "b"}
    assert type(loaded["Dense_0"]["kernel"]) is type(tree["Dense_0"]["kernel"])
    same(export.dense(loaded), jax.tree.map(np.asarray, params(kernel)))
    assert [*tmp_path.iterdir()] == [path]


NARROW = ["float8_e4m3fn", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]
NARROW += ["int4", "uint4", "float4_e2m1fn"]
OTHER = ["bool", "int8", "uint16", "int64", "uint64", "complex64"]
OTHER += [">f4", ">i8"]  # another machine's order of bytes


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("name", [*NARROW, *OTHER])
def test_dtypes(name, ending, tmp_path):
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    kernel = np.array([[1, 2, 1], [2, 1, 1]]).astype(dtype)
    path = tmp_path / f"network.{ending}"
    for form in (export.masked, lambda tree: tree):
        export.save(path, form({"kernel": kernel}))
        found = export.dense(export.load(path)[0])["kernel"]
        assert (found.dtype.name, found.dtype.isnative) == (dtype.name, True)
        np.testing.assert_array_equal(found, kernel)


class Layer(NamedTuple):
    kernel: Any
    bias: Any


LAYER = {"kernel": np.eye(3, dtype=np.float32), "bias": np.zeros(3, np.float32)}
BOXED = nnx.state(
    nnx.List([nnx.Linear(3, 3, rngs=nnx.Rngs(0)), nnx.Linear(3, 3, rngs=nnx.Rngs(1))])
)
TREES = {
    "Haiku": ({"mlp/~/linear_0": LAYER}, {"mlp": {"~": {"linear_0": LAYER}}}),
    "list": ([LAYER, (LAYER,)], {"0": LAYER, "1": {"0": LAYER}}),
    "integer keys": ({7: {0: LAYER}}, {"7": {"0": LAYER}}),
    "attributes": ({"a": Layer(**LAYER)}, {"a": LAYER}),
    "NNX": (
        BOXED,
        {str(n): {k: v[...] for k, v in BOXED[n].items()} for n in range(2)},
    ),
    "nothing": ({}, {}),
}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("form", [lambda tree: tree, export.masked, export.csr])
def test_trees_of_all_kinds(name, form, tmp_path):
    tree, expected = TREES[name]
    packed = form(tree)
    export.save(tmp_path / "a.npz", packed)
    loaded, _ = export.load(tmp_path / "a.npz")
    if name == "NNX":  # whose boxes may have a key of their own
        own = [jax.tree.leaves(export.dense(own)) for own in (loaded, expected)]
        same(*own)
    else:
        same(export.dense(loaded), expected)
    same(export.dense(packed), jax.tree.map(np.asarray, tree))


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_a_file_is_whole_or_as_it_was(ending, tmp_path, monkeypatch):
    path, link = tmp_path / f"a.{ending}", tmp_path / f"link.{ending}"
    export.save(path, {"kernel": np.eye(3)})
    before = path.read_bytes()
    link.symlink_to(path.name)

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            export.save(link, {"kernel": np.eye(9)})
    assert path.read_bytes() == before
    assert {*tmp_path.iterdir()} == {path, link}
    export.save(link, {"kernel": np.eye(9)})
    assert link.is_symlink()
    assert export.load(path)[0]["kernel"].shape == (9, 9)


def test_no_file_needs_pickle(tmp_path):
    path = tmp_path / "network.npz"
    export.save(path, export.csr(params(np.eye(3))))
    with zipfile.ZipFile(path) as file:
        assert all(b"O" not in file.read(name)[:80] for name in file.namelist())


def test_bytes():
    kernel = np.zeros((100, 100), np.float32)
    kernel[:5, 0] = 1
    tree = {"kernel": kernel}
    assert export.nbytes(tree) == 40_000
    assert export.nbytes(export.masked(tree)) == 5 * 4 + 10_000 // 8
    assert export.nbytes(export.csr(tree)) == 5 * (4 + 4) + 101 * 4


def test_of_other_ranks():
    tree = {"conv": np.ones((3, 3, 1, 2), np.float32) * np.float32([0, 1])}
    same(export.dense(export.masked(tree, 4)), tree)
    with pytest.raises(ValueError, match=r"conv of shape \(3, 3, 1, 2\); expected mat"):
        export.csr(tree, 4)


ONE = np.ones(1)
UNSORTED = scipy.sparse.csr_array(
    (np.ones(2), np.array([1, 0]), np.array([0, 2])), shape=(1, 2)
)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda path: export.save(path / "a.pkl", {}), "ends in '.pkl'; expected .npz"),
        (lambda path: export.load(path / "a"), "ends in ''; expected .npz or .safet"),
        (
            lambda path: export.save(path / "a.npz", {"a/b": ONE, "a": {"b": ONE}}),
            "save got the path 'a/b' with control characters or twice",
        ),
        (
            lambda path: export.save(path / "a.npz", {"a": ONE, "a/b/c": ONE}),
            "save got a leaf 'a' and, within it, 'a/b/c'",
        ),
        (lambda path: export.save(path / "a.npz", {"a\0": ONE}), r"path 'a\\x00'"),
        (
            lambda path: export.save(path / "a.npz", {"k": jax.random.key(0)}),
            r"got k of dtype key<fry>; expected numbers .* jax.random.key_data of a P",
        ),
        (lambda path: export.save(path / "a.npz", {"a": "relu"}), "a of dtype str"),
        (lambda path: export.save(path / "a.npz", {"a": ONE.astype("O")}), "dtype obj"),
        (lambda path: export.save(path / "a.npz", {"a": ONE.astype("M8[s]")}), "dtype"),
        (
            lambda path: export.save(path / "a.safetensors", {"a": ONE.astype("G")}),
            r"a\.safetensors cannot be a .safetensors file: .*complex256",
        ),
        (
            lambda path: export.save(path / "a.npz", {"a": UNSORTED}),
            "a/indices does not increase within each row",
        ),
        (
            lambda _: export.masked({"a": ONE[None], "key": jax.random.key(0)}),
            "got key",
        ),
        (lambda _: export.masked({"a": np.ones(1)}), "where=2 matches none"),
    ],
)
def test_wrong_input_is_named(call, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


CUTS = [slice(0, None), slice(40, None), slice(300, None), slice(100, 101)]


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_a_damaged_file(ending, cut, tmp_path):
    """Cause: without a byte in the middle, zipfile seeks to -1, an OSError."""
    path = tmp_path / f"network.{ending}"
    export.save(path, params(np.eye(3)))
    content = bytearray(path.read_bytes())
    del content[cut]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"network.{ending} is damaged, or was not"):
        export.load(path)


def test_a_file_of_another_program(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    with pytest.raises(ValueError, match=r"a\.npz is damaged, or was not written by"):
        export.load(tmp_path / "a.npz")
    with pytest.raises(
        FileNotFoundError, match=r"nowhere/a\.npz cannot be written: the"
    ):
        export.save(tmp_path / "nowhere/a.npz", {"w": np.ones(2)})
    with pytest.raises(FileNotFoundError):
        export.load(tmp_path / "b.npz")


def test_without_safetensors(monkeypatch, tmp_path):
    real = builtins.__import__

    def fake(name, *args):
        if name.startswith("safetensors"):
            raise ImportError(name)
        return real(name, *args)

    path = tmp_path / "a.safetensors"
    export.save(path, {"a": np.ones(1)})
    monkeypatch.setattr(builtins, "__import__", fake)
    for use in (
        lambda: export.save(path, {"a": np.ones(1)}),
        lambda: export.load(path),
    ):
        with pytest.raises(ImportError, match="pip install safetensors"):
            use()


# Files that do not fit together


def stored(path, **changes):
    """Save a kernel as CSR and as bits; change arrays of the file."""
    kernel = np.eye(4, 6, dtype=np.float32)
    tree = {"csr": export.csr({"k": kernel}), "bits": export.masked({"k": kernel})}
    export.save(path, tree)
    content = dict(np.load(path))
    content |= {name.replace("__", "/"): value for name, value in changes.items()}
    np.savez_compressed(path, **content)
    return path


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("csr__k__indices", [0, 1, 2, 6], "csr/k/indices has 0 to 6; expected 0 to 5"),
        ("csr__k__indices", [0, 1, 2, -1], "csr/k/indices has -1 to 2; expected 0 to"),
        ("csr__k__indices", [0, 1, 2], "csr/k/indptr does not lead from 0 to 4"),
        ("csr__k__indices", [0.0, 1, 2, 3], "csr/k/indices has shape"),
        ("csr__k__indptr", [0, 2, 1, 3, 4], "csr/k/indptr does not lead from 0 to 4"),
        ("csr__k__indptr", [0, 1, 2, 3, 9], "csr/k/indptr does not lead from 0 to 4"),
        ("csr__k__indptr", [0, 4, 4, 4, 4], None),
        ("csr__k__data", np.ones((2, 2)), "csr/k/data has shape"),
        ("bits__k__bits", [255, 255, 255], "bits/k/bits has 24 ones; expected 4, the"),
        ("bits__k__bits", [1], "bits/k/bits has shape"),
        ("bits__k__values", np.ones(99), "bits/k/values has shape"),
    ],
)
def test_load_checks_the_structure(name, array, message, tmp_path):
    array = np.asarray(array)
    if array.dtype == np.int64:
        array = array.astype(np.uint8 if "bits" in name[-4:] else np.int32)
    elif array.dtype == np.float64 and name != "csr__k__indices":
        array = array.astype(np.float32)
    path = stored(tmp_path / "n.npz", **{name: array})
    if message is None:
        assert export.dense(export.load(path)[0])["csr"]["k"].sum() == 4
        return
    with pytest.raises(ValueError, match=re.escape(message)):
        export.load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shape", [10**12, 1]),
        ("shape", [-4, -6]),
        ("shape", ["4", 6]),
        ("form", "pickle"),
        ("dtypes", {"array": "object"}),
        ("dtypes", {}),
    ],
)
def test_load_checks_the_header(key, value, tmp_path):
    path = stored(tmp_path / "n.npz")
    content = dict(np.load(path))
    header = json.loads(str(content["bopt"]))
    header["leaves"]["csr/k"][key] = value
    np.savez_compressed(path, **content | {"bopt": np.array(json.dumps(header))})
    with pytest.raises(ValueError, match=r"n\.npz is damaged, or was not written by"):
        export.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda leaves, _: leaves["a"].update(form="pickle"),
            "a has the unknown form 'pickle'",
        ),
        (
            lambda leaves, _: leaves.update(csr=leaves["a"]),
            "csr is a leaf and a folder",
        ),
        (
            lambda leaves, _: leaves["bits/k"]["dtypes"].update(bits="int8"),
            "bits/k/bits has dtype int8; expected uint8",
        ),
        (
            lambda leaves, _: leaves["csr/k"]["dtypes"].update(indices="float32"),
            "csr/k/indices has dtype float32; expected integers",
        ),
        (
            lambda leaves, _: leaves["csr/k"].update(shape=[4, 6, 1]),
            "csr/k has shape (4, 6, 1); expected a matrix",
        ),
        (
            lambda _, content: content.update(bopt=content["bopt"][None]),
            "bytes, shape (1,)",
        ),
    ],
)
def test_load_checks_that_header_and_arrays_belong_together(change, message, tmp_path):
    path = stored(tmp_path / "n.npz")
    array = {"form": "array", "shape": [4], "dtypes": {"array": "float32"}}
    content = dict(np.load(path)) | {"a/array": np.ones(4, np.float32)}
    content["csr/array"] = content["a/array"]
    header = json.loads(str(content["bopt"]))
    header["leaves"]["a"] = array
    change(header["leaves"], changes := {"bopt": np.array("")})
    changes["bopt"] = np.full(changes["bopt"].shape, json.dumps(header))
    np.savez_compressed(path, **content | changes)
    with pytest.raises(ValueError, match=re.escape(message)):
        export.load(path)


def test_an_array_that_is_cut_off(tmp_path):
    path = stored(tmp_path / "n.npz")
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["csr/k/data.npy"] = files["csr/k/data.npy"][:-1]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match="csr/k/data has other bytes than float32"):
        export.load(path)


def test_arrays_that_no_leaf_names_are_not_read(tmp_path):
    path = stored(tmp_path / "n.npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("junk.npy", b"no array")
    assert set(export.load(path)[0]) == {"csr", "bits"}
