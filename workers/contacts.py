"""When the feet of a recording stand on the floor, read off the motion itself.

Dims: t = row, s = side (right, left), p = point of a foot (heel, ball). Units m, s; OpenSim's ground frame. A recording
made with another body's legs has a pelvis that travels too far or too little, so its feet slide and drift in height:
first that is undone, then a foot stands where it is slow and not far over where it usually stands.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.family import SIDES
from workers.kinematics import Posed
from workers.motions import Motion
from workers.planting import Planter

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
SPAN_S = 0.03
"""Half the time over which a speed is taken."""
SLOW_M_S, CAPPED_M_S = 0.55, 0.5
"""A point that stands is slower than this, the recording's noise included; and from where on speed says no more."""
HIGH_M, TILT_M = 0.07, 0.025
"""How high over its usual place a standing foot may be, and its heel over its ball."""
TRAVELS = np.linspace(0.6, 1.4, 161)
RELUCTANCE_M_S = 0.5
GAP_S, SHORTEST_S = 0.05, 0.06
"""Shorter gaps in a contact are closed, shorter contacts dropped."""


@dataclass(frozen=True, kw_only=True)
class Contacts:
    """Where heels and balls stand, at the times of the motion's rows."""

    heel: Flags
    """(t, s)."""
    ball: Flags
    """(t, s)."""
    travel: float
    """What the pelvis' travel is multiplied by so that feet stand still, on the model that this was found with."""
    leg: float
    """Length of that model's legs."""

    @property
    def standing(self) -> Flags:
        """Says which feet (t, s) stand."""
        return self.heel | self.ball


def find(motion: Motion, planter: Planter) -> Contacts:
    """Finds the contacts of a recording (t rows) on a model that has its proportions."""
    root = planter.columns[:3]
    still = motion.q.copy()
    still[:, root] = 0.0
    points = soles(planter, planter.kinematics.pose(still))
    pelvis, times = motion.q[:, root], motion.times
    v_pelvis, v_points = _speeds(times, pelvis)[:, None, None], _speeds(times, points)
    travel = _travel(v_pelvis, v_points)
    height = points[..., 1] + travel * pelvis[:, None, None, 1]
    slow = np.linalg.norm(v_points + travel * v_pelvis, axis=-1) < SLOW_M_S
    heel, ball = (np.zeros(slow.shape[:2], bool) for _ in range(2))
    for s in range(2):
        heel[:, s], ball[:, s] = _foot(times, height[:, s], slow[:, s])
    return Contacts(heel=heel, ball=ball, travel=travel, leg=planter.leg)


def soles(planter: Planter, posed: Posed) -> Array:
    """Returns the heels and balls (t, s, p, 3): the calcanei's origins, and where the toes hinge."""
    heels = [posed.T_ground_from_body[:, planter.body[f"calcn_{s}"], :3, 3] for s, _ in SIDES]
    return np.stack([np.stack(heels, axis=1), planter.joints(posed, "toes")], axis=2)


def runs(flags: Flags) -> list[tuple[int, int]]:
    """Returns where runs of True in (t,) begin and end (excluded)."""
    steps = np.diff(np.concatenate([[0], flags.astype(int), [0]]))
    begins, ends = np.flatnonzero(steps > 0), np.flatnonzero(steps < 0)
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def _speeds(times: Array, points: Array) -> Array:
    """Returns the velocities of points (t, …) over `SPAN_S` before and after."""
    before, after = (np.clip(times + d, times[0], times[-1]) for d in (-SPAN_S, SPAN_S))
    flat = points.reshape(len(times), -1)
    change = [np.interp(after, times, c) - np.interp(before, times, c) for c in flat.T]
    span = np.maximum(after - before, 1e-9)
    return np.asarray((np.array(change) / span).T.reshape(points.shape))


def _travel(v_pelvis: Array, v_points: Array) -> float:
    """Returns the factor of the pelvis' travel at which the slowest point of the feet is slowest.

    A pelvis that was recorded with longer legs travels too far, and the feet slide. Where the motion does not tell,
    the factor stays near 1.
    """
    costs = []
    for travel in TRAVELS:
        speed = np.linalg.norm(v_points + travel * v_pelvis, axis=-1)
        slowest = speed.reshape(len(speed), -1).min(axis=1)
        reluctance = RELUCTANCE_M_S * (travel - 1.0) ** 2
        costs.append(np.minimum(slowest, CAPPED_M_S).mean() + reluctance)
    return float(TRAVELS[int(np.argmin(costs))])


def _foot(times: Array, height: Array, slow: Flags) -> tuple[Flags, Flags]:
    """Returns when heel and ball (t,) of one foot stand, by their heights (t, p) and whether they are slow."""
    if not slow.any():
        return np.zeros(len(times), bool), np.zeros(len(times), bool)
    both = slow.all(axis=1) if slow.all(axis=1).any() else slow.any(axis=1)
    low = np.array([np.percentile(height[both, p], 25) for p in range(2)])
    over = height - low
    standing = slow.any(axis=1) & (over.min(axis=1) < HIGH_M)
    tilt = over[:, 0] - over[:, 1]
    tilt = tilt - np.median(tilt[both])
    standing = _cleaned(times, standing)
    heel = _cleaned(times, standing & (tilt < TILT_M))
    ball = _cleaned(times, standing & (tilt > -TILT_M))
    for begin, end in runs(standing & ~heel & ~ball):
        heel[begin:end] = ball[begin:end] = True
    return heel & standing, ball & standing


def _cleaned(times: Array, flags: Flags) -> Flags:
    """Closes short gaps in (t,) and drops short runs."""
    done = flags.copy()
    for begin, end in runs(~flags):
        if begin > 0 and end < len(flags) and times[end] - times[begin - 1] < GAP_S:
            done[begin:end] = True
    for begin, end in runs(done):
        if times[end - 1] - times[begin] < SHORTEST_S and begin > 0 and end < len(flags):
            done[begin:end] = False
    return done
