"""Fits the sizes of a person's bodies to markers of a trial in which the person stands still.

Dims: t = pose, c = coordinate, u = unknown coordinate, k = scale factor, b = body, m = marker. Units m and rad;
ground frame.

OpenSim's ScaleTool sets each factor from distances between markers that the lab pairs by hand. Here poses and factors
are searched together: all markers count, no pairs are needed, and the joints hold the bodies together. As in a usual
ScaleTool set-up each body has one factor for its three axes; left and right share theirs unless told otherwise. What
the markers leave open follows the body's parent: the cost is

    ½ mean_t Σ_m weight_m |marker_m(q_t, scale) - seen_tm|² + ½ prior Σ_k (factor_k - its parent's)²

The points are linear in the scale (trainers/skeletal.py), so differences give their slopes to rounding.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec
from trainers.inverse import inverse_kinematics
from trainers.jacobian import couple, motion, point_jacobian
from trainers.levenberg import minimise
from trainers.normal import Normal
from trainers.problem import Problem, problem_of
from trainers.readout import side_and_base
from trainers.targets import Points, Targets, read_targets
from trainers.unfold import full_pose

LIMITS = (0.3, 3.0)
"""Bounds of every factor."""
_STEP = 1e-3
_ITERATIONS = 200
_PRECISE = 1e-7


class ScaleFit(NamedTuple):
    """A person's sizes."""

    scale: Tensor
    """(b, 3), as `forward_kinematics` takes it."""
    q: Tensor
    """(t, c) rad and m, the poses that go with it."""
    before: Tensor
    """(t, m) m, distances of the unscaled model's markers after inverse kinematics; NaN where not seen."""
    after: Tensor
    """(t, m) m, those of the scaled model's."""
    converged: bool


class _Factors(NamedTuple):
    basis: Tensor
    """(k, b, 3) 0 or 1: which factors of the scale each stands for."""
    parents: Tensor
    """(k) the factor that each follows; its own for those of the root."""


@torch.no_grad()
def fit_scale(
    spec: SkeletonSpec,
    markers: Tensor,
    weights: Tensor | None = None,
    *,
    symmetric: bool = True,
    per_axis: bool = False,
    prior: float = 1e-3,
    poses: int = 1,
) -> ScaleFit:
    """Finds the scale of every body.

    Args:
        spec: the unscaled skeleton.
        markers: (f, m, 3) of f frames, ground frame, m; NaN = not seen.
        weights: (m), 0 = not used; None is 1 for all. Give markers on soft tissue less.
        symmetric: left and right bodies share their factors.
        per_axis: three factors per body; wants three markers, well apart, on every body.
        prior: m², how strongly a factor follows that of the body's parent.
        poses: the trial is cut into so many parts, each averaged to one pose (as ScaleTool averages its time range).

    Raises:
        InputError: a model without markers, shapes that do not fit, too few frames or markers, a bad prior.
    """
    if not prior > 0 or not 1 <= poses <= max(len(markers), 1):
        raise InputError(
            f"prior={prior:g}, poses={poses}",
            f"do not fit a trial of {len(markers)} frames",
            "Give a prior above 0 and from 1 to as many poses as frames",
        )
    problem = problem_of(spec)
    still = _averaged(problem, markers, poses)
    points = read_targets(problem, Targets(still, marker_weights=weights), None)
    if int((points.weights.sum(0) > 0).sum()) < 3:
        raise InputError(
            "static trial", "shows fewer than 3 markers", "Record the whole marker set"
        )
    unscaled = inverse_kinematics(problem, Targets(still, marker_weights=weights))
    q = unscaled.q[:, problem.movers.unknowns]
    whole = _Factors(torch.ones(1, len(spec.joints), 3).to(q), torch.zeros(1, dtype=torch.int64))
    every = _factors(spec, symmetric, per_axis)
    every = _Factors(every.basis.to(q), every.parents)
    overall, q, _ = _fit(problem, points, whole, (q.new_ones(1), q), prior)
    start = overall.expand(len(every.parents))
    factors, q, converged = _fit(problem, points, every, (start, q), prior)
    scale = torch.einsum("k,kbi->bi", factors, every.basis)
    moved = motion(problem.structure, problem.movers, full_pose(problem, q), _many(scale, q))
    distances = torch.linalg.vector_norm(moved.points.permute(2, 0, 1) - points.targets, dim=-1)
    seen = points.weights > 0
    return ScaleFit(
        scale=scale,
        q=couple(problem.couplers, full_pose(problem, q), _many(scale, q)),
        before=unscaled.marker_distances,
        after=distances.masked_fill(~seen, torch.nan)[:, len(spec.joints) :],
        converged=converged,
    )


def _averaged(problem: Problem, markers: Tensor, poses: int) -> Tensor:
    """Averages parts of the trial, markers (f, m, 3) to (poses, m, 3); a marker counts where it is seen."""
    if markers.ndim != 3 or not len(markers):
        raise InputError(
            f"markers of shape {tuple(markers.shape)}",
            "are no frames x markers x 3",
            "Give a trial",
        )
    markers = markers.to(problem.default)
    parts = torch.tensor_split(markers.where(markers.isfinite(), torch.nan), poses)
    return torch.stack([part.nanmean(0) for part in parts])


def _factors(spec: SkeletonSpec, symmetric: bool, per_axis: bool) -> _Factors:
    """Ties bodies: the two of a pair if symmetric; and each group to the first other group above it."""
    names = [side_and_base(n)[1].lower() if symmetric else n for n in spec.body_names]
    groups = list(dict.fromkeys(names))
    above = []
    for group in groups:
        body = spec.parents[names.index(group)]
        while body >= 0 and names[body] == group:
            body = spec.parents[body]
        above.append(groups.index(names[body]) if body >= 0 else groups.index(group))
    axes = 3 if per_axis else 1
    basis = torch.zeros(len(groups), axes, len(names), 3, dtype=torch.float64)
    for body, name in enumerate(names):
        for axis in range(3):
            basis[groups.index(name), axis % axes, body, axis] = 1.0
    parents = torch.tensor(above)[:, None] * axes + torch.arange(axes)
    return _Factors(basis.flatten(0, 1), parents.flatten())


def _fit(
    problem: Problem,
    points: Points,
    factors: _Factors,
    start: tuple[Tensor, Tensor],
    prior: float,
) -> tuple[Tensor, Tensor, bool]:
    """Searches factors (k) and coordinates (t, u) together, as one problem; also says whether it converged."""
    sizes, q = start
    k, (poses, u) = len(sizes), q.shape
    ties = torch.eye(k).to(q) - torch.eye(k).to(q)[factors.parents]
    pull = prior * ties.T @ ties

    def evaluate(x: Tensor, _rows: Tensor) -> Normal:
        sizes, q = x[0, :k], x[0, k:].view(poses, u)
        miss, J_size, J_q = _linear(problem, points, factors.basis, sizes, q)
        cost = 0.5 * miss.square().sum() + 0.5 * sizes @ pull @ sizes
        J = miss.new_zeros(poses, miss.shape[1], k + poses * u)
        J[:, :, :k] = J_size
        for t in range(poses):
            J[t, :, k + t * u : k + (t + 1) * u] = J_q[t]
        gradient, matrix = (J * miss[..., None]).sum((0, 1)), torch.einsum("tri,trj->ij", J, J)
        gradient[:k] += pull @ sizes
        matrix[:k, :k] += pull
        return Normal(cost[None], gradient[None], matrix[None])

    bound = torch.ones(k).to(q)
    low = torch.cat([LIMITS[0] * bound, problem.low.repeat(poses)])
    high = torch.cat([LIMITS[1] * bound, problem.high.repeat(poses)])
    x = torch.cat([sizes, q.flatten()])[None]
    found = minimise(evaluate, x, low, high, _ITERATIONS, _PRECISE)
    return found.x[0, :k], found.x[0, k:].view(poses, u), bool(found.converged[0])


def _linear(
    problem: Problem, points: Points, basis: Tensor, sizes: Tensor, q: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns weighted misses (t, 3p) and their slopes in the factors (t, 3p, k) and coordinates (t, 3p, u)."""
    full, k = full_pose(problem, q), len(sizes)
    scale = torch.einsum("k,kbi->bi", sizes, basis)
    moved = motion(problem.structure, problem.movers, full, _many(scale, q))
    root = (points.weights / len(q)).sqrt()[..., None]
    steps = torch.cat([scale + _STEP * basis, scale - _STEP * basis])
    shifted = motion(
        problem.structure,
        problem.movers,
        full.repeat_interleave(2 * k, 0),
        steps.repeat(len(q), 1, 1),
    ).points.permute(2, 0, 1)
    plus, minus = shifted.view(len(q), 2, k, *shifted.shape[1:]).unbind(1)
    J_size = (root[:, None] * (plus - minus) / (2 * _STEP)).flatten(2).transpose(1, 2)
    J_q = (root[..., None] * point_jacobian(problem.movers, moved)).flatten(1, 2)
    miss = root * (moved.points.permute(2, 0, 1) - points.targets)
    return miss.flatten(1), J_size, J_q


def _many(scale: Tensor, q: Tensor) -> Tensor:
    return scale.expand(len(q), -1, -1)
