"""What a stream reads: the shards of one split of one or several datasets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from schemas import manifest
from schemas.errors import InputError
from schemas.shards import canonical_digest


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
