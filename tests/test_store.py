"""One contract for every store: a shard is whole or absent, a create is exclusive, failures are readable."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

from schemas import layout
from schemas.errors import InputError
from schemas.shards import ShardContents
from schemas.store import Store

KEY = "a" * 64


@pytest.fixture(params=["memory", "file", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Yields an empty store of each kind."""
    if request.param == "memory":
        yield Store(f"memory://{tmp_path.name}-{request.node.name}")
    elif request.param == "file":
        yield Store(f"file://{tmp_path}/set")
    else:
        yield Store(f"{request.getfixturevalue('s3_bucket')}/{tmp_path.name}")


def contents(rows: int = 3) -> ShardContents:
    """Makes a shard with recognisable values."""
    arrays = layout.empty(layout.Sizes(c=2, b=1, j=1, m=0), rows)
    arrays["q"][:] = np.arange(2 * rows).reshape(rows, 2)
    images = [bytes([i]) * (i + 1) for i in range(rows)]
    return ShardContents(images=images, arrays=arrays, planned=rows)


def write(store: Store, rows: int = 3) -> tuple[int, dict[str, str]]:
    return store.write_shard(KEY, contents(rows), lambda size, digests: {"bytes": size})


def test_a_shard_reads_back_as_written(store: Store) -> None:
    write(store)
    arrays = store.read_arrays(KEY, ["image", "image_offset", "q", "markers_px", "keypoints"])
    np.testing.assert_array_equal(arrays["image_offset"], [0, 1, 3, 6])
    np.testing.assert_array_equal(arrays["image"], [0, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(arrays["q"], [[0, 1], [2, 3], [4, 5]])
    assert arrays["markers_px"].shape == (3, 0, 2)
    assert np.isnan(arrays["keypoints"]).all()


def test_the_same_contents_give_the_same_bytes(store: Store) -> None:
    assert write(store) == write(store)


def test_a_shard_without_its_root_is_absent(store: Store) -> None:
    write(store)
    root = store.get_bytes(f"shards/{KEY}/zarr.json")
    other = "b" * 64
    for path in store.list_paths(f"shards/{KEY}"):
        if path != f"shards/{KEY}/zarr.json":
            store.put_bytes(path.replace(KEY, other), store.get_bytes(path))
    assert store.action_keys() == {KEY, other}  # what was begun
    with pytest.raises(FileNotFoundError):
        store.read_attributes(other)
    store.put_bytes(f"shards/{other}/zarr.json", root)
    assert store.read_attributes(other) == store.read_attributes(KEY)


def test_the_root_is_written_last(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    order: list[str] = []
    put = Store.put_bytes

    def recording(self: Store, path: str, data: bytes) -> None:
        put(self, path, data)
        order.append(path)

    monkeypatch.setattr(Store, "put_bytes", recording)
    write(store)
    assert order[-1] == f"shards/{KEY}/zarr.json"
    assert len(order) > 50


def test_only_the_first_create_wins(store: Store) -> None:
    assert store.create_bytes("commits/0.json", b"mine")
    assert not store.create_bytes("commits/0.json", b"yours")
    assert store.get_bytes("commits/0.json") == b"mine"


def test_a_missing_object_is_named(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.get_bytes("nothing/here")


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "mistyped"))
    assert store.list_paths("commits") == []
    with pytest.raises(FileNotFoundError):
        store.get_bytes("x")
    assert not (tmp_path / "mistyped").exists()


def test_absurd_shapes_are_refused_before_allocation(store: Store) -> None:
    write(store)
    path = f"shards/{KEY}/zarr.json"
    root = json.loads(store.get_bytes(path))
    root["consolidated_metadata"]["metadata"]["q"]["shape"] = [2**40, 2**20]
    store.put_bytes(path, json.dumps(root).encode())
    with pytest.raises(InputError, match="absurd shape"):
        store.read_arrays(KEY, ["q"])


def test_zarr_itself_opens_a_shard(tmp_path: Path) -> None:
    write(Store(str(tmp_path)))
    group = zarr.open_group(tmp_path / "shards" / KEY, mode="r")
    np.testing.assert_array_equal(group["q"][...], [[0, 1], [2, 3], [4, 5]])
    assert group.attrs["kineforge"]["bytes"] > 0


def test_an_unreachable_store_is_one_paragraph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with pytest.raises(
        InputError, match=r"s3://nobody/set: the store failed to list .*\. Check the URL"
    ):
        Store("s3://nobody/set").list_paths("shards")


def test_a_disk_that_refuses_is_one_paragraph_and_nothing_is_visible(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: both fail the write half way."""
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "sys.path[:0] = ['.', 'tests'];"
        "import dataclasses, test_store as t; from schemas.store import Store;"
        "big = dataclasses.replace(t.contents(), images=[bytes(5000)] * 3);"
        f"Store({str(tmp_path)!r}).write_shard(t.KEY, big, lambda size, digests: {{}})"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],  # or bytecode would be cut short and kept
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode != 0
    assert "schemas.errors.InputError" in done.stderr
    assert "finished shards are kept" in done.stderr
    with pytest.raises(FileNotFoundError):
        Store(str(tmp_path)).read_attributes(KEY)
