"""Data that join or leave change the shards near them, and no others."""

import functools
from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_recipes import LOTS, synthetic

from schemas.recipes import CocoRecipe
from schemas.shards import ShardKey, unit_hash
from workers import coco, images, produce, synth
from workers.coco_index import CocoIndex, Image, Person
from workers.cutting import cut


def changed_share(before: dict[ShardKey, str], after: dict[ShardKey, str]) -> tuple[int, int]:
    """Returns how many of the old shards are gone, and how many are to be made."""
    old, new = set(before.values()), set(after.values())
    return len(old - new), len(new - old)


@example(subjects=255, more=4, per_shard=9)
@settings(max_examples=25)
@given(subjects=st.integers(100, 400), more=st.integers(1, 4), per_shard=st.integers(2, 12))
def test_subjects_that_join_touch_the_last_shard_of_their_split_only(
    subjects: int, more: int, per_shard: int
) -> None:
    def of(count: int) -> dict[tuple[str, tuple[int, ...]], None]:
        lots = {"squat": {"subjects": count, "frames": 2}, "poses": LOTS["poses"]}
        recipe = synthetic(motions=lots, shard_samples=2 * per_shard)
        return {(key.lot, key.members): None for key in synth.plan(recipe)}

    before, after = of(subjects), of(subjects + more)
    gone = before.keys() - after.keys()
    assert len(gone) <= 3
    assert all(lot == "squat" for lot, _ in gone)
    # Each that joins changes the open shard of its split or begins the next: never more shards than subjects.
    assert len(after.keys() - before.keys()) <= more


class NoPictures(images.Folder):
    """A folder whose every picture has a checksum and none is read."""

    def __init__(self) -> None:
        """Opens nothing."""

    def identity(self, name: str) -> str:
        return f"sha256:{name}"


@functools.cache
def persons(number: int) -> tuple[Person, ...]:
    """Returns the one to three persons of a picture, two on average."""
    return tuple(
        Person(
            annotation_id=10 * number + i,
            image_id=number,
            box=np.array([10.0, 10.0, 50.0, 100.0]),
            area=5000.0,
            keypoints=np.ones((17, 3)),
        )
        for i in range(1 + number % 3)
    )


@functools.cache
def described(number: int) -> Image:
    return Image(image_id=number, file_name=f"{number}.jpg", width=640, height=480, licence=4)


def index(image_ids: Collection[int]) -> CocoIndex:
    """Describes pictures of these numbers."""
    found = tuple(p for number in sorted(image_ids) for p in persons(number))
    return CocoIndex(
        persons=found, pictures={n: described(n) for n in image_ids}, folder=NoPictures()
    )


def coco_keys(image_ids: Collection[int], **changes: Any) -> dict[ShardKey, str]:
    recipe = CocoRecipe.model_validate(
        {"name": "x", "images": "i", "annotations": "a", "shard_samples": 128} | changes
    )
    found = index(image_ids)
    return {
        key: produce.action_key_of(key, produce._coco_inputs(recipe, found, key))
        for key in coco.plan(recipe, found)
    }


def members(image_ids: Collection[int]) -> set[tuple[int, ...]]:
    """Returns the persons of each shard."""
    recipe = CocoRecipe(name="x", images="i", annotations="a", shard_samples=128)
    return {key.members for key in coco.plan(recipe, index(image_ids))}


IDS = sorted(int(n) for n in np.random.default_rng(0).choice(580_000, 11_000, replace=False))
"""Picture numbers as sparse as COCO's; 20,000 persons and more."""


@pytest.fixture(scope="module")
def before() -> dict[ShardKey, str]:
    found = coco_keys(IDS)
    assert sum(len(key.members) for key in found) >= 20_000
    return found


def additions() -> Iterator[tuple[str, Callable[[], list[int]]]]:
    count = len(IDS) // 100
    yield "after the last", lambda: [600_000 + 3 * i for i in range(count)]
    yield "before the first", lambda: [-(i + 1) for i in range(count)]
    yield (
        "in one place",
        lambda: [n for n in range(IDS[5000], IDS[5000] + 400) if n not in IDS][:count],
    )


TRAIN = {"train": 1.0, "val": 0.0, "test": 0.0}


@pytest.mark.parametrize("splits", [None, TRAIN])
@pytest.mark.parametrize("place", [name for name, _ in additions()])
def test_one_percent_more_pictures_touch_one_percent_of_the_shards_and_one_a_split(
    before: dict[ShardKey, str], place: str, splits: dict[str, float] | None
) -> None:
    """What joins in one place joins in one place of every split, so each split adds one to the bound."""
    more = dict(additions())[place]()
    changes = {"splits": splits} if splits else {}
    whole = coco_keys(IDS, **changes) if splits else before
    gone, made = changed_share(whole, coco_keys(sorted({*IDS, *more}), **changes))
    bound = 0.01 * len(whole) + (1 if splits else 3)
    assert gone <= bound
    assert made <= 0.01 * len(whole) + bound + 1  # what joined needs room


def test_pictures_that_leave_touch_their_shards_only(before: dict[ShardKey, str]) -> None:
    for left in (IDS[-110:], IDS[3000:3110]):
        gone, made = changed_share(before, coco_keys(sorted({*IDS} - {*left})))
        assert gone <= 2 * (0.01 * len(before) + 3)  # those that they filled, and the next
        assert made <= 0.01 * len(before) + 3


@settings(max_examples=20)
@given(number=st.integers(0, 580_000))
def test_one_picture_changes_the_blocks_beside_it_only(number: int) -> None:
    """One that ranks lowest may unmake a border on either side of it: three blocks become two."""
    assert len(members(IDS) - members(sorted({*IDS, number}))) <= 6


def test_one_picture_changes_its_own_shard_as_a_rule() -> None:
    rng, whole = np.random.default_rng(2), members(IDS)
    numbers = [int(n) for n in rng.choice(580_000, 20, replace=False)]
    gone = [len(whole - members(sorted({*IDS, number}))) for number in numbers]
    assert sum(gone) <= 1.5 * len(gone)


def test_pictures_all_over_the_numbers_touch_as_many_shards_as_they_fall_into() -> None:
    """No rule that looks at the set alone can gather them; docs/build.md says what to do instead."""
    more = {int(n) for n in np.random.default_rng(1).choice(580_000, 20, replace=False)}
    assert len(members(IDS) - members(sorted({*IDS, *more}))) <= 2 * len(more)


@settings(max_examples=200)
@given(
    sizes=st.lists(st.integers(1, 9), max_size=120), full=st.integers(1, 40), seed=st.integers(0)
)
def test_cuts_divide_no_group_and_fill_no_shard_beyond_one_group(
    sizes: list[int], full: int, seed: int
) -> None:
    ranks = [unit_hash(seed, i) for i in range(len(sizes))]
    ends = cut(ranks, sizes, full)
    assert ends == sorted(set(ends))
    assert ends[-1:] == [len(sizes)] * bool(sizes)
    for start, end in pairwise([0, *ends]):
        held = sizes[start:end]
        assert sum(held) <= full or len(held) == 1 or sum(held[:-1]) < max(1, full // 2)


@settings(max_examples=100)
@given(place=st.integers(0, 400), seed=st.integers(0, 1000), count=st.integers(1, 12))
def test_groups_that_join_in_one_place_change_the_blocks_beside_it_only(
    place: int, seed: int, count: int
) -> None:
    def shards(names: list[int]) -> set[tuple[int, ...]]:
        ends = cut([unit_hash(seed, n) for n in names], [2] * len(names), 64)
        return {tuple(names[a:b]) for a, b in pairwise([0, *ends])}

    old = list(range(400))
    new = [*old[:place], *range(1000, 1000 + count), *old[place:]]
    gone, made = shards(old) - shards(new), shards(new) - shards(old)
    assert len(gone) <= 6
    assert sum(map(len, made)) <= sum(map(len, gone)) + count
