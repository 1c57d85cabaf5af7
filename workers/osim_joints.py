"""OpenSim's simple joint classes as the six axes of a CustomJoint, and the order of a tree."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from schemas.curves import IDENTITY, ZERO
from schemas.errors import InputError
from schemas.shapes import Arc, Ellipsoid, Scapula, Shape
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


def coordinate_names(coordinates: list[Any]) -> list[str]:
    """Names OpenSim's coordinates; where joints share a name, each gets its joint's before it."""
    names = [str(c.getName()) for c in coordinates]
    return [
        f"{c.getJoint().getName()}_{name}" if names.count(name) > 1 else name
        for c, name in zip(coordinates, names, strict=True)
    ]


def shape_of(joint: Any, kind: str) -> Shape | None:
    """Copies the sizes of the OpenSim joints that are no six axes; None for the others."""
    if kind == "EllipsoidJoint":
        return Ellipsoid(radii=_three(joint.get_radii_x_y_z()))
    if kind == "ScapulothoracicJoint":
        return Scapula(
            radii=_three(joint.get_thoracic_ellipsoid_radii_x_y_z()),
            winging_origin=(
                float(joint.get_scapula_winging_axis_origin(0)),
                float(joint.get_scapula_winging_axis_origin(1)),
            ),
            winging_direction=float(joint.get_scapula_winging_axis_direction()),
        )
    if kind == "ConstantCurvatureJoint":
        neutral = _three(joint.get_neutral_angle_x_z_y())
        return Arc(neutral=neutral, length=float(joint.get_length()))
    return None


def _three(vector: Any) -> Vec3:
    return (float(vector.get(0)), float(vector.get(1)), float(vector.get(2)))


def tree_order(joints: list[Joint], replacing: Collection[str]) -> tuple[list[Joint], list[Joint]]:
    """Sorts joints so that every parent comes first, keeping the model's order otherwise.

    Args:
        joints: as the model has them.
        replacing: the names of its WeldJoints and FreeJoints.

    Returns:
        The joints of the tree, those that the model has the other way round reversed; and those that are left,
        as the tree without them reaches every body.

    Raises:
        InputError: a joint hangs on nothing, or there is none, or the tree cannot be told.
    """
    grown, loops = _grow(joints)
    grown, loops = _replaced(grown, loops, replacing)
    ordered: list[Joint] = []
    reached, waiting = {GROUND}, [grown[j.name] for j in joints if j.name in grown]
    while waiting:
        later: list[Joint] = []
        for joint in waiting:
            if joint.parent in reached:
                ordered.append(joint)
                reached.add(joint.child)
            else:
                later.append(joint)
        waiting = later
    return ordered, loops


def _grow(joints: list[Joint]) -> tuple[dict[str, Joint], list[Joint]]:
    """Grows the tree from ground, level by level, as Simbody's MultibodyGraphMaker does; by joint name."""
    grown: dict[str, Joint] = {}
    reached, waiting = {GROUND}, joints
    level = {GROUND}
    while level:
        level = set()
        later: list[Joint] = []
        for joint in waiting:
            new = {joint.parent, joint.child} - reached
            if len(new) == 1 and not new <= level:
                grown[joint.name] = joint if joint.parent in reached else _reversed(joint)
                level |= new
            else:
                later.append(joint)
        reached, waiting = reached | level, later
    loose = [j for j in waiting if not {j.parent, j.child} <= reached]
    if loose or not grown:
        name = f"joint {loose[0].name}" if loose else ".osim"
        reason = "hangs on nothing" if loose else "holds no body that a joint carries"
        raise InputError(name, reason, "Join every body to ground, directly or by others")
    return grown, waiting


def _replaced(
    grown: dict[str, Joint], loops: list[Joint], replacing: Collection[str]
) -> tuple[dict[str, Joint], list[Joint]]:
    """Lets a WeldJoint or FreeJoint that closes a loop carry its child, instead of the joint that did.

    So OpenSim 4.6 poses such models: it adds these joints after all others. What hangs on the child stays with the
    child's first place there, which no tree can tell.
    """
    grown, left = dict(grown), []
    for loop in loops:
        if loop.name not in replacing:
            left.append(loop)
            continue
        before = [j for j in grown.values() if j.child == loop.child]
        if not before or any(j.parent == loop.child for j in grown.values()):
            remedy = "Replace it by a WeldConstraint, or leave it out"
            raise InputError(f"joint {loop.name}", "closes a loop that others hang on", remedy)
        del grown[before[0].name]
        grown[loop.name] = loop
        left.append(before[0])
    return grown, left


def _reversed(joint: Joint) -> Joint:
    return replace(
        joint,
        parent=joint.child,
        child=joint.parent,
        parent_frames=joint.child_frames,
        child_frames=joint.parent_frames,
        reverse=True,
    )
