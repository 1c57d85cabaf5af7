"""Lets flesh meet where a joint closes: thigh and calf, belly and thigh press flat against each other.

Dims: b = OpenSim body, n = vertex near a joint, v = vertex. Metres, ground axes. Between two limbs that close lies the
plane through the joint's axis and their bisector. What of either would lie beyond it is laid on it, on the side on
which the limbs meet. Skinning alone lets them cross by up to 8 cm: benchmarks/bodies.py.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.skeleton import SkeletonSpec
from workers.landmarks import SIDES
from workers.regions import Regions

Array = NDArray[np.float64]
F4 = NDArray[np.float32]
_FADE_M = 0.03
"""Behind the joint's centre the plane begins to hold over this distance."""
_MIDDLE_M = 0.06
"""The belly's two halves, each with a plane of its own, pass into each other over twice this."""


@dataclass(frozen=True, kw_only=True)
class Contact:
    """Two limbs and the joint between them, as they are in the bind pose."""

    rows: NDArray[np.intp]
    """(n,) vertices of both."""
    side: F4
    """(n,): how far a vertex is held to its own side: 1 fully; negative on the second limb."""
    bodies: tuple[int, int, int]
    """Of the first limb, the second, and the one that carries the joint's centre."""
    directions: tuple[Array, Array]
    """Unit vectors (3,) along the limbs, away from the joint."""
    centre: Array
    """(4,) homogeneous."""

    def part(self, vertices: F4, moves: Array) -> None:
        """Moves what crosses, in place: vertices (v, 3) for the bodies' moves (b, 4, 4) from the bind pose."""
        first, second, carrier = self.bodies
        along = moves[first, :3, :3] @ self.directions[0]
        other = moves[second, :3, :3] @ self.directions[1]
        closed = float(np.clip((along @ other + 0.5) / 0.3, 0.0, 1.0))
        if closed == 0.0:  # open by more than 120°
            return
        normal = (along - other) / max(float(np.linalg.norm(along - other)), 1e-6)
        inwards = (along + other) / float(np.linalg.norm(along + other))
        centre = (moves[carrier] @ self.centre)[:3]
        near = vertices[self.rows] - centre.astype(np.float32)
        across = (near @ normal.astype(np.float32)) * np.sign(self.side)
        depth = np.clip((near @ inwards.astype(np.float32)) / np.float32(_FADE_M), 0.0, 1.0)
        push = (
            np.maximum(-across, 0.0)
            * np.float32(closed)
            * depth
            * depth
            * (3.0 - 2.0 * depth)
            * self.side
        )
        vertices[self.rows] += push[:, None] * normal.astype(np.float32)


def make_contacts(spec: SkeletonSpec, regions: Regions, rest: F4) -> tuple[Contact, ...]:
    """Returns the contacts at both knees and hips of a resting skin (v, 3)."""
    body = {name: i for i, name in enumerate(spec.body_names)}
    leg, centres = np.nan_to_num(regions.leg, nan=-9.0), regions.centres
    found = []
    for side, sign in zip(SIDES, (1, -1), strict=True):
        hip, knee, ankle = (centres[f"{joint}_{side}"] for joint in ("hip", "knee", "ankle"))
        femur, tibia, torso = body[f"femur_{side}"], body[f"tibia_{side}"], body["torso"]
        own = regions.side == sign
        thigh, calf = own & (leg > 0.25) & (leg <= 1.0), own & (leg > 1.0) & (leg < 1.75)
        weights = thigh.astype(np.float32) - calf
        bodies = (femur, tibia, tibia)
        found.append(_contact(weights, bodies, (hip - knee, ankle - knee), knee))
        above = rest[:, 1] - hip[1]
        belly = regions.is_("torso", "pelvis") & (regions.arm_weight < 0.1)
        belly &= (above > 0.0) & (above < 0.2 * regions.stature)
        share = np.clip((rest[:, 2] * sign + _MIDDLE_M) / (2.0 * _MIDDLE_M), 0.0, 1.0)
        lap = own & (leg > 0.0) & (leg < 0.9) & (above < 0.0)
        directions = (np.array([0.0, 1.0, 0.0]), knee - hip)
        found.append(_contact(belly * share - lap, (torso, femur, femur), directions, hip))
    return tuple(found)


def _contact(
    weights: NDArray[np.floating],
    bodies: tuple[int, int, int],
    along: tuple[Array, Array],
    centre: Array,
) -> Contact:
    rows = np.flatnonzero(weights)
    return Contact(
        rows=rows,
        side=weights[rows].astype(np.float32),
        bodies=bodies,
        directions=(along[0] / np.linalg.norm(along[0]), along[1] / np.linalg.norm(along[1])),
        centre=np.append(centre, 1.0),
    )
