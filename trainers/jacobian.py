"""How a skeleton's points move with its unknown coordinates, and the normal equations that follow from that.

Dims: n = sample, c = coordinate, u = unknown, e = pair of a joint and an unknown that moves it, x = moving axis,
b = body, p = point (joint centres, then markers). Units m and rad; ground frame. The batch is the last dim inside, as
in trainers/skeletal.py, and the first in what is returned.

An unknown moves everything beyond a joint as one rigid body: by a twist (w, v) that gives a point p the velocity
v + w x p. So the Gauss-Newton matrix of weighted points is the mass matrix of a linkage whose only masses are those
points, and the composite rigid body algorithm (Featherstone, Rigid Body Dynamics Algorithms, 2008, ch. 6) makes it
from ten moments per joint, without ever writing down the (3p, u) Jacobian.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from schemas.skeleton import SkeletonSpec
from trainers.chain import axes, pose
from trainers.skeletal import _scales, arguments, evaluate
from trainers.structure import Couplers, Curves, Structure


class Movers(NamedTuple):
    """Which unknown moves which joint: the constants of `motion`, on the structure's device."""

    unknowns: Tensor
    """(u) their places in q."""
    rows: Tensor
    """(x) the moving axes among the structure's turns and, after those, slides."""
    joints: Tensor
    """(x)."""
    arguments: Tensor
    """(x) what each is a straight line of."""
    slopes: Tensor
    """(x, 1) of those lines."""
    turning: Tensor
    """(x, 1, 1) 1 for rotations, 0 for translations."""
    pair: Tensor
    """(x) the pair that each belongs to."""
    pair_unknown: Tensor
    """(e) the unknown of each pair; the first u are 0 … u - 1."""
    beyond: Tensor
    """(e, p) 1 where the point lies beyond the pair's joint."""
    above: Tensor
    """(e, e) 1 where the column's joint carries the row's, or is it."""
    strictly_above: Tensor
    """(e, e) the same, one joint's own pairs left out."""


class Motion(NamedTuple):
    """Where the points are, and how the pairs move them."""

    points: Tensor
    """(p, 3, n)."""
    twists: Tensor
    """(e, 6, n): angular velocity, then the velocity of the ground's origin, per unit of the unknown."""


class _Mover(NamedTuple):
    """A moving axis."""

    row: int
    joint: int
    argument: int
    slope: float
    turns: bool
    unknown: int


def movers_of(spec: SkeletonSpec, structure: Structure, unknowns: list[int]) -> Movers:
    """Finds out what each unknown (a place in q) moves, couplers included."""
    like = structure.carries
    moving = _moving_axes(spec, structure, unknowns)
    pairs = sorted({(mover.joint, mover.unknown) for mover in moving})
    first = {u: (-1, u) for u in range(len(unknowns))} | {u: (j, u) for j, u in reversed(pairs)}
    order = [first[u] for u in range(len(unknowns))]
    order += [pair for pair in pairs if first[pair[1]] != pair]
    joints = np.array([joint for joint, _ in order])
    carries = like.cpu().numpy().astype(bool)
    known = joints >= 0
    above = carries[joints + 1][:, joints] & known[:, None] & known
    beyond = carries[structure.owner.cpu().numpy()][:, joints].T & known[:, None]

    def index(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=like.device)

    def number(values: object) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.float64)).to(like)

    return Movers(
        unknowns=index(unknowns),
        rows=index([mover.row for mover in moving]),
        joints=index([mover.joint for mover in moving]),
        arguments=index([mover.argument for mover in moving]),
        slopes=number([mover.slope for mover in moving])[:, None],
        turning=number([mover.turns for mover in moving])[:, None, None],
        pair=index([order.index((mover.joint, mover.unknown)) for mover in moving]),
        pair_unknown=index([unknown for _, unknown in order]),
        beyond=number(beyond),
        above=number(above),
        strictly_above=number(above & (joints[:, None] != joints)),
    )


def _moving_axes(spec: SkeletonSpec, structure: Structure, unknowns: list[int]) -> list[_Mover]:
    """Lists the axes that an unknown moves."""
    driver = {place: u for u, place in enumerate(unknowns)}
    for i in spec.coupler_order:
        coupler = spec.coordinates[i].coupler
        if coupler is not None and coupler.independent in driver:
            driver[i] = driver[coupler.independent]
    for k, coordinate in enumerate(structure.curves.source.tolist(), len(spec.coordinates)):
        if coordinate in driver:
            driver[k] = driver[coordinate]
    bodies, turns = structure.turning.tolist(), structure.turns
    joints = [*bodies * 3, *structure.slides.joint.tolist()]
    sources, slopes = (
        torch.cat([getattr(turns, name), getattr(structure.slides.lines, name)]).flatten().tolist()
        for name in ("source", "slope")
    )
    return [
        _Mover(row, joint, source, slope, row < 3 * len(bodies), driver[source])
        for row, (joint, source, slope) in enumerate(zip(joints, sources, slopes, strict=True))
        if slope and source in driver
    ]


def motion(structure: Structure, movers: Movers, q: Tensor, scale: Tensor | None) -> Motion:
    """Poses q (n, c), rad and m, with body scales (n, b, 3), and differentiates."""
    scales = None if scale is None else _scales(scale)
    given = arguments(structure, q.T.contiguous(), scales)
    posed = pose(structure, given, scales)
    slopes = _argument_slopes(structure, given, q.shape[1], scales)[movers.arguments]
    slides = structure.slides
    turns = axes(structure, posed.angles).flatten(0, 1).transpose(0, 1)
    slid = slides.direction
    if scales is not None:
        stretch = (slides.stretch * scales.index_select(1, slides.scale)).sum(0) + slides.rigid
        slid = slid * stretch
    local = torch.cat([turns, slid.expand(-1, -1, turns.shape[2])], dim=1)
    local = local.index_select(1, movers.rows) * (movers.slopes * slopes)
    R_ground_from_parent = posed.turned.index_select(2, movers.joints)
    direction = (R_ground_from_parent * local[:, None]).sum(0).transpose(0, 1)
    points = posed.points.transpose(0, 1).contiguous()
    turning = direction * movers.turning
    moved = torch.linalg.cross(points[movers.joints], turning, dim=1) + (direction - turning)
    twists = points.new_zeros(len(movers.pair_unknown), 6, q.shape[0])
    return Motion(points, twists.index_add(0, movers.pair, torch.cat([turning, moved], dim=1)))


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


def couple(couplers: tuple[Couplers, ...], q: Tensor, scale: Tensor | None = None) -> Tensor:
    """Returns q (n, c) with every coupled coordinate overwritten by its coupler, bodies scaled by (n, b, 3)."""
    scales = None if scale is None else _scales(scale)
    columns = q.T.contiguous()
    for coupler in couplers:
        value = evaluate(coupler.curves, columns) * _factor(coupler, scales)
        columns = columns.index_copy(0, coupler.target, value)
    return columns.T.contiguous()


def _derivative(curves: Curves, q: Tensor) -> Tensor:
    """Returns the curves' slopes (f, n) at q (c, n)."""
    x = q[curves.source]
    piece = torch.searchsorted(curves.breaks, x.contiguous(), right=True) + curves.first
    at = x - curves.origins[piece]
    value = torch.zeros_like(x)
    for power in range(len(curves.coefficients) - 1, 0, -1):
        value = value * at + power * curves.coefficients[power][piece]
    return value


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
