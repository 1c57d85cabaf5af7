"""Things between the camera and the person, on the floor in front."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from schemas import geometry
from workers import equipment, props
from workers.furnishing import stocked
from workers.surfaces import OCCLUDER, Surface, place

Array = NDArray[np.float64]
KINDS: tuple[tuple[str, props.Maker, float], ...] = (
    ("crate", props.crate, 0.15),
    ("chair", props.chair, 0.15),
    ("plant", props.plant, 0.13),
    ("table", props.table, 0.12),
    ("ball", props.exercise_ball, 0.07),
    ("rack", props.rack, 0.06),
    ("barbell", props.barbell, 0.1),
    ("stool", equipment.stool, 0.06),
    ("bench", equipment.weight_bench, 0.06),
    ("walker", equipment.walking_frame, 0.05),
    ("bars", equipment.parallel_bars, 0.05),
)
"""Name, maker and share."""
COVER = (0.02, 0.5)
"""Least and largest share of the person's vertices behind the occluder's box in the picture."""
_TRIES = 8


def sample_occluder(
    K: Array, T_cam_from_ground: Array, vertices: NDArray[np.float32], rng: np.random.Generator
) -> Surface | None:
    """Draws a thing that hides a part of the person (v, 3), ground frame, part 255; None where nothing fits.

    It never reaches into the person and never hides most of it. For a clip, give the vertices of all frames.
    """
    points = vertices.reshape(-1, 3)[:: max(1, vertices.size // 3 // 4000)].astype(np.float64)
    eye = geometry.invert_rigid(T_cam_from_ground)[:3, 3]
    for _ in range(_TRIES):
        index = int(rng.choice(len(KINDS), p=[share for _, _, share in KINDS]))
        name, maker, _ = KINDS[index]
        thing = replace(stocked(maker, OCCLUDER, rng), name=name, roughness=0.6)
        thing = _before(thing, name, points, eye, rng)
        if _apart(thing, points, eye) and _covers(thing, points, K, T_cam_from_ground):
            return thing
    return None


def _before(
    thing: Surface, name: str, points: Array, eye: Array, rng: np.random.Generator
) -> Surface:
    """Puts a thing between the person and the camera, off to one side by chance."""
    centre = (points.min(axis=0) + points.max(axis=0))[[0, 2]] / 2
    to_eye = eye[[0, 2]] - centre
    distance = float(np.linalg.norm(to_eye))
    ahead = to_eye / distance
    aside = np.array([-ahead[1], ahead[0]])
    if name == "barbell":
        # Right before the person and across the view.
        spot = centre + ahead * (float(((points[:, [0, 2]] - centre) @ ahead).max()) + 0.35)
        turn = float(np.arctan2(-aside[1], aside[0])) + rng.normal(0, 0.15)
        return place(thing, at=np.array([spot[0], 0.0, spot[1]]), turn=turn)
    reach = rng.uniform(0.25, 0.7) * distance
    spot = centre + ahead * reach + aside * rng.normal(0, 0.35) * (1 - reach / distance + 0.2)
    return place(thing, at=np.array([spot[0], 0.0, spot[1]]), turn=rng.uniform(-np.pi, np.pi))


def _apart(thing: Surface, points: Array, eye: Array) -> bool:
    """True if the thing's footprint stays clear of the person's and of the camera."""
    centre = (points.min(axis=0) + points.max(axis=0))[[0, 2]] / 2
    to_eye = eye[[0, 2]] - centre
    distance = float(np.linalg.norm(to_eye))
    ahead = to_eye / distance
    along = (thing.vertices[:, [0, 2]] - centre) @ ahead
    nearest = float(((points[:, [0, 2]] - centre) @ ahead).max())
    return bool(along.min() > nearest + 0.02 and along.max() < distance - 0.4)


def _covers(thing: Surface, points: Array, K: Array, T_cam_from_ground: Array) -> bool:
    seen = geometry.project(K, geometry.transform_points(T_cam_from_ground, points))
    own = geometry.project(
        K, geometry.transform_points(T_cam_from_ground, thing.vertices.astype(np.float64))
    )
    inside = np.all((seen > own.min(axis=0)) & (seen < own.max(axis=0)), axis=1)
    return bool(COVER[0] <= inside.mean() <= COVER[1])
