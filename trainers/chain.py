"""Poses the bodies from the arguments of the joints' axes, and takes gradients back, a whole batch at once.

Dims: n = batch, always last, and vectors' components first, so that products are passes over long runs; b = body,
t = turning body, s = slide, v = vector, p = point (joint centres, then markers), e = argument (trainers/constants.py
says what these are). Units m and rad; ground frame unless named.

Backward does not retrace the chain. The gradient at a point is a force on it. What a joint feels is the sum over all
that it carries, and one product with the 0/1 matrix `carries` makes all sums. The gradient of a turn is the torque
about the joint's centre along its axis, that of a slide the force along it: virtual work, as in Featherstone, Rigid
Body Dynamics Algorithms (2008), chapter 2.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainers.constants import Couplers, Lines, Shaped, Slides, Structure


class Angles(NamedTuple):
    """Products of (1, cos, sin) of the turns' angles."""

    one: Tensor
    """(t, 3, n): of the first."""
    both: Tensor
    """(t, 9, n): of the first and the second."""
    third: Tensor
    """(t, 3, n): of the third."""


class Posed(NamedTuple):
    """Where everything is, and what the way back needs."""

    T_ground_from_body: Tensor
    """(4, 4, 1 + b, n): ground's own, then the bodies'; columns first."""
    turned: Tensor
    """(3, 3, v, n): R_ground_from_body of every vector, columns first."""
    points: Tensor
    """(3, p, n)."""
    angles: Angles
    slid: Tensor
    """(s, n): the slides' values, unscaled."""


def pose(
    s: Structure,
    arguments: Tensor,
    scales: Tensor | None,
    shaped_R: Tensor | None,
    shaped_at: Tensor | None,
) -> Posed:
    """Poses a batch.

    Args:
        s: the skeleton.
        arguments: (e, n).
        scales: (3, 1 + b, n), ground's first; None leaves the model as it is.
        shaped_R: (3, 3, h, n), columns first: R_parent_from_body of the h joints with a shape; None for none.
        shaped_at: (3, h, n): where in the parent, seen from the joint's place in it, their centres are.
    """
    bodies, count = s.carries.shape[1], len(s.base)
    angles = _angles(s, line_values(s.turns, arguments))
    local = _local(s, angles)
    if shaped_R is not None:
        rows = _rows(shaped_R.transpose(0, 1))
        local = local.index_copy(2, s.shaped.place, _composed(s.shaped.fixed, rows))
    R = _chained(s, local)
    turned = R.index_select(2, s.vectors.body)
    slid = line_values(s.slides.lines, arguments)
    vectors = _vectors(s, slid, scales)
    if shaped_at is not None:
        vectors.index_add_(1, s.shaped.joint, shaped_at)
    ends = _product(turned, vectors)
    steps = ends[:, :bodies]
    if len(s.inner):
        steps = steps.index_add(1, s.inner, ends[:, count:], alpha=-1)
    T = R.new_empty(4, 4, *R.shape[2:])
    T[:3, :3] = R
    T[3, :3] = s.carries @ steps
    T[:3, 3] = 0.0
    T[3, 3] = 1.0
    points = ends[:, :count] + T[3, :3].index_select(1, s.base)
    return Posed(T, turned, points, angles, slid)


def line_values(lines: Lines, arguments: Tensor) -> Tensor:
    """Returns axis values (r, n) from arguments (e, n)."""
    return torch.addcmul(lines.intercept, arguments.index_select(0, lines.source), lines.slope)


def _product(R: Tensor, vectors: Tensor) -> Tensor:
    """Returns R (3, 3, v, n), columns first, times vectors (3, v, n)."""
    result = R[0] * vectors[0]
    return result.addcmul_(R[1], vectors[1]).addcmul_(R[2], vectors[2])


def _transpose_product(R: Tensor, vectors: Tensor) -> Tensor:
    """Returns the transpose of R (3, 3, v, n), columns first, times vectors (3, v, n)."""
    result = R[:, 0] * vectors[0]
    return result.addcmul_(R[:, 1], vectors[1]).addcmul_(R[:, 2], vectors[2])


def _angles(s: Structure, angles: Tensor) -> Angles:
    parts = torch.stack([torch.ones_like(angles), angles.cos(), angles.sin()])
    one, two, three = parts.view(3, 3, len(s.turning), angles.shape[1]).unbind(1)
    both = (one[:, None] * two).flatten(0, 1)
    return Angles(one.transpose(0, 1), both.transpose(0, 1), three.transpose(0, 1))


def _local(s: Structure, angles: Angles) -> Tensor:
    """Returns R_anchor_from_body of the turning bodies (3, 3, t, n), columns first."""
    shape = (len(s.turning), 3, 3, angles.both.shape[2])
    first_two = (s.first_two @ angles.both).view(shape).permute(2, 1, 0, 3)
    third = (s.third @ angles.third).view(shape).permute(1, 2, 0, 3)
    return _composed(first_two, _rows(third))


def _chained(s: Structure, local: Tensor) -> Tensor:
    """Multiplies rotations (3, 3, t, n) down the tree to R_ground_from_body (3, 3, 1 + b, n), ground's own first.

    One product per two levels: each body of even depth is first joined to its anchor, all at once; the bodies of odd
    depth follow at the end, all at once, and then the still ones.
    """
    ground = torch.eye(3, dtype=local.dtype, device=local.device)[:, :, None, None]
    levels = [ground.expand(3, 3, 1, local.shape[3])]
    even, odd = (
        _rows(local.transpose(0, 1)[:, :, : len(s.even_anchor)]),
        local[:, :, len(s.even_anchor) :],
    )
    if len(s.even_anchor):
        joined = _composed(local.index_select(2, s.even_anchor), even)
        widths = [len(places) for places in s.levels]
        steps = (torch.split(rows, widths, 2) for rows in _rows(joined.transpose(0, 1)))
        for places, rows in zip(s.levels, zip(*steps, strict=True), strict=True):
            levels.append(_composed(levels[-1].index_select(2, places), rows))
    R = torch.cat(levels, dim=2)
    last = _composed(R.index_select(2, s.odd_anchor), _rows(odd.transpose(0, 1)))
    R = torch.cat([R, last], dim=2).index_select(2, s.anchor)
    if len(s.still):
        still = _composed(R.index_select(2, s.still), _rows(s.still_rotation))
        R.index_copy_(2, s.still, still)
    return R


def _rows(B: Tensor) -> tuple[Tensor, ...]:
    """Lays the rows of B (3, 3, w, n) across those of another matrix: 3 of (3, 1, w, n)."""
    return B[:, :, None].unbind(0)


def _composed(A: Tensor, rows: Sequence[Tensor]) -> Tensor:
    """Returns A · B (3, 3, w, n), columns first as in A, from the rows of B."""
    a, b, c = A.unbind(0)
    return (a * rows[0]).addcmul_(b, rows[1]).addcmul_(c, rows[2])


def _vectors(s: Structure, slid: Tensor, scales: Tensor | None) -> Tensor:
    """Returns all vectors (3, v, n), scaled, the slides on them."""
    if scales is None:
        vectors = s.vectors.unscaled.expand(-1, -1, slid.shape[1]).clone()
    else:
        vectors = _scaled(s.vectors.by_scale, scales.index_select(1, s.vectors.body))
        slid = slid * stretches(s.slides, scales)
    return vectors.index_add_(1, s.slides.joint, s.slides.direction * slid)


def _scaled(by_scale: Tensor, scales: Tensor) -> Tensor:
    """Multiplies (3, v, n) by diagonal (3, v, 1) or full (3, 3, v, 1) matrices."""
    return by_scale * scales if by_scale.ndim == 3 else _product(by_scale, scales)


def stretches(of: Slides | Shaped | Couplers, scales: Tensor) -> Tensor:
    """Returns what scaling multiplies values by (s, n)."""
    return (of.stretch * scales.index_select(1, of.scale)).sum(0) + of.rigid


class Chain(torch.autograd.Function):
    """`pose` with the way back: returns transforms (4, 4, b, n), columns first, and the first b and the other points.

    Differentiable once, in arguments and scales.
    """

    @staticmethod
    def forward(
        ctx: Any,
        s: Structure,
        arguments: Tensor,
        scales: Tensor | None,
        shaped_R: Tensor | None,
        shaped_at: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        posed = pose(s, arguments, scales, shaped_R, shaped_at)
        ctx.structure = s
        ctx.arguments = len(arguments)
        ctx.set_materialize_grads(False)
        T, turned, points, angles, slid = posed
        ctx.save_for_backward(T, turned, points, slid, scales, shaped_R, *angles)
        bodies = s.carries.shape[1]
        return T[:, :, 1:], points[:, :bodies], points[:, bodies:]

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, on_transforms: Tensor | None, on_first: Tensor | None, on_others: Tensor | None
    ) -> tuple[None, Tensor, Tensor | None, Tensor | None, Tensor | None]:
        s: Structure = ctx.structure
        T, turned, points, slid, scales, shaped_R, *angles = ctx.saved_tensors
        posed = Posed(T, turned, points, Angles(*angles), slid)
        on_points = _joined(points, on_first, on_others, s.carries.shape[1])
        arms = (
            points - points[:, :1]
        )  # from the first joint's centre, to keep digits far from ground's origin
        carried = _carried(s, posed, arms, on_transforms, on_points)
        on_vectors = _on_vectors(s, posed, carried[:3], on_points)
        on_slides = (s.slides.direction * on_vectors.index_select(1, s.slides.joint)).sum(0)
        on_scales = None
        if scales is not None and ctx.needs_input_grad[2]:
            on_scales = _on_scales(s, scales, on_vectors, on_slides * posed.slid)
        if scales is not None:
            on_slides = on_slides * stretches(s.slides, scales)
        on_arguments = on_slides.new_zeros(ctx.arguments, on_slides.shape[1])
        torques = _torques(posed, arms[:, : s.carries.shape[1]], carried)
        on_turns = _on_turns(s, posed, torques)
        on_arguments.index_add_(0, s.turns.source, on_turns.mul_(s.turns.slope))
        on_arguments.index_add_(0, s.slides.lines.source, on_slides * s.slides.lines.slope)
        if shaped_R is None:
            return None, on_arguments, on_scales, None, None
        joints = s.shaped.joint
        on_shaped_R = _on_rotation(shaped_R, torques.index_select(1, joints))
        return None, on_arguments, on_scales, on_shaped_R, on_vectors.index_select(1, joints)


def _on_rotation(R: Tensor, torques: Tensor) -> Tensor:
    """Returns a gradient of rotations (3, 3, h, n), columns first, that is felt as torques (3, h, n) when they turn."""
    return torch.stack([0.5 * _cross(torques, column) for column in R])


def _joined(points: Tensor, first: Tensor | None, others: Tensor | None, bodies: int) -> Tensor:
    """Returns the gradients of all points (3, p, n)."""
    first = torch.zeros_like(points[:, :bodies]) if first is None else first
    others = torch.zeros_like(points[:, bodies:]) if others is None else others
    return torch.cat([first, others], dim=1)


def _carried(
    s: Structure, posed: Posed, arms: Tensor, on_transforms: Tensor | None, on_points: Tensor
) -> Tensor:
    """Returns force, and torque about the first joint's centre, (6, b, n) on all that each joint carries."""
    wrenches = torch.cat([on_points, _cross(arms, on_points)])
    bodies = wrenches.new_zeros(6, len(s.anchor), wrenches.shape[2])
    bodies.index_add_(1, s.owner, wrenches)
    if on_transforms is not None:
        origins = posed.T_ground_from_body[3, :3, 1:] - posed.points[:, :1]
        bodies[:3, 1:] += on_transforms[3, :3]
        bodies[3:, 1:] += _cross(origins, on_transforms[3, :3])
        for own, on in zip(
            posed.T_ground_from_body[:3, :3, 1:], on_transforms[:3, :3], strict=True
        ):
            bodies[3:, 1:] += _cross(own, on)
    return s.carries.T @ bodies


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """Returns a x b, both (3, …)."""
    (a1, a2, a3), (b1, b2, b3) = a, b
    result = torch.stack([a2 * b3, a3 * b1, a1 * b2])
    for k, (x, y) in enumerate(((a3, b2), (a1, b3), (a2, b1))):
        result[k].addcmul_(x, y, value=-1)
    return result


def _on_vectors(s: Structure, posed: Posed, forces: Tensor, on_points: Tensor) -> Tensor:
    """Returns the gradients of all vectors (3, v, n), each in its own body."""
    bodies = s.carries.shape[1]
    ends = [forces, on_points[:, bodies:]]
    if len(s.inner):  # a joint's own centre does not feel where the child's origin is
        ends.append((on_points[:, :bodies] - forces).index_select(1, s.inner))
    return _transpose_product(posed.turned, torch.cat(ends, dim=1))


def _torques(posed: Posed, arms: Tensor, carried: Tensor) -> Tensor:
    """Returns the torques about the joints' own centres (3, b, n), in the parent bodies."""
    torques = carried[3:] - _cross(arms, carried[:3])
    return _transpose_product(posed.turned[:, :, : arms.shape[1]], torques)


def _on_turns(s: Structure, posed: Posed, torques: Tensor) -> Tensor:
    """Returns the gradients of the turns' angles (3t, n)."""
    local = torques.index_select(1, s.turning)
    return (axes(s, posed.angles) * local.transpose(0, 1)).sum(2).flatten(0, 1)


def axes(s: Structure, angles: Angles) -> Tensor:
    """Returns the first, second, third turning axes (3, t, 3, n) in the parent bodies."""
    first = s.axes[0].expand(-1, -1, angles.one.shape[2])
    return torch.stack([first, s.axes[1] @ angles.one, s.axes[2] @ angles.both])


def _on_scales(s: Structure, scales: Tensor, on_vectors: Tensor, on_stretches: Tensor) -> Tensor:
    """Returns the gradients of the scales (3, 1 + b, n)."""
    by_scale = s.vectors.by_scale
    turned = by_scale if by_scale.ndim == 3 else by_scale.transpose(0, 1)
    result = torch.zeros_like(scales).index_add_(1, s.vectors.body, _scaled(turned, on_vectors))
    return result.index_add_(1, s.slides.scale, s.slides.stretch * on_stretches)
