"""Finds how thick a model's bodies are, so that its markers lie on a skin. Metres; b = body, m = marker, v = vertex.

Joint centres decide the axes of a body along which lengths lie; the others are free for this.
"""

import re

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from schemas.skeleton import SkeletonSpec
from workers.osim import Pose

Array = NDArray[np.float64]
FREE_AXES: dict[str, tuple[tuple[int, ...], ...]] = {
    "femur": ((2,), (0,)),
    "tibia": ((2,), (0,)),
    "humerus": ((2,), (0,)),
    "radius": ((2,), (0,)),
    "calcn": ((2,),),
    "pelvis": ((0,),),
    "torso": ((0,),),
    "head": ((0,), (1,), (2,)),
}
"""Bodies with the groups of axes that are free of lengths."""
TECHNICAL = re.compile(r"thigh|shank|_sh\d|HJC|tracking", re.IGNORECASE)
"""Markers, by name, that no bone lies under."""
_TECHNICAL_SHARE = 0.25
"""What such a marker counts of one on a bone."""
_FACTORS = np.union1d(np.linspace(0.75, 1.45, 36), 1.0)
"""1 is among them: where markers decide nothing, 0.99 and 1.01 would else be chosen by how sums are rounded."""
_FARTHEST_M = 0.05
"""Beyond this a marker counts no more: it is none of the skin's."""
_KEPT = 1e-3
"""What a change of thickness by 1 must gain on the markers' mean, m: where they decide nothing, it stays."""


class SkinDistance:
    """Distances of points from a triangle mesh, exact near it."""

    def __init__(self, vertices: NDArray[np.floating], faces: NDArray[np.int32]) -> None:
        corners = vertices[faces].astype(np.float64)
        self._origin = corners[:, 0]
        self._edges = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        self._tree = cKDTree(corners.mean(axis=1))

    def __call__(self, points: Array, nearest: int = 12) -> Array:
        """Returns distances (n,) of points (n, 3): the least to the triangles of the nearest middles."""
        _, near = self._tree.query(points, nearest)
        return np.asarray(self._to_triangles(points[:, None], near).min(axis=1))

    def _to_triangles(self, points: Array, faces: NDArray[np.intp]) -> Array:
        """Returns distances (n, k) to triangles (n, k), by Ericson, Real-Time Collision Detection, 5.1.5."""
        ab, ac = (edge[faces] for edge in self._edges)
        ap = points - self._origin[faces]
        dots = [np.einsum("nki,nki->nk", a, b) for a in (ab, ac) for b in (ab, ac, ap)]
        aa, bb_, d1, _, cc, d2 = dots
        determinant = np.maximum(aa * cc - bb_ * bb_, 1e-24)
        v, w = (cc * d1 - bb_ * d2) / determinant, (aa * d2 - bb_ * d1) / determinant
        inside = (v >= 0) & (w >= 0) & (v + w <= 1)
        flat = np.linalg.norm(ap - v[..., None] * ab - w[..., None] * ac, axis=-1)
        along = np.clip(d1 / np.maximum(aa, 1e-24), 0, 1), np.clip(d2 / np.maximum(cc, 1e-24), 0, 1)
        bc = ac - ab
        third = np.einsum("nki,nki->nk", ap - ab, bc) / np.maximum(
            np.einsum("nki,nki->nk", bc, bc), 1e-24
        )
        edges = [
            np.linalg.norm(ap - along[0][..., None] * ab, axis=-1),
            np.linalg.norm(ap - along[1][..., None] * ac, axis=-1),
            np.linalg.norm(ap - ab - np.clip(third, 0, 1)[..., None] * bc, axis=-1),
        ]
        return np.asarray(np.where(inside, flat, np.minimum.reduce(edges)))


def thicken(
    spec: SkeletonSpec,
    scale: Array,
    pose: Pose,
    vertices: NDArray[np.float32],
    faces: NDArray[np.int32],
) -> Array:
    """Returns scale (b, 3) with each body's thickness such that its markers come nearest to the skin.

    The axes that carry lengths stay; both sides get the same factor.
    """
    skin, thick = SkinDistance(vertices, faces), scale.copy()
    owners = np.array([m.body for m in spec.markers])
    shares = np.array([_TECHNICAL_SHARE if TECHNICAL.search(m.name) else 1.0 for m in spec.markers])
    for stem, groups in FREE_AXES.items():
        bodies = [b for b in (stem, f"{stem}_r", f"{stem}_l") if b in owners]
        local, frames, weights = [], [], []
        for name in bodies:
            T = pose.T_ground_from_body[spec.body_names.index(name)]
            local.append((pose.markers[owners == name] - T[:3, 3]) @ T[:3, :3])
            frames += [T] * len(local[-1])
            weights.append(shares[owners == name])
        if not bodies:
            continue
        points, T, weight = np.concatenate(local), np.stack(frames), np.concatenate(weights)
        factors = np.ones(3)
        # Twice, as the axes of a body act on each other a little.
        for axes in groups * (2 if len(groups) > 1 else 1):
            factors[[*axes]] = _best_factor(skin, points, T, weight, factors, axes)
        for name in bodies:
            thick[spec.body_names.index(name)] *= factors
    return thick


def _best_factor(
    skin: SkinDistance,
    points: Array,
    T: Array,
    weight: Array,
    factors: Array,
    axes: tuple[int, ...],
) -> float:
    """Returns the factor of some axes of points (n, 3) in frames T (n, 4, 4) that brings them nearest to the skin.

    `factors` (3,) are those of the other axes, `weight` (n,) what each point counts.
    """
    tried = np.repeat((points * factors)[None], len(_FACTORS), axis=0)
    for axis in axes:
        tried[..., axis] = points[:, axis] * _FACTORS[:, None]
    placed = np.einsum("nij,fnj->fni", T[:, :3, :3], tried) + T[:, :3, 3]
    distance = skin(placed.reshape(-1, 3)).reshape(placed.shape[:2])
    cost = np.minimum(distance, _FARTHEST_M) @ (weight / weight.sum())
    return float(_FACTORS[np.argmin(cost + _KEPT * np.abs(_FACTORS - 1.0))])
