"""The normal equations of weighted points, as inverse kinematics solves them, without a Jacobian.

Dims: n = sample, u = unknown, e = pair of a joint and an unknown that moves it, p = point. m and rad; ground frame.

A pair moves everything beyond its joint as one rigid body (trainers/jacobian.py), by a twist (w, v) that gives a point
p the velocity v + w x p. So the Gauss-Newton matrix is the mass matrix of a linkage whose only masses are the weighted
points, and the composite rigid body algorithm (Featherstone, Rigid Body Dynamics Algorithms, 2008, ch. 6) makes it from
ten moments per joint.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from trainers.jacobian import Motion, Movers


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
