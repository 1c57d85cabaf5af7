"""The order of samples is the same whatever reads it, and every epoch shows every sample once."""

import dataclasses
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_crops import MemoryReader, corpus, publish
from wrapped_objects import wrap

from schemas import manifest
from schemas.errors import InputError
from schemas.store import Store
from schemas.training import Streaming
from trainers import order, shelf
from trainers.corpus import Corpus, open_corpus
from trainers.data import SampleStream
from trainers.position import Position
from trainers.task import Batch

ROWS = (7, 1, 12, 5, 9, 3)


def stream(data: Corpus, batch: int = 8, last: order.Last = "keep", **options: int) -> SampleStream:
    settings = Streaming(**({"lanes": 3, "window": 4} | options))
    return SampleStream(
        corpus=data, arrays=("box",), batch=batch, seed=5, options=settings, last=last
    )


def shown(
    s: SampleStream, epoch: int, rank: int = 0, world: int = 1, first: int = 0
) -> list[Batch]:
    batches = s.batches(epoch, lambda b: b, rank=rank, world=world, first_step=first)
    return [batch for _, batch in batches]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets no reader be asked a second time for the machine being busy: each read is counted."""
    monkeypatch.setattr(shelf, "_HEDGE_LEAST_SECONDS", 1000.0)


def ids(batch: Batch) -> list[int]:
    return [int(i) for i in batch.arrays["sample_id"]]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_ranks_together_see_the_batches_of_one_process(world: int) -> None:
    s = stream(corpus(ROWS))
    alone = shown(s, epoch=1)
    ranks = [shown(s, epoch=1, rank=r, world=world) for r in range(world)]
    for step, whole in enumerate(alone):
        parts = [ranks[r][step] for r in range(world)]
        assert [i for p in parts for i in ids(p)] == ids(whole)
        np.testing.assert_array_equal(np.concatenate([p.uniforms for p in parts]), whole.uniforms)
        images = [image for p in parts for image in p.images]
        for a, b in zip(images, whole.images, strict=True):
            np.testing.assert_array_equal(a, b)


def test_every_sample_once_per_epoch_and_epochs_differ() -> None:
    s = stream(corpus(ROWS))
    epochs = [[i for b in shown(s, epoch=e) for i in ids(b)] for e in range(3)]
    assert all(sorted(e) == list(range(sum(ROWS))) for e in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_row_keeps_its_own_picture_and_arrays() -> None:
    data = corpus(ROWS)
    plain = {
        i: image
        for b in shown(stream(data, lanes=1, window=1), epoch=0)
        for i, image in zip(ids(b), b.images, strict=True)
    }
    for b in shown(stream(data), epoch=2):
        for i, image in zip(ids(b), b.images, strict=True):
            np.testing.assert_array_equal(image, plain[i])


def test_restored_at_any_step_the_tail_is_the_same() -> None:
    s = stream(corpus(ROWS))
    whole = [ids(b) for b in shown(s, epoch=0)]
    for first in range(len(whole) + 1):
        again = stream(corpus(ROWS))
        assert [ids(b) for b in shown(again, epoch=0, first=first)] == whole[first:]


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_and_cache_do_not_change_the_order(threads: int) -> None:
    want = [ids(b) for b in shown(stream(corpus(ROWS)), epoch=0)]
    got = shown(stream(corpus(ROWS), threads=threads, cache_mb=1), epoch=0)
    assert [ids(b) for b in got] == want


def one_source(
    rows: Sequence[int] = ROWS, *, lanes: int = 3, window: int = 4, **other: Any
) -> order.Source:
    named = {"identity": "a", "seed": 0, "cycle": lanes} | other
    return order.Source(shard_rows=tuple(rows), lanes=lanes, window=window, **named)


def of_one(source: order.Source, batch: int, last: order.Last = "keep") -> order.Order:
    return order.Order(sources=(source,), weights=(1.0,), batch=batch, last=last)


def test_other_data_another_seed_or_round_give_another_order() -> None:
    def rows(source: order.Source, first: int = 0) -> list[int]:
        return source.take(first, source.rows)[0].tolist()

    a = rows(one_source())
    assert a == rows(one_source())
    assert a != rows(one_source(identity="b"))
    assert a != rows(one_source(seed=1))
    assert a != rows(one_source(), first=sum(ROWS))
    assert rows(one_source(lanes=1, window=0)) == list(range(sum(ROWS)))


@settings(max_examples=60)
@given(
    rows=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    lanes=st.integers(1, 30),
    more=st.integers(0, 40),
    window=st.integers(0, 60),
    cuts=st.lists(st.integers(0, 1000), max_size=6),
)
def test_any_place_is_reached_without_those_before_it(
    rows: list[int], lanes: int, more: int, window: int, cuts: list[int]
) -> None:
    cycle = lanes + more
    source, again = (one_source(rows, lanes=lanes, cycle=cycle, window=window) for _ in range(2))
    whole = source.take(0, 3 * source.rows)[0].tolist()
    edges = sorted({0, 3 * source.rows, *(cut % (3 * source.rows) for cut in cuts)})
    parts = [again.take(a, b - a)[0].tolist() for a, b in reversed(list(pairwise(edges)))]
    assert [row for part in reversed(parts) for row in part] == whole
    for number in range(3):
        assert sorted(whole[number * source.rows :][: source.rows]) == list(range(source.rows))


@settings(max_examples=60)
@given(
    rows=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    batch=st.integers(1, 50),
    lanes=st.integers(1, 30),
    window=st.integers(1, 60),
    world=st.integers(1, 7),
    last=st.sampled_from(["drop", "keep"]),
)
def test_steps_and_ranks_partition_the_epoch(
    rows: list[int], batch: int, lanes: int, window: int, world: int, last: order.Last
) -> None:
    source = one_source(rows, lanes=min(lanes, batch), cycle=batch, window=window)
    found = of_one(source, batch, last)
    seen: list[int] = []
    for step in range(found.steps):
        got = found.batch_rows(0, step)
        parts = [got[order.share(len(got), r, world)] for r in range(world)]
        assert np.concatenate(parts).tolist() == got.tolist()
        sizes = [len(p) for p in parts]
        assert max(sizes) - min(sizes) <= 1
        seen += got.tolist()
    total = sum(rows)
    assert len(seen) == len(set(seen))
    assert len(seen) == (total if last == "keep" or total < batch else total - total % batch)


@pytest.mark.parametrize(("lanes", "batch"), [(6, 20), (24, 64), (4, 4), (24, 96)])
def test_each_track_has_the_same_positions_of_every_batch(lanes: int, batch: int) -> None:
    """So ranks whose number divides the lanes' share none, and two neighbours of others share one track at most."""
    source = one_source((500, 477, 23), lanes=lanes, cycle=batch, window=50)
    found = of_one(source, batch, "drop")
    rows, track = source.take(0, 1000)
    track_of = dict(zip(rows.tolist(), track.tolist(), strict=True))
    steps = range(found.steps)
    shown = {tuple(track_of[r] for r in found.batch_rows(0, t).tolist()) for t in steps}
    (first,) = shown
    assert list(first) == sorted(first)
    tracks = min(2 * lanes, batch)
    assert set(Counter(first).values()) <= {batch // tracks, -(-batch // tracks)}
    for world in range(1, lanes + 1):
        ranks = [{*first[order.share(batch, r, world)]} for r in range(world)]
        shared = [len(a & b) for a, b in pairwise(ranks)]
        assert max(shared, default=0) <= (0 if lanes % world == 0 else 1)
        assert sum(map(len, ranks)) <= 1.5 * tracks


def test_the_order_is_that_of_its_version() -> None:
    """Places of older runs mean nothing in another order: where this fails, raise the version and renew the digest."""
    sources = (
        one_source((500, 477, 23), lanes=5, cycle=13, window=50),
        one_source((90, 200), identity="b", lanes=2, cycle=5, window=50),
    )
    mixed = order.Order(sources=sources, weights=(0.7, 0.3), batch=19, last="keep")
    rows = [mixed.batch_rows(e, t).tolist() for e in range(2) for t in range(mixed.steps)]
    found = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
    assert (order.VERSION, found) == (3, "0a0af9c425d3eab0")


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=4),
    weights=st.lists(st.floats(0.01, 10), min_size=4, max_size=4),
    batch=st.integers(1, 40),
)
def test_a_mixture_keeps_its_shares_at_every_step(
    sizes: list[int], weights: list[float], batch: int
) -> None:
    """And each source is shown round after round, every sample once in each."""
    sources = tuple(one_source((n,), identity=str(i)) for i, n in enumerate(sizes))
    chosen = tuple(weights[: len(sizes)])
    mixture = order.Order(sources=sources, weights=chosen, batch=batch, last="keep")
    starts = np.cumsum([0, *sizes])
    seen: list[list[int]] = [[] for _ in sizes]
    places = 0
    for epoch in range(3):
        for step in range(mixture.steps):
            rows = mixture.batch_rows(epoch, step)
            places += len(rows)
            for row in rows.tolist():
                owner = int(np.searchsorted(starts, row, side="right")) - 1
                seen[owner].append(row - int(starts[owner]))
            for shown, weight in zip(seen, chosen, strict=True):
                slack = len(sizes) + places / order.PERIOD
                assert abs(len(shown) - places * weight / sum(chosen)) <= slack
    for shown, size in zip(seen, sizes, strict=True):
        times = [shown.count(i) for i in range(size)]
        assert max(times) - min(times) <= 1
    assert places == 3 * sum(sizes)


@pytest.mark.parametrize("weights", [(1.0, 2.0), (1.0, 1.0, 1.0), (0.3, 0.7), (7.0, 11.0, 13.0)])
def test_shares_of_long_epochs_are_exact_to_a_sample(weights: tuple[float, ...]) -> None:
    """Rounded to ten thousandths, a third of ten million samples would miss 333."""
    sources = tuple(one_source(identity=str(i)) for i in range(len(weights)))
    mixture = order.Order(sources=sources, weights=weights, batch=64, last="drop")
    for places in (1, 999, 10**7, 10**7 + 5):
        wanted = places * np.array(weights) / sum(weights)
        assert np.abs(mixture.counts(places) - wanted).max() <= 1
        assert mixture.counts(places).sum() == places


def test_a_mixture_of_datasets_is_the_same_for_any_number_of_ranks_and_repeats_the_small_one() -> (
    None
):
    a, b = corpus((7, 12, 5)), corpus((4, 3), seed=1)
    shards = [
        *(dataclasses.replace(s, dataset=0) for s in a.shards),
        *(dataclasses.replace(s, dataset=1) for s in b.shards),
    ]
    mixed = Corpus(dataset_ids=("a", "b"), split="train", shards=tuple(shards), weights=(1.0, 1.0))
    s = stream(mixed, batch=6, last="drop")
    for world in (1, 2, 3, 5):
        ranks = [shown(s, epoch=1, rank=r, world=world) for r in range(world)]
        steps = [[i for rank in ranks for i in ids(rank[t])] for t in range(s.steps)]
        assert steps == [ids(batch) for batch in shown(s, epoch=1)]
    from_b = sum(
        len(rows[rows >= 24]) for t in range(s.steps) for rows in [s.sequence.batch_rows(1, t)]
    )
    assert from_b == s.steps * 3


def test_a_padded_batch_says_which_samples_only_fill_it() -> None:
    s = stream(corpus((7, 4)), batch=8, last="pad")
    first, last = shown(s, epoch=0)
    assert (first.weights is None, last.weights is None) == (False, False)
    assert (len(last), float(np.sum(last.weights))) == (8, 3.0)
    assert [size for size, _ in s.batches(0, lambda b: b)] == [8, 3]
    halves = [shown(s, epoch=0, rank=r, world=2)[-1] for r in range(2)]
    assert [len(h) for h in halves] == [4, 4]
    assert sum(float(np.sum(h.weights)) for h in halves) == 3.0


@pytest.mark.parametrize("then", [1, 2, 3, 5])
@pytest.mark.parametrize("now", [1, 2, 3, 5])
def test_a_run_that_stops_anywhere_goes_on_as_if_it_had_not(then: int, now: int) -> None:
    data = corpus((7, 1, 12, 5))
    s = stream(data, batch=5)
    whole = [ids(b) for b in shown(s, epoch=2)]
    for stop in range(s.steps + 1):
        before = [shown(s, 2, rank=r, world=then)[:stop] for r in range(then)]
        text = s.position(2, stop).to_json()
        assert len(text) < 1024
        epoch, first = stream(data, batch=5).resume(Position.from_json(text))
        after = [shown(s, epoch, rank=r, world=now, first=first) for r in range(now)]
        joined = [
            [i for rank in ranks for i in ids(rank[t])]
            for ranks, count in ((before, stop), (after, s.steps - stop))
            for t in range(count)
        ]
        assert joined == whole


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (lambda: stream(corpus(ROWS, seed=1)), "data"),
        (lambda: stream(corpus(ROWS), batch=7), "batch"),
        (lambda: stream(corpus(ROWS), window=5), "window"),
        (lambda: stream(corpus(ROWS), lanes=2), "lanes"),
        (lambda: stream(corpus(ROWS), last="pad"), "last"),
    ],
)
def test_a_position_in_another_order_is_refused(
    other: Callable[[], SampleStream], named: str
) -> None:
    position = stream(corpus(ROWS)).position(1, 2)
    with pytest.raises(InputError, match=rf"another order of samples \({named}: "):
        other().resume(position)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"order": {}, "epoch": -1, "step": 0}', "x" * 99]
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no position"):
        Position.from_json(text)


@pytest.mark.usefixtures("patient")
def test_a_rank_reads_only_its_lanes_shards() -> None:
    data = corpus([10] * 24, px=16)
    s = stream(data, batch=24, lanes=24, window=10)
    shown(s, epoch=0, rank=1, world=4)
    reader = data.shards[0].store
    assert isinstance(reader, MemoryReader)
    assert len(reader.reads) == len(set(reader.reads)) == 6


@pytest.mark.usefixtures("patient")
def test_ranks_together_read_little_more_than_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a dataset in a store, each rank with a shelf of its own that holds no more than it must."""
    seen = wrap(monkeypatch, f"memory://{tmp_path.name}")
    shards = publish(seen.url, {"train": [6] * 80}, px=16).shards
    data = open_corpus([manifest.open_dataset(seen.url)], "train")
    for world in (2, 3, 8):
        seen.calls.clear()
        for rank in range(world):
            s = stream(data, batch=20, lanes=8)
            s._shelf.limit = 0
            shown(s, epoch=0, rank=rank, world=world)
        read = sum(path.endswith("/image/c/0") for name, path in seen.calls if name == "get")
        assert 1 <= read / len(shards) <= (1.1 if 8 % world == 0 else 1.5)


def test_a_short_epoch_is_one_short_step() -> None:
    assert of_one(one_source((5,)), 8, "drop").steps == 1
    assert of_one(one_source((17,)), 8, "drop").steps == 2
    assert of_one(one_source((17,)), 8, "keep").steps == 3
    assert of_one(one_source((16,)), 8, "pad").steps == 2


@pytest.mark.parametrize(("epoch", "step"), [(0, 5), (0, -1), (-1, 0)])
def test_an_epoch_has_no_step_beyond_its_last(epoch: int, step: int) -> None:
    with pytest.raises(ValueError, match=f"step {step} of epoch {epoch}, which has 5 steps"):
        stream(corpus(ROWS)).sequence.batch_rows(epoch, step)


def test_a_vanished_shard_is_named() -> None:
    data = corpus(ROWS)
    reader = data.shards[2].store
    assert isinstance(reader, MemoryReader)
    del reader.shards["02"]
    with pytest.raises(InputError, match=r"shard 02: vanished.*Build the dataset again"):
        shown(stream(data), epoch=0)


def test_a_damaged_picture_is_named() -> None:
    data = corpus(ROWS)
    reader = data.shards[2].store
    assert isinstance(reader, MemoryReader)
    reader.shards["02"]["image"] = np.zeros_like(reader.shards["02"]["image"])
    with pytest.raises(InputError, match=r"shard 02, row \d+: holds a damaged picture"):
        shown(stream(data), epoch=0)


def test_rows_of_one_photo_share_a_picture_and_frames_do_not() -> None:
    (photos,) = shown(stream(corpus([6], photos=True), batch=6), epoch=0)
    (frames,) = shown(stream(corpus([6]), batch=6), epoch=0)
    assert len(set(photos.arrays["picture"].tolist())) == 3
    assert len(set(frames.arrays["picture"].tolist())) == 6


def test_a_shard_that_is_slow_is_asked_for_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many batches need it."""
    monkeypatch.setattr(shelf, "_HEDGE_LEAST_SECONDS", 0.05)
    data = corpus(ROWS)
    reader = data.shards[2].store
    assert isinstance(reader, MemoryReader)
    real, released, asked = reader.read_arrays, threading.Event(), list[str]()

    def slow(key: str, names: Sequence[str], root: Any = None) -> dict[str, Any]:
        asked.append(key)
        if key == "02" and asked.count(key) == 1:
            released.wait(60)
        return real(key, names, root)

    monkeypatch.setattr(reader, "read_arrays", slow)
    try:
        got = [ids(b) for b in shown(stream(data), epoch=0)]
    finally:
        released.set()
    assert asked.count("02") == 2
    assert got == [ids(b) for b in shown(stream(corpus(ROWS)), epoch=0)]


def test_a_failure_counts_when_no_other_reader_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "_HEDGE_LEAST_SECONDS", 0.05)
    asked, second = list[int](), threading.Event()

    def read(number: int) -> NDArray[np.uint8]:
        asked.append(number)
        if len(asked) == 1:
            second.wait(60)
            raise OSError("the first reader's line is cut")
        second.set()
        return np.zeros(3, np.uint8)

    kept = shelf.Shelf(read, [3], least=3, limit=0)
    assert kept.result(0, kept.get(0)).nbytes == 3
    assert asked == [0, 0]


def test_a_failure_does_not_outrun_a_success_that_came_first() -> None:
    """Both attempts may have ended before either settles the request."""
    failed, good = Future[NDArray[np.uint8]](), Future[NDArray[np.uint8]]()
    failed.set_exception(OSError("the first reader's line is cut"))
    good.set_result(np.zeros(3, np.uint8))
    request = shelf.Request(attempts=[failed, good])
    shelf.Shelf(lambda _: np.zeros(0, np.uint8), [3], least=3, limit=0)._settle(request)
    assert request.answer.result(0).nbytes == 3


def test_what_is_still_being_read_counts_as_held() -> None:
    """A slow store must not let requests pile up."""
    going = threading.Event()

    def read(number: int) -> NDArray[np.uint8]:
        if number:
            going.wait(60)
        return np.zeros(3, np.uint8)

    kept = shelf.Shelf(read, [3] * 12, least=6, limit=12)
    kept.result(0, kept.get(0))
    requests = [kept.get(number) for number in range(1, 12)]
    assert list(kept._held) == [8, 9, 10, 11]
    going.set()
    assert all(kept.result(n, r).nbytes == 3 for n, r in enumerate(requests, 1))


def test_a_stream_that_is_left_reads_no_further_and_can_be_taken_up_again() -> None:
    """Else a program that is interrupted would read all that was asked for before it ends."""
    asked, going = list[int](), threading.Event()

    def read(number: int) -> NDArray[np.uint8]:
        asked.append(number)
        if number:
            going.wait(60)
        return np.zeros(3, np.uint8)

    @dataclasses.dataclass
    class One:
        shards: tuple[int, ...]
        size: int = 1

    def serve() -> Iterator[tuple[int, int]]:
        shares = [One((number,)) for number in range(40)]
        return kept.serve(shares, lambda share, _: share.shards[0], ahead=39, threads=2)

    kept = shelf.Shelf(read, [1] * 40, least=40, limit=0)
    first = serve()
    assert next(first) == (1, 0)
    first.close()  # type: ignore[attr-defined]
    going.set()
    kept._pool.submit(int).result(60)
    assert len(asked) <= 1 + shelf.READERS
    assert [number for _, number in serve()] == list(range(40))
    assert len(asked) == len({*asked}) == 40


def test_a_stream_that_failed_can_be_tried_again() -> None:
    data = corpus(ROWS)
    reader, s = data.shards[2].store, stream(data)
    assert isinstance(reader, MemoryReader)
    held = reader.shards.pop("02")
    with pytest.raises(InputError, match="vanished"):
        shown(s, epoch=0)
    reader.shards["02"] = held
    assert len(shown(s, epoch=0)) == s.steps


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("rows", [[6] * 90, [6, 6, 6, 1] * 30])
def test_memory_is_bounded_as_stated(rows: list[int]) -> None:
    """Also by a few small shards, of which a window touches many."""
    data = corpus(rows, px=16)
    s = stream(data, batch=6, cache_mb=1)
    tight = dataclasses.replace(s, options=s.options.model_copy(update={"cache_mb": 0}))
    held: list[int] = []
    for _ in tight.batches(0, lambda b: held.append(sum(rows[n] for n in [*tight._shelf._held]))):
        pass
    per_row = max(shard.bytes / shard.rows for shard in data.shards)
    assert max(held) * per_row <= tight.window_bytes + 6 * per_row
    assert tight.window_bytes < sum(shard.bytes for shard in data.shards) / 3
    assert sorted(data.shards[0].store.reads) == sorted(s.action_key for s in data.shards)


def damaged(url: str, path: str) -> None:
    data = bytearray(Store(url).get_bytes(path))
    data[len(data) // 2] ^= 1
    Store(url).put_bytes(path, bytes(data))


@pytest.mark.parametrize("name", ["image/c/0", "box/c/0/0", "zarr.json"])
def test_a_flipped_bit_trains_nothing(name: str, url: str) -> None:
    dataset = publish(url, {"train": [5, 4]})
    damaged(url, f"shards/{dataset.shards[1].action_key}/{name}")
    s = stream(open_corpus([manifest.open_dataset(url)], "train"), batch=9)
    with pytest.raises(InputError, match=rf"{dataset.shards[1].action_key}.*other bytes than were"):
        shown(s, epoch=0)


def test_what_was_damaged_on_the_way_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = wrap(monkeypatch, f"memory://{tmp_path.name}")
    publish(seen.url, {"train": [5, 4]})
    s = stream(open_corpus([manifest.open_dataset(seen.url)], "train"), batch=9)
    whole, real, spoilt = [ids(b) for b in shown(s, epoch=0)], seen.inner, set[str]()

    class Spoiling:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def get(self, path: str) -> memoryview:
            data = bytearray(real.get(path))
            if path.startswith("shards/") and path not in spoilt:
                spoilt.add(path)
                data[0] ^= 1
            return memoryview(data)

    seen.inner = Spoiling()  # type: ignore[assignment]
    again = stream(open_corpus([manifest.open_dataset(seen.url)], "train"), batch=9)
    assert [ids(b) for b in shown(again, epoch=0)] == whole
    assert len(spoilt) > 2
