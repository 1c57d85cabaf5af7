"""Moulds a shoe round a resting foot. Metres, ground axes, soles at y = 0; v = vertex.

A foot is all but rigid, so each of a shoe's vertices is kept as an affine combination of eight of the foot's own: it then
follows the foot in every pose, with nothing but the posed skin at hand.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.body import Body

Array = NDArray[np.float64]
F4 = NDArray[np.float32]
_SECTIONS = 24


@dataclass(frozen=True, kw_only=True)
class Mould:
    """Moves some vertices onto a shoe's surface: vertices[rows] = sum of weights * vertices[anchors]."""

    rows: NDArray[np.intp]
    """(n,)."""
    anchors: NDArray[np.intp]
    """(8,): four of the hind foot, four of the toes."""
    weights: F4
    """(n, 8), rows add up to 1."""

    def apply(self, vertices: F4) -> None:
        """Moves the vertices (v, 3) in place."""
        vertices[self.rows] = self.weights @ vertices[self.anchors]


def mould_shoe(
    body: Body, side: int, rows: NDArray[np.intp], thickness: float, sole: float
) -> Mould:
    """Moulds the skin's `rows` (n,) of one foot into a shoe, `side` 1 right, -1 left.

    The sole reaches below the floor of the bare foot by `sole`: whoever stands the person up lifts it.
    """
    rest = body.rest.astype(np.float64)
    shoe = _shape(body, side, rest[rows], thickness, sole)
    target = np.concatenate([shoe, np.ones((len(shoe), 1))], axis=1)
    toes = np.clip((_progress(body, rest[rows], side) - 0.85) / 0.3, 0.0, 1.0)
    anchors, weights = [], []
    for low, high, share in ((-9.0, 0.55, 1.0 - toes), (0.9, 9.0, toes)):
        chosen = _anchors(body, side, rest, low, high)
        corners = np.concatenate([rest[chosen], np.ones((4, 1))], axis=1)
        weights.append(share[:, None] * np.linalg.solve(corners.T, target.T).T)
        anchors.append(chosen)
    return Mould(
        rows=rows,
        anchors=np.concatenate(anchors),
        weights=np.concatenate(weights, axis=1).astype(np.float32),
    )


def _frame(body: Body, side: int) -> tuple[Array, Array, Array]:
    """Returns ankle, and the horizontal unit vectors along and across the foot."""
    word = "r" if side > 0 else "l"
    ankle, ball = (body.regions.centres[f"{joint}_{word}"] for joint in ("ankle", "mtp"))
    along = (ball - ankle) * [1.0, 0.0, 1.0]
    along /= np.linalg.norm(along)
    return ankle, along, np.cross(along, [0.0, 1.0, 0.0])


def _progress(body: Body, points: Array, side: int) -> Array:
    """Returns how far along the foot points lie: 0 at the ankle, 1 at the ball."""
    ankle, along, _ = _frame(body, side)
    ball = body.regions.centres["mtp_r" if side > 0 else "mtp_l"]
    return np.asarray((points - ankle) @ along / ((ball - ankle) @ along))


def _anchors(body: Body, side: int, rest: Array, low: float, high: float) -> NDArray[np.intp]:
    """Returns four vertices of the foot, far from one plane, between two stations heel (<0) … ball (1) … toes."""
    progress = _progress(body, rest, side)
    foot = body.regions.is_("foot") & (body.regions.side == side)
    pool = np.flatnonzero(foot & (progress > low) & (progress < high) & (rest[:, 1] < 0.06))
    points = rest[pool]
    first = int(np.argmin(points @ [1.0, 0.0, 0.3]))
    chosen = [first]
    for _ in range(3):  # the point that spans the largest simplex with those before
        edges = (points[chosen[1:]] - points[first]).reshape(-1, 3)
        offsets = points - points[first]
        if len(edges):
            basis, _ = np.linalg.qr(edges.T)
            offsets = offsets - offsets @ basis @ basis.T
        chosen.append(int(np.argmax(np.linalg.norm(offsets, axis=1))))
    return pool[chosen]


def _shape(body: Body, side: int, points: Array, thickness: float, sole: float) -> Array:
    """Maps points (n, 3) of a foot onto a shoe: section by section onto a rounded box round the foot."""
    ankle, along, across = _frame(body, side)
    u, w, y = (points - ankle) @ along, (points - ankle) @ across, points[:, 1]
    low = y < 0.075  # the widths are those of the foot, not of the shank above it
    edges = np.linspace(u.min(), u.max(), _SECTIONS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    section = np.clip(np.digitize(u, edges) - 1, 0, _SECTIONS - 1)
    left, right, top = (np.zeros(_SECTIONS) for _ in range(3))
    for s in range(_SECTIONS):
        here = (np.abs(section - s) <= 1) & low
        left[s], right[s], top[s] = (
            w[here].min(),
            w[here].max(),
            y[(np.abs(section - s) <= 1)].max(),
        )
    left, right, top = (np.interp(u, middles, _smooth(line)) for line in (left, right, top))
    top = np.maximum(top, 0.042)  # a toe box is no lower than this
    half, height = (right - left) / 2 + thickness, (top + thickness + sole) / 2
    centre_w, centre_y = (right + left) / 2, (top + thickness - sole) / 2
    a, b = (w - centre_w) / half, (y - centre_y) / height
    # A rounded box: |a|^3 + |b|^3 = 1 on the surface.
    size = np.maximum((np.abs(a) ** 3 + np.abs(b) ** 3) ** (1 / 3), 1e-6)
    ends = np.minimum(u - u.min(), u.max() - u)
    taper = np.sqrt(np.clip(1.0 - (1.0 - np.clip(ends / 0.035, 0.0, 1.0)) ** 2, 0.0, 1.0))
    shell = 1.0 / size
    grow = np.where(ends < 0.035, np.minimum(shell, 0.35 + 0.65 * taper / size), shell)
    new_w, new_y = centre_w + a * grow * half, np.maximum(centre_y + b * grow * height, -sole)
    new_u = u + thickness * np.clip((u - u.mean()) / (np.ptp(u) / 2), -1.0, 1.0)
    # Towards the collar the shoe closes on the skin again.
    fade = np.clip((points[:, 1] - 0.045) / 0.03, 0.0, 1.0)[:, None] * (u < 0.06)[:, None]
    shoe = ankle + new_u[:, None] * along + new_w[:, None] * across
    shoe[:, 1] = new_y
    return np.asarray(shoe + fade * (points - shoe))


def _smooth(line: Array) -> Array:
    padded = np.pad(line, 2, mode="edge")
    return np.convolve(padded, [0.1, 0.2, 0.4, 0.2, 0.1], mode="valid")
