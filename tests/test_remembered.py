"""Local pictures are read once: their digests are remembered for as long as the files do not change."""

import os
import sqlite3
import time
from pathlib import Path
from unittest import mock

import pytest
from fsspec.implementations.local import LocalFileSystem

from schemas.errors import SampleRejected
from workers import images, remembered


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gives each test a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def old_picture(folder: Path, name: str = "a.jpg", data: bytes = b"one") -> Path:
    """Writes a file that has not changed for a minute."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    return path


def later() -> mock._patch:  # type: ignore[type-arg]
    """Lets the present be a minute from now, as a file's time of status change cannot be set back."""
    now = time.time_ns() + 60 * 10**9
    return mock.patch("workers.remembered.time.time_ns", return_value=now)


def reads(folder: Path, name: str = "a.jpg") -> tuple[str, int]:
    """Returns a picture's identity as a new process would find it, and how often it was read for that."""
    real = LocalFileSystem.cat_file
    with mock.patch.object(LocalFileSystem, "cat_file", autospec=True, side_effect=real) as read:
        identity = images.Folder(str(folder)).identity(name)
    return identity, read.call_count


def test_an_unchanged_picture_is_read_once(tmp_path: Path) -> None:
    old_picture(tmp_path / "pictures")
    with later():
        first, once = reads(tmp_path / "pictures")
    again, never = reads(tmp_path / "pictures")
    assert (once, never) == (1, 0)
    assert again == first


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_changed_picture_is_read_again(tmp_path: Path, keep_times: bool) -> None:
    path = old_picture(tmp_path / "pictures")
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    with later():
        first, _ = reads(tmp_path / "pictures")
    was = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == was:  # a disk's clock ticks in milliseconds
        path.write_bytes(b"two")
        if keep_times:
            os.utime(path, ns=times)
    changed, count = reads(tmp_path / "pictures")
    assert changed != first
    assert count == 1


def test_a_picture_that_replaces_another_is_read(tmp_path: Path) -> None:
    path = old_picture(tmp_path / "pictures")
    with later():
        first, _ = reads(tmp_path / "pictures")
    os.replace(old_picture(tmp_path / "other", data=b"two"), path)
    assert reads(tmp_path / "pictures")[0] != first


def test_a_picture_that_just_changed_is_not_remembered(tmp_path: Path) -> None:
    now = old_picture(tmp_path / "pictures").stat().st_ctime_ns + 10**9
    with mock.patch("workers.remembered.time.time_ns", return_value=now):
        assert reads(tmp_path / "pictures")[1] == 1
        assert reads(tmp_path / "pictures")[1] == 1


def test_a_picture_that_went_is_missing(tmp_path: Path) -> None:
    path = old_picture(tmp_path / "pictures")
    with later():
        reads(tmp_path / "pictures")
    path.unlink()
    assert images.Folder(str(tmp_path / "pictures")).identity("a.jpg") == ""
    with pytest.raises(SampleRejected, match="missing_image"):
        images.Folder(str(tmp_path / "pictures")).read("a.jpg")


def test_a_broken_memory_costs_only_time(tmp_path: Path, own_cache: Path) -> None:
    old_picture(tmp_path / "pictures")
    (own_cache / "kineforge").mkdir(parents=True)
    (own_cache / "kineforge" / "pictures.sqlite").write_bytes(b"no database" * 1000)
    with later():
        first, _ = reads(tmp_path / "pictures")
        assert reads(tmp_path / "pictures") == (first, 1)


def test_a_memory_that_cannot_be_written_costs_only_time(tmp_path: Path, own_cache: Path) -> None:
    old_picture(tmp_path / "pictures")
    own_cache.write_bytes(b"a file where a folder should be")
    with later():
        assert reads(tmp_path / "pictures")[1] == 1


def test_processes_share_what_they_remember(tmp_path: Path, own_cache: Path) -> None:
    old_picture(tmp_path / "pictures")
    with later():
        first, _ = reads(tmp_path / "pictures")
    with sqlite3.connect(own_cache / "kineforge" / "pictures.sqlite") as other:
        rows = other.execute("SELECT path, identity FROM pictures").fetchall()
    assert rows == [(str(tmp_path / "pictures" / "a.jpg"), first)]
    assert remembered.pictures(own_cache / "kineforge") is not None
