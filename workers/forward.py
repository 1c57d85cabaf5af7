"""Poses a skeleton in numpy, many poses at once, where OpenSim's own is too slow, and as a second opinion on it.

Dims: n = pose, c = coordinate, b = body (= joint), m = marker. Metres, radians, ground frame. Formulas are those of
schemas/skeleton.py. `workers.osim.OsimModel` is the reference and makes the labels; a test ties the two.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.curves import IDENTITY
from schemas.skeleton import Axis, Offset, SkeletonSpec, compose
from workers.osim import OsimModel, Pose

Array = NDArray[np.float64]
Forward = Callable[[Array], Pose]
"""Poses q (n, c) give `Pose` arrays with a leading dim n."""


def forward(spec: SkeletonSpec, osim: bytes, scale: Array) -> Forward:
    """Returns the forward kinematics of a model scaled by (b, 3); by OpenSim itself where a joint needs it."""
    if _needs_opensim(spec):
        return forward_of(OsimModel(osim, scale))
    return _Chain(spec, scale)


def forward_of(model: OsimModel) -> Forward:
    """Returns the forward kinematics of a model that there is; its own where a joint needs it."""
    if _needs_opensim(model.spec):
        return lambda q: Pose(*(np.stack(part) for part in zip(*map(model.pose, q), strict=True)))
    whole = np.ones((len(model.spec.body_names), 3))
    return _Chain(model.spec, whole if model.scale is None else model.scale)


def each(poses: Pose) -> list[Pose]:
    """Returns the n poses one by one."""
    return [Pose(*parts) for parts in zip(*poses, strict=True)]


def _needs_opensim(spec: SkeletonSpec) -> bool:
    return any(joint.shape is not None or joint.reverse for joint in spec.joints)


class _Joint(NamedTuple):
    """One joint, scaled."""

    parent: int
    """-1 for ground."""
    turns: list[tuple[tuple[Array, Array], Callable[[Array], Array]]]
    """Of each rotation that there is: its cross matrix and the square of that; the angle."""
    slides: list[tuple[Array, Callable[[Array], Array]]]
    outer: Array
    """T_P_from_F (4, 4)."""
    inner: Array
    """T_M_from_B (4, 4)."""
    centre: Array
    """(3,) in the child."""


class _Chain:
    """The product down a tree of joints that six axes describe."""

    def __init__(self, spec: SkeletonSpec, scale: Array) -> None:
        self.spec, self.scale = spec, scale
        self.joints: list[_Joint] = []
        for joint, (parent, child) in zip(spec.joints, spec.scaled_by, strict=True):
            by_parent = np.ones(3) if parent < 0 else scale[parent]
            R_P, S_P = compose(joint.parent_frames)
            R_B, S_B = compose(joint.child_frames)
            outer, inner = np.eye(4), np.eye(4)
            outer[:3, :3], outer[:3, 3] = R_P, S_P @ by_parent
            inner[:3, :3], inner[:3, 3] = R_B.T, -R_B.T @ (S_B @ scale[child])
            centre = S_B @ scale[child]
            moving = [
                (i, np.array(axis.direction), value)
                for i, axis in enumerate(joint.axes)
                if (value := _value(axis, float(axis.stretch @ by_parent))) is not None
            ]
            turns = [(_crosses(at), value) for i, at, value in moving if i < 3]
            slides = [(at, value) for i, at, value in moving if i >= 3]
            self.joints.append(_Joint(parent, turns, slides, outer, inner, centre))
        self.points = _marker_places(spec, scale)

    def __call__(self, q: Array) -> Pose:
        """Poses q (n, c)."""
        q = self.spec.couple(q, self.scale)
        n = len(q)
        T = np.empty((n, len(self.joints), 4, 4))
        centres = np.empty((n, len(self.joints), 3))
        for i, joint in enumerate(self.joints):
            local = joint.outer @ _moved(joint, q) @ joint.inner
            T[:, i] = local if joint.parent < 0 else T[:, joint.parent] @ local
            centres[:, i] = T[:, i, :3, :3] @ joint.centre + T[:, i, :3, 3]
        bodies, places = self.points
        carriers = T[:, bodies]
        markers = np.einsum("nmij,mj->nmi", carriers[..., :3, :3], places) + carriers[..., :3, 3]
        grounded = bodies < 0
        markers[:, grounded] = places[grounded]
        return Pose(T, centres, markers)


def _marker_places(spec: SkeletonSpec, scale: Array) -> tuple[NDArray[np.intp], Array]:
    """Returns the body of each marker (m,), -1 for ground, and its place there (m, 3)."""
    index = {name: i for i, name in enumerate(spec.body_names)}
    bodies, places = [], []
    for marker in spec.markers:
        body = index.get(marker.body, -1)
        _, S = compose((*marker.frames, Offset(translation=marker.location)))
        bodies.append(body)
        places.append(S @ (np.ones(3) if body < 0 else scale[body]))
    return np.array(bodies, np.intp), np.array(places).reshape(-1, 3)


def _moved(joint: _Joint, q: Array) -> Array:
    """Returns T_F_from_M (n, 4, 4) of one joint."""
    T = np.zeros((len(q), 4, 4))
    T[:, range(4), range(4)] = 1.0
    turned = None
    for (cross, square), value in joint.turns:
        # Rodrigues' formula.
        angle = value(q)[:, None, None]
        turn = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * square
        turned = turn if turned is None else turned @ turn
    if turned is not None:
        T[:, :3, :3] = turned
    for direction, value in joint.slides:
        T[:, :3, 3] += value(q)[:, None] * direction
    return T


def _crosses(axis: Array) -> tuple[Array, Array]:
    """Returns the matrix of the cross product with a unit vector, and its square."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return cross, cross @ cross


def _value(axis: Axis, stretch: float) -> Callable[[Array], Array] | None:
    """Returns what an axis does at poses (n, c); None where it does nothing."""
    factor, on = stretch if axis.scales else 1.0, axis.coordinates
    if axis.curve == IDENTITY:
        return lambda q: factor * q[:, on[0]]
    if on:
        return lambda q: factor * axis.curve(*(q[:, i] for i in on))
    constant = factor * float(axis.curve(0.0))
    return None if constant == 0.0 else lambda q: np.full(len(q), constant)
