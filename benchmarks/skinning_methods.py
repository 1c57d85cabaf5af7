"""Ways to let a skin follow bodies, to compare with workers/skinning.py: same bind pose, same moves.

Dims: b = body, v = vertex. `weights` (v, b) rows add up to 1, `moves` (b, 4, 4) are what bodies do to the bind pose.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial.transform import Rotation

from workers.weights import neighbours_mean

Array = NDArray[np.float64]
Faces = NDArray[np.int32]
Method = Callable[[Array], Array]
"""From moves to vertices (v, 3)."""
_SIMILAR = 0.1
"""Le & Hodgins' sigma."""


def linear(rest: Array, weights: Array) -> Method:
    """Plain linear blending (Magnenat-Thalmann et al. 1988)."""
    sparse, places = csr_array(weights), np.c_[rest, np.ones(len(rest))]

    def deform(moves: Array) -> Array:
        blended = (sparse @ moves[:, :3].reshape(len(moves), 12)).reshape(-1, 3, 4)
        return np.asarray(np.einsum("vij,vj->vi", blended, places))

    return deform


def dual_quaternions(rest: Array, weights: Array, parents: tuple[int, ...]) -> Method:
    """Dual quaternions (Kavan et al. 2007)."""
    sparse = csr_array(weights)

    def deform(moves: Array) -> Array:
        real = _quaternions(moves, parents)
        shift = np.c_[np.zeros(len(moves)), moves[:, :3, 3]]
        dual = _product(shift, real) / 2.0
        real, dual = sparse @ real, sparse @ dual
        length = np.linalg.norm(real, axis=1, keepdims=True)
        real, dual = real / length, dual / length
        move = 2.0 * _product(dual, real * [1, -1, -1, -1])[:, 1:]
        return np.asarray(_rotated(real, rest) + move)

    return deform


def centres_of_rotation(
    rest: Array, weights: Array, parents: tuple[int, ...], faces: Faces
) -> Method:
    """Optimised centres of rotation (Le & Hodgins 2016)."""
    sparse, blend = csr_array(weights), linear(rest, weights)
    places, known = _centres(rest, weights, faces)
    carry = linear(places, weights)

    def deform(moves: Array) -> Array:
        real = sparse @ _quaternions(moves, parents)
        real /= np.linalg.norm(real, axis=1, keepdims=True)
        turned = _rotated(real, rest - places) + carry(moves)
        return np.where(known[:, None], turned, blend(moves))

    return deform


def _centres(rest: Array, weights: Array, faces: Faces) -> tuple[Array, NDArray[np.bool_]]:
    """Returns each vertex' centre of rotation (v, 3), and which have one."""
    middles, a, b = rest[faces].mean(axis=1), rest[faces[:, 1]], rest[faces[:, 2]]
    area = np.linalg.norm(np.cross(a - rest[faces[:, 0]], b - rest[faces[:, 0]]), axis=1) / 2
    shared = weights[faces].mean(axis=1)
    several = (shared > 1e-3).sum(axis=1) > 1
    middles, area, shared = middles[several], area[several], shared[several]
    centres, known = np.zeros_like(rest), np.zeros(len(rest), bool)
    for rows in np.array_split(np.flatnonzero((weights > 1e-3).sum(axis=1) > 1), 60):
        alike = area * _similarity(weights[rows], shared)
        total = alike.sum(axis=1)
        sound = total > 1e-12
        centres[rows[sound]] = (alike[sound] @ middles) / total[sound, None]
        known[rows[sound]] = True
    return centres, known


def _similarity(one: Array, other: Array) -> Array:
    """Returns Le & Hodgins' likeness of weights (n, b) and (m, b): (n, m)."""
    alike = np.zeros((len(one), len(other)))
    used = np.flatnonzero((one > 1e-3).any(axis=0))
    for j in used:
        for k in used[used > j]:
            p, q = np.outer(one[:, j], other[:, k]), np.outer(one[:, k], other[:, j])
            alike += p * q * np.exp(-((p - q) ** 2) / _SIMILAR**2)
    return alike


def delta_mush(rest: Array, weights: Array, faces: Faces, steps: int = 10) -> Method:
    """Delta mush (Mancewicz et al. 2014): smooths the blended skin, then puts the rest skin's details back."""
    blend, mean = linear(rest, weights), neighbours_mean(faces, len(rest))
    first = np.array([row.indices[0] if row.nnz else 0 for row in mean])

    def smooth(points: Array) -> Array:
        for _ in range(steps):
            points = (points + mean @ points) / 2.0
        return points

    flat = smooth(rest)
    details = np.einsum("vji,vj->vi", _frames(flat, faces, first), rest - flat)

    def deform(moves: Array) -> Array:
        posed = smooth(blend(moves))
        return np.asarray(posed + np.einsum("vij,vj->vi", _frames(posed, faces, first), details))

    return deform


def _frames(points: Array, faces: Faces, first: NDArray[np.intp]) -> Array:
    """Returns frames (v, 3, 3) of a skin: normal, an edge, and their cross product."""
    a, b, c = (points[faces[:, i]] for i in range(3))
    normals = np.zeros_like(points)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], np.cross(b - a, c - a))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    edge = points[first] - points
    edge -= normals * np.einsum("vi,vi->v", edge, normals)[:, None]
    edge /= np.linalg.norm(edge, axis=1, keepdims=True) + 1e-12
    return np.stack([normals, edge, np.cross(normals, edge)], axis=-1)


def _quaternions(moves: Array, parents: tuple[int, ...]) -> Array:
    """Returns the moves' rotations (b, 4), scalar first, each on its parent's half of the sphere."""
    found = Rotation.from_matrix(moves[:, :3, :3]).as_quat(scalar_first=True)
    for i, parent in enumerate(parents):
        if parent >= 0 and found[i] @ found[parent] < 0:
            found[i] *= -1.0
    return np.asarray(found)


def _product(p: Array, q: Array) -> Array:
    a, u, b, v = p[:, :1], p[:, 1:], q[:, :1], q[:, 1:]
    scalar = a * b - np.einsum("vi,vi->v", u, v)[:, None]
    return np.concatenate([scalar, a * v + b * u + np.cross(u, v)], axis=1)


def _rotated(q: Array, points: Array) -> Array:
    u, w = q[:, 1:], q[:, :1]
    return np.asarray(points + 2.0 * np.cross(u, np.cross(u, points) + w * points))
