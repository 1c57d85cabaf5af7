"""Forward kinematics of a SkeletonSpec in torch: all joints at once, differentiable in q and in the body scales.

Dims: n = batch, c = coordinate, b = body (= joint), p = point (joint centres, then markers), f = curve, k = break.
Units m and rad; ground frame. Inside, the batch is the last dim, so that every product of small matrices is one
elementwise pass over contiguous numbers. The model is that of schemas/skeleton.py:

    T_P_from_B = T_P_from_F · [R1 R2 R3 | Σ axis_i · value_i] · inverse(T_B_from_M)

Each R_i = A + cos·B + sin·C with constant matrices (Rodrigues), so R_P_from_F R1 R2 R3 R_B_from_M^T is one constant
27 x 9 matrix per joint times the 27 products of (1, cos, sin) of its three angles: one batched product for all joints.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.curves import Curve
from schemas.skeleton import Axis, Joint, Offset, SkeletonSpec, Vec3, compose

Array = NDArray[np.float64]


class Curves(NamedTuple):
    """Piecewise polynomials of single coordinates; see schemas/curves.py for the form."""

    source: Tensor
    """(f) coordinate."""
    target: Tensor
    """(f) row that the values replace."""
    breaks: Tensor
    """(f, k, 1), filled up with +inf."""
    origins: Tensor
    """(f · (k + 1))."""
    coefficients: Tensor
    """(d + 1, f · (k + 1)), lowest power first."""
    first: Tensor
    """(f, 1) place of each curve's first piece."""


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
    rotation: Tensor
    """(b, 9, 27)."""
    directions: Tensor
    """(b, 3, 3): translation axes in the parent body, columns."""
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


class Kinematics(NamedTuple):
    """Where everything is, ground frame, m."""

    T_ground_from_body: Tensor
    """(n, b, 4, 4)."""
    joint_centres: Tensor
    """(n, b, 3): origin of each joint's child frame."""
    markers: Tensor
    """(n, m, 3)."""


def forward_kinematics(structure: Structure, q: Tensor, scale: Tensor | None = None) -> Kinematics:
    """Poses a batch.

    Args:
        structure: from `structure_of`, of q's dtype and device.
        q: (n, c) in `spec.coordinate_names` order, rad and m; entries of coupled coordinates are ignored.
        scale: (n, b, 3) in `spec.body_names` order, as OpenSim's `Model.scale` takes them; None leaves the model
            as it is (which ones do too, unless a joint translates along an oblique axis: OpenSim multiplies
            such a translation by |direction| · scale, which is not 1).
    """
    if scale is None:
        scales = q.new_ones(()).expand(len(structure.parents) + 1, 3, 1)
        angles, values = _axis_values(structure, q, scales)
    else:
        scales = nn.functional.pad(scale.permute(1, 2, 0), (0, 0, 0, 0, 1, 0), value=1.0)
        angles, values = _axis_values(structure, q, scales)
        values = values * (structure.stretch @ scales[structure.parents] + structure.rigid)
    local = _local_transforms(structure, angles, values, scales)
    ground = _chain(structure, local)
    points = _points(structure, ground, scales)
    bodies = len(structure.parents)
    return Kinematics(
        _homogeneous(ground[1:]), points[:, :bodies].contiguous(), points[:, bodies:].contiguous()
    )


def _evaluate(curves: Curves, q: Tensor) -> Tensor:
    """Returns the curves' values (f, n) at q (c, n)."""
    x = q[curves.source]
    piece = (x[:, None] >= curves.breaks).sum(1) + curves.first
    at = x - curves.origins[piece]
    value = curves.coefficients[-1][piece]
    for coefficients in reversed(curves.coefficients[:-1].unbind(0)):
        value = torch.addcmul(coefficients[piece], value, at)
    return value


def _axis_values(structure: Structure, q: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the rotations (b, 3, n) and translations (b, 3, n) along all axes."""
    q = q.T
    for coupler, parents, stretch, rigid in structure.couplers:
        factor = (stretch * scales[parents]).sum(1) + rigid
        q = q.index_copy(0, coupler.target, _evaluate(coupler, q) * factor)
    values = torch.addmm(structure.intercepts, structure.slopes, q)
    if len(structure.curves.source):
        values = values.index_copy(0, structure.curves.target, _evaluate(structure.curves, q))
    angles, translations = values.view(-1, 6, q.shape[1]).split(3, dim=1)
    return angles, translations


def _local_transforms(s: Structure, angles: Tensor, values: Tensor, scales: Tensor) -> Tensor:
    """Returns T_parent_from_body (b, 3, 4, n)."""
    parts = torch.stack([torch.ones_like(angles), angles.cos(), angles.sin()], dim=2)
    one, two, three = parts.unbind(1)
    products = one[:, :, None, None] * two[:, None, :, None] * three[:, None, None, :]
    rotation = (s.rotation @ products.flatten(1, 3)).unflatten(1, (3, 3))
    parent_scales = scales[s.parents]
    moved = s.directions @ values
    outer, inner = s.parent_origin @ parent_scales, s.child_origin @ scales[1:]
    origin = outer + moved - (rotation * inner[:, None]).sum(2)
    return torch.cat([rotation, origin[:, :, None]], dim=2)


def _chain(structure: Structure, local: Tensor) -> Tensor:
    """Returns T_ground_from_body (1 + b, 3, 4, n), ground first: one product per tree level."""
    ground = torch.eye(3, 4, dtype=local.dtype, device=local.device)[None, :, :, None]
    ground = ground.expand(1, 3, 4, local.shape[3])
    levels = [ground]
    for bodies, above in structure.levels:
        own, base = local[bodies], levels[-1][above]
        turned = base[:, :, 0:1] * own[:, 0:1]
        turned = torch.addcmul(turned, base[:, :, 1:2], own[:, 1:2])
        turned = torch.addcmul(turned, base[:, :, 2:3], own[:, 2:3])
        levels.append(torch.cat([turned[:, :, :3], turned[:, :, 3:] + base[:, :, 3:]], dim=2))
    return torch.cat([ground, torch.cat(levels[1:])[structure.order]])


def _points(structure: Structure, ground: Tensor, scales: Tensor) -> Tensor:
    """Returns joint centres, then markers (n, p, 3)."""
    inner = structure.point_origin @ scales[structure.point_bodies]
    T = ground[structure.point_bodies]
    points = (T[:, :, :3] * inner[:, None]).sum(2) + T[:, :, 3]
    return points.permute(2, 0, 1)


def _homogeneous(transforms: Tensor) -> Tensor:
    """Adds the last row to (b, 3, 4, n) and puts the batch first."""
    row = transforms.new_tensor([0.0, 0.0, 0.0, 1.0])[None, None, :, None]
    full = torch.cat([transforms, row.expand(len(transforms), 1, 4, transforms.shape[3])], dim=1)
    return full.permute(3, 0, 1, 2).contiguous()


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
        rotation=number([_rotation_products(j) for j in spec.joints]),
        directions=number([f[0][0] @ d.T for f, d in zip(frames, moves, strict=True)]),
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


Bent = tuple[int, int, Curve]
"""Source coordinate, target row, curve."""


def _split_axes(spec: SkeletonSpec) -> tuple[Array, Array, list[Bent]]:
    """Sorts all 6b axes into straight lines (slopes, intercepts) and bent curves."""
    axes: list[Axis] = [axis for joint in spec.joints for axis in joint.axes]
    slopes, intercepts = np.zeros((len(axes), len(spec.coordinates))), np.zeros(len(axes))
    bent: list[Bent] = []
    for row, axis in enumerate(axes):
        if axis.coordinate is None:
            intercepts[row] = axis.curve(0.0)
        elif axis.curve.is_linear:
            intercepts[row] = axis.curve(0.0)
            slopes[row, axis.coordinate] = axis.curve(1.0) - axis.curve(0.0)
        else:
            bent.append((axis.coordinate, row, axis.curve))
    return slopes, intercepts, bent


def _coupler_groups(spec: SkeletonSpec) -> list[list[Bent]]:
    """Groups couplers so that no group needs a value that it sets itself."""
    depth: dict[int, int] = {}
    groups: list[list[Bent]] = []
    for i in spec.coupler_order:
        coupler = spec.coordinates[i].coupler
        if coupler is None:
            continue
        depth[i] = depth.get(coupler.independent, -1) + 1
        if depth[i] == len(groups):
            groups.append([])
        groups[depth[i]].append((coupler.independent, i, coupler.curve))
    return groups


def _curves(
    bent: list[Bent], number: Callable[[object], Tensor], index: Callable[[object], Tensor]
) -> Curves:
    """Packs curves of different numbers of pieces and powers into rectangles."""
    pieces = [curve.pieces() for _, _, curve in bent]
    width = max((len(p.breaks) for p in pieces), default=0)
    powers = max((p.coefficients.shape[1] for p in pieces), default=1)
    breaks = np.full((len(bent), width, 1), np.inf)
    origins = np.zeros((len(bent), width + 1))
    coefficients = np.zeros((powers, len(bent), width + 1))
    for i, p in enumerate(pieces):
        breaks[i, : len(p.breaks), 0] = p.breaks
        origins[i, : len(p.origins)] = p.origins
        coefficients[: p.coefficients.shape[1], i, : len(p.origins)] = p.coefficients.T
    return Curves(
        source=index([source for source, _, _ in bent]),
        target=index([target for _, target, _ in bent]),
        breaks=number(breaks),
        origins=number(origins.reshape(-1)),
        coefficients=number(coefficients.reshape(powers, -1)),
        first=index(np.arange(len(bent)) * (width + 1))[:, None],
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
    all_products = np.einsum("ij,pjk,qkl,rlm,nm->inpqr", outer, one, two, three, inner)
    return all_products.reshape(9, 27)


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
    centres = [(i, compose(joint.child_frames)[1]) for i, joint in enumerate(spec.joints)]
    index = {name: i for i, name in enumerate(spec.body_names)}
    return centres + [
        (index.get(m.body, -1), compose((*m.frames, Offset(translation=m.location)))[1])
        for m in spec.markers
    ]


class SkeletalLayer(nn.Module):
    """`forward_kinematics` as a module without parameters.

    Its constants follow `.to()` and `.double()` and are rebuilt exactly in the new dtype; none of them is in the
    state dict, as a checkpoint carries the spec itself and compares fingerprints.
    """

    def __init__(self, spec: SkeletonSpec) -> None:
        super().__init__()
        self.spec = spec
        self.probe: Tensor
        self.register_buffer("probe", torch.zeros(()), persistent=False)
        self.structure = structure_of(spec, self.probe.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SkeletalLayer":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.structure = structure_of(self.spec, self.probe.dtype, self.probe.device)
        return self

    def forward(self, q: Tensor, scale: Tensor | None = None) -> Kinematics:
        """Poses q (n, c), with body scales (n, b, 3) if given; see `forward_kinematics`."""
        return forward_kinematics(self.structure, q, scale)
