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
from torch import Tensor, nn

from schemas.skeleton import SkeletonSpec, compose
from trainers.skeletal import _axis_values, _chain, _evaluate, _local_transforms, _points
from trainers.structure import Curves, Structure, _rodrigues


class Movers(NamedTuple):
    """Which unknown moves which joint: the constants of `twists`, on the structure's device."""

    unknowns: Tensor
    """(u) their places in q."""
    rows: Tensor
    """(x) the moving axes among all 6b, in tree order."""
    own: Tensor
    """(x) the coordinate that each is a curve of."""
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
    first_turns: Tensor
    """(b, 9, 9): times the products of (1, cos, sin) of a joint's first two angles gives its turning axes in the
    parent body."""


class Motion(NamedTuple):
    """Where the points are, and how the pairs move them."""

    points: Tensor
    """(p, 3, n)."""
    twists: Tensor
    """(e, 6, n): angular velocity, then the velocity of the ground's origin, per unit of the unknown."""


def movers_of(spec: SkeletonSpec, structure: Structure, unknowns: list[int]) -> Movers:
    """Finds out what each unknown (a place in q) moves, couplers included."""
    like = structure.rotation
    moving = _moving_axes(spec, unknowns)
    pairs = sorted({(joint, unknown) for joint, _, _, unknown in moving})
    idle = [(-1, u) for u in range(len(unknowns)) if all(u != pair[1] for pair in pairs)]
    first: dict[int, tuple[int, int]] = {}
    for pair in [*pairs, *idle]:
        first.setdefault(pair[1], pair)
    order = [first[u] for u in range(len(unknowns))]
    order += [pair for pair in pairs if first[pair[1]] != pair]
    carried = _carried(spec)
    joints = [joint for joint, _ in order]
    above = np.array([[i >= 0 and j >= 0 and carried[i, j] for i in joints] for j in joints])
    same = np.array([[i == j for i in joints] for j in joints])
    bodies = structure.point_bodies.cpu().numpy() - 1
    beyond = np.array([[i >= 0 and b >= 0 and carried[i, b] for b in bodies] for i in joints])

    def index(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=like.device)

    def number(values: object) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.float64)).to(like)

    return Movers(
        unknowns=index(unknowns),
        rows=index([6 * joint + axis for joint, axis, _, _ in moving]),
        own=index([own for _, _, own, _ in moving]),
        turning=number([axis < 3 for _, axis, _, _ in moving])[:, None, None],
        pair=index([order.index((joint, unknown)) for joint, _, _, unknown in moving]),
        pair_unknown=index([unknown for _, unknown in order]),
        beyond=number(beyond).reshape(len(order), len(bodies)),
        above=number(above),
        strictly_above=number(above & ~same),
        first_turns=number([_turning_axes(spec, j) for j in range(len(spec.joints))]),
    )


def _moving_axes(spec: SkeletonSpec, unknowns: list[int]) -> list[tuple[int, int, int, int]]:
    """Returns joint, axis, own coordinate and unknown of all axes that an unknown moves, in tree order."""
    driver = {place: u for u, place in enumerate(unknowns)}
    for i in spec.coupler_order:
        coupler = spec.coordinates[i].coupler
        if coupler is not None and coupler.independent in driver:
            driver[i] = driver[coupler.independent]
    return [
        (j, k, axis.coordinate, driver[axis.coordinate])
        for j, joint in enumerate(spec.joints)
        for k, axis in enumerate(joint.axes)
        if axis.coordinate in driver and axis.coordinate is not None
    ]


def _carried(spec: SkeletonSpec) -> np.ndarray:
    """Returns (b, b) bool: row carries column, itself included."""
    carried = np.eye(len(spec.joints), dtype=bool)
    for body, parent in enumerate(spec.parents):
        if parent >= 0:
            carried[:, body] |= carried[:, parent]
    return carried


def _turning_axes(spec: SkeletonSpec, joint: int) -> np.ndarray:
    """Returns (9, 9): the turning axes are constant, turned by R1, and turned by R1 R2."""
    axes = [axis.direction for axis in spec.joints[joint].axes[:3]]
    outer = compose(spec.joints[joint].parent_frames)[0]
    one, two = _rodrigues(axes[0]), _rodrigues(axes[1])
    result = np.zeros((3, 3, 3, 3))
    result[0, :, 0, 0] = outer @ axes[0]
    result[1, :, :, 0] = np.einsum("ij,pjk,k->ip", outer, one, axes[1])
    result[2] = np.einsum("ij,pjk,qkl,l->ipq", outer, one, two, axes[2])
    return result.reshape(9, 9)


def motion(structure: Structure, movers: Movers, q: Tensor, scale: Tensor | None) -> Motion:
    """Poses q (n, c), rad and m, with body scales (n, b, 3), and differentiates."""
    scales = _scales(structure, scale, q)
    angles, values = _axis_values(structure, q, scales)
    slopes = _slopes(structure, movers, q, scales)
    if scale is not None:
        factor = structure.stretch @ scales[structure.parents] + structure.rigid
        values = values * factor
        slopes = (
            slopes * nn.functional.pad(factor, (0, 0, 3, 0), value=1.0).flatten(0, 1)[movers.rows]
        )
    ground = _chain(structure, _local_transforms(structure, angles, values, scales))
    points = _points(structure, ground, scales).permute(1, 2, 0)
    parts = torch.stack([torch.ones_like(angles), angles.cos(), angles.sin()], dim=2)
    products = (parts[:, 0, :, None] * parts[:, 1, None, :]).flatten(1, 2)
    turns = (movers.first_turns @ products).view(len(parts), 3, 3, q.shape[0])
    slides = structure.directions.transpose(1, 2)[..., None].expand(-1, -1, -1, q.shape[0])
    axes = torch.cat([turns, slides], dim=1).flatten(0, 1)[movers.rows] * slopes[:, None]
    joints = movers.rows // 6
    axes = (ground[structure.parents[joints]][:, :, :3] * axes[:, None]).sum(2)
    turning = axes * movers.turning
    moved = torch.linalg.cross(points[joints], turning, dim=1) + (axes - turning)
    twists = axes.new_zeros(len(movers.pair_unknown), 6, q.shape[0])
    return Motion(points, twists.index_add(0, movers.pair, torch.cat([turning, moved], dim=1)))


def _slopes(structure: Structure, movers: Movers, q: Tensor, scales: Tensor) -> Tensor:
    """Returns d(value of each moving axis) / d(its unknown) (x, n), before the stretching of translations."""
    q, chain = _coupled(structure, q.T, scales)
    slopes = structure.slopes.sum(1, keepdim=True).expand(-1, q.shape[1])
    if len(structure.curves.source):
        slopes = slopes.index_copy(0, structure.curves.target, _derivative(structure.curves, q))
    return slopes[movers.rows] * chain[movers.own]


def _coupled(structure: Structure, q: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Returns q (c, n) with couplers followed, and d(coordinate) / d(the one that drives it) (c, n)."""
    chain = torch.ones_like(q)
    for coupler, parents, stretch, rigid in structure.couplers:
        factor = (stretch * scales[parents]).sum(1) + rigid
        follows = _derivative(coupler, q) * factor * chain[coupler.source]
        chain = chain.index_copy(0, coupler.target, follows)
        q = q.index_copy(0, coupler.target, _evaluate(coupler, q) * factor)
    return q, chain


def _scales(structure: Structure, scale: Tensor | None, like: Tensor) -> Tensor:
    """Returns body scales with the ground's first (1 + b, 3, n or 1)."""
    if scale is None:
        return like.new_ones(()).expand(len(structure.parents) + 1, 3, 1)
    return nn.functional.pad(scale.permute(1, 2, 0), (0, 0, 0, 0, 1, 0), value=1.0)


def couple(structure: Structure, q: Tensor, scale: Tensor | None = None) -> Tensor:
    """Returns q (n, c) with every coupled coordinate overwritten by its coupler, bodies scaled by (n, b, 3)."""
    return _coupled(structure, q.T, _scales(structure, scale, q))[0].T.contiguous()


def _derivative(curves: Curves, q: Tensor) -> Tensor:
    """Returns the curves' slopes (f, n) at q (c, n)."""
    x = q[curves.source]
    piece = (x[:, None] >= curves.breaks).sum(1) + curves.first
    at = x - curves.origins[piece]
    degree = len(curves.coefficients) - 1
    value = torch.zeros_like(x)
    for power in range(degree, 0, -1):
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
    xx, yy, zz, xy, xz, yz = second.unbind(1)
    rows = [yy + zz, -xy, -xz, -xy, xx + zz, -yz, -xz, -yz, xx + yy]
    inertia = torch.stack(rows, dim=1).view(len(turn), 3, 3, turn.shape[2])
    angular = (inertia * turn[:, None]).sum(2) + torch.linalg.cross(first, move, dim=1)
    linear = mass * move + torch.linalg.cross(turn, first, dim=1)
    momentum = torch.cat([angular, linear], dim=1).permute(2, 0, 1)
    products = momentum @ torch.cat([turn, move], dim=1).permute(2, 1, 0)
    matrix = products * movers.above + (products * movers.strictly_above).transpose(1, 2)
    return Normal(cost, *_gather(movers, gradient.T, matrix))


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
