"""Least squares within bounds, for a batch of independent small problems: Levenberg and Marquardt's method.

Dims: n = problem, u = unknown. Each problem has its own damping, accepts or refuses its own steps, and leaves the
batch when it is done. Bounds are held exactly: an unknown at its bound that wants to leave is taken out of the step
(the active set), and what steps over a bound stops at it (projected Newton; Bertsekas, SIAM J. Control 20, 1982).
Damping follows Nielsen (IMM-REP-1999-05): from the ratio of the true to the foretold gain.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from trainers.normal import Normal

Evaluate = Callable[[Tensor, Tensor], Normal]
"""From unknowns (k, u) and the problems (k) that they belong to."""
_START = 1e-3
_LEAST, _MOST = 1e-9, 1e12
_FLOOR = 1e-3
"""Damping of an unknown that no target sees, relative to the one seen best."""


class Minimum(NamedTuple):
    """Where a search ended."""

    x: Tensor
    """(n, u) within the bounds."""
    cost: Tensor
    """(n)."""
    converged: Tensor
    """(n) bool: the last step was shorter than the tolerance."""
    iterations: Tensor
    """(n) steps tried."""


class _State(NamedTuple):
    rows: Tensor
    x: Tensor
    normal: Normal
    damping: Tensor
    growth: Tensor

    def pick(self, keep: Tensor) -> "_State":
        normal = Normal(*(part[keep] for part in self.normal))
        return _State(self.rows[keep], self.x[keep], normal, self.damping[keep], self.growth[keep])


def minimise(
    evaluate: Evaluate, start: Tensor, low: Tensor, high: Tensor, iterations: int, tolerance: float
) -> Minimum:
    """Searches from start (n, u) within low and high (u).

    Args:
        evaluate: the cost and its derivatives.
        start: is moved into the bounds first.
        low: may hold -inf.
        high: may hold inf.
        iterations: at most so many steps per problem, refused ones included.
        tolerance: a problem is solved when its largest step is shorter, in the unknowns' units.
    """
    x = start.clamp(low, high)
    rows = torch.arange(len(x), device=x.device)
    state = _State(
        rows, x, evaluate(x, rows), x.new_full((len(x),), _START), x.new_full((len(x),), 2.0)
    )
    result = Minimum(
        x.clone(), state.normal.cost.clone(), torch.zeros_like(rows, dtype=torch.bool), rows * 0
    )
    for done in range(1, iterations + 1):
        if not len(state.rows):
            break
        state, small = _advance(evaluate, state, low, high, tolerance)
        finished = small | (state.damping > _MOST)
        if done == iterations:
            finished = torch.ones_like(small)
        if finished.any():
            rows = state.rows[finished]
            result.x[rows], result.cost[rows] = state.x[finished], state.normal.cost[finished]
            result.converged[rows], result.iterations[rows] = small[finished], done
            state = state.pick(~finished)
    return result


def _advance(
    evaluate: Evaluate, state: _State, low: Tensor, high: Tensor, tolerance: float
) -> tuple[_State, Tensor]:
    """Tries one step of every problem; also says whose step was shorter than the tolerance."""
    x, (cost, gradient, matrix) = state.x, state.normal
    trial = (x + _step(state, low, high)).clamp(low, high)
    step = trial - x
    foretold = -(gradient * step).sum(1) - 0.5 * (step * (matrix @ step[..., None])[..., 0]).sum(1)
    new = evaluate(trial, state.rows)
    gain = cost - new.cost
    better = gain > 0
    ratio = torch.where(foretold > 0, gain / foretold.clamp_min(1e-300), 0.0)
    easier = state.damping * (1 - (2 * ratio - 1) ** 3).clamp(0.1, 2.0)
    damping = torch.where(better, easier, state.damping * state.growth).clamp_min(_LEAST)
    growth = torch.where(better, 2.0, 2 * state.growth)
    normal = Normal(
        torch.where(better, new.cost, cost),
        torch.where(better[:, None], new.gradient, gradient),
        torch.where(better[:, None, None], new.matrix, matrix),
    )
    x = torch.where(better[:, None], trial, x)
    small = step.abs().amax(1) <= tolerance
    return _State(state.rows, x, normal, damping, growth), small


def _step(state: _State, low: Tensor, high: Tensor) -> Tensor:
    """Returns the damped Gauss-Newton step (n, u) of the unknowns that are free to move."""
    x, (_, gradient, matrix) = state.x, state.normal
    held = ((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0))
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    scale = torch.maximum(diagonal, _FLOOR * diagonal.amax(1, keepdim=True)).clamp_min(1e-12)
    free = (~held).to(x.dtype)
    damped = matrix * free[:, :, None] * free[:, None, :]
    damped = damped + torch.diag_embed(state.damping[:, None] * scale + held * scale)
    factor, failed = torch.linalg.cholesky_ex(damped)
    step = -torch.cholesky_solve((gradient * free)[..., None], factor)[..., 0]
    # A matrix that rounding has made indefinite gives no step; the damping then grows until it is not.
    return torch.where((failed == 0)[:, None], step, -(gradient * free) / (scale * 1e3))
