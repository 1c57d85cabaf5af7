"""Where inverse kinematics starts: the root by a rigid fit, then joint after joint outwards.

Dims: n = sample, u = unknown, p = point (joint centres, then markers). Units m and rad; ground frame.

From the default pose alone about a third of all poses end in a wrong fold: an arm behind the wrong limit. Level by
level each joint has only to turn its own bone to its own points, which has few wrong answers. Plain angles may leave
their limits meanwhile, so that a joint can turn there either way; they are then read within the limits. Coordinates of
splines, translations and couplers keep theirs.
"""

import torch
from torch import Tensor

from trainers.jacobian import motion
from trainers.levenberg import minimise
from trainers.normal import Normal, normal_equations
from trainers.problem import Problem, read_angles
from trainers.skeletal import forward_kinematics
from trainers.targets import Points

_STEPS = 20
_ROUGH = 1e-2
"""A start need not be finer than this, rad or m."""


def evaluate(problem: Problem, points: Points, x: Tensor) -> Normal:
    """Returns the cost of the unknowns x (n, u) and its derivatives."""
    moved = motion(problem.structure, problem.movers, full_pose(problem, x), points.scale)
    return normal_equations(problem.movers, moved, points.targets, points.weights)


def full_pose(problem: Problem, x: Tensor) -> Tensor:
    """Returns q (n, c) of the unknowns x (n, u); couplers are left to the structure."""
    return problem.default.expand(len(x), -1).index_copy(1, problem.movers.unknowns, x)


def find_starts(problem: Problem, points: Points, attempt: int) -> Tensor:
    """Returns (n, u): the root by a rigid fit, then level after level from the root outwards."""
    x = _turn_root(problem, points, _base(problem, attempt))
    periodic = problem.aliases.periodic
    low = problem.low.masked_fill(periodic, -torch.inf)
    high = problem.high.masked_fill(periodic, torch.inf)
    for stage in range(int(problem.stage.max()) + 1):
        if not (problem.stage == stage).any():
            continue
        now = points._replace(weights=points.weights * (problem.stage <= stage))

        def staged(x: Tensor, rows: Tensor, now: Points = now) -> Normal:
            return evaluate(problem, now.pick(rows), x)

        found = minimise(staged, x, low, high, _STEPS, _ROUGH)
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


def _turn_root(problem: Problem, points: Points, base: Tensor) -> Tensor:
    """Turns the root from the base pose (u) to the grid's turn that is nearest to the rigid fit's."""
    count = len(points.targets)
    if points.scale is None:
        pose = forward_kinematics(problem.structure, full_pose(problem, base[None]))
    else:
        pose = forward_kinematics(
            problem.structure, full_pose(problem, base.expand(count, -1)), points.scale
        )
    places = torch.cat([pose.joint_centres, pose.markers], dim=1).expand(count, -1, -1)
    R_root = pose.T_ground_from_body[:, problem.root, :3, :3]
    R_wanted = _rigid_fit(problem, places, points) @ R_root
    likeness = torch.einsum("gij,nij->ng", problem.turn_rotations, R_wanted)
    default = problem.default[problem.movers.unknowns]
    return base + (problem.turn_starts - default)[likeness.argmax(1)]


def _rigid_fit(problem: Problem, places: Tensor, points: Points) -> Tensor:
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
    rotation: Tensor = u @ (flip[:, :, None] * vt)
    return rotation


def _covariance(places: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the weighted covariance (n, 3, 3), targets by places, and whether the places span a plane (n)."""
    share = (weights / weights.sum(1, keepdim=True).clamp_min(1e-12))[..., None]
    a = places - (share * places).sum(1, keepdim=True)
    b = targets - (share * targets).sum(1, keepdim=True)
    spans = torch.linalg.eigvalsh((share * a).transpose(1, 2) @ a)
    return (share * b).transpose(1, 2) @ a, spans[:, 1] > 1e-3 * spans[:, 2].clamp_min(1e-9)
