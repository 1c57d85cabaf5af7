"""Moulds a shoe round a resting foot. Metres, ground axes, soles at y = 0; n = moulded vertex, v = vertex.

A foot is all but rigid, so each of a shoe's vertices is kept as an affine combination of eight of the foot's own: it
then follows the foot in every pose, with nothing but the posed skin at hand.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workers.body import Body

Array = NDArray[np.float64]
F4 = NDArray[np.float32]
_SECTIONS = 24
_TOE_BOX = 0.04
"""A toe box is no lower than this."""
_END = 0.035
"""Over this length heel and toe of a shoe round off."""
_RELAXING = 40


@dataclass(frozen=True, kw_only=True)
class Mould:
    """Moves some vertices onto a shoe's surface: vertices[rows] = weights @ vertices[anchors]."""

    rows: NDArray[np.intp]
    """(n,)."""
    anchors: NDArray[np.intp]
    """(8,): four of the hind foot, four of the toes."""
    weights: F4
    """(n, 8), rows add up to 1."""

    def apply(self, vertices: F4, onto: F4) -> None:
        """Moves the rows of `onto` (v, 3) to where the posed skin `vertices` (v, 3) has the shoe."""
        onto[self.rows] = self.weights @ vertices[self.anchors]


@dataclass(frozen=True, kw_only=True)
class _Last:
    """The shape a shoe is made on: rounded boxes in sections across the foot."""

    ankle: Array
    along: Array
    across: Array
    stations: Array
    """(s,): how far before the ankle each section lies."""
    left: Array
    right: Array
    top: Array
    thickness: float
    sole: float

    def stretch(self, points: Array) -> Array:
        """Brings points (n, 3), which relaxing draws together, back to the shoe's whole length."""
        u = (points - self.ankle) @ self.along
        heel = (self.stations[0] - self.thickness) / u.min()
        toe = (self.stations[-1] + self.thickness) / u.max()
        return np.asarray(points + (np.where(u < 0, heel, toe) * u - u)[:, None] * self.along)

    def project(self, points: Array) -> Array:
        """Moves points (n, 3) radially onto the surface, section by section."""
        u, w = (points - self.ankle) @ self.along, (points - self.ankle) @ self.across
        first, last = self.stations[0] - self.thickness, self.stations[-1] + self.thickness
        u = np.clip(u, first + 1e-4, last - 1e-4)
        left, right, top = (
            np.interp(u, self.stations, t) for t in (self.left, self.right, self.top)
        )
        half, height = (right - left) / 2 + self.thickness, (top + self.thickness + self.sole) / 2
        middle, centre = (right + left) / 2, (top + self.thickness - self.sole) / 2
        ends = np.clip(np.minimum(u - first, last - u) / _END, 0.0, 1.0)
        round_off = np.sqrt(1.0 - (1.0 - ends) ** 2)
        a, b = (w - middle) / half, (points[:, 1] - centre) / height
        size = np.maximum((np.abs(a) ** 3 + np.abs(b) ** 3) ** (1 / 3), 1e-6)
        shell = round_off / size
        moved = (
            self.ankle
            + u[:, None] * self.along
            + (middle + a * shell * half)[:, None] * self.across
        )
        moved[:, 1] = centre + b * shell * height
        return np.asarray(moved)


def mould_shoe(
    body: Body, side: int, rows: NDArray[np.intp], thickness: float, sole: float
) -> Mould:
    """Moulds the skin's `rows` (n,) of one foot into a shoe, `side` 1 right, -1 left.

    The sole reaches below the floor of the bare foot by `sole`: whoever stands the person up lifts it.
    """
    rest = body.rest.astype(np.float64)
    shoe = _shape(body, side, rows, thickness, sole)
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
    """Returns four vertices of the foot, far from one plane, between two stations along it."""
    progress = _progress(body, rest, side)
    foot = body.regions.is_("foot") & (body.regions.side == side)
    pool = np.flatnonzero(foot & (progress > low) & (progress < high) & (rest[:, 1] < 0.06))
    points = rest[pool]
    chosen = [int(np.argmin(points @ [1.0, 0.0, 0.3]))]
    for _ in range(3):  # the point that is farthest from the line or plane through those before
        offsets = points - points[chosen[0]]
        if len(chosen) > 1:
            basis, _ = np.linalg.qr((points[chosen[1:]] - points[chosen[0]]).T)
            offsets = offsets - offsets @ basis @ basis.T
        chosen.append(int(np.argmax(np.linalg.norm(offsets, axis=1))))
    return pool[chosen]


def _shape(body: Body, side: int, rows: NDArray[np.intp], thickness: float, sole: float) -> Array:
    """Returns where the skin's rows (n, 3) lie on a shoe.

    Projected skin overlaps itself between the toes; relaxing it over the surface lays it out in one sheet.
    """
    foot = body.rest[rows].astype(np.float64)
    last = _make_last(body, side, foot, thickness, sole)
    links = _links(body.faces, rows, len(body.rest))
    ankle_fade = np.clip((foot[:, 1] - 0.045) / 0.03, 0.0, 1.0)
    instep = np.clip((0.09 - (foot - last.ankle) @ last.along) / 0.03, 0.0, 1.0)
    fade = (ankle_fade * instep)[:, None]  # towards the collar the shoe closes on the skin again
    shoe = last.project(foot)
    for _ in range(_RELAXING):
        shoe = last.project(last.stretch(0.5 * (shoe + links @ shoe)))
        shoe += fade * (foot - shoe)
    return shoe


def _links(faces: NDArray[np.int32], rows: NDArray[np.intp], count: int) -> csr_array:
    """Returns the (n, n) matrix that averages each row's neighbours among the rows."""
    place = np.full(count, -1)
    place[rows] = np.arange(len(rows))
    local = place[faces]
    a, b = (np.concatenate([local[:, i] for i in order]) for order in ((0, 1, 2), (1, 2, 0)))
    both = (a >= 0) & (b >= 0)
    a, b = np.concatenate([a[both], b[both]]), np.concatenate([b[both], a[both]])
    links = csr_array((np.ones(len(a)), (a, b)), shape=(len(rows), len(rows)))
    return csr_array(links / np.maximum(links.sum(axis=1), 1.0)[:, None])


def _make_last(body: Body, side: int, foot: Array, thickness: float, sole: float) -> _Last:
    """Measures the foot's sections."""
    ankle, along, across = _frame(body, side)
    u, w, y = (foot - ankle) @ along, (foot - ankle) @ across, foot[:, 1]
    stations = np.linspace(u.min(), u.max(), _SECTIONS)
    step = stations[1] - stations[0]
    low = y < 0.06  # the widths are those of the foot, not of the shank above it
    left, right, top = (np.zeros(_SECTIONS) for _ in range(3))
    for s, station in enumerate(stations):
        here = np.abs(u - station) <= 1.5 * step
        left[s], right[s] = w[here & low].min(), w[here & low].max()
        top[s] = max(float(y[here].max()), _TOE_BOX)
    return _Last(
        ankle=ankle,
        along=along,
        across=across,
        stations=stations,
        left=_smooth(left),
        right=_smooth(right),
        top=_smooth(top),
        thickness=thickness,
        sole=sole,
    )


def _smooth(line: Array) -> Array:
    return np.convolve(np.pad(line, 2, mode="edge"), [0.1, 0.2, 0.4, 0.2, 0.1], mode="valid")
