"""Counts that add up: a shard's histograms and moments, merged in any order, give the dataset's."""

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@functools.lru_cache(maxsize=256)
def _shared(edges: tuple[float, ...]) -> tuple[float, ...]:
    """Returns one object for equal edges: every shard has the same ones, and a manifest holds thousands."""
    return edges


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of values between edges; values outside fall into the first and the last bin."""

    unit: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: np.ndarray, unit: str, low: float, high: float, bins: int) -> "Histogram":
        """Counts finite `values` (any shape) in `bins` equal bins from `low` to `high`."""
        edges = np.linspace(low, high, bins + 1)
        finite = values[np.isfinite(values)]
        counts, _ = np.histogram(np.clip(finite, low, high), edges)
        return cls(
            unit=unit,
            edges=tuple(float(e) for e in edges),
            counts=tuple(int(c) for c in counts),
        )

    def __add__(self, other: "Histogram") -> "Histogram":
        if (self.unit, self.edges) != (other.unit, other.edges):
            raise ValueError("histograms with different bins do not add up")
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Histogram(unit=self.unit, edges=self.edges, counts=counts)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Named histograms and named counts of a shard or of a whole dataset."""

    histograms: dict[str, Histogram] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: "Statistics") -> "Statistics":
        histograms = dict(self.histograms)
        for name, histogram in other.histograms.items():
            histograms[name] = histograms[name] + histogram if name in histograms else histogram
        names = self.counts.keys() | other.counts.keys()
        counts = {n: self.counts.get(n, 0) + other.counts.get(n, 0) for n in sorted(names)}
        return Statistics(histograms=histograms, counts=counts)

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return {
            "histograms": {
                name: {"unit": h.unit, "edges": list(h.edges), "counts": list(h.counts)}
                for name, h in sorted(self.histograms.items())
            },
            "counts": dict(sorted(self.counts.items())),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Statistics":
        """Reads what `to_json` wrote."""
        return cls(
            histograms={
                name: Histogram(
                    unit=h["unit"], edges=_shared(tuple(h["edges"])), counts=tuple(h["counts"])
                )
                for name, h in data["histograms"].items()
            },
            counts=dict(data["counts"]),
        )


def total(parts: list[Statistics]) -> Statistics:
    """Adds up statistics; the sum of none is empty."""
    return sum(parts, start=Statistics())
