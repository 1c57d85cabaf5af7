"""Rigid transforms, the pinhole camera and image affines, in numpy.

Shapes broadcast over leading dims; `T` are (…, 4, 4), `K` (…, 3, 3), image affines `A_dst_from_src` (3, 3).
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Number = TypeVar("Number", bound=np.floating)
_NEAREST_M = 1e-6
"""What lies nearer than this is not before the camera."""


def transform_points(T_dst_from_src: Array, points_src: Array) -> Array:
    """Moves points (…, n, 3) by transforms (…, 4, 4)."""
    rotation, translation = T_dst_from_src[..., :3, :3], T_dst_from_src[..., :3, 3]
    result: Array = points_src @ np.swapaxes(rotation, -1, -2) + translation[..., None, :]
    return result


def invert_rigid(T_dst_from_src: Array) -> Array:
    """Inverts rigid transforms (…, 4, 4) by transposition, exact to rounding."""
    inverse = np.zeros_like(T_dst_from_src)
    rotation_t = np.swapaxes(T_dst_from_src[..., :3, :3], -1, -2)
    inverse[..., :3, :3] = rotation_t
    inverse[..., :3, 3] = -(rotation_t @ T_dst_from_src[..., :3, 3:])[..., 0]
    inverse[..., 3, 3] = 1.0
    return inverse


def look_at(eye: Array, target: Array, roll: float) -> Array:
    """Returns `T_cam_from_ground` of a camera at `eye` (3) looking at `target` (3), ground frame, Y up.

    `roll` turns the camera clockwise as its holder sees it, in radians; the world in the picture leans to the left.
    """
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, np.array([0.0, 1.0, 0.0]))
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cos, sin = np.cos(roll), np.sin(roll)
    T = np.eye(4)
    T[:3, :3] = np.stack([cos * right + sin * down, -sin * right + cos * down, forward])
    T[:3, 3] = -T[:3, :3] @ eye
    return T


def project(K: Array, points_cam: Array) -> Array:
    """Projects camera-frame points (…, n, 3) to pixels (…, n, 2); points behind the camera give NaN."""
    depth = points_cam[..., 2:]
    safe = np.where(depth > _NEAREST_M, depth, np.nan)
    homogeneous = points_cam / safe @ np.swapaxes(K, -1, -2)
    result: Array = homogeneous[..., :2]
    return result


def projected_bounds(
    K: Array, T_cam_from_src: Array, points_src: NDArray[np.floating]
) -> tuple[Array, Array, float]:
    """Returns the least and greatest pixels (2,), (2,) of points (n, 3) before a camera, and the least depth of all.

    What `project` gives, for a K without skew, in the points' own precision and more than twice as fast; infinite where
    no point lies before the camera.
    """
    T = T_cam_from_src.astype(points_src.dtype)
    # One coordinate after the other: numpy is slow along short rows.
    x, y, z = T[:3, :3] @ points_src.T + T[:3, 3:]
    nearest, seen = float(z.min()), z > _NEAREST_M
    if not seen.all():
        x, y, z = x[seen], y[seen], z[seen]
    slopes = np.stack([x / z, y / z])
    edges = slopes.min(axis=1, initial=np.inf), slopes.max(axis=1, initial=-np.inf)
    low, high = (K.diagonal()[:2] * edge + K[:2, 2] for edge in edges)
    return low, high, nearest


def apply_affine(A_dst_from_src: Array, points: Array) -> Array:
    """Moves pixel points (…, 2) by a 3x3 image affine."""
    result: Array = points @ A_dst_from_src[:2, :2].T + A_dst_from_src[:2, 2]
    return result


def affine_from_box(box_xywh: Array, width: int, height: int) -> Array:
    """Returns `A_out_from_image` that stretches a box onto a width x height picture.

    The box's outer edges (x, x + w) land on the picture's outer edges (-0.5, width - 0.5).
    """
    x, y, w, h = (float(v) for v in box_xywh)
    sx, sy = width / w, height / h
    return np.array([[sx, 0.0, -x * sx - 0.5], [0.0, sy, -y * sy - 0.5], [0.0, 0.0, 1.0]])


def fit_box(box_xywh: Array, aspect: float, factor: float) -> Array:
    """Grows a box about its centre to `aspect` (width / height) without cutting it, then by `factor`."""
    x, y, w, h = (float(v) for v in box_xywh)
    cx, cy = x + w / 2, y + h / 2
    w, h = max(w, h * aspect) * factor, max(h, w / aspect) * factor
    return np.array([cx - w / 2, cy - h / 2, w, h])


def cross(a: NDArray[Number], b: NDArray[Number]) -> NDArray[Number]:
    """Returns the cross products (…, 3), in half the time that `np.cross` takes."""
    ax, ay, az = np.moveaxis(a, -1, 0)
    bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)
