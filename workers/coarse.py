"""Fewer triangles of a mesh on some of its own vertices: for shadows, and for pixels larger than the triangles.

Drawing triangles smaller than a pixel is most of what a person costs. v vertices, f faces; metres.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from schemas.geometry import cross

Floats = NDArray[np.float32]
Faces = NDArray[np.int32]
_SHORT_M = 0.007
"""From afar a vertex may be drawn at a neighbour this near."""
_TINT = 0.05
"""Neighbours whose colours differ by more than this both stay: lips, brows, a shoe's sole."""
_WORTH = 0.15
"""A mesh with a smaller share of short edges keeps its faces: it is cloth, which has few to lose."""
_TURNED = 0.3
"""Cosine between a face before and after: one that turned further might leave a hole."""


def coarser(faces: Faces, count: int) -> Faces:
    """Returns about a quarter of the faces (f, 3) of a mesh of `count` vertices, on some of its own vertices.

    The choice depends on nothing but the mesh's topology, so a body keeps it in every pose.
    """
    return _coarser(np.ascontiguousarray(faces, np.int32).tobytes(), count)


@lru_cache(maxsize=32)
def _coarser(data: bytes, count: int) -> Faces:
    faces = np.frombuffer(data, np.int32).reshape(-1, 3)
    ends = _edges(faces)
    keeper = _keepers(np.concatenate([ends, ends[:, ::-1]]), np.zeros(count, bool))
    kept = _cornered(keeper[faces])
    # Each once; every face starts with its smallest vertex, without being turned round.
    first = kept.argmin(axis=1)
    rotated = np.take_along_axis(kept, (first[:, None] + np.arange(3)) % 3, axis=1)
    _, places = np.unique(rotated @ np.array([count**2, count, 1]), return_index=True)
    return np.ascontiguousarray(rotated[places], np.int32)


def thinned(points: Floats, faces: Faces, colours: Floats) -> Faces:
    """Returns the faces without edges of a few millimetres: hands and heads are as good in pixels as large.

    Borders and what is painted stay, and nothing moves by more than `_SHORT_M`.

    Args:
        points: (v, 3) at rest.
        faces: (f, 3).
        colours: (v, 3) 0..1.
    """
    ends = _edges(faces)
    one, other = ends.T
    apart = points[one] - points[other]
    near = ends[np.einsum("ei,ei->e", apart, apart) < _SHORT_M**2]
    if len(near) < _WORTH * len(ends):
        return faces
    held = _border(faces, len(points))
    held[ends[np.abs(colours[one] - colours[other]).max(axis=1) > _TINT]] = True
    keeper = _keepers(np.concatenate([near, near[:, ::-1]]), held)
    across = _across(points, faces)
    while True:
        after = _across(points, keeper[faces])
        sizes = np.einsum("fi,fi->f", across, across) * np.einsum("fi,fi->f", after, after)
        turned = np.einsum("fi,fi->f", across, after) < _TURNED * np.sqrt(sizes)
        if not turned.any():
            return _cornered(keeper[faces])
        back = np.unique(faces[turned])
        keeper[back] = back


def _edges(faces: Faces) -> Faces:
    """Returns both ends of every face's edges (3 f, 2)."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def _across(points: Floats, faces: Faces) -> Floats:
    a, b, c = (points[faces[:, k]] for k in range(3))
    return np.asarray(cross(b - a, c - a), np.float32)


def _border(faces: Faces, count: int) -> NDArray[np.bool_]:
    """Marks the vertices (v,) at the mesh's border: inside it every neighbour both follows and goes before another."""
    before, after = faces[:, [2, 0, 1]].astype(float), faces[:, [1, 2, 0]].astype(float)
    sums = np.bincount(faces.ravel(), (after**2 - before**2).ravel(), count)
    return np.asarray(sums != 0.0)


def _cornered(moved: Faces) -> Faces:
    """Returns the faces (f, 3) that still have three corners."""
    a, b, c = moved.T
    return np.ascontiguousarray(moved[(a != b) & (b != c) & (c != a)])


def _keepers(ends: Faces, held: NDArray[np.bool_]) -> Faces:
    """Returns the vertex (v,) that stands for each: itself, or a neighbour, no two of which are neighbours.

    Neighbours are the `ends` (e, 2) of edges, in both directions. Those `held` (v,) stand for themselves and no other.
    Luby 1986, "A simple parallel algorithm for the maximal independent set problem", with fixed priorities.
    """
    count = len(held)
    rank = np.random.default_rng(0).permutation(count)
    keeper = np.where(held, np.arange(count), -1).astype(np.int32)
    while (keeper < 0).any():
        ends = ends[(keeper[ends] < 0).all(axis=1)]
        best = np.full(count, -1)
        np.maximum.at(best, ends[:, 0], rank[ends[:, 1]])
        keeps = (keeper < 0) & (rank > best)
        keeper[keeps] = np.flatnonzero(keeps)
        near = ends[keeps[ends[:, 0]]]
        keeper[near[:, 1]] = near[:, 0]
    return keeper
