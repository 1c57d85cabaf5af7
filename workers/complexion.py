"""Paints skin, hair, eyes and lips on a resting body. Colours sRGB 0..1; v = vertex; metres."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.body import Body

Array = NDArray[np.float64]
_LAB = np.array(
    [
        [60.0, 73.0, 6.0, 13.3],
        [48.0, 67.5, 8.5, 15.8],
        [34.0, 61.8, 10.0, 17.5],
        [19.0, 56.2, 11.2, 18.0],
        [-10.0, 47.0, 12.0, 17.0],
        [-40.0, 37.8, 11.0, 14.5],
        [-58.0, 31.5, 9.0, 11.6],
    ]
)
"""Individual typology angle (degrees), L*, a*, b* of skin. The angle's classes, very light > 55, light > 41,
intermediate > 28, tan > 10, brown > -30, dark, are those of Chardon, Cretois & Hourseau, Int J Cosmet Sci
1991;13:191-208 and Del Bino & Bernerd, Br J Dermatol 2013;169 Suppl 3:33-40; every row obeys
ITA = atan((L* - 50) / b*). How much colour skin of each angle has is chosen by eye."""
ITA_DEG = (-58.0, 60.0)
"""Tones are drawn evenly over the measured angles."""
_LIGHT = np.array([232, 192, 166]) / 255.0
"""How photographs, exposed for the face, show skin of 48 degrees; other tones keep their measured ratio to it."""
HAIR = {
    "black": (0.05, 0.045, 0.045),
    "dark brown": (0.13, 0.085, 0.06),
    "brown": (0.26, 0.165, 0.10),
    "blond": (0.62, 0.48, 0.28),
    "red": (0.42, 0.17, 0.08),
    "grey": (0.55, 0.54, 0.52),
    "white": (0.82, 0.81, 0.79),
}
_IRIS = ((0.16, 0.09, 0.05), (0.30, 0.20, 0.10), (0.25, 0.38, 0.50), (0.30, 0.38, 0.25))
_IRIS_RADIUS, _PUPIL_RADIUS = 0.0062, 0.0026
HAIR_STYLES = ("bald", "cropped", "short", "full", "long")
_HAIR_DEPTH = {"bald": 0.0, "cropped": 0.003, "short": 0.010, "full": 0.024, "long": 0.018}


@dataclass(frozen=True, kw_only=True)
class Hair:
    """Painted hair: where it grows and how far it stands off."""

    style: str
    colour: Array
    """(3,)."""
    inside: Array
    """(v,): distance within its edge, positive where hair is, m."""
    depth: Array
    """(v,) along the skin's normals, m."""
    shade: Array
    """(v,): brightness of its strands."""


@dataclass(frozen=True, kw_only=True)
class Complexion:
    """A body without clothes."""

    colours: Array
    """(v, 3); over a texture, what it is multiplied by."""
    plain: NDArray[np.bool_]
    """(v,): eyes, which no texture of the skin covers."""
    hair: Hair
    description: dict[str, Any]


def skin_colour(ita: float) -> Array:
    """Returns the sRGB colour (3,) of skin of an individual typology angle, degrees, as a photograph shows it."""

    def linear(angle: float) -> Array:
        lab = [np.interp(angle, _LAB[::-1, 0], _LAB[::-1, k]) for k in (1, 2, 3)]
        return _linear_from_lab(np.array(lab))

    ratio = linear(ita) / linear(48.0)
    return encode(np.clip(decode(_LIGHT) * ratio, 0.0, 1.0))


def _linear_from_lab(lab: Array) -> Array:
    """CIELAB (D65) to linear sRGB, by CIE 15 and IEC 61966-2-1."""
    f = (lab[0] + 16.0) / 116.0 + np.array([lab[1] / 500.0, 0.0, -lab[2] / 200.0])
    xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2) * [0.95047, 1.0, 1.08883]
    matrix = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    return np.asarray(np.maximum(np.array(matrix) @ xyz, 0.0))


def decode(srgb: Array) -> Array:
    """sRGB to linear light."""
    return np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)


def encode(linear: Array) -> Array:
    """Linear light to sRGB."""
    return np.where(
        linear > 0.0031308, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055, 12.92 * linear
    )


def waves(points: Array, rng: np.random.Generator, wavelength: float, count: int = 5) -> Array:
    """Returns a smooth random field (v,) of about unit size over points (v, 3)."""
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = wavelength * rng.uniform(0.7, 1.5, count)
    phases = points @ directions.T * (2 * np.pi / lengths) + rng.uniform(0, 2 * np.pi, count)
    return np.asarray(np.sin(phases).sum(axis=1) / np.sqrt(count / 2))


def blend(colours: Array, paint: NDArray[np.floating], share: NDArray[np.floating]) -> Array:
    """Mixes paint (3) or (v, 3) into colours (v, 3) by share (v,)."""
    mixed: Array = colours + share[:, None] * (paint - colours)
    return mixed


def paint_body(body: Body, ita: float, under: Array | None, rng: np.random.Generator) -> Complexion:
    """Paints a person of a tone (individual typology angle, degrees) over a skin texture of mean colour `under` (3).

    Without a texture blood and texture of the skin are painted too.
    """
    regions, rest = body.regions, body.rest.astype(np.float64)
    base = np.clip(skin_colour(ita) * (1.0 + rng.normal(0.0, [0.02, 0.02, 0.035])), 0.0, 1.0)
    mottle = 0.02 * waves(rest, rng, 0.25) + 0.01 * waves(rest, rng, 0.05)
    if under is None:
        colours = base * (1.0 + mottle[:, None])
        flush = _near(body, ("knee", "elbow", "wrist"), 0.06) + 0.6 * regions.is_("hand", "foot")
        colours = blend(colours, base * [0.93, 0.80, 0.76], 0.5 * np.clip(flush, 0.0, 1.0))
        colours = blend(colours, base * [0.86, 0.60, 0.60], 0.75 * regions.is_("lips"))
    else:
        colours = np.tile(base, (len(rest), 1))
    hair, colours, about = _draw_hair(body, colours, rng)
    if under is not None:
        colours = colours / np.maximum(under, 0.02)
    colours = _paint_eyes(body, colours, ita, rng)
    return Complexion(
        colours=np.clip(colours, 0.0, 1.0),
        plain=regions.is_("eye"),
        hair=hair,
        description={"ita_deg": round(ita, 1), "hair": about},
    )


def _near(body: Body, joints: tuple[str, ...], radius: float) -> Array:
    rest = body.rest.astype(np.float64)
    centres = [body.regions.centres[f"{joint}_{side}"] for joint in joints for side in "rl"]
    nearest = np.min([np.linalg.norm(rest - c, axis=1) for c in centres], axis=0)
    return np.asarray(np.clip(2.0 - nearest / radius, 0.0, 1.0))


def _draw_hair(
    body: Body, colours: Array, rng: np.random.Generator
) -> tuple[Hair, Array, dict[str, str]]:
    """Draws hair, and paints brows and sometimes a beard; returns hair, colours and what was drawn."""
    regions, age, male = body.regions, float(body.anthropometry[2]), bool(body.anthropometry[3])
    grey = float(np.clip((age - 35.0) / 60.0, 0.0, 0.75))
    names = list(HAIR)
    odds = np.array(
        [*(np.array([0.35, 0.25, 0.2, 0.14, 0.06]) * (1 - grey)), grey * 0.7, grey * 0.3]
    )
    colour = names[int(rng.choice(len(names), p=odds / odds.sum()))]
    odds = np.array([0.15, 0.3, 0.4, 0.1, 0.05] if male else [0.01, 0.04, 0.2, 0.35, 0.4])
    style = HAIR_STYLES[int(rng.choice(len(HAIR_STYLES), p=odds / odds.sum()))]
    rest, paint = body.rest.astype(np.float64), np.array(HAIR[colour]) * rng.uniform(0.85, 1.15)
    inside = regions.hairline.copy()
    if style in ("cropped", "short"):
        inside = np.where(regions.ears, -0.005, inside)
    if style == "long":
        inside = np.where(_nape(body), np.maximum(inside, 0.012), inside)
    near_edge = np.clip(inside / 0.015, 0.15, 1.0)
    depth = _HAIR_DEPTH[style] * near_edge * (1.0 + 0.15 * waves(rest, rng, 0.06))
    strands = 1.0 + 0.18 * waves(rest * [1.0, 0.3, 1.0], rng, 0.02)
    face = _face(body)
    colours = blend(colours, paint, 0.7 * _brows(face))
    beard = male and rng.random() < 0.35
    if beard:
        colours = blend(colours, paint, rng.uniform(0.3, 0.9) * _chin(face))
    hair = Hair(style=style, colour=paint, inside=inside, depth=depth, shade=strands)
    return hair, colours, {"colour": colour, "style": style, "beard": "yes" if beard else "no"}


def _face(body: Body) -> dict[str, Array]:
    """Returns where the face's vertices lie: from the eyes up, from the ears forward, from the middle sideways."""
    points = body.face_keypoints(body.rest)
    rest, eyes, nose = body.rest.astype(np.float64), points[1:3].mean(axis=0), points[0]
    scale = eyes[1] - nose[1]  # about 3.5 cm
    return {
        "on": body.regions.is_("face", "lips").astype(np.float64),
        "up": (rest[:, 1] - eyes[1]) / scale,
        "side": np.abs(rest[:, 2]) / scale,
        "front": (rest[:, 0] - points[3:5, 0].mean()) / (nose[0] - points[3:5, 0].mean()),
    }


def _brows(face: dict[str, Array]) -> Array:
    arch = 0.62 + 0.1 * np.sin(np.clip(face["side"] / 1.5, 0, 1) * np.pi)
    near = np.clip(1.0 - np.abs(face["up"] - arch) / 0.22, 0.0, 1.0)
    span = (face["side"] > 0.25) & (face["side"] < 1.5) & (face["front"] > 0.4)
    return np.asarray(face["on"] * near * span)


def _chin(face: dict[str, Array]) -> Array:
    """Returns the share of beard (v,): jaw and upper lip, fading to the cheeks."""
    low = np.clip((-1.3 - face["up"] - 0.5 * np.abs(face["side"] - 0.4)) / 0.3 + 0.8, 0.0, 1.0)
    jaw = (face["front"] > -0.05) & (face["front"] < 0.93) & (face["up"] > -3.4)
    return np.asarray(face["on"] * low * jaw)


def _nape(body: Body) -> NDArray[np.bool_]:
    """Marks where long hair falls: the back of head and neck."""
    rest, neck = body.rest.astype(np.float64), body.regions.centres["neck"]
    ear = body.face_keypoints(body.rest)[3:5].mean(axis=0)
    behind = rest[:, 0] < np.interp(rest[:, 1], [neck[1], ear[1]], [neck[0] - 0.02, ear[0] - 0.01])
    high = rest[:, 1] > neck[1] - 0.03
    return np.asarray(
        behind & high & (np.abs(rest[:, 2]) < 0.11) & (body.regions.arm_weight < 0.01)
    )


def _paint_eyes(body: Body, colours: Array, ita: float, rng: np.random.Generator) -> Array:
    eye, rest = body.regions.is_("eye"), body.rest.astype(np.float64)
    # Light irises come with light skin.
    iris = np.array(_IRIS[int(rng.integers(len(_IRIS) if ita > 28.0 else 2))])
    result = colours.copy()
    for side in (1, -1):
        ball = eye & (body.regions.side == side)
        centre = rest[ball].mean(axis=0)
        radial = np.hypot(rest[:, 1] - centre[1], rest[:, 2] - centre[2])
        front = rest[:, 0] > centre[0]
        result[ball] = (0.90, 0.88, 0.86)
        result[ball & front & (radial < _IRIS_RADIUS)] = iris
        result[ball & front & (radial < _PUPIL_RADIUS)] = 0.02
    return result
