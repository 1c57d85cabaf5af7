"""The constants of a skeleton, as the tensors that forward kinematics multiplies with.

Dims: b = body (= joint), c = coordinate, p = point (joint centres, then markers), f = curve, k = break, d = degree.
Units m and rad; the joint model and its frames are those of schemas/skeleton.py.

Each R_i = A + cos·B + sin·C with constant matrices (Rodrigues), so R_P_from_F R1 R2 R3 R_B_from_M^T is one constant
27 x 9 matrix per joint times the 27 products of (1, cos, sin) of its three angles: one batched product for all joints.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.curves import Curve
from schemas.formulas import Formula
from schemas.skeleton import Axis, Joint, Offset, SkeletonSpec, Vec3, compose
from trainers.shapes import Shapes, shapes_of

Array = NDArray[np.float64]


class Curves(NamedTuple):
    """Piecewise polynomials of single coordinates; see schemas/curves.py for the form."""

    source: Tensor
    """(f) coordinate."""
    target: Tensor
    """(f + formulas) row that the values replace."""
    breaks: Tensor
    """(f, k, 1), filled up with +inf."""
    origins: Tensor
    """(f · (k + 1))."""
    coefficients: Tensor
    """(d + 1, f · (k + 1)), lowest power first."""
    first: Tensor
    """(f, 1) place of each curve's first piece."""
    formulas: tuple[tuple[Tensor, Formula], ...]
    """With the coordinates (arguments) of each; their rows come after those of the curves in `target`."""


class Structure(NamedTuple):
    """The constants of a skeleton, tensors of one dtype and device."""

    couplers: tuple[tuple[Curves, Tensor, Tensor, Tensor], ...]
    """Each depends only on coordinates that earlier ones have set. With the curves, for those that scale: parent
    body + 1 (f) and the weights (f, 3, 1) of its scale; then 1 (f, 1) for those that do not."""
    slopes: Tensor
    """(6b, c): the straight-line axes."""
    intercepts: Tensor
    """(6b, 1)."""
    curves: Curves
    """The bent axes."""
    shapes: tuple[Shapes, ...]
    """The joints that their axes alone do not describe, by kind."""
    outer: Tensor
    """(b, 3, 3, 1): R_parent_from_F."""
    inner: Tensor
    """(b, 3, 3, 1): R_M_from_body."""
    rotation: Tensor
    """(b, 9, 27)."""
    directions: Tensor
    """(b, 3, 3): translation axes in the parent body, columns."""
    stretch_bodies: Tensor
    """(b) body + 1 whose scale stretches the translations: the parent, of a reversed joint the child."""
    stretch: Tensor
    """(b, 3, 3): |direction| of the translations that scale, rows; zero rows elsewhere."""
    rigid: Tensor
    """(b, 3, 1): 1 for translations that do not scale, else 0."""
    parent_origin: Tensor
    """(b, 3, 3): times the parent's scale (3) gives the joint's origin in the parent."""
    child_origin: Tensor
    """(b, 3, 3): times the body's own scale gives the joint's origin in the body."""
    parents: Tensor
    """(b) parent + 1; 0 is ground."""
    levels: tuple[tuple[Tensor, Tensor], ...]
    """Per tree level: its bodies, and where their parents lie in the level above."""
    order: Tensor
    """(b) places of the bodies in the levels laid end to end."""
    point_bodies: Tensor
    """(p) body + 1; 0 is ground."""
    point_origin: Tensor
    """(p, 3, 3): times its body's scale gives the point in the body."""


def structure_of(
    spec: SkeletonSpec, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> Structure:
    """Turns a spec into the constants of `forward_kinematics`."""

    def number(value: object) -> Tensor:
        return torch.as_tensor(np.asarray(value, dtype=np.float64)).to(device, dtype)

    def index(value: object) -> Tensor:
        return torch.as_tensor(np.asarray(value, dtype=np.int64)).to(device)

    slopes, intercepts, bent = _split_axes(spec)
    frames = [(compose(j.parent_frames), compose(j.child_frames)) for j in spec.joints]
    points = _point_constants(spec)
    moves = np.array([[a.direction for a in j.axes[3:]] for j in spec.joints])
    scaling = np.array([[a.scales for a in j.axes[3:]] for j in spec.joints])[:, :, None]
    stretching = np.array([outer for outer, _ in spec.scaled_by])
    scaling &= stretching[:, None, None] >= 0  # ground has no scale
    levels, order = _levels(spec)
    return Structure(
        couplers=tuple(
            (
                _curves(group, number, index),
                index([spec.coupler_scale[i][0] + 1 for _, i, _ in group]),
                number([spec.coupler_scale[i][1] for _, i, _ in group])[:, :, None],
                number([not any(spec.coupler_scale[i][1]) for _, i, _ in group])[:, None],
            )
            for group in _coupler_groups(spec)
        ),
        slopes=number(slopes),
        intercepts=number(intercepts)[:, None],
        curves=_curves(bent, number, index),
        shapes=shapes_of(spec, number, index),
        outer=number([outer[0] for outer, _ in frames])[..., None],
        inner=number([inner[0].T for _, inner in frames])[..., None],
        rotation=number([_rotation_products(j) for j in spec.joints]),
        directions=number([f[0][0] @ d.T for f, d in zip(frames, moves, strict=True)]),
        stretch_bodies=index(stretching) + 1,
        stretch=number(np.abs(moves) * scaling),
        rigid=number(~scaling),
        parent_origin=number([outer[1] for outer, _ in frames]),
        child_origin=number([inner[1] for _, inner in frames]),
        parents=index(spec.parents) + 1,
        levels=tuple((index(bodies), index(above)) for bodies, above in levels),
        order=index(order),
        point_bodies=index([body + 1 for body, _ in points]),
        point_origin=number([origin for _, origin in points]),
    )


Bent = tuple[tuple[int, ...], int, Curve | Formula]
"""Source coordinates, target row, function."""


def _split_axes(spec: SkeletonSpec) -> tuple[Array, Array, list[Bent]]:
    """Sorts all 6b axes into straight lines (slopes, intercepts) and bent curves."""
    axes: list[Axis] = [axis for joint in spec.joints for axis in joint.axes]
    slopes, intercepts = np.zeros((len(axes), len(spec.coordinates))), np.zeros(len(axes))
    bent: list[Bent] = []
    for row, axis in enumerate(axes):
        if not axis.coordinates:
            intercepts[row] = axis.curve(0.0)
        elif axis.curve.is_linear:
            intercepts[row] = axis.curve(0.0)
            slopes[row, axis.coordinates[0]] = axis.curve(1.0) - axis.curve(0.0)
        else:
            bent.append((axis.coordinates, row, axis.curve))
    return slopes, intercepts, bent


def _coupler_groups(spec: SkeletonSpec) -> list[list[Bent]]:
    """Groups couplers so that no group needs a value that it sets itself."""
    depth: dict[int, int] = {}
    groups: list[list[Bent]] = []
    for i in spec.coupler_order:
        coupler = spec.coordinates[i].coupler
        if coupler is None:
            continue
        depth[i] = max((depth.get(on, -1) for on in coupler.independents), default=-1) + 1
        if depth[i] == len(groups):
            groups.append([])
        groups[depth[i]].append((coupler.independents, i, coupler.curve))
    # Formulas last: the values of a group are those of its curves, then those of its formulas.
    return [sorted(group, key=lambda bent: isinstance(bent[2], Formula)) for group in groups]


def _curves(
    bent: list[Bent], number: Callable[[object], Tensor], index: Callable[[object], Tensor]
) -> Curves:
    """Packs curves of different numbers of pieces and powers into rectangles."""
    formulas = [(index(on), row, f) for on, row, f in bent if isinstance(f, Formula)]
    curved = [(on[0], row, f) for on, row, f in bent if isinstance(f, Curve)]
    pieces = [curve.pieces() for _, _, curve in curved]
    width = max((len(p.breaks) for p in pieces), default=0)
    powers = max((p.coefficients.shape[1] for p in pieces), default=1)
    breaks = np.full((len(curved), width, 1), np.inf)
    origins = np.zeros((len(curved), width + 1))
    coefficients = np.zeros((powers, len(curved), width + 1))
    for i, p in enumerate(pieces):
        breaks[i, : len(p.breaks), 0] = p.breaks
        origins[i, : len(p.origins)] = p.origins
        coefficients[: p.coefficients.shape[1], i, : len(p.origins)] = p.coefficients.T
    return Curves(
        source=index([source for source, _, _ in curved]),
        target=index([row for _, row, _ in (*curved, *formulas)]),
        breaks=number(breaks),
        origins=number(origins.reshape(-1)),
        coefficients=number(coefficients.reshape(powers, -1)),
        first=index(np.arange(len(curved)) * (width + 1))[:, None],
        formulas=tuple((on, formula) for on, _, formula in formulas),
    )


def _rodrigues(direction: Vec3) -> Array:
    """Returns A, B, C (3, 3, 3) of R(angle) = A + cos(angle) B + sin(angle) C about a unit vector."""
    x, y, z = direction
    outer = np.outer(direction, direction)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.stack([outer, np.eye(3) - outer, cross])


def _rotation_products(joint: Joint) -> Array:
    """Returns (9, 27): R_parent_from_body of a joint for each product of (1, cos, sin) of its angles."""
    outer, inner = compose(joint.parent_frames)[0], compose(joint.child_frames)[0]
    one, two, three = (_rodrigues(axis.direction) for axis in joint.axes[:3])
    products: Array = np.einsum("ij,pjk,qkl,rlm,nm->inpqr", outer, one, two, three, inner)
    return products.reshape(9, 27)


def _levels(spec: SkeletonSpec) -> tuple[list[tuple[list[int], list[int]]], list[int]]:
    """Groups bodies by depth; also says where each body lies when the levels are laid end to end."""
    depth: list[int] = []
    for parent in spec.parents:
        depth.append(0 if parent < 0 else depth[parent] + 1)
    levels: list[tuple[list[int], list[int]]] = []
    above: dict[int, int] = {-1: 0}
    laid: list[int] = []
    for level in range(max(depth, default=-1) + 1):
        bodies = [i for i, d in enumerate(depth) if d == level]
        levels.append((bodies, [above[spec.parents[i]] for i in bodies]))
        above = {body: place for place, body in enumerate(bodies)}
        laid += bodies
    return levels, list(np.argsort(laid))


def _point_constants(spec: SkeletonSpec) -> list[tuple[int, Array]]:
    """Returns body and origin-by-scale (3, 3) of the joint centres, then of the markers."""
    centres = [
        (spec.parents[i], compose(joint.parent_frames)[1])
        if joint.reverse
        else (i, compose(joint.child_frames)[1])
        for i, joint in enumerate(spec.joints)
    ]
    index = {name: i for i, name in enumerate(spec.body_names)}
    return centres + [
        (index.get(m.body, -1), compose((*m.frames, Offset(translation=m.location)))[1])
        for m in spec.markers
    ]
