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
from trainers.skeletal import _scales, _shaped, arguments, values
from trainers.structure import Couplers, Structure


class Movers(NamedTuple):
    """Which unknown moves which joint: the constants of `motion`, on the structure's device."""

    unknowns: Tensor
    """(u) their places in q."""
    colours: Tensor
    """(k, c) 1 for unknowns that are differentiated in one pass, as nothing depends on two of them."""
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
    passes: Tensor
    """(x) the colour of each one's unknown."""
    shapes: Tensor
    """(y) the joints with a shape among the structure's, once per unknown that moves them."""
    shape_joints: Tensor
    """(y)."""
    shape_passes: Tensor
    """(y)."""
    pair: Tensor
    """(x + y) the pair that each belongs to."""
    pair_joint: Tensor
    """(e); -1 where an unknown moves nothing."""
    pair_unknown: Tensor
    """(e) the unknown of each pair; the first u are 0 … u - 1."""
    points: Tensor
    """(p) places of the joint centres and markers among the structure's points."""
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
    """An axis, or the h-th joint with a shape, that an unknown moves."""

    row: int
    joint: int
    argument: int
    slope: float
    turns: bool
    unknown: int


def movers_of(spec: SkeletonSpec, structure: Structure, unknowns: list[int]) -> Movers:
    """Finds out what each unknown (a place in q) moves, couplers included."""
    like = structure.carries
    drivers = _drivers(spec, structure, unknowns)
    moving, shaped = _moving_axes(structure, drivers), _moving_shapes(structure, drivers)
    colour = _colours(len(unknowns), [*drivers.values(), *_shape_drivers(structure, drivers)])
    pairs = sorted({(mover.joint, mover.unknown) for mover in [*moving, *shaped]})
    first = {u: (-1, u) for u in range(len(unknowns))} | {u: (j, u) for j, u in reversed(pairs)}
    order = [first[u] for u in range(len(unknowns))]
    order += [pair for pair in pairs if first[pair[1]] != pair]
    places = _point_places(structure)
    joints = np.array([joint for joint, _ in order])
    carries, known = like.cpu().numpy().astype(bool), joints >= 0
    above = carries[joints + 1][:, joints] & known[:, None] & known
    owner = structure.owner.cpu().numpy()[places]
    passes = np.zeros((max(colour, default=0) + 1, len(spec.coordinates)))
    passes[colour, unknowns] = 1.0

    def index(values: object) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.int64).reshape(-1)).to(like.device)

    def number(values: object) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.float64)).to(like)

    return Movers(
        unknowns=index(unknowns),
        colours=number(passes),
        rows=index([mover.row for mover in moving]),
        joints=index([mover.joint for mover in moving]),
        arguments=index([mover.argument for mover in moving]),
        slopes=number([mover.slope for mover in moving])[:, None],
        turning=number([mover.turns for mover in moving])[:, None, None],
        passes=index([colour[mover.unknown] for mover in moving]),
        shapes=index([mover.row for mover in shaped]),
        shape_joints=index([mover.joint for mover in shaped]),
        shape_passes=index([colour[mover.unknown] for mover in shaped]),
        pair=index([order.index((m.joint, m.unknown)) for m in [*moving, *shaped]]),
        pair_joint=index(joints),
        pair_unknown=index([unknown for _, unknown in order]),
        points=index(places),
        beyond=number(carries[owner][:, joints].T & known[:, None]),
        above=number(above),
        strictly_above=number(above & (joints[:, None] != joints)),
    )


def _point_places(structure: Structure) -> list[int]:
    bodies = structure.carries.shape[1]
    centres = structure.centre.tolist() or list(range(bodies))
    return [*centres, *range(bodies, bodies + structure.markers)]


def _drivers(
    spec: SkeletonSpec, structure: Structure, unknowns: list[int]
) -> dict[int, frozenset[int]]:
    """Returns for each argument the unknowns that it depends on."""
    drivers = {place: frozenset([u]) for u, place in enumerate(unknowns)}
    nobody: frozenset[int] = frozenset()
    for i in spec.coupler_order:
        coupler = spec.coordinates[i].coupler
        if coupler is not None:
            drivers[i] = nobody.union(*(drivers.get(on, nobody) for on in coupler.independents))
    curves = structure.curves
    sources = [[i] for i in curves.source.tolist()] + [on.tolist() for on, _ in curves.formulas]
    for k, on in enumerate(sources, len(spec.coordinates)):
        drivers[k] = nobody.union(*(drivers.get(i, nobody) for i in on))
    return drivers


def _moving_axes(structure: Structure, drivers: dict[int, frozenset[int]]) -> list[_Mover]:
    bodies, turns, slides = structure.turning.tolist(), structure.turns, structure.slides
    joints = [*bodies * 3, *slides.joint.tolist()]
    sources = torch.cat([turns.source, slides.lines.source]).tolist()
    slopes = torch.cat([turns.slope, slides.lines.slope]).flatten().tolist()
    return [
        _Mover(row, joint, source, slope, row < 3 * len(bodies), unknown)
        for row, (joint, source, slope) in enumerate(zip(joints, sources, slopes, strict=True))
        if slope
        for unknown in sorted(drivers.get(source, ()))
    ]


def _shape_drivers(
    structure: Structure, drivers: dict[int, frozenset[int]]
) -> list[frozenset[int]]:
    """Returns for each joint with a shape the unknowns that move it."""
    lines, nobody = structure.shaped.lines, frozenset[int]()
    six = [
        drivers.get(source, nobody) if slope else nobody
        for source, slope in zip(lines.source.tolist(), lines.slope.flatten().tolist(), strict=True)
    ]
    return [nobody.union(*six[6 * h : 6 * h + 6]) for h in range(len(structure.shaped.joint))]


def _moving_shapes(structure: Structure, drivers: dict[int, frozenset[int]]) -> list[_Mover]:
    joints = structure.shaped.joint.tolist()
    return [
        _Mover(h, joint, -1, 1.0, True, unknown)
        for h, (joint, on) in enumerate(
            zip(joints, _shape_drivers(structure, drivers), strict=True)
        )
        for unknown in sorted(on)
    ]


def _colours(count: int, together: list[frozenset[int]]) -> list[int]:
    """Gives every unknown the lowest number that none has which something depends on together with it."""
    colour: list[int] = []
    for u in range(count):
        taken = {colour[v] for group in together if u in group for v in group if v < u}
        colour.append(next(k for k in range(count) if k not in taken))
    return colour


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

    def function(q: Tensor) -> tuple[Tensor, ...]:
        given = arguments(structure, q, scales)
        R, at = _shaped(structure, given, scales)
        return (given,) if R is None or at is None else (given, R, at)

    plain = not (structure.couplers or len(structure.curves.source) or structure.curves.formulas)
    if plain and not structure.shaped.kinds:
        return (q,), [movers.colours[:, :, None].expand(-1, -1, q.shape[1])]
    found: list[tuple[Tensor, ...]] = []
    for colour in movers.colours:
        result = torch.func.jvp(function, (q,), (colour[:, None].expand_as(q).contiguous(),))
        found.append(result[1])
    tangents = [torch.stack(parts) for parts in zip(*found, strict=True)]
    return result[0], tangents


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
        value = values(coupler.curves, columns)
        if scales is not None:
            factor = (coupler.weights * scales.index_select(1, coupler.scale)).sum(0)
            value = value * (factor + coupler.rigid)
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
