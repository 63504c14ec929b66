"""Writes that survive a power cut, and stay inside of the folder."""

import errno
import os

import pytest

from experiments.errors import RunDirectoryError
from experiments.runs import files


@pytest.fixture
def calls(monkeypatch):
    """Names of what is synchronized and renamed, in order."""
    found, opened = [], {}

    def watch(name, note):
        function = getattr(os, name)

        def watched(*args, **kwargs):
            result = function(*args, **kwargs)
            note(args, result)
            return result

        monkeypatch.setattr(os, name, watched)

    def opens(args, descriptor):
        opened[descriptor] = os.path.basename(args[0])

    watch("open", opens)
    watch("fsync", lambda args, _: found.append(("fsync", opened.get(args[0]))))
    watch("replace", lambda args, _: found.append(("replace", str(args[1]))))
    return found


def test_the_file_is_on_disk_before_its_name(calls, tmp_path):
    path = files.write(tmp_path, "summary.json", "{}")
    assert path.read_text() == "{}"
    (sync, temporary), rename, folder = calls
    assert (sync, folder) == ("fsync", ("fsync", tmp_path.name))
    assert temporary.startswith(".summary.json.") and temporary.endswith(".partial")
    assert rename == ("replace", str(path))
    assert [own.name for own in tmp_path.iterdir()] == ["summary.json"]


def test_folders_that_others_write_are_synchronized(calls, tmp_path):
    (tmp_path / "model" / "d").mkdir(parents=True)
    (tmp_path / "model" / "d" / "array").write_text("x")
    files.sync_tree(tmp_path / "model")
    names = [name for _, name in calls if name]
    assert set(names) >= {"model", "d"} and names[-1] == tmp_path.name
    assert len(calls) == 4  # and the array


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_synchronize_folders(number, tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    assert files.write(tmp_path, "a", "b").read_text() == "b"


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    files.write(tmp_path, "a", "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write(tmp_path, "a", "new")
    assert [own.name for own in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc/passwd", "a/../../x"])
@pytest.mark.parametrize(
    "act", [files.remove, lambda root, name: files.write(root, name, "")]
)
def test_names_lead_inside(name, act, tmp_path):
    with pytest.raises(RunDirectoryError, match="is no name inside of"):
        act(tmp_path / "run", name)


@pytest.mark.parametrize("link", ["figures", "figures/a.png"])
def test_links_are_refused(link, tmp_path):
    run, outside = tmp_path / "run", tmp_path / "outside"
    (run / link).parent.mkdir(parents=True)
    outside.mkdir()
    (outside / "a.png").write_text("precious")
    (run / link).symlink_to(outside if link == "figures" else outside / "a.png")
    for act in (
        lambda: files.write(run, "figures/a.png", "new"),
        lambda: files.remove(run, "figures/a.png"),
        lambda: files.tidy(run, ["figures"]),
    ):
        with pytest.raises(RunDirectoryError, match=f"{run / link} is a symbolic link"):
            act()
    assert (outside / "a.png").read_text() == "precious"


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "scratch")
    files.write(tmp_path / "run", "figures/a.png", "x")
    files.remove(tmp_path / "run", "figures")
    files.write(tmp_path / "run", "b", "x")
    assert [own.name for own in (tmp_path / "scratch").iterdir()] == ["b"]


def test_what_killed_processes_leave_is_removed(tmp_path):
    left = [
        ".a.0123.partial",
        "figures/.b.0123.partial",
        "model.orbax-checkpoint-tmp/x",
    ]
    left += ["checkpoints/final/3.orbax-checkpoint-tmp/x"]
    kept = ["a", "figures/b.png", ".hidden", "notes.partial", "other/.c.0.partial"]
    for name in (*left, *kept):
        files.write(tmp_path, name, "x")
    files.tidy(
        tmp_path, ["figures", "checkpoints", "model", "model.orbax-checkpoint-tmp"]
    )
    found = {str(own.relative_to(tmp_path)) for own in tmp_path.rglob("*")}
    assert found >= set(kept)
    assert not found & set(left)


def test_a_file_is_measured_before_it_is_read(tmp_path):
    file = tmp_path / "config.json"
    with open(file, "wb") as opened:
        opened.truncate(2**40)
    with pytest.raises(ValueError, match="more than 10 bytes"):
        files.read(file, 10)
