"""Poses a skeleton with its markers, many poses at once: where OpenSim is too slow, and as a second opinion on it.

Dims: n = pose, c = coordinate, b = body (= joint), m = marker. Metres, radians, ground frame. The joints are
`workers/kinematics.py`'s. `workers.osim.OsimModel` is the reference and makes the labels; a test ties the two.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from schemas.skeleton import Offset, SkeletonSpec, compose
from workers.kinematics import Kinematics, shaped
from workers.osim import OsimModel, Pose

Array = NDArray[np.float64]
Forward = Callable[[Array], Pose]
"""Poses q (n, c) give `Pose` arrays with a leading dim n."""


def forward(spec: SkeletonSpec, osim: bytes, scale: Array) -> Forward:
    """Returns the forward kinematics of a model scaled by (b, 3); by OpenSim itself where a joint needs it."""
    if shaped(spec):
        return forward_of(OsimModel(osim, scale))
    return _with_markers(Kinematics(spec, scale))


def forward_of(model: OsimModel) -> Forward:
    """Returns the forward kinematics of a model that there is; its own where a joint needs it."""
    if shaped(model.spec):
        return lambda q: Pose(*(np.stack(part) for part in zip(*map(model.pose, q), strict=True)))
    return _with_markers(Kinematics.of(model))


def each(poses: Pose) -> list[Pose]:
    """Returns the n poses one by one."""
    return [Pose(*parts) for parts in zip(*poses, strict=True)]


def _with_markers(kinematics: Kinematics) -> Forward:
    """Returns the poses of kinematics that hold for every joint."""
    bodies, places = _marker_places(kinematics.spec, kinematics.scale)
    grounded = bodies < 0

    def forward(q: Array) -> Pose:
        posed = kinematics.pose(q)
        carriers = posed.T_ground_from_body[:, bodies]
        markers = np.einsum("nmij,mj->nmi", carriers[..., :3, :3], places) + carriers[..., :3, 3]
        markers[:, grounded] = places[grounded]
        return Pose(posed.T_ground_from_body, posed.joint_centres, markers)

    return forward


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
