"""3D metrics: known errors give known figures, batches add up, and trivial answers are told apart from good ones."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tiny_skeleton import tiny_skeleton

from trainers import metrics3d
from trainers.metrics import total
from trainers.readout import read, side_and_base

SPEC = tiny_skeleton()
READOUT = read(SPEC)


def _truth(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    sizes = SPEC.sizes
    q = np.tile(SPEC.default_pose(), (count, 1))
    share = rng.uniform(0.05, 0.95, (count, len(READOUT.low)))
    q[:, READOUT.coordinates] = READOUT.low + share * (READOUT.high - READOUT.low)
    return {
        "q": q,
        "scale": rng.uniform(0.9, 1.1, (count, sizes.b, 3)),
        "R_cam_from_root": Rotation.from_rotvec(rng.normal(size=(count, 3)) * 0.3).as_matrix(),
        "joints": rng.normal(size=(count, sizes.j, 3)),
        "markers": rng.normal(size=(count, sizes.m, 3)),
        "joints_px": rng.uniform(0, 64, (count, sizes.j, 2)),
        "place": rng.normal(size=(count, 3)),
        "q_known": np.ones((count, sizes.c)),
    }


def _measured(predicted: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> dict[str, float]:
    return metrics3d.finalise(metrics3d.errors(READOUT, predicted, truth))


def test_truth_is_without_error() -> None:
    result = _measured(_truth(5), _truth(5))
    assert max(result.values()) < 1e-9
    assert set(result) >= {
        "angle_deg",
        "angle_lower_deg",
        "angle_knee_deep_deg",
        "angle_deg/knee_angle_r",
        "mpjpe_mm",
        "marker_mm",
        "joints_px",
        "scale_error",
        "root_deg",
        "limit_violations_percent",
    }


def test_known_errors_give_known_figures() -> None:
    truth, said = _truth(8), _truth(8)
    knee, back = (SPEC.coordinate_names.index(n) for n in ("knee_angle_l", "lumbar_extension"))
    said["q"][:, knee] += np.radians(9.0)
    said["q"][:, back] -= np.radians(18.0)
    said["markers"] = said["markers"] + np.array([0.03, 0.0, -0.04])
    said["scale"] = said["scale"] + 0.02
    said["R_cam_from_root"] = (
        Rotation.from_rotvec([0, np.radians(25.0), 0]).as_matrix() @ (truth["R_cam_from_root"])
    )
    result = _measured(said, truth)
    assert result["angle_deg"] == pytest.approx((9 + 18) / 9)
    assert result["angle_lower_deg"] == pytest.approx(9 / 8)
    assert result["angle_deg/knee_angle_l"] == pytest.approx(9)
    assert result["angle_deg/knee_angle_r"] == pytest.approx(0)
    assert result["marker_mm"] == pytest.approx(50)
    assert result["scale_error"] == pytest.approx(0.02)
    assert result["root_deg"] == pytest.approx(25)


def test_deep_knees_are_those_that_truly_flex_beyond_ninety() -> None:
    truth, said = _truth(4), _truth(4)
    right, left = (SPEC.coordinate_names.index(f"knee_angle_{s}") for s in "rl")
    truth["q"][:, right] = np.radians([20.0, 89.0, 91.0, 120.0])
    truth["q"][:, left] = 0.1
    said["q"][:, [right, left]] = truth["q"][:, [right, left]]
    said["q"][2, right] -= np.radians(10.0)
    said["q"][0, right] -= np.radians(15.0)
    assert _measured(said, truth)["angle_knee_deep_deg"] == pytest.approx(5.0)


def test_roots_own_joint_does_not_dilute_the_mean() -> None:
    truth, said = _truth(3), _truth(3)
    root = SPEC.joint_names.index("ground_pelvis")
    others = [j for j in range(len(SPEC.joints)) if j != root]
    said["joints"][:, others] += np.array([0.0, 0.01, 0.0])
    assert _measured(said, truth)["mpjpe_mm"] == pytest.approx(10.0)


def test_angles_that_the_labels_do_not_know_count_nowhere() -> None:
    truth, said = _truth(6), _truth(6)
    knee = SPEC.coordinate_names.index("knee_angle_l")
    said["q"][:, knee] += np.radians(9.0)
    said["q"][3:, knee] = 77.0
    mean = metrics3d.mean_pose(metrics3d.summarise(truth))["q"]
    truth["q"][3:, knee], truth["q_known"][3:, knee] = -5.0, 0.0
    result = _measured(said, truth)
    assert result["angle_deg/knee_angle_l"] == pytest.approx(9)
    assert result["angle_deg"] == pytest.approx(3 * 9 / (6 * 9 - 3))
    known = metrics3d.mean_pose(metrics3d.summarise(truth))["q"]
    assert known[knee] == pytest.approx(truth["q"][:3, knee].mean())
    np.testing.assert_allclose(np.delete(known, knee), np.delete(mean, knee))
    truth["q_known"][:, knee] = 0.0
    assert "angle_deg/knee_angle_l" not in _measured(said, truth)


def test_coupled_locked_and_root_coordinates_are_not_scored() -> None:
    truth, said = _truth(3), _truth(3)
    for name in ("knee_angle_r_beta", "mtp_angle_l", "pelvis_tilt", "pelvis_ty"):
        said["q"][:, SPEC.coordinate_names.index(name)] += 1.0
    assert _measured(said, truth)["angle_deg"] == pytest.approx(0.0)


def test_violations_are_a_share_of_all_predicted_values() -> None:
    truth, said = _truth(10), _truth(10)
    said["q"][:3, SPEC.coordinate_names.index("knee_angle_r")] = np.radians(-1.0)
    expected = 100 * 3 / (10 * len(READOUT.names))
    assert _measured(said, truth)["limit_violations_percent"] == pytest.approx(expected)


def test_batches_add_up_to_the_whole() -> None:
    truth, said = _truth(9), _truth(9)
    rng = np.random.default_rng(0)
    said = {
        n: v if n == "R_cam_from_root" else v + rng.normal(size=v.shape) for n, v in said.items()
    }
    parts = [slice(0, 2), slice(2, 2), slice(2, 9)]
    added = total(
        metrics3d.errors(
            READOUT, {n: v[p] for n, v in said.items()}, {n: v[p] for n, v in truth.items()}
        )
        for p in parts
    )
    whole = _measured(said, truth)
    assert metrics3d.finalise(added) == pytest.approx(whole)
    summed = total(metrics3d.summarise({n: v[p] for n, v in truth.items()}) for p in parts)
    direct = metrics3d.mean_pose(metrics3d.summarise(truth))
    for name, value in metrics3d.mean_pose(summed).items():
        np.testing.assert_allclose(value, direct[name], atol=1e-12)


def test_mean_over_nothing_is_left_out() -> None:
    truth = {n: v[:0] for n, v in _truth(1).items()}
    assert _measured(truth, truth) == {}


def test_sides_are_read_from_either_end_of_a_name() -> None:
    assert side_and_base("femur_r") == ("r", "femur")
    assert side_and_base("l_foot") == ("l", "foot")
    assert side_and_base("Right_Femur") == ("r", "Femur")
    assert side_and_base("torso") == ("", "torso")
    assert side_and_base("lumbar") == ("", "lumbar")


def test_knees_are_the_widest_knee_coordinate_of_each_side() -> None:
    names = np.array(READOUT.names)[READOUT.knee]
    assert names.tolist() == ["knee_angle_r", "knee_angle_l"]
    assert READOUT.root_coordinates.tolist() == list(range(6))
