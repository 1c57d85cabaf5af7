"""What the renderer draws: triangles with colours, part numbers and a finish; and simple solids made of them.

Ground frame, metres, Y up. v vertices, f faces. Faces are wound counter-clockwise seen from outside.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
TILE_PX = 512
"""Edge of every texture, pixels."""
SCENERY, OCCLUDER = 0, 255
"""Part numbers of what is no person; 1 + body index is a person."""


@dataclass(frozen=True, kw_only=True)
class Texture:
    """A tile that repeats; it multiplies the colours. Two textures of one name must hold the same pixels."""

    name: str
    pixels: NDArray[np.uint8]
    """(TILE_PX, TILE_PX, 3) sRGB, or 4 with alpha."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A mesh in the ground frame."""

    vertices: Floats
    """(v, 3) m."""
    faces: NDArray[np.int32]
    """(f, 3)."""
    colours: Floats
    """(v, 3) sRGB, 0..1."""
    parts: NDArray[np.uint8]
    """(v,): 0 scenery, 255 occluder, else 1 + OpenSim body index. A face takes its last vertex's."""
    uv: Floats | None = None
    """(v, 2) in tiles of the texture."""
    texture: Texture | None = None
    roughness: float = 0.75
    casts: bool = True
    """Throws a shadow."""
    two_sided: bool = False
    """Also seen from behind (a leaf, a cloth); else only from where its faces run counter-clockwise, so a camera may
    look into a room through the back of its wall."""
    holes: bool = False
    """Its texture's alpha cuts it out (hair); such a surface is seen from both sides and throws no shadow."""
    normals: Floats | None = None
    """(v, 3), where the faces do not say: the two sides of a texture's seam share one normal."""
    thinned: NDArray[np.int32] | None = None
    """(f, 3): fewer faces of the same vertices, as good where pixels are larger than their edges (`workers.coarse`)."""
    catcher: bool = False
    """Shows the background photo, darkened by shadows, instead of its own colour."""
    name: str = ""


class Normals:
    """Makes the normals of one mesh in pose after pose."""

    def __init__(self, faces: NDArray[np.int32], count: int) -> None:
        self._corners = [np.ascontiguousarray(faces[:, k], np.intp) for k in range(3)]
        numbers = np.arange(len(faces), dtype=np.int32)  # short ones: half of what must be read
        ones, of_face = np.ones(faces.size, np.float32), np.repeat(numbers, 3)
        self._sum = csr_array((ones, (faces.ravel(), of_face)), shape=(count, len(faces)))

    def __call__(self, vertices: Floats) -> Floats:
        """Returns area-weighted unit normals (v, 3)."""
        a, b, c = (np.take(vertices, corner, axis=0, mode="clip") for corner in self._corners)
        (px, py, pz), (qx, qy, qz) = (b - a).T, (c - a).T
        across = np.empty_like(a)
        across[:, 0], across[:, 1] = py * qz - pz * qy, pz * qx - px * qz
        across[:, 2] = px * qy - py * qx
        normals: Floats = self._sum @ across
        lengths = np.sqrt(np.einsum("vi,vi->v", normals, normals))
        normals /= np.maximum(lengths, 1e-20)[:, None]
        return normals


def vertex_normals(vertices: Floats, faces: NDArray[np.int32]) -> Floats:
    """Returns area-weighted unit normals (v, 3); for a mesh seen once."""
    return Normals(faces, len(vertices))(vertices)


def merge(surfaces: list[Surface], name: str) -> Surface:
    """Joins meshes of one finish into one; texture, roughness and flags are the first one's."""
    starts = np.cumsum([0] + [len(s.vertices) for s in surfaces[:-1]])
    uv = [
        s.uv if s.uv is not None else np.zeros((len(s.vertices), 2), np.float32) for s in surfaces
    ]
    return replace(
        surfaces[0],
        vertices=np.concatenate([s.vertices for s in surfaces]),
        faces=np.concatenate(
            [s.faces + np.int32(start) for s, start in zip(surfaces, starts, strict=True)]
        ),
        colours=np.concatenate([s.colours for s in surfaces]),
        parts=np.concatenate([s.parts for s in surfaces]),
        uv=np.concatenate(uv),
        thinned=None,
        name=name,
    )


def place(surface: Surface, *, at: ArrayLike, turn: float = 0.0) -> Surface:
    """Turns a surface about the vertical (radians, from z towards x), then moves it by `at` (3)."""
    vertices = surface.vertices
    if turn:
        cos, sin = np.cos(turn), np.sin(turn)
        vertices = vertices @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]], np.float32)
    return replace(surface, vertices=vertices + np.asarray(at, np.float32))


def _surface(
    vertices: Floats, faces: NDArray[np.int32], uv: Floats, colour: ArrayLike, part: int
) -> Surface:
    return Surface(
        vertices=vertices,
        faces=faces,
        colours=np.broadcast_to(np.asarray(colour, np.float32), vertices.shape),
        parts=np.full(len(vertices), part, np.uint8),
        uv=uv,
    )


_CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
_QUAD = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


@lru_cache(maxsize=1)
def _unit_box() -> tuple[Floats, NDArray[np.int32]]:
    sides = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            side = np.zeros((4, 3), np.float32)
            side[:, axis] = sign
            side[:, (axis + 1) % 3] = _CORNERS[:, 0] * sign
            side[:, (axis + 2) % 3] = _CORNERS[:, 1]
            sides.append(side)
    faces = np.concatenate([_QUAD + 4 * i for i in range(6)])
    return np.concatenate(sides) * 0.5, faces.astype(np.int32)


def box(size: ArrayLike, colour: ArrayLike, part: int = SCENERY, tile: float = 1.0) -> Surface:
    """A box of edges `size` (3) standing on y = 0 about the vertical axis; `tile` is the texture's edge in metres."""
    unit, faces = _unit_box()
    edges = np.asarray(size, np.float32)
    vertices = unit * edges
    uv = np.empty((24, 2), np.float32)
    for axis, (u, v) in enumerate(((2, 1), (0, 2), (0, 1))):
        uv[8 * axis : 8 * axis + 8] = vertices[8 * axis : 8 * axis + 8][:, [u, v]] / tile
    vertices[:, 1] += edges[1] / 2
    return _surface(vertices, faces, uv, colour, part)


@lru_cache(maxsize=64)
def _bands(rings: int, sides: int) -> tuple[Array, NDArray[np.int32]]:
    """Returns the unit circle (sides, 3) in the plane y = 0, and the faces between `rings` copies of it."""
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.stack([np.cos(angle), np.zeros(sides), np.sin(angle)], axis=1)
    i = np.arange(sides)
    j = (i + 1) % sides
    band = np.concatenate(
        [np.stack([i, i + sides, j], axis=1), np.stack([j, i + sides, j + sides], axis=1)]
    )
    faces = np.concatenate([band + sides * k for k in range(rings - 1)])
    return ring, faces.astype(np.int32)


def lathe(
    radii: ArrayLike, heights: ArrayLike, colour: ArrayLike, part: int = SCENERY, sides: int = 20
) -> Surface:
    """A profile (n radii at n heights, from the bottom) turned about the vertical: pot, ball, trunk."""
    r, y = np.asarray(radii, np.float64), np.asarray(heights, np.float64)
    ring, faces = _bands(len(r), sides)
    vertices = ring * r[:, None, None]
    vertices[:, :, 1] = y[:, None]
    flat = vertices.reshape(-1, 3).astype(np.float32)
    return _surface(flat, faces, np.zeros((len(flat), 2), np.float32), colour, part)


@lru_cache(maxsize=8)
def _unit_cylinder(sides: int) -> tuple[Floats, NDArray[np.int32]]:
    # Doubled rings keep the edges hard: normals are averaged per vertex.
    solid = lathe([0, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1], (0, 0, 0), SCENERY, sides)
    degenerate = np.ptp(solid.vertices[solid.faces], axis=1).max(axis=1) == 0
    between = np.isin(solid.faces.min(axis=1) // sides, (1, 3))
    return solid.vertices, solid.faces[~degenerate & ~between]


def cylinder(
    radius: float, height: float, colour: ArrayLike, part: int = SCENERY, sides: int = 20
) -> Surface:
    """An upright closed cylinder on y = 0, with hard edges."""
    unit, faces = _unit_cylinder(sides)
    vertices = unit * np.array([radius, height, radius], np.float32)
    return _surface(vertices, faces, np.zeros((len(vertices), 2), np.float32), colour, part)


def ball(radius: float, colour: ArrayLike, part: int = SCENERY, sides: int = 20) -> Surface:
    """A sphere resting on y = 0."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, sides // 2 + 1)
    return lathe(radius * np.cos(angle), radius + radius * np.sin(angle), colour, part, sides)


def rod(
    start: ArrayLike, end: ArrayLike, radius: float, colour: ArrayLike, part: int = SCENERY
) -> Surface:
    """A round bar from point to point (3)."""
    first, last = np.asarray(start, np.float64), np.asarray(end, np.float64)
    length = float(np.linalg.norm(last - first))
    bar = cylinder(radius, length, colour, part, 12)
    up = (last - first) / length
    side = np.cross(up, [1.0, 0.0, 0.0] if abs(up[0]) < 0.9 else [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    rotation = np.stack([side, up, np.cross(side, up)], axis=1)
    return replace(bar, vertices=(bar.vertices @ rotation.T + first).astype(np.float32))


@lru_cache(maxsize=8)
def _grid(steps: int) -> tuple[Array, NDArray[np.int32]]:
    s, t = np.meshgrid(np.linspace(0, 1, steps + 1), np.linspace(0, 1, steps + 1), indexing="ij")
    i, j = (m.ravel() for m in np.meshgrid(np.arange(steps), np.arange(steps), indexing="ij"))
    a, b = i * (steps + 1) + j, (i + 1) * (steps + 1) + j
    faces = np.concatenate([np.stack([a, b, b + 1], 1), np.stack([a, b + 1, a + 1], 1)])
    return np.stack([s.ravel(), t.ravel()], axis=1), faces.astype(np.int32)


def sheet(
    origin: ArrayLike,
    along: ArrayLike,
    across: ArrayLike,
    colour: ArrayLike,
    *,
    steps: int = 1,
    tile: float = 1.0,
) -> Surface:
    """A flat rectangle from `origin` spanned by `along` and `across` (3 each); its normal is along x across."""
    grid, faces = _grid(steps)
    spans = np.stack([np.asarray(along), np.asarray(across)]).astype(np.float64)
    vertices = (np.asarray(origin) + grid @ spans).astype(np.float32)
    uv = (grid * np.linalg.norm(spans, axis=1) / tile).astype(np.float32)
    return _surface(vertices, faces, uv, colour, SCENERY)
