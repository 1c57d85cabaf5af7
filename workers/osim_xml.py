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

from schemas.curves import IDENTITY, ZERO, Curve
from schemas.formulas import Formula
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
from workers.osim_expressions import text_of

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
    "piecewise_constant": "PiecewiseConstantFunction",
    "step": "StepFunction",
    "gcv_spline": "GCVSpline",
    "sine": "Sine",
    "plane": "LinearFunction",
    "multivariate": "MultivariatePolynomialFunction",
    "expression": "ExpressionBasedFunction",
}
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
    joints: list[Joint] = []
    for (parent, child), joint in zip(spec.scaled_by, spec.joints, strict=True):
        axes = [
            replace(a, curve=a.curve.times(float(np.abs(a.direction) @ scale[parent])))
            if a.scales and parent >= 0
            else a
            for a in joint.axes
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
    still = joint.shape is None and all(a.curve == ZERO and not a.coordinates for a in joint.axes)
    tag = "CustomJoint" if joint.shape is None else SHAPE_TAGS[joint.shape.kind]
    node = _add(parent, "WeldJoint" if still else tag, name=joint.name)
    ends = [(joint.parent, joint.parent_frames), (joint.child, joint.child_frames)]
    if joint.reverse:
        ends.reverse()
    for role, (body, _) in zip(("parent", "child"), ends, strict=True):
        _add(node, f"socket_{role}_frame", f"{body}_offset")
    if not still:
        coordinates = _add(node, "coordinates")
        for i in _moved(joint):
            # Clamping keeps inverse kinematics inside the ranges; the root may go anywhere.
            clamped = joint.parent != GROUND and spec.coordinates[i].coupler is None
            _coordinate(coordinates, spec.coordinates[i], clamped)
    frames = _add(node, "frames")
    for body, chain in ends:
        _frame(frames, f"{body}_offset", body, _scaled_frame(chain, scales[body]))
    if joint.shape is not None:
        _shape(node, joint.shape)
    elif not still:
        transform = _add(node, "SpatialTransform")
        for name, axis in zip(AXIS_NAMES, joint.axes, strict=True):
            _axis(transform, name, axis, spec)


def _moved(joint: Joint) -> list[int]:
    """Returns the joint's coordinates: the model's order, for a shape that of its arguments."""
    on = [i for axis in joint.axes for i in axis.coordinates]
    if joint.shape is None:
        return sorted(set(on))
    if any(axis.curve != (IDENTITY if axis.coordinates else ZERO) for axis in joint.axes):
        raise ValueError(f"joint {joint.name} has a shape, whose arguments must be coordinates")
    return on


def _shape(node: Element, shape: Shape) -> None:
    match shape:
        case Ellipsoid():
            _add(node, "radii_x_y_z", _numbers(shape.radii))
        case Scapula():
            _add(node, "thoracic_ellipsoid_radii_x_y_z", _numbers(shape.radii))
            _add(node, "scapula_winging_axis_origin", _numbers(shape.winging_origin))
            _add(node, "scapula_winging_axis_direction", _numbers([shape.winging_direction]))
        case Arc():
            _add(node, "neutral_angle_x_z_y", _numbers(shape.neutral))
            _add(node, "length", _numbers([shape.length]))


def _coordinate(parent: Element, coordinate: Coordinate, clamped: bool) -> None:
    node = _add(parent, "Coordinate", name=coordinate.name)
    _add(node, "default_value", _numbers([coordinate.default]))
    _add(node, "range", _numbers([coordinate.lower, coordinate.upper]))
    _add(node, "clamped", "true" if clamped else "false")
    _add(node, "locked", "true" if coordinate.locked else "false")


def _axis(parent: Element, name: str, axis: Axis, spec: SkeletonSpec) -> None:
    node = _add(parent, "TransformAxis", name=name)
    _add(node, "coordinates", _names(spec, axis.coordinates))
    _add(node, "axis", _numbers(axis.direction))
    # A plain coordinate that scales must stay wrapped, or OpenSim takes it for a degree of freedom.
    lines = axis.curve.kind in ("linear", "plane")
    wrap = axis.scales and lines and axis.curve.coefficients[:2] == (1.0, 0.0)
    _curve(node, axis.curve, wrap=wrap, name="function")


def _names(spec: SkeletonSpec, coordinates: Iterable[int]) -> str:
    return " ".join(spec.coordinate_names[i] for i in coordinates)


def _curve(
    parent: Element, curve: Curve | Formula, *, wrap: bool = False, **attributes: str
) -> None:
    if curve.factor != 1.0 or wrap:
        outer = _add(parent, "MultiplierFunction", **attributes)
        _curve(_add(outer, "function"), replace(curve, factor=1.0))
        _add(outer, "scale", _numbers([curve.factor]))
        return
    node = _add(parent, TAGS[curve.kind], **attributes)
    for tag, text in _formula_parts(curve) if isinstance(curve, Formula) else _curve_parts(curve):
        _add(node, tag, text)


def _curve_parts(curve: Curve) -> list[tuple[str, str]]:
    if curve.kind == "constant":
        return [("value", _numbers(curve.coefficients))]
    if curve.coefficients:
        return [("coefficients", _numbers(curve.coefficients))]
    if curve.kind == "step":
        tags = ("start_time", "end_time", "start_value", "end_value")
        return [(t, _numbers([v])) for t, v in zip(tags, (*curve.x, *curve.y), strict=True)]
    points = [("x", _numbers(curve.x)), ("y", _numbers(curve.y))]
    if curve.kind != "gcv_spline":
        return points
    half = [("half_order", str(len(curve.rows[0]) // 2)), ("error_variance", "0")]
    return [*half, points[0], ("weights", _numbers([1.0] * len(curve.x))), points[1]]


def _formula_parts(formula: Formula) -> list[tuple[str, str]]:
    if formula.kind == "sine":
        tags = ("amplitude", "omega", "phase", "offset")
        return [(t, _numbers([v])) for t, v in zip(tags, formula.coefficients, strict=True)]
    if formula.kind == "expression":
        variables = " ".join(f"x{i}" for i in range(formula.arguments))
        return [("expression", text_of(formula.steps)), ("variables", variables)]
    numbers = ("coefficients", _numbers(formula.coefficients))
    if formula.kind == "plane":
        return [numbers]
    return [("dimension", str(formula.arguments)), ("order", str(formula.order)), numbers]


def _coupler(parent: Element, coordinate: Coordinate, spec: SkeletonSpec) -> None:
    if coordinate.coupler is None:
        return
    node = _add(parent, "CoordinateCouplerConstraint", name=f"{coordinate.name}_coupler")
    _curve(_add(node, "coupled_coordinates_function"), coordinate.coupler.curve)
    on = _names(spec, coordinate.coupler.independents)
    _add(node, "independent_coordinate_names", on)
    _add(node, "dependent_coordinate_name", coordinate.name)


def _marker(parent: Element, marker: Marker, factors: Array) -> None:
    offsets = (*marker.frames, Offset(translation=marker.location))
    node = _add(parent, "Marker", name=marker.name)
    socket = "/ground" if marker.body == GROUND else f"/bodyset/{marker.body}"
    _add(node, "socket_parent_frame", socket)
    _add(node, "location", _numbers(_scaled_frame(offsets, factors).translation))
