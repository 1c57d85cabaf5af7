"""Consecutive frames: starts from neighbours, angles without jumps, and all frames of a clip as one smooth whole.

Dims: n = frame, u = unknown, k = key frame.

Smoothing minimises Σ_t cost_t(x_t) + ½ s Σ_t |x_t+1 - 2 x_t + x_t-1|². The second difference leaves steady movement
alone where the first would shrink it. Its normal equations are a band of u x u blocks, two beside the diagonal, which a
Cholesky factorisation solves exactly in one pass over the frames: O(n u³) and no tuning of an inner solver.
"""

import torch
from torch import Tensor

from trainers.levenberg import Evaluate, Minimum
from trainers.normal import Normal

Bounds = tuple[Tensor, Tensor]
_START, _MOST = 1e-3, 1e9


def spread(x: Tensor, keys: Tensor, count: int) -> Tensor:
    """Interpolates key frames (k, u) at ascending places (k) over all frames (count, u)."""
    frame = torch.arange(count, device=keys.device)
    after = torch.searchsorted(keys, frame).clamp(1, max(len(keys) - 1, 1))
    before = after - 1
    after = after.clamp_max(len(keys) - 1)
    gap = (keys[after] - keys[before]).clamp_min(1)
    share = ((frame - keys[before]) / gap).clamp(0, 1)[:, None].to(x)
    return x[before] + share * (x[after] - x[before])


def unwrap(x: Tensor, periodic: Tensor) -> Tensor:
    """Takes jumps of whole turns out of the periodic unknowns of frames (n, u)."""
    if len(x) < 2:
        return x
    whole = torch.round((x[1:] - x[:-1]) / (2 * torch.pi)).cumsum(0) * (2 * torch.pi)
    return torch.cat([x[:1], x[1:] - torch.where(periodic, whole, 0.0)])


def smooth(
    evaluate: Evaluate,
    start: Tensor,
    bounds: Bounds,
    smoothness: float,
    iterations: int,
    tolerance: float,
) -> Minimum:
    """Searches all frames together from start (n, u) within bounds; one damping for the whole clip."""
    (low, high), rows = bounds, torch.arange(len(start), device=start.device)
    x = start.clamp(low, high)
    normal, damping, done, small = _whole(evaluate, x, rows, smoothness), _START, 0, False
    while not small and done < iterations and damping < _MOST and len(x):
        done += 1
        held = ((x <= low) & (normal.gradient > 0)) | ((x >= high) & (normal.gradient < 0))
        trial = (x + _step(normal, held, smoothness, damping)).clamp(low, high)
        small = bool((trial - x).abs().max() <= tolerance)
        new = _whole(evaluate, trial, rows, smoothness)
        if new.cost.sum() < normal.cost.sum():
            x, normal, damping = trial, new, max(damping / 5, 1e-9)
        else:
            damping *= 4
    ends = torch.full_like(rows, small or not len(x), dtype=torch.bool)
    return Minimum(x, normal.cost, ends, torch.full_like(rows, done))


def _whole(evaluate: Evaluate, x: Tensor, rows: Tensor, smoothness: float) -> Normal:
    """Adds the bending to cost and gradient; the matrix stays that of the single frames."""
    parts = [evaluate(x[i], i) for i in torch.split(rows, 256)] or [evaluate(x, rows)]
    cost, gradient, matrix = (torch.cat(part) for part in zip(*parts, strict=True))
    if len(x) < 3:
        return Normal(cost, gradient, matrix)
    bend = x[2:] - 2 * x[1:-1] + x[:-2]
    cost = cost.index_add(0, rows[1:-1], 0.5 * smoothness * bend.square().sum(1))
    pull = torch.zeros_like(x)
    pull[2:] += bend
    pull[1:-1] -= 2 * bend
    pull[:-2] += bend
    return Normal(cost, gradient + smoothness * pull, matrix)


def _step(normal: Normal, held: Tensor, smoothness: float, damping: float) -> Tensor:
    """Solves the band for the step (n, u) of the unknowns that are free to move."""
    count, free = len(held), (~held).to(normal.gradient)
    band = _bending(count, free)
    diagonal = normal.matrix.diagonal(dim1=1, dim2=2)
    most = diagonal.amax((0, 1))
    floor = 1e-3 * torch.where(most > 0, most, 1.0)
    own = normal.matrix * free[:, :, None] * free[:, None]
    added = (
        smoothness * band[0][:, None] * free + damping * diagonal.clamp_min(floor) + held * floor
    )
    blocks = own + torch.diag_embed(added)
    near = smoothness * band[1][:, None] * free[1:] * free[:-1]
    far = smoothness * band[2][:, None] * free[2:] * free[:-2]
    return -_solve(blocks, near, far, normal.gradient * free)


def _bending(count: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the diagonals of D^T D, D the second difference of `count` frames."""
    D = like.new_zeros(max(count, 3))
    main, near, far = D.clone(), D[1:].clone(), D[2:].clone()
    bends = max(count - 2, 0)
    for k, (i, weight) in enumerate(((0, 1.0), (1, 4.0), (2, 1.0))):
        main[i : i + bends] += weight
        if k < 2:
            near[i : i + bends] -= 2.0
    far[:bends] += 1.0
    return main[:count], near[: max(count - 1, 0)], far[:bends]


def _solve(blocks: Tensor, near: Tensor, far: Tensor, right: Tensor) -> Tensor:
    """Solves the symmetric band: blocks (n, u, u), diagonals of the blocks beside them (n - 1, u) and (n - 2, u)."""
    factors: list[Tensor] = []
    ones: list[Tensor] = []
    twos: list[Tensor] = []
    solved: list[Tensor] = []
    for t in range(len(blocks)):
        block, rest = blocks[t], right[t]
        if t > 1:
            two = _under(torch.diag(far[t - 2]), factors[t - 2])
            block, rest = block - two @ two.T, rest - two @ solved[t - 2]
            twos.append(two)
        if t > 0:
            side = torch.diag(near[t - 1])
            one = _under(side - twos[-1] @ ones[t - 2].T if t > 1 else side, factors[t - 1])
            block, rest = block - one @ one.T, rest - one @ solved[t - 1]
            ones.append(one)
        factors.append(torch.linalg.cholesky(block))
        solved.append(torch.linalg.solve_triangular(factors[t], rest[:, None], upper=False)[:, 0])
    result = torch.zeros_like(right)
    for t in reversed(range(len(blocks))):
        rest = solved[t]
        if t + 1 < len(blocks):
            rest = rest - ones[t].T @ result[t + 1]
        if t + 2 < len(blocks):
            rest = rest - twos[t].T @ result[t + 2]
        result[t] = torch.linalg.solve_triangular(factors[t].T, rest[:, None], upper=True)[:, 0]
    return result


def _under(block: Tensor, factor: Tensor) -> Tensor:
    """Returns block · factor^-T."""
    turned: Tensor = torch.linalg.solve_triangular(factor, block.T, upper=False)
    return turned.T
