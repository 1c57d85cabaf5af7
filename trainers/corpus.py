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

    def read_arrays(
        self, action_key: str, names: Sequence[str], root: str | None = None
    ) -> dict[str, NDArray[Any]]:
        """Reads whole arrays of a shard; "image" is the flat JPEG bytes, "image_offset" their bounds.

        With the sha256 of its root metadata, other bytes than were written are refused.
        """
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
    dataset: int = 0
    """Which of the corpus' datasets it belongs to."""
    origin: str = ""
    """`URL@commit`, for people."""
    root: str | None = None
    """sha256 of its root metadata; None reads without a check."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """One split of one or several datasets: as one set of shards, or as a mixture in stated proportions."""

    dataset_ids: tuple[str, ...]
    split: str
    shards: tuple[Shard, ...]
    """Of a mixture, in the order of its datasets."""
    weights: tuple[float, ...] | None = None
    """Shares of the datasets in every batch; None shows each sample once an epoch."""

    @property
    def rows(self) -> int:
        """Returns the number of samples."""
        return sum(s.rows for s in self.shards)

    @property
    def repeats(self) -> tuple[float, ...]:
        """Returns how often an epoch shows each sample of each dataset."""
        if not self.weights:
            return (1.0,) * len(self.dataset_ids)
        rows = [0] * len(self.weights)
        for shard in self.shards:
            rows[shard.dataset] += shard.rows
        shown = self.rows / sum(self.weights)
        return tuple(w * shown / own for w, own in zip(self.weights, rows, strict=True))

    @property
    def identity(self) -> str:
        """Returns the name of this data that orders and resumed runs are tied to."""
        parts: list[object] = [self.split, *self.dataset_ids]
        return canonical_digest([*parts, list(self.weights)] if self.weights else parts)


def open_corpus(
    datasets: Sequence[manifest.Dataset], split: str, weights: Sequence[float] | None = None
) -> Corpus:
    """Joins the shards of one split of several datasets; their order does not matter.

    Args:
        datasets: one or more.
        split: train, val or test.
        weights: the share of each dataset in every batch, in any unit; a small dataset is then repeated. None shows
            every sample of all once an epoch.

    Raises:
        InputError: the split is empty, a dataset is named twice, or there is not one positive weight for each.
    """
    remedy = "Build a larger dataset"
    if weights is not None and (len(weights) != len(datasets) or min(weights, default=0.0) <= 0):
        why = f"are no weights of {len(datasets)} datasets"
        raise InputError(f"stream.mix={list(weights)}", why, "Give one positive weight for each")
    named = [dataset.dataset_id for dataset in datasets]
    twice = [d.url for d in datasets if named.count(d.dataset_id) > 1]
    if twice:
        why, mend = "are one dataset", "Name it once; stream.mix shows a dataset more often"
        raise InputError(", ".join(twice), why, mend)
    pairs = sorted(zip(datasets, weights or [1.0] * len(datasets), strict=True), key=_by_id)
    found = [_shards_of(dataset, split, i) for i, (dataset, _) in enumerate(pairs)]
    empty = [d.url for (d, _), shards in zip(pairs, found, strict=True) if not shards]
    if len(empty) == len(pairs) or (weights and empty):
        raise InputError(", ".join(empty), f"holds no sample of the split `{split}`", remedy)
    joined = [shard for shards in found for shard in shards]
    return Corpus(
        dataset_ids=tuple(dataset.dataset_id for dataset, _ in pairs),
        split=split,
        shards=tuple(joined if weights else sorted(joined, key=lambda s: s.action_key)),
        weights=tuple(weight for _, weight in pairs) if weights else None,
    )


def _by_id(pair: tuple[manifest.Dataset, float]) -> str:
    return pair[0].dataset_id


def _shards_of(dataset: manifest.Dataset, split: str, number: int) -> list[Shard]:
    return [
        Shard(
            store=dataset.store,
            action_key=r.action_key,
            rows=r.rows,
            bytes=r.bytes,
            photos=r.key.source == "coco",
            dataset=number,
            origin=f"{dataset.url}@{dataset.number}",
            root=r.root,
        )
        for r in sorted(dataset.shards, key=lambda r: r.action_key)
        if r.key.split == split and r.rows
    ]


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
