"""Turns a SkeletonSpec into the constants of trainers/constants.py, whose terms and dims hold here too."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.curves import Curve
from schemas.formulas import Formula
from schemas.skeleton import Axis, Joint, Offset, SkeletonSpec, Vec3, compose
from trainers.constants import (
    Couplers,
    Curves,
    Lines,
    Shaped,
    Slides,
    Structure,
    Vectors,
)
from trainers.shapes import shapes_of

Array = NDArray[np.float64]
Number = Callable[[object], Tensor]
Index = Callable[[object], Tensor]


def structure_of(
    spec: SkeletonSpec, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> Structure:
    """Turns a spec into the constants of `forward_kinematics`."""

    def number(value: object) -> Tensor:
        return torch.as_tensor(np.asarray(value, dtype=np.float64)).to(device, dtype)

    def index(value: object) -> Tensor:
        return torch.as_tensor(np.asarray(value, dtype=np.int64).reshape(-1)).to(device)

    chain = _Chain(spec)
    arguments = _Arguments(spec)
    turns = [(i, k) for k in range(3) for i in chain.turning]
    turned = [turns_of(spec.joints[i]) for i in chain.turning]
    fixed = [chain.fixed[spec.parents[i]] for i in chain.turning]
    slides = _slides(spec, arguments, number, index)
    outer = [compose(joint.parent_frames)[1] for joint in spec.joints]
    inner = [compose(joint.child_frames)[1] for joint in spec.joints]
    shifted = [i for i, S in enumerate(inner) if S.any()]
    reversed_ = [i for i, joint in enumerate(spec.joints) if joint.reverse]
    points = _markers(spec) + [(spec.parents[i], outer[i]) for i in reversed_]
    vectors = [*zip(spec.parents, outer, strict=True), *points, *((i, inner[i]) for i in shifted)]
    return Structure(
        couplers=couplers_of(spec, arguments.evaluated(), number, index),
        curves=_curves(arguments.bent, number, index),
        turns=_lines([arguments.turn(*turn) for turn in turns], number, index),
        first_two=number(
            [(f @ t.first_two).reshape(9, 9).T for f, t in zip(fixed, turned, strict=True)]
        ),
        third=number([t.third.reshape(3, 9).T for t in turned]),
        axes=tuple(number([t.axes[k].T for t in turned]).reshape(-1, 3, 3**k) for k in range(3)),
        turning=index(chain.turning),
        even_anchor=index(chain.even_anchor),
        levels=tuple(map(index, chain.levels)),
        odd_anchor=index(chain.odd_anchor),
        anchor=index([chain.place[chain.anchor[i]] for i in range(-1, len(spec.joints))]),
        still=index(chain.still) + 1,
        still_rotation=number([chain.fixed[i] for i in chain.still])
        .reshape(-1, 3, 3)
        .permute(1, 2, 0)[..., None],
        slides=slides,
        shaped=_shaped(spec, chain, arguments, number, index),
        vectors=_vectors(vectors, number, index),
        inner=index(shifted),
        base=index([body + 1 for body in [*spec.parents, *(body for body, _ in points)]]),
        owner=index([body + 1 for body in [*range(len(outer)), *(body for body, _ in points)]]),
        centre=index(_centres(spec, reversed_)),
        markers=len(spec.markers),
        carries=number(_carries(spec)),
    )


Line = tuple[int, float, float]
"""Argument, slope, intercept."""
Bent = tuple[tuple[int, ...], Curve | Formula]
"""Coordinates, and the function of them."""


class _Arguments:
    """Gives every axis its argument; collects the bent curves, and the couplers that must be evaluated for them.

    A straight coupler is folded into the lines of the axes that it moves.
    """

    def __init__(self, spec: SkeletonSpec) -> None:
        self.spec = spec
        self.lines: dict[int, Line] = {i: (i, 1.0, 0.0) for i in range(len(spec.coordinates))}
        for i in spec.coupler_order:
            coupler = spec.coordinates[i].coupler
            line = straight(coupler.curve) if coupler else None
            if coupler and line and coupler.independents and not any(spec.coupler_scale[i][1]):
                self.lines[i] = _through(self.lines[coupler.independents[0]], *line)
        axes = [(i, k, a) for i, joint in enumerate(spec.joints) for k, a in enumerate(joint.axes)]
        bent = [(i, k, a) for i, k, a in axes if moves(a) and not straight(a.curve)]
        bent.sort(key=lambda found: isinstance(found[2].curve, Formula))
        self.bent: list[Bent] = [(axis.coordinates, axis.curve) for _, _, axis in bent]
        self._place = {(i, k): len(spec.coordinates) + f for f, (i, k, _) in enumerate(bent)}

    def line(self, joint: int, k: int) -> Line:
        """Returns what the value of a joint's k-th axis is a straight line of."""
        axis = self.spec.joints[joint].axes[k]
        if not moves(axis):
            return (0, 0.0, float(axis.curve(0.0)))
        if line := straight(axis.curve):
            return _through(self.lines[axis.coordinates[0]], *line)
        return (self._place[joint, k], 1.0, 0.0)

    def turn(self, joint: int, k: int) -> Line:
        """The same for turns, of which a joint with a shape has none."""
        return self.line(joint, k) if is_plain(self.spec.joints[joint]) else (0, 0.0, 0.0)

    def evaluated(self) -> list[int]:
        """Lists the coupled coordinates whose values are needed."""
        needed = {source for sources, _ in self.bent for source in sources}
        kept: list[int] = []
        for i in reversed(self.spec.coupler_order):
            coupler = self.spec.coordinates[i].coupler
            if coupler and (self.lines[i][0] == i or i in needed):
                kept.append(i)
                needed.update(coupler.independents)
        return kept[::-1]


def _through(inner: Line, slope: float, intercept: float) -> Line:
    """Returns the line slope · inner + intercept."""
    return (inner[0], slope * inner[1], slope * inner[2] + intercept)


def straight(curve: Curve | Formula) -> tuple[float, float] | None:
    """Returns slope and intercept of a curve that is one straight line all along, but for rounding."""
    if isinstance(curve, Formula):
        return None
    pieces = curve.pieces()
    start = pieces.coefficients[:, 0] - pieces.coefficients[:, 1:2].sum(1) * pieces.origins
    lines = np.column_stack([pieces.coefficients[:, 1:2].sum(1), start])
    if (
        np.abs(pieces.coefficients[:, 2:]).max(initial=0.0) > 1e-14
        or np.ptp(lines, axis=0).max() > 1e-14
    ):
        return None
    return float(lines[0, 0]), float(lines[0, 1])


def is_plain(joint: Joint) -> bool:
    """Whether the joint is made of turns and slides."""
    return joint.shape is None and not joint.reverse


def moves(axis: Axis) -> bool:
    """Whether the axis's value depends on a coordinate."""
    return bool(axis.coordinates) and axis.curve.kind != "constant"


class _Chain:
    """How rotations follow from one another: anchors by body (-1 is ground), and levels."""

    def __init__(self, spec: SkeletonSpec) -> None:
        self.anchor, self.fixed = {-1: -1}, {-1: np.eye(3)}
        """The nearest turning body, itself perhaps, and R_anchor_from_body."""
        depth = {-1: 0}
        for i, (joint, parent) in enumerate(zip(spec.joints, spec.parents, strict=True)):
            if not is_plain(joint) or any(map(moves, joint.axes[:3])):
                self.anchor[i], self.fixed[i] = i, np.eye(3)
                depth[i] = depth[self.anchor[parent]] + 1
            else:
                self.anchor[i] = self.anchor[parent]
                self.fixed[i] = self.fixed[parent] @ _still_rotation(joint)
        even, odd = (
            sorted((i for i in depth if i >= 0 and depth[i] % 2 == k), key=lambda i: depth[i])
            for k in (0, 1)
        )
        self.turning = [*even, *odd]
        self.still = [i for i in self.anchor if i not in depth]
        self.place = {body: k for k, body in enumerate([-1, *self.turning])}
        above = {i: self.anchor[spec.parents[i]] for i in self.turning}
        self.even_anchor = [self.place[above[i]] - 1 for i in even]
        self.odd_anchor = [self.place[above[i]] for i in odd]
        self.levels: list[list[int]] = []
        before = {-1: 0}
        for _, level in itertools.groupby(even, key=lambda i: depth[i]):
            bodies = list(level)
            self.levels.append([before[above[above[i]]] for i in bodies])
            before = {body: k for k, body in enumerate(bodies)}


def rodrigues(direction: Vec3) -> Array:
    """Returns A, B, C (3, 3, 3) of R(angle) = A + cos(angle) B + sin(angle) C about a unit vector."""
    x, y, z = direction
    outer = np.outer(direction, direction)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.stack([outer, np.eye(3) - outer, cross])


class JointTurns(NamedTuple):
    """A joint's rotation for each product of (1, cos, sin) of its angles."""

    first_two: Array
    """(9, 3, 3): R_parent_from_F · R1 · R2."""
    third: Array
    """(3, 3, 3): R3 · R_M_from_child."""
    axes: tuple[Array, Array, Array]
    """(1, 3), (3, 3), (9, 3): in the parent, for each product of the angles before."""


def turns_of(joint: Joint) -> JointTurns:
    """Returns the constants of a joint's rotation."""
    one, two, three = (rodrigues(axis.direction) for axis in joint.axes[:3])
    frame = compose(joint.parent_frames)[0][None]
    first = frame @ one
    first_two = np.einsum("pij,qjk->pqik", first, two).reshape(-1, 3, 3)
    axes = [R @ a.direction for R, a in zip((frame, first, first_two), joint.axes, strict=False)]
    third = three @ compose(joint.child_frames)[0].T
    return JointTurns(first_two, third, (axes[0], axes[1], axes[2]))


def _still_rotation(joint: Joint) -> Array:
    """Returns R_parent_from_body (3, 3) of a joint none of whose turns moves."""
    turns, angles = turns_of(joint), [float(axis.curve(0.0)) for axis in joint.axes[:3]]
    one, two, three = ([1.0, np.cos(angle), np.sin(angle)] for angle in angles)
    first_two = np.tensordot(np.outer(one, two).reshape(9), turns.first_two, 1)
    still: Array = first_two @ np.tensordot(three, turns.third, 1)
    return still


def _lines(lines: list[Line], number: Number, index: Index) -> Lines:
    columns = [[line[k] for line in lines] for k in range(3)]
    return Lines(
        source=index(columns[0]),
        slope=number(columns[1])[:, None],
        intercept=number(columns[2])[:, None],
    )


Anchored = tuple[int, Array]
"""Body, and the matrix (3, 3) that its scale is multiplied with to give a vector in it."""


def _slides(spec: SkeletonSpec, arguments: _Arguments, number: Number, index: Index) -> Slides:
    found = [
        (i, k, axis, axis.scales and parent >= 0)  # ground has no scale
        for i, (joint, parent) in enumerate(zip(spec.joints, spec.parents, strict=True))
        for k, axis in enumerate(joint.axes)
        if k >= 3 and is_plain(joint) and (moves(axis) or axis.curve(0.0))
    ]
    frames = [compose(spec.joints[i].parent_frames)[0] for i, _, _, _ in found]
    directions = [R @ axis.direction for R, (_, _, axis, _) in zip(frames, found, strict=True)]
    return Slides(
        lines=_lines([arguments.line(i, k) for i, k, _, _ in found], number, index),
        joint=index([i for i, _, _, _ in found]),
        direction=_components(directions, number),
        scale=index([spec.parents[i] + 1 for i, _, _, _ in found]),
        stretch=_components([axis.stretch * on for _, _, axis, on in found], number),
        rigid=number([not on for _, _, _, on in found])[:, None],
    )


def _shaped(
    spec: SkeletonSpec, chain: _Chain, arguments: _Arguments, number: Number, index: Index
) -> Shaped:
    kinds = shapes_of(spec, number, index)
    joints = [int(i) for kind in kinds for i in kind.joints]
    frames = [(spec.joints[i].parent_frames, spec.joints[i].child_frames) for i in joints]
    fixed = np.array([chain.fixed[spec.parents[i]] for i in joints]).reshape(-1, 3, 3)
    axes = [(spec.scaled_by[i][0], axis) for i in joints for axis in spec.joints[i].axes]
    # Only translations scale, and ground does not.
    scaling = [k % 6 >= 3 and axis.scales and body >= 0 for k, (body, axis) in enumerate(axes)]
    return Shaped(
        kinds=kinds,
        scale=index([body + 1 for body, _ in axes]),
        stretch=_components(
            [axis.stretch * on for (_, axis), on in zip(axes, scaling, strict=True)],
            number,
        ),
        rigid=number([not on for on in scaling])[:, None],
        lines=_lines([arguments.line(i, k) for i in joints for k in range(6)], number, index),
        joint=index(joints),
        place=index([chain.turning.index(i) for i in joints]),
        outer=number([compose(outer)[0] for outer, _ in frames]).reshape(-1, 3, 3, 1),
        inner=number([compose(inner)[0].T for _, inner in frames]).reshape(-1, 3, 3, 1),
        fixed=number(fixed.transpose(2, 1, 0))[..., None],
    )


def _components(vectors: list[Array], number: Number) -> Tensor:
    """Returns (3, k, 1) of k vectors."""
    return number(np.array(vectors).reshape(-1, 3).T)[:, :, None]


def _markers(spec: SkeletonSpec) -> list[Anchored]:
    index = {name: i for i, name in enumerate(spec.body_names)}
    return [
        (index.get(m.body, -1), compose((*m.frames, Offset(translation=m.location)))[1])
        for m in spec.markers
    ]


def _centres(spec: SkeletonSpec, reversed_: list[int]) -> list[int]:
    """Says which points are the joints' centres, where a reversed joint has its own at the end."""
    last = len(spec.joints) + len(spec.markers)
    own = {i: last + k for k, i in enumerate(reversed_)}
    return [own.get(i, i) for i in range(len(spec.joints))] if own else []


def _vectors(anchored: list[Anchored], number: Number, index: Index) -> Vectors:
    matrices = np.array([S for _, S in anchored]).reshape(-1, 3, 3)
    diagonals = np.einsum("vii->vi", matrices)
    plain = np.array_equal(matrices, diagonals[:, :, None] * np.eye(3))
    by_scale = diagonals.T if plain else matrices.transpose(2, 1, 0)
    return Vectors(
        body=index([i + 1 for i, _ in anchored]),
        unscaled=number(matrices.sum(2).T)[:, :, None],
        by_scale=number(by_scale)[..., None],
    )


def _carries(spec: SkeletonSpec) -> Array:
    """Returns (1 + b, b): whether the column's body is on the path from ground to the row's, which it may be."""
    carries = np.eye(len(spec.joints) + 1, len(spec.joints), -1)
    for i, parent in enumerate(spec.parents):
        carries[i + 1] += carries[parent + 1]
    return carries


def couplers_of(
    spec: SkeletonSpec, coordinates: list[int], number: Number, index: Index
) -> tuple[Couplers, ...]:
    """Groups couplers so that no group needs a value that it sets itself."""
    depth: dict[int, int] = {}
    groups: dict[int, list[tuple[int, Bent]]] = {}
    for i in coordinates:
        coupler = spec.coordinates[i].coupler
        if coupler is not None:
            depth[i] = max((depth.get(on, -1) for on in coupler.independents), default=-1) + 1
            groups.setdefault(depth[i], []).append((i, (coupler.independents, coupler.curve)))
    for group in groups.values():
        group.sort(key=lambda member: isinstance(member[1][1], Formula))
    return tuple(
        Couplers(
            target=index([i for i, _ in group]),
            curves=_curves([bent for _, bent in group], number, index),
            scale=index([spec.coupler_scale[i][0] + 1 for i, _ in group]),
            stretch=_components([np.array(spec.coupler_scale[i][1]) for i, _ in group], number),
            rigid=number([not any(spec.coupler_scale[i][1]) for i, _ in group])[:, None],
        )
        for group in groups.values()
    )


def _curves(bent: list[Bent], number: Number, index: Index) -> Curves:
    """Packs curves of different numbers of pieces and powers into rectangles; formulas come last in `bent`."""
    curves = [(on, curve) for on, curve in bent if isinstance(curve, Curve)]
    pieces = [curve.pieces() for _, curve in curves]
    width = max((len(p.breaks) for p in pieces), default=0)
    powers = max((p.coefficients.shape[1] for p in pieces), default=1)
    breaks = np.full((len(curves), width), np.inf)
    origins = np.zeros((len(curves), width + 1))
    coefficients = np.zeros((powers, len(curves), width + 1))
    for i, p in enumerate(pieces):
        breaks[i, : len(p.breaks)] = p.breaks
        origins[i, : len(p.origins)] = p.origins
        coefficients[: p.coefficients.shape[1], i, : len(p.origins)] = p.coefficients.T
    return Curves(
        source=index([on[0] if on else 0 for on, _ in curves]),
        breaks=number(breaks),
        origins=number(origins.reshape(-1)),
        coefficients=number(coefficients.reshape(powers, -1)),
        first=index(np.arange(len(curves)) * (width + 1))[:, None],
        formulas=tuple((index(on), curve) for on, curve in bent if isinstance(curve, Formula)),
    )
