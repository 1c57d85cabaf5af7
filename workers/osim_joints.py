"""OpenSim's simple joint classes as the six axes of a CustomJoint, and the order of a tree."""

from dataclasses import replace

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


def tree_order(joints: list[Joint]) -> tuple[list[Joint], list[Joint]]:
    """Grows the tree from ground, level by level, keeping the model's order otherwise.

    Returns:
        The joints so that every parent comes first, those that the model has the other way round reversed; and
        those that close a loop, which OpenSim replaces by constraints.

    Raises:
        InputError: a joint hangs on nothing, or there is none.
    """
    ordered: list[Joint] = []
    reached, waiting = {GROUND}, joints
    while waiting:
        level: set[str] = set()
        later: list[Joint] = []
        for joint in waiting:
            if joint.parent in reached and joint.child not in reached | level:
                ordered.append(joint)
                level.add(joint.child)
            elif joint.child in reached and joint.parent not in reached | level:
                ordered.append(_reversed(joint))
                level.add(joint.parent)
            else:
                later.append(joint)
        if not level:
            break
        reached, waiting = reached | level, later
    loose = [j for j in waiting if not {j.parent, j.child} <= reached]
    if loose or not ordered:
        name = f"joint {loose[0].name}" if loose else ".osim"
        reason = "hangs on nothing" if loose else "holds no body that a joint carries"
        raise InputError(name, reason, "Join every body to ground, directly or by others")
    return ordered, waiting


def _reversed(joint: Joint) -> Joint:
    return replace(
        joint,
        parent=joint.child,
        child=joint.parent,
        parent_frames=joint.child_frames,
        child_frames=joint.parent_frames,
        reverse=True,
    )
