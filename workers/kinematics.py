"""Poses many poses of one scaled model at once, in numpy, with the first derivatives that a solver needs.

The formulas are those of schemas/skeleton.py; `workers/forward.py` adds the markers.

Dims: n = pose, c = coordinate, b = body (body i is carried by joint i), e = moving axis of a joint, p = point.
Units m and rad; ground frame. Matrices T_ground_from_body. It agrees with OpenSim's own kinematics (workers/osim.py)
to rounding, but for joints with a shape of their own (`schemas/shapes.py`): these are held as in the default pose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.curves import Curve, Pieces
from schemas.geometry import cross
from schemas.skeleton import Axis, SkeletonSpec, compose
from workers.osim import OsimModel

Array = NDArray[np.float64]
STEP = 1e-5
"""Half the distance over which a joint's curves are differentiated."""


class Posed(NamedTuple):
    """Where everything is in n poses, and how each axis moves it."""

    T_ground_from_body: Array
    """(n, b, 4, 4)."""
    joint_centres: Array
    """(n, b, 3)."""
    turn: Array
    """(n, e, 3): the axis' rate of turning per unit of its coordinate."""
    slide: Array
    """(n, e, 3): the joint centre's rate of moving."""


@dataclass(frozen=True, kw_only=True)
class _Bent:
    """An axis whose value is no straight line of one coordinate."""

    joint: int
    k: int
    axis: Axis
    pieces: Pieces | None
    """Of a curve, which then need not be taken apart again for every pose."""

    def value(self, q: Array) -> Array:
        """Returns the axis' value (n,) at q (n, c)."""
        if self.pieces is None:
            return self.axis.curve(*(q[:, i] for i in self.axis.coordinates))
        at = q[:, self.axis.coordinates[0]]
        piece = np.searchsorted(self.pieces.breaks, at, side="right")
        since, rows = at - self.pieces.origins[piece], self.pieces.coefficients[piece]
        total = np.zeros_like(at)
        for power in reversed(range(rows.shape[1])):
            total = total * since + rows[:, power]
        return total


def _levels(parents: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Returns the bodies of each depth in the tree with their parents, those on the ground first."""
    depths: list[int] = []
    for parent in parents:
        depths.append(depths[parent] + 1 if parent >= 0 else 0)
    levels = [[i for i, d in enumerate(depths) if d == depth] for depth in range(max(depths) + 1)]
    return [(bodies, [parents[i] for i in bodies]) for bodies in levels]


def shaped(spec: SkeletonSpec) -> list[int]:
    """Returns the joints that six axes alone do not describe."""
    return [i for i, j in enumerate(spec.joints) if j.shape is not None or j.reverse]


class Kinematics:
    """Forward kinematics of one skeleton, scaled by (b, 3), for batches of poses."""

    def __init__(
        self, spec: SkeletonSpec, scale: Array, fixed: Mapping[int, Array] | None = None
    ) -> None:
        """Lays the joints out; `fixed` holds T_parent_from_body (4, 4) of each with a shape of its own."""
        self.spec, self.scale, self._fixed = spec, scale, fixed or {}
        count = len(spec.joints)
        self._parents = spec.parents
        self._levels = _levels(spec.parents)
        self._held = [*self._fixed]
        self._frames()
        self._axes()
        self.carries = np.zeros((count, count), bool)
        for i, parent in enumerate(spec.parents):
            self.carries[i] = self.carries[parent] if parent >= 0 else False
            self.carries[i, i] = True

    @classmethod
    def of(cls, model: OsimModel) -> "Kinematics":
        """Returns the kinematics of a model that OpenSim has."""
        spec = model.spec
        scale = np.ones((len(spec.joints), 3)) if model.scale is None else model.scale
        fixed = {}
        if held := shaped(spec):
            # The ground comes last, where its number -1 finds it.
            T = [*model.pose(spec.default_pose()).T_ground_from_body, np.eye(4)]
            fixed = {i: np.linalg.solve(T[spec.parents[i]], T[i]) for i in held}
        return cls(spec, scale, fixed)

    def _frames(self) -> None:
        one, grounded = np.ones(3), [*self.scale, np.ones(3)]
        outer = [compose(j.parent_frames) for j in self.spec.joints]
        inner = [compose(j.child_frames) for j in self.spec.joints]
        by = [grounded[p] if p >= 0 else one for p in self._parents]
        self._R_outer = np.array([R for R, _ in outer])
        self._at_outer = np.array([S @ s for (_, S), s in zip(outer, by, strict=True)])
        self._R_inner = np.array([R.T for R, _ in inner])
        self._at_inner = np.array([S @ s for (_, S), s in zip(inner, self.scale, strict=True)])

    def _axes(self) -> None:
        """Lays the axes out: straight lines of a coordinate as arrays, what is bent as a list."""
        joints = self.spec.joints
        self._slope, self._intercept = np.zeros((len(joints), 6)), np.zeros((len(joints), 6))
        self._source = np.zeros((len(joints), 6), np.intp)
        self._directions = np.array([[a.direction for a in j.axes] for j in joints])
        self._factor = np.ones((len(joints), 6))
        self._bent: list[_Bent] = []
        moving = []
        for i, joint in enumerate(joints):
            for k, axis in enumerate(joint.axes):
                if axis.scales and self._parents[i] >= 0:
                    self._factor[i, k] = axis.stretch @ self.scale[self._parents[i]]
                if not axis.coordinates or axis.curve.kind == "constant":
                    self._intercept[i, k] = float(axis.curve(*np.zeros(len(axis.coordinates) or 1)))
                    continue
                moving.append((i, k, axis.coordinates[0]))
                self._source[i, k] = axis.coordinates[0]
                if axis.curve.kind == "linear":
                    self._intercept[i, k] = float(axis.curve(0.0))
                    self._slope[i, k] = float(axis.curve(1.0)) - self._intercept[i, k]
                else:
                    pieces = axis.curve.pieces() if isinstance(axis.curve, Curve) else None
                    self._bent.append(_Bent(joint=i, k=k, axis=axis, pieces=pieces))
        moving = [m for m in moving if m[0] not in self._held]
        self.axis_joint, self._axis_k, self.axis_coordinate = (
            np.array([m[place] for m in moving], np.intp) for place in range(3)
        )
        x, y, z = np.moveaxis(self._directions[:, :3], -1, 0)
        zero = np.zeros_like(x)
        skew = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3, 3)
        along = self._directions[:, :3, :, None] * self._directions[:, :3, None, :]
        self._along, self._across, self._cross = along, np.eye(3) - along, skew

    def pose(self, q: Array) -> Posed:
        """Poses the model at q (n, c); the entries of coupled coordinates are overwritten."""
        q = self.spec.couple(np.atleast_2d(q), self.scale)
        values, slope = self._values(q)
        c, s = np.cos(values[:, :, :3, None, None]), np.sin(values[:, :, :3, None, None])
        R = self._along + c * self._across + s * self._cross
        first = self._R_outer @ R[:, :, 0]
        second = first @ R[:, :, 1]
        slid = np.einsum("nbk,bkx->nbx", values[:, :, 3:] * self._factor[:, 3:], self._slides)
        local = np.zeros((*values.shape[:2], 4, 4))
        local[..., :3, :3] = second @ R[:, :, 2] @ self._R_inner
        centre_in_parent = self._at_outer + slid
        local[..., :3, 3] = (
            centre_in_parent - (local[..., :3, :3] @ self._at_inner[:, :, None])[..., 0]
        )
        local[..., 3, 3] = 1.0
        T, centres, R_parent = self._chain(local, centre_in_parent)
        turn, slide = self._rates(slope, (self._R_outer, first, second), R_parent)
        return Posed(T, centres, turn, slide)

    @property
    def _slides(self) -> Array:
        """Returns the directions (b, 3, 3) of the slides in the parent."""
        return np.asarray(np.einsum("bxy,bky->bkx", self._R_outer, self._directions[:, 3:]))

    def _values(self, q: Array) -> tuple[Array, Array]:
        """Returns what each axis turns or slides by (n, b, 6), unscaled, and by how much more per unit."""
        values = self._intercept + self._slope * q[:, self._source]
        slope = np.broadcast_to(self._slope, values.shape).copy()
        around = np.concatenate([q, q + STEP, q - STEP])
        for bent in self._bent:
            at, more, less = bent.value(around).reshape(3, -1)
            values[:, bent.joint, bent.k] = at
            slope[:, bent.joint, bent.k] = (more - less) / (2 * STEP)
        return values, slope

    def _chain(self, local: Array, centre_in_parent: Array) -> tuple[Array, Array, Array]:
        """Returns T_ground_from_body, the joint centres (n, b, 3) and R_ground_from_parent (n, b, 3, 3)."""
        # The ground comes last, where its number -1 finds it.
        T = np.empty((len(local), len(self._parents) + 1, 4, 4))
        T[:, -1] = np.eye(4)
        for i, fixed in self._fixed.items():
            local[:, i] = fixed
        for bodies, parents in self._levels:
            T[:, bodies] = T[:, parents] @ local[:, bodies]
        above = T[:, self._parents]
        centres = (above[..., :3, :3] @ centre_in_parent[..., None])[..., 0] + above[..., :3, 3]
        centres[:, self._held] = T[..., :3, 3][:, self._held]
        return T[:, :-1], centres, above[..., :3, :3]

    def _rates(
        self, slope: Array, frames: tuple[Array, Array, Array], R_parent: Array
    ) -> tuple[Array, Array]:
        """Returns the rates of turning and sliding (n, e, 3) of every moving axis; `slope` is that of its value."""
        joint, k = self.axis_joint, self._axis_k
        rate = slope[:, joint, k]
        directions = self._directions[joint, k]
        turn, slide = np.zeros((2, len(slope), len(joint), 3))
        for order, frame in enumerate(frames):
            at = k == order
            R = np.broadcast_to(frame, (len(slope), *frame.shape[-3:]))[:, joint[at]]
            turn[:, at] = (R @ directions[at, :, None])[..., 0]
        at = k >= 3
        turned = (self._R_outer[joint[at]] @ directions[at, :, None])[..., 0]
        slide[:, at] = turned * self._factor[joint[at], k[at]][:, None]
        out = [
            (R_parent[:, joint] @ part[..., None])[..., 0] * rate[..., None]
            for part in (turn, slide)
        ]
        return out[0], out[1]

    def point_rates(
        self, posed: Posed, points: Array, bodies: NDArray[np.intp], axes: NDArray[np.intp]
    ) -> Array:
        """Returns d(points) / d(axis) (n, e, p, 3) of some axes (e,) for points (n, p, 3) fixed to bodies (p,)."""
        joint = self.axis_joint[axes]
        lever = points[:, None] - posed.joint_centres[:, joint][:, :, None]
        rates = cross(posed.turn[:, axes, None], lever) + posed.slide[:, axes, None]
        return np.asarray(rates * self.carries[bodies][:, joint].T[None, :, :, None])

    def turn_rates(self, posed: Posed, bodies: NDArray[np.intp], axes: NDArray[np.intp]) -> Array:
        """Returns the angular velocity per unit of some axes (e,), (n, e, p, 3), of bodies (p,)."""
        moved = self.carries[bodies][:, self.axis_joint[axes]].T[None, :, :, None]
        return np.asarray(posed.turn[:, axes, None] * moved)
