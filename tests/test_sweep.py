"""Garbage collection keeps what commits, tags and builds name, wherever it is stopped and whoever comes between."""

import contextlib
import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tiny_history import every_object, publish, shard, whole_shards_are_whole
from wrapped_objects import Crash, Wrapped, wrap

from pipeline import history, inventory, sweep, verify
from schemas import leases, manifest
from schemas.errors import InputError
from schemas.shards import ShardReceipt
from schemas.store import Store

NOW = timedelta(0)
LAST = sweep.Policy(grace=NOW, keep_last=1)
ALL = sweep.Policy(grace=NOW)


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wrapped:
    """Returns a recorded store in memory."""
    return wrap(monkeypatch, f"memory://{tmp_path.name}")


def collect(url: str, policy: sweep.Policy = LAST) -> sweep.Swept:
    return sweep.sweep(url, policy, sweep.survey(url, policy))


def settle(url: str) -> None:
    """Lets the store's clock go on: some tell whole seconds, a disk's ticks are milliseconds."""
    time.sleep(0.02 if url.startswith(("memory:", "/")) else 1.1)


def roots(url: str) -> set[str]:
    return {p.split("/")[1] for p in Store(url).list_paths("shards") if p.endswith("zarr.json")}


def test_by_default_only_what_no_commit_names_goes(url: str) -> None:
    publish(url, 1)
    publish(url, 2, complete=False)
    kept = publish(url, 3)
    stray = shard(url, 4)
    torn = shard(url, 5)
    Store(url).objects.delete(inventory.root_of(torn.action_key))
    settle(url)
    before = every_object(url)
    found = sweep.survey(url, ALL)
    assert every_object(url) == before  # a survey removes nothing
    assert {d.name for d in found.doomed} == {stray.action_key, torn.action_key}
    assert found.bytes > 0
    swept = sweep.sweep(url, ALL, found)
    assert (len(swept.removed), swept.spared, swept.bytes) == (2, [], found.bytes)
    assert [verify.verify(f"{url}@{n}") for n in range(3)] == [[], [], []]
    assert manifest.open_dataset(url) == kept
    assert collect(url, ALL).removed == []


def test_what_is_younger_than_the_grace_period_stays(url: str) -> None:
    publish(url, 1)
    shard(url, 2)
    publish(url, 3)
    found = sweep.survey(url, sweep.Policy(keep_last=1))
    assert (found.doomed, found.young, found.commits) == ((), 1, (0, 1))


def test_the_last_complete_states_the_tagged_ones_and_what_follows_are_kept(url: str) -> None:
    for number in range(5):
        publish(url, number, complete=number != 3)
    publish(url, 9, complete=False)
    history.add_tag(url, "paper", "1")
    settle(url)
    assert sweep.survey(url, sweep.Policy(grace=NOW, keep_last=2)).commits == (1, 2, 4, 5)
    collect(url)
    assert manifest.commit_numbers(url) == [1, 4, 5]
    assert len(roots(url)) == len(Store(url).list_paths("manifests")) == 3
    for reference in ("paper", "4", "5"):
        assert verify.verify(f"{url}@{reference}") == []
    with pytest.raises(InputError, match="names no commit"):
        manifest.open_dataset(f"{url}@0")


def test_days_are_counted_by_the_store(url: str) -> None:
    publish(url, 1)
    publish(url, 2)
    settle(url)
    assert sweep.survey(url, sweep.Policy(grace=NOW, keep_days=1)).commits == (0, 1)
    assert sweep.survey(url, sweep.Policy(grace=NOW, keep_days=0)).commits == (1,)


def test_without_a_complete_state_every_commit_is_kept(url: str) -> None:
    publish(url, 1, complete=False)
    publish(url, 2, complete=False)
    settle(url)
    assert sweep.survey(url, LAST).commits == (0, 1)
    assert collect(url).removed == []


def test_skeletons_models_and_dead_leases_go_with_the_last_that_names_them(
    seen: Wrapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = shard(seen.url, 1, model=b"old model")
    manifest.publish(seen.url, {}, [old])
    publish(seen.url, 2)
    Store(seen.url).put_bytes(f"skeletons/{'0' * 64}.json", b"{}")
    Store(seen.url).put_bytes(f"builds/{'1' * 32}.json", b"broken long ago")
    Store(seen.url).put_bytes(f"builds/{'2' * 32}.now", b"")
    monkeypatch.setattr(leases, "DEAD_AFTER", NOW)
    assert {d.kind for d in collect(seen.url).removed} == {
        *("commit", "manifest", "shard", "skeleton", "model", "lease")
    }
    assert len(Store(seen.url).list_paths("models")) == 1
    assert Store(seen.url).list_paths("builds") == []
    assert verify.verify(seen.url) == []


def test_a_model_that_only_the_shard_itself_names_is_kept(seen: Wrapped) -> None:
    receipt = shard(seen.url, 1)
    silent = dataclasses.replace(receipt, inputs={})
    manifest.publish(seen.url, {}, [silent])
    assert collect(seen.url).removed == []
    assert len(Store(seen.url).list_paths("models")) == 1


def test_shards_are_asked_for_their_models_once_and_not_for_every_stray_one(seen: Wrapped) -> None:
    silent = dataclasses.replace(shard(seen.url, 1), inputs={})
    manifest.publish(seen.url, {}, [silent])
    for number in range(5):
        Store(seen.url).put_model(f"model {number}".encode())
    assert len(collect(seen.url).removed) == 5
    asked = seen.calls.count(("get", inventory.root_of(silent.action_key)))
    assert asked == 2  # by the survey, and by the sweep


def test_manifests_are_looked_at_one_at_a_time(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        manifest.publish(url, {}, [shard(url, number)])
    Store(url).put_model(b"stray")
    settle(url)
    done, model_of, read_shards = list[str](), inventory.model_of, manifest.read_shards

    def asked(receipt: ShardReceipt) -> str | None:
        done.append("asked")
        return model_of(receipt)

    def read(url: str, dataset_id: str) -> tuple[ShardReceipt, ...]:
        done.append("read")
        return read_shards(url, dataset_id)

    monkeypatch.setattr(inventory, "model_of", asked)
    monkeypatch.setattr(manifest, "read_shards", read)
    assert len(collect(url, ALL).removed) == 1
    assert done.count("read") >= 4
    assert all(pair != ("read", "read") for pair in itertools.pairwise(done))


def test_names_that_are_not_ours_are_left_alone(url: str) -> None:
    publish(url, 1)
    strange = ["shards/notes/a.txt", "shards/loose", "manifests/readme", "models/a.osim", "x/y"]
    for path in strange:
        Store(url).put_bytes(path, b"mine")
    settle(url)
    assert collect(url).removed == []


def test_a_running_build_is_spared(url: str) -> None:
    publish(url, 1)
    publish(url, 2)
    stray = shard(url, 3)
    settle(url)
    with leases.hold(url, [stray.action_key]):
        found = sweep.survey(url, LAST)
        # What manifest it will publish is not known, so none goes.
        assert {d.kind for d in found.doomed} == {"commit", "shard"}
        assert stray.action_key not in {d.name for d in found.doomed}
        assert found.builds == 1
        collect(url)
    assert stray.action_key in roots(url)
    assert stray.action_key in {d.name for d in collect(url).removed}


@contextlib.contextmanager
def ends_at_once(url: str, receipt: ShardReceipt) -> Iterator[None]:
    """A build that begins, publishes what it found and ends."""
    with leases.hold(url, [receipt.action_key]):
        manifest.publish(url, {"name": "again"}, [receipt])
    yield


@contextlib.contextmanager
def goes_on(url: str, receipt: ShardReceipt) -> Iterator[None]:
    """A build that begins and goes on."""
    with leases.hold(url, [receipt.action_key]):
        yield


@pytest.mark.parametrize("between", [ends_at_once, goes_on])
@pytest.mark.parametrize("after", range(0, 12, 3))
def test_a_build_that_begins_between_two_deletions_is_spared(
    between: Callable[[str, ShardReceipt], contextlib.AbstractContextManager[None]],
    after: int,
    seen: Wrapped,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes the collection, which has slept long, for dead, wants a shard that nothing named before, the last
    that would go, and does not write it again.
    """
    monkeypatch.setattr(leases, "SWEEP_DEAD_AFTER", timedelta(seconds=-1))
    for number in (1, 2, 4):
        publish(seen.url, number)
    stray = shard(seen.url, 3)
    found = sweep.survey(seen.url, LAST)
    order = sorted(found.doomed, key=lambda d: d.name == stray.action_key)
    found = sweep.Survey(**{**found.__dict__, "doomed": tuple(order)})
    deletions = 0
    with contextlib.ExitStack() as stack:

        def begin(name: str, path: str) -> None:
            nonlocal deletions
            if name == "delete" and not path.endswith(".now"):
                deletions += 1
                if deletions == after + 1:
                    seen.before = Wrapped.nothing
                    stack.enter_context(between(seen.url, stray))

        seen.before = begin
        swept = sweep.sweep(seen.url, LAST, found)
        assert deletions == after + 1
        assert stray.action_key in roots(seen.url)
        assert stray.action_key in {d.name for d in swept.spared}
    assert verify.verify(seen.url) == []


def test_a_tag_that_is_made_while_its_commit_goes_brings_it_back(seen: Wrapped) -> None:
    first = publish(seen.url, 1)
    publish(seen.url, 2)
    found = sweep.survey(seen.url, LAST)

    def tag(name: str, path: str) -> None:
        if (name, path) == ("delete", manifest.commit_path(0)):
            seen.before = Wrapped.nothing
            history.add_tag(seen.url, "t", "0")

    seen.before = tag
    swept = sweep.sweep(seen.url, LAST, found)
    assert swept.removed == []
    assert manifest.open_dataset(f"{seen.url}@t") == first
    assert verify.verify(f"{seen.url}@t") == []


def test_a_crash_before_any_deletion_leaves_kept_states_whole_and_a_second_run_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends, crash = None, -1
    while True:
        url = f"memory://{tmp_path.name}-{crash}"
        for number in range(3):
            publish(url, number)
        publish(url, 2, 3, 4)
        history.add_tag(url, "t", "0")
        with monkeypatch.context() as patch:
            seen = wrap(patch, url)
            deletions = []

            def dies(name: str, path: str, dead: list[str] = deletions, at: int = crash) -> None:
                if name == "delete" and not path.endswith(".now"):
                    dead.append(path)
                if at >= 0 and len(dead) > at:
                    raise Crash

            found = sweep.survey(url, LAST)
            seen.before = dies
            with contextlib.suppress(Crash):
                sweep.sweep(url, LAST, found)
        died = crash >= 0 and len(deletions) > crash
        assert whole_shards_are_whole(url)
        for reference in ("@t", "@3", ""):
            assert verify.verify(f"{url}{reference}") == []
        collect(url)
        left = {path for path in every_object(url) if not path.startswith("builds/")}
        ends = ends or left
        assert left == ends
        if crash >= 0 and not died:
            break
        crash += 1
    assert crash > 6


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_an_hour_of_clock_skew_does_not_matter(skew: float, seen: Wrapped) -> None:
    publish(seen.url, 1)
    publish(seen.url, 2)
    stray = shard(seen.url, 3)
    seen.skew = timedelta(seconds=skew)
    half_hour = sweep.Policy(grace=timedelta(minutes=30), keep_last=1)
    assert sweep.survey(seen.url, half_hour).doomed == ()
    with leases.hold(seen.url, [stray.action_key]):
        assert sweep.survey(seen.url, LAST).builds == 1
    assert stray.action_key in {d.name for d in collect(seen.url).removed}


def test_a_listing_that_lags_behind_loses_nothing_that_is_kept(seen: Wrapped) -> None:
    publish(seen.url, 1)
    newest = publish(seen.url, 2)
    hidden = {manifest.commit_path(1), inventory.root_of(newest.shards[0].action_key)}
    seen.hidden = lambda path: path in hidden
    collect(seen.url)
    seen.hidden = lambda path: False
    assert manifest.open_dataset(seen.url) == newest
    assert verify.verify(seen.url) == []


def test_a_root_that_the_listing_lacks_goes_first_all_the_same(seen: Wrapped) -> None:
    publish(seen.url, 1)
    stray = shard(seen.url, 2)
    seen.hidden = lambda path: path.endswith("zarr.json")
    seen.calls.clear()
    collect(seen.url)
    deleted = [path for name, path in seen.calls if name == "delete" and "shards" in path]
    assert deleted[0] == inventory.root_of(stray.action_key)
    assert len(deleted) == 3


def test_a_kept_state_that_cannot_be_read_stops_the_collection(url: str) -> None:
    publish(url, 1)
    made = publish(url, 2)
    shard(url, 3)
    Store(url).put_bytes(manifest.manifest_path(made.dataset_id), b"rotten")
    before = every_object(url)
    with pytest.raises(InputError, match="cannot be read"):
        sweep.survey(url, LAST)
    assert every_object(url) == before


def test_a_link_to_elsewhere_is_not_followed(tmp_path: Path) -> None:
    url, elsewhere = str(tmp_path / "set"), tmp_path / "elsewhere"
    publish(url, 1)
    elsewhere.mkdir()
    (elsewhere / "zarr.json").write_text("{}")
    (tmp_path / "set" / "shards" / ("f" * 64)).symlink_to(elsewhere)
    settle(url)
    with pytest.raises(InputError, match="is a symbolic link"):
        sweep.sweep(url, ALL, sweep.survey(url, ALL))
    assert (elsewhere / "zarr.json").exists()


@pytest.mark.parametrize(
    "policy",
    [
        sweep.Policy(grace=timedelta(hours=-1)),
        sweep.Policy(keep_last=0),
        sweep.Policy(keep_days=-1.0),
        sweep.Policy(keep_days=float("nan")),
    ],
)
def test_absurd_policies_are_refused(policy: sweep.Policy, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="keeps nothing"):
        sweep.survey(str(tmp_path / "set"), policy)


def test_an_empty_place_is_named_and_stays_empty(url: str) -> None:
    with pytest.raises(InputError, match="holds no dataset"):
        collect(url)
    assert Store(url).list_paths("") == []


def test_a_build_that_begins_while_shards_are_deleted_waits_and_makes_them_again(
    seen: Wrapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_POLL_SECONDS", 0.01)
    publish(seen.url, 1)
    stray = shard(seen.url, 2)
    began, listed = threading.Event(), list[set[str]]()

    def build() -> None:
        with leases.hold(seen.url, [stray.action_key]):
            listed.append({path for path in every_object(seen.url) if stray.action_key in path})

    builder = threading.Thread(target=build, daemon=True)

    def begin_a_build(name: str, path: str) -> None:
        if name == "delete" and stray.action_key in path and not began.is_set():
            began.set()
            builder.start()
            seen.wait_for_call("create", ".json")

    seen.before = begin_a_build
    collect(seen.url)
    builder.join(120)
    assert began.is_set()
    assert listed == [set()]


def test_a_build_waits_no_longer_for_a_collection_that_was_killed(
    seen: Wrapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "SWEEP_DEAD_AFTER", timedelta(seconds=0.5))
    monkeypatch.setattr(leases, "_POLL_SECONDS", 0.01)
    Store(seen.url).put_bytes(f"builds/{'4' * 32}.sweep", b"")
    with leases.hold(seen.url, []):
        assert leases.sweeps(seen.url) == frozenset()
    publish(seen.url, 1)
    sweep.sweep(seen.url, LAST, sweep.survey(seen.url, LAST))
    assert not [path for path in every_object(seen.url) if path.endswith(".sweep")]


def test_what_a_commit_that_is_cut_short_names_is_not_guessed(url: str) -> None:
    publish(url, 1)
    Store(url).put_bytes(manifest.commit_path(1), b'{"number": 1, "data')
    before = every_object(url)
    with pytest.raises(InputError, match=r"cut short.*Delete this object"):
        sweep.survey(url, ALL)
    assert every_object(url) == before
