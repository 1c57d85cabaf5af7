"""Forward kinematics of a SkeletonSpec in torch: all joints at once, differentiable in q and in the body scales.

Dims: n = batch, c = coordinate, b = body (= joint), p = point (joint centres, then markers), f = curve, k = break.
Units m and rad; ground frame. Inside, the batch is the last dim, so that every product of small matrices is one
elementwise pass over contiguous numbers. The model is that of schemas/skeleton.py:

    T_P_from_B = T_P_from_F · [R1 R2 R3 | Σ axis_i · value_i] · inverse(T_B_from_M)

The constants, and why one matrix product poses all joints, are in trainers/structure.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from schemas.formulas import evaluate
from schemas.skeleton import SkeletonSpec
from trainers.shapes import local_transforms, product
from trainers.structure import Curves, Structure, structure_of


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
        values = values * (structure.stretch @ scales[structure.stretch_bodies] + structure.rigid)
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
    others = [evaluate(formula, q[on], torch)[None] for on, formula in curves.formulas]
    return torch.cat([value, *others]) if others else value


def _axis_values(structure: Structure, q: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the rotations (b, 3, n) and translations (b, 3, n) along all axes."""
    q = q.T
    for coupler, parents, stretch, rigid in structure.couplers:
        factor = (stretch * scales[parents]).sum(1) + rigid
        q = q.index_copy(0, coupler.target, _evaluate(coupler, q) * factor)
    values = torch.addmm(structure.intercepts, structure.slopes, q)
    if len(structure.curves.target):
        values = values.index_copy(0, structure.curves.target, _evaluate(structure.curves, q))
    values = values.view(len(structure.parents), 6, q.shape[1])
    return values[:, :3], values[:, 3:]


def _local_transforms(s: Structure, angles: Tensor, values: Tensor, scales: Tensor) -> Tensor:
    """Returns T_parent_from_body (b, 3, 4, n)."""
    parts = torch.stack([torch.ones_like(angles), angles.cos(), angles.sin()], dim=2)
    one, two, three = parts.unbind(1)
    products = one[:, :, None, None] * two[:, None, :, None] * three[:, None, None, :]
    rotation = (s.rotation @ products.flatten(1, 3)).view(len(s.parents), 3, 3, angles.shape[2])
    parent_scales = scales[s.parents]
    moved = s.directions @ values
    for shapes in s.shapes:
        joints = shapes.joints
        six = torch.cat([angles[joints], values[joints]], dim=1)
        turned, at = local_transforms(shapes, six, scales[shapes.parents], scales[shapes.children])
        turned = product(product(s.outer[joints], turned), s.inner[joints])
        rotation = rotation.index_copy(0, joints, turned)
        moved = moved.index_copy(0, joints, (s.outer[joints] * at[:, None]).sum(2))
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
    row = torch.eye(4, dtype=transforms.dtype, device=transforms.device)[3:, :, None]
    full = torch.cat([transforms, row.expand(len(transforms), 1, 4, transforms.shape[3])], dim=1)
    return full.permute(3, 0, 1, 2).contiguous()


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
