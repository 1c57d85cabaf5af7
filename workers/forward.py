"""Poses a skeleton in numpy, many poses at once: for the fit of a model to a skin, where OpenSim's own is too slow.

Dims: n = pose, c = coordinate, b = body (= joint), m = marker. Metres, radians, ground frame. Formulas are those of
schemas/skeleton.py. `workers.osim.OsimModel` is the reference and makes the labels; a test ties the two.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.curves import IDENTITY
from schemas.skeleton import Offset, SkeletonSpec, compose
from workers.osim import OsimModel, Pose

Array = NDArray[np.float64]
Forward = Callable[[Array], Pose]
"""Poses q (n, c) give `Pose` arrays with a leading dim n."""


def forward(spec: SkeletonSpec, osim: bytes, scale: Array) -> Forward:
    """Returns the forward kinematics of a model scaled by (b, 3); by OpenSim itself where a joint needs it."""
    if any(joint.shape is not None or joint.reverse for joint in spec.joints):
        model = OsimModel(osim, scale)
        return lambda q: Pose(*(np.stack(part) for part in zip(*map(model.pose, q), strict=True)))
    return _Chain(spec, scale)


class _Chain:
    """The product down a tree of joints that six axes describe."""

    def __init__(self, spec: SkeletonSpec, scale: Array) -> None:
        self.spec, self.scale = spec, scale
        self.joints = []
        for joint, (parent, child) in zip(spec.joints, spec.scaled_by, strict=True):
            by_parent = np.ones(3) if parent < 0 else scale[parent]
            R_P, S_P = compose(joint.parent_frames)
            R_B, S_B = compose(joint.child_frames)
            outer, inner = np.eye(4), np.eye(4)
            outer[:3, :3], outer[:3, 3] = R_P, S_P @ by_parent
            inner[:3, :3], inner[:3, 3] = R_B.T, -R_B.T @ (S_B @ scale[child])
            centre = S_B @ scale[child]
            factors = [float(a.stretch @ by_parent) if a.scales else 1.0 for a in joint.axes]
            self.joints.append((parent, joint.axes, factors, outer, inner, centre))
        self.points = _marker_places(spec, scale)

    def __call__(self, q: Array) -> Pose:
        """Poses q (n, c)."""
        q = self.spec.couple(q, self.scale)
        n = len(q)
        T = np.empty((n, len(self.joints), 4, 4))
        centres = np.empty((n, len(self.joints), 3))
        for i, (parent, axes, factors, outer, inner, centre) in enumerate(self.joints):
            local = outer @ _joint_transforms(axes, factors, q) @ inner
            T[:, i] = local if parent < 0 else T[:, parent] @ local
            centres[:, i] = T[:, i, :3, :3] @ centre + T[:, i, :3, 3]
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


def _joint_transforms(axes: Any, factors: list[float], q: Array) -> Array:
    """Returns T_F_from_M (n, 4, 4) of one joint."""
    T = np.zeros((len(q), 4, 4))
    T[:, range(4), range(4)] = 1.0
    for position, (axis, factor) in enumerate(zip(axes, factors, strict=True)):
        if axis.curve is IDENTITY or axis.curve == IDENTITY:
            value = factor * q[:, axis.coordinates[0]]
        elif axis.coordinates:
            value = factor * axis.curve(*(q[:, i] for i in axis.coordinates))
        else:
            value = np.full(len(q), factor * float(axis.curve(0.0)))
        if position >= 3:
            T[:, :3, 3] += value[:, None] * np.array(axis.direction)
        elif value.any():
            T[:, :3, :3] = T[:, :3, :3] @ _turns(np.array(axis.direction), value)
    return T


def _turns(axis: Array, angle: Array) -> Array:
    """Returns rotations (n, 3, 3) about a unit axis by angles (n,), by Rodrigues' formula."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sin, cos = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.asarray(np.eye(3) + sin * cross + (1.0 - cos) * (cross @ cross))
