"""Joint angles from markers by OpenSim's own tools, and which of them the markers vouch for.

Dims: t = frame, c = coordinate, m = marker. m, rad; ground frame. A trial is solved once per process, in a folder of
its own that is removed again, so tasks side by side do not meet.
"""

import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.lots import TrcLot
from schemas.skeleton import SkeletonSpec
from workers import osim, trc
from workers.motions import Motion, read_mot

Array = NDArray[np.float64]
NO_LANDMARK = re.compile(r"(thigh|sh|shank|femur|tibia)\d+|hjc|cluster", re.I)
"""Names of markers that sit on flesh or are computed: they say nothing of a bone's place."""

LONG_M, SHORTEST_M = 0.15, 0.06


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The files of one marker trial, as they were read."""

    trc: bytes
    static: bytes | None
    model: bytes


@dataclass(frozen=True, kw_only=True)
class Mask:
    """Which coordinates are known at which time."""

    times: Array
    """(t,) s."""
    known: NDArray[np.uint8]
    """(t, c): 1 known."""

    def at(self, times: Array) -> NDArray[np.uint8]:
        """Returns the mask (n, c) at times (n,): known where the rows before and after are."""
        after = np.clip(np.searchsorted(self.times, times), 0, len(self.times) - 1)
        before = np.clip(np.searchsorted(self.times, times, side="right") - 1, 0, None)
        return np.minimum(self.known[before], self.known[after])


def solved(trial: Trial, lot: TrcLot, spec: SkeletonSpec) -> tuple[Motion, Mask]:
    """Returns the trial as a motion of the skeleton `spec`, and what is known of its coordinates.

    Raises:
        InputError: files that do not fit the model, or a model whose coordinates are other than the skeleton's.
    """
    found = _solve(trial)
    motion = read_mot(found.mot, lot.trc, spec)
    known = known_coordinates(found.spec, found.default, found.errors, lot.residual)
    index = {name: i for i, name in enumerate(found.spec.coordinate_names)}
    mask = np.ones((len(known), len(spec.coordinates)), np.uint8)
    for i, name in enumerate(spec.coordinate_names):
        if name in index:
            mask[:, i] = known[:, index[name]]
    return motion, Mask(times=motion.times, known=mask)


class _Solved(NamedTuple):
    """What OpenSim made of a trial."""

    spec: SkeletonSpec
    """Of the model that it was solved with."""
    default: osim.Pose
    """That model's default pose."""
    mot: bytes
    errors: Array
    """(t, m) m, each marker's distance from where it was seen; NaN where it was not."""


@functools.lru_cache(maxsize=4)
def _solve(trial: Trial) -> _Solved:
    """Scales, solves, and poses the answer to see how far each marker is off."""
    model = osim.OsimModel(trial.model)
    default = model.pose(model.spec.default_pose())
    scaled = trial.model
    if trial.static is not None:
        standing = trc.read_trc(trial.static, "static")
        pairs = measured_pairs(model.spec, default, set(standing.names))
        span = (float(standing.times[0]), float(standing.times[-1]))
        scaled = osim.scale_to_markers(scaled, trial.static, pairs, span)
    found = trc.read_trc(trial.trc, "trial")
    seen = trc.in_order(found, model.spec.marker_names)
    names = [n for n in model.spec.marker_names if n in found.names]
    mot = osim.inverse_kinematics(scaled, trial.trc, names)
    posed = osim.OsimModel(scaled)
    motion = read_mot(mot, "inverse kinematics", posed.spec)
    places = np.stack([posed.pose(row).markers for row in motion.q])
    rows = np.abs(found.times[:, None] - motion.times).argmin(axis=0)
    return _Solved(posed.spec, default, mot, np.linalg.norm(places - seen[rows], axis=-1))


def measured_pairs(spec: SkeletonSpec, default: osim.Pose, seen: set[str]) -> osim.Pairs:
    """Pairs landmarks for the ScaleTool: along each long bone from joint to joint, else across the body itself.

    A long bone's far joint lies at least `LONG_M` from its own. Bodies without a pair keep their size.
    """
    near = _joints_of_landmarks(spec, default)
    centres, places = default.joint_centres, default.markers
    here = [k for k in near if spec.markers[k].name in seen]
    at = {k: int(np.argmin(np.linalg.norm(centres - places[k], axis=1))) for k in here}
    pairs: dict[str, list[tuple[str, str]]] = {}
    for body, name in enumerate(spec.body_names):
        own = [k for k in here if spec.markers[k].body == name]
        found = [(a, b) for i, a in enumerate(own) for b in own[i + 1 :]]
        for child, parent in enumerate(spec.parents):
            if parent == body > 0 and np.linalg.norm(centres[child] - centres[body]) > LONG_M:
                found = [(a, b) for a in here for b in here if at[a] == body and at[b] == child]
        long = [(a, b) for a, b in found if np.linalg.norm(places[a] - places[b]) > SHORTEST_M]
        if long:
            pairs[name] = [(spec.markers[a].name, spec.markers[b].name) for a, b in long]
    return pairs


def known_coordinates(
    spec: SkeletonSpec, default: osim.Pose, errors: Array, bound: float
) -> NDArray[np.uint8]:
    """Returns which coordinates (t, c) the landmarks vouch for, by errors (t, m) in m, NaN where not seen.

    D3KE's rule: a bony landmark further off than the bound masks the coordinates of its joint. Its joint is the one
    that carries its body, and the next one out where the landmark is nearer to that. A coordinate is unknown, too,
    where no marker at all was seen on what its joint carries.
    """
    joints, seen = _joints_of_landmarks(spec, default), np.isfinite(errors)
    carried = _carried(spec)
    bad = np.zeros((len(errors), len(spec.joints)), bool)
    for k, owners in joints.items():
        off = np.where(seen[:, k], errors[:, k], 0.0) > bound
        for joint in owners:
            bad[:, joint] |= off
    for joint, markers in enumerate(carried):
        if markers:
            bad[:, joint] |= ~seen[:, markers].any(axis=1)
        else:
            bad[:, joint] = True
    known = np.ones((len(errors), len(spec.coordinates)), np.uint8)
    for joint, on in enumerate(spec.joints):
        for i in {i for axis in on.axes for i in axis.coordinates}:
            known[bad[:, joint], i] = 0
    for i in spec.coupler_order:
        coupler = spec.coordinates[i].coupler
        if coupler is not None:
            known[:, i] = np.min(known[:, list(coupler.independents)], axis=1)
    return known


def _joints_of_landmarks(spec: SkeletonSpec, default: osim.Pose) -> dict[int, list[int]]:
    """Returns the joints that each bony landmark vouches for."""
    index = {name: i for i, name in enumerate(spec.body_names)}
    found = {}
    centres, places = default.joint_centres, default.markers
    for k, marker in enumerate(spec.markers):
        if NO_LANDMARK.search(marker.name) or marker.body not in index:
            continue
        own = index[marker.body]
        near = [own]
        for child, parent in enumerate(spec.parents):
            gap = np.linalg.norm(places[k] - centres[child])
            if parent == own and gap < np.linalg.norm(places[k] - centres[own]):
                near.append(child)
        found[k] = near
    return found


def _carried(spec: SkeletonSpec) -> list[list[int]]:
    """Returns the markers on each joint's body and beyond."""
    index = {name: i for i, name in enumerate(spec.body_names)}
    carried: list[list[int]] = [[] for _ in spec.joints]
    for k, marker in enumerate(spec.markers):
        body = index.get(marker.body, -1)
        while body >= 0:
            carried[body].append(k)
            body = spec.parents[body]
    return carried
