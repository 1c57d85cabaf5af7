"""Forward kinematics of a SkeletonSpec in torch: all joints at once, differentiable in q and in the body scales.

Dims: n = batch, c = coordinate, b = body (= joint), m = marker, e = argument, f = curve, k = break. Units m and rad;
ground frame. The model is that of schemas/skeleton.py:

    T_P_from_B = T_P_from_F · [R1 R2 R3 | Σ axis_i · value_i] · inverse(T_B_from_M)

The constants are in trainers/structure.py, the products down the tree and the gradients back up in trainers/chain.py.
Here coordinates become the arguments of the axes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from schemas.formulas import evaluate
from schemas.skeleton import SkeletonSpec
from trainers.chain import Chain, line_values
from trainers.shapes import local_transforms, product
from trainers.structure import Curves, Structure, structure_of


class Kinematics(NamedTuple):
    """Where everything is, ground frame, m. In memory the batch lies last."""

    T_ground_from_body: Tensor
    """(n, b, 4, 4)."""
    joint_centres: Tensor
    """(n, b, 3): origin of each joint's child frame."""
    markers: Tensor
    """(n, m, 3)."""


def forward_kinematics(structure: Structure, q: Tensor, scale: Tensor | None = None) -> Kinematics:
    """Poses a batch; differentiable once.

    Args:
        structure: from `structure_of`, of q's dtype and device.
        q: (n, c) in `spec.coordinate_names` order, rad and m; entries of coupled coordinates are ignored.
        scale: (n, b, 3) in `spec.body_names` order, as OpenSim's `Model.scale` takes them; None leaves the model
            as it is (which ones do too, unless a joint translates along an oblique axis: OpenSim multiplies
            such a translation by |direction| · scale, which is not 1).
    """
    scales = None if scale is None else _scales(scale)
    given = arguments(structure, q.T.contiguous(), scales)
    shaped = _shaped(structure, given, scales)
    T, points = Chain.apply(structure, given, scales, *shaped)  # type: ignore[no-untyped-call]
    bodies = structure.carries.shape[1]
    centres, markers = points[:, :bodies], points[:, bodies : bodies + structure.markers]
    if len(structure.centre):
        centres = points.index_select(1, structure.centre)
    return Kinematics(T.permute(3, 2, 1, 0), centres.permute(2, 1, 0), markers.permute(2, 1, 0))


def _scales(scale: Tensor) -> Tensor:
    """Returns (3, 1 + b, n), ground's 1 first."""
    return nn.functional.pad(scale.permute(2, 1, 0), (0, 0, 1, 0), value=1.0)


def arguments(structure: Structure, q: Tensor, scales: Tensor | None) -> Tensor:
    """Returns coupled coordinates and the bent curves' values (e, n) from q (c, n)."""
    for coupler in structure.couplers:
        value = values(coupler.curves, q)
        if scales is not None:
            factor = (coupler.weights * scales.index_select(1, coupler.scale)).sum(
                0
            ) + coupler.rigid
            value = value * factor
        q = q.index_copy(0, coupler.target, value)
    curves = structure.curves
    return torch.cat([q, values(curves, q)]) if len(curves.source) or curves.formulas else q


def values(curves: Curves, q: Tensor) -> Tensor:
    """Returns the curves' values (f, n) at q (c, n)."""
    x = q.index_select(0, curves.source)
    piece = torch.searchsorted(curves.breaks, x.detach(), right=True) + curves.first
    at = x - curves.origins[piece]
    coefficients = curves.coefficients[:, piece]
    value = coefficients[-1]
    for power in reversed(range(len(coefficients) - 1)):
        value = torch.addcmul(coefficients[power], value, at)
    formulas = [evaluate(formula, q[on], torch)[None] for on, formula in curves.formulas]
    return torch.cat([value, *formulas])


def _shaped(
    structure: Structure, arguments: Tensor, scales: Tensor | None
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Returns R_parent_from_body (3, 3, h, n), columns first, and the centres (3, h, n) of the joints with a shape,
    these in the parent, seen from the joint's place in it; None where there are none."""
    shaped = structure.shaped
    if not shaped.kinds:
        return None, None
    six = line_values(shaped.lines, arguments)
    if scales is None:
        scales = arguments.new_ones(3, structure.carries.shape[0], 1)
    else:
        six = six * ((shaped.stretch * scales.index_select(1, shaped.scale)).sum(0) + shaped.rigid)
    six, scales = six.view(len(shaped.joint), 6, arguments.shape[1]), scales.transpose(0, 1)
    split = torch.split(six, [len(kind.joints) for kind in shaped.kinds])
    made = [
        local_transforms(kind, own, scales[kind.parents], scales[kind.children])
        for kind, own in zip(shaped.kinds, split, strict=True)
    ]
    rotation, origin = (torch.cat(part) for part in zip(*made, strict=True))
    R_parent_from_body = product(product(shaped.outer, rotation), shaped.inner)
    centres = (shaped.outer * origin[:, None]).sum(2)
    return R_parent_from_body.permute(2, 1, 0, 3), centres.transpose(0, 1)


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
