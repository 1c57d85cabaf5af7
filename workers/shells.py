"""Garments as shells of their own about a resting skin: what they cover, how they stay outside it, how they follow it.

Dims: b = OpenSim body, f = triangle, n = shell vertex, v = skin vertex. Metres, ground frame.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from workers.surfaces import Texture, vertex_normals

Array = NDArray[np.float64]
F4 = NDArray[np.float32]
Faces = NDArray[np.int32]
REACH_M = 0.07
"""A garment hides skin at most this far below it."""
_INSIDE_M = 0.025
"""Cloth that far inside the skin still counts as lying over it."""
_CANDIDATES = 6


@dataclass(frozen=True, kw_only=True)
class Shell:
    """One piece of clothing, pair of shoes, or hair on a resting body."""

    name: str
    vertices: F4
    """(n, 3)."""
    faces: Faces
    """(f, 3)."""
    weights: Array
    """(n, b): how much each vertex follows each OpenSim body; rows add up to 1."""
    corner_uv: F4
    """(f, 3, 2), v downwards as the rows of a texture."""
    texture: Texture | None
    colours: F4
    """(n, 3) sRGB; multiplied with the texture."""
    roughness: float = 0.85
    holes: bool = False
    """The texture's alpha cuts it out."""
    moulded: bool = False
    """It keeps its resting shape, wherever the skin below it is (a shoe)."""
    under: NDArray[np.intp] | None = None
    """(n,): the skin vertex below each, once known."""
    over: NDArray[np.bool_] | None = None
    """(v,): the skin that it lies over, where that is known."""
    hides: bool = True
    """What lies under it is not drawn; else (hair, tape) it is."""
    clearance: float = 0.003
    """Distance that it keeps from the skin in every pose, m."""
    lined: bool = True
    """Its inside is drawn too, for who looks in at a hem; else (painted shoes) too little of it shows."""
    skirt: bool = False
    """It hangs about both legs."""


def part_of(shell: Shell, kept: NDArray[np.bool_]) -> Shell:
    """Returns some faces (f,) of a shell, with their vertices."""
    used, faces = np.unique(shell.faces[kept], return_inverse=True)
    return replace(
        shell,
        vertices=shell.vertices[used],
        faces=faces.reshape(-1, 3).astype(np.int32),
        weights=shell.weights[used],
        under=None if shell.under is None else shell.under[used],
        corner_uv=shell.corner_uv[kept],
        colours=shell.colours[used],
    )


def edges_of(faces: Faces) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Returns both ends of every edge of triangles (f, 3), in both directions."""
    a = faces[:, [0, 1, 2]].ravel().astype(np.intp)
    b = faces[:, [1, 2, 0]].ravel().astype(np.intp)
    return np.concatenate([a, b]), np.concatenate([b, a])


def averaging(faces: Faces, count: int) -> csr_array:
    """Returns the (count, count) matrix that averages the neighbours of each vertex; lonely ones stay."""
    a, b = edges_of(faces)
    links = csr_array((np.ones(len(a), np.float32), (a, b)), shape=(count, count))
    links.data[:] = 1.0
    degree = links.sum(axis=1)
    lonely = csr_array(
        ((degree == 0).astype(np.float32), (np.arange(count), np.arange(count))),
        shape=(count, count),
    )
    return csr_array((links / np.maximum(degree, 1.0)[:, None]) + lonely)


def smooth_weights(weights: Array, faces: Faces, rounds: int) -> Array:
    """Softens how a shell (n, b) follows the bodies: cloth bends more widely than the skin below it."""
    links = averaging(faces, len(weights))
    for _ in range(rounds):
        weights = 0.5 * (weights + links @ weights)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def hit_distance(
    points: F4, normals: F4, vertices: F4, faces: Faces, reach: float = REACH_M
) -> Array:
    """Returns how far above points (v, 3) along their normals a shell lies (v,); inf where none is in reach.

    Negative where it lies just inside. Tries the triangles near four places along each ray.
    """
    triangles = vertices[faces].astype(np.float64)
    tree = cKDTree(triangles.mean(axis=1))
    found = np.full(len(points), np.inf)
    near = tree.query(points, distance_upper_bound=reach + 0.05)[0] < np.inf
    rows = np.flatnonzero(near)
    if not len(rows):
        return found
    p, n = points[rows].astype(np.float64), normals[rows].astype(np.float64)
    best = np.full(len(rows), np.inf)
    for height in (-0.01, 0.01, 0.03, 0.055):
        _, candidates = tree.query(p + height * n, k=min(_CANDIDATES, len(faces)))
        for column in candidates.reshape(len(rows), -1).T:
            t = _ray_triangle(p, n, triangles[column])
            better = (np.abs(t) < np.abs(best)) & (t > -_INSIDE_M) & (t < reach)
            best = np.where(better, t, best)
    found[rows] = best
    return found


def _ray_triangle(origin: Array, direction: Array, triangle: Array) -> Array:
    """Returns the distance (r,) along each ray to its triangle (r, 3, 3); inf where it misses (Möller, Trumbore)."""
    first, second = triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0]
    across = np.cross(direction, second)
    determinant = np.einsum("ri,ri->r", first, across)
    safe = np.where(np.abs(determinant) < 1e-12, 1e-12, determinant)
    from_corner = origin - triangle[:, 0]
    u = np.einsum("ri,ri->r", from_corner, across) / safe
    other = np.cross(from_corner, first)
    v = np.einsum("ri,ri->r", direction, other) / safe
    t = np.einsum("ri,ri->r", second, other) / safe
    slack = 0.08  # neighbouring triangles overlap a little, so that no ray slips between them
    hit = (u > -slack) & (v > -slack) & (u + v < 1 + slack) & (np.abs(determinant) > 1e-12)
    return np.asarray(np.where(hit, t, np.inf))


def rings_inside(covered: NDArray[np.bool_], faces: Faces, most: int = 4) -> NDArray[np.int64]:
    """Returns how many edges each vertex (v,) lies inside the covered area, 0 outside, at most `most`."""
    a, b = edges_of(faces)
    rings = np.where(covered, most, 0)
    for _ in range(most):
        lowest = np.full(len(rings), most)
        np.minimum.at(lowest, a, rings[b])
        rings = np.where(covered, np.minimum(rings, lowest + 1), 0)
    return rings


class SkinBelow:
    """A resting skin (v, 3) with its normals, as garments find it below them."""

    def __init__(self, skin: F4, faces: Faces) -> None:
        self.skin, self.faces = skin, faces
        self.normals = vertex_normals(skin, faces)
        self._tree = cKDTree(skin)

    def nearest(self, points: F4) -> NDArray[np.intp]:
        """Returns the skin vertex that each of points (n, 3) lies over: near, and rather below it than beside it."""
        distance, index = self._tree.query(points, k=6)
        offset, normals = points[:, None] - self.skin[index], self.normals[index]
        up = np.einsum("nki,nki->nk", offset, normals)
        aside = np.sqrt(np.maximum(distance**2 - up**2, 0.0))
        best = np.argmin(distance + 1.5 * aside, axis=1)
        return np.asarray(index[np.arange(len(points)), best], np.intp)

    def gap(self, points: F4, under: NDArray[np.intp]) -> F4:
        """Returns how far points (n, 3) lie above their skin vertices (n,)."""
        gap: F4 = np.einsum("ni,ni->n", points - self.skin[under], self.normals[under])
        return gap

    def below(self, shell: Shell) -> NDArray[np.bool_]:
        """Marks the skin (v,) that a shell on it covers."""
        if shell.over is not None:
            return shell.over
        above = hit_distance(self.skin, self.normals, shell.vertices, shell.faces)
        return np.asarray(above < np.inf)

    def keep_out(self, shell: Shell) -> Shell:
        """Moves a resting shell out to its clearance wherever it is closer or inside, and notes what is below it."""
        under = self.nearest(shell.vertices) if shell.under is None else shell.under
        if shell.moulded:
            return replace(shell, under=under)
        push = np.maximum(shell.clearance - self.gap(shell.vertices, under), 0.0)
        push = np.where(
            push < 0.06, push, 0.0
        )  # what is deeper belongs to another part of the body
        links = averaging(shell.faces, len(push))
        spread = push
        for _ in range(2):
            spread = np.maximum(push, 0.5 * (spread + links @ spread))
        moved = shell.vertices + spread[:, None].astype(np.float32) * self.normals[under]
        return replace(shell, vertices=moved.astype(np.float32), under=under)


def shell_under(inner: Shell, outer: Shell) -> NDArray[np.bool_]:
    """Marks the vertices (n,) of a shell that an outer one covers."""
    if outer.over is not None and inner.under is not None:
        return np.asarray(outer.over[inner.under])
    out = vertex_normals(inner.vertices, inner.faces)
    return np.asarray(hit_distance(inner.vertices, out, outer.vertices, outer.faces) < np.inf)


@dataclass(frozen=True, kw_only=True)
class Seamed:
    """A mesh split along its texture's seams: s drawn vertices."""

    rows: NDArray[np.intp]
    """(s,): the vertex that each drawn one is."""
    faces: Faces
    """(f, 3) of drawn vertices."""
    uv: F4
    """(s, 2)."""


def split_seams(faces: Faces, corner_uv: F4) -> Seamed:
    """Splits vertices that have several texture coordinates."""
    flat = corner_uv.reshape(-1, 2)
    u, v = np.clip(np.rint(flat.T * 65536.0) + 2**18, 0, 2**20 - 1).astype(np.int64)
    keys = (faces.ravel().astype(np.int64) << 40) | (u << 20) | v
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return Seamed(
        rows=faces.ravel()[first].astype(np.intp),
        faces=inverse.reshape(faces.shape).astype(np.int32),
        uv=flat[first].astype(np.float32),
    )
