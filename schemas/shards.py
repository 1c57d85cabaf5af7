"""What a shard is: its key, its contents on the way to the store, its receipt, its randomness."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from schemas.statistics import Statistics

Split = Literal["train", "val", "test"]
_ABSENT: Any = object()
_SHORT_LIST = 8
_BRIEF_CHARACTERS = 60


@dataclass(frozen=True, order=True, kw_only=True, slots=True)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardReceipt:
    """What a worker reports of a whole, written shard. Plain JSON on the wire.

    Small, as a driver holds those of tens of thousands of shards: the sha256 of every object stand in the shard's root.
    """

    action_key: str
    key: ShardKey
    rows: int
    bytes: int
    """Of all its objects but the root `zarr.json`, which holds this number."""
    root: str
    """sha256 of its root metadata, which holds the sha256 of its other objects."""
    statistics: Statistics
    quarantine: tuple[Quarantined, ...]
    skeleton: str
    inputs: dict[str, Any] = field(default_factory=dict)
    """What the action key is the digest of, beside the shard's key: stage versions, settings, digests of files."""


def changed_inputs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Says what differs between two shards' inputs, one line per dotted path: `settings.image_px: 192 -> 256`.

    Digests are cut to 12 digits. A long list, or many digests by name, of which many differ, count as one input, with
    the number of entries that differ.
    """
    return [
        line
        for name in sorted({*old, *new})
        for line in _changed(name, old.get(name, _ABSENT), new.get(name, _ABSENT))
    ]


def _changed(path: str, old: Any, new: Any) -> list[str]:
    if old is not _ABSENT and new is not _ABSENT and canonical_json(old) == canonical_json(new):
        return []
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = changed_inputs(old, new)
        if len(lines) > _SHORT_LIST and all(map(_is_digest, [*old.values(), *new.values()])):
            return [f"{path}: {len(lines)} entries of {len(old)} -> {len(new)}"]
        return [f"{path}.{line}" for line in lines]
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        if max(len(old), len(new)) > _SHORT_LIST:
            kept = Counter(map(canonical_json, old)) & Counter(map(canonical_json, new))
            return [
                f"{path}: {len(old) - kept.total()} of {len(old)} entries "
                f"-> {len(new) - kept.total()} of {len(new)}"
            ]
        if len(old) == len(new):
            pairs = enumerate(zip(old, new, strict=True))
            return [line for i, (a, b) in pairs for line in _changed(f"{path}[{i}]", a, b)]
    return [f"{path}: {_brief(old)} -> {_brief(new)}"]


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{32,}", value) is not None


def _brief(value: Any) -> str:
    if value is _ABSENT:
        return "(none)"
    if _is_digest(value):
        return str(value[:12])
    text = value if isinstance(value, str) else canonical_json(value)
    return text if len(text) <= _BRIEF_CHARACTERS else f"{text[: _BRIEF_CHARACTERS - 1]}…"


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
