"""How a skeleton's points move with its unknown coordinates, and the normal equations that follow from that.

Dims: n = sample, c = coordinate, u = unknown, e = argument (trainers/structure.py), or pair of a joint and an unknown
that moves it, x = moving axis, y = moving shape, b = body, p = point (joint centres, then markers). Units m and rad;
ground frame. The batch is the last dim inside, as in trainers/chain.py, and the first in what is returned.

An unknown moves everything beyond a joint as one rigid body: by a twist (w, v) that gives a point p the velocity
v + w x p. So the Gauss-Newton matrix of weighted points is the mass matrix of a linkage whose only masses are those
points, and the composite rigid body algorithm (Featherstone, Rigid Body Dynamics Algorithms, 2008, ch. 6) makes it
from ten moments per joint, without ever writing down the (3p, u) Jacobian.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from trainers.chain import axes, pose
from trainers.movers import Movers
from trainers.skeletal import _scales, _shaped, arguments, values
from trainers.structure import Couplers, Curves, Structure


class Motion(NamedTuple):
    """Where the points are, and how the pairs move them."""

    points: Tensor
    """(p, 3, n)."""
    twists: Tensor
    """(e, 6, n): angular velocity, then the velocity of the ground's origin, per unit of the unknown."""


def motion(structure: Structure, movers: Movers, q: Tensor, scale: Tensor | None) -> Motion:
    """Poses q (n, c), rad and m, with body scales (n, b, 3), and differentiates."""
    scales = None if scale is None else _scales(scale)
    (given, *shaped), tangents = _differentiated(structure, movers, q.T.contiguous(), scales)
    posed = pose(structure, given, scales, *(shaped or (None, None)))
    along = tangents[0][movers.passes, movers.arguments]
    local = _axes(structure, axes(structure, posed.angles), scales)
    local = local.index_select(1, movers.rows) * (movers.slopes * along)
    direction = _to_ground(posed.turned, movers.joints, local)
    turning = direction * movers.turning
    sliding = direction - turning
    joints = movers.joints
    if shaped:
        turn, slide = _shape_velocities(movers, shaped[0], tangents[1], tangents[2])
        turning = torch.cat([turning, _to_ground(posed.turned, movers.shape_joints, turn)])
        sliding = torch.cat([sliding, _to_ground(posed.turned, movers.shape_joints, slide)])
        joints = torch.cat([joints, movers.shape_joints])
    every = posed.points.transpose(0, 1)
    moved = torch.linalg.cross(every[joints], turning, dim=1) + sliding
    twists = q.new_zeros(len(movers.pair_unknown), 6, q.shape[0])
    twists = twists.index_add(0, movers.pair, torch.cat([turning, moved], dim=1))
    return Motion(every[movers.points], twists)


def _differentiated(
    structure: Structure, movers: Movers, q: Tensor, scales: Tensor | None
) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Returns the arguments (e, n) and, if any joint has a shape, R and centres as in `pose`; and, the colours first,
    their derivatives."""

    if not _needs_passes(structure):
        given = arguments(structure, q, scales)
        return (given,), [_argument_slopes(structure, given, len(q), scales)[None]]

    def function(q: Tensor) -> tuple[Tensor, ...]:
        given = arguments(structure, q, scales)
        R, at = _shaped(structure, given, scales)
        return (given,) if R is None or at is None else (given, R, at)

    found: list[tuple[Tensor, ...]] = []
    for colour in movers.colours:
        result = torch.func.jvp(function, (q,), (colour[:, None].expand_as(q).contiguous(),))
        found.append(result[1])
    tangents = [torch.stack(parts) for parts in zip(*found, strict=True)]
    return result[0], tangents


def _needs_passes(structure: Structure) -> bool:
    """Says whether anything but polynomials of one coordinate must be differentiated."""
    curves = [structure.curves, *(coupler.curves for coupler in structure.couplers)]
    return bool(structure.shaped.kinds) or any(c.formulas for c in curves)


def _argument_slopes(
    structure: Structure, given: Tensor, coordinates: int, scales: Tensor | None
) -> Tensor:
    """Returns d(argument) / d(the unknown that drives it) (e, n)."""
    slopes = torch.ones_like(given[:coordinates])
    for coupler in structure.couplers:
        own = _derivative(coupler.curves, given) * _factor(coupler, scales)
        slopes = slopes.index_copy(0, coupler.target, own * slopes[coupler.curves.source])
    bent = structure.curves
    return torch.cat([slopes, _derivative(bent, given) * slopes[bent.source]])


def _factor(coupler: Couplers, scales: Tensor | None) -> Tensor:
    """Returns what scaling multiplies couplers by (f, n or 1)."""
    if scales is None:
        return torch.ones_like(coupler.rigid)
    return (coupler.weights * scales.index_select(1, coupler.scale)).sum(0) + coupler.rigid


def _derivative(curves: Curves, q: Tensor) -> Tensor:
    """Returns the slopes of piecewise polynomials (f, n) at q (c, n)."""
    x = q[curves.source]
    piece = torch.searchsorted(curves.breaks, x, right=True) + curves.first
    at, coefficients = x - curves.origins[piece], curves.coefficients[:, piece]
    value = torch.zeros_like(x)
    for power in range(len(coefficients) - 1, 0, -1):
        value = torch.addcmul(power * coefficients[power], value, at)
    return value


def _axes(structure: Structure, turns: Tensor, scales: Tensor | None) -> Tensor:
    """Returns the directions (3, 3t + s, n) of turns and, stretched, slides in the parent bodies."""
    slides = structure.slides
    slid = slides.direction
    if scales is not None:
        stretch = (slides.stretch * scales.index_select(1, slides.scale)).sum(0) + slides.rigid
        slid = slid * stretch
    turns = turns.flatten(0, 1).transpose(0, 1)
    return torch.cat([turns, slid.expand(-1, -1, turns.shape[2])], dim=1)


def _shape_velocities(
    movers: Movers, R: Tensor, R_slope: Tensor, at_slope: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns angular velocities and those of the centres (3, y, n), parent bodies.

    The columns r of R move by w x r, and Σ r x (w x r) = 2 w.
    """
    R = R[:, :, movers.shapes]
    R_slope = R_slope.permute(0, 3, 1, 2, 4)[movers.shape_passes, movers.shapes]
    R_slope = R_slope.permute(1, 2, 0, 3)
    slide = at_slope.transpose(1, 2)[movers.shape_passes, movers.shapes].transpose(0, 1)
    return 0.5 * torch.linalg.cross(R, R_slope, dim=1).sum(0), slide


def _to_ground(turned: Tensor, joints: Tensor, local: Tensor) -> Tensor:
    """Turns vectors (3, x, n) from the joints' parent bodies to ground: (x, 3, n)."""
    R_ground_from_parent = turned.index_select(2, joints)
    return (R_ground_from_parent * local[:, None]).sum(0).transpose(0, 1)


def couple(couplers: tuple[Couplers, ...], q: Tensor, scale: Tensor | None = None) -> Tensor:
    """Returns q (n, c) with every coupled coordinate overwritten by its coupler, bodies scaled by (n, b, 3)."""
    scales = None if scale is None else _scales(scale)
    columns = q.T.contiguous()
    for coupler in couplers:
        value = values(coupler.curves, columns) * _factor(coupler, scales)
        columns = columns.index_copy(0, coupler.target, value)
    return columns.T.contiguous()


class Normal(NamedTuple):
    """The cost ½ Σ w |point - target|² of each sample and its derivatives in the unknowns."""

    cost: Tensor
    """(n) m²."""
    gradient: Tensor
    """(n, u)."""
    matrix: Tensor
    """(n, u, u) Gauss and Newton's, Jᵀ W J."""


def normal_equations(movers: Movers, moved: Motion, targets: Tensor, weights: Tensor) -> Normal:
    """Sums up weighted points (n, p, 3) with weights (n, p); what weighs 0 may hold any finite number."""
    points, twists = moved
    centre = points[0]  # moments about a point of the body keep their digits far from the origin
    arm, w = points - centre, weights.T[:, None]
    miss = points - targets.permute(1, 2, 0)
    force = w * miss
    cost = 0.5 * (force * miss).sum((0, 1))
    first = w * arm
    x, y, z = arm.unbind(1)
    second = torch.stack([x * x, y * y, z * z, x * y, x * z, y * z], dim=1) * w
    parts = torch.cat([w, first, second, force, torch.linalg.cross(arm, force, dim=1)], dim=1)
    sums = (movers.beyond @ parts.flatten(1)).view(len(movers.beyond), 16, -1)
    mass, first, second, force, torque = torch.split(sums, [1, 3, 6, 3, 3], dim=1)
    turn, move = twists[:, :3], twists[:, 3:]
    move = move + torch.linalg.cross(turn, centre.expand_as(turn), dim=1)
    gradient = (turn * torque + move * force).sum(1)
    angular = _inertia_times(second, turn) + torch.linalg.cross(first, move, dim=1)
    linear = mass * move + torch.linalg.cross(turn, first, dim=1)
    momentum = torch.cat([angular, linear], dim=1).permute(2, 0, 1).contiguous()
    twists = torch.cat([turn, move], dim=1).permute(2, 0, 1).contiguous()
    products = momentum @ twists.transpose(1, 2)
    matrix = products * movers.above + (products * movers.strictly_above).transpose(1, 2)
    return Normal(cost, *_gather(movers, gradient.T, matrix))


def _inertia_times(second: Tensor, turn: Tensor) -> Tensor:
    """Returns Σ w arm x (turn x arm) (e, 3, n) from the moments xx, yy, zz, xy, xz, yz (e, 6, n)."""
    xx, yy, zz, xy, xz, yz = second.unbind(1)
    x, y, z = turn.unbind(1)
    rows = [
        (yy + zz) * x - xy * y - xz * z,
        (xx + zz) * y - xy * x - yz * z,
        (xx + yy) * z - xz * x - yz * y,
    ]
    return torch.stack(rows, dim=1)


def _gather(movers: Movers, gradient: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Adds the pairs (n, e) of one unknown up to unknowns (n, u)."""
    u = len(movers.unknowns)
    more = movers.pair_unknown[u:]
    if not len(more):
        return gradient.contiguous(), matrix
    gradient = gradient[:, :u].index_add(1, more, gradient[:, u:])
    matrix = matrix[:, :u].index_add(1, more, matrix[:, u:])
    return gradient, matrix[:, :, :u].index_add(2, more, matrix[:, :, u:])


def point_jacobian(movers: Movers, moved: Motion) -> Tensor:
    """Returns d(points) / d(unknowns), (n, p, 3, u): what `normal_equations` does without."""
    points, twists = moved
    turn, move = twists[:, None, :3], twists[:, None, 3:]
    speed = torch.linalg.cross(
        turn.expand(-1, len(points), -1, -1), points[None].expand(len(twists), -1, -1, -1), dim=2
    )
    speed = (speed + move) * movers.beyond[:, :, None, None]
    result = speed.new_zeros(len(movers.unknowns), *speed.shape[1:])
    result = torch.index_add(result, 0, movers.pair_unknown, speed)
    return result.permute(3, 1, 2, 0)
