"""What inverse kinematics must know of a skeleton besides its structure: unknowns, limits, aliases, where to start.

Dims: u = unknown, c = coordinate, p = point (joint centres, then markers), g = turn of the root, k = ball joint.
"""

import itertools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from schemas.errors import InputError
from schemas.skeleton import Axis, SkeletonSpec
from trainers.constants import Couplers, Structure
from trainers.jacobian import Movers, motion, movers_of, point_jacobian
from trainers.skeletal import forward_kinematics
from trainers.structure import couplers_of, straight, structure_of

_QUARTERS = (0.0, np.pi / 2, np.pi, -np.pi / 2)
_TURNS = (_QUARTERS, (0.0, 0.7, -0.7), _QUARTERS)
"""Turns of the root from which a search starts: the middle angle stays within a quarter turn."""
_ENDLESS = 1e4
"""OpenSim writes 99999.9 for no limit."""


class Aliases(NamedTuple):
    """Angles that say the same: whole turns, and the two readings of three turns about perpendicular axes."""

    periodic: Tensor
    """(u) bool: a whole turn changes nothing."""
    low: Tensor
    high: Tensor
    """(u) the model's own ranges, also of the root, which choose between readings."""
    triples: Tensor
    """(k, 3) the unknowns of joints with three perpendicular turning axes."""
    mirror: Tensor
    """(k): (a, b, c) and (a + π, mirror - b, c + π) are one rotation."""


class Problem(NamedTuple):
    """The constants of `inverse_kinematics`; float64, on one device."""

    structure: Structure
    movers: Movers
    couplers: tuple[Couplers, ...]
    """All of them; the structure keeps only those that it must evaluate."""
    default: Tensor
    """(c) the default pose; coordinates that are no unknowns keep it or follow their couplers."""
    low: Tensor
    high: Tensor
    """(u) limits, rad or m; infinite for the root's coordinates and where the model has none."""
    aliases: Aliases
    stage: Tensor
    """(p) depth of the deepest joint that moves the point; -1 for points that nothing moves."""
    root: int
    """The root body."""
    turn_starts: Tensor
    """(g, u) default poses with the root turned all ways."""
    turn_rotations: Tensor
    """(g, 3, 3) R_ground_from_root of each."""


def problem_of(
    spec: SkeletonSpec, *, free_locked: bool = False, device: torch.device | str = "cpu"
) -> Problem:
    """Prepares a skeleton; the result serves any number of calls.

    The unknowns are all coordinates but the coupled, which follow, and the locked, which keep their default.
    `_replace(low=…, high=…)` sets other limits.

    Args:
        spec: the skeleton.
        free_locked: makes locked coordinates unknowns too.
        device: where the searches run.

    Raises:
        InputError: nothing can move.
    """
    unknowns = [i for i in spec.free if free_locked or not spec.coordinates[i].locked]
    if not unknowns:
        raise InputError("skeleton", "has no free coordinate", "Use a model whose joints move")
    structure = structure_of(spec, torch.float64, device)
    movers = movers_of(structure, len(spec.coordinates), unknowns)
    default = torch.from_numpy(spec.default_pose()).to(device)

    def number(value: object) -> Tensor:
        return torch.as_tensor(np.asarray(value, dtype=np.float64)).to(default)

    def index(value: object) -> Tensor:
        return torch.as_tensor(np.asarray(value, dtype=np.int64).reshape(-1)).to(device)

    root = spec.body_names.index(spec.root_body)
    at_root = {i for axis in spec.joints[root].axes for i in axis.coordinates}
    low, high = _ranges(spec, unknowns, default)
    free = torch.tensor([i in at_root for i in unknowns], device=device)
    starts = _turned(spec, root, unknowns, default)
    q = default.expand(len(starts), -1).index_copy(1, movers.unknowns, starts)
    T_ground_from_root = forward_kinematics(structure, q).T_ground_from_body[:, root]
    return Problem(
        structure=structure,
        movers=movers,
        couplers=couplers_of(spec, list(spec.coupler_order), number, index),
        default=default,
        low=low.masked_fill(free, -torch.inf),
        high=high.masked_fill(free, torch.inf),
        aliases=_aliases(spec, unknowns, low, high),
        stage=_stages(spec, structure, movers, default),
        root=root,
        turn_starts=starts,
        turn_rotations=T_ground_from_root[:, :3, :3],
    )


def _ranges(spec: SkeletonSpec, unknowns: list[int], like: Tensor) -> tuple[Tensor, Tensor]:
    low = torch.tensor([spec.coordinates[i].lower for i in unknowns]).to(like)
    high = torch.tensor([spec.coordinates[i].upper for i in unknowns]).to(like)
    return low.masked_fill(low < -_ENDLESS, -torch.inf), high.masked_fill(
        high > _ENDLESS, torch.inf
    )


def _turned(spec: SkeletonSpec, root: int, unknowns: list[int], default: Tensor) -> Tensor:
    start = default[unknowns]
    axes = spec.joints[root].axes[:3]
    turning = [unknowns.index(i) for axis in axes for i in axis.coordinates if i in unknowns]
    turning = list(dict.fromkeys(turning))[: len(_TURNS)]
    grid = list(itertools.product(*(_TURNS[k] for k in range(len(turning)))))
    starts = start.repeat(len(grid), 1)
    starts[:, turning] = torch.tensor(grid, dtype=start.dtype).reshape(len(grid), -1).to(start)
    return starts


def _stages(spec: SkeletonSpec, structure: Structure, movers: Movers, default: Tensor) -> Tensor:
    """Finds what moves each point from the Jacobian at a pose in general position."""
    depth: list[int] = []
    for parent in spec.parents:
        depth.append(0 if parent < 0 else depth[parent] + 1)
    first = torch.full((len(movers.unknowns),), -1)
    for joint, pair in zip(movers.joints.tolist(), movers.pair.tolist(), strict=True):
        u = int(movers.pair_unknown[pair])
        first[u] = depth[joint] if first[u] < 0 else min(int(first[u]), depth[joint])
    spread = torch.linspace(0.1, 0.3, len(default), dtype=default.dtype, device=default.device)
    J = point_jacobian(movers, motion(structure, movers, (default + spread)[None], None))[0]
    moves = J.abs().amax(1) > 1e-9
    return torch.where(moves, first.to(default.device), -1).amax(1)


def _aliases(spec: SkeletonSpec, unknowns: list[int], low: Tensor, high: Tensor) -> Aliases:
    triples, mirrors = [], []
    periodic = [_is_periodic(spec, i) for i in unknowns]
    for joint in spec.joints:
        if joint.shape is not None:
            continue
        axes = joint.axes[:3]
        places = [unknowns.index(i) for axis in axes for i in axis.coordinates if i in unknowns]
        directions = np.array([a.direction for a in axes])
        square = np.abs(directions @ directions.T - np.eye(3)).max() < 1e-9
        if len(places) == len(set(places)) == 3 and square and all(periodic[i] for i in places):
            offset, slope = _line(axes[1])
            triples.append(places)
            mirrors.append((np.pi - 2 * offset) / slope)
    return Aliases(
        periodic=torch.tensor(periodic, device=low.device),
        low=low,
        high=high,
        triples=torch.tensor(triples, dtype=torch.int64, device=low.device).reshape(-1, 3),
        mirror=torch.tensor(mirrors, dtype=low.dtype, device=low.device),
    )


def _line(axis: Axis) -> tuple[float, float]:
    offset = float(axis.curve(0.0))
    return offset, float(axis.curve(1.0)) - offset


def _is_periodic(spec: SkeletonSpec, coordinate: int) -> bool:
    """Says whether a coordinate only turns, one to one, and nothing follows it."""
    if any(c.coupler and coordinate in c.coupler.independents for c in spec.coordinates):
        return False
    moved = [
        (j.shape is None and k < 3 and straight(a.curve), a)
        for j in spec.joints
        for k, a in enumerate(j.axes)
        if coordinate in a.coordinates
    ]
    return bool(moved) and all(line and abs(abs(line[0]) - 1.0) < 1e-9 for line, _ in moved)


def read_angles(aliases: Aliases, x: Tensor) -> Tensor:
    """Reads unknowns (n, u) as a person would: within the limits if any reading is, else as near as can be.

    Of two readings within the limits the one whose middle angle is nearer to zero.
    """
    x = _unturned(aliases, x)
    for places, mirror in zip(aliases.triples, aliases.mirror, strict=True):
        other = x.clone()
        other[:, places] = torch.stack(
            [x[:, places[0]] + np.pi, mirror - x[:, places[1]], x[:, places[2]] + np.pi], dim=1
        )
        other = _unturned(aliases, other)
        outside, other_outside = _outside(aliases, x), _outside(aliases, other)
        nearer = other[:, places[1]].abs() < x[:, places[1]].abs()
        tied = (outside - other_outside).abs() < 1e-6
        better = torch.where(tied, nearer, other_outside < outside)
        x = torch.where(better[:, None], other, x)
    return x


def _unturned(aliases: Aliases, x: Tensor) -> Tensor:
    middle = torch.nan_to_num((aliases.low + aliases.high) / 2, nan=0.0, posinf=0.0, neginf=0.0)
    whole = 2 * np.pi * torch.round((x - middle) / (2 * np.pi))
    return torch.where(aliases.periodic, x - whole, x)


def _outside(aliases: Aliases, x: Tensor) -> Tensor:
    return ((aliases.low - x).clamp_min(0) + (x - aliases.high).clamp_min(0)).sum(1)
