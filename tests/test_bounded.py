"""Least squares inside a box, held against SciPy's."""

import numpy as np
from scipy.optimize import lsq_linear

from workers.bounded import bounded_steps


def test_it_finds_the_minimum_that_scipy_finds() -> None:
    rng = np.random.default_rng(0)
    J, residual = rng.normal(size=(40, 12, 6)), rng.normal(size=(40, 12))
    low, high = -rng.uniform(0.0, 0.3, (40, 6)), rng.uniform(0.0, 0.3, (40, 6))
    found = bounded_steps(J, residual, low, high, np.full(40, 1e-9))
    for i in range(40):
        best = lsq_linear(J[i], -residual[i], (low[i] - 1e-12, high[i] + 1e-12))
        np.testing.assert_allclose(found[i], best.x, atol=1e-5)


def test_unknowns_without_room_stay_and_keep_no_other_from_being_let_go() -> None:
    """Ten unknowns that may not move pull harder than the one that was held too early."""
    rng = np.random.default_rng(3)
    J, residual = rng.normal(size=(60, 30, 14)), rng.normal(size=(60, 30))
    low, high = np.full((60, 14), -0.05), np.full((60, 14), 0.05)
    low[:, 4:], high[:, 4:] = 0.0, 0.0
    residual += 3.0 * J[:, :, 4:].sum(axis=2)
    found = bounded_steps(J, residual, low, high, np.full(60, 1e-9))
    np.testing.assert_array_equal(found[:, 4:], 0.0)
    for i in range(60):
        best = lsq_linear(J[i, :, :4], -residual[i], (low[i, :4], high[i, :4]))
        np.testing.assert_allclose(found[i, :4], best.x, atol=1e-5)
