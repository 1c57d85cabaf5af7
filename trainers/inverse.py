"""From points back to angles: inverse kinematics of a batch, within the joint limits.

Dims: n = sample (or frame of a clip), c = coordinate, u = unknown, b = body (= joint), m = marker, p = point (joint
centres, then markers). Units m and rad; ground frame. Every sample minimises, over the coordinates within their limits,

    ½ Σ weight_i |point_i(q) - target_i|²

which is what OpenSim's InverseKinematicsTool minimises for markers. The search (trainers/levenberg.py) needs a start
from which it does not end in a wrong fold of a limb: trainers/unfold.py turns the root by a rigid fit and then lets the
joints in from the root outwards, each level with the points that it moves; the angles found are read within the limits
(trainers/problem.py), and from there all coordinates are searched together, within the limits.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from schemas.errors import InputError
from trainers.clip import smooth, spread, unwrap
from trainers.jacobian import couple
from trainers.levenberg import Minimum, minimise
from trainers.normal import Normal
from trainers.problem import Problem
from trainers.skeletal import forward_kinematics
from trainers.targets import Points, Targets, read_start, read_targets
from trainers.unfold import evaluate, find_starts, full_pose

_CHUNK = 128
"""Samples searched together: their matrices stay in the processor's cache."""
_KEY = 8
"""Every so many frames of a clip one is searched from scratch."""
_BADLY = 1.5


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


@torch.no_grad()
def inverse_kinematics(
    problem: Problem,
    targets: Targets,
    *,
    scale: Tensor | None = None,
    start: Tensor | None = None,
    clip: bool = False,
    smoothness: float = 0.0,
    retries: int = 3,
    accept: float = 0.01,
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
    if not smoothness >= 0 or (smoothness and not clip):
        raise InputError(
            f"smoothness={smoothness:g}",
            "smooths consecutive frames",
            "Give clip=True, and 0 or more",
        )
    points = read_targets(problem, targets, scale)
    search = _Search(problem, points, iterations, tolerance)
    if start is not None:
        found = search.refine(read_start(problem, start, len(points.targets)))
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

    def __init__(self, problem: Problem, points: Points, iterations: int, tolerance: float) -> None:
        self.problem, self.points = problem, points
        self.iterations, self.tolerance = iterations, tolerance

    def evaluate(self, x: Tensor, rows: Tensor) -> Normal:
        """Returns the cost of some samples and its derivatives."""
        return evaluate(self.problem, self.points.pick(rows), x)

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
        best = self.refine(find_starts(self.problem, self.points, 0))
        return self.again(best, retries, accept)

    def again(self, best: Minimum, retries: int, accept: float) -> Minimum:
        """Starts samples that fit badly from other poses."""
        for attempt in range(1, retries + 1):
            rows = torch.nonzero(self.rms(best.cost) > accept)[:, 0]
            if not len(rows):
                break
            again = self.part(rows)
            best = better(
                best, rows, again.refine(find_starts(self.problem, again.points, attempt))
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
    """Searches every eighth frame from scratch and the others from between those; what fits badly, from scratch.

    In a clip whose markers never fit well, badly is half as much again as the frames usually do.
    """
    count = len(search.points.targets)
    keys = torch.arange(0, count, _KEY, device=search.problem.default.device)
    keys = torch.unique(torch.cat([keys, keys.new_tensor([count - 1] if count else [])]))
    known = search.part(keys)
    seen = known.points.weights.sum(1) > 0
    first = known.from_scratch(0, accept)
    usual = torch.nanmedian(known.rms(first.cost)) if seen.any() else first.cost.new_zeros(())
    accept = max(accept, _BADLY * float(usual))
    anchors = known.again(first, retries, accept).x
    endless = search.problem.aliases.periodic & torch.isinf(search.problem.high)
    if seen.any():
        keys, anchors = keys[seen], anchors[seen]
    found = search.refine(spread(unwrap(anchors, endless), keys, count))
    rows = torch.nonzero(search.rms(found.cost) > accept)[:, 0]
    found = better(found, rows, search.part(rows).from_scratch(retries, accept))
    return found._replace(x=unwrap(found.x, endless))


def _report(problem: Problem, points: Points, found: Minimum) -> Solution:
    q = couple(problem.couplers, full_pose(problem, found.x), points.scale)
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
