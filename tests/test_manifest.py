"""Publishing: an identity that order cannot change, no commit twice, one chain whoever races, broken ones named."""

import dataclasses
import io
import json
import tempfile
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas import manifest, receipts
from schemas.errors import InputError
from schemas.shards import Quarantined, ShardKey, ShardReceipt, canonical_digest
from schemas.spool import Spool
from schemas.statistics import Histogram, Statistics
from schemas.store import Store


def receipt(number: int, rows: int = 2) -> ShardReceipt:
    """Makes a receipt whose shard differs from those of other numbers."""
    return ShardReceipt(
        action_key=f"{number:064x}",
        key=ShardKey(source="synth", lot="squat", split="train", members=(number, number + 1)),
        rows=rows,
        bytes=100 * number,
        root=f"{number + 1000:064x}",
        statistics=Statistics(
            histograms={"knee": Histogram.of(np.array([number, 50.0]), "deg")},
            counts={"rows": rows},
        ),
        quarantine=(Quarantined(sample=f"squat/{number}/0", reason="r", detail="d"),),
        skeleton="f" * 64,
    )


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Returns the URL of an empty store of each kind."""
    if request.param == "memory":
        return f"memory://{tmp_path.name}-manifest"
    return str(tmp_path / "set")


def commits(url: str) -> list[dict[str, Any]]:
    store = Store(url)
    return [json.loads(store.get_bytes(path)) for path in store.list_paths("commits")]


def test_a_receipt_survives_json() -> None:
    data = json.loads(json.dumps(receipts.to_json(receipt(3)), allow_nan=False))
    assert receipts.from_json(data) == receipt(3)


def test_the_dataset_id_is_a_matter_of_content_not_of_order() -> None:
    rows = [receipt(i) for i in range(5)]
    assert receipts.identity_of(rows) == receipts.identity_of(reversed(rows))
    assert receipts.identity_of(rows) != receipts.identity_of(rows[:4])


@pytest.mark.parametrize("count", [0, 1, 5])
def test_the_dataset_id_is_the_digest_of_the_sorted_list(count: int) -> None:
    rows = [receipt(i) for i in range(count)]
    listed = sorted([r.action_key, r.key.split, r.root] for r in rows)
    assert receipts.identity_of(rows) == canonical_digest(listed)


def test_a_manifest_written_group_by_group_is_the_one_written_at_once() -> None:
    rows, whole = [receipt(i) for i in range(600)], io.BytesIO()
    table = pa.Table.from_pylist(receipts.records(rows), schema=receipts.SCHEMA)
    pq.write_table(table, whole, compression="zstd", use_dictionary=False, row_group_size=256)
    assert receipts.to_parquet(rows) == whole.getvalue()


def wide(number: int) -> ShardReceipt:
    """Makes a receipt with as many statistics as a real one."""
    drawn = np.random.default_rng(number).normal(size=(90, 50))
    histograms = {f"quantity_{i}": Histogram.of(drawn[i], "m") for i in range(90)}
    inputs = {"settings": {f"setting_{i}": i for i in range(100)}}
    return dataclasses.replace(
        receipt(number), statistics=Statistics(histograms=histograms), inputs=inputs
    )


def test_who_holds_many_receipts_holds_little_of_each() -> None:
    spool, count = Spool(), 600
    made = [wide(i) for i in range(count)]
    receipts.to_parquet(made[:1])  # imports pandas
    tracemalloc.start()
    try:
        held = [receipts.spooled(each, spool) for each in made]
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        data = receipts.to_parquet(held)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after / count < 2000
    assert peak - after < 300 * 20_000  # of one row group, not of all
    assert receipts.from_parquet(data) == tuple(held) == tuple(made)


def test_a_reader_makes_no_temporary_file(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest.publish(url, {}, [wide(1)])
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: pytest.fail("a temporary file"))
    shards = manifest.open_dataset(url).shards
    assert shards[0].statistics == wide(1).statistics


def test_what_is_published_is_what_is_opened(url: str) -> None:
    rows = [receipt(i) for i in (4, 2, 3)]
    made = manifest.publish(url, {"name": "x"}, rows)
    found = manifest.open_dataset(url)
    assert made == found == manifest.find_dataset(url)
    assert found.shards == (rows[1], rows[2], rows[0])
    assert (found.number, found.commit.parent, found.rows, found.bytes) == (0, None, 6, 900)
    assert found.statistics.counts == {"rows": 6}
    assert found.skeletons == ("f" * 64,)
    assert found.dataset_id == receipts.identity_of(rows)


def test_the_same_state_again_is_no_commit(url: str) -> None:
    first = manifest.publish(url, {"name": "x"}, [receipt(1), receipt(2)])
    again = manifest.publish(url, {"name": "x"}, [receipt(2), receipt(1)])
    assert again == first
    assert len(commits(url)) == 1


def test_another_recipe_or_another_shard_is_a_new_link_of_the_chain(url: str) -> None:
    first = manifest.publish(url, {"name": "x"}, [receipt(1)])
    renamed = manifest.publish(url, {"name": "y"}, [receipt(1)])
    grown = manifest.publish(url, {"name": "y"}, [receipt(1), receipt(2)])
    back = manifest.publish(url, {"name": "x"}, [receipt(1)])
    assert [c["number"] for c in commits(url)] == [0, 1, 2, 3]
    assert renamed.dataset_id == first.dataset_id
    assert grown.commit.parent == first.dataset_id
    assert back.dataset_id == first.dataset_id
    assert len(Store(url).list_paths("manifests")) == 2


def test_publishers_that_race_end_in_one_chain_and_each_gets_its_own(url: str) -> None:
    count = 6
    start, made = threading.Barrier(count), {}

    def publish(number: int) -> None:
        start.wait()
        made[number] = manifest.publish(url, {"name": str(number)}, [receipt(number)])

    threads = [threading.Thread(target=publish, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chain = commits(url)
    assert [c["number"] for c in chain] == list(range(count))
    assert [c["parent"] for c in chain] == [None, *(c["dataset_id"] for c in chain[:-1])]
    assert {c["recipe"]["name"] for c in chain} == {str(i) for i in range(count)}
    for number, dataset in made.items():
        assert dataset.shards == (receipt(number),)
        assert dataset.recipe == {"name": str(number)}


def test_a_loser_of_the_race_reads_again_and_names_the_winner_as_its_parent(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, rival = Store.create_bytes, receipt(9)

    def beaten(self: Store, path: str, data: bytes) -> bool:
        if path.startswith("commits/"):
            monkeypatch.setattr(Store, "create_bytes", create)
            manifest.publish(url, {"name": "rival"}, [rival])
        return create(self, path, data)

    monkeypatch.setattr(Store, "create_bytes", beaten)
    mine = manifest.publish(url, {"name": "mine"}, [receipt(1)])
    assert mine.number == 1
    assert mine.commit.parent == receipts.identity_of([rival])


def test_a_publisher_gets_its_own_state_though_another_follows_at_once(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Store.create_bytes

    def followed(self: Store, path: str, data: bytes) -> bool:
        made = create(self, path, data)
        if path.startswith("commits/"):
            monkeypatch.setattr(Store, "create_bytes", create)
            manifest.publish(url, {"name": "rival"}, [receipt(9)])
        return made

    monkeypatch.setattr(Store, "create_bytes", followed)
    mine = manifest.publish(url, {"name": "mine"}, [receipt(1)])
    assert (mine.number, mine.recipe) == (0, {"name": "mine"})
    assert manifest.open_dataset(url).recipe == {"name": "rival"}


def test_an_empty_place_is_named(url: str) -> None:
    assert manifest.find_dataset(url) is None
    with pytest.raises(InputError, match="holds no published dataset"):
        manifest.open_dataset(url)


BREAKS = {
    "not json": lambda c: b"{",
    "not a mapping": lambda c: b"[1]",
    "null": lambda c: b"null",
    "no identity": lambda c: json.dumps({k: v for k, v in c.items() if k != "dataset_id"}).encode(),
    "a number that is none": lambda c: json.dumps(c | {"number": "x"}).encode(),
    "not text": lambda c: b"\xff\xfe\x00",
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_commit_is_named(url: str, broken: str) -> None:
    manifest.publish(url, {"name": "x"}, [receipt(1)])
    path = Store(url).list_paths("commits")[0]
    Store(url).put_bytes(path, BREAKS[broken](commits(url)[0]))
    with pytest.raises(InputError, match="cannot be read") as caught:
        manifest.open_dataset(url)
    assert path in str(caught.value)


def test_a_commit_that_names_another_manifest_is_named(url: str) -> None:
    manifest.publish(url, {"name": "x"}, [receipt(1)])
    path = Store(url).list_paths("commits")[0]
    for other in ("0" * 64, "../../secret"):
        document = json.dumps(commits(url)[0] | {"dataset_id": other}).encode()
        Store(url).put_bytes(path, document)
        with pytest.raises(InputError, match=r"cannot be read|is missing"):
            manifest.open_dataset(url)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no parquet at all" * 10])
def test_a_broken_manifest_is_named(url: str, data: bytes) -> None:
    made = manifest.publish(url, {"name": "x"}, [receipt(1)])
    Store(url).put_bytes(f"manifests/{made.dataset_id}.parquet", data)
    with pytest.raises(InputError, match="cannot be read"):
        manifest.open_dataset(url)


def test_a_manifest_cut_short_is_named(url: str) -> None:
    made = manifest.publish(url, {"name": "x"}, [receipt(i) for i in range(20)])
    path = f"manifests/{made.dataset_id}.parquet"
    whole = Store(url).get_bytes(path)
    Store(url).put_bytes(path, whole[: len(whole) // 2] + whole[-8:])
    with pytest.raises(InputError, match="cannot be read"):
        manifest.open_dataset(url)


def test_a_dataset_without_shards_can_be_published(url: str) -> None:
    assert manifest.publish(url, {}, []).rows == 0
    assert manifest.open_dataset(url).statistics == Statistics()
