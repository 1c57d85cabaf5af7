"""Painted clothes: cuts that are drawn as distances on a resting skin and hung on it as cloth.

Dims: v = vertex. Metres; colours sRGB 0..1. A cut is a field `inside` (v,): the distance to the nearest hem, positive
where the cloth is.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers import cloth
from workers.body import Body
from workers.complexion import Hair
from workers.fabrics import fabric
from workers.shells import Shell
from workers.shoes import shoe_shape
from workers.tailoring import Cut, cut, hang

Array = NDArray[np.float64]
_FLARE = {"tight": 0.0, "regular": 0.006, "loose": 0.016}
"""How much farther a garment stands off at its sleeves' and legs' ends, m."""
_OVER_M = 0.004
"""An outer garment lies that far over an inner one."""
_NAPE_M = 0.05
"""Nothing that lies on shoulders is higher than this over the neck's joint."""
_BOTTOMS = {
    "short shorts": (0.25, 0.45, "regular"),
    "shorts": (0.5, 0.95, "loose"),
    "leggings": (1.75, 1.97, "tight"),
    "capri leggings": (1.1, 1.5, "tight"),
    "trousers": (1.8, 1.98, "regular"),
    "loose trousers": (1.85, 1.98, "loose"),
    "bike shorts": (0.4, 0.8, "tight"),
}
"""Shortest and longest leg (0 hip, 1 knee, 2 ankle), and fit."""


@dataclass(frozen=True, kw_only=True)
class Garment:
    """One painted garment, and how far (v,) what is worn now stands off the skin, m."""

    shell: Shell
    standing_off: Array
    description: dict[str, Any]


def _sew(
    body: Body,
    weights: Array,
    kind: str,
    inside: Array,
    fit: str,
    offsets: Array,
    below: Array,
    rng: np.random.Generator,
    about: dict[str, Any],
) -> Garment | None:
    piece = cut(body, inside)
    if not len(piece.faces):
        return None
    over = np.where(below > 0, below + _OVER_M, 0.0)
    offsets = np.maximum(offsets, over)
    shell = hang(
        body,
        weights,
        piece,
        offsets,
        name=kind,
        texture=fabric(body, kind, inside, rng, about),
        smoothing={"tight": 1, "regular": 4, "loose": 8}[fit],
        softness={"tight": 0, "regular": 3, "loose": 6}[fit],
        clearance=0.0015 if fit == "tight" else 0.004,
        over=inside > 0,
    )
    worn = np.where(inside > 0, np.maximum(offsets, below), below)
    return Garment(shell=shell, standing_off=worn, description=about)


def paint_bottom(
    body: Body, weights: Array, below: Array, rng: np.random.Generator
) -> Garment | None:
    """Draws shorts, leggings or trousers."""
    kind = str(rng.choice(list(_BOTTOMS), p=[0.12, 0.3, 0.16, 0.06, 0.16, 0.1, 0.1]))
    low, high, fit = _BOTTOMS[kind]
    length = rng.uniform(low, high)
    waist = body.regions.centres["lumbar"][1] + rng.uniform(-0.02, 0.05) * body.regions.stature
    rest = body.rest.astype(np.float64)
    ends = above(body, length)
    off_arms = np.where(body.regions.arm_weight > 0.35, -1.0, 1.0)
    inside = np.minimum.reduce([waist - rest[:, 1], ends, off_arms])
    about: dict[str, Any] = {"kind": kind, "length": round(float(length), 2), "fit": fit}
    offsets = cloth.folds(body, fit, cloth.hang_of_legs(body), rng) + _flare(ends, fit, 0.25)
    return _sew(body, weights, "bottom", inside, fit, offsets, below, rng, about)


def above(body: Body, leg: float) -> Array:
    """Returns the distance (v,) above a level on the legs (0 hip, 1 knee, 2 ankle); off the legs, far above."""
    centres = body.regions.centres
    along = np.where(np.isnan(body.regions.leg), -10.0, body.regions.leg)
    return np.asarray((leg - along) * np.linalg.norm(centres["hip_r"] - centres["ankle_r"]) / 2.0)


def _flare(to_end: Array, fit: str, over: float) -> Array:
    """Returns how much wider (v,) a sleeve or leg gets towards its end, over the last metres `over`."""
    return np.asarray(_FLARE[fit] * np.clip(1.0 - to_end / over, 0.0, 1.0))


def paint_top(body: Body, weights: Array, below: Array, rng: np.random.Generator) -> Garment | None:
    """Draws a shirt, or nothing for some men; a short bra top for some women."""
    male = bool(body.anthropometry[3])
    kinds = ["bare" if male else "bra top", "tank top", "t-shirt", "long sleeves", "hoodie"]
    kind = str(rng.choice(kinds, p=[0.08, 0.2, 0.44, 0.18, 0.1]))
    if kind == "bare":
        return None
    fit = {"bra top": "tight", "hoodie": "loose"}.get(
        kind, str(rng.choice(["tight", "regular", "loose"], p=[0.15, 0.5, 0.35]))
    )
    inside, sleeves, sleeve = _top_cut(body, kind, rng)
    about: dict[str, Any] = {"kind": kind, "fit": fit, "sleeve": round(float(sleeve), 2)}
    offsets = cloth.folds(body, fit, cloth.hang_of_trunk(body), rng) * cloth.lying(body)
    if kind in ("t-shirt", "long sleeves"):
        on_arm = body.regions.arm_weight > 0.5
        offsets += np.where(on_arm, _flare(sleeves, fit, 0.2), 0.0)
    return _sew(body, weights, "top", inside, fit, offsets, below, rng, about)


def _top_cut(body: Body, kind: str, rng: np.random.Generator) -> tuple[Array, Array, float]:
    """Returns the distance (v,) inside a shirt, that above its sleeves' ends, and the sleeves' length."""
    centres, stature = body.regions.centres, body.regions.stature
    rest, arm = body.rest.astype(np.float64), body.regions.arm
    sleeve = {"t-shirt": rng.uniform(0.4, 0.85), "long sleeves": rng.uniform(1.6, 1.95)}.get(
        kind, 1.92
    )
    segment = float(np.linalg.norm(centres["shoulder_r"] - centres["wrist_r"]) / 2.0)
    if kind in ("tank top", "bra top"):
        sleeves = (rng.uniform(0.25, 0.5) - body.regions.arm_weight) * 0.12
    else:
        sleeves = (sleeve - np.where(np.isnan(arm), -10.0, arm)) * segment
    waist = centres["lumbar"][1] + rng.uniform(-0.09, -0.01) * stature
    if kind == "bra top":
        waist = centres["lumbar"][1] + rng.uniform(0.045, 0.075) * stature
    hem = np.where(body.regions.arm_weight > 0.35, 1.0, rest[:, 1] - waist)
    body_of_it = np.minimum(sleeves, _below_collar(body, kind, rng))
    over = _over_shoulders(body, kind, sleeves, rng)
    inside = np.minimum(hem, np.maximum(body_of_it, over))
    return inside, sleeves, float(sleeve)


def _over_shoulders(body: Body, kind: str, sleeves: Array, rng: np.random.Generator) -> Array:
    """Returns the distance (v,) inside what lies on the shoulders: all beside the neck, or a strap on each."""
    rest, neck = body.rest.astype(np.float64), body.regions.centres["neck"]
    aside, shoulder = np.abs(rest[:, 2]), body.regions.centres["shoulder_r"][2]
    if kind in ("tank top", "bra top"):
        half = rng.uniform(*((0.018, 0.032) if kind == "tank top" else (0.012, 0.02)))
        wide = half - np.abs(aside - rng.uniform(0.52, 0.64) * shoulder)
    else:
        wide = np.minimum(aside - rng.uniform(0.42, 0.58) * shoulder, sleeves)
    return np.asarray(np.minimum(wide, neck[1] + _NAPE_M - rest[:, 1]))


def _below_collar(body: Body, kind: str, rng: np.random.Generator) -> Array:
    """Returns the distance (v,) below a neckline that dips in front."""
    rest, neck = body.rest.astype(np.float64), body.regions.centres["neck"]
    low = {"hoodie": -0.02, "bra top": 0.05, "tank top": 0.03}.get(kind, rng.uniform(-0.005, 0.02))
    forward = rest[:, 0] - neck[0]
    dip = np.clip(1.0 - np.abs(rest[:, 2]) / 0.09, 0.0, 1.0) * np.clip(forward / 0.05, 0.0, 1.0)
    depth = rng.uniform(0.0, 0.06) if kind != "hoodie" else 0.0
    return np.asarray(neck[1] - low - 0.25 * forward - depth * dip - rest[:, 1])


def paint_socks(
    body: Body, weights: Array, rng: np.random.Generator
) -> tuple[Shell, dict[str, Any]]:
    """Draws a pair of socks."""
    top = rng.uniform(1.55, 1.93)
    about: dict[str, Any] = {"top": round(float(top), 2)}
    inside = np.where(np.isnan(body.regions.leg), -1.0, -above(body, top))
    colour = np.array([0.9, 0.9, 0.88]) if rng.random() < 0.5 else cloth.colour(rng)
    piece = cut(body, inside)
    offsets = np.full(len(inside), 0.002)
    colours = np.tile(colour, (len(piece.share), 1))
    shell = hang(
        body,
        weights,
        piece,
        offsets,
        name="socks",
        texture=None,
        colours=colours,
        clearance=0.001,
        over=inside > 0,
    )
    return shell, about


def paint_shoes(
    body: Body, weights: Array, rng: np.random.Generator
) -> tuple[Shell, dict[str, Any]]:
    """Draws trainers, moulded round the feet."""
    rest = body.rest.astype(np.float64)
    upper = cloth.colour(rng)
    sole_colour = cloth.colour(rng) if rng.random() < 0.3 else np.full(3, 0.88)
    sole, thickness = rng.uniform(0.012, 0.028), rng.uniform(0.005, 0.009)
    ankle = body.regions.centres["ankle_r"]
    collar = ankle[1] + rng.uniform(-0.015, 0.02)
    height = collar + 0.25 * np.clip(rest[:, 0] - ankle[0], -0.03, 0.04)
    inside = np.where(body.regions.is_("foot", "shank"), height - rest[:, 1], -1.0)
    shod = rest.copy()
    for side in (1, -1):
        near = (inside > -0.02) & (body.regions.side == side)
        rows = np.flatnonzero(near)
        shod[rows] = shoe_shape(body, side, rows, thickness, sole)
    piece = cut(body, inside)
    shell = hang(
        body,
        weights,
        piece,
        np.zeros(len(rest)),
        name="shoes",
        texture=None,
        clearance=0.0,
        over=inside > 0,
    )
    vertices = piece.of(shod)
    welt = np.clip((0.010 - vertices[:, 1]) / 0.004 + 0.5, 0.0, 1.0)[:, None]
    about = {"colour": [round(float(c), 3) for c in upper], "sole_m": round(float(sole), 3)}
    return _replaced(shell, vertices, upper + welt * (sole_colour - upper)), about


def _replaced(shell: Shell, vertices: Array, colours: Array) -> Shell:
    return replace(
        shell,
        vertices=vertices.astype(np.float32),
        colours=colours.astype(np.float32),
        moulded=True,
        roughness=0.6,
        lined=False,
    )


def paint_hair(body: Body, weights: Array, hair: Hair, *, thin: bool) -> Shell:
    """Lays hair on the scalp; `thin` under hair of its own geometry."""
    piece: Cut = cut(body, hair.inside)
    depth = np.minimum(hair.depth, 0.002) if thin else hair.depth
    colours = hair.colour * piece.of(hair.shade)[:, None]
    return hang(
        body,
        weights,
        piece,
        np.maximum(depth, 0.001),
        name="hair",
        texture=None,
        colours=np.clip(colours, 0.0, 1.0),
        smoothing=2,
        softness=0,
        clearance=0.001,
        roughness=0.55,
    )
