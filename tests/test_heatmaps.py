"""Targets and decoding undo each other, to a fraction of a pixel."""

import numpy as np
import torch

from trainers import heatmaps


def points(n: int, margin: float, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform([margin] * 2, [192 - margin, 256 - margin], (n, 6, 2)))


def test_dark_finds_a_gaussian_to_a_twentieth_of_a_pixel() -> None:
    where = points(40, margin=30)
    maps = heatmaps.targets(where, 64, 48, 2.0)
    found, score = heatmaps.dark(maps, 2.0)
    error = (found - where).norm(dim=-1)
    assert float(error.mean()) <= 0.05
    assert float(error.max()) <= 0.2
    assert float(score.min()) > 0.9


def test_dark_stands_noise_better_than_argmax() -> None:
    where = points(60, margin=30)
    maps = heatmaps.targets(where, 64, 48, 2.0)
    noise = torch.from_numpy(np.random.default_rng(1).normal(0, 0.05, maps.shape))
    dark = (heatmaps.dark(maps + noise, 2.0)[0] - where).norm(dim=-1).mean()
    plain = (heatmaps.argmax(maps + noise)[0] - where).norm(dim=-1).mean()
    assert float(dark) < 0.6 * float(plain)


def test_argmax_is_the_centre_of_the_nearest_cell() -> None:
    where = points(40, margin=10)
    found, _ = heatmaps.argmax(heatmaps.targets(where, 64, 48, 2.0))
    assert float((found - where).abs().max()) <= heatmaps.STRIDE / 2 + 1e-6


def test_the_peak_is_one_where_the_point_meets_a_cell_centre() -> None:
    where = heatmaps.pixels_from_cells(torch.tensor([[[10.0, 20.0]]], dtype=torch.float64))
    maps = heatmaps.targets(where, 64, 48, 2.0)
    assert float(maps.max()) == 1.0
    assert int(maps.flatten().argmax()) == 20 * 48 + 10
    assert float(maps[0, 0, 20, 12]) == np.exp(-0.5)
    assert float(maps[0, 0, 20, 17]) == 0.0


def test_an_unknown_point_gives_an_empty_map_and_an_empty_map_a_finite_place() -> None:
    maps = heatmaps.targets(torch.full((1, 1, 2), torch.nan), 16, 12, 2.0)
    assert float(maps.abs().sum()) == 0
    found, score = heatmaps.dark(maps, 2.0)
    assert bool(torch.isfinite(found).all())
    assert float(score) == 0
