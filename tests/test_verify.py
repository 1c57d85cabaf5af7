"""Every byte that is not as written is found and named, and what is deleted for it is made again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_coco import small_set
from tiny_history import MODEL, SKELETON, every_object, publish, shard
from wrapped_objects import Wrapped, wrap

from pipeline import build, inventory, recipes, verify
from pipeline.executor import LocalExecutor
from schemas import files, leases, manifest, receipts
from schemas.errors import InputError
from schemas.store import Store


def test_what_was_written_is_well_and_progress_is_told(url: str) -> None:
    publish(url, 1, 2)
    told: list[tuple[int, int]] = []
    assert verify.verify(url, progress=lambda *now: told.append(now)) == []
    sizes = [receipt.bytes for receipt in manifest.open_dataset(url).shards]
    assert told == [(sizes[0], sum(sizes)), (sum(sizes), sum(sizes))]
    assert verify.verify(url, quick=True) == []


def test_every_object_of_a_state_is_looked_at(tmp_path: Path) -> None:
    """Each object in turn is lost, emptied, cut and flipped; each time it is named, and only it."""
    url = f"memory://{tmp_path.name}"
    publish(url, 1, 2)
    for path, data in every_object(url).items():
        if path.startswith("commits/"):
            continue
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        damage = {"flipped": flipped, "cut": data[:-1], "emptied": b""}
        for kind, bad in damage.items():
            Store(url).put_bytes(path, bad)
            assert [f.path for f in verify.verify(url)] == [path], kind
        Store(url).objects.delete(path)
        assert [f.path for f in verify.verify(url)] == [path]
        assert [f.path for f in verify.verify(url, quick=True)] == [path]
        Store(url).put_bytes(path, data)
    assert verify.verify(url) == []


def test_a_quick_look_sees_sizes(url: str) -> None:
    made = publish(url, 1)
    key = made.shards[0].action_key
    path = f"shards/{key}/image/c/0"
    Store(url).put_bytes(path, Store(url).get_bytes(path)[:-1])
    (fault,) = verify.verify(url, quick=True)
    assert fault.path == f"shards/{key}"
    assert "holds 101 bytes, but 102 were written" in fault.problem


def test_older_states_are_verified_by_their_reference(url: str) -> None:
    old = publish(url, 1)
    publish(url, 2)
    Store(url).objects.delete(inventory.root_of(old.shards[0].action_key))
    assert verify.verify(url) == []
    assert len(verify.verify(f"{url}@0")) == 1


def test_a_listing_that_lags_behind_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = wrap(monkeypatch, f"memory://{tmp_path.name}")
    publish(seen.url, 1, 2)
    seen.hidden = lambda path: path.endswith(("q/c/0/0", "zarr.json", ".osim"))
    assert verify.verify(seen.url, quick=True) == []


def test_an_object_that_cannot_be_read_is_named_and_a_store_that_fails_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = wrap(monkeypatch, f"memory://{tmp_path.name}")
    made = publish(seen.url, *range(10))
    bad = f"shards/{made.shards[3].action_key}/q/c/0/0"
    broken = {bad}

    def fail(name: str, path: str) -> None:
        if name == "get" and path in broken:
            raise InputError(seen.url, "the store failed to read (EIO)", "Try again")

    seen.before = fail
    (fault,) = verify.verify(seen.url)
    assert (fault.path, "EIO" in fault.problem) == (bad, True)
    seen.before = Wrapped.nothing
    assert verify.delete_bad(seen.url, [fault]) == 0
    assert bad in every_object(seen.url)
    broken |= {path for path in every_object(seen.url) if path.startswith("shards/")} - {bad}
    seen.before = fail
    with pytest.raises(InputError, match="EIO"):
        verify.verify(seen.url)


def test_a_store_that_fails_for_a_moment_makes_no_object_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = wrap(monkeypatch, f"memory://{tmp_path.name}")
    made = publish(seen.url, *range(10))
    roots = {inventory.root_of(receipt.action_key) for receipt in made.shards[3:6]}

    def fail(name: str, path: str) -> None:
        if name == "get" and path in roots:
            roots.remove(path)
            raise InputError(seen.url, "the store failed to read (503)", "Try again")

    seen.before = fail
    assert verify.verify(seen.url) == []
    assert not roots
    # What they are made of is looked at all the same.
    roots = {inventory.root_of(receipt.action_key) for receipt in made.shards[:1]}
    only = publish(seen.url, 0)
    Store(seen.url).put_bytes(inventory.model_path(files.digest(MODEL)), b"other")
    (fault,) = verify.verify(seen.url)
    assert (fault.path, only.rows, roots) == (inventory.model_path(files.digest(MODEL)), 2, set())


def test_a_manifest_that_points_outside_is_not_followed(tmp_path: Path) -> None:
    url = str(tmp_path / "set")
    (receipt,) = publish(url, 1).shards
    for name, change in (
        ("a", {"action_key": "../../outside"}),
        ("b", {"root": "../../outside"}),
        ("c", {"skeleton": "../x"}),
    ):
        fields = {"root": name * 64, **change}
        manifest.publish(url, {"name": name}, [replace(receipt, **fields)])
        for quick in (False, True):
            (fault,) = verify.verify(url, quick=quick)
            assert "is no digest" in fault.problem


@pytest.mark.parametrize("path", ["../../../secret", "/etc/passwd", "a/../../x", ""])
def test_a_shard_that_lists_places_outside_is_not_followed(path: str, url: str) -> None:
    receipt = shard(url, 1, forged={path: "0" * 64})
    manifest.publish(url, {"name": "x"}, [receipt])
    (fault,) = verify.verify(url)
    assert "tells other contents" in fault.problem
    Store(url).put_bytes(f"shards/{receipt.action_key}/q/c/0/0", b"longer, so that names are asked")
    (fault,) = verify.verify(url, quick=True)
    assert "lists no objects of its own" in fault.problem


def test_what_a_running_build_wants_is_not_deleted(url: str) -> None:
    made = publish(url, 1)
    key = made.shards[0].action_key
    Store(url).objects.delete(f"shards/{key}/q/c/0/0")
    faults = verify.verify(url)
    with leases.hold(url, [key]), pytest.raises(InputError, match="wants a shard that is bad"):
        verify.delete_bad(url, faults)
    assert verify.delete_bad(url, faults) == 1
    assert Store(url).list_paths("shards") == []
    newest = manifest.find_dataset(url)
    assert newest is not None
    assert (newest.shards, newest.commit.complete) == ((), False)
    assert manifest.open_dataset(url).shards == made.shards


def test_a_bad_model_or_skeleton_goes_with_one_shard_that_makes_it_again(url: str) -> None:
    publish(url, 1, 2)
    paths = [
        inventory.model_path(files.digest(MODEL)),
        inventory.skeleton_path(SKELETON.fingerprint),
    ]
    for path in paths:
        Store(url).put_bytes(path, b"rotten")
    faults = verify.verify(url)
    assert sorted(f.path for f in faults) == sorted(paths)
    assert verify.delete_bad(url, faults) == 1
    assert sum(path.endswith("zarr.json") for path in Store(url).list_paths("shards")) == 1


def test_a_bad_shard_that_is_deleted_is_built_again_and_the_same(tmp_path: Path) -> None:
    (tmp_path / "coco").mkdir()
    pictures = small_set(tmp_path / "coco", 12)
    words = [f"images={pictures}", f"annotations={pictures}/persons.json", "image_px=64"]
    recipe, url = recipes.load("coco_lower", [*words, "shard_samples=8"]), str(tmp_path / "set")

    def run() -> build.Built:
        return build.build(recipe, url, build.plan(recipe, url), LocalExecutor(), lambda *_: None)

    first = run()
    assert first.dataset is not None
    assert verify.verify(url) == verify.verify(url, quick=True) == []
    before = every_object(url)
    key = first.dataset.shards[0].action_key
    Store(url).put_bytes(f"shards/{key}/image/c/0", b"rotten")
    faults = verify.verify(url)
    assert [f.action_key for f in faults] == [key]
    verify.delete_bad(url, faults)
    assert run().made == 1
    assert verify.verify(url) == []
    after = every_object(url)
    assert {path: after[path] for path in before} == before
    last = manifest.open_dataset(url)
    assert (last.number, last.dataset_id) == (2, first.dataset.dataset_id)


@pytest.mark.parametrize("goes_on_listing", [False, True])
def test_a_shard_whose_folder_outlives_it_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes_on_listing: bool
) -> None:
    """A file that was deleted by hand leaves an empty folder; some stores list folders that are gone."""
    (tmp_path / "coco").mkdir()
    pictures = small_set(tmp_path / "coco", 12)
    words = [f"images={pictures}", f"annotations={pictures}/persons.json", "image_px=64"]
    recipe, url = recipes.load("coco_lower", [*words, "shard_samples=8"]), str(tmp_path / "set")

    def run() -> build.Built:
        return build.build(recipe, url, build.plan(recipe, url), LocalExecutor(), lambda *_: None)

    first = run()
    assert first.dataset is not None
    key = first.dataset.shards[0].action_key
    Path(url, "shards", key, "image/c/0").unlink()
    assert verify.delete_bad(url, verify.verify(url, quick=True)) == 1
    assert key not in Store(url).action_keys()
    if goes_on_listing:
        listed = Store.action_keys
        monkeypatch.setattr(Store, "action_keys", lambda store: listed(store) | {key})
    assert run().made == 1
    assert verify.verify(url) == []


def test_a_manifest_that_tells_other_contents_than_its_shards_is_found(url: str) -> None:
    """The dataset id covers the roots alone; here a stranger says more samples."""
    (receipt,) = publish(url, 1).shards
    path = manifest.manifest_path(receipts.identity_of([receipt]))
    Store(url).objects.delete(path)
    manifest.publish(url, {"name": "x"}, [replace(receipt, rows=receipt.rows + 1)])
    (fault,) = verify.verify(url)
    assert "tells other contents" in fault.problem


def test_faults_are_json(url: str) -> None:
    publish(url, 1)
    Store(url).put_bytes(inventory.model_path(files.digest(MODEL)), b"")
    assert json.loads(json.dumps([f._asdict() for f in verify.verify(url)]))
