"""Dresses a body with paint: skin, hair and clothes as colours per vertex, and looseness as offsets along normals.

Dims: f = triangle, v = vertex. Metres; colours sRGB 0..1. Every garment is a cover (v,) 0..1, from the signed distance
to its hems, so that a hem is a clean line though vertices are some 15 mm apart.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers import cloth
from workers.body import Body
from workers.cloth import HEM_BLUR
from workers.complexion import blend, paint_body
from workers.shoes import Mould, mould_shoe
from workers.surfaces import vertex_normals

Array = NDArray[np.float64]
F4 = NDArray[np.float32]
_HEM_TAPER, _AT_HEM = 0.03, 0.55
"""Over this length, m, a loose garment narrows to its hem, which keeps this share of its looseness."""


@dataclass(frozen=True, kw_only=True)
class Outfit:
    """How one body is dressed, in any pose."""

    colours: F4
    """(v, 3)."""
    offsets: F4
    """(v,): how far cloth and hair stand off the skin along its normals."""
    description: dict[str, Any]
    moulds: tuple[Mould, ...] = field(default=(), repr=False)
    """The shoes."""

    def shape(self, vertices: F4, faces: NDArray[np.int32]) -> F4:
        """Puts clothes and shoes on a posed skin (v, 3); the skin itself is left as it is."""
        dressed = vertices + self.offsets[:, None] * vertex_normals(vertices, faces)
        for mould in self.moulds:
            mould.apply(vertices, dressed)
        return dressed


@dataclass(frozen=True, kw_only=True)
class Garment:
    """One layer of clothing on the resting body."""

    inside: Array
    """(v,): distance to the nearest hem, positive where the cloth is, m."""
    colours: Array
    """(v, 3)."""
    offsets: Array
    """(v,), before the hems take them down."""
    description: dict[str, Any]

    @property
    def cover(self) -> Array:
        """How much of each vertex's colour (v,) is cloth."""
        return np.asarray(np.clip(self.inside / HEM_BLUR + 0.5, 0.0, 1.0))


def dress(body: Body, rng: np.random.Generator) -> Outfit:
    """Draws skin, hair and clothes for a body."""
    person = paint_body(body, rng)
    male = bool(body.anthropometry[3])
    layers = {"socks": _socks(body, rng), "bottom": _bottom(body, rng)}
    layers["top"] = _top(body, male, rng)
    colours, offsets = person.colours, person.offsets
    description: dict[str, Any] = dict(person.description)
    for name, garment in layers.items():
        description[name] = garment.description if garment else "none"
        if garment:
            colours = blend(colours, garment.colours, garment.cover)
            taper = np.clip(garment.inside / _HEM_TAPER, 0.0, 1.0)
            hem = (_AT_HEM + (1.0 - _AT_HEM) * taper) * garment.offsets
            offsets = np.where(garment.inside > 0.0, np.maximum(offsets, hem), offsets)
    colours, moulds, description["shoes"] = _shoes(body, colours, rng)
    return Outfit(
        colours=np.clip(colours, 0.0, 1.0).astype(np.float32),
        offsets=offsets.astype(np.float32),
        description=description,
        moulds=moulds,
    )


def _off_hands(body: Body) -> Array:
    """Returns a distance (v,) that is negative on arms, positive elsewhere: keeps trunk clothes off them."""
    return np.where(body.regions.arm_weight > 0.35, -1.0, 1.0)


def _leg_length(body: Body) -> float:
    centres = body.regions.centres
    return float(np.linalg.norm(centres["hip_r"] - centres["ankle_r"]) / 2.0)


def _above(body: Body, leg: float) -> Array:
    """Returns the distance (v,) above a level on the legs (0 hip, 1 knee, 2 ankle); off the legs, far above."""
    along = np.where(np.isnan(body.regions.leg), -10.0, body.regions.leg)
    return np.asarray((leg - along) * _leg_length(body))


def _bottom(body: Body, rng: np.random.Generator) -> Garment:
    """Draws shorts, leggings or trousers."""
    kinds = {
        "short shorts": (0.25, 0.45, "regular"),
        "shorts": (0.5, 0.95, "loose"),
        "leggings": (1.75, 1.97, "tight"),
        "capri leggings": (1.1, 1.5, "tight"),
        "trousers": (1.8, 1.98, "regular"),
        "loose trousers": (1.85, 1.98, "loose"),
        "bike shorts": (0.4, 0.8, "tight"),
    }
    kind = str(rng.choice(list(kinds), p=[0.12, 0.3, 0.16, 0.06, 0.16, 0.1, 0.1]))
    low, high, fit = kinds[kind]
    length = rng.uniform(low, high)
    waist = body.regions.centres["lumbar"][1] + rng.uniform(-0.02, 0.05) * body.regions.stature
    rest = body.rest.astype(np.float64)
    inside = np.minimum.reduce([waist - rest[:, 1], _above(body, length), _off_hands(body)])
    about: dict[str, Any] = {"kind": kind, "length": round(float(length), 2), "fit": fit}
    colours = cloth.pattern(body, rng, about)
    return Garment(
        inside=inside,
        colours=colours,
        offsets=cloth.folds(body, fit, cloth.hang_of_legs(body), rng),
        description=about,
    )


def _top(body: Body, male: bool, rng: np.random.Generator) -> Garment | None:
    """Draws a shirt, or nothing for some men; a short bra top for some women."""
    kinds = ["bare" if male else "bra top", "tank top", "t-shirt", "long sleeves", "hoodie"]
    kind = str(rng.choice(kinds, p=[0.12, 0.2, 0.4, 0.18, 0.1]))
    if kind == "bare":
        return None
    centres, stature = body.regions.centres, body.regions.stature
    rest, arm = body.rest.astype(np.float64), body.regions.arm
    fit = {"bra top": "tight", "hoodie": "loose"}.get(
        kind, str(rng.choice(["tight", "regular", "loose"], p=[0.15, 0.5, 0.35]))
    )
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
    inside = np.minimum.reduce([hem, sleeves, _below_collar(body, kind, rng)])
    about: dict[str, Any] = {"kind": kind, "fit": fit, "sleeve": round(float(sleeve), 2)}
    colours = cloth.pattern(body, rng, about)
    return Garment(
        inside=inside,
        colours=colours,
        offsets=cloth.folds(body, fit, cloth.hang_of_trunk(body), rng),
        description=about,
    )


def _below_collar(body: Body, kind: str, rng: np.random.Generator) -> Array:
    """Returns the distance (v,) below a neckline that dips in front."""
    rest, neck = body.rest.astype(np.float64), body.regions.centres["neck"]
    low = {"hoodie": -0.02, "bra top": 0.05, "tank top": 0.03}.get(kind, rng.uniform(-0.005, 0.02))
    forward = rest[:, 0] - neck[0]
    dip = np.clip(1.0 - np.abs(rest[:, 2]) / 0.09, 0.0, 1.0) * np.clip(forward / 0.05, 0.0, 1.0)
    depth = rng.uniform(0.0, 0.06) if kind != "hoodie" else 0.0
    return np.asarray(neck[1] - low - 0.25 * forward - depth * dip - rest[:, 1])


def _socks(body: Body, rng: np.random.Generator) -> Garment | None:
    if rng.random() < 0.2:
        return None
    top = rng.uniform(1.55, 1.93)
    about: dict[str, Any] = {"top": round(float(top), 2)}
    inside = np.where(np.isnan(body.regions.leg), -1.0, -_above(body, top))
    colour = np.array([0.9, 0.9, 0.88]) if rng.random() < 0.5 else cloth.colour(rng)
    return Garment(
        inside=inside,
        colours=np.tile(colour, (len(inside), 1)),
        offsets=np.full(len(inside), 0.0015),
        description=about,
    )


def _shoes(
    body: Body, colours: Array, rng: np.random.Generator
) -> tuple[Array, tuple[Mould, ...], dict[str, Any] | str]:
    """Draws shoes, or bare feet now and then."""
    if rng.random() < 0.12:
        return colours, (), "none"
    rest = body.rest.astype(np.float64)
    upper, sole_colour = (
        cloth.colour(rng),
        cloth.colour(rng) if rng.random() < 0.3 else np.full(3, 0.88),
    )
    sole, thickness = rng.uniform(0.012, 0.028), rng.uniform(0.005, 0.009)
    ankle = body.regions.centres["ankle_r"]
    collar = ankle[1] + rng.uniform(-0.015, 0.02)
    height = collar + 0.25 * np.clip(rest[:, 0] - ankle[0], -0.03, 0.04)
    foot = body.regions.is_("foot", "shank")
    cover = np.clip((height - rest[:, 1]) / HEM_BLUR + 0.5, 0.0, 1.0) * foot
    moulds = tuple(
        mould_shoe(
            body,
            side,
            np.flatnonzero((cover > 0.0) & (body.regions.side == side)),
            thickness,
            sole,
        )
        for side in (1, -1)
    )
    shod = body.rest.copy()
    for mould in moulds:
        mould.apply(body.rest, shod)
    welt = np.clip((0.010 - shod[:, 1]) / 0.006 + 0.5, 0.0, 1.0).astype(np.float64)
    colours = blend(colours, blend(np.tile(upper, (len(rest), 1)), sole_colour, welt), cover)
    about = {"colour": [round(float(c), 3) for c in upper], "sole_m": round(float(sole), 3)}
    return colours, moulds, about
