"""What a user names is read whole, or refused in one paragraph; whatever the file system behind it raises."""

import socket
import zipfile
from pathlib import Path

import fsspec
import pytest
import s3fs

from schemas import files
from schemas.errors import InputError


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns a host and port where nobody listens, and points S3 there."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    s3fs.S3FileSystem.clear_instance_cache()
    return address


def refusal(url: str) -> str:
    with pytest.raises(InputError) as caught:
        files.read_bytes(url)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_file_is_read_by_path_and_by_every_kind_of_url(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"hello")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("in/a.txt", b"hello")
    with fsspec.open("memory://test-files/a.txt", "wb") as file:
        file.write(b"hello")
    urls = (str(tmp_path / "a.txt"), f"file://{tmp_path}/a.txt", "memory://test-files/a.txt")
    for url in (*urls, f"zip://in/a.txt::{tmp_path}/z.zip"):
        assert files.read_bytes(url) == b"hello"


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    assert refusal(missing) == f"{missing}: no such file. Check the path or URL."
    assert refusal(str(tmp_path)) == f"{tmp_path}: is a folder. Name a file."
    assert "is a folder" in refusal("")


def test_a_broken_archive_and_a_missing_member_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    assert "not a zip file" in refusal(f"zip://a::{tmp_path}/bad.zip")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("a", b"")
    assert "no such file" in refusal(f"zip://b::{tmp_path}/z.zip")


def test_an_unknown_protocol_names_itself() -> None:
    assert "Protocol not known: foo" in refusal("foo://bucket/x")


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_an_unreachable_server_is_not_called_a_missing_file(nobody: str, scheme: str) -> None:
    text = refusal(f"{scheme}://{nobody}/x")
    assert "cannot be read" in text
    assert "no such file" not in text
    assert "onnect" in text


def test_unreachable_s3_is_refused_for_reading_and_for_listing(nobody: str) -> None:
    assert "Could not connect" in refusal("s3://bucket/x")
    with pytest.raises(InputError, match="cannot be listed"):
        files.list_files("s3://bucket/x", ".jpg")


def test_s3_without_credentials_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    s3fs.S3FileSystem.clear_instance_cache()
    assert "credentials" in refusal("s3://bucket/x")


@pytest.mark.s3
def test_s3_reads_lists_and_names_what_is_missing(s3_bucket: str) -> None:
    s3fs.S3FileSystem.clear_instance_cache()
    for name in ("b.jpg", "a.jpg", "c.txt"):
        with fsspec.open(f"{s3_bucket}/files/{name}", "wb") as file:
            file.write(name.encode())
    assert files.read_bytes(f"{s3_bucket}/files/a.jpg") == b"a.jpg"
    listed = files.list_files(f"{s3_bucket}/files", ".jpg")
    assert listed == [f"{s3_bucket}/files/a.jpg", f"{s3_bucket}/files/b.jpg"]
    assert "no such file" in refusal(f"{s3_bucket}/files/none.jpg")
    with pytest.raises(InputError, match="no such folder"):
        files.list_files(f"{s3_bucket}/nothing", ".jpg")
    assert "no such file" in refusal("s3://another-bucket/none.jpg")


def test_a_file_beyond_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    (tmp_path / "ten").write_bytes(bytes(10))
    (tmp_path / "eleven").write_bytes(bytes(11))
    assert len(files.read_bytes(str(tmp_path / "ten"))) == 10
    assert "larger than" in refusal(str(tmp_path / "eleven"))


def test_a_listing_is_sorted_and_holds_what_can_be_read(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "c.png"):
        (tmp_path / name).write_bytes(name.encode())
    listed = files.list_files(str(tmp_path), ".jpg")
    assert [files.read_bytes(url) for url in listed] == [b"a.jpg", b"b.jpg"]
    assert files.list_files(str(tmp_path), ".gif") == []
    with pytest.raises(InputError, match="no such folder"):
        files.list_files(str(tmp_path / "none"), ".jpg")


def test_plain_paths_become_absolute_and_urls_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/me")
    assert files.absolute("a/b") == "/a/b"
    assert files.absolute("~/b") == "/home/me/b"
    for url in ("s3://a/b", "/a", "zip://x::s3://a/b.zip", "file:///a"):
        assert files.absolute(url) == url


@pytest.mark.parametrize(
    "url", ["", "s3:/bucket/x", "file:/tmp/x", "gs:bucket", "zip://a::s3:/b/c.zip"]
)
def test_a_url_with_a_slash_too_few_is_no_path(url: str) -> None:
    with pytest.raises(InputError, match=r"is no URL|names nothing"):
        files.absolute(url)


@pytest.mark.parametrize("scheme", ["", "file://", "memory://"])
def test_a_written_file_reads_back_and_replaces_the_old_one(scheme: str, tmp_path: Path) -> None:
    url = f"{scheme}{tmp_path}/new/folder/x.json"
    for data in (b"first", b"second"):
        files.write_whole(url, data)
        assert files.read_bytes(url) == data
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["x.json"] * (
        scheme != "memory://"
    )


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written"):
        files.write_whole(f"{tmp_path}/file/x", b"")
    with pytest.raises(InputError, match="Protocol not known"):
        files.write_whole("foo://bucket/x", b"")


def test_a_local_copy_is_private_and_gone_afterwards_also_after_a_fault() -> None:
    with files.local_copy(b"bytes", ".osim") as path:
        assert path.read_bytes() == b"bytes"
        assert path.suffix == ".osim"
        assert path.stat().st_mode & 0o077 == 0
        with files.local_copy(b"", ".osim") as other:
            assert other != path
    assert not path.exists()
    with pytest.raises(RuntimeError, match="fault"), files.local_copy(b"", ".x") as path:
        raise RuntimeError("fault")
    assert not path.exists()


def test_equal_bytes_have_equal_digests() -> None:
    assert files.digest(b"a") == files.digest(bytes([97])) != files.digest(b"b")
