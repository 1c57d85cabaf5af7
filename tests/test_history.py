"""The history tells what was published; a name is given once; a difference says which shards and why."""

import dataclasses
import json
from pathlib import Path

import pytest
from tiny_history import publish, shard
from wrapped_objects import wrap

from pipeline import history
from schemas import manifest
from schemas.errors import InputError
from schemas.store import Store


def test_the_history_is_told_newest_first_with_what_changed(url: str) -> None:
    publish(url, 1, 2, 3)
    publish(url, 1, 2, complete=False)
    publish(url, (1, 2), 2, 4, size=3)
    history.add_tag(url, "first", "0")
    entries = history.history(url)
    assert [e.commit.number for e in entries] == [2, 1, 0]
    assert [(e.added, e.removed) for e in entries] == [(2, 1), (0, 1), (3, 0)]
    assert [e.tags for e in entries] == [(), (), ("first",)]
    assert [e.commit.complete for e in entries] == [True, False, True]
    assert json.loads(json.dumps(history.entry_json(entries[0])))["recipe"] == "tiny"


def test_an_empty_place_has_no_history(url: str) -> None:
    assert history.history(url) == []
    assert history.tags(url) == {}


def test_a_commit_or_manifest_that_is_gone_leaves_the_change_unknown(url: str) -> None:
    first = publish(url, 1)
    publish(url, 1, 2)
    publish(url, 1, 2, 3)
    Store(url).objects.delete(manifest.commit_path(1))
    assert [e.added for e in history.history(url)] == [None, 1]
    Store(url).objects.delete(manifest.manifest_path(first.dataset_id))
    assert [e.added for e in history.history(url)] == [None, None]


def test_a_tag_opens_what_it_names_and_stays_there(url: str) -> None:
    first = publish(url, 1)
    history.add_tag(url, "paper", None)
    publish(url, 1, 2)
    assert manifest.open_dataset(f"{url}@paper") == first
    with pytest.raises(InputError, match="is taken: it names commit 0"):
        history.add_tag(url, "paper", "1")
    assert history.add_tag(url, "paper", "0") == first.commit  # the same again is fine
    assert history.add_tag(url, "same", first.dataset_id[:12]).number == 0
    assert history.tags(url) == {"paper": 0, "same": 0}
    assert history.delete_tag(url, "paper") == 0
    assert history.tags(url) == {"same": 0}
    with pytest.raises(InputError, match="is no tag here"):
        history.delete_tag(url, "paper")


@pytest.mark.parametrize("name", ["", "../commits/x", "a/b", "12", ".hidden", "a b", "x" * 101])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    publish(str(tmp_path), 1)
    with pytest.raises(InputError, match="is no name for a tag"):
        history.add_tag(str(tmp_path), name)
    with pytest.raises(InputError, match="is no name for a tag"):
        history.delete_tag(str(tmp_path), name)


def test_a_tag_to_a_missing_commit_is_not_made(url: str) -> None:
    publish(url, 1)
    for reference in ("7", "abcdef123456", "nothing"):
        with pytest.raises(InputError):
            history.add_tag(url, "t", reference)
    assert history.tags(url) == {}


def test_a_tag_whose_commit_goes_at_that_moment_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = wrap(monkeypatch, f"memory://{tmp_path.name}")
    publish(seen.url, 1)

    def drop(name: str, path: str) -> None:
        if (name, path) == ("create", "tags/t.json"):
            seen.inner.delete(manifest.commit_path(0))

    seen.before = drop
    with pytest.raises(InputError):
        history.add_tag(seen.url, "t")
    assert history.tags(seen.url) == {}


def test_a_store_that_fails_takes_no_tag_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = wrap(monkeypatch, f"memory://{tmp_path.name}")
    publish(seen.url, 1)
    history.add_tag(seen.url, "paper")

    def fail(name: str, path: str) -> None:
        tried = ("create", "tags/paper.json") in seen.calls[before:]
        if tried and (name, path) == ("get", manifest.commit_path(0)):
            raise InputError(seen.url, "the store failed to read (503)", "Try again")

    before, seen.before = len(seen.calls), fail
    with pytest.raises(InputError, match="503"):
        history.add_tag(seen.url, "paper")
    assert history.tags(seen.url) == {"paper": 0}


def test_what_can_be_no_tag_is_passed_over(url: str) -> None:
    publish(url, 1)
    history.add_tag(url, "paper")
    for name in ("paper (1)", "17"):
        Store(url).put_bytes(f"tags/{name}.json", b"{")
    assert history.tags(url) == {"paper": 0}


def test_a_broken_tag_is_named_and_can_be_deleted(url: str) -> None:
    publish(url, 1)
    Store(url).put_bytes("tags/t.json", b"{")
    with pytest.raises(InputError, match="no readable tag"):
        history.history(url)
    history.delete_tag(url, "t")
    assert len(history.history(url)) == 1


def test_equal_states_do_not_differ_wherever_they_lie(tmp_path: Path) -> None:
    here = publish(f"memory://{tmp_path.name}-a", 1, 2)
    there = publish(f"memory://{tmp_path.name}-b", 2, 1)
    assert history.difference(here, there).empty


def test_a_difference_says_which_shards_and_why(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    before = publish(url, 1, 2, 3, image_px=192)
    after = publish(url, 1, (2, 5), 4, image_px=256)
    found = history.difference(before, after)
    assert [r.key.members for r in found.added] == [(4, 5)]
    assert [r.key.members for r in found.removed] == [(3, 4)]
    assert [(c.after.key.members, c.reasons) for c in found.changed] == [
        ((2, 3), ("stages.pose: 1 -> 5",))
    ]
    assert found.recipe == ("image_px: 192 -> 256",)
    document = json.loads(json.dumps(history.difference_json(found)))
    assert document["before"]["rows"] == document["after"]["rows"] == 6
    assert document["changed"][0]["reasons"] == ["stages.pose: 1 -> 5"]


def test_a_shard_that_grew_is_a_changed_one() -> None:
    url = "memory://grown"
    old = shard(url, 1)
    key = old.key.__class__(source="synth", lot="squat", split="train", members=(1, 2, 3))
    new = dataclasses.replace(old, key=key, action_key="f" * 64)
    before = manifest.publish(url, {}, [old])
    after = manifest.publish(url, {}, [new])
    (changed,) = history.difference(before, after).changed
    assert changed.reasons == ("members: +1 -0",)


def test_reasons_that_are_not_known_are_said_to_be() -> None:
    old = shard("memory://unknown", 1)
    bare = dataclasses.replace(old, inputs={})
    other = dataclasses.replace(bare, action_key="f" * 64)
    assert history.reasons(bare, other) == ("the shards do not say what they were made of",)
    assert history.reasons(old, old) == ("the same inputs gave other bytes",)


def test_a_commit_that_is_cut_short_is_passed_over(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = publish(url, 1)
    Store(url).put_bytes(manifest.commit_path(1), b'{"number": 1, "data')
    last = publish(url, 2)
    assert [entry.commit.number for entry in history.history(url)] == [2, 0]
    assert "cut short" in caplog.text
    assert manifest.open_dataset(f"{url}@{first.dataset_id[:12]}") == first
    assert manifest.open_dataset(url) == last
