"""Shapes the hands of a resting skin: from stretched over relaxed to a fist.

Metres, ground axes; k = anny bone, v = vertex.

A grip of 1 is a relaxed hand; the fingers' angles grow with it.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from schemas.lots import HandShape
from workers.anny_data import AnnyData
from workers.physique import Physique

Array = NDArray[np.float64]
F4 = NDArray[np.float32]
_RELAXED_DEG = (22.0, 32.0, 18.0)
"""Flexion of the three joints of a finger of a hand at rest, about the middle of what hand surgeons' textbooks draw."""
_MOST_DEG = (66.0, 84.0, 40.0)
"""What the joints can do."""
_THUMB_DEG = (0.0, 9.0, 13.0)
_FINGERS = ("2", "3", "4", "5")
GRIPS: dict[HandShape, float] = {"stretched": 0.2, "relaxed": 1.0, "holding": 2.0, "fist": 3.0}
"""Grips by name; `holding` closes round a bar as thick as a broom's handle."""
_KEYS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Grips whose shapes are made; between them the skin goes straight."""


@dataclass(frozen=True, kw_only=True)
class Hand:
    """How one hand's skin moves, from the relaxed one of the rest skin, as it closes."""

    rows: NDArray[np.intp]
    """(n,) vertices of the fingers."""
    shapes: F4
    """(keys, n, 3) displacements in the rest pose."""

    def displaced(self, grip: float) -> F4:
        """Returns the displacements (n, 3) of a grip, 0 … 3."""
        place = float(np.interp(grip, _KEYS, range(len(_KEYS))))
        first = min(int(place), len(_KEYS) - 2)
        share = np.float32(place - first)
        low, high = self.shapes[first], self.shapes[first + 1]
        return np.asarray(low + share * (high - low))


def shape_hands(
    anny: AnnyData, person: Physique, rng: np.random.Generator
) -> tuple[Physique, dict[str, Hand]]:
    """Returns the person with relaxed hands, and how they close: by side, `r` and `l`.

    Fingers differ a little from each other, the little one curls most.
    """
    vertices, moved, hands = person.vertices, person.vertices.copy(), {}
    for side in ("R", "L"):
        shares = {f: 0.75 + 0.12 * int(f) + rng.normal(0.0, 0.06) for f in _FINGERS}
        rows = np.flatnonzero(anny.weights[:, _finger_bones(anny, side)].any(axis=1))
        shapes = [_closed(anny, person, side, rows, shares, grip) for grip in _KEYS]
        relaxed = shapes[_KEYS.index(1.0)]
        hand = Hand(rows=rows, shapes=np.stack([s - relaxed for s in shapes]).astype(np.float32))
        hands[side.lower()] = hand
        moved[rows] = vertices[rows] + relaxed.astype(np.float32)
    return replace(person, vertices=moved), hands


def _finger_bones(anny: AnnyData, side: str) -> list[int]:
    return [anny.bone(f"finger{f}-{j}.{side}") for f in ("1", *_FINGERS) for j in (1, 2, 3)]


def _closed(
    anny: AnnyData,
    person: Physique,
    side: str,
    rows: NDArray[np.intp],
    shares: dict[str, float],
    grip: float,
) -> Array:
    """Returns the displacements (n, 3) of a grip from the hand as anny made it."""
    axis = _flexion_axis(anny, person, side)
    change = np.zeros((len(rows), 3))
    for finger, share in shares.items():
        degrees = np.minimum(grip * share * np.array(_RELAXED_DEG), _MOST_DEG)
        change += _curl(anny, person, f"finger{finger}-{{}}.{side}", rows, axis, degrees)
    degrees = np.minimum(grip, 2.3) * np.array(_THUMB_DEG)
    thumb = _thumb_axis(anny, person, side)
    return change + _curl(anny, person, f"finger1-{{}}.{side}", rows, thumb, degrees)


def _flexion_axis(anny: AnnyData, person: Physique, side: str) -> Array:
    """Returns the unit axis about which this hand's fingers close, by the right-hand rule."""
    heads = person.bone_heads.astype(np.float64)
    index, little, wrist, thumb = (
        heads[anny.bone(f"{name}.{side}")]
        for name in ("finger2-1", "finger5-1", "wrist", "finger1-2")
    )
    axis = (index - little) / np.linalg.norm(index - little)
    fingers = (index + little) / 2 - wrist
    # The thumb stands on the palm's side: fingers close towards it.
    return np.asarray(axis * np.sign(np.cross(axis, fingers) @ (thumb - wrist)))


def _thumb_axis(anny: AnnyData, person: Physique, side: str) -> Array:
    """Returns the unit axis about which the thumb bends, towards the root of the little finger."""
    heads = person.bone_heads.astype(np.float64)
    root, tip, little = (
        heads[anny.bone(f"{name}.{side}")] for name in ("finger1-2", "finger1-3", "finger5-1")
    )
    axis = np.cross(tip - root, little - tip)
    return np.asarray(axis / np.linalg.norm(axis))


def _curl(
    anny: AnnyData,
    person: Physique,
    bones: str,
    rows: NDArray[np.intp],
    axis: Array,
    degrees: Array,
) -> Array:
    """Returns the displacements (n, 3) of rows that one finger's chain of bones gives."""
    vertices = person.vertices[rows].astype(np.float64)
    change = np.zeros_like(vertices)
    rotation, shift = Rotation.identity(), np.zeros(3)
    for joint, angle in enumerate(degrees, start=1):
        bone = anny.bone(bones.format(joint))
        weight = anny.weights[rows, bone].astype(np.float64)
        pivot = rotation.apply(person.bone_heads[bone].astype(np.float64)) + shift
        step = Rotation.from_rotvec(np.radians(angle) * axis)
        rotation = step * rotation
        shift = pivot + step.apply(shift - pivot)
        own = np.flatnonzero(weight)
        posed = vertices[own] @ rotation.as_matrix().T + shift
        change[own] += weight[own, None] * (posed - vertices[own])
    return change
