"""A copy has the same identity, writes only what is missing, and goes on where it was stopped."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_history import MODEL, every_object, publish, shard, whole_shards_are_whole
from wrapped_objects import Crash, Wrapped, wrap

from pipeline import history, inventory, transfer, verify
from schemas import files, leases, manifest
from schemas.errors import InputError
from schemas.store import Store


def test_a_copy_has_the_same_identity_and_every_byte(url: str, tmp_path: Path) -> None:
    source = f"memory://{tmp_path.name}-source"
    made = publish(source, 1, 2, 3)
    told: list[tuple[int, int]] = []
    copied = transfer.copy(source, url, progress=lambda *now: told.append(now))
    assert copied.dataset.dataset_id == made.dataset_id
    assert (copied.objects, told[-1]) == (9, (made.bytes, made.bytes))
    assert manifest.open_dataset(url).shards == made.shards
    assert verify.verify(url) == []
    theirs, ours = every_object(source), every_object(url)
    assert theirs.keys() == ours.keys()
    assert all(ours[p] == theirs[p] for p in ours if not p.startswith("commits/"))
    again = transfer.copy(source, url)
    assert (again.objects, again.dataset.number) == (0, 0)


def test_only_what_is_missing_is_written(url: str, tmp_path: Path) -> None:
    source = f"memory://{tmp_path.name}-source"
    publish(source, 1, 2)
    transfer.copy(source, url)
    publish(source, 1, 2, 3)
    key = manifest.open_dataset(url).shards[0].action_key
    Store(url).put_bytes(f"shards/{key}/image/c/0", b"cut")
    Store(url).objects.delete(f"shards/{key}/q/c/0/0")
    assert transfer.copy(source, url).objects == 3 + 2
    assert verify.verify(url) == []
    assert [e.commit.number for e in history.history(url)] == [1, 0]


def test_an_older_state_becomes_the_newest_of_its_copy(url: str, tmp_path: Path) -> None:
    source = f"memory://{tmp_path.name}-source"
    old = publish(source, 1)
    publish(source, 2)
    transfer.copy(source, url)
    copied = transfer.copy(f"{source}@0", url)
    assert copied.dataset == manifest.open_dataset(url)
    assert (copied.dataset.number, copied.dataset.dataset_id) == (1, old.dataset_id)
    assert copied.dataset.commit.build["copy_of"]["number"] == 0


def test_tags_come_along_with_their_states(url: str, tmp_path: Path) -> None:
    source = f"memory://{tmp_path.name}-source"
    states = [publish(source, number) for number in (1, 2, 3)]
    history.add_tag(source, "paper", "0")
    history.add_tag(source, "newest", "2")
    for _ in range(2):
        copied = transfer.copy(source, url, tags=True)
        assert copied.tags == ("newest", "paper")
        assert manifest.open_dataset(f"{url}@paper").shards == states[0].shards
        assert manifest.open_dataset(f"{url}@newest") == manifest.open_dataset(url)
        assert manifest.commit_numbers(url) == [0, 1]
    Store(url).objects.delete("tags/paper.json")
    history.add_tag(url, "paper", "1")
    with pytest.raises(InputError, match="is taken: it names dataset"):
        transfer.copy(source, url, tags=True)


def test_a_copy_that_was_stopped_anywhere_shows_nothing_half_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"memory://{tmp_path.name}-source"
    made = publish(source, 1, 2)
    monkeypatch.setattr(inventory, "THREADS", 1)
    writes, crash = 1, 0
    while crash < writes:
        url = f"memory://{tmp_path.name}-{crash}"
        with monkeypatch.context() as patch:
            seen = wrap(patch, url)
            done: list[str] = []

            def dies(name: str, path: str, done: list[str] = done, at: int = crash) -> None:
                if name in ("put", "create"):
                    done.append(path)
                if len(done) > at:
                    raise Crash

            seen.before = dies
            with contextlib.suppress(Crash):
                transfer.copy(source, url)
        assert whole_shards_are_whole(url)
        assert manifest.find_dataset(url) is None
        assert transfer.copy(source, url).dataset.dataset_id == made.dataset_id
        assert verify.verify(url) == []
        with monkeypatch.context() as patch:
            seen = wrap(patch, f"{url}-whole")
            transfer.copy(source, f"{url}-whole")
            writes = sum(name in ("put", "create") for name, _ in seen.calls)
        crash += 1
    assert writes == 1 + 6 + 2 + 2  # lease, shards, skeleton and model, manifest and commit


def test_the_order_is_objects_root_manifest_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"memory://{tmp_path.name}-source"
    made = publish(source, 1, 2)
    seen = wrap(monkeypatch, f"memory://{tmp_path.name}")
    wanted: list[frozenset[str]] = []

    def look(name: str, path: str) -> None:
        if path.startswith("shards/") and name == "put" and not wanted:
            seen.before = Wrapped.nothing
            wanted.extend(lease.wanted for lease in leases.held(seen.url))

    seen.before = look
    transfer.copy(source, seen.url)
    written = [path for name, path in seen.calls if name in ("put", "create")]
    written = [path for path in written if not path.startswith("builds/")]
    for receipt in made.shards:
        mine = [path for path in written if receipt.action_key in path]
        assert mine[-1] == inventory.root_of(receipt.action_key)
    assert [path.split("/")[0] for path in written[-2:]] == ["manifests", "commits"]
    # A garbage collection at the target spares what the copy brings.
    assert wanted == [frozenset(r.action_key for r in made.shards)]


def test_listings_that_lag_behind_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = wrap(monkeypatch, f"memory://{tmp_path.name}-source")
    target = wrap(monkeypatch, f"memory://{tmp_path.name}-target")
    publish(source.url, 1, 2)
    transfer.copy(source.url, target.url)
    key = manifest.open_dataset(source.url).shards[0].action_key
    target.inner.delete(f"shards/{key}/q/c/0/0")
    source.hidden = lambda path: "q/c" in path
    target.hidden = lambda path: path.endswith("zarr.json")
    transfer.copy(source.url, target.url)
    assert verify.verify(target.url) == []


@pytest.mark.parametrize("name", ["image/c/0", "zarr.json", "model", "skeleton"])
def test_what_is_not_as_written_is_not_copied(name: str, tmp_path: Path) -> None:
    source, url = f"memory://{tmp_path.name}-source", f"memory://{tmp_path.name}"
    (receipt,) = publish(source, 1).shards
    path = {
        "model": inventory.model_path(files.digest(MODEL)),
        "skeleton": inventory.skeleton_path(receipt.skeleton),
    }.get(name, f"shards/{receipt.action_key}/{name}")
    for data in (b"rotten", None):
        if data is None:
            Store(source).objects.delete(path)
        else:
            Store(source).put_bytes(path, data)
        with pytest.raises(InputError, match=path):
            transfer.copy(source, url)
        assert manifest.find_dataset(url) is None
        assert path not in every_object(url)


@pytest.mark.parametrize(
    "change",
    [
        {"action_key": "../../outside"},
        {"root": "../../outside"},
        {"forged": {"../../../outside": "0" * 64}},
        {"forged": {"/outside": "0" * 64}},
        {"forged": {"a/../../../outside": "0" * 64}},
        {"skeleton": "../../outside"},
    ],
)
def test_nothing_is_written_outside_the_target(change: dict[str, Any], tmp_path: Path) -> None:
    source, target = f"memory://{tmp_path.name}-source", tmp_path / "in" / "target"
    receipt = shard(source, 1, forged=change.pop("forged", None))
    manifest.publish(source, {}, [replace(receipt, **change)])
    with pytest.raises(InputError, match=r"tells other contents|is no digest"):
        transfer.copy(source, str(target))
    assert {path.name for path in tmp_path.rglob("outside*")} == set()
    assert manifest.find_dataset(str(target)) is None


@pytest.mark.parametrize("picture", [b"of the same length", b"longer" * 99])
def test_a_shard_of_the_same_name_with_other_bytes_is_not_written_over(
    picture: bytes, url: str, tmp_path: Path
) -> None:
    source = f"memory://{tmp_path.name}-source"
    publish(url, 1)
    (receipt,) = publish(source, 1).shards
    base = f"shards/{receipt.action_key}"
    if len(picture) < 99:
        picture = bytes(len(Store(source).get_bytes(f"{base}/image/c/0")))
    root = json.loads(Store(source).get_bytes(f"{base}/zarr.json"))
    told = root["attributes"]["kineforge"]["receipt"]
    told["digests"]["image/c/0"] = files.digest(picture)
    told["bytes"] = len(picture) + len(Store(source).get_bytes(f"{base}/q/c/0/0"))
    data = json.dumps(root, sort_keys=True).encode()
    Store(source).put_bytes(f"{base}/image/c/0", picture)
    Store(source).put_bytes(f"{base}/zarr.json", data)
    forged = replace(receipt, bytes=told["bytes"], root=files.digest(data))
    manifest.publish(source, {"name": "other"}, [forged])
    assert verify.verify(source) == []
    with pytest.raises(InputError, match="holds other bytes"):
        transfer.copy(source, url)
    assert verify.verify(url) == []
    assert manifest.commit_numbers(url) == [0]
    Store(url).put_bytes(f"{base}/zarr.json", b"{")  # cut short, which a copy mends
    transfer.copy(source, url)
    assert verify.verify(url) == []


def test_targets_that_make_no_sense_are_refused(url: str) -> None:
    publish(url, 1)
    with pytest.raises(InputError, match="is the dataset itself"):
        transfer.copy(f"{url}@0", url)
    with pytest.raises(InputError, match="not a place to copy to"):
        transfer.copy(url, f"{url}-copy@3")


def test_a_full_disk_is_one_paragraph_and_nothing_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"memory://{tmp_path.name}-source"
    publish(source, 1, 2)
    target = wrap(monkeypatch, f"memory://{tmp_path.name}")

    def full(name: str, path: str) -> None:
        if name == "put" and path.endswith("zarr.json"):
            raise InputError(target.url, "the store failed to write (no space left)", "Free some")

    target.before = full
    with pytest.raises(InputError, match="no space left"):
        transfer.copy(source, target.url)
    target.before = Wrapped.nothing
    assert manifest.find_dataset(target.url) is None
    assert leases.held(target.url) == []
