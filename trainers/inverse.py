"""From points back to angles: inverse kinematics of a batch, within the joint limits.

Dims: n = sample (or frame of a clip), c = coordinate, u = unknown, b = body (= joint), m = marker, p = point (joint
centres, then markers). Units m and rad; ground frame. Every sample minimises, over the coordinates within their limits,

    ½ Σ weight_i |point_i(q) - target_i|²

which is what OpenSim's InverseKinematicsTool minimises for markers. The search (trainers/levenberg.py) needs a start
from which it does not end in a wrong fold of a limb: `_find_starts` turns the root by a rigid fit and then lets the
joints in from the root outwards, each level with the points that it moves, without limits; the angles found are read
within the limits (trainers/problem.py), and from there all coordinates are searched together, within the limits.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from schemas.errors import InputError
from trainers.clip import smooth, spread, unwrap
from trainers.jacobian import Normal, couple, motion, normal_equations
from trainers.levenberg import Minimum, minimise
from trainers.problem import Problem, read_angles
from trainers.skeletal import forward_kinematics

_CHUNK = 256
"""Samples searched together: their matrices stay in the processor's cache."""
_STAGE_STEPS = 20
_ROUGH = 1e-2
"""A start need not be finer than this, rad or m."""
_KEY = 8
"""Every so many frames of a clip one is searched from scratch."""


class Targets(NamedTuple):
    """Where points were seen, ground frame, m; NaN = not seen."""

    markers: Tensor | None = None
    """(n, m, 3)."""
    joint_centres: Tensor | None = None
    """(n, b, 3)."""
    marker_weights: Tensor | None = None
    """(m) or (n, m), 0 = not used; None is 1 for all."""
    joint_weights: Tensor | None = None
    """(b) or (n, b)."""


class Solution(NamedTuple):
    """What was found."""

    q: Tensor
    """(n, c) rad and m, couplers followed, within the limits."""
    joint_distances: Tensor
    """(n, b) m from the targets; NaN where not seen."""
    marker_distances: Tensor
    """(n, m)."""
    rms: Tensor
    """(n) m, weighted root mean square of the distances; NaN where nothing was seen."""
    converged: Tensor
    """(n) bool: the last step was shorter than the tolerance, and something was seen."""
    iterations: Tensor
    """(n) steps of the last search, without those that found its start."""


class _Points(NamedTuple):
    targets: Tensor
    """(n, p, 3), finite."""
    weights: Tensor
    """(n, p), 0 where not seen."""
    scale: Tensor | None
    """(n, b, 3)."""

    def pick(self, rows: Tensor | slice) -> "_Points":
        scale = None if self.scale is None else self.scale[rows]
        return _Points(self.targets[rows], self.weights[rows], scale)


def inverse_kinematics(
    problem: Problem,
    targets: Targets,
    *,
    scale: Tensor | None = None,
    start: Tensor | None = None,
    clip: bool = False,
    smoothness: float = 0.0,
    retries: int = 2,
    accept: float = 0.02,
    iterations: int = 100,
    tolerance: float = 1e-6,
) -> Solution:
    """Finds the coordinates that bring the points nearest to their targets.

    Args:
        problem: from `problem_of`; says what the limits are.
        targets: of n samples; any of their points may be missing.
        scale: (b, 3) or (n, b, 3) body scales, as `forward_kinematics` takes them.
        start: (c) or (n, c), rad and m, where the search begins; None finds starts itself.
        clip: the samples are consecutive frames: most start from their neighbours, and the root's angles run on
            without jumps of whole turns.
        smoothness: m² per (rad or m per frame²)²; adds ½ smoothness |x_t+1 - 2 x_t + x_t-1|² to a clip's cost and
            solves all its frames as one. 0 leaves the frames independent.
        retries: other poses from which samples that fit badly start again.
        accept: m, the weighted rms distance above which a sample fits badly.
        iterations: at most so many steps.
        tolerance: rad and m; a sample is done when its largest step is shorter.

    Returns:
        The solution. An unknown that no target sees stays at its start; a sample that nothing sees is not
        converged (in a smooth clip it is filled in from its neighbours).

    Raises:
        InputError: shapes that do not fit the skeleton, no targets, bad weights or scales, smoothness without clip.
    """
    if smoothness and not clip or smoothness < 0:
        raise InputError(
            f"smoothness={smoothness:g}",
            "smooths consecutive frames",
            "Give clip=True, and 0 or more",
        )
    points = _read(problem, targets, scale)
    search = _Search(problem, points, iterations, tolerance)
    if start is not None:
        found = search.refine(_read_start(problem, start, len(points.targets)))
    elif clip:
        found = _follow(search, retries, accept)
    else:
        found = search.from_scratch(retries, accept)
    if smoothness:
        found = smooth(
            search.evaluate, found.x, (problem.low, problem.high), smoothness, iterations, tolerance
        )
    return _report(problem, points, found)


class _Search:
    """Searches for the unknowns of all samples, a chunk at a time."""

    def __init__(
        self, problem: Problem, points: _Points, iterations: int, tolerance: float
    ) -> None:
        self.problem, self.points = problem, points
        self.iterations, self.tolerance = iterations, tolerance

    def evaluate(self, x: Tensor, rows: Tensor) -> Normal:
        """Returns the cost of some samples and its derivatives."""
        return _evaluate(self.problem, self.points.pick(rows), x)

    def refine(self, start: Tensor) -> Minimum:
        """Searches within the limits."""
        return _joined(self._refine(rows, start[rows]) for rows in self._chunks())

    def from_scratch(self, retries: int, accept: float) -> Minimum:
        """Finds starts, then searches within the limits; starts again where the fit is bad."""
        return _joined(self.part(rows)._settle(retries, accept) for rows in self._chunks())

    def part(self, rows: Tensor | slice) -> "_Search":
        """Returns the search of some samples."""
        return _Search(self.problem, self.points.pick(rows), self.iterations, self.tolerance)

    def rms(self, cost: Tensor) -> Tensor:
        """Returns the weighted rms distance (n), m; NaN where nothing is seen."""
        return (2 * cost / self.points.weights.sum(1)).sqrt()

    def _settle(self, retries: int, accept: float) -> Minimum:
        best = self.refine(_find_starts(self.problem, self.points, 0))
        for attempt in range(1, retries + 1):
            rows = torch.nonzero(self.rms(best.cost) > accept)[:, 0]
            if not len(rows):
                break
            again = self.part(rows)
            best = better(
                best, rows, again.refine(_find_starts(self.problem, again.points, attempt))
            )
        return best

    def _refine(self, rows: slice, start: Tensor) -> Minimum:
        part = self.part(rows)
        low, high = self.problem.low, self.problem.high
        return minimise(part.evaluate, start, low, high, self.iterations, self.tolerance)

    def _chunks(self) -> list[slice]:
        count = max(len(self.points.targets), 1)
        return [slice(i, i + _CHUNK) for i in range(0, count, _CHUNK)]


def better(best: Minimum, rows: Tensor, other: Minimum) -> Minimum:
    """Puts other minima of some rows in the place of those that they beat."""
    wins = other.cost < best.cost[rows]
    return Minimum(
        *(old.index_copy(0, rows[wins], new[wins]) for old, new in zip(best, other, strict=True))
    )


def _joined(parts: Iterator[Minimum]) -> Minimum:
    return Minimum(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _follow(search: _Search, retries: int, accept: float) -> Minimum:
    """Searches every eighth frame from scratch and the others from between those; what fits badly, from scratch."""
    count = len(search.points.targets)
    keys = torch.arange(0, count, _KEY, device=search.problem.default.device)
    keys = torch.unique(torch.cat([keys, keys.new_tensor([count - 1] if count else [])]))
    known = search.part(keys)
    seen = known.points.weights.sum(1) > 0
    anchors = known.from_scratch(retries, accept).x
    endless = search.problem.aliases.periodic & torch.isinf(search.problem.high)
    if seen.any():
        keys, anchors = keys[seen], anchors[seen]
    found = search.refine(spread(unwrap(anchors, endless), keys, count))
    rows = torch.nonzero(search.rms(found.cost) > accept)[:, 0]
    found = better(found, rows, search.part(rows).from_scratch(retries, accept))
    return found._replace(x=unwrap(found.x, endless))


def _evaluate(problem: Problem, points: _Points, x: Tensor) -> Normal:
    moved = motion(problem.structure, problem.movers, _full(problem, x), points.scale)
    return normal_equations(problem.movers, moved, points.targets, points.weights)


def _full(problem: Problem, x: Tensor) -> Tensor:
    return problem.default.expand(len(x), -1).index_copy(1, problem.movers.unknowns, x)


def _find_starts(problem: Problem, points: _Points, attempt: int) -> Tensor:
    """Returns (n, u): the root by a rigid fit, then level after level from the root outwards, without limits."""
    x = _turn_root(problem, points, _base(problem, attempt))
    endless = torch.full_like(problem.high, torch.inf)
    for stage in range(int(problem.stage.max()) + 1):
        if not (problem.stage == stage).any():
            continue
        now = points._replace(weights=points.weights * (problem.stage <= stage))

        def evaluate(x: Tensor, rows: Tensor, now: _Points = now) -> Normal:
            return _evaluate(problem, now.pick(rows), x)

        found = minimise(evaluate, x, -endless, endless, _STAGE_STEPS, _ROUGH)
        x = read_angles(problem.aliases, found.x)
    return x


def _base(problem: Problem, attempt: int) -> Tensor:
    """Returns the pose (u) that an attempt unfolds from: the default, then poses strewn over the limits."""
    default = problem.default[problem.movers.unknowns]
    span = problem.high - problem.low
    if attempt == 0:
        return default
    share = torch.rand(
        len(default), dtype=default.dtype, generator=torch.Generator().manual_seed(attempt)
    ).to(default.device)
    return torch.where(span.isfinite(), problem.low + share * span, default)


def _turn_root(problem: Problem, points: _Points, base: Tensor) -> Tensor:
    """Turns the root from the base pose (u) to the grid's turn that is nearest to the rigid fit's."""
    count = len(points.targets)
    if points.scale is None:
        pose = forward_kinematics(problem.structure, _full(problem, base[None]))
    else:
        pose = forward_kinematics(
            problem.structure, _full(problem, base.expand(count, -1)), points.scale
        )
    places = torch.cat([pose.joint_centres, pose.markers], dim=1).expand(count, -1, -1)
    R_root = pose.T_ground_from_body[:, problem.root, :3, :3]
    R_wanted = _rigid_fit(problem, places, points) @ R_root
    likeness = torch.einsum("gij,nij->ng", problem.turn_rotations, R_wanted)
    default = problem.default[problem.movers.unknowns]
    return base + (problem.turn_starts - default)[likeness.argmax(1)]


def _rigid_fit(problem: Problem, places: Tensor, points: _Points) -> Tensor:
    """Returns the rotations (n, 3, 3) that best take the places to the targets (Kabsch 1976).

    By the points that only the root moves, where they suffice; by all elsewhere.
    """
    near = points.weights * (problem.stage == 0)
    every = points.weights * (problem.stage >= 0)
    own, spread_out = _covariance(places, points.targets, near)
    whole, _ = _covariance(places, points.targets, every)
    u, _, vt = torch.linalg.svd(torch.where(spread_out[:, None, None], own, whole))
    flip = torch.ones_like(u[:, 0])
    flip[:, 2] = torch.sign(torch.linalg.det(u @ vt))
    return u @ (flip[:, :, None] * vt)


def _covariance(places: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the weighted covariance (n, 3, 3), targets by places, and whether the places span a plane (n)."""
    share = (weights / weights.sum(1, keepdim=True).clamp_min(1e-12))[..., None]
    a = places - (share * places).sum(1, keepdim=True)
    b = targets - (share * targets).sum(1, keepdim=True)
    spans = torch.linalg.eigvalsh((share * a).transpose(1, 2) @ a)
    return (share * b).transpose(1, 2) @ a, spans[:, 1] > 1e-3 * spans[:, 2].clamp_min(1e-9)


def _report(problem: Problem, points: _Points, found: Minimum) -> Solution:
    q = couple(problem.structure, _full(problem, found.x), points.scale)
    pose = forward_kinematics(problem.structure, q, points.scale)
    places = torch.cat([pose.joint_centres, pose.markers], dim=1)
    seen = points.weights > 0
    distances = torch.linalg.vector_norm(places - points.targets, dim=-1)
    squares = (points.weights * distances.square()).sum(1) / points.weights.sum(1)
    bodies = pose.joint_centres.shape[1]
    distances = distances.masked_fill(~seen, torch.nan)
    return Solution(
        q=q,
        joint_distances=distances[:, :bodies],
        marker_distances=distances[:, bodies:],
        rms=squares.sqrt(),
        converged=found.converged & seen.any(1),
        iterations=found.iterations,
    )


def _read(problem: Problem, targets: Targets, scale: Tensor | None) -> _Points:
    """Lays joint centres and markers end to end; what is not seen gets weight 0."""
    bodies = len(problem.structure.parents)
    sizes = (bodies, len(problem.stage) - bodies)
    given = (targets.joint_centres, targets.markers)
    known = [t for t in given if t is not None]
    if not known:
        raise InputError("targets", "name no points", "Give markers or joint_centres")
    count = len(known[0])
    places, weights = [], []
    kinds = (targets.joint_weights, targets.marker_weights)
    names = ("joint_centres", "markers")
    for name, part, weight, size in zip(names, given, kinds, sizes, strict=True):
        place, weight = _read_kind(problem, name, part, weight, (count, size))
        places.append(place)
        weights.append(weight)
    place, weight = torch.cat(places, dim=1), torch.cat(weights, dim=1)
    seen = place.isfinite().all(2)
    weight = torch.where(seen, weight, 0.0)
    return _Points(
        torch.where(weight[..., None] > 0, place, 0.0),
        weight,
        _read_scale(scale, count, bodies, problem),
    )


def _read_kind(
    problem: Problem, name: str, part: Tensor | None, weight: Tensor | None, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    like = problem.default
    if part is None:
        return like.new_full((*shape, 3), torch.nan), like.new_zeros(shape)
    if part.shape != (*shape, 3):
        raise InputError(
            f"{name} of shape {tuple(part.shape)}",
            f"are not {shape[0]} x {shape[1]} points of the skeleton",
            "Give all of the skeleton's, in its order; NaN for what is missing",
        )
    weight = like.new_ones(shape) if weight is None else weight.to(like)
    if weight.shape not in (shape, shape[1:]) or not (weight.isfinite() & (weight >= 0)).all():
        raise InputError(
            f"weights of {name}, shape {tuple(weight.shape)}",
            "are not one number from 0 on per point",
            "Give one per point, or one per sample and point",
        )
    return part.to(like), weight.expand(shape)


def _read_scale(scale: Tensor | None, count: int, bodies: int, problem: Problem) -> Tensor | None:
    if scale is None:
        return None
    if scale.shape not in ((bodies, 3), (count, bodies, 3)) or not (scale > 0).all():
        raise InputError(
            f"scale of shape {tuple(scale.shape)}",
            f"is not {bodies} x 3 positive numbers, for all samples or each",
            "Give one factor per body and axis",
        )
    return scale.to(problem.default).expand(count, -1, -1)


def _read_start(problem: Problem, start: Tensor, count: int) -> Tensor:
    size = len(problem.default)
    if start.shape not in ((size,), (count, size)) or not start.isfinite().all():
        raise InputError(
            f"start of shape {tuple(start.shape)}",
            f"is not {size} finite coordinates, for all samples or each",
            "Give a pose in the order of the skeleton's coordinates",
        )
    return start.to(problem.default).expand(count, -1)[:, problem.movers.unknowns]
