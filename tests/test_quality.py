"""A shard proves itself before it is written: any one wrong number sends its row, and only it, to quarantine."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from posed_people import pose_of, shard

from schemas import layout
from schemas.shards import Quarantined, ShardContents
from workers import osim, quality

DATA = osim.read_model("default")


@pytest.fixture(scope="module")
def model() -> osim.OsimModel:
    return osim.OsimModel(DATA)


@pytest.fixture(scope="module")
def poser(model: osim.OsimModel) -> Callable[..., np.ndarray]:
    return pose_of(DATA)


def squat(model: osim.OsimModel, degrees: float) -> np.ndarray:
    """Returns a pose with bent hips and knees."""
    q = model.spec.default_pose()
    for side in "rl":
        q[model.spec.coordinate_names.index(f"knee_angle_{side}")] = np.radians(degrees)
        q[model.spec.coordinate_names.index(f"hip_flexion_{side}")] = np.radians(0.7 * degrees)
    return model.spec.couple(q)


@pytest.fixture
def good(model: osim.OsimModel) -> ShardContents:
    return shard(model, np.stack([squat(model, d) for d in (0.0, 50.0, 100.0)]))


def test_a_good_shard_passes_whole(
    good: ShardContents, model: osim.OsimModel, poser: Callable[..., np.ndarray]
) -> None:
    kept = quality.checked(good, model.spec, poser)
    assert kept.quarantine == ()
    assert kept.images == good.images
    for name, values in good.arrays.items():
        np.testing.assert_array_equal(kept.arrays[name], values)


WRONG = [
    ("joints_px", 1.0, "reprojection_px"),
    ("joints_px", 1e7, "reprojection_px"),
    ("joints_cam", 0.01, "reprojection_px"),
    ("joints_ground", 0.01, "reprojection_px"),
    ("markers_px", -0.05, "reprojection_px"),
    ("markers_cam", 0.01, "reprojection_px"),
    ("markers_ground", 0.01, "reprojection_px"),
    ("markers_ground", 2e-5, "stored_vs_model_m"),
    ("keypoints", 0.1, "reprojection_px"),
    ("keypoints_cam", 0.01, "reprojection_px"),
    ("K", 0.5, "reprojection_px"),
    ("T_cam_from_ground", 0.01, "reprojection_px"),
    ("q", 1e-3, "stored_vs_model_m"),
    ("scale", 0.01, "stored_vs_model_m"),
]
BROKEN = (
    *("box", "area", "A_crop_from_source", "occlusion", "K", "T_cam_from_ground", "q", "scale"),
    *("T_ground_from_root", "joints_ground", "joints_cam", "joints_px", "markers_ground", "time"),
    *("markers_cam", "markers_px", "keypoints", "keypoints_cam", "anthropometry", "camera_yaw"),
)


@pytest.mark.parametrize(
    ("name", "by", "reason"),
    [*WRONG, *((name, bad, "not_finite") for name in BROKEN for bad in (np.nan, np.inf))],
)
def test_one_wrong_number_quarantines_its_row_with_the_reason(
    good: ShardContents,
    model: osim.OsimModel,
    poser: Callable[..., np.ndarray],
    name: str,
    by: float,
    reason: str,
) -> None:
    good.arrays[name].reshape(3, -1)[1, 0] += by
    kept = quality.checked(good, model.spec, poser)
    assert [(q.sample, q.reason) for q in kept.quarantine] == [("11", reason)]
    assert kept.arrays["sample_id"].tolist() == [10, 12]
    assert kept.images == [b"\x00", b"\x02"]
    assert kept.planned == len(kept.images) + len(kept.quarantine)
    assert all(len(values) == 2 for values in kept.arrays.values())


def test_a_pose_beyond_a_limit_is_quarantined_though_its_labels_agree(
    model: osim.OsimModel, poser: Callable[..., np.ndarray]
) -> None:
    knee = model.spec.coordinates[model.spec.coordinate_names.index("knee_angle_r")]
    q = np.stack([squat(model, 30.0), squat(model, float(np.degrees(knee.upper)) + 0.1)])
    kept = quality.checked(shard(model, q), model.spec, poser)
    assert [(e.sample, e.reason) for e in kept.quarantine] == [("11", "joint_limit_rad")]
    assert float(kept.quarantine[0].detail) == pytest.approx(np.radians(0.1), rel=1e-3)


def test_every_row_may_fail(
    good: ShardContents, model: osim.OsimModel, poser: Callable[..., np.ndarray]
) -> None:
    good.arrays["q"][0] = np.nan
    good.arrays["joints_px"][1:] += 1
    kept = quality.checked(good, model.spec, poser)
    reasons = ["not_finite", "reprojection_px", "reprojection_px"]
    assert [e.reason for e in kept.quarantine] == reasons
    assert kept.images == []
    assert quality.statistics(kept, model.spec).counts == {
        "planned": 3,
        "rows": 0,
        "quarantined_not_finite": 1,
        "quarantined_reprojection_px": 2,
    }


def test_what_was_rejected_before_stays_on_record(
    good: ShardContents, model: osim.OsimModel, poser: Callable[..., np.ndarray]
) -> None:
    early = Quarantined(sample="squat/4/3", reason="person_not_visible", detail="3 pixels")
    good.arrays["time"][2] = np.nan
    kept = quality.checked(replace(good, quarantine=(early,), planned=4), model.spec, poser)
    assert [e.reason for e in kept.quarantine] == ["person_not_visible", "not_finite"]


@pytest.mark.parametrize("planned", [2, 4])
def test_bookkeeping_that_does_not_add_up_stops_the_shard(
    good: ShardContents, model: osim.OsimModel, poser: Callable[..., np.ndarray], planned: int
) -> None:
    with pytest.raises(RuntimeError, match=f"{planned} samples planned, 3 made, 0 quarantined"):
        quality.checked(replace(good, planned=planned), model.spec, poser)


def test_photographs_are_held_to_what_they_can_know() -> None:
    """COCO rows have no skeleton: NaN there is the unknown, but a box that is none is refused."""
    arrays = layout.empty(layout.Sizes(), 2)
    for name in ("box", "A_crop_from_source", "area", "occlusion"):
        arrays[name][:] = 1
    arrays["box"][1, 2] = np.nan
    kept = quality.checked(ShardContents(images=[b"a", b"b"], arrays=arrays, planned=2), None, None)
    assert [e.reason for e in kept.quarantine] == ["not_finite"]
    assert kept.images == [b"a"]
    shown = quality.statistics(kept, None).histograms
    assert shown["occlusion"].total == shown["box_height"].total == 1
    assert "knee_flexion" not in shown


def test_the_statistics_count_angles_bodies_cameras_and_skin(
    good: ShardContents, model: osim.OsimModel
) -> None:
    shown = quality.statistics(good, model.spec).histograms
    assert shown["knee_flexion"].total == 3
    edges, counts = np.array(shown["knee_flexion"].edges), np.array(shown["knee_flexion"].counts)
    assert counts[(edges[:-1] <= 50) & (edges[1:] > 50)].sum() == 1
    assert shown["camera_yaw"].total == shown["bmi"].total == 3
    assert shown["skin_to_joint"].total == 2
    assert shown["knee_angle_r"] == replace(shown["knee_flexion"])
    assert shown["skin_to_joint"].most == pytest.approx(12.0)
