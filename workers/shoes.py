"""Moulds a shoe round a resting foot. Metres, ground axes, soles at y = 0; n = moulded vertex, v = vertex."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workers.body import Body

Array = NDArray[np.float64]
_SECTIONS = 24
_TOE_BOX = 0.04
"""A toe box is no lower than this."""
_END = 0.035
"""Over this length heel and toe of a shoe round off."""
_RELAXING = 40


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


def shoe_shape(
    body: Body, side: int, rows: NDArray[np.intp], thickness: float, sole: float
) -> Array:
    """Returns where the skin's `rows` (n,) of one foot, `side` 1 right, -1 left, lie on a shoe (n, 3).

    The sole reaches below the floor of the bare foot by `sole`: whoever stands the person up lifts it.
    """
    return _shape(body, side, rows, thickness, sole)


def _frame(body: Body, side: int) -> tuple[Array, Array, Array]:
    """Returns ankle, and the horizontal unit vectors along and across the foot."""
    word = "r" if side > 0 else "l"
    ankle, ball = (body.regions.centres[f"{joint}_{word}"] for joint in ("ankle", "mtp"))
    along = (ball - ankle) * [1.0, 0.0, 1.0]
    along /= np.linalg.norm(along)
    return ankle, along, np.cross(along, [0.0, 1.0, 0.0])


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
