"""Forward kinematics of a SkeletonSpec in torch: all joints at once, differentiable in q and in the body scales.

Dims: n = batch, c = coordinate, b = body (= joint), m = marker, e = argument, f = curve, k = break. Units m and rad;
ground frame. The model is that of schemas/skeleton.py:

    T_P_from_B = T_P_from_F · [R1 R2 R3 | Σ axis_i · value_i] · inverse(T_B_from_M)

The constants are in trainers/constants.py, the products down the tree and the gradients back up in trainers/chain.py.
Here coordinates become the arguments of the axes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from schemas.errors import InputError
from schemas.formulas import evaluate
from schemas.skeleton import SkeletonSpec
from trainers.chain import Chain, line_values, stretches
from trainers.constants import Couplers, Curves, Structure
from trainers.shapes import local_transforms, product
from trainers.structure import structure_of


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
    scales = None if scale is None else scales_of(scale)
    given = arguments(structure, q.T.contiguous(), scales)
    shaped = shaped_inputs(structure, given, scales)
    T, *points = Chain.apply(structure, given, scales, *shaped)  # type: ignore[no-untyped-call]
    centres, markers = sort_points(structure, *points)
    return Kinematics(T.permute(3, 2, 1, 0), centres.permute(2, 1, 0), markers.permute(2, 1, 0))


def sort_points(structure: Structure, first: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Makes joint centres (3, b, n) and markers (3, m, n) of the first b points and the others."""
    if not len(structure.centre):
        return first, others
    centres = torch.cat([first, others], dim=1).index_select(1, structure.centre)
    return centres, others[:, : structure.markers]


def shaped_inputs(
    structure: Structure, arguments: Tensor, scales: Tensor | None
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Returns what `pose` wants to know of joints with a shape."""
    if not structure.shaped.kinds:
        return None, None
    R, at = shaped_joints(structure, shaped_values(structure, arguments), scales)
    return R.permute(2, 1, 0, 3), at.transpose(0, 1)


def scales_of(scale: Tensor) -> Tensor:
    """Returns (3, 1 + b, n), ground's 1 first."""
    return nn.functional.pad(scale.permute(2, 1, 0), (0, 0, 1, 0), value=1.0)


def arguments(structure: Structure, q: Tensor, scales: Tensor | None) -> Tensor:
    """Returns coupled coordinates and the bent curves' values (e, n) from q (c, n)."""
    q, curves = coupled(structure.couplers, q, scales), structure.curves
    return torch.cat([q, values(curves, q)]) if len(curves.source) or curves.formulas else q


def coupled(couplers: tuple[Couplers, ...], q: Tensor, scales: Tensor | None) -> Tensor:
    """Returns q (c, n) with the coordinates of the couplers overwritten."""
    for coupler in couplers:
        value = values(coupler.curves, q)
        if scales is not None:
            value = value * stretches(coupler, scales)
        q = q.index_copy(0, coupler.target, value)
    return q


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


def shaped_values(structure: Structure, arguments: Tensor) -> Tensor:
    """Returns the six values (h, 6, n) of the joints that are not made of turns and slides, unscaled."""
    shaped = structure.shaped
    return line_values(shaped.lines, arguments).view(len(shaped.joint), 6, arguments.shape[1])


def shaped_joints(
    structure: Structure, six: Tensor, scales: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Returns R_parent_from_body (h, 3, 3, n) of those joints, and where in the parent M's origin is, seen from F's
    (h, 3, n), from their values (h, 6, n)."""
    shaped = structure.shaped
    if scales is None:
        scales = six.new_ones(3, structure.carries.shape[0], 1)
    else:
        six = six * stretches(shaped, scales).view(six.shape)
    scales = scales.transpose(0, 1)
    split = torch.split(six, [len(kind.joints) for kind in shaped.kinds])
    made = [
        local_transforms(kind, own, scales[kind.parents], scales[kind.children])
        for kind, own in zip(shaped.kinds, split, strict=True)
    ]
    rotation, origin = (torch.cat(part) for part in zip(*made, strict=True))
    R_parent_from_body = product(product(shaped.outer, rotation), shaped.inner)
    return R_parent_from_body, (shaped.outer * origin[:, None]).sum(2)


REMEDY = (
    "Give the skeleton's coordinates (n, c) and its bodies' scales (n, b, 3) of as many samples"
)


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
        """Poses q (n, c), with body scales (n, b, 3) if given; see `forward_kinematics`.

        Computes in the layer's own precision, under autocast too.

        Raises:
            InputError: q or scale does not fit the skeleton: on a GPU wrong places would end the process, and
                columns too many would pass for values of curves.
        """
        count, bodies = len(self.spec.coordinates), len(self.spec.joints)
        if q.ndim != 2 or q.shape[1] != count:
            raise InputError(f"q of shape {tuple(q.shape)}", f"is not n x {count}", REMEDY)
        if scale is not None and scale.shape != (len(q), bodies, 3):
            wanted = f"is not {len(q)} x {bodies} x 3"
            raise InputError(f"scale of shape {tuple(scale.shape)}", wanted, REMEDY)
        with torch.autocast(q.device.type, enabled=False):
            scale = None if scale is None else scale.to(self.probe.dtype)
            return forward_kinematics(self.structure, q.to(self.probe.dtype), scale)
