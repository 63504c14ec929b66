"""CIFAR-10's archive: read as it is, and mistrusted."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from experiments import data
from experiments.data import archives, cifar10

FOLDER = "cifar-10-batches-bin"
# As in the original.
TEXTS = {
    f"{FOLDER}/batches.meta.txt": b"airplane\n",
    f"{FOLDER}/readme.html": b"<html>",
}

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"", **fields) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def tar(members: Iterable[Member], **options) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def usual(batches: dict[str, bytes]) -> list[Member]:
    files = {f"{FOLDER}/{name}": content for name, content in batches.items()}
    folder = member(FOLDER, type=tarfile.DIRTYPE)
    return [folder, *(member(*item) for item in (TEXTS | files).items())]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / cifar10.ARCHIVE


def error(path: Path, original: cifar10.Original | None = None) -> str:
    with pytest.raises(data.DataError) as caught:
        cifar10.read_archive(path, original)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith(" Replace it by an intact copy.")
    return message.removeprefix(f"{path}: ")


def as_original(content: bytes) -> cifar10.Original:
    return cifar10.Original(len(content), hashlib.sha256(content).hexdigest())


# Intact


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_the_archive_gives_what_its_files_give(cifar10_batches, path, format):
    members = tar(usual(cifar10_batches), format=format)
    path.write_bytes(gzip.compress(members))
    images, labels = cifar10.read_archive(path)
    for name, content in cifar10_batches.items():
        (path.parent / name).write_bytes(content)
    expected = cifar10.read_files(path.parent)
    assert (images == expected[0]).all()
    assert (labels == expected[1]).all()


def test_the_full_size(tmp_path, path, monkeypatch):
    records = np.zeros((10_000, 3_073), np.uint8)
    records[:, 0] = np.arange(10_000) % 10
    content = records.tobytes()
    members = usual(dict.fromkeys(cifar10.FILES, content))
    path.write_bytes(gzip.compress(tar(members), 1))
    monkeypatch.setattr(cifar10, "ORIGINAL", as_original(path.read_bytes()))
    loaded = data.load("auto", tmp_path, preferred="cifar10")
    assert loaded.source == f"original archive {path}"
    assert loaded.images.shape == (60_000, 32, 32, 3)
    assert (loaded.labels == np.arange(60_000) % 10).all()


# Another than the original


def test_another_checksum_with_the_right_files(cifar10_batches, path):
    content = gzip.compress(tar(usual(cifar10_batches)))
    original = as_original(content)
    changed = bytearray(content)
    changed[4] ^= 1  # a time in the header
    path.write_bytes(changed)
    found = hashlib.sha256(changed).hexdigest()
    message = error(path, original)
    assert message.startswith(
        f"wrong SHA-256: found {found}, expected {original.sha256}."
    )


def test_another_size_with_the_right_files(cifar10_batches, path):
    content = gzip.compress(tar(usual(cifar10_batches)))
    path.write_bytes(content)
    message = error(path, cifar10.ORIGINAL)
    assert f"wrong size: found {len(content)} bytes, expected 170052171." in message


def test_a_copy_in_the_folder_must_be_the_original(cifar10_batches, path):
    path.write_bytes(gzip.compress(tar(usual(cifar10_batches))))
    expected = (
        f"{path}: wrong size: .*expected 170052171. Replace it by the original from "
        f"{cifar10.ADDRESS}, or name another --data-dir"
    )
    with pytest.raises(data.DataError, match=expected):
        data.load("cifar10", path.parent)


@pytest.mark.parametrize("missing", [1, 8, 9, 1_000, 100_000])
def test_a_truncated_archive_is_told_by_its_size(cifar10_batches, path, missing):
    content = gzip.compress(tar(usual(cifar10_batches)))
    path.write_bytes(content[:-missing])
    stop = f"the gzip data stop after {len(content) - missing} bytes, expected "
    assert f"truncated: {stop}{len(content)} bytes." in error(
        path, as_original(content)
    )
    assert f"truncated: {stop}their end mark." in error(path)


def test_an_empty_archive(path):
    path.touch()
    message = error(path, cifar10.ORIGINAL)
    assert message.startswith("truncated: found 0 bytes, expected 170052171 bytes.")
    assert error(path).startswith("truncated: found 0 bytes, expected gzip data.")


# Damaged


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"<html>not found</html>", "damaged: expected intact gzip data, found: Not a"),
        (gzip.compress(b"<html>"), "damaged: expected an intact tar archive, found: "),
        (gzip.compress(b""), "damaged: expected an intact tar archive, found: empty"),
        (gzip.compress(tar([])), "incomplete: cifar-10-batches-bin/data_batch_1.bin, "),
    ],
    ids=["no gzip", "no tar", "nothing", "no files"],
)
def test_no_archive_of_this_kind(path, content, expected):
    path.write_bytes(content)
    assert error(path, cifar10.ORIGINAL).startswith(expected)


def test_a_flipped_bit(cifar10_batches, path):
    content = bytearray(gzip.compress(tar(usual(cifar10_batches))))
    content[-8] ^= 1
    path.write_bytes(content)
    assert "damaged: expected intact gzip data, found: CRC check failed" in error(path)


def test_an_archive_cut_off_before_it_was_packed(cifar10_batches, path):
    # The last file's records end in the middle.
    content = tar(usual(cifar10_batches)).rstrip(b"\0")[:-1_000]
    path.write_bytes(gzip.compress(content))
    message = error(path)
    assert "damaged: expected an intact tar archive, found: unexpected end" in message


def test_headers_that_tarfile_stumbles_over(cifar10_batches, path):
    # A sparse file's map must be numbers; so many nested headers are too many.
    for fields in ({"GNU.sparse.map": "?"}, {"GNU.sparse.size": "?"}):
        odd = member("odd", pax_headers=fields)
        content = tar([odd, *usual(cifar10_batches)], format=tarfile.PAX_FORMAT)
        path.write_bytes(gzip.compress(content))
        assert "damaged: expected an intact tar archive, found: inval" in error(path)
    nested = tar([member("odd" * 50)], format=tarfile.GNU_FORMAT)[:1_024] * 1_000
    path.write_bytes(gzip.compress(nested))
    assert "expected an intact tar archive, found: maximum recursion" in error(path)


@pytest.mark.parametrize("name", cifar10.FILES)
def test_missing_files_are_named(cifar10_batches, path, name):
    del cifar10_batches[name]
    path.write_bytes(gzip.compress(tar(usual(cifar10_batches))))
    assert error(path).startswith(f"incomplete: {FOLDER}/{name} not found, expected in")


def test_a_wrong_label_is_named_with_its_file(cifar10_batches, path):
    name = "data_batch_4.bin"
    cifar10_batches[name] = b"\xff" + cifar10_batches[name][1:]
    path.write_bytes(gzip.compress(tar(usual(cifar10_batches))))
    assert error(path).startswith(
        f"{name}: wrong label: found 255 at position 0, expec"
    )


# Hostile


HOSTILE = {
    "absolute path": (member("/etc/passwd"), "found a path out of the archive"),
    "path up": (member(f"{FOLDER}/../../x"), "found a path out of the archive"),
    "folder up": (member("..", type=tarfile.DIRTYPE), "found a path out of"),
    "symbolic link": (
        member(f"{FOLDER}/test_batch.bin", type=tarfile.SYMTYPE, linkname="/etc"),
        "found a link to '/etc', expected a file or a folder",
    ),
    "hard link": (
        member("x", type=tarfile.LNKTYPE, linkname=f"{FOLDER}/test_batch.bin"),
        f"found a link to '{FOLDER}/test_batch.bin', expected a file or a folder",
    ),
    "character device": (member("x", type=tarfile.CHRTYPE), "found a device or a"),
    "block device": (member("x", type=tarfile.BLKTYPE), "found a device or a spec"),
    "pipe": (member("x", type=tarfile.FIFOTYPE), "found a device or a special"),
    "unknown type": (member("x", type=b"Z"), "found a device or a special file"),
    "sparse file": (
        member("x", pax_headers={"GNU.sparse.map": "0,0", "GNU.sparse.size": "9"}),
        "found a device or a special file",
    ),
    "file too small": (
        member(f"{FOLDER}/data_batch_2.bin", b"!"),
        "found 1 bytes, expected 61460",
    ),
    "file too large": (
        member(f"{FOLDER}/data_batch_2.bin", bytes(61_461)),
        "found 61461 bytes, expected 61460",
    ),
    "folder for a file": (
        member(f"{FOLDER}/data_batch_2.bin", type=tarfile.DIRTYPE),
        "found 0 bytes, expected 61460",
    ),
    "other file too large": (
        member("x", bytes(1_000_001)),
        "found 1000001 bytes, expected at most 1000000 in any other file",
    ),
}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("hostile", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_members_are_named(cifar10_batches, path, hostile, expected, last):
    if len(hostile[1]) > archives.REST:  # or the archive is refused before it
        cifar10_batches.pop("test_batch.bin")
    members = usual(cifar10_batches)
    members.insert(len(members) if last else 0, hostile)
    path.write_bytes(gzip.compress(tar(members), 1))
    message = error(path, cifar10.ORIGINAL)
    assert message.startswith(f"member {hostile[0].name!r}: {expected}")


def test_a_gzip_bomb_is_not_unpacked(cifar10_batches, path):
    import tracemalloc

    bomb = gzip.compress(bytes(50_000_000), 9)
    path.write_bytes(gzip.compress(tar(usual(cifar10_batches))) + bomb)
    tracemalloc.start()
    try:
        message = error(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    limit = 6 * 20 * 3_073 + 1_000_000
    assert message.startswith(f"wrong size: found more than {limit} bytes in the gzip")
    assert peak < 10_000_000


def test_nothing_is_written(cifar10_batches, path):
    path.write_bytes(gzip.compress(tar(usual(cifar10_batches))))
    before = sorted(path.parent.rglob("*"))
    cifar10.read_archive(path)
    assert sorted(path.parent.rglob("*")) == before


def test_no_such_archive(path):
    assert "No such file" in error(path)
