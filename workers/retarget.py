"""Gives a recorded motion to a subject: feet stay on the floor where they stood, angles stay near the recording.

Dims: n = node, t = row, s = side (right, left), c = coordinate. Units rad, m, s; OpenSim's ground frame. The pelvis
travels as far as the subject's legs are long against those of who was recorded. Each foot's track is the recorded one,
moved so that it is level and still where it stands; in between the move changes smoothly, so that a foot in
the air keeps its way over the floor, and flights their height.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from workers.contacts import Contacts, Flags, runs, soles
from workers.family import LIMIT_TOLERANCE_RAD, SIDES, model_limits, rotations
from workers.motions import Motion
from workers.phases import Feet
from workers.planting import Goal, Planter, Wish

Array = NDArray[np.float64]
ANGLE_WEIGHT, PELVIS_WEIGHT = 5.0, 20.0
"""Per radian, and per metre."""
TOES_FREE_M = 0.06
"""Height of the ball at which toes are bent as recorded."""
SMOOTH_S = 0.08
"""Standard deviation of the time over which the feet's moves are averaged to the pelvis'."""
EVEN_S = 0.01
AIRBORNE, RELEASE_S = 0.01, 0.06
"""Share of a planted foot's hold on its place that a foot in the air has, squared for its direction, and how soon
after leaving the floor."""
FIRMER = (0.01, 0.1, 1.0)
"""Shares of the feet's hold, one search after the other: all of it at once finds other poses than the nearest."""
STRIDES, SPLINED = (6, 4, 3, 2), np.radians(0.6)
"""Only every so many rows are solved where a curve through these rows of the recording misses few by more than this."""


def retarget(motion: Motion, contacts: Contacts, planter: Planter) -> Motion:
    """Returns the motion on the planter's subject, at the same times; as it was where no foot ever stands.

    `parameters` then says how far its angles are from the recording: `moved_median` and `moved_worst`, degrees. Angles
    that are far outside the model's limits stay there, so that they are refused as in any recording.
    """
    if not contacts.standing.any():
        return motion
    wanted = _scaled(motion, contacts, planter)
    rows = _rows(wanted[:, planter.columns[3:]], contacts)
    q = wanted[rows]
    tracks = _tracks(q, motion.times[rows], contacts, rows, planter)
    goal = _goal(q, tracks, planter)
    for firmly in FIRMER:
        goal = replace(goal, q=planter.near(replace(goal, hold=firmly * goal.hold)))
    solved = goal.q
    path = wanted.copy()
    columns = [*planter.columns, *tracks.toes]
    path[:, columns] = CubicSpline(motion.times[rows], solved[:, columns])(motion.times)
    path = planter.spec.couple(np.clip(path, *model_limits(planter.spec)))
    turning = [i for i in planter.columns if planter.spec.coordinates[i].kind == "rotational"]
    moved = np.abs(np.degrees(path[:, turning] - motion.q[:, turning]))
    known: dict[str, float | str] = {
        "moved_median": float(np.median(moved)),
        "moved_worst": float(moved.max()),
        "travel": contacts.travel * planter.leg / contacts.leg,
    }
    path = _refused(motion.q, path, planter)
    return replace(motion, q=path, parameters=motion.parameters | known, stance=planter.standing())


def _scaled(motion: Motion, contacts: Contacts, planter: Planter) -> Array:
    """Returns the recorded poses (t, c), the pelvis travelling as far as the subject's legs take it."""
    root, q = planter.columns[:3], motion.q.copy()
    share = contacts.travel * planter.leg / contacts.leg
    q[:, root] = share * (q[:, root] - q[0, root])
    return q


def _rows(angles: Array, contacts: Contacts) -> NDArray[np.intp]:
    """Returns the rows that are solved, few where angles (t, k) change slowly, and all edges of contacts."""
    both = np.hstack([contacts.heel, contacts.ball])
    edges = np.flatnonzero((both[1:] != both[:-1]).any(axis=1))
    every = np.arange(len(angles))
    for stride in STRIDES:
        some = np.union1d(every[::stride], [*edges, *(edges + 1), every[-1]]).astype(np.intp)
        if len(some) > 2:
            missed = np.abs(CubicSpline(some, angles[some])(every) - angles).max(axis=1)
            if np.percentile(missed, 95) < SPLINED:
                return some
    return every


@dataclass(frozen=True, kw_only=True)
class _Tracks:
    """Where the feet are to be."""

    R: Array
    """(n, s, 3, 3)."""
    origin: Array
    """(n, s, 3)."""
    hold: Array
    """(n, s): 1 standing, less in the air."""
    move: Array
    """(n, 3): of the pelvis."""
    toes: dict[int, Array]
    """By coordinate: the toes' angle (n,) that keeps them on the floor."""


def _tracks(
    q: Array, times: Array, contacts: Contacts, rows: NDArray[np.intp], planter: Planter
) -> _Tracks:
    """Returns the feet's tracks at the rows (n,) whose scaled poses are q (n, c)."""
    posed, start = planter.kinematics.pose(q), planter.standing()
    T = posed.T_ground_from_body[:, [planter.body[f"calcn_{s}"] for s, _ in SIDES]]
    feet = Feet(planter, start, np.zeros((2, 2)), np.zeros(2))
    points = soles(planter, posed)
    R, moves, hold = T[..., :3, :3].copy(), np.full((len(q), 2, 3), np.nan), []
    for s in range(2):
        foot = _Foot(feet, s, times, contacts.heel[rows, s], contacts.ball[rows, s])
        R[:, s] = foot.levelled(R[:, s])
        moves[:, s] = foot.moves(R[:, s], points[:, s])
        hold.append(foot.hold())
    if np.isnan(moves).any():  # a foot that never stands goes with the other
        moves = np.where(np.isnan(moves), moves[:, ::-1], moves)
    origin = T[..., :3, 3] + moves
    to_ball = np.einsum("sji,sj->si", feet.R, feet.ball - feet.heel)
    ball = origin + np.einsum("nsij,sj->nsi", R, to_ball)
    below = np.maximum(feet.heel[:, 1] - origin[..., 1], feet.ball[:, 1] - ball[..., 1])
    lift = np.maximum(0.0, below)
    origin[..., 1] += lift
    toes = _toes(q, R, ball[..., 1] + lift - feet.ball[:, 1], planter, feet)
    move = _smoothed(times, moves.mean(axis=1))
    return _Tracks(R=R, origin=origin, hold=np.stack(hold, axis=1), move=move, toes=toes)


def _smoothed(times: Array, values: Array) -> Array:
    """Returns values (n, 3) averaged over `SMOOTH_S`."""
    even = np.arange(times[0], times[-1] + EVEN_S, EVEN_S)
    columns = [np.interp(even, times, c) for c in values.T]
    smooth = gaussian_filter1d(np.stack(columns), SMOOTH_S / EVEN_S, mode="nearest")
    return np.stack([np.interp(times, even, c) for c in smooth], axis=1)


@dataclass(frozen=True)
class _Foot:
    """One foot of the subject, and when it stands."""

    feet: Feet
    s: int
    times: Array
    heel: Flags
    """(n,)."""
    ball: Flags
    """(n,)."""

    def levelled(self, R: Array) -> Array:
        """Returns the foot's directions (n, 3, 3), level and unturning where all of it stands."""
        flat, level = self.heel & self.ball, self.feet.R[self.s]
        turn = np.zeros((len(R), 3))
        for begin, end in runs(self.heel | self.ball):
            rows = begin + np.flatnonzero(flat[begin:end])
            if len(rows):
                x = R[rows, :, 0].mean(axis=0)
                yaw = np.arctan2(-x[2], x[0]) - np.arctan2(-level[2, 0], level[0, 0])
                stood = rotations(np.array([0.0, 1.0, 0.0]), np.asarray(yaw)) @ level
                turn[rows] = Rotation.from_matrix(stood @ np.swapaxes(R[rows], 1, 2)).as_rotvec()
        if flat.any():
            R = Rotation.from_rotvec(_between(self.times, turn, flat)).as_matrix() @ R
        return self._not_into_the_floor(R)

    def _not_into_the_floor(self, R: Array) -> Array:
        """Keeps heels that are off the floor from pitching below it, and balls."""
        level = self.feet.R[self.s]
        pitch = np.arcsin(-R[:, 1, 0]) - np.arcsin(-level[1, 0])
        wrong = np.where(self.ball & ~self.heel, np.minimum(pitch, 0.0), 0.0)
        wrong = np.where(self.heel & ~self.ball, np.maximum(pitch, 0.0), wrong)
        across = np.cross(R[:, :, 0], [0.0, 1.0, 0.0])
        across /= np.linalg.norm(across, axis=1, keepdims=True)
        return np.asarray(rotations(across, wrong) @ R)

    def moves(self, R: Array, points: Array) -> Array:
        """Returns how far the heel moves (n, 3) for the foot to stand, given its directions and points (n, p, 3).

        NaN where it never does.
        """
        level, heel, ball = self.feet.R[self.s], self.feet.heel[self.s], self.feet.ball[self.s]
        to_ball = R @ (level.T @ (ball - heel))
        standing, place = self.heel | self.ball, np.zeros((len(R), 3))
        for begin, end in runs(standing):
            run = slice(begin, end)
            on_ball = self.ball[run] & ~self.heel[run]
            flat = self.heel[run] & self.ball[run]
            # Where the heel stands, by each row in which anything stands.
            at = np.where(on_ball[:, None], points[run, 1] - to_ball[run], points[run, 0])
            sure = flat if flat.any() else np.ones(end - begin, bool)
            at = at[sure].mean(axis=0)
            at[1] = heel[1]
            first = to_ball[run][sure].mean(axis=0)
            pivot = at + first
            pivot[1] = ball[1]
            place[run] = np.where(on_ball[:, None], pivot - to_ball[run], at)
        return _between(self.times, place - points[:, 0], standing)

    def hold(self) -> Array:
        """Returns how firmly the foot is held (n,): less and less once it is in the air."""
        on = self.times[self.heel | self.ball]
        if not len(on):
            return np.full(len(self.times), AIRBORNE)
        after = np.clip(np.searchsorted(on, self.times), 1, len(on) - 1) if len(on) > 1 else 0
        away = np.minimum(np.abs(self.times - on[after]), np.abs(self.times - on[after - 1]))
        return np.asarray(AIRBORNE ** np.minimum(1.0, away / RELEASE_S))


def _between(times: Array, values: Array, known: Flags) -> Array:
    """Returns values (n, 3) that are known in some rows, smoothly between these and constant beyond."""
    where = np.flatnonzero(known)
    if not len(where):
        return np.full_like(values, np.nan)
    if len(where) == 1:
        return np.repeat(values[where], len(times), axis=0)
    inside = np.clip(times, times[where[0]], times[where[-1]])
    return np.asarray(PchipInterpolator(times[where], values[where], axis=0)(inside))


def _toes(q: Array, R: Array, height: Array, planter: Planter, feet: Feet) -> dict[int, Array]:
    """Returns by coordinate the toes' angle (n,): level where the ball is on the floor (height (n, s) over it)."""
    start, found = planter.standing(), {}
    for s, (side, _) in enumerate(SIDES):
        gain = planter.gain(start, f"mtp_angle_{side}", f"toes_{side}")
        if gain:
            i = planter.coordinate[f"mtp_angle_{side}"]
            pitch = np.arcsin(-R[:, s, 1, 0]) - np.arcsin(-feet.R[s, 1, 0])
            level = np.clip(-pitch / gain, planter.low[i], planter.high[i])
            near = np.clip(1.0 - height[:, s] / TOES_FREE_M, 0.0, 1.0)
            found[i] = q[:, i] + near * (level - q[:, i])
    return found


def _goal(q: Array, tracks: _Tracks, planter: Planter) -> Goal:
    """Returns what is wanted: feet on their tracks, the pelvis on its way, every angle as recorded."""
    wanted = q.copy()
    wanted[:, planter.columns[:3]] += tracks.move
    for i, angle in tracks.toes.items():
        wanted[:, i] = angle
    names = planter.spec.coordinate_names
    wishes = [
        Wish({names[i]: 1.0}, wanted[:, i], PELVIS_WEIGHT if k < 3 else ANGLE_WEIGHT)
        for k, i in enumerate(planter.columns)
    ]
    return Goal(
        q=wanted,
        R=tracks.R,
        origin=tracks.origin,
        wishes=wishes,
        hold=tracks.hold[..., None] ** np.array([1.0, 2.0]),
        give=np.zeros((len(q), 2)),
    )


def _refused(recorded: Array, path: Array, planter: Planter) -> Array:
    """Returns the path (t, c) with recorded angles where these are too far outside the limits to be moved inside.

    Not so the subtalar angles, which recordings know least: how the foot stands decides them.
    """
    low, high = model_limits(planter.spec)
    beyond = np.maximum(low - recorded, recorded - high) > LIMIT_TOLERANCE_RAD
    free = [i for n, i in planter.coordinate.items() if n.startswith("subtalar")]
    beyond[:, [*planter.columns[:3], *free]] = False
    return np.where(beyond, recorded, path)
