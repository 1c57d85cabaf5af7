"""What comes from a stranger's URL never runs and never leads out of the dataset; what we never write is refused."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_crops
from strangers import (
    DEEP,
    MAX_SIDE,
    deep,
    edit,
    forge_commit,
    forge_manifest,
    jpeg_of,
    parquet,
    put,
    raw_frame,
    read,
    receipts,
    shard_of,
    stream,
)

from pipeline import history, recipes, verify
from schemas import files, leases, manifest, untrusted
from schemas.errors import InputError, SampleRejected
from schemas.manifest import commit_path, manifest_path
from schemas.receipts import from_json, identity_of
from schemas.store import Store
from workers import images, osim


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Returns a small published dataset."""
    place = str(tmp_path / "set")
    tiny_crops.publish(place, {"train": [3]})
    return place


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system"])
def test_a_recipe_runs_nothing(tmp_path: Path, tag: str) -> None:
    victim = tmp_path / "made"
    (tmp_path / "r.yaml").write_text(f"kind: synth\nname: {tag} ['touch {victim}']\n")
    with pytest.raises(InputError, match="is not YAML"):
        recipes.load(str(tmp_path / "r.yaml"), [])
    assert not victim.exists()


@pytest.mark.parametrize("name", ["..", "../../x", "squat_small/../../x"])
def test_a_recipes_name_does_not_climb(name: str) -> None:
    with pytest.raises(InputError, match=r"no shipped recipe|no such file"):
        recipes.load(name, [])


def test_a_deep_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("a: " + "[" * 5000 + "]" * 5000)
    with pytest.raises(InputError, match="is not YAML"):
        recipes.load(str(tmp_path / "r.yaml"), [])


@pytest.mark.parametrize(
    "path", ["../x", "shards/../../x", "/tmp/x", "a//b", "a\\..\\x", "a\0b", ""]
)
@pytest.mark.parametrize("kind", ["file", "memory"])
def test_no_name_leads_out_of_a_dataset(tmp_path: Path, path: str, kind: str) -> None:
    (tmp_path / "x").write_text("mine")
    objects = Store(f"memory://{tmp_path}" if kind == "memory" else str(tmp_path / "set")).objects
    for operation in (
        lambda: objects.get(path),
        lambda: objects.put(path, b"theirs"),
        lambda: objects.create(path, b"theirs"),
        lambda: objects.delete(path),
    ):
        with pytest.raises(InputError, match="no name inside a dataset"):
            operation()
    assert (tmp_path / "x").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"action_key": "../../x"}, "is no digest"),
        ({"action_key": ["a"]}, "is no digest"),
        ({"skeleton": "../../../etc/passwd"}, "is no digest"),
        ({"key": {"source": "synth", "lot": "l", "split": "../x", "members": [0]}}, "is no split"),
        ({"rows": 10**12}, "a shard of"),
        ({"rows": -1}, "a shard of"),
        ({"rows": float("inf")}, "infinity"),
        ({"root": "../../x"}, "is no digest"),
        ({"inputs": deep(900)}, "nested too deeply"),
    ],
)
def test_a_forged_receipt_is_refused(url: str, changes: dict[str, Any], reason: str) -> None:
    forge_manifest(url, parquet([json.dumps(receipts(url)[0] | changes)]))
    with pytest.raises(InputError, match=reason):
        manifest.open_dataset(url)


def test_a_column_that_lies_outside_the_file_is_refused(url: str) -> None:
    data = bytearray(parquet([json.dumps(receipts(url)[0])]))
    data[4:40] = b"\xff" * 36  # the first page's header
    forge_manifest(url, bytes(data))
    with pytest.raises(InputError, match=r"page header|stored plainly|no size"):
        manifest.open_dataset(url)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 7},
        {"dataset_id": "../../x"},
        {"complete": False, "last_complete": "../../x"},
        {"shards": "many"},
        {"complete": False, "last_complete": float("inf")},
        {"recipe": deep(900)},
    ],
)
def test_a_forged_commit_is_refused(url: str, changes: dict[str, Any]) -> None:
    forge_commit(url, **changes)
    with pytest.raises(InputError, match="cannot be read"):
        manifest.open_dataset(url)


@pytest.mark.parametrize("data", [b"[]", b'{"number": "../x"}', b'{"number": []}', DEEP, b""])
def test_a_forged_tag_is_refused(url: str, data: bytes) -> None:
    put(url, "tags/best.json", data)
    with pytest.raises(InputError, match="cannot be read"):
        manifest.open_dataset(f"{url}@best")


@pytest.mark.parametrize(
    "data", [DEEP, b'{"number": 1e999, "pid": 1e999, "host": "", "wanted": []}']
)
def test_forged_tags_and_leases_are_refused_by_who_looks_after_a_dataset(
    url: str, data: bytes
) -> None:
    put(url, "tags/best.json", data)
    with pytest.raises(InputError, match="no readable tag"):
        history.history(url)
    put(url, f"builds/{'a' * 32}.json", data)
    with pytest.raises(InputError, match="no readable lease"):
        leases.held(url)


def test_a_root_of_deep_json_is_a_fault(url: str) -> None:
    receipt = manifest.open_dataset(url).shards[0]
    put(url, f"shards/{receipt.action_key}/zarr.json", DEEP)
    manifest.publish(url, {"name": "x"}, [replace(receipt, root=files.digest(DEEP))])
    (fault,) = verify.verify(url)
    assert "tells other contents" in fault.problem


def test_deep_json_is_refused(url: str) -> None:
    put(url, f"shards/{shard_of(url)}/zarr.json", DEEP)
    with pytest.raises(InputError, match="broken metadata"):
        read(url)
    put(url, commit_path(0), DEEP)
    with pytest.raises(InputError, match="nested too deeply"):
        manifest.open_dataset(url)


_ZSTD = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [-3, 17, 2]},
        {"shape": [2**62, 17, 2]},
        {"shape": [0, 2**62, 2]},
        {"shape": [3, 17, 2**40]},
        {"shape": [3.0, 17, 2]},
        {"shape": [True, 17, 2]},
        {"shape": "3"},
        {"shape": [3, 34]},
        {"shape": []},
        {"data_type": "object"},
        {"data_type": "|O"},
        {"data_type": {"name": "numpy.void", "configuration": {}}},
        {"data_type": "string"},
        {"data_type": "float64"},
        {"codecs": [{"name": "numcodecs.pickle", "configuration": {}}]},
        {"codecs": [_BYTES, {"name": "blosc", "configuration": {}}]},
        {"codecs": [{"name": "sharding_indexed", "configuration": {}}]},
        {"codecs": [_BYTES, _ZSTD, _ZSTD]},
        {"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}, _ZSTD]},
        {"codecs": None},
        {"codecs": 7},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2**40, 17, 2]}}},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 1, 1]}}},
        {"chunk_grid": None},
        {"chunk_key_encoding": {"name": "v2"}},
        {"storage_transformers": [{"name": "x"}]},
        {"zarr_format": 2},
        {"node_type": "group"},
    ],
    ids=str,
)
def test_metadata_that_we_would_not_write_are_refused(url: str, changes: dict[str, Any]) -> None:
    edit(url, "keypoints", **changes)
    with pytest.raises(InputError, match=r"absurd|malformed|no array of that name|one chunk"):
        read(url, "keypoints")


def test_metadata_of_another_shape_are_refused(url: str) -> None:
    path = f"shards/{shard_of(url)}/zarr.json"
    root = json.loads(Store(url).get_bytes(path))
    for metadata in ([], {"keypoints": []}, {"keypoints": None}):
        root["consolidated_metadata"] = {"metadata": metadata}
        Store(url).put_bytes(path, json.dumps(root).encode())
        with pytest.raises(InputError, match="malformed"):
            read(url, "keypoints")
    root["consolidated_metadata"] = []
    Store(url).put_bytes(path, json.dumps(root).encode())
    with pytest.raises(InputError, match="malformed"):
        read(url, "keypoints")


@pytest.mark.parametrize("offsets", [[0, 9, 4, -1], [1, 2, 3, -1], [0, 2, 3, 10**9]])
def test_offsets_outside_the_pictures_are_refused(url: str, offsets: list[int]) -> None:
    shard = shard_of(url)
    size = len(Store(url).get_bytes(f"shards/{shard}/image/c/0"))
    values = np.array([size if n == -1 else n for n in offsets], "<u4")
    put(url, f"shards/{shard}/image_offset/c/0", raw_frame(values.tobytes()))
    with pytest.raises(InputError, match="outside its pictures"):
        read(url)


def test_arrays_of_different_lengths_are_refused(url: str) -> None:
    grid = {"name": "regular", "configuration": {"chunk_shape": [2]}}
    edit(url, "sample_id", shape=[2], chunk_grid=grid)
    put(url, f"shards/{shard_of(url)}/sample_id/c/0", raw_frame(bytes(16)))
    with pytest.raises(InputError, match=r"arrays of \[2, 3\] samples"):
        read(url, "sample_id", "keypoints")


def test_a_shard_of_other_length_than_the_manifest_says_is_refused(url: str) -> None:
    document = receipts(url)[0] | {"rows": 5}
    identity = identity_of([from_json(document)])
    forge_commit(url, dataset_id=identity)
    put(url, manifest_path(identity), parquet([json.dumps(document)]))
    with pytest.raises(InputError, match="the manifest says 5"):
        stream(url)


def test_images_of_another_size_are_refused(url: str) -> None:
    path = f"shards/{shard_of(url)}/image/c/0"
    put(url, path, Store(url).get_bytes(path)[:-1])
    with pytest.raises(InputError, match="bytes, not"):
        read(url)


def test_links_inside_a_dataset_are_not_followed(tmp_path: Path, url: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("mine")
    Path(url, "folder").symlink_to(outside)
    Path(url, "file").symlink_to(outside / "secret")
    objects = Store(url).objects
    for operation in (
        lambda: objects.get("folder/secret"),
        lambda: objects.get("file"),
        lambda: objects.put("folder/new", b"theirs"),
        lambda: objects.put("file", b"theirs"),
        lambda: objects.create("folder/new", b"theirs"),
        lambda: objects.delete("folder/secret"),
        lambda: objects.listing("folder"),
        lambda: objects.listing(""),
    ):
        with pytest.raises(InputError, match="symbolic link"):
            operation()
    assert [p.name for p in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "mine"


def test_a_linked_folder_of_shards_is_not_listed(tmp_path: Path, url: str) -> None:
    Path(url, "shards").rename(tmp_path / "elsewhere")
    Path(url, "shards").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="symbolic link"):
        Store(url).action_keys()


def test_a_dataset_may_itself_be_a_link(tmp_path: Path, url: str) -> None:
    (tmp_path / "link").symlink_to(url)
    assert manifest.open_dataset(str(tmp_path / "link")).rows == 3


def test_members_of_an_archive_stay_inside(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../evil.jpg", b"x")
    with pytest.raises(SampleRejected, match="stay inside"):
        images.Folder(f"zip://::{tmp_path}/a.zip").read("../evil.jpg")
    assert not (tmp_path.parent / "evil.jpg").exists()


ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><OpenSimDocument><Model>&a;</Model></OpenSimDocument>'
)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (ENTITIES.encode(), "entities"),
        (ENTITIES.encode("utf-16"), "entities"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><OpenSimDocument/>', "entities"),
        (b"<OpenSimDocument><Model>" + b"<a>" * 100_000, "deep"),
        (b"<html/>", "is no OpenSim model"),
    ],
)
def test_a_forged_model_is_refused(tmp_path: Path, document: bytes, reason: str) -> None:
    (tmp_path / "m.osim").write_bytes(document)
    with pytest.raises(InputError, match=reason):
        osim.read_model(str(tmp_path / "m.osim"))


def test_a_huge_picture_is_refused_by_its_header() -> None:
    with pytest.raises(SampleRejected, match="too_large"):
        images.decode(jpeg_of(MAX_SIDE, MAX_SIDE))


def test_every_array_that_is_written_is_accepted(url: str) -> None:
    names = sorted(untrusted.BY_NAME)
    assert set(Store(url).read_arrays(shard_of(url), names)) == set(names)
