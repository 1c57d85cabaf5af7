"""Metrics as sums of per-batch statistics, so that any number of ranks and batches gives the direct result."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Evidence that adds up: `sums` add, `rows` are joined. `Tally()` is zero."""

    sums: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Named totals of any shape."""
    rows: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Named columns, one row per sample, for metrics that need all samples at once (AP, quantiles)."""

    def __add__(self, other: "Tally") -> "Tally":
        sums = dict(self.sums)
        for name, value in other.sums.items():
            sums[name] = sums[name] + value if name in sums else value
        rows = dict(self.rows)
        for name, value in other.rows.items():
            rows[name] = np.concatenate([rows[name], value]) if name in rows else value
        return Tally(sums=sums, rows=rows)

    def mean(self, name: str) -> float:
        """Returns total `name` over total `name_count`; NaN where nothing was counted."""
        count = float(self.sums.get(f"{name}_count", np.zeros(())))
        return float(self.sums[name]) / count if count else float("nan")


def averaged(name: str, values: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> Tally:
    """Makes the tally of a mean: the sum of the (masked) values and their count, for `Tally.mean(name)`."""
    kept = values if mask is None else values[mask]
    return Tally(
        sums={
            name: np.asarray(kept.sum(dtype=np.float64)),
            f"{name}_count": np.asarray(float(kept.size)),
        }
    )


def total(tallies: Iterable[Tally]) -> Tally:
    """Adds up tallies; the sum of none is zero."""
    return reduce(Tally.__add__, tallies, Tally())
