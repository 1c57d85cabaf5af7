"""What the shadow and height maps look at: parallel projections that just hold what throws shadows."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = NDArray[np.float32]


def _ortho(axes: Array, points: Floats, margin: float) -> tuple[Array, Array]:
    """Fits a parallel projection to points (3, n): rows of `axes` (3, 3) are its right, down and forward.

    Returns (clip_from_ground (4, 4), edges of the fitted box (3) m).
    """
    along = axes.astype(np.float32) @ points
    low, high = along.min(axis=1) - np.float64(margin), along.max(axis=1) + np.float64(margin)
    T = np.eye(4)
    T[:3, :3] = axes * (2 / (high - low))[:, None]
    T[:3, 3] = -(high + low) / (high - low)
    return T, high - low


def shadow_camera(to_sun: Array, casters: Floats) -> tuple[Array, Array]:
    """Returns (clip_from_ground (4, 4) of the sun's view of the casters (3, n), its width and height (2) m)."""
    forward = -to_sun / np.linalg.norm(to_sun)
    side = np.cross(forward, [0.0, 0.0, 1.0] if abs(forward[2]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    T, edges = _ortho(np.stack([side, np.cross(forward, side), forward]), casters, 0.05)
    return T, edges[:2]


def height_camera(casters: Floats) -> tuple[Array, Array, Array]:
    """Returns (clip_from_ground, (scale, u0, v0) of map uv = scale xz + (u0, v0), heights at depth 0 and 1).

    Casters (3, n). It looks straight down, square, and reaches 0.7 m beyond them, so that the border is always empty.
    """
    low, high = casters.min(axis=1).astype(float), casters.max(axis=1).astype(float)
    centre, half = (low + high) / 2, float((high - low)[[0, 2]].max()) / 2 + 0.7
    top, bottom = float(high[1]) + 0.01, float(low[1]) - 0.01
    T = np.zeros((4, 4))
    T[0, 0], T[0, 3] = 1 / half, -centre[0] / half
    T[1, 2], T[1, 3] = 1 / half, -centre[2] / half
    T[2, 1], T[2, 3] = -2 / (top - bottom), (top + bottom) / (top - bottom)
    T[3, 3] = 1.0
    uv = np.array([0.5 / half, 0.5 - 0.5 * centre[0] / half, 0.5 - 0.5 * centre[2] / half, 0.0])
    return T, uv, np.array([top, bottom])
