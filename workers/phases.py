"""How made-up movements run through their phases, and where their feet are meanwhile.

Dims: n = node of a path, s = side (right, left), t = row in time. Units rad, m, s; OpenSim's ground frame.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from workers.family import SIGNS
from workers.planting import Planter

Array = NDArray[np.float64]
RATE_HZ = 60.0
LIFTED_DEG, OVER_TOES = 5.0, 1.1
"""Pitch at which the heel bears nothing, and where the centre of mass then is."""


def along(v: Array, values: Sequence[float], at: Sequence[float] | None = None) -> Array:
    """Returns a quantity (n,) at v (n,) that has given values at whole v (or at `at`), monotone between."""
    places = np.arange(len(values)) if at is None else np.asarray(at)
    return np.asarray(PchipInterpolator(places, np.asarray(values, float))(v))


def over_forefoot(balance: float, pitch: Array) -> Array:
    """Returns where the centre of mass is wanted, from ankle (0) to ball (1): over the toes once the heel is up.

    Args:
        balance: where it is on a flat foot.
        pitch: (n,) rad, how far the heel is up.
    """
    up = np.clip(pitch / np.radians(LIFTED_DEG), 0.0, 1.0)
    return np.asarray(balance + (OVER_TOES - balance) * up * up * (3.0 - 2.0 * up))


class Rest(NamedTuple):
    """A stretch of the path without a stop in it."""

    start: float
    end: float
    seconds: float
    pause: float
    """Seconds of rest after it."""
    bounce: float = 0.0
    """Acceleration with which it leaves or enters its turning point; 0 comes to a stand."""


def walk(parts: Sequence[Rest], before: float) -> tuple[Array, Array]:
    """Returns times (t,) at 60 Hz and the place v (t,) on the path."""
    total = before + sum(p.seconds + p.pause for p in parts)
    times = np.arange(int(np.ceil(total * RATE_HZ)) + 1) / RATE_HZ
    v = np.full(len(times), parts[0].start)
    begin = before
    for i, part in enumerate(parts):
        tau = (times - begin) / part.seconds
        back = i % 2 == 1
        done = 1.0 - _progress(1.0 - tau, part.bounce) if back else _progress(tau, part.bounce)
        share = np.arccos(1.0 - 2.0 * done) / np.pi
        v = np.where(times >= begin, part.start + (part.end - part.start) * share, v)
        begin += part.seconds + part.pause
    return times, v


def there_and_back(
    parts: Sequence[tuple[float, float]], manner: Mapping[str, float], tempo: float
) -> tuple[Array, Array]:
    """Returns times (t,) and v (t,) of a repetition of `tempo` s: a rest, there, perhaps a pause, back, a rest."""
    hold, bounce = tempo * manner["pause"], manner["bounce"]
    there = (tempo - hold) * manner["descent_share"]
    (a, b), (c, d) = parts
    back = Rest(c, d, tempo - hold - there, manner["rest_after"], bounce)
    return walk((Rest(a, b, there, hold, bounce), back), manner["rest_before"])


def _progress(tau: Array, bounce: float) -> Array:
    """Runs from 0 at tau = 0 to 1 at 1: minimum jerk (Flash & Hogan 1985), but for the acceleration -bounce at 1."""
    tau = np.clip(tau, 0.0, 1.0)
    stopping = tau**3 * (10.0 - 15.0 * tau + 6.0 * tau**2)
    return np.asarray(np.clip(stopping - bounce / 2 * tau**3 * (1.0 - tau) ** 2, 0.0, 1.0))


class Feet:
    """Where the feet stand flat, and where they are when they pitch about ball or heel."""

    def __init__(self, planter: Planter, q: Array, ankles: Array, toe_out: Array) -> None:
        """Stands the feet level as in pose q (c,), the ankles over `ankles` (s, 2) x, z, turned out by (s,) rad."""
        posed = planter.kinematics.pose(q)
        T = posed.T_ground_from_body[0, [planter.body["calcn_r"], planter.body["calcn_l"]]]
        ankle, toes = planter.joints(posed, "talus")[0], planter.joints(posed, "toes")[0]
        turn = _turns(-SIGNS * toe_out)
        place = np.stack([ankles[:, 0], ankle[:, 1] - T[:, 1, 3], ankles[:, 1]], axis=1)
        place[:, 1] += T[:, 1, 3].mean()
        self.R = turn @ T[:, :3, :3]
        self.heel = place + np.einsum("sij,sj->si", turn, T[:, :3, 3] - ankle)
        self.ball = place + np.einsum("sij,sj->si", turn, toes - ankle)
        self.ankle = place

    def pitched(self, pitch: Array, shift: Array | float = 0.0) -> tuple[Array, Array]:
        """Returns R (n, s, 3, 3) and origin (n, s, 3): heels up by pitch (n, s) rad about the ball, toes up where < 0.

        `shift` (n, s, 3) moves the feet.
        """
        R = self.R @ _about_z(-pitch)
        about = np.where((pitch > 0)[..., None], self.ball, self.heel)
        local = np.einsum("sji,nsj->nsi", self.R, self.heel - about)
        origin = about + np.einsum("nsij,nsj->nsi", R, local)
        return R, np.asarray(origin + shift)


def _turns(angle: Array) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    zero, one = np.zeros_like(c), np.ones_like(c)
    return np.stack([c, zero, s, zero, one, zero, -s, zero, c], -1).reshape(*c.shape, 3, 3)


def _about_z(angle: Array) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    zero, one = np.zeros_like(c), np.ones_like(c)
    return np.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).reshape(*c.shape, 3, 3)
