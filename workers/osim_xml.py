"""Writes a SkeletonSpec as an OpenSim document; no OpenSim needed.

Every joint becomes a CustomJoint (a WeldJoint where nothing moves): one writer for the default model and for the
scaled models that predictions come with. Numbers are written in full, so reading them back gives the same spec.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from schemas.curves import ZERO, Curve
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

Array = NDArray[np.float64]
DOCUMENT_VERSION = "40600"
"""What OpenSim 4.6 writes itself; an older one makes it report an update on loading."""
AXIS_NAMES = tuple(f"{motion}{i}" for motion in ("rotation", "translation") for i in (1, 2, 3))
TAGS = {
    "constant": "Constant",
    "linear": "LinearFunction",
    "polynomial": "PolynomialFunction",
    "spline": "SimmSpline",
    "piecewise_linear": "PiecewiseLinearFunction",
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
    model = _add(document, "Model", name=name)
    if credit:
        _add(model, "credits", credit)
    _add(model, "length_units", "meters")
    _add(model, "force_units", "N")
    _add(model, "Ground", name="ground")
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


def _with_scaled_curves(spec: SkeletonSpec, scale: Array | None) -> SkeletonSpec:
    """Multiplies the translations and couplers that scale; `None` leaves all as they are."""
    if scale is None:
        return spec
    joints = []
    for parent, joint in zip(spec.parents, spec.joints, strict=True):
        axes = [
            replace(a, curve=a.curve.times(float(np.abs(a.direction) @ scale[parent])))
            if a.scales and parent >= 0
            else a
            for a in joint.axes
        ]
        moved = (axes[0], axes[1], axes[2], axes[3], axes[4], axes[5])
        joints.append(replace(joint, axes=moved))
    coordinates = [
        replace(c, coupler=replace(c.coupler, curve=c.coupler.curve.times(factor)))
        if c.coupler and (factor := spec.coupler_factor(i, scale)) != 1.0
        else c
        for i, c in enumerate(spec.coordinates)
    ]
    return replace(spec, joints=tuple(joints), coordinates=tuple(coordinates))


def _add(parent: Element, tag: str, text: str | None = None, **attributes: str) -> Element:
    node = ElementTree.SubElement(parent, tag, attributes)
    node.text = text
    return node


def _set(model: Element, kind: str) -> Element:
    return _add(_add(model, f"{kind}Set", name=f"{kind.lower()}set"), "objects")


def _numbers(values: Iterable[float]) -> str:
    return " ".join(repr(float(v) + 0.0) for v in values)  # + 0.0 turns -0.0 into 0.0


def _body(parent: Element, name: str, inertia: Inertia) -> None:
    body = _add(parent, "Body", name=name)
    _add(body, "mass", _numbers([inertia.mass]))
    _add(body, "mass_center", _numbers(inertia.centre))
    _add(body, "inertia", _numbers([*inertia.moments, 0.0, 0.0, 0.0]))


def _scaled_frame(frames: tuple[Offset, ...], factors: Array) -> Offset:
    """Joins a chain of frames to one; a single frame keeps its angles to the last digit."""
    rotation, origin_by_scale = compose(frames)
    x, y, z = (float(v) for v in origin_by_scale @ factors)
    angles = frames[0].orientation if len(frames) == 1 else euler_xyz(rotation)
    return Offset(translation=(x, y, z), orientation=angles)


def _frame(parent: Element, name: str, body: str, offset: Offset) -> None:
    frame = _add(parent, "PhysicalOffsetFrame", name=name)
    _add(frame, "socket_parent", "/ground" if body == GROUND else f"/bodyset/{body}")
    _add(frame, "translation", _numbers(offset.translation))
    _add(frame, "orientation", _numbers(offset.orientation))


def _joint(parent: Element, joint: Joint, spec: SkeletonSpec, scales: Mapping[str, Array]) -> None:
    still = all(axis.curve == ZERO and axis.coordinate is None for axis in joint.axes)
    node = _add(parent, "WeldJoint" if still else "CustomJoint", name=joint.name)
    ends = ((joint.parent, joint.parent_frames), (joint.child, joint.child_frames))
    for role, (body, _) in zip(("parent", "child"), ends, strict=True):
        _add(node, f"socket_{role}_frame", f"{body}_offset")
    if not still:
        moved = sorted({a.coordinate for a in joint.axes if a.coordinate is not None})
        coordinates = _add(node, "coordinates")
        for i in moved:
            # Clamping keeps inverse kinematics inside the ranges; the root may go anywhere.
            clamped = joint.parent != GROUND and spec.coordinates[i].coupler is None
            _coordinate(coordinates, spec.coordinates[i], clamped)
    frames = _add(node, "frames")
    for body, chain in ends:
        _frame(frames, f"{body}_offset", body, _scaled_frame(chain, scales[body]))
    if not still:
        transform = _add(node, "SpatialTransform")
        for name, axis in zip(AXIS_NAMES, joint.axes, strict=True):
            _axis(transform, name, axis, spec)


def _coordinate(parent: Element, coordinate: Coordinate, clamped: bool) -> None:
    node = _add(parent, "Coordinate", name=coordinate.name)
    _add(node, "default_value", _numbers([coordinate.default]))
    _add(node, "range", _numbers([coordinate.lower, coordinate.upper]))
    _add(node, "clamped", "true" if clamped else "false")
    _add(node, "locked", "true" if coordinate.locked else "false")


def _axis(parent: Element, name: str, axis: Axis, spec: SkeletonSpec) -> None:
    node = _add(parent, "TransformAxis", name=name)
    on = "" if axis.coordinate is None else spec.coordinate_names[axis.coordinate]
    _add(node, "coordinates", on)
    _add(node, "axis", _numbers(axis.direction))
    # A plain coordinate that scales must stay wrapped, or OpenSim takes it for a degree of freedom.
    wrap = axis.scales and (axis.curve.kind, axis.curve.coefficients) == ("linear", (1.0, 0.0))
    _curve(node, axis.curve, wrap=wrap, name="function")


def _curve(parent: Element, curve: Curve, *, wrap: bool = False, **attributes: str) -> None:
    if curve.factor != 1.0 or wrap:
        outer = _add(parent, "MultiplierFunction", **attributes)
        _curve(_add(outer, "function"), replace(curve, factor=1.0))
        _add(outer, "scale", _numbers([curve.factor]))
        return
    node = _add(parent, TAGS[curve.kind], **attributes)
    if curve.kind == "constant":
        _add(node, "value", _numbers(curve.coefficients))
    elif curve.coefficients:
        _add(node, "coefficients", _numbers(curve.coefficients))
    else:
        _add(node, "x", _numbers(curve.x))
        _add(node, "y", _numbers(curve.y))


def _coupler(parent: Element, coordinate: Coordinate, spec: SkeletonSpec) -> None:
    if coordinate.coupler is None:
        return
    node = _add(parent, "CoordinateCouplerConstraint", name=f"{coordinate.name}_coupler")
    _curve(_add(node, "coupled_coordinates_function"), coordinate.coupler.curve)
    on = spec.coordinate_names[coordinate.coupler.independent]
    _add(node, "independent_coordinate_names", on)
    _add(node, "dependent_coordinate_name", coordinate.name)


def _marker(parent: Element, marker: Marker, factors: Array) -> None:
    offsets = (*marker.frames, Offset(translation=marker.location))
    node = _add(parent, "Marker", name=marker.name)
    socket = "/ground" if marker.body == GROUND else f"/bodyset/{marker.body}"
    _add(node, "socket_parent_frame", socket)
    _add(node, "location", _numbers(_scaled_frame(offsets, factors).translation))
