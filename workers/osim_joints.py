"""OpenSim's simple joint classes as the six axes of a CustomJoint, and the order of a tree."""

from schemas.curves import IDENTITY, ZERO
from schemas.errors import InputError
from schemas.skeleton import GROUND, Axis, Joint, Vec3

AXES: dict[str, Vec3] = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
JOINT_AXES: dict[str, tuple[str, str]] = {
    "WeldJoint": ("", ""),
    "PinJoint": ("z", ""),
    "SliderJoint": ("", "x"),
    "UniversalJoint": ("xy", ""),
    "BallJoint": ("xyz", ""),
    "GimbalJoint": ("xyz", ""),
    "FreeJoint": ("xyz", "xyz"),
    "PlanarJoint": ("z", "xy"),
    "EllipsoidJoint": ("xyz", ""),
    "ScapulothoracicJoint": ("xyz", "x"),
    "ConstantCurvatureJoint": ("xzy", ""),
}
"""Rotations then translations of the joint classes without own functions, in the order of their coordinates
(Simbody's mobilizers; OpenSim models run in Euler angles, so a ball is a body-fixed X-Y-Z gimbal). The last three have
a shape: their axes only hand it its arguments, for a scapula the winging angle in the fourth place."""


def plain_axes(rotations: str, translations: str, coordinates: list[int]) -> list[Axis]:
    """Lays a simple joint's motions on six axes, the unused ones after the used."""
    free = iter(coordinates)
    axes: list[Axis] = []
    for used in (rotations, translations):
        axes += [Axis(direction=AXES[k], curve=IDENTITY, coordinates=(next(free),)) for k in used]
        axes += [Axis(direction=AXES[k], curve=ZERO) for k in "xyz" if k not in used]
    return axes


def tree_order(joints: list[Joint]) -> list[Joint]:
    """Sorts joints so that every parent comes first, keeping the model's order otherwise."""
    ordered: list[Joint] = []
    reached, waiting = {GROUND}, joints
    while waiting:
        later: list[Joint] = []
        for joint in waiting:
            if joint.parent in reached and joint.child not in reached:
                ordered.append(joint)
                reached.add(joint.child)
            else:
                later.append(joint)
        if len(later) == len(waiting):
            raise InputError(
                f"joint {later[0].name}",
                "closes a loop or hangs on nothing",
                "Use a model whose joints form a tree",
            )
        waiting = later
    return ordered
