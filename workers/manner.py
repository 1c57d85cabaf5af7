"""How a person holds head and hands in one picture: what motions leave open. Radians, ground axes (Y up)."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from schemas.geometry import invert_rigid
from schemas.lots import HandShape
from schemas.skeleton import SkeletonSpec
from workers.body import Body
from workers.hands import GRIPS
from workers.osim import OsimModel, Pose

Array = NDArray[np.float64]
F4 = NDArray[np.float32]
Gaze = Literal["ahead", "down", "aside", "camera"]
GAZES: dict[Gaze, float] = {"ahead": 0.4, "down": 0.2, "aside": 0.15, "camera": 0.25}
"""Shares of pictures. Chosen: no statistics of people who train or walk before a camera are known to us."""
NECK = ("neck_flexion", "neck_bending", "neck_rotation")
"""Coordinates of a model whose head turns: about Z, X, Y of the torso, in this order."""
_MOST_TURNED, _MOST_RAISED, _MOST_LOWERED = (float(np.radians(d)) for d in (65.0, 40.0, 36.0))


@dataclass(frozen=True, kw_only=True)
class Manner:
    """What one picture draws."""

    gaze: Gaze | None
    """None where the motion itself turns the head."""
    yaw: float
    """Of the gaze from the person's front, to the left; unused where it goes to the camera."""
    pitch: float
    """Above the horizon."""
    tilt: float
    """Of the head towards the left shoulder."""
    grips: tuple[float, float]
    """Of the right and the left hand: workers/hands.py."""


def draw_manner(
    rng: np.random.Generator, hands: HandShape = "relaxed", *, free_head: bool = True
) -> Manner:
    """Draws gaze and hands; with `free_head` False the head stays as the motion has it."""
    names = tuple(GAZES)
    gaze = names[int(rng.choice(len(names), p=list(GAZES.values())))]
    turn = rng.choice([-1.0, 1.0]) * rng.uniform(20.0, 60.0) if gaze == "aside" else 0.0
    pitch = rng.uniform(-55.0, -25.0) if gaze == "down" else rng.normal(-4.0, 6.0)
    spread = 0.25 if hands == "relaxed" else 0.05
    grips = np.clip(GRIPS[hands] * np.exp(rng.normal(0.0, spread, 2)), 0.0, GRIPS["fist"])
    return Manner(
        gaze=gaze if free_head else None,
        yaw=float(np.radians(turn + rng.normal(0.0, 8.0))),
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
        camera: where the camera is (3,); needed where the gaze goes there.
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


class Shown(NamedTuple):
    """A person as one picture shows him, undressed."""

    q: Array
    """(c,), the neck's coordinates included."""
    pose: Pose
    skin: F4
    """(v, 3)."""
    look: Array | None = None
    """How a head that the model does not have was turned, as `Body.skin` takes it."""


def show(
    body: Body,
    model: OsimModel,
    q: Array,
    manner: Manner,
    camera: Array | None = None,
    before: Pose | None = None,
) -> Shown:
    """Poses a person at q (c,), head and hands as the manner says.

    A neck of the model's is turned by its coordinates, so that the labels stay true; else the skin alone turns. While
    it is not known where the camera is, whoever looks at it keeps the head as it is. `before` is the pose at q, where
    it is known: a neck that turns makes another, which the labels are of.
    """
    spec, names, columns = model.spec, model.spec.body_names, neck_columns(model.spec)
    if manner.gaze is None or (manner.gaze == "camera" and camera is None):
        pose = model.pose(q)
        return Shown(q, pose, body.skin(pose.T_ground_from_body, grips=manner.grips))
    pose = model.pose(q) if before is None or not columns else before
    moves = pose.T_ground_from_body @ invert_rigid(body.bind_pose.T_ground_from_body)
    torso, neck = moves[names.index("torso")], body.regions.centres["neck"]
    eyes = (torso @ np.append(neck + [0.08, 0.06 * body.regions.stature, 0.0], 1.0))[:3]
    side = pose.T_ground_from_body[names.index(spec.root_body), :3, 2]
    front = np.cross([0.0, 1.0, 0.0], side)[[0, 2]]
    turned = look(manner, torso[:3, :3], front, eyes, camera)
    if columns:
        q = q.copy()
        q[columns] = _neck_angles(spec, body.bind_pose, turned)
        pose = model.pose(q)
    return Shown(q, pose, body.skin(pose.T_ground_from_body, turned, manner.grips), turned)


def moves_head(spec: SkeletonSpec, q: Array) -> bool:
    """Says whether poses (t, c) turn the model's own head."""
    columns = neck_columns(spec)
    return bool(columns) and bool(np.any(q[:, columns] != spec.default_pose()[columns]))


def neck_columns(spec: SkeletonSpec) -> list[int]:
    """Returns where the coordinates of the neck are in q; empty for a model that has none."""
    names = spec.coordinate_names
    return [names.index(n) for n in NECK] if {*NECK} <= {*names} else []


def _neck_angles(spec: SkeletonSpec, bind_pose: Pose, turned: Array) -> Array:
    """Returns the neck's coordinates (3,), within their limits, that turn the head by (3, 3) from its bind pose."""
    torso, head = (
        bind_pose.T_ground_from_body[spec.body_names.index(name), :3, :3]
        for name in ("torso", "head")
    )
    angles = Rotation.from_matrix(torso.T @ turned @ head).as_euler("ZXY")
    neck = [spec.coordinates[i] for i in neck_columns(spec)]
    return np.asarray(np.clip(angles, [c.lower for c in neck], [c.upper for c in neck]))
