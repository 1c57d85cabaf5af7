"""Other people in the background: a small crowd, each made once per process and drawn with a quarter of its triangles.

Who they are belongs to the recipe's seed, so a frame shows the same people wherever it is made.
"""

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.recipes import People, Wardrobe
from schemas.shards import generator
from workers import body, osim, wardrobe
from workers.coarse import coarser
from workers.outfits import Outfit
from workers.surfaces import SCENERY, TILE_PX, Floats, Surface, place

Array = NDArray[np.float64]
Figure = tuple[Surface, ...]
"""Everything that one person is drawn with."""
CROWD, POSES = 6, 4
"""How many people there are, and in how many poses each is seen."""
_MANY = 1500
_BLEND_PX = 8
"""A vertex takes the mean of so many texels across."""


def draw(
    people: People, model: bytes, seed: int, count: int, rng: np.random.Generator
) -> list[Figure]:
    """Draws `count` people who stand or walk about the origin, part 0."""
    return [
        _figure(people, model, seed, int(rng.integers(CROWD)), int(rng.integers(POSES)))
        for _ in range(count)
    ]


@lru_cache(maxsize=CROWD * POSES)
def _figure(people: People, model: bytes, seed: int, index: int, pose: int) -> Figure:
    human, outfit, posed = _person(people, model, seed, index)
    stance = posed.pose(_stance(posed, generator(seed, "bystander pose", index, pose)))
    worn = outfit.surfaces(human.skin(stance.T_ground_from_body), stance)
    points = np.concatenate([surface.vertices for surface in worn])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    shift = -np.array([middle[0], points[:, 1].min(), middle[2]])
    return tuple(place(_reduced(surface), at=shift) for surface in worn)


def _reduced(surface: Surface) -> Surface:
    """Returns a surface as scenery, with a quarter of its triangles unless it has few or is cut out (hair)."""
    faces = surface.faces
    if len(faces) > _MANY and not surface.holes:
        faces = coarser(faces, len(surface.vertices))
    kept, numbers = np.unique(faces, return_inverse=True)
    return replace(
        surface,
        vertices=np.ascontiguousarray(surface.vertices[kept]),
        faces=numbers.reshape(-1, 3).astype(np.int32),
        colours=np.ascontiguousarray(_coloured(surface)[kept]),
        parts=np.full(len(kept), SCENERY, np.uint8),
        # Their cloth's weave is not seen from there, and each new texture costs the renderer all its pyramids.
        texture=surface.texture if surface.holes else None,
        uv=None if surface.uv is None else surface.uv[kept],
        normals=None,
        thinned=None,
        name="bystander",
    )


def _coloured(surface: Surface) -> Floats:
    """Returns the colours (v, 3) that its vertices have with the texture on, which then can go."""
    if surface.texture is None or surface.uv is None or surface.holes:
        return surface.colours
    side = TILE_PX // _BLEND_PX
    tile = cv2.resize(surface.texture.pixels[..., :3], (side, side), interpolation=cv2.INTER_AREA)
    column, row = (np.floor(surface.uv * side).astype(np.intp) % side).T
    return np.asarray(surface.colours * tile[row, column] / np.float32(255.0), np.float32)


@lru_cache(maxsize=CROWD)
def _person(
    people: People, model: bytes, seed: int, index: int
) -> tuple[body.Body, Outfit, osim.OsimModel]:
    rng = generator(seed, "bystander", index)
    human = body.make_body(people, model, rng)
    posed = osim.OsimModel(model, human.scale)
    return human, wardrobe.dress(human, posed, Wardrobe(markers=0.0), None, rng), posed


def _stance(model: osim.OsimModel, rng: np.random.Generator) -> Array:
    """Draws a pose (c,) of somebody who stands about or walks by; coordinates that a model lacks stay as they are."""
    stride = rng.choice([0.0, rng.uniform(12.0, 26.0)])
    swing = {"r": 1.0, "l": -1.0}
    degrees = {"lumbar_extension": rng.uniform(-8.0, 2.0), "lumbar_rotation": rng.normal(0, 6.0)}
    for side, sign in swing.items():
        degrees[f"hip_flexion_{side}"] = sign * stride + rng.uniform(-3.0, 8.0)
        degrees[f"hip_adduction_{side}"] = rng.uniform(-9.0, -1.0)
        degrees[f"knee_angle_{side}"] = rng.uniform(3.0, 12.0) + stride * rng.uniform(0.1, 0.9)
        degrees[f"arm_flex_{side}"] = -sign * stride * 0.8 + rng.uniform(-10.0, 25.0)
        degrees[f"arm_add_{side}"] = rng.uniform(-14.0, -6.0)
        degrees[f"elbow_flex_{side}"] = rng.choice([rng.uniform(8, 30), rng.uniform(60, 120)])
    q = np.array([c.default for c in model.spec.coordinates])
    for column, coordinate in enumerate(model.spec.coordinates):
        if coordinate.name in degrees:
            value = np.radians(degrees[coordinate.name])
            q[column] = np.clip(value, coordinate.lower, coordinate.upper)
    return np.asarray(model.spec.couple(q[None])[0])
