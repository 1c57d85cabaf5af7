"""How a skeleton's points move with its unknown coordinates.

Dims: n = sample, c = coordinate, u = unknown, e = pair of a joint and an unknown that moves it, x = moving axis,
b = body, p = point (joint centres, then markers). Units m and rad; ground frame. The batch is the last dim inside, as
in trainers/skeletal.py, and the first in what is returned.

An unknown moves everything beyond a joint as one rigid body: by a twist (w, v) that gives a point p the velocity
v + w x p. trainers/normal.py makes the equations that inverse kinematics solves from these twists.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from schemas.formulas import Formula, evaluate
from trainers.chain import axes, pose, stretches
from trainers.constants import Couplers, Curves, Structure
from trainers.skeletal import (
    arguments,
    coupled,
    scales_of,
    shaped_inputs,
    shaped_joints,
    shaped_values,
    sort_points,
)


class Rule(NamedTuple):
    """How slopes follow from slopes: target += partial derivative · source, one product per entry."""

    target: Tensor
    partial: Tensor
    """Rows of `_partials`."""
    source: Tensor


class Slopes(NamedTuple):
    """Which of the k pairs of an argument and an unknown that drives it are linked, and how."""

    pairs: int
    own: Tensor
    """(u) pairs of each unknown with itself."""
    rules: tuple[Rule, ...]
    """Of the structure's couplers, then of its bent curves."""


class Movers(NamedTuple):
    """Which unknown moves which joint: the constants of `motion`, on the structure's device."""

    unknowns: Tensor
    """(u) their places in q."""
    slopes: Slopes
    rows: Tensor
    """(x) the moving axes among those of `_local_axes`."""
    joints: Tensor
    """(x)."""
    driver: Tensor
    """(x) the pair of slopes that drives each."""
    line: Tensor
    """(x, 1) slope of each axis in its argument."""
    turning: Tensor
    """(x, 1, 1) 1 for rotations, 0 for translations."""
    pair: Tensor
    """(x) the pair of joint and unknown that each belongs to."""
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
    """A moving axis and an unknown that moves it."""

    row: int
    joint: int
    driver: int
    line: float
    turns: bool
    unknown: int


Drivers = dict[int, list[int]]
"""By argument, the unknowns that it depends on."""


def movers_of(structure: Structure, coordinates: int, unknowns: list[int]) -> Movers:
    """Finds out what each unknown (a place among the coordinates) moves, couplers included."""
    like = structure.carries
    drivers = _drivers(structure, coordinates, unknowns)
    places = [(argument, u) for argument, driving in drivers.items() for u in driving]
    at = {pair: k for k, pair in enumerate(places)}
    moving = _moving_axes(structure, drivers, at)
    pairs = sorted({(mover.joint, mover.unknown) for mover in moving})
    first = {u: (-1, u) for u in range(len(unknowns))} | {u: (j, u) for j, u in reversed(pairs)}
    order = [first[u] for u in range(len(unknowns))]
    order += [pair for pair in pairs if first[pair[1]] != pair]
    joints = np.array([joint for joint, _ in order])
    carries = like.cpu().numpy().astype(bool)
    known = joints >= 0
    above = carries[joints + 1][:, joints] & known[:, None] & known
    owner = _sorted(structure, structure.owner[None, :, None]).flatten()
    beyond = carries[owner.cpu().numpy()][:, joints].T & known[:, None]

    def index(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=like.device)

    def number(values: object) -> Tensor:
        return torch.as_tensor(np.asarray(values, dtype=np.float64)).to(like)

    def rule(targets: list[int], curves: Curves) -> Rule:
        entries = _entries(targets, curves, drivers, at)
        return Rule(*(index([entry[k] for entry in entries]) for k in range(3)))

    bent = range(coordinates, coordinates + _count(structure.curves))
    rules = [rule(coupler.target.tolist(), coupler.curves) for coupler in structure.couplers]
    return Movers(
        unknowns=index(unknowns),
        slopes=Slopes(
            pairs=len(places),
            own=index([at[place, u] for u, place in enumerate(unknowns)]),
            rules=(*rules, rule(list(bent), structure.curves)),
        ),
        rows=index([mover.row for mover in moving]),
        joints=index([mover.joint for mover in moving]),
        driver=index([mover.driver for mover in moving]),
        line=number([mover.line for mover in moving])[:, None],
        turning=number([mover.turns for mover in moving])[:, None, None],
        pair=index([order.index((mover.joint, mover.unknown)) for mover in moving]),
        pair_unknown=index([unknown for _, unknown in order]),
        beyond=number(beyond),
        above=number(above),
        strictly_above=number(above & (joints[:, None] != joints)),
    )


def _count(curves: Curves) -> int:
    return len(curves.source) + len(curves.formulas)


def _sources(curves: Curves) -> list[list[int]]:
    """Returns the coordinates of each curve and formula."""
    return [[c] for c in curves.source.tolist()] + [on.tolist() for on, _ in curves.formulas]


def _drivers(structure: Structure, coordinates: int, unknowns: list[int]) -> Drivers:
    drivers: Drivers = {place: [u] for u, place in enumerate(unknowns)}
    bent = range(coordinates, coordinates + _count(structure.curves))
    stages = [(c.target.tolist(), c.curves) for c in structure.couplers]
    for targets, curves in (*stages, (list(bent), structure.curves)):
        for target, on in zip(targets, _sources(curves), strict=True):
            drivers[target] = sorted({u for coordinate in on for u in drivers.get(coordinate, [])})
    return drivers


def _entries(
    targets: list[int], curves: Curves, drivers: Drivers, at: dict[tuple[int, int], int]
) -> list[tuple[int, int, int]]:
    """Lists target pair, row of the partial derivative and source pair for a group of curves."""
    entries, row = [], 0
    for target, on in zip(targets, _sources(curves), strict=True):
        for coordinate in on:
            entries += [
                (at[target, u], row, at[coordinate, u]) for u in drivers.get(coordinate, [])
            ]
            row += 1
    return entries


def _moving_axes(
    structure: Structure, drivers: Drivers, at: dict[tuple[int, int], int]
) -> list[_Mover]:
    """Lists the axes that an unknown moves; a value of a joint with a shape both turns and slides."""
    bodies, shaped = structure.turning.tolist(), structure.shaped
    values_of = [joint for joint in shaped.joint.tolist() for _ in range(6)]
    parts = [
        (structure.turns, bodies * 3, True),
        (structure.slides.lines, structure.slides.joint.tolist(), False),
        (shaped.lines, values_of, True),
        (shaped.lines, values_of, False),
    ]
    moving: list[_Mover] = []
    row = 0
    for lines, joints, turns in parts:
        slopes = lines.slope.flatten().tolist()
        for joint, source, slope in zip(joints, lines.source.tolist(), slopes, strict=True):
            moving += [
                _Mover(row, joint, at[source, u], slope, turns, u)
                for u in (drivers.get(source, []) if slope else [])
            ]
            row += 1
    return moving


def motion(structure: Structure, movers: Movers, q: Tensor, scale: Tensor | None) -> Motion:
    """Poses q (n, c), rad and m, with body scales (n, b, 3), and differentiates."""
    scales = None if scale is None else scales_of(scale)
    given = arguments(structure, q.T.contiguous(), scales)
    posed = pose(structure, given, scales, *shaped_inputs(structure, given, scales))
    slopes = _slopes(structure, movers.slopes, given, scales).index_select(0, movers.driver)
    turns = axes(structure, posed.angles).flatten(0, 1).transpose(0, 1)
    local = _local_axes(structure, turns, given, scales)
    local = local.index_select(1, movers.rows) * (movers.line * slopes)
    R_ground_from_parent = posed.turned.index_select(2, movers.joints)
    direction = (R_ground_from_parent * local[:, None]).sum(0).transpose(0, 1)
    centres = posed.points.index_select(1, movers.joints).transpose(0, 1)
    turning = direction * movers.turning
    moved = torch.linalg.cross(centres, turning, dim=1) + (direction - turning)
    twists = given.new_zeros(len(movers.pair_unknown), 6, q.shape[0])
    points = _sorted(structure, posed.points).transpose(0, 1).contiguous()
    return Motion(points, twists.index_add(0, movers.pair, torch.cat([turning, moved], dim=1)))


def _sorted(structure: Structure, points: Tensor) -> Tensor:
    """Returns joint centres, then markers, of all points (…, p, n)."""
    bodies = structure.carries.shape[1]
    return torch.cat(sort_points(structure, points[:, :bodies], points[:, bodies:]), dim=1)


def _local_axes(
    structure: Structure, turns: Tensor, given: Tensor, scales: Tensor | None
) -> Tensor:
    """Returns, in the parents, the turns' axes, the slides' and how fast each value of a joint with a shape turns the
    child and moves its centre (3, x, n)."""
    slides = structure.slides
    slid = slides.direction
    if scales is not None:
        slid = slid * stretches(slides, scales)
    local = [turns, slid.expand(-1, -1, turns.shape[2])]
    if structure.shaped.kinds:
        local += _shaped_axes(structure, shaped_values(structure, given), scales)
    return torch.cat(local, dim=1)


def _shaped_axes(structure: Structure, six: Tensor, scales: Tensor | None) -> list[Tensor]:
    """Returns angular and linear velocities (3, 6h, n) per unit of each of the values (h, 6, n)."""
    turning, moving = [], []
    for k in range(6):
        unit = torch.zeros_like(six)
        unit[:, k] = 1.0
        place = partial(shaped_joints, structure, scales=scales)
        (R, _), (change, moved) = torch.func.jvp(place, (six,), (unit,))  # type: ignore[misc]
        skew = (change[:, :, None] * R[:, None]).sum(3)
        turning.append(torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]]))
        moving.append(moved.transpose(0, 1))
    return [torch.stack(part, dim=2).flatten(1, 2) for part in (turning, moving)]


def _slopes(structure: Structure, slopes: Slopes, given: Tensor, scales: Tensor | None) -> Tensor:
    """Returns d(argument) / d(unknown) (k, n) of all pairs."""
    found = given.new_zeros(slopes.pairs, given.shape[1]).index_fill(0, slopes.own, 1.0)
    stages = [
        (c.curves, None if scales is None else stretches(c, scales)) for c in structure.couplers
    ]
    for (curves, factor), rule in zip(
        (*stages, (structure.curves, None)), slopes.rules, strict=True
    ):
        if len(rule.target):
            own = _partials(curves, given, factor).index_select(0, rule.partial)
            found = found.index_add(0, rule.target, own * found.index_select(0, rule.source))
    return found


def couple(couplers: tuple[Couplers, ...], q: Tensor, scale: Tensor | None = None) -> Tensor:
    """Returns q (n, c) with every coupled coordinate overwritten by its coupler, bodies scaled by (n, b, 3)."""
    scales = None if scale is None else scales_of(scale)
    return coupled(couplers, q.T.contiguous(), scales).T.contiguous()


def _partials(curves: Curves, q: Tensor, factor: Tensor | None) -> Tensor:
    """Returns the derivatives of curves, then of formulas in each of their coordinates, at q (c, n)."""
    rows = [
        _derivative(curves, q),
        *(_gradient(f, q.index_select(0, on)) for on, f in curves.formulas),
    ]
    if factor is not None:
        counts = [1] * len(curves.source) + [len(on) for on, _ in curves.formulas]
        rows = [
            factor.repeat_interleave(torch.tensor(counts, device=q.device), 0) * torch.cat(rows)
        ]
    return torch.cat(rows)


def _gradient(formula: Formula, x: Tensor) -> Tensor:
    """Returns the derivatives of a formula (a, n) in its arguments (a, n)."""
    # Evaluation runs in inference mode, whose tensors record nothing, so the formula gets a copy outside of it.
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        value = evaluate(formula, x, torch)
        if not value.requires_grad:
            return torch.zeros_like(x)
        return torch.autograd.grad(value.sum(), x)[0]


def _derivative(curves: Curves, q: Tensor) -> Tensor:
    """Returns the curves' slopes (f, n) at q (c, n)."""
    x = q[curves.source]
    piece = torch.searchsorted(curves.breaks, x.contiguous(), right=True) + curves.first
    at = x - curves.origins[piece]
    value = torch.zeros_like(x)
    for power in range(len(curves.coefficients) - 1, 0, -1):
        value = value * at + power * curves.coefficients[power][piece]
    return value


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
