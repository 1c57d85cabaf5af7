"""Windows hold frames of one clip only, every frame is a centre once, and the order is the same whatever reads it."""

import dataclasses
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_crops import MemoryReader

from schemas import layout
from schemas.errors import InputError
from schemas.training import Streaming
from trainers import shelf
from trainers.corpus import Corpus, Shard
from trainers.windows import Windows, WindowStream, clips

CLIPS = ((9, 4, 1), (3,), (11, 2, 6), (5,))
"""Frames of each clip, by shard."""


def marks(frames: tuple[int, ...], fps: float = 30.0) -> dict[str, NDArray[Any]]:
    """Marks clips of several subjects, end to end; time starts anew in each."""
    arrays: dict[str, NDArray[Any]] = layout.empty(layout.Sizes(c=2), sum(frames))
    subject = np.repeat(np.arange(len(frames)), np.array(frames, int))
    place = np.concatenate([np.empty(0), *(np.arange(n) for n in frames)])
    arrays["group_id"][:] = arrays["motion_id"][:] = subject
    arrays["sample_id"][:] = 1000 * subject + place
    arrays["time"][:] = 100.0 * subject + place / fps
    return arrays


def corpus(split: str = "train") -> Corpus:
    """Makes shards in memory whose `q` says the corpus' row, and its shard."""
    reader, shards, row = MemoryReader(), [], 0
    for i, frames in enumerate(CLIPS):
        arrays = marks(frames)
        arrays["q"][:, 0] = np.arange(row, row + sum(frames))
        arrays["q"][:, 1] = i
        reader.shards[str(i)] = arrays
        row += sum(frames)
        shard = Shard(store=reader, action_key=str(i), rows=sum(frames), bytes=1, photos=False)
        shards.append(shard)
    return Corpus(dataset_ids=("clips",), split=split, shards=tuple(shards))


def stream(length: int = 5, batch: int = 8, **more: Any) -> WindowStream:
    options = Streaming(lanes=3, window=4, threads=more.pop("threads", 2))
    return WindowStream(
        corpus=corpus(),
        arrays=("q", "sample_id"),
        batch=batch,
        seed=3,
        options=options,
        length=length,
        last="keep",
        **more,
    )


def shown(s: WindowStream, epoch: int = 0, **more: int) -> list[Windows]:
    return [windows for _, windows in s.batches(epoch, lambda w: w, **more)]


def by_hand(length: int) -> dict[int, tuple[list[int], list[bool]]]:
    """Returns the window about each row and its mask, by walking clip for clip."""
    found, row = {}, 0
    for frames in (n for shard in CLIPS for n in shard):
        first, last = row, row + frames - 1
        for centre in range(first, last + 1):
            wanted = range(centre - length // 2, centre + length // 2 + 1)
            window = [min(max(w, first), last) for w in wanted]
            found[centre] = window, [first <= w <= last for w in wanted]
        row += frames
    return found


@pytest.mark.parametrize("length", [1, 3, 5, 21])
def test_a_window_is_centred_and_never_leaves_its_clip(length: int) -> None:
    want = by_hand(length)
    seen = []
    for windows in shown(stream(length)):
        assert windows.arrays["q"].shape == (len(windows.rows), length, 2)
        for q, mask, row in zip(windows.arrays["q"], windows.mask, windows.rows, strict=True):
            assert (q[:, 0].astype(int).tolist(), mask.tolist()) == want[int(row)]
            seen.append(int(row))
    assert sorted(seen) == sorted(want)


def test_a_stride_takes_every_so_many_rows_of_a_shard_as_centres() -> None:
    rows = sorted(int(r) for w in shown(stream(stride=4)) for r in w.rows)
    starts = np.cumsum([0, *(sum(c) for c in CLIPS)])
    want = [r for a, b in pairwise(starts) for r in range(a, b, 4)]
    assert rows == want
    assert stream(stride=4).count == len(want)


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_together_see_the_batches_of_one_process(world: int) -> None:
    alone = shown(stream(), epoch=1)
    ranks = [shown(stream(threads=r + 1), epoch=1, rank=r, world=world) for r in range(world)]
    for step, whole in enumerate(alone):
        for name in ("q", "sample_id"):
            parts = np.concatenate([ranks[r][step].arrays[name] for r in range(world)])
            np.testing.assert_array_equal(parts, whole.arrays[name])
        masks = np.concatenate([ranks[r][step].mask for r in range(world)])
        np.testing.assert_array_equal(masks, whole.mask)


def test_restored_at_any_step_the_tail_is_the_same() -> None:
    whole = [w.rows.tolist() for w in shown(stream())]
    for first in range(len(whole) + 1):
        assert [w.rows.tolist() for w in shown(stream(), first_step=first)] == whole[first:]


def test_epochs_differ_unless_the_order_is_the_stored_one() -> None:
    def rows(s: WindowStream, epoch: int) -> list[int]:
        return [int(r) for w in shown(s, epoch) for r in w.rows]

    assert rows(stream(), 0) != rows(stream(), 1)
    assert rows(stream(shuffle=False), 0) == list(range(stream().count))


def test_a_shelf_too_small_for_the_epoch_changes_nothing() -> None:
    small = stream()
    small._shelf.least, small._shelf.limit = 1, -1
    got = [w.arrays["q"].tolist() for w in shown(small)]
    assert got == [w.arrays["q"].tolist() for w in shown(stream())]
    assert len(small._shelf._held) == 1


def test_a_shard_that_is_slow_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "_HEDGE_LEAST_SECONDS", 0.05)
    s, asked, released = stream(), list[str](), threading.Event()
    reader = s.corpus.shards[1].store
    assert isinstance(reader, MemoryReader)
    real = reader.read_arrays

    def slow(key: str, names: Sequence[str], root: Any = None) -> dict[str, Any]:
        asked.append(key)
        if key == "1" and asked.count(key) == 1:
            released.wait(60)
        return real(key, names, root)

    monkeypatch.setattr(reader, "read_arrays", slow)
    try:
        got = [w.rows.tolist() for w in shown(s)]
    finally:
        released.set()
    assert got == [w.rows.tolist() for w in shown(stream())]
    assert sorted(asked) == ["0", "1", "1", "2", "3"]


def test_a_refused_frame_a_jump_in_time_and_another_subject_end_a_clip() -> None:
    whole = marks((6,))
    assert clips(whole)[0].tolist() == [0] * 6
    refused = {name: np.delete(values, 2) for name, values in whole.items() if values.ndim == 1}
    assert clips(refused)[0].tolist() == [0, 0, 2, 2, 2]
    late = {name: values.copy() for name, values in whole.items()}
    late["time"][3:] += 0.05
    assert clips(late)[0].tolist() == [0, 0, 0, 3, 3, 3]
    other = {name: values.copy() for name, values in whole.items()}
    other["motion_id"][4:] = 7
    assert clips(other)[1].tolist() == [3, 3, 3, 3, 5, 5]


def test_long_recordings_keep_their_clips() -> None:
    fast = marks((400,), fps=240.0)
    fast["time"] += np.float32(900)
    assert set(clips(fast)[1].tolist()) == {399}


def test_no_rows_are_no_clips() -> None:
    first, last = clips(marks(()))
    assert len(first) == len(last) == 0


@pytest.mark.parametrize("kind", ["photographs", "random poses", "spread frames"])
def test_rows_that_are_no_frames_of_a_clip_stand_alone(kind: str) -> None:
    rng, arrays = np.random.default_rng(0), marks((20,))
    arrays["time"][:] = {
        "photographs": np.full(20, np.nan),
        "random poses": np.arange(20.0),
        "spread frames": (np.arange(20) + rng.random(20)) / 30,
    }[kind]
    first, last = clips(arrays)
    # A few of the spread frames may happen to lie a usual step apart.
    assert (first == last).mean() >= (0.8 if kind == "spread frames" else 1.0)


def test_what_cannot_be_windowed_is_refused() -> None:
    with pytest.raises(InputError, match="length=4: has no centre"):
        stream(length=4)
    with pytest.raises(InputError, match="stride=0: takes no step"):
        stream(stride=0)
    with pytest.raises(InputError, match="image: is no label"):
        WindowStream(corpus=corpus(), arrays=("image",), batch=2, seed=0, options=Streaming())
    mixed = dataclasses.replace(corpus(), weights=(1.0,))
    with pytest.raises(InputError, match="mixes no windows"):
        dataclasses.replace(stream(), corpus=mixed)
    s = stream()
    reader = s.corpus.shards[1].store
    assert isinstance(reader, MemoryReader)
    del reader.shards["1"]
    with pytest.raises(InputError, match="shard 1: vanished"):
        shown(s)
