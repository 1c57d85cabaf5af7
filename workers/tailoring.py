"""Cuts garments out of a resting skin along their hems, and hangs them on it as shells.

Dims: n = shell vertex, v = skin vertex. Metres, ground axes. A hem is the line where a signed distance given per skin
vertex is zero; triangles are cut there, so a hem is clean though vertices are some 15 mm apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.body import Body
from workers.shells import F4, Faces, Shell, averaging, edges_of
from workers.surfaces import Texture, vertex_normals

Array = NDArray[np.float64]
_SNAP = 0.06
"""A cut nearer to a vertex than this share of its edge goes through the vertex."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A piece of skin: each of its vertices lies on an edge, or at a vertex, of the skin."""

    first: NDArray[np.intp]
    """(n,): ends of that edge,"""
    second: NDArray[np.intp]
    share: Array
    """(n,): and how far along it, 0 … 1."""
    faces: Faces
    corner_uv: F4
    """(f, 3, 2): MakeHuman's, v downwards."""

    def of(self, field: NDArray[np.floating]) -> Array:
        """Returns a field of the skin (v, …) on the piece (n, …)."""
        share = self.share.reshape(-1, *[1] * (field.ndim - 1))
        return np.asarray(field[self.first] * (1.0 - share) + field[self.second] * share)


def cut(body: Body, inside: Array) -> Cut:
    """Cuts the skin along `inside` (v,) = 0 and keeps where it is positive."""
    inside = np.where(np.abs(inside) < 1e-5, 1e-5, inside)
    up = inside[body.faces] > 0.0
    count = up.sum(axis=1)
    uv = body.face_uv.astype(np.float64).copy()
    uv[..., 1] = 1.0 - uv[..., 1]
    whole = count == 3
    corners = [_corners(body.faces[whole], body.faces[whole], np.zeros((int(whole.sum()), 3)))]
    uvs = [uv[whole]]
    for kept in (1, 2):
        rows = np.flatnonzero(count == kept)
        # Turn each triangle so that its odd corner comes first.
        odd = np.argmax(up[rows] if kept == 1 else ~up[rows], axis=1)
        order = (odd[:, None] + np.arange(3)) % 3
        tri, t_uv = np.take_along_axis(body.faces[rows], order, 1), uv[rows[:, None], order]
        a, b, c = (inside[tri[:, k]] for k in range(3))
        ab, ac = _snapped(a / (a - b)), _snapped(a / (a - c))
        p_uv = t_uv[:, 0] + ab[:, None] * (t_uv[:, 1] - t_uv[:, 0])
        q_uv = t_uv[:, 0] + ac[:, None] * (t_uv[:, 2] - t_uv[:, 0])
        zero = np.zeros(len(rows))
        A, B, C = tri.T
        pieces = (
            [([A, A, A], [A, B, C], [zero, ab, ac], [t_uv[:, 0], p_uv, q_uv])]
            if kept == 1
            else [
                ([A, B, C], [B, B, C], [ab, zero, zero], [p_uv, t_uv[:, 1], t_uv[:, 2]]),
                ([A, C, A], [B, C, C], [ab, zero, ac], [p_uv, t_uv[:, 2], q_uv]),
            ]
        )
        for first, second, share, corner_uv in pieces:
            corners.append(_corners(np.stack(first, 1), np.stack(second, 1), np.stack(share, 1)))
            uvs.append(np.stack(corner_uv, axis=1))
    return _weld(np.concatenate(corners), np.concatenate(uvs))


def _snapped(share: Array) -> Array:
    return np.where(share < _SNAP, 0.0, np.where(share > 1 - _SNAP, 1.0, share))


def _corners(start: NDArray[np.int32], end: NDArray[np.int32], share: Array) -> Array:
    """Names corners (f, 3) by edge and share, (f, 3, 3), the same from both sides of an edge."""
    first = np.where(share >= 1.0, end, start).astype(np.float64)
    second = np.where(share <= 0.0, start, end).astype(np.float64)
    share = np.where(first == second, 0.0, share)
    swap = first > second
    low, high = np.where(swap, second, first), np.where(swap, first, second)
    return np.stack([low, high, np.where(swap, 1.0 - share, share)], axis=-1)


def _weld(corners: Array, uv: Array) -> Cut:
    flat = corners.reshape(-1, 3)
    low, high, share = np.rint(flat * [1.0, 1.0, 1e6]).astype(np.int64).T
    keys = (low << 42) | (high << 21) | share
    _, row, inverse = np.unique(keys, return_index=True, return_inverse=True)
    faces = inverse.reshape(-1, 3)
    a, b, c = faces.T
    real = (a != b) & (b != c) & (c != a)
    return Cut(
        first=flat[row, 0].astype(np.intp),
        second=flat[row, 1].astype(np.intp),
        share=flat[row, 2],
        faces=faces[real].astype(np.int32),
        corner_uv=uv[real].astype(np.float32),
    )


def hang(
    body: Body,
    weights: Array,
    piece: Cut,
    offsets: Array,
    *,
    name: str,
    texture: Texture | None,
    colours: Array | None = None,
    smoothing: int = 0,
    softness: int = 1,
    clearance: float = 0.002,
    over: NDArray[np.bool_] | None = None,
    roughness: float = 0.85,
) -> Shell:
    """Makes a shell of a piece of skin that stands off by `offsets` (v,).

    Args:
        body: whose skin it is.
        weights: how the skin follows the bodies (v, b).
        piece: the cut.
        offsets: along the skin's normals, m.
        name: of the shell.
        texture: over MakeHuman's texture coordinates.
        colours: (n, 3) sRGB; white without.
        smoothing: rounds of relaxing: bridges hollows, draws folds together.
        softness: rounds of softening how it bends.
        clearance: kept from the skin, m.
        over: the skin (v,) below, which is then not drawn.
        roughness: of its finish.
    """
    normals = vertex_normals(body.rest, body.faces).astype(np.float64)
    direction = piece.of(normals)
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
    points = piece.of(body.rest.astype(np.float64)) + piece.of(offsets)[:, None] * direction
    points = relaxed(points, piece.faces, smoothing)
    follow = piece.of(weights)
    links = averaging(piece.faces, len(points))
    for _ in range(softness):
        follow = 0.5 * (follow + links @ follow)
    shade = np.ones((len(points), 3)) if colours is None else colours
    return Shell(
        name=name,
        vertices=points.astype(np.float32),
        faces=piece.faces,
        weights=follow / follow.sum(axis=1, keepdims=True),
        corner_uv=piece.corner_uv,
        texture=texture,
        colours=shade.astype(np.float32),
        roughness=roughness,
        under=np.where(piece.share < 0.5, piece.first, piece.second),
        over=over,
        hides=over is not None,
        clearance=clearance,
    )


def relaxed(points: Array, faces: Faces, rounds: int) -> Array:
    """Smooths a shell (n, 3) without shrinking it much (Taubin 1995); hems stay where they are."""
    links, border = averaging(faces, len(points)), borders(faces, len(points))
    for _ in range(rounds):
        for step in (0.5, -0.45):
            moved = points + step * (links @ points - points)
            points = np.where(border[:, None], points, moved)
    return points


def borders(faces: Faces, count: int) -> NDArray[np.bool_]:
    """Marks the vertices (count,) on a border: those with an edge of one triangle only."""
    a, b = edges_of(faces)
    keys, times = np.unique(np.minimum(a, b) * count + np.maximum(a, b), return_counts=True)
    single = keys[times == 2]  # `edges_of` names each triangle's edge twice
    marked = np.zeros(count, bool)
    marked[single // count] = marked[single % count] = True
    return marked
