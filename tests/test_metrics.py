"""Metrics add up: any cut of the samples gives the direct result."""

import math

import numpy as np
import pytest

from trainers import metrics
from trainers.metrics import Tally


def test_tallies_of_parts_add_up_to_the_tally_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    error, labelled = rng.random((40, 6)) / 5, rng.random((40, 6)) < 0.7
    points, true = rng.normal(0, 9, (40, 6, 2)), rng.normal(0, 9, (40, 6, 2))

    def tally(rows: slice) -> Tally:
        parts = [
            metrics.pck("x", error[rows], labelled[rows]),
            metrics.limb_angles("", points[rows], true[rows], labelled[rows]),
            Tally(rows={"error": error[rows]}),
        ]
        return metrics.total(parts)

    whole = tally(slice(None))
    cut = metrics.total([tally(slice(0, 3)), tally(slice(3, 3)), tally(slice(3, 40))])
    assert whole.sums.keys() == cut.sums.keys()
    for name in whole.sums:
        np.testing.assert_allclose(cut.sums[name], whole.sums[name], rtol=1e-13)
    np.testing.assert_array_equal(cut.rows["error"], whole.rows["error"])


def test_zero_changes_nothing_and_the_mean_of_nothing_is_nan() -> None:
    tally = metrics.averaged("a", np.array([1.0, 2.0, 6.0]))
    assert (Tally() + tally + Tally()).mean("a") == 3.0
    assert math.isnan(metrics.averaged("a", np.empty(0)).mean("a"))


def test_pck_counts_labelled_points_within_the_share() -> None:
    error = np.array([[0.04, 0.06, 0.2, 0.05]])
    labelled = np.array([[True, True, True, False]])
    tally = metrics.pck("image", error, labelled)
    assert tally.mean("pck@0.05_image") == pytest.approx(1 / 3)
    assert tally.mean("pck@0.1_image") == pytest.approx(2 / 3)


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 179.0, 180.0])
def test_angles_between_limbs(degrees: float) -> None:
    corner = np.array([3.0, -2.0])
    a = corner + [2.0, 0.0]
    b = corner + 5 * np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
    assert float(metrics.angle_deg(a, corner, b)) == pytest.approx(degrees, abs=1e-9)
    assert math.isnan(float(metrics.angle_deg(corner, corner, b)))


def test_limb_angles_need_all_three_points_and_bent_knees_are_seen() -> None:
    straight = np.array([[[0, 0], [4, 0], [0, 5], [4, 5], [0, 10], [4, 10]]], dtype=float)
    bent = straight.copy()
    bent[0, 4] = [5, 5]
    all_seen = np.ones((1, 6), dtype=bool)
    tally = metrics.limb_angles("", bent, straight, all_seen)
    assert tally.mean("knee_2d_deg") == pytest.approx(45.0)
    assert tally.mean("hip_2d_deg") == pytest.approx(0.0)
    hidden = all_seen.copy()
    hidden[0, 4] = False
    assert metrics.limb_angles("", bent, straight, hidden).mean("knee_2d_deg") == 0.0
