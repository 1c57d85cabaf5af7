"""How joints with a shape make T_F_from_M of their values: pure functions, differentiable everywhere they are smooth.

Dims: s = joints of one kind, n = batch, last. F and M are the joint's frames on the parent and on the child; m, rad.
Sources: Simbody's MobilizedBody::Ellipsoid; OpenSim 4.6 ScapulothoracicJoint (Seth et al. 2016) and
ConstantCurvatureJoint (Keenon Werling). `scaled` of schemas/shapes.py says the same of scaling in plain numbers.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from schemas.shapes import Arc, Ellipsoid, Scapula, Shape
from schemas.skeleton import SkeletonSpec

BEND = math.pi / 2 - 0.01
"""OpenSim clamps the angles of a ConstantCurvatureJoint to this (and warns); gradients end there too."""
STRAIGHT, FLAT = 0.001, 0.999
"""Sines of the bend outside of which OpenSim lets the rod stay straight: positions jump there, by up to 0.0005 of
the length at the first."""


class Shapes(NamedTuple):
    """The joints of one kind; `axes` are joints without a shape that are reversed."""

    kind: str
    reverse: bool
    """Whether the joints make T_M_from_F, which is then inverted."""
    joints: Tensor
    """(s) joint (= body)."""
    parents: Tensor
    """(s) body + 1 that the model calls the parent; 0 is ground."""
    children: Tensor
    """(s) body + 1 whose scale counts as the child's; 0 (which never scales) for a scapula on ground, as OpenSim
    has it."""
    sizes: Tensor
    """(s, 4, 1): ellipsoid radii; scapula radii, winging direction; arc neutral angles, length."""
    origin: Tensor
    """(s, 3, 1): a point on a scapula's winging axis."""
    directions: Tensor
    """(s, 6, 3, 1): of the axes."""


def shapes_of(
    spec: SkeletonSpec, number: Callable[[object], Tensor], index: Callable[[object], Tensor]
) -> tuple[Shapes, ...]:
    """Groups a skeleton's shapes by kind; `number` and `index` make tensors of the structure's dtype and device."""
    groups: dict[tuple[str, bool], list[int]] = {}
    for i, joint in enumerate(spec.joints):
        if joint.shape is not None or joint.reverse:
            kind = joint.shape.kind if joint.shape else "axes"
            groups.setdefault((kind, joint.reverse), []).append(i)
    return tuple(_group(spec, key, joints, number, index) for key, joints in groups.items())


def _group(
    spec: SkeletonSpec,
    key: tuple[str, bool],
    places: list[int],
    number: Callable[[object], Tensor],
    index: Callable[[object], Tensor],
) -> Shapes:
    joints = [spec.joints[i] for i in places]
    bodies = [spec.scaled_by[i] for i in places]
    return Shapes(
        kind=key[0],
        reverse=key[1],
        joints=index(places),
        parents=index([parent + 1 for parent, _ in bodies]),
        children=index([0 if key[0] == "scapula" and p < 0 else c + 1 for p, c in bodies]),
        sizes=number([_sizes(j.shape) for j in joints])[:, :, None],
        origin=number([_origin(j.shape) for j in joints])[:, :, None],
        directions=number([[a.direction for a in j.axes] for j in joints])[..., None],
    )


def _sizes(shape: Shape | None) -> tuple[float, ...]:
    match shape:
        case None:
            return (0.0, 0.0, 0.0, 0.0)
        case Ellipsoid():
            return (*shape.radii, 0.0)
        case Scapula():
            return (*shape.radii, shape.winging_direction)
        case Arc():
            return (*shape.neutral, shape.length)


def _origin(shape: Shape | None) -> tuple[float, ...]:
    return (*shape.winging_origin, 0.0) if isinstance(shape, Scapula) else (0.0, 0.0, 0.0)


def local_transforms(
    shapes: Shapes, values: Tensor, parent_scale: Tensor, child_scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns R_F_from_M (s, 3, 3, n) and M's origin in F (s, 3, n).

    Args:
        shapes: the joints of one kind.
        values: (s, 6, n) of the joints' six axes, translations scaled.
        parent_scale: (s, 3, n or 1) of the bodies at `shapes.parents`.
        child_scale: (s, 3, n or 1) of the bodies at `shapes.children`.
    """
    if shapes.kind == "ellipsoid":
        rotation, origin = _ellipsoid(values, shapes.sizes[:, :3] * parent_scale)
    elif shapes.kind == "scapula":
        rotation, origin = _scapula(shapes, values, parent_scale, child_scale)
    elif shapes.kind == "arc":
        length = shapes.sizes[:, 3] * child_scale[:, 1]
        rotation, origin = _arc(values[:, :3] + shapes.sizes[:, :3], length)
    else:
        rotation, origin = _axes(shapes, values)
    if shapes.reverse:
        rotation = rotation.transpose(1, 2)
        origin = -(rotation * origin[:, None]).sum(2)
    return rotation, origin


def _axes(shapes: Shapes, values: Tensor) -> tuple[Tensor, Tensor]:
    """R1 R2 R3 and the sum of the translations, as in schemas/skeleton.py."""
    one, two, three = (_about(shapes.directions[:, i], values[:, i]) for i in range(3))
    moved = (shapes.directions[:, 3:] * values[:, 3:, None]).sum(1)
    return product(product(one, two), three), moved


def _about(direction: Tensor, angle: Tensor) -> Tensor:
    """Returns R (s, 3, 3, n) about a unit vector (s, 3, 1) by an angle (s, n): Rodrigues."""
    x, y, z = direction.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(len(x), 3, 3, 1)
    outer = direction[:, :, None] * direction[:, None]
    eye = torch.eye(3, dtype=angle.dtype, device=angle.device)[None, :, :, None]
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return outer + (eye - outer) * c + cross * s


def turn(axis: str, angle: Tensor) -> Tensor:
    """Returns R (s, 3, 3, n) about a coordinate axis by an angle (s, n)."""
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    rows = {
        "x": [one, zero, zero, zero, c, -s, zero, s, c],
        "y": [c, zero, s, zero, one, zero, -s, zero, c],
        "z": [c, -s, zero, s, c, zero, zero, zero, one],
    }[axis]
    return torch.stack(rows, dim=1).view(len(angle), 3, 3, -1)


def product(one: Tensor, other: Tensor) -> Tensor:
    """Multiplies (s, 3, 3, n) by (s, 3, 3, n)."""
    return (one[:, :, :, None] * other[:, None]).sum(2)


def _ellipsoid(values: Tensor, radii: Tensor) -> tuple[Tensor, Tensor]:
    """The origin of M lies on the ellipsoid's surface, at radii · (M's z axis in F), componentwise."""
    rotation = product(
        product(turn("x", values[:, 0]), turn("y", values[:, 1])), turn("z", values[:, 2])
    )
    return rotation, radii * rotation[:, :, 2]


def _scapula(
    shapes: Shapes, values: Tensor, parent_scale: Tensor, child_scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Rz(90°) · ellipsoid · Rz(-90°), so that abduction and elevation are positive; then winging.

    Winging turns about the line through `origin` along (-sin d, cos d, 0) in M.
    """
    radii = shapes.sizes[:, :3] * parent_scale
    rotation, at = _ellipsoid(values, torch.stack([radii[:, 1], radii[:, 0], radii[:, 2]], dim=1))
    # Rz(90°) takes (x, y, z) to (-y, x, z), on the left as rows and on the right as columns.
    rotation = torch.stack([-rotation[:, 1], rotation[:, 0], rotation[:, 2]], dim=1)
    rotation = torch.stack([-rotation[:, :, 1], rotation[:, :, 0], rotation[:, :, 2]], dim=2)
    at = torch.stack([-at[:, 1], at[:, 0], at[:, 2]], dim=1)
    direction = shapes.sizes[:, 3].expand_as(values[:, 3])
    winging = product(product(turn("z", direction), turn("y", values[:, 3])), turn("z", -direction))
    origin = shapes.origin * child_scale
    moved = origin - (winging * origin[:, None]).sum(2)
    return product(rotation, winging), at + (rotation * moved[:, None]).sum(2)


def _arc(angles: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """A rod of constant curvature whose end points along M's y axis, which leans from F's by the bend.

    With b the bend, the end is `length` · (sin b / b) up and `length` · (1 - cos b) / b sideways.
    """
    x, z, y = angles.clamp(-BEND, BEND).unbind(1)
    rotation = product(product(turn("x", x), turn("z", z)), turn("y", y))
    up = rotation[:, :, 1]
    square = up[:, 0] * up[:, 0] + up[:, 2] * up[:, 2]
    straight = (square < STRAIGHT**2) | (square > FLAT**2)
    # A harmless number where the rod stays straight, else the gradient of its root would be nan at zero.
    sine = torch.where(straight, torch.full_like(square, 0.25), square).sqrt()
    bend = sine.asin()
    aside = 2 * (bend / 2).sin().square() / (bend * sine)
    bent = torch.stack([up[:, 0] * aside, sine / bend, up[:, 2] * aside], dim=1)
    return rotation, torch.where(straight[:, None], up, bent) * length[:, None]
