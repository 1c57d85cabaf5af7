"""How cloth is coloured, folds, bridges hollows and hangs. Metres; colours sRGB 0..1; v = vertex at rest."""

import colorsys

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from workers.body import Body
from workers.complexion import waves
from workers.surfaces import vertex_normals

Array = NDArray[np.float64]
_LOOSENESS = {"tight": (0.002, 0.004), "regular": (0.005, 0.011), "loose": (0.012, 0.026)}
_NEUTRALS = (0.04, 0.12, 0.25, 0.45, 0.68, 0.9)


_SOBER = (
    (0.05, 0.05, 0.06),
    (0.14, 0.14, 0.15),
    (0.33, 0.34, 0.35),
    (0.07, 0.10, 0.20),
    (0.13, 0.19, 0.30),
    (0.27, 0.36, 0.48),
    (0.58, 0.51, 0.39),
    (0.30, 0.24, 0.18),
    (0.27, 0.29, 0.20),
)
"""Black, greys, navy, two denims, khaki, brown, olive: trousers in photographs of everyday life."""


def colour(rng: np.random.Generator, *, sober: bool = False) -> Array:
    """Draws a cloth's colour: neutrals and navy often, else any hue; `sober`, mostly those of trousers."""
    if sober and rng.random() < 0.7:
        return np.array(_SOBER[int(rng.integers(len(_SOBER)))]) * rng.uniform(0.8, 1.3)
    kind = rng.random()
    if kind < 0.45:
        return np.full(3, float(rng.choice(_NEUTRALS))) * rng.uniform(0.9, 1.1)
    if kind < 0.55:
        return np.array([0.06, 0.09, 0.2]) * rng.uniform(0.8, 1.6)
    hue, saturation, value = rng.random(), rng.triangular(0.1, 0.5, 0.95), rng.uniform(0.2, 0.9)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value))


def outerness(body: Body) -> Array:
    """Returns a distance (v,) that is positive in a band along the outer side of trunk and legs."""
    rest = body.rest.astype(np.float64)
    off_arms = body.regions.arm_weight < 0.2
    level = np.clip((rest[:, 1] / 0.04).astype(int), 0, 59)
    widest = np.zeros(60)
    np.maximum.at(widest, level[off_arms], np.abs(rest[off_arms, 2]))
    outer = np.interp(rest[:, 1], 0.04 * np.arange(60) + 0.02, widest)
    return np.where(off_arms, np.abs(rest[:, 2]) - outer + 0.02, -0.1)


def folds(body: Body, fit: str, hang: Array, rng: np.random.Generator) -> Array:
    """Returns offsets (v,) of a cloth: its looseness with soft folds, what it bridges and how it hangs."""
    loose = rng.uniform(*_LOOSENESS[fit])
    rest = body.rest.astype(np.float64)
    folds = 1.0 + 0.22 * waves(rest * [1.0, 0.5, 1.0], rng, 0.09)
    hanging = {"tight": 0.0, "regular": 0.5, "loose": 0.9}[fit] * np.minimum(hang, 0.06)
    bridge = np.maximum(_bridging(body), hanging)
    return np.asarray(loose * np.clip(folds, 0.4, 1.6) + bridge)


def _bridging(body: Body) -> Array:
    """Returns how far (v,) cloth stands off hollows of the body: a smoothed body's distance outside the skin."""
    faces, rest = body.faces, body.rest
    a, b = (np.concatenate([faces[:, i] for i in order]) for order in ((0, 1, 2), (1, 2, 0)))
    count = len(rest)
    links = csr_array((np.ones(len(a), np.float32), (a, b)), shape=(count, count))
    links = csr_array(links / np.maximum(links.sum(axis=1), 1.0)[:, None])
    smooth = rest.copy()
    for _ in range(30):
        smooth = 0.5 * (smooth + links @ smooth)
    outside = np.einsum("vi,vi->v", smooth - rest, vertex_normals(rest, faces))
    return np.asarray(np.clip(outside, 0.0, 0.03), np.float64)


def lying(body: Body) -> Array:
    """Returns the share (v,) of its looseness that a shirt keeps: on shoulders and upper arms it lies on the skin."""
    up = vertex_normals(body.rest, body.faces)[:, 1].astype(np.float64)
    below = body.regions.centres["shoulder_r"][1] + 0.03 - body.rest[:, 1]
    return np.asarray(np.clip(1.0 - 1.3 * up, 0.2, 1.0) * np.clip(0.3 + below / 0.15, 0.3, 1.0))


def _hang(points: Array, top: Array, axis: Array, rows: NDArray[np.bool_], fall: float) -> Array:
    """Returns how far (v,) a cloth that hangs from what is widest above stands off the skin.

    `axis` is the unit vector downwards from `top`; the cloth comes back towards the axis by `fall` metres per metre.
    """
    local = points - top
    down = local @ axis
    out = local - down[:, None] * axis
    radius = np.linalg.norm(out, axis=1)
    side = np.cross(axis, [1.0, 0.0, 0.0])
    angle = np.arctan2(out @ side, out[:, 0])
    sector = np.floor((angle + np.pi) / (2 * np.pi) * 16).astype(int) % 16
    level = np.clip((down / 0.015).astype(int), 0, 79)
    widest = np.zeros((80, 16))
    np.maximum.at(widest, (level[rows], sector[rows]), radius[rows])
    for row in range(1, 80):
        widest[row] = np.maximum(widest[row], widest[row - 1] - fall * 0.015)
    for _ in range(3):
        widest = (np.roll(widest, 1, 1) + 2 * widest + np.roll(widest, -1, 1)) / 4
        widest[1:-1] = (widest[:-2] + 2 * widest[1:-1] + widest[2:]) / 4
    return np.where(rows, np.maximum(widest[level, sector] - radius, 0.0), 0.0)


def hang_of_trunk(body: Body) -> Array:
    """A shirt hangs from chest, belly and shoulder blades."""
    centres = body.regions.centres
    top = np.array([centres["lumbar"][0], centres["shoulder_r"][1], 0.0])
    rows = (body.regions.arm_weight < 0.2) & (body.rest[:, 1] < top[1])
    return _hang(body.rest.astype(np.float64), top, np.array([0.0, -1.0, 0.0]), rows, 0.12)


def hang_of_legs(body: Body) -> Array:
    """Trouser legs hang from the thighs."""
    hang = np.zeros(len(body.rest))
    for word, side in (("r", 1), ("l", -1)):
        top, foot = (body.regions.centres[f"{joint}_{word}"] for joint in ("hip", "ankle"))
        axis = (foot - top) / np.linalg.norm(foot - top)
        rows = (body.regions.leg > 0.12) & (body.regions.leg < 2.0) & (body.regions.side == side)
        hang += _hang(body.rest.astype(np.float64), top, axis, rows, 0.09)
    return hang
