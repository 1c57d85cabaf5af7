"""Reflective markers and tape, as laboratories put on the people they film. Metres, ground frame.

Dims: b = OpenSim body, m = marker, n = shell vertex, v = skin vertex.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from schemas.skeleton import SkeletonSpec
from workers.body import Body
from workers.osim import Pose
from workers.shells import F4, Shell
from workers.surfaces import Surface, ball
from workers.tailoring import cut, hang

Array = NDArray[np.float64]
RADIUS_M = (0.005, 0.007)
"""Of the spheres: 10 to 14 mm across, as commonly sold for motion capture."""
_SUNK = 0.7
"""The centre stands this share of the radius above what it is stuck on."""
_SLIDE_M = 0.03
"""Where skin slides away over its bones (a shoulder's, with the arm raised), a sphere stays near the marker."""
_REACH_M = 0.06
"""A marker of the model farther from skin and clothes than this (a technical one, a cluster's) is left out."""


@dataclass(frozen=True, kw_only=True)
class MarkerSet:
    """Spheres that follow the model's markers, each lying on what is worn there."""

    rows: NDArray[np.intp]
    """(m,): which of the model's markers."""
    on: NDArray[np.intp]
    """(m,): the point of the dressed person below each."""
    parts: NDArray[np.uint8]
    """(m,)."""
    radius: float
    colour: tuple[float, float, float]

    def surface(self, pose: Pose, points: F4, normals: F4) -> Surface:
        """Returns the spheres on a dressed person of points (p, 3) with normals (p, 3).

        A sphere keeps the model's place along the surface, and stands on the surface across it.
        """
        markers = pose.markers[self.rows]
        normal = normals[self.on].astype(np.float64)
        height = np.einsum("mi,mi->m", points[self.on] - markers, normal)
        height = np.clip(height, -_SLIDE_M, _SLIDE_M)
        centres = markers + (height + _SUNK * self.radius)[:, None] * normal
        sphere = ball(self.radius, self.colour, sides=8)
        shape = sphere.vertices - np.array([0, self.radius, 0], np.float32)
        count = len(shape)
        starts = (count * np.arange(len(centres)))[:, None, None]
        return Surface(
            vertices=(centres[:, None] + shape).reshape(-1, 3).astype(np.float32),
            faces=(sphere.faces + starts).reshape(-1, 3).astype(np.int32),
            colours=np.tile(sphere.colours, (len(centres), 1)),
            parts=np.repeat(self.parts, count),
            roughness=0.35,
            name="markers",
        )


def stick_markers(
    spec: SkeletonSpec, pose: Pose, points: F4, rng: np.random.Generator
) -> MarkerSet:
    """Sticks a sphere at each of the model's markers on a dressed person (p, 3) in the bind pose."""
    distance, on = cKDTree(points).query(pose.markers)
    rows = np.flatnonzero(distance < _REACH_M)
    bodies = [spec.body_names.index(spec.markers[row].body) for row in rows]
    grey = float(rng.uniform(0.75, 0.95))
    return MarkerSet(
        rows=rows,
        on=np.asarray(on[rows], np.intp),
        parts=(1 + np.array(bodies, np.int64)).astype(np.uint8),
        radius=float(rng.uniform(*RADIUS_M)),
        colour=(grey, grey, grey),
    )


def tape(body: Body, weights: Array, standing_off: Array, rng: np.random.Generator) -> list[Shell]:
    """Draws strips of tape round thighs, shanks or arms, over what stands off the skin by `standing_off` (v,)."""
    colours = {"white": (0.9, 0.9, 0.88), "silver": (0.75, 0.76, 0.78), "black": (0.05,) * 3}
    colours |= {"blue": (0.1, 0.3, 0.75), "pink": (0.85, 0.25, 0.5)}
    paint = np.array(colours[str(rng.choice(list(colours)))])
    width = rng.uniform(0.012, 0.025)
    strips = []
    for limb, level in (("leg", 0.55), ("leg", 1.35), ("arm", 0.6), ("arm", 1.7)):
        if rng.random() < 0.5:
            continue
        along = body.regions.leg if limb == "leg" else body.regions.arm
        limb_m = 0.43 if limb == "leg" else 0.27
        place = level + rng.uniform(-0.1, 0.1)
        sides = body.regions.side == rng.choice([-1, 1]) if rng.random() < 0.4 else True
        inside = width - np.abs(np.nan_to_num(along, nan=9.0) - place) * limb_m
        inside = np.where(sides, inside, -1.0)
        if limb == "arm":
            inside = np.where(body.regions.arm_weight > 0.5, inside, -1.0)
        piece = cut(body, inside)
        if not len(piece.faces):
            continue
        strips.append(
            hang(
                body,
                weights,
                piece,
                standing_off + 0.0015,
                name="tape",
                texture=None,
                colours=np.tile(paint, (len(piece.share), 1)),
                clearance=0.001,
                roughness=0.4,
            )
        )
    return strips
