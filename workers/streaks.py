"""Motion blur: what moves while the shutter is open is drawn out along its way.

The picture is taken apart into the person and the rest, each is averaged over its own way during the exposure, and they
are put together again. A pixel's way is exact: it belongs to one body of the skeleton, whose rigid motion is known, and
its depth is known too. Labels stay those of the middle of the exposure.

S picture edge, b = OpenSim body. Pixels by the rule of `schemas.geometry`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.render import Picture

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
LEAST_PX = 0.5
"""A shorter way is not seen."""
_LONGEST_PX = 48.0
_TAPS = 7
_OCCLUDER = 255


def exposed(
    picture: Picture,
    K: Array,
    T_cam_from_ground: Array,
    spin: Array | None,
    moves: Array,
    shutter: float,
) -> tuple[Floats, float]:
    """Returns the radiance (S, S, 3) as exposed over `shutter` seconds, and the person's mean streak, px.

    `spin` is the camera's turn, rad/s; the rest as for `ways`.
    """
    turn = None if spin is None else spin * shutter
    way = ways(picture, K, T_cam_from_ground, turn, moves)
    lengths = np.sqrt((way**2).sum(axis=2))
    person = (picture.part != 0) & (picture.part != _OCCLUDER)
    streak = float(lengths[person].mean()) if person.any() else 0.0
    if float(lengths.max()) < LEAST_PX:
        return picture.radiance, streak
    return blur_along(picture, way), streak


def ways(
    picture: Picture, K: Array, T_cam_from_ground: Array, spin: Array | None, moves: Array
) -> Floats:
    """Returns how far each pixel moves during the exposure: (S, S, 2) px, 0 where nothing moves.

    Args:
        picture: what the camera saw in the middle of the exposure.
        K: (3, 3) px.
        T_cam_from_ground: (4, 4).
        spin: (3,) rad by which the camera turns during the exposure, camera frame; None stands still.
        moves: (b, 3, 4) by which each body's points move in the ground frame during the exposure, m: displacement
            = moves @ (x, y, z, 1).
    """
    size = picture.part.shape[0]
    way = np.zeros((size, size, 2), np.float32)
    body = picture.part.astype(np.int64) - 1
    rows, columns = np.nonzero((body >= 0) & (body < len(moves)))
    inverse = np.linalg.inv(K)
    pixels = np.stack([columns, rows, np.ones(len(rows))]).astype(np.float64)
    in_camera = inverse @ pixels * picture.depth[rows, columns]
    R, t = T_cam_from_ground[:3, :3], T_cam_from_ground[:3, 3:]
    ground = np.concatenate([R.T @ (in_camera - t), np.ones((1, len(rows)))])
    of_body = moves[body[rows, columns]]
    moved = R @ np.einsum("nij,jn->in", of_body, ground)
    flow = K[:2, :2] @ (moved[:2] - in_camera[:2] / in_camera[2] * moved[2]) / in_camera[2]
    way[rows, columns] = flow.T
    if spin is not None:
        way += _turning(K, inverse, spin, size)
    length = np.sqrt((way**2).sum(axis=2, keepdims=True))
    return way * np.minimum(1.0, _LONGEST_PX / np.maximum(length, 1e-6)).astype(np.float32)


def _turning(K: Array, inverse: Array, spin: Array, size: int) -> Floats:
    """Returns the way (S, S, 2) of everything in a camera that turns by a small angle."""
    column, row = np.arange(size)[None, :], np.arange(size)[:, None]
    x = inverse[0, 0] * column + inverse[0, 1] * row + inverse[0, 2]
    y = inverse[1, 0] * column + inverse[1, 1] * row + inverse[1, 2]
    dx = spin[1] - spin[2] * y - x * (spin[0] * y - spin[1] * x)
    dy = spin[2] * x - spin[0] - y * (spin[0] * y - spin[1] * x)
    flow = np.stack([K[0, 0] * dx + K[0, 1] * dy, K[1, 1] * dy], axis=2)
    return flow.astype(np.float32)


def blur_along(picture: Picture, way: Floats) -> Floats:
    """Returns the radiance (S, S, 3) averaged along each pixel's way (S, S, 2) px."""
    person = (picture.part != 0) & (picture.part != _OCCLUDER)
    if not person.any():
        return _averaged(picture.radiance, way)
    cover = person.astype(np.float32)
    layer = np.dstack([picture.radiance * cover[..., None], cover])
    moving = _averaged(layer, _spread(way, cover))
    rest = _averaged(_spread(picture.radiance, 1.0 - cover), _spread(way, 1.0 - cover))
    blurred = moving[..., :3] + rest * (1.0 - moving[..., 3:])
    # Where nothing moves the taking apart would only soften the outline, which the renderer has smoothed already.
    touched = (moving[..., 3] > 0) & (moving[..., 3] < 1)
    still = np.sqrt((way**2).sum(axis=2)) < LEAST_PX
    keep = still & ~(touched & (np.abs(moving[..., 3] - cover) > 0.02))
    return np.where(keep[..., None], picture.radiance, blurred)


def _spread(field: Floats, cover: Floats) -> Floats:
    """Carries a field (S, S, n) from where `cover` is 1 to the pixels around: nearby means, then ever wider ones."""
    result = field * cover[..., None]
    known = cover.copy()
    for edge in (9, 33, 129):
        weight = cv2.blur(cover, (edge, edge))
        mean = (
            cv2.blur(field * cover[..., None], (edge, edge)) / np.maximum(weight, 1e-6)[..., None]
        )
        fill = (known == 0) & (weight > 1e-6)
        result[fill] = mean[fill]
        known[fill] = 1.0
    return result


def _averaged(layer: Floats, way: Floats) -> Floats:
    """Returns the mean of a layer (S, S, n) moved by -1/2 … 1/2 of each pixel's way."""
    size = len(layer)
    column, row = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    total = np.zeros_like(layer)
    for step in (np.arange(_TAPS, dtype=np.float32) + np.float32(0.5)) / _TAPS - np.float32(0.5):
        at_x, at_y = column - step * way[..., 0], row - step * way[..., 1]
        total += cv2.remap(layer, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return total / np.float32(_TAPS)
