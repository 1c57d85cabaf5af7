"""Motion blur: what moves while the shutter is open is drawn out along its way.

The picture is taken apart into the person and the rest, each is averaged over its own way during the exposure, and they
are put together again. A pixel's way is exact: it belongs to one body of the skeleton, whose rigid motion is known, and
its depth is known too. The rest moves as one, as the phone turns. Labels stay those of the middle of the exposure.

S picture edge, b = OpenSim body, n = pixel. Pixels by the rule of `schemas.geometry`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.cameras import View
from workers.render import Picture
from workers.surfaces import OCCLUDER, SCENERY

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
LEAST_PX = 0.6
"""A shorter way is not seen."""
_LONGEST_PX = 40.0
_TAP_PX = 1.5
"""A way is sampled at least so densely."""
_SAMPLE = 7
"""Every so many of the person's pixels say whether it moves at all."""


def exposed(
    picture: Picture, view: View, drift: Array | None, shutter: float
) -> tuple[Floats, float]:
    """Returns the radiance (S, S, 3) as exposed over `shutter` seconds, and the person's mean streak, px.

    Args:
        picture: what the camera saw in the middle of the exposure.
        view: the camera, and how it turns.
        drift: (b, 3, 4) m/s by which the points of each body move in the ground frame: velocity = drift @
            (x, y, z, 1). None stands still.
        shutter: seconds.
    """
    size = len(picture.part)
    turn = np.zeros(3) if view.spin is None else view.spin * shutter
    moves = np.zeros((OCCLUDER, 3, 4)) if drift is None else drift * shutter
    rows, columns = np.nonzero((picture.part != SCENERY) & (picture.part != OCCLUDER))
    some = slice(None, None, _SAMPLE)
    sampled = ways(picture, view, turn, moves, rows[some], columns[some])
    lengths = np.hypot(sampled[:, 0], sampled[:, 1])
    streak = float(lengths.mean()) if len(lengths) else 0.0
    middle = np.full(1, size // 2)
    of_rest = _turning(view.K, _inverse(view.K), turn, middle, middle)[0]
    rest = picture.radiance
    if float(np.hypot(*of_rest)) >= LEAST_PX:
        rest = _smeared(rest, of_rest)
    if float(lengths.max(initial=0.0)) < LEAST_PX:
        return rest, streak
    way = ways(picture, view, turn, moves, rows, columns)
    return _composed(picture.radiance, rest, way, rows, columns), streak


def ways(
    picture: Picture,
    view: View,
    turn: Array,
    moves: Array,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
) -> Floats:
    """Returns how far the person's pixels (n) at these rows and columns move during the exposure: (n, 2) px.

    `turn` is the camera's during the exposure, rad, camera frame, and `moves` (b, 3, 4) the bodies', m, ground frame.
    """
    K, T_cam_from_ground = view.K, view.T_cam_from_ground
    inverse = _inverse(K)
    pixels = np.stack([columns, rows, np.ones(len(rows))])
    in_camera = inverse @ pixels * picture.depth[rows, columns]
    R, t = T_cam_from_ground[:3, :3], T_cam_from_ground[:3, 3]
    # The moves seen from the camera: displacement = R moves (R^T (p - t)).
    linear = R @ moves[:, :, :3] @ R.T
    constant = moves[:, :, 3] @ R.T - linear @ t
    body = picture.part[rows, columns].astype(np.intp) - 1
    moved = np.einsum("nij,jn->in", linear[body], in_camera) + constant[body].T
    x, y = in_camera[:2] / in_camera[2]
    flow = np.stack([moved[0] - x * moved[2], moved[1] - y * moved[2]]) / in_camera[2]
    way = (K[:2, :2] @ flow).T + _turning(K, inverse, turn, columns, rows)
    length = np.hypot(way[:, 0], way[:, 1])
    shorter = np.minimum(1.0, _LONGEST_PX / np.maximum(length, 1e-6))
    return np.asarray(way * shorter[:, None], np.float32)


def _inverse(K: Array) -> Array:
    return np.asarray(np.linalg.inv(K), np.float64)


def _turning(
    K: Array, inverse: Array, turn: Array, column: NDArray[np.intp], row: NDArray[np.intp]
) -> Array:
    """Returns the way (n, 2) of pixels in a camera that turns by a small angle."""
    x, y, _ = inverse @ np.stack([column, row, np.ones(len(row))])
    dx = turn[1] - turn[2] * y - x * (turn[0] * y - turn[1] * x)
    dy = turn[2] * x - turn[0] - y * (turn[0] * y - turn[1] * x)
    return np.asarray((K[:2, :2] @ np.stack([dx, dy])).T)


def _smeared(radiance: Floats, way: Array) -> Floats:
    """Returns a picture averaged along one way (2,) px."""
    reach = int(np.ceil(np.abs(way).max() / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for step in np.linspace(-0.5, 0.5, 4 * reach + 1):
        x, y = reach + step * way
        left, top = int(np.floor(x)), int(np.floor(y))
        right_share, low_share = x - left, y - top
        kernel[top, left] += (1 - right_share) * (1 - low_share)
        kernel[top, left + 1] += right_share * (1 - low_share)
        kernel[top + 1, left] += (1 - right_share) * low_share
        kernel[top + 1, left + 1] += right_share * low_share
    kernel /= kernel.sum()
    return np.asarray(cv2.filter2D(radiance, -1, kernel, borderType=cv2.BORDER_REPLICATE))


def _composed(
    radiance: Floats,
    rest: Floats,
    way: Floats,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
) -> Floats:
    """Returns the picture with the person's pixels (n) drawn out along their ways (n, 2) over the rest."""
    size = len(radiance)
    margin = int(np.ceil(np.abs(way).max() / 2)) + 3
    top, bottom = max(int(rows.min()) - margin, 0), min(int(rows.max()) + margin + 1, size)
    left, right = max(int(columns.min()) - margin, 0), min(int(columns.max()) + margin + 1, size)
    shape = (bottom - top, right - left)
    field, cover = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
    field[rows - top, columns - left] = way
    cover[rows - top, columns - left] = 1.0
    part = radiance[top:bottom, left:right]
    layer = np.dstack([part * cover[..., None], cover])
    moving = _averaged(layer, _spread(field, cover, margin))
    behind = _spread(rest[top:bottom, left:right], 1.0 - cover, 2 * margin)
    blurred = moving[..., :3] + behind * (1.0 - moving[..., 3:])
    # Where nothing moves the taking apart would only roughen the outline, which the renderer has smoothed already.
    quick = cv2.dilate(
        (np.abs(field).max(axis=2) >= LEAST_PX / 2).astype(np.uint8), np.ones((5, 5))
    )
    changed = (np.abs(moving[..., 3] - cover) > 0.01) | (quick > 0)
    result = rest.copy()
    inner = result[top:bottom, left:right]
    inner[cover > 0] = part[cover > 0]
    inner[changed] = blurred[changed]
    return result


def _spread(field: Floats, cover: Floats, reach: int) -> Floats:
    """Carries a field (h, w, k) from where `cover` is 1 to the pixels within about `reach` of it, by means."""
    result = field * cover[..., None]
    edge = 2 * reach + 1
    weight = cv2.blur(cover, (edge, edge))
    mean = cv2.blur(result, (edge, edge))
    empty = cover == 0
    result[empty] = mean[empty] / np.maximum(weight[empty], 1e-6)[:, None]
    return np.asarray(result, np.float32)


def _averaged(layer: Floats, way: Floats) -> Floats:
    """Returns the mean of a layer (h, w, k) moved by -1/2 … 1/2 of each pixel's way."""
    height, width = layer.shape[:2]
    column = np.arange(width, dtype=np.float32)[None, :]
    row = np.arange(height, dtype=np.float32)[:, None]
    total = np.zeros_like(layer)
    taps = int(np.clip(np.ceil(np.abs(way).max() / _TAP_PX), 3, 15))
    for k in range(taps):
        step = np.float32((k + 0.5) / taps - 0.5)
        at_x, at_y = column - step * way[..., 0], row - step * way[..., 1]
        total += cv2.remap(layer, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return total / np.float32(taps)
