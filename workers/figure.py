"""A body as spheres, to see where it goes into itself: the bound on self-penetration is measured on them.

Dims: n = pose, b = body, k = sphere. Metres; spheres are fixed to bodies. Without a skin their sizes are shares of the
leg's length; with one, each lies in the middle of the skin around it and has its mean radius there.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.body import Body
from workers.kinematics import Kinematics, Posed

Array = NDArray[np.float64]
LEG_BOUND_M, THIGH_GIVES_M, ARM_BOUND_M = 0.015, 0.010, 0.03
"""How deep legs may go into each other, what thighs may more, and how deep arms may go into what they touch: flesh
gives way. Trunk and thighs, and a thigh and its own shank, press on each other in deep squats and are not counted."""
FAT_GIVES = 0.7
"""Share by which thighs, thicker than the slender ones of `SEGMENTS`, give way to each other beyond that: two thighs of
a BMI of 40 overlap by 3 to 6 cm already where people stand with their feet below the hips."""
SECTION = 0.12
"""Half the height, as a share of a segment's length, of the slice of skin that gives a sphere its size."""
FEWEST = 8
"""Vertices in a slice that can be trusted."""


class Segment(NamedTuple):
    """A limb: spheres along the line between two joints."""

    group: str
    body: str
    start: str
    end: str
    places: tuple[float, ...]
    radii: tuple[float, ...]
    """At the places, of the leg's length."""


SEGMENTS = (
    Segment("thigh", "femur", "femur", "tibia", (0.3, 0.5, 0.7, 0.9), (0.09, 0.08, 0.07, 0.064)),
    Segment(
        "shank",
        "tibia",
        "tibia",
        "talus",
        (0.1, 0.3, 0.5, 0.7, 0.9),
        (0.06, 0.06, 0.055, 0.045, 0.04),
    ),
    Segment("foot", "calcn", "talus", "toes", (0.3, 0.7, 1.1), (0.04, 0.042, 0.042)),
    Segment(
        "forearm",
        "ulna",
        "ulna",
        "hand",
        (0.2, 0.4, 0.6, 0.8, 1.0),
        (0.045, 0.044, 0.04, 0.035, 0.03),
    ),
    Segment("hand", "hand", "ulna", "hand", (1.2, 1.4), (0.035, 0.03)),
)
TRUNK = ((0.15, 0.14), (0.45, 0.13), (0.75, 0.14))
"""Place from the middle of the hips to that of the shoulders, radius over the leg's length."""
TRUNK_WIDE = 0.09
"""Sideways distance of the trunk's outer columns, of the leg's length."""
HEAD = (0.18, 0.12)
"""Height over the neck and radius, of the leg's length."""
LEGS = (
    ("thigh", "thigh"),
    ("thigh", "shank"),
    ("shank", "shank"),
    ("foot", "foot"),
    ("foot", "shank"),
)
"""Pairs of opposite legs."""
ARMS = (
    *(("hand", "thigh"), ("forearm", "thigh"), ("hand", "trunk"), ("forearm", "trunk")),
    *(("hand", "head"), ("hand", "shank")),
)
BOTH_ARMS = (("hand", "hand"), ("forearm", "forearm"), ("hand", "forearm"))
"""Pairs of opposite arms."""


class _Sphere(NamedTuple):
    group: str
    side: str
    body: int
    centre: Array
    radius: float
    fat: float = 0.0
    """What it is thicker than a slender person's."""


class Figure:
    """Spheres of one scaled model."""

    def __init__(self, kinematics: Kinematics, body: Body | None = None) -> None:
        self.kinematics = kinematics
        names = kinematics.spec.body_names
        self._index = {name: i for i, name in enumerate(names)}
        q = kinematics.spec.default_pose() if body is None else body.bind_q
        posed = kinematics.pose(q)
        self._centres, self._T = posed.joint_centres[0], posed.T_ground_from_body[0]
        self._skin = None if body is None else body.rest.astype(float)
        self._parts = None if body is None else body.parts
        hip, ankle = (self._centres[self._index[f"{b}_r"]] for b in ("femur", "talus"))
        self.leg = float(np.linalg.norm(hip - ankle))
        spheres = [s for side in "rl" for s in self._limbs(side)] + self._middle()
        self._bodies = np.array([s.body for s in spheres])
        self._local = np.array([s.centre for s in spheres])
        self.radii = np.array([s.radius for s in spheres])
        self._pair(spheres)

    def _limbs(self, side: str) -> list[_Sphere]:
        found = []
        for segment in SEGMENTS:
            body = self._index[f"{segment.body}_{side}"]
            start, end = (self._centres[self._index[f"{j}_{side}"]] for j in segment[2:4])
            for place, share in zip(segment.places, segment.radii, strict=True):
                at, radius = self._fit(body, start, end, place, share * self.leg)
                fat = max(0.0, radius - share * self.leg)
                centre = self._to_body(body, at)
                found.append(_Sphere(segment.group, side, body, centre, radius, fat))
        return found

    def _fit(
        self, body: int, start: Array, end: Array, place: float, radius: float
    ) -> tuple[Array, float]:
        """Returns centre and radius at a place along a limb, by the skin around it where there is one."""
        at = start + place * (end - start)
        if self._skin is None or self._parts is None:
            return at, radius
        skin = self._skin[self._parts == body + 1]
        length = float(np.linalg.norm(end - start))
        direction = (end - start) / length
        along = (skin - at) @ direction
        slice_ = skin[np.abs(along) < SECTION * length]
        if len(slice_) < FEWEST:
            return at, radius
        flat = slice_ - np.outer((slice_ - at) @ direction, direction)
        middle = (flat.min(axis=0) + flat.max(axis=0)) / 2
        distances = np.linalg.norm(flat - middle, axis=1)
        return middle, float(np.median(distances))

    def _middle(self) -> list[_Sphere]:
        """Returns the trunk's and the head's spheres."""
        c = self._centres
        hips, shoulders = (
            (c[self._index[f"{b}_r"]] + c[self._index[f"{b}_l"]]) / 2 for b in ("femur", "humerus")
        )
        found = []
        for place, share in TRUNK:
            body = self._index["torso" if place > 0.3 else "pelvis"]
            for column in (-1.0, 0.0, 1.0):
                at = hips + place * (shoulders - hips)
                at, radius, wide = self._girth(at, share * self.leg, TRUNK_WIDE * self.leg)
                at = at + column * wide * np.array([0.0, 0.0, 1.0])
                found.append(_Sphere("trunk", "", body, self._to_body(body, at), radius))
        if "head" in self._index:
            body, (up, share) = self._index["head"], HEAD
            at = c[body] + up * self.leg * np.array([0.15, 1.0, 0.0])
            found.append(_Sphere("head", "", body, self._to_body(body, at), share * self.leg))
        return found

    def _girth(self, at: Array, radius: float, wide: float) -> tuple[Array, float, float]:
        """Returns centre, half depth and the outer columns' distance of the trunk at a height."""
        if self._skin is None or self._parts is None:
            return at, radius, wide
        trunk = np.isin(self._parts, [1 + self._index[b] for b in ("pelvis", "torso")])
        skin = self._skin[trunk & (np.abs(self._skin[:, 1] - at[1]) < 0.04 * self.leg)]
        if len(skin) < FEWEST:
            return at, radius, wide
        low, high = np.percentile(skin, 3, axis=0), np.percentile(skin, 97, axis=0)
        depth = float(high[0] - low[0]) / 2
        centre = np.array([(low[0] + high[0]) / 2, at[1], at[2]])
        return centre, depth, max(0.0, float(high[2] - low[2]) / 2 - depth)

    def _to_body(self, body: int, at: Array) -> Array:
        T = self._T[body]
        return np.asarray(T[:3, :3].T @ (at - T[:3, 3]))

    def _pair(self, spheres: list[_Sphere]) -> None:
        """Lists the pairs of spheres that may not meet: opposite legs, and arms with what they touch."""
        legs, arms, both = [], [], []
        for i, one in enumerate(spheres):
            for j, other in enumerate(spheres):
                pair, opposite = (one.group, other.group), one.side != other.side
                if pair in LEGS and opposite and (i < j or one.group != other.group):
                    legs.append((i, j))
                elif pair in ARMS:
                    arms.append((i, j))
                elif pair in BOTH_ARMS and opposite and (i < j or one.group != other.group):
                    both.append((i, j))
        self._legs, self._arms, self._both = (np.array(p, np.intp) for p in (legs, arms, both))
        thighs = [all(spheres[k].group == "thigh" for k in pair) for pair in legs]
        fat = np.array([sum(spheres[k].fat for k in pair) for pair in legs])
        self._gives = np.where(thighs, THIGH_GIVES_M + FAT_GIVES * fat, 0.0)

    def depths(self, posed: Posed) -> tuple[Array, Array]:
        """Returns how deep legs go into legs, and arms into trunk, head, legs and each other: (n,), (n,) m.

        Of two thighs, what both give way by is taken off.
        """
        T = posed.T_ground_from_body[:, self._bodies]
        at = (T[..., :3, :3] @ self._local[:, :, None])[..., 0] + T[..., :3, 3]
        arms = (
            self._deepest(at, pairs, np.zeros(len(pairs))) for pairs in (self._arms, self._both)
        )
        return self._deepest(at, self._legs, self._gives), np.maximum(*arms)

    def _deepest(self, at: Array, pairs: NDArray[np.intp], gives: Array) -> Array:
        i, j = pairs.T
        gap = np.sqrt(np.square(at[:, i] - at[:, j]).sum(-1))
        return np.asarray(
            np.maximum(0.0, (self.radii[i] + self.radii[j] - gives - gap).max(axis=1))
        )

    def clear(self, q: Array) -> NDArray[np.bool_]:
        """Says of each pose (n, c) whether it stays within both bounds."""
        legs, arms = self.depths(self.kinematics.pose(q))
        return np.asarray((legs <= LEG_BOUND_M) & (arms <= ARM_BOUND_M))
