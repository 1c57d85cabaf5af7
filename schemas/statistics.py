"""Counts that add up: a shard's histograms, merged in any order and grouping, are the dataset's.

Bins are 2^level base units wide and begin at multiples of their width (base unit: 45 degrees for angles, 1 for all
else), so they nest, and nobody has to declare a range. The level is the smallest at which the values fit into `BINS`
bins: it follows from the extremes alone, so that the histogram of a union is the same however it was added up.
"""

import functools
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Any, Generic, TypeVar

import numpy as np

from schemas.errors import InputError
from schemas.spool import Kept, Packed, Spool

BINS = 24
MAX_NAMES = 64
"""Names of one quantity that are counted one by one; the rest counts as `REST`."""
REST = "(others)"
_FINEST, _LARGEST, _MAX_COUNT = -20, 1e9, 2**53
_DOWN = Context(prec=5, rounding=ROUND_FLOOR)
_UP = Context(prec=5, rounding=ROUND_CEILING)


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of finite values in bins, and bounds of what was counted."""

    unit: str
    level: int = _FINEST
    first: int = 0
    """The first bin begins at `first` widths."""
    counts: tuple[int, ...] = ()
    least: float = math.inf
    """At most the smallest value: rounded down to five digits, as receipts hold many of these."""
    most: float = -math.inf

    @classmethod
    def of(cls, values: np.ndarray, unit: str) -> "Histogram":
        """Counts the finite `values`, of any shape; those beyond 1e9 either way fall into the bin of 1e9."""
        flat = np.asarray(values, np.float64).ravel()
        flat = flat[np.isfinite(flat)]
        if not flat.size:
            return cls(unit=unit)
        scaled = np.clip(flat, -_LARGEST, _LARGEST) / _base(unit)
        level = _level(float(scaled.min()), float(scaled.max()))
        bins = np.floor(np.ldexp(scaled, -level)).astype(np.int64)
        counts = np.bincount(bins - bins.min())
        return cls(
            unit=unit,
            level=level,
            first=int(bins.min()),
            counts=tuple(int(c) for c in counts),
            least=float(_DOWN.create_decimal_from_float(float(flat.min()))),
            most=float(_UP.create_decimal_from_float(float(flat.max()))),
        )

    @property
    def edges(self) -> tuple[float, ...]:
        """Returns the bins' edges, one more than there are bins."""
        width = math.ldexp(_base(self.unit), self.level)
        return tuple((self.first + i) * width for i in range(len(self.counts) + 1))

    @property
    def total(self) -> int:
        """Returns the number of values."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """Returns the value below which `share` of the values lie, read off linearly within its bin; NaN of none."""
        if not self.total:
            return math.nan
        below = np.concatenate([[0], np.cumsum(self.counts)]) / self.total
        found = float(np.interp(share, below, self.edges))
        return min(max(found, self.least), self.most)

    def __add__(self, other: "Histogram") -> "Histogram":
        if self.unit != other.unit:
            raise ValueError(f"histograms in {self.unit!r} and {other.unit!r} do not add up")
        if not (self.counts and other.counts):
            return other if other.counts else self
        level = max(self.level, other.level)
        while True:
            parts = [_coarser(h, level - h.level) for h in (self, other)]
            first = min(part[0] for part in parts)
            size = max(part[0] + len(part[1]) for part in parts) - first
            if size <= BINS:
                break
            level += 1
        counts = [0] * size
        for start, part in parts:
            for i, count in enumerate(part, start - first):
                counts[i] += count
        return Histogram(
            unit=self.unit,
            level=level,
            first=first,
            counts=tuple(counts),
            least=min(self.least, other.least),
            most=max(self.most, other.most),
        )

    def to_text(self) -> str:
        """Returns one line without the name: unit, level, first bin, bounds, counts (empty for 0)."""
        counts = ",".join(str(c) if c else "" for c in self.counts)
        unit = self.unit or "-"
        return f"{unit} {self.level} {self.first} {self.least!r} {self.most!r} {counts}"

    @classmethod
    def from_text(cls, text: str) -> "Histogram":
        """Reads what `to_text` wrote; ValueError for what it cannot have written."""
        unit, level, first, least, most, counts = text.split(" ")
        numbers = tuple(int(c) if c else 0 for c in counts.split(",")) if counts else ()
        bounds = (float(least), float(most))
        sound = _FINEST <= int(level) <= 30 and abs(int(first)) <= _MAX_COUNT
        if not sound or len(numbers) > BINS or not all(0 <= c <= _MAX_COUNT for c in numbers):
            raise ValueError(f"{text!r:.80} is no histogram")
        if numbers and not bounds[0] <= bounds[1]:
            raise ValueError(f"{text!r:.80} has no bounds")
        return cls(
            unit="" if unit == "-" else sys.intern(unit),
            level=int(level),
            first=int(first),
            counts=numbers,
            least=bounds[0],
            most=bounds[1],
        )


def _base(unit: str) -> float:
    return 45.0 if unit == "deg" else 1.0


def _level(low: float, high: float) -> int:
    """Returns the smallest level at which bins from `low` to `high` (base units) are at most `BINS`."""
    level = max(_FINEST, math.frexp((high - low) / BINS)[1] - 1) if high > low else _FINEST
    while math.floor(math.ldexp(high, -level)) - math.floor(math.ldexp(low, -level)) >= BINS:
        level += 1
    return level


def _coarser(histogram: Histogram, steps: int) -> tuple[int, list[int]]:
    """Returns first bin and counts at a level `steps` higher."""
    first, size = histogram.first >> steps, 0
    if histogram.counts:
        size = ((histogram.first + len(histogram.counts) - 1) >> steps) - first + 1
    counts = [0] * size
    for i, count in enumerate(histogram.counts):
        counts[((histogram.first + i) >> steps) - first] += count
    return first, counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistics:
    """Named histograms, counts of names (which movement, which garment) and plain counts, of a shard or a dataset."""

    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    names: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Statistics") -> "Statistics":
        return total([self, other])

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values; the histograms as one text, a line each."""
        return {
            "histograms": _written(self.histograms, Histogram.to_text),
            "names": _written(self.names, functools.partial(json.dumps, sort_keys=True)),
            "counts": dict(sorted(self.counts.items())),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], spool: Spool | None = None) -> "Statistics":
        """Takes what `to_json` wrote, and reads it when asked for: TypeError or ValueError for what it is not.

        Texts wait in the spool, or packed: a driver holds thousands of receipts and looks at few of their statistics.

        Shards of before the histograms were one text have none that can be added to; they are passed over.
        """
        texts = [data["histograms"], data.get("names", "")]
        if not all(isinstance(text, str | dict) for text in texts):
            raise TypeError("statistics of another form")
        keep = spool.keep if spool else Packed
        histograms, names = (keep(text if isinstance(text, str) else "") for text in texts)
        return cls(
            histograms=_Lines(histograms, Histogram.from_text),
            names=_Lines(names, _read_counts),
            counts=dict(data["counts"]),
        )


V = TypeVar("V")


def _written(entries: Mapping[str, V], to_text: Callable[[V], str]) -> str:
    if isinstance(entries, _Lines):
        return entries.text
    return "\n".join(
        f"{name} {text}"
        for name, text in sorted((name, to_text(value)) for name, value in entries.items())
    )


def _read_counts(text: str) -> dict[str, int]:
    found = json.loads(text)
    if not isinstance(found, dict) or len(found) > MAX_NAMES + 1:
        raise ValueError(f"{text!r:.80} counts no names")
    return {str(name): int(count) for name, count in found.items()}


class _Lines(Mapping[str, V], Generic[V]):
    """Values that are read when asked for."""

    __slots__ = ("_of", "_text")

    def __init__(self, text: Kept | Packed, of: Callable[[str], V]) -> None:
        self._text, self._of = text, of

    @property
    def text(self) -> str:
        """Returns a line each."""
        return self._text.read()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (Packed(self.text), self._of)

    def _read(self) -> dict[str, str]:
        lines = (line.partition(" ") for line in self.text.split("\n") if line)
        return {sys.intern(name): text for name, _, text in lines}

    def __getitem__(self, name: str) -> V:
        return self._value(self._read()[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def items(self) -> Any:
        """Yields all, read once."""
        return ((name, self._value(text)) for name, text in self._read().items())

    def _value(self, text: str) -> V:
        try:
            return self._of(text)
        except (OverflowError, TypeError, ValueError) as error:
            why = f"cannot be read ({error})"
            raise InputError("a shard's statistics", why, "Do not trust this dataset") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self.items()) == dict(other.items())

    def __hash__(self) -> int:
        return hash(self.text)


def count_names(values: Iterable[str]) -> dict[str, int]:
    """Counts names, each cut to 80 characters; many different ones are cut to the first `MAX_NAMES`."""
    return _few(Counter(value[:80] for value in values))


def _few(counts: Counter[str]) -> dict[str, int]:
    """Keeps the alphabetically first names, so that the result does not depend on the order of adding."""
    named = sorted(counts.keys() - {REST})
    if len(named) <= MAX_NAMES and REST not in counts:
        return {name: counts[name] for name in named}
    kept = named[:MAX_NAMES]
    return {n: counts[n] for n in kept} | {REST: counts.total() - sum(counts[n] for n in kept)}


def total(parts: Iterable[Statistics]) -> Statistics:
    """Adds up statistics; the sum of none is empty."""
    histograms: dict[str, Histogram] = {}
    names: dict[str, Counter[str]] = {}
    counts: Counter[str] = Counter()
    for part in parts:
        for name, histogram in part.histograms.items():
            histograms[name] = histograms[name] + histogram if name in histograms else histogram
        for name, found in part.names.items():
            names.setdefault(name, Counter()).update(found)
        counts.update(part.counts)
    return Statistics(
        histograms=dict(sorted(histograms.items())),
        names={name: _few(found) for name, found in sorted(names.items())},
        counts=dict(sorted(counts.items())),
    )
