"""Gaussian targets and their inverse.

Legend: points (n, k, 2) in pixels of the net's picture; maps (n, k, h, w) in cells of `stride` pixels. The centre of
cell u lies at pixel (u + 0.5) * stride - 0.5, so that pixel and cell edges coincide.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

STRIDE = 4


def cells_from_pixels(points: Tensor) -> Tensor:
    """Converts pixels of the picture to cells of the map."""
    return (points + 0.5) / STRIDE - 0.5


def pixels_from_cells(points: Tensor) -> Tensor:
    """Converts cells of the map to pixels of the picture."""
    return (points + 0.5) * STRIDE - 0.5


def targets(points: Tensor, height: int, width: int, sigma: float) -> Tensor:
    """Draws a Gaussian of peak 1 at each point's exact place in maps (n, k, height, width).

    It is cut to zero beyond 3 sigma, as in the SimpleBaseline paper (Xiao et al., ECCV 2018), but not moved
    to a cell's centre. Points that are NaN give an empty map.
    """
    cells = cells_from_pixels(points)[..., None]
    x = torch.arange(width, device=points.device, dtype=points.dtype)
    y = torch.arange(height, device=points.device, dtype=points.dtype)
    dx, dy = x - cells[..., 0, :], y - cells[..., 1, :]
    distance = dx[..., None, :] ** 2 + dy[..., :, None] ** 2
    maps = torch.exp(-distance / (2 * sigma**2))
    return torch.where(distance <= (3 * sigma) ** 2, maps, torch.zeros_like(maps))


def argmax(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the pixels (n, k, 2) of the highest cells' centres, and their values (n, k)."""
    score, flat = maps.flatten(2).max(2)
    width = maps.shape[3]
    cells = torch.stack([flat % width, flat // width], dim=2).to(maps.dtype)
    return pixels_from_cells(cells), score


def dark(maps: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Returns sub-pixel places (n, k, 2) in pixels and scores (n, k).

    Distribution-aware coordinate representation (Zhang et al., CVPR 2020): smooth the map, take the logarithm,
    and step from the highest inner cell to the extremum of its second-order Taylor expansion. The step is bounded
    by one cell, and left out where the log-map does not curve downwards.
    """
    w = maps.shape[3]
    score = maps.flatten(2).amax(2)
    log = _smooth(maps, sigma).clamp_min(1e-10).log()
    inner = F.pad(log[:, :, 1:-1, 1:-1], [1, 1, 1, 1], value=float("-inf"))
    place = inner.flatten(2).argmax(2)

    def at(dx: int, dy: int) -> Tensor:
        return log.flatten(2).gather(2, (place + dy * w + dx)[..., None])[..., 0]

    here = at(0, 0)
    gx, gy = (at(1, 0) - at(-1, 0)) / 2, (at(0, 1) - at(0, -1)) / 2
    xx, yy = at(1, 0) - 2 * here + at(-1, 0), at(0, 1) - 2 * here + at(0, -1)
    xy = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4
    det = xx * yy - xy * xy
    usable = (det > 1e-12) & (xx < 0)
    safe = torch.where(usable, det, torch.ones_like(det))
    step = torch.stack([-(yy * gx - xy * gy) / safe, -(xx * gy - xy * gx) / safe], dim=2)
    step = torch.where(usable[..., None], step.clamp(-1, 1), torch.zeros_like(step))
    cells = torch.stack([place % w, place // w], dim=2).to(maps.dtype) + step
    return pixels_from_cells(cells), score


def _smooth(maps: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(2 * sigma))
    places = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * (places / sigma) ** 2)
    kernel = kernel / kernel.sum()
    n, k, h, w = maps.shape
    flat = maps.clamp_min(0).reshape(n * k, 1, h, w)
    flat = F.conv2d(flat, kernel.view(1, 1, -1, 1), padding=(radius, 0))
    return F.conv2d(flat, kernel.view(1, 1, 1, -1), padding=(0, radius)).view(n, k, h, w)
