"""Curls the fingers of a resting skin as a relaxed hand's. Metres, ground axes; k = anny bone, v = vertex."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from workers.anny_data import AnnyData
from workers.physique import Physique

Array = NDArray[np.float64]
_RELAXED_DEG = (22.0, 32.0, 18.0)
"""Flexion of the three joints of a finger of a hand at rest, about the middle of what hand surgeons' textbooks draw."""
_FINGERS = ("2", "3", "4", "5")


def relax_hands(anny: AnnyData, person: Physique, rng: np.random.Generator) -> Physique:
    """Returns the person with fingers curled by a random degree, the little finger most."""
    vertices = person.vertices.astype(np.float64)
    moved = vertices.copy()
    grip = rng.uniform(0.5, 1.4)
    for side in ("R", "L"):
        axis = _flexion_axis(anny, person, side)
        for finger in _FINGERS:
            share = grip * (0.75 + 0.12 * int(finger) + rng.normal(0.0, 0.08))
            moved += _curl(anny, person, f"finger{finger}", side, share * axis)
    return replace(person, vertices=moved.astype(np.float32))


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


def _curl(anny: AnnyData, person: Physique, finger: str, side: str, turn: Array) -> Array:
    """Returns the displacement (v, 3) that one finger's chain of bones gives; `turn` is axis times share."""
    vertices = person.vertices.astype(np.float64)
    change = np.zeros_like(vertices)
    rotation, shift = Rotation.identity(), np.zeros(3)
    for joint, degrees in enumerate(_RELAXED_DEG, start=1):
        bone = anny.bone(f"{finger}-{joint}.{side}")
        weight = anny.weights[:, bone].astype(np.float64)
        pivot = rotation.apply(person.bone_heads[bone].astype(np.float64)) + shift
        step = Rotation.from_rotvec(np.radians(degrees) * turn)
        rotation = step * rotation
        shift = pivot + step.apply(shift - pivot)
        rows = weight > 0
        posed = rotation.apply(vertices[rows]) + shift
        change[rows] += weight[rows, None] * (posed - vertices[rows])
    return change
