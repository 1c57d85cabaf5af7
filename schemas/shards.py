"""What a shard is: its key, its contents on the way to the store, its receipt, its randomness."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from schemas.statistics import Statistics

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, order=True, kw_only=True)
class ShardKey:
    """The identity of one shard within a recipe."""

    source: str
    """`synth` or `coco`."""
    lot: str
    """Motion lot's name, or `persons`."""
    split: Split
    members: tuple[int, ...]
    """Subject numbers, or COCO annotation ids, in order."""

    def __str__(self) -> str:
        return f"{self.source}/{self.lot}/{self.split}/{self.members[0]}+{len(self.members)}"


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """One planned sample that was not written, and why."""

    sample: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class ShardContents:
    """Everything that goes into one shard, checked and ready to write."""

    images: list[bytes]
    """One JPEG per sample."""
    arrays: dict[str, np.ndarray]
    """Every array of `schemas.layout.ARRAYS`, one row per sample."""
    tables: dict[str, Any] = field(default_factory=dict)
    """Small JSON tables: subjects, motions, garments, lights."""
    quarantine: tuple[Quarantined, ...] = ()
    planned: int = 0
    skeleton: str = ""
    """Fingerprint of the skeleton, "" where there is none."""


@dataclass(frozen=True, kw_only=True)
class ShardReceipt:
    """What a worker reports of a whole, written shard. Plain JSON on the wire."""

    action_key: str
    key: ShardKey
    rows: int
    bytes: int
    digests: dict[str, str]
    """sha256 of every stored object, by its path inside the shard."""
    statistics: Statistics
    quarantine: tuple[Quarantined, ...]
    skeleton: str
    inputs: dict[str, Any] = field(default_factory=dict)
    """What the action key is the digest of, beside the shard's key: stage versions, settings, digests of files."""


def canonical_json(value: Any) -> str:
    """Writes JSON with one spelling per value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical_digest(value: Any) -> str:
    """Returns the sha256 in hex of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def generator(seed: int, *parts: str | int) -> np.random.Generator:
    """Returns the random generator that belongs to a key, the same on every machine and in any order."""
    words = np.frombuffer(hashlib.sha256(canonical_json([seed, *parts]).encode()).digest(), "<u4")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(w) for w in words])))


def unit_hash(*parts: str | int) -> float:
    """Maps a key to [0, 1) uniformly: the stable way to assign a split."""
    digest = hashlib.sha256(canonical_json(list(parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64
