"""What a stream reads: the shards of one split of one or several datasets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from schemas import manifest
from schemas.errors import InputError
from schemas.shards import canonical_digest
from schemas.skeleton import SkeletonSpec


class Reader(Protocol):
    """The part of `schemas.store.Store` that a stream needs."""

    def read_arrays(self, action_key: str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Reads whole arrays of a shard; "image" is the flat JPEG bytes, "image_offset" their bounds."""
        ...


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard that a stream may read."""

    store: Reader
    action_key: str
    rows: int
    bytes: int
    photos: bool
    """True: rows of one `group_id` come from one picture, as in COCO; False: each row is its own picture."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """One split of one or several datasets, as one set of shards."""

    dataset_ids: tuple[str, ...]
    split: str
    shards: tuple[Shard, ...]

    @property
    def rows(self) -> int:
        """Returns the number of samples."""
        return sum(s.rows for s in self.shards)

    @property
    def identity(self) -> str:
        """Returns the name of this data that orders and resumed runs are tied to."""
        return canonical_digest([self.split, *self.dataset_ids])


def open_corpus(datasets: Sequence[manifest.Dataset], split: str) -> Corpus:
    """Joins the shards of one split of several datasets; their order does not matter.

    Raises:
        InputError: the split is empty.
    """
    shards = [
        Shard(
            store=dataset.store,
            action_key=r.action_key,
            rows=r.rows,
            bytes=r.bytes,
            photos=r.key.source == "coco",
        )
        for dataset in datasets
        for r in dataset.shards
        if r.key.split == split and r.rows
    ]
    if not shards:
        urls = ", ".join(d.url for d in datasets)
        raise InputError(urls, f"holds no sample of the split `{split}`", "Build a larger dataset")
    return Corpus(
        dataset_ids=tuple(sorted(d.dataset_id for d in datasets)),
        split=split,
        shards=tuple(sorted(shards, key=lambda s: s.action_key)),
    )


def find_corpus(datasets: Sequence[manifest.Dataset], split: str) -> Corpus | None:
    """Like `open_corpus`, but an empty split is None."""
    rows = sum(r.rows for d in datasets for r in d.shards if r.key.split == split)
    return open_corpus(datasets, split) if rows else None


def only_skeleton(datasets: Sequence[manifest.Dataset]) -> SkeletonSpec | None:
    """Returns the skeleton that all samples share; None where no sample, or not every sample, has one.

    Raises:
        InputError: samples of different skeletons.
    """
    found = {(s, d.url) for d in datasets for s in d.skeletons}
    prints = {s for s, _ in found}
    if len(prints) > 1:
        urls = ", ".join(sorted({url for _, url in found}))
        raise InputError(
            urls, f"hold {len(prints)} different skeletons", "Train on data of one model"
        )
    if not prints or any(not r.skeleton for d in datasets for r in d.shards):
        return None
    owner = next(d for d in datasets if d.skeletons)
    return owner.store.read_skeleton(owner.skeletons[0])
