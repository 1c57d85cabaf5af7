"""Joint classes of OpenSim that are no six function axes: how they make T_F_from_M of their coordinates.

F and M are the joint's frames on the parent and on the child; m and rad. `Model.scale` changes some of their sizes.
The torch formulas are in trainers/shapes.py.
"""

from dataclasses import dataclass, replace
from typing import Literal

Triple = tuple[float, float, float]


def _product(one: Triple, other: Triple) -> Triple:
    return (one[0] * other[0], one[1] * other[1], one[2] * other[2])


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """EllipsoidJoint: body-fixed X-Y-Z angles; M's origin is where its z axis meets the ellipsoid's own normal."""

    kind: Literal["ellipsoid"] = "ellipsoid"
    radii: Triple

    def scaled(self, parent: Triple, child: Triple) -> "Ellipsoid":
        """Returns the shape after `Model.scale` with the factors of its two bodies."""
        return replace(self, radii=_product(self.radii, parent))


@dataclass(frozen=True, kw_only=True)
class Scapula:
    """ScapulothoracicJoint: abduction, elevation and upward rotation on an ellipsoid, then winging about a line."""

    kind: Literal["scapula"] = "scapula"
    radii: Triple
    """Along the axes of F."""
    winging_origin: tuple[float, float]
    """x and y in M of a point on the winging axis."""
    winging_direction: float
    """Angle of the winging axis from M's y axis, about z."""

    def scaled(self, parent: Triple, child: Triple) -> "Scapula":
        """Returns the shape after `Model.scale` with the factors of its two bodies."""
        x, y = self.winging_origin
        origin = (x * child[0], y * child[1])
        return replace(self, radii=_product(self.radii, parent), winging_origin=origin)


@dataclass(frozen=True, kw_only=True)
class Arc:
    """ConstantCurvatureJoint: body-fixed X-Z-Y angles that bend a rod, which stands along F's y axis, to an arc."""

    kind: Literal["arc"] = "arc"
    neutral: Triple
    """Added to the coordinates x, z, y."""
    length: float

    def scaled(self, parent: Triple, child: Triple) -> "Arc":
        """Returns the shape after `Model.scale` with the factors of its two bodies."""
        return replace(self, length=self.length * child[1])


Shape = Ellipsoid | Scapula | Arc
