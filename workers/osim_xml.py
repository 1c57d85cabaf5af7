"""Writes a SkeletonSpec as an OpenSim document; no OpenSim needed.

Every joint becomes a CustomJoint (a WeldJoint where nothing moves) but those with a shape, which keep their class: one
writer for the default model and for the scaled models that predictions come with. Numbers are written in full, so
reading them back gives the same spec.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from schemas.curves import IDENTITY, ZERO
from schemas.errors import InputError
from schemas.shapes import Arc, Ellipsoid, Scapula, Shape
from schemas.skeleton import (
    GROUND,
    Axis,
    Coordinate,
    Joint,
    Marker,
    Offset,
    SkeletonSpec,
    compose,
    euler_xyz,
)
from workers.osim_xml_functions import add, numbers, write_function

Array = NDArray[np.float64]
DOCUMENT_VERSION = "40600"
"""What OpenSim 4.6 writes itself; an older one makes it report an update on loading."""
AXIS_NAMES = tuple(f"{motion}{i}" for motion in ("rotation", "translation") for i in (1, 2, 3))
SHAPE_TAGS = {
    "ellipsoid": "EllipsoidJoint",
    "scapula": "ScapulothoracicJoint",
    "arc": "ConstantCurvatureJoint",
}


class Inertia(NamedTuple):
    """Mass properties of a body, kg, m, kg m^2; in the body's frame, the moments about the mass centre."""

    mass: float = 1.0
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    moments: tuple[float, float, float] = (1.0, 1.0, 1.0)


def model_xml(
    spec: SkeletonSpec,
    *,
    name: str,
    scale: Array | None = None,
    inertias: Mapping[str, Inertia] | None = None,
    credit: str = "",
) -> bytes:
    """Returns the `.osim` of a spec, its bodies scaled by (b, 3) factors as `Model.scale` would.

    A body without an entry in `inertias` gets the placeholder of 1 kg.
    """
    factors = np.ones((len(spec.body_names), 3)) if scale is None else scale
    scales = {GROUND: np.ones(3)} | dict(zip(spec.body_names, factors, strict=True))
    spec = _with_scaled_curves(spec, scale)
    document = Element("OpenSimDocument", Version=DOCUMENT_VERSION)
    model = add(document, "Model", name=name)
    if credit:
        add(model, "credits", credit)
    add(model, "length_units", "meters")
    add(model, "force_units", "N")
    add(model, "Ground", name="ground")
    bodies = _set(model, "Body")
    for body in spec.body_names:
        _body(bodies, body, (inertias or {}).get(body, Inertia()))
    joints = _set(model, "Joint")
    for joint in spec.joints:
        _joint(joints, joint, spec, scales)
    constraints = _set(model, "Constraint")
    for coordinate in spec.coordinates:
        _coupler(constraints, coordinate, spec)
    markers = _set(model, "Marker")
    for marker in spec.markers:
        _marker(markers, marker, scales[marker.body])
    ElementTree.indent(document, "\t")
    text: bytes = ElementTree.tostring(document, encoding="UTF-8", xml_declaration=True)
    return text + b"\n"


def check_scale(scale: Array, spec: SkeletonSpec) -> Array:
    """Returns body scales (b, 3).

    Raises:
        InputError: they are of another shape, or not positive.
    """
    scale = np.asarray(scale, dtype=np.float64)
    if scale.shape != (len(spec.body_names), 3) or not np.all(np.isfinite(scale) & (scale > 0)):
        raise InputError(
            f"scale of shape {scale.shape}",
            f"is not {len(spec.body_names)} x 3 positive numbers",
            "Give one factor per body and axis",
        )
    return scale


def _with_scaled_curves(spec: SkeletonSpec, scale: Array | None) -> SkeletonSpec:
    """Multiplies the translations and couplers that scale; `None` leaves all as they are."""
    if scale is None:
        return spec
    joints: list[Joint] = []
    for (parent, child), joint in zip(spec.scaled_by, spec.joints, strict=True):
        axes = [
            replace(a, curve=a.curve.times(float(a.stretch @ scale[parent])))
            if k >= 3 and a.scales and parent >= 0
            else a
            for k, a in enumerate(joint.axes)
        ]
        moved = (axes[0], axes[1], axes[2], axes[3], axes[4], axes[5])
        shape = joint.shape and _scaled_shape(joint.shape, parent, child, scale)
        joints.append(replace(joint, axes=moved, shape=shape))
    coordinates = [
        replace(c, coupler=replace(c.coupler, curve=c.coupler.curve.times(factor)))
        if c.coupler and (factor := spec.coupler_factor(i, scale)) != 1.0
        else c
        for i, c in enumerate(spec.coordinates)
    ]
    return replace(spec, joints=tuple(joints), coordinates=tuple(coordinates))


def _scaled_shape(shape: Shape, parent: int, child: int, scale: Array) -> Shape:
    """Scales by the bodies' factors; ground has none, and a scapula on ground keeps all its sizes."""
    ones = np.ones(3)
    outer = ones if parent < 0 else scale[parent]
    inner = ones if child < 0 or (parent < 0 and isinstance(shape, Scapula)) else scale[child]
    return shape.scaled(_triple(outer), _triple(inner))


def _triple(values: Array) -> tuple[float, float, float]:
    return (float(values[0]), float(values[1]), float(values[2]))


def _set(model: Element, kind: str) -> Element:
    return add(add(model, f"{kind}Set", name=f"{kind.lower()}set"), "objects")


def _body(parent: Element, name: str, inertia: Inertia) -> None:
    body = add(parent, "Body", name=name)
    add(body, "mass", numbers([inertia.mass]))
    add(body, "mass_center", numbers(inertia.centre))
    add(body, "inertia", numbers([*inertia.moments, 0.0, 0.0, 0.0]))


def _scaled_frame(frames: tuple[Offset, ...], factors: Array) -> Offset:
    """Joins a chain of frames to one; a single frame keeps its angles to the last digit."""
    rotation, origin_by_scale = compose(frames)
    x, y, z = (float(v) for v in origin_by_scale @ factors)
    angles = frames[0].orientation if len(frames) == 1 else euler_xyz(rotation)
    return Offset(translation=(x, y, z), orientation=angles)


def _frame(parent: Element, name: str, body: str, offset: Offset) -> None:
    frame = add(parent, "PhysicalOffsetFrame", name=name)
    add(frame, "socket_parent", "/ground" if body == GROUND else f"/bodyset/{body}")
    add(frame, "translation", numbers(offset.translation))
    add(frame, "orientation", numbers(offset.orientation))


def _joint(parent: Element, joint: Joint, spec: SkeletonSpec, scales: Mapping[str, Array]) -> None:
    still = joint.shape is None and all(a.curve == ZERO and not a.coordinates for a in joint.axes)
    tag = "CustomJoint" if joint.shape is None else SHAPE_TAGS[joint.shape.kind]
    node = add(parent, "WeldJoint" if still else tag, name=joint.name)
    ends = [(joint.parent, joint.parent_frames), (joint.child, joint.child_frames)]
    if joint.reverse:
        ends.reverse()
    for role, (body, _) in zip(("parent", "child"), ends, strict=True):
        add(node, f"socket_{role}_frame", f"{body}_offset")
    if not still:
        coordinates = add(node, "coordinates")
        for i in _moved(joint):
            # Clamping keeps inverse kinematics inside the ranges; the root may go anywhere.
            clamped = joint.parent != GROUND and spec.coordinates[i].coupler is None
            _coordinate(coordinates, spec.coordinates[i], clamped)
    frames = add(node, "frames")
    for body, chain in ends:
        _frame(frames, f"{body}_offset", body, _scaled_frame(chain, scales[body]))
    if joint.shape is not None:
        _shape(node, joint.shape)
    elif not still:
        transform = add(node, "SpatialTransform")
        for name, axis in zip(AXIS_NAMES, joint.axes, strict=True):
            _axis(transform, name, axis, spec)


def _moved(joint: Joint) -> list[int]:
    """Returns the joint's coordinates: the model's order, for a shape that of its arguments."""
    on = [i for axis in joint.axes for i in axis.coordinates]
    if joint.shape is None:
        return sorted(set(on))
    if any(axis.curve != (IDENTITY if axis.coordinates else ZERO) for axis in joint.axes):
        raise InputError(
            f"joint {joint.name}",
            f"is of a {joint.shape.kind}, but follows functions",
            "Give the shape bare coordinates",
        )
    return on


def _shape(node: Element, shape: Shape) -> None:
    match shape:
        case Ellipsoid():
            add(node, "radii_x_y_z", numbers(shape.radii))
        case Scapula():
            add(node, "thoracic_ellipsoid_radii_x_y_z", numbers(shape.radii))
            add(node, "scapula_winging_axis_origin", numbers(shape.winging_origin))
            add(node, "scapula_winging_axis_direction", numbers([shape.winging_direction]))
        case Arc():
            add(node, "neutral_angle_x_z_y", numbers(shape.neutral))
            add(node, "length", numbers([shape.length]))


def _coordinate(parent: Element, coordinate: Coordinate, clamped: bool) -> None:
    node = add(parent, "Coordinate", name=coordinate.name)
    add(node, "default_value", numbers([coordinate.default]))
    add(node, "range", numbers([coordinate.lower, coordinate.upper]))
    add(node, "clamped", "true" if clamped else "false")
    add(node, "locked", "true" if coordinate.locked else "false")


def _axis(parent: Element, name: str, axis: Axis, spec: SkeletonSpec) -> None:
    node = add(parent, "TransformAxis", name=name)
    add(node, "coordinates", _names(spec, axis.coordinates))
    add(node, "axis", numbers(axis.written or axis.direction))
    # A plain coordinate that scales must stay wrapped, or OpenSim takes it for a degree of freedom.
    lines = axis.curve.kind in ("linear", "plane")
    wrap = axis.scales and lines and axis.curve.coefficients[:2] == (1.0, 0.0)
    write_function(node, axis.curve, wrap=wrap, name="function")


def _names(spec: SkeletonSpec, coordinates: Iterable[int]) -> str:
    return " ".join(spec.coordinate_names[i] for i in coordinates)


def _coupler(parent: Element, coordinate: Coordinate, spec: SkeletonSpec) -> None:
    if coordinate.coupler is None:
        return
    node = add(parent, "CoordinateCouplerConstraint", name=f"{coordinate.name}_coupler")
    write_function(add(node, "coupled_coordinates_function"), coordinate.coupler.curve)
    on = _names(spec, coordinate.coupler.independents)
    add(node, "independent_coordinate_names", on)
    add(node, "dependent_coordinate_name", coordinate.name)


def _marker(parent: Element, marker: Marker, factors: Array) -> None:
    offsets = (*marker.frames, Offset(translation=marker.location))
    node = add(parent, "Marker", name=marker.name)
    socket = "/ground" if marker.body == GROUND else f"/bodyset/{marker.body}"
    add(node, "socket_parent_frame", socket)
    add(node, "location", numbers(_scaled_frame(offsets, factors).translation))
