"""How a person holds head and hands in one picture: what motions leave open. Radians, ground axes (Y up)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from schemas.skeleton import SkeletonSpec
from workers.hands import GRIPS

Array = NDArray[np.float64]
Gaze = Literal["ahead", "down", "aside", "camera"]
GAZES: dict[Gaze, float] = {"ahead": 0.4, "down": 0.2, "aside": 0.15, "camera": 0.25}
"""Shares of pictures. Chosen: no statistics of people who train or walk before a camera are known to us."""
NECK = ("neck_flexion", "neck_bending", "neck_rotation")
"""Coordinates of a model whose head turns: about Z, X, Y of the torso, in this order."""
_MOST_TURNED, _MOST_RAISED, _MOST_LOWERED = (float(np.radians(d)) for d in (65.0, 40.0, 45.0))


@dataclass(frozen=True, kw_only=True)
class Manner:
    """What one picture draws."""

    gaze: Gaze
    yaw: float
    """Of the gaze from the person's front, to the left; unused where it goes to the camera."""
    pitch: float
    """Above the horizon."""
    tilt: float
    """Of the head towards the left shoulder."""
    grips: tuple[float, float]
    """Of the right and the left hand: workers/hands.py."""


def draw_manner(rng: np.random.Generator, hands: str | None = None) -> Manner:
    """Draws gaze and hands; `hands` names a grip of `GRIPS` that the motion asks for."""
    gaze: Gaze = tuple(GAZES)[int(rng.choice(len(GAZES), p=list(GAZES.values())))]
    yaw = rng.normal(0.0, 8.0) + rng.choice([-1.0, 1.0]) * rng.uniform(20.0, 60.0) * (
        gaze == "aside"
    )
    pitch = rng.uniform(-55.0, -25.0) if gaze == "down" else rng.normal(-4.0, 6.0)
    middle = GRIPS[hands or "relaxed"]
    grips = np.clip(middle * np.exp(rng.normal(0.0, 0.25 if hands is None else 0.05, 2)), 0.1, 3.4)
    return Manner(
        gaze=gaze,
        yaw=float(np.radians(yaw)),
        pitch=float(np.radians(pitch)),
        tilt=float(np.radians(rng.normal(0.0, 4.0))),
        grips=(float(grips[0]), float(grips[1])),
    )


def look(
    manner: Manner, torso: Array, front: Array, eyes: Array, camera: Array | None = None
) -> Array:
    """Returns how the head is turned on the torso (3, 3), as far as necks turn.

    Args:
        manner: what to look at.
        torso: rotation (3, 3) of the torso from where it stands upright and faces +X.
        front: the person's front (x, z) on the floor.
        eyes: where the eyes are (3,), about.
        camera: where the camera is (3,); None where it is not known: then people look ahead.
    """
    if manner.gaze == "camera" and camera is not None:
        direction = camera - eyes
    else:
        yaw = np.arctan2(-front[1], front[0]) + manner.yaw
        flat = np.cos(manner.pitch)
        direction = np.array([flat * np.cos(yaw), np.sin(manner.pitch), -flat * np.sin(yaw)])
    x, y, z = torso.T @ direction
    turn = float(np.clip(np.arctan2(-z, x), -_MOST_TURNED, _MOST_TURNED))
    rise = float(np.clip(np.arctan2(y, np.hypot(x, z)), -_MOST_LOWERED, _MOST_RAISED))
    return np.asarray(Rotation.from_euler("YZX", [turn, rise, -manner.tilt]).as_matrix())


def neck_columns(spec: SkeletonSpec) -> list[int]:
    """Returns where the coordinates of the neck are in q; empty for a model that has none."""
    names = spec.coordinate_names
    return [names.index(n) for n in NECK] if set(NECK) <= set(names) else []


def with_head_turned(
    spec: SkeletonSpec, q: Array, R_torso_from_head_at_rest: tuple[Array, Array], turned: Array
) -> Array:
    """Returns q (c,) whose head is turned on the torso, within its limits; q itself for a model without neck.

    Args:
        spec: the model.
        q: a pose (c,).
        R_torso_from_head_at_rest: R_torso_from_ground and R_ground_from_head (3, 3) of the pose in which `turned`
            is the identity.
        turned: (3, 3) in ground's axes of that pose.
    """
    columns, (to_torso, from_head) = neck_columns(spec), R_torso_from_head_at_rest
    if not columns:
        return q
    angles = Rotation.from_matrix(to_torso @ turned @ from_head).as_euler("ZXY")
    low, high = ([getattr(spec.coordinates[i], e) for i in columns] for e in ("lower", "upper"))
    found = q.copy()
    found[columns] = np.clip(angles, low, high)
    return found
