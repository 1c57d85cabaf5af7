"""Metrics as sums of per-batch statistics, so that any number of ranks and batches gives the direct result."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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


def pck(
    name: str, error: Array, labelled: NDArray[np.bool_], shares: Iterable[float] = (0.05, 0.1)
) -> Tally:
    """Counts the labelled points (n, k) whose error, in units of the named normaliser, is within each share."""
    return total(averaged(f"pck@{share:g}_{name}", error <= share, labelled) for share in shares)


def angle_deg(a: Array, corner: Array, b: Array) -> Array:
    """Returns the angle a-corner-b of 2D points (…, 2), 0…180 degrees; NaN where two points coincide."""
    u, v = a - corner, b - corner
    cross = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    dot = (u * v).sum(-1)
    angle: Array = np.degrees(np.arctan2(np.abs(cross), dot))
    return np.where((u != 0).any(-1) & (v != 0).any(-1), angle, np.nan)


_LIMBS = {
    "knee_2d": ((0, 2, 4), (1, 3, 5)),
    "hip_2d": ((1, 0, 2), (0, 1, 3)),
}
"""Left and right (a, corner, b) in LOWER_KEYPOINTS: hip-knee-ankle, and other hip-hip-knee (the thigh against
the pelvis; six joints show no trunk)."""


def limb_angles(name: str, predicted: Array, true: Array, labelled: NDArray[np.bool_]) -> Tally:
    """Sums the absolute error of the knee and hip angles in the picture, degrees.

    Args:
        name: prefix of the totals.
        predicted: (n, 6, 2) px in the order of LOWER_KEYPOINTS.
        true: (n, 6, 2) px.
        labelled: (n, 6); an angle counts where its three points are labelled.
    """
    parts = []
    for limb, sides in _LIMBS.items():
        for side in sides:
            p = angle_deg(*(predicted[:, i] for i in side))
            t = angle_deg(*(true[:, i] for i in side))
            error = np.abs(p - t)
            mask = labelled[:, list(side)].all(1) & np.isfinite(t)
            # Coinciding predicted points show no angle: the worst error, never a missing one.
            parts.append(averaged(f"{name}{limb}_deg", np.where(np.isnan(p), 180.0, error), mask))
    return total(parts)
