"""Other people in the background: a small crowd, each made once per process and drawn with a quarter of its triangles.

Who they are belongs to the recipe's seed, so a frame shows the same people wherever it is made.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from schemas.recipes import People
from schemas.shards import generator
from workers import body, osim, wardrobe
from workers.maps import coarser
from workers.surfaces import SCENERY, Surface

Array = NDArray[np.float64]
CROWD, POSES = 6, 4
"""How many people there are, and in how many poses each is seen."""


def draw(
    people: People, model: bytes, seed: int, count: int, rng: np.random.Generator
) -> list[Surface]:
    """Draws `count` people who stand or walk about the origin, part 0."""
    return [
        _figure(people, model, seed, int(rng.integers(CROWD)), int(rng.integers(POSES)))
        for _ in range(count)
    ]


@lru_cache(maxsize=CROWD * POSES)
def _figure(people: People, model: bytes, seed: int, index: int, pose: int) -> Surface:
    human, outfit, posed = _person(people, model, seed, index)
    rng = generator(seed, "bystander pose", index, pose)
    skin = human.skin(posed.pose(_stance(posed, rng)).T_ground_from_body)
    vertices = outfit.shape(skin, human.faces)
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    vertices = vertices - np.array([middle[0], vertices[:, 1].min(), middle[2]], np.float32)
    faces = coarser(human.faces, len(vertices))
    kept, faces = np.unique(faces, return_inverse=True)
    return Surface(
        vertices=np.ascontiguousarray(vertices[kept]),
        faces=faces.reshape(-1, 3).astype(np.int32),
        colours=outfit.colours[kept],
        parts=np.full(len(kept), SCENERY, np.uint8),
        name="bystander",
    )


@lru_cache(maxsize=CROWD)
def _person(
    people: People, model: bytes, seed: int, index: int
) -> tuple[body.Body, wardrobe.Outfit, osim.OsimModel]:
    rng = generator(seed, "bystander", index)
    human = body.make_body(people, model, rng)
    return human, wardrobe.dress(human, rng), osim.OsimModel(model, human.scale)


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
