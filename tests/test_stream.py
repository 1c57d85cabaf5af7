"""The order of samples is the same whatever reads it, and every epoch shows every sample once."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_crops import MemoryReader, corpus

from schemas.errors import InputError
from schemas.training import Streaming
from trainers import order
from trainers.corpus import Corpus
from trainers.data import SampleStream
from trainers.task import Batch

ROWS = (7, 1, 12, 5, 9, 3)


def stream(data: Corpus, batch: int = 8, **options: int) -> SampleStream:
    settings = Streaming(**({"lanes": 3, "window": 4} | options))
    return SampleStream(
        corpus=data, arrays=("box",), batch=batch, seed=5, options=settings, drop_last=False
    )


def shown(
    s: SampleStream, epoch: int, rank: int = 0, world: int = 1, first: int = 0
) -> list[Batch]:
    batches = s.batches(epoch, lambda b: b, rank=rank, world=world, first_step=first)
    return [batch for _, batch in batches]


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


def test_other_data_or_another_seed_give_another_order() -> None:
    common = {"epoch": 0, "lanes": 3, "window": 4}
    a = order.epoch_sequence(ROWS, identity="a", seed=0, **common)
    assert a.tolist() != order.epoch_sequence(ROWS, identity="b", seed=0, **common).tolist()
    assert a.tolist() != order.epoch_sequence(ROWS, identity="a", seed=1, **common).tolist()
    assert a.tolist() == order.epoch_sequence(ROWS, identity="a", seed=0, **common).tolist()


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    batch=st.integers(1, 50),
    lanes=st.integers(1, 30),
    window=st.integers(1, 60),
    world=st.integers(1, 7),
)
def test_steps_and_ranks_partition_the_epoch(
    rows: list[int], batch: int, lanes: int, window: int, world: int
) -> None:
    lanes = min(lanes, batch)
    sequence = order.epoch_sequence(rows, identity="x", seed=1, epoch=0, lanes=lanes, window=window)
    seen: list[int] = []
    for step in range(order.steps(sum(rows), batch, drop_last=False)):
        got = order.batch_rows(sequence, batch=batch, step=step, lanes=lanes)
        parts = [got[order.share(len(got), r, world)] for r in range(world)]
        assert np.concatenate(parts).tolist() == got.tolist()
        sizes = [len(p) for p in parts]
        assert max(sizes) - min(sizes) <= 1
        seen += got.tolist()
    assert sorted(seen) == list(range(sum(rows)))


def test_each_lane_gives_its_share_of_every_batch() -> None:
    sequence = order.epoch_sequence((500,), identity="x", seed=1, epoch=0, lanes=6, window=50)
    lane_of = {int(row): g % 6 for g, row in enumerate(sequence)}
    for step in range(order.steps(500, 20, drop_last=True)):
        rows = order.batch_rows(sequence, batch=20, step=step, lanes=6)
        lanes = [lane_of[int(r)] for r in rows]
        assert lanes == sorted(lanes)
        assert set(Counter(lanes).values()) <= {3, 4}


def test_a_rank_reads_only_its_lanes_shards() -> None:
    data = corpus([10] * 24, px=16)
    s = stream(data, batch=24, lanes=24, window=10)
    shown(s, epoch=0, rank=1, world=4)
    reader = data.shards[0].store
    assert isinstance(reader, MemoryReader)
    assert len(reader.reads) == len(set(reader.reads)) == 6


def test_a_short_epoch_is_one_short_step() -> None:
    assert order.steps(5, 8, drop_last=True) == 1
    assert order.steps(17, 8, drop_last=True) == 2
    assert order.steps(17, 8, drop_last=False) == 3


def test_a_vanished_shard_is_named() -> None:
    data = corpus(ROWS)
    reader = data.shards[2].store
    assert isinstance(reader, MemoryReader)
    del reader.shards["02"]
    with pytest.raises(InputError, match="shard 02: vanished"):
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
