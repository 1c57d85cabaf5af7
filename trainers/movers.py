"""Which unknown moves which joint of a skeleton: the constants that trainers/jacobian.py differentiates with.

Dims: c = coordinate, u = unknown, e = pair of a joint and an unknown that moves it, x = moving axis, y = moving shape
(one joint and one unknown each), p = point (joint centres, then markers), k = colour.

An unknown may move several joints (through couplers), and an axis may follow several unknowns (through functions of
several coordinates). What is differentiated forwards takes one pass per colour: unknowns share one as long as nothing
depends on two of them, which is so for all unknowns of almost every model.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from schemas.skeleton import SkeletonSpec
from trainers.structure import Structure


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
