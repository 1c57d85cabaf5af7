"""Labels of a frame: what hides a point is told apart, and every frame of reference says the same."""

import numpy as np
import pytest
from posed_people import SIZE, labels, picture, view
from tiny_skeleton import tiny_skeleton

from schemas import geometry
from schemas.errors import InputError, SampleRejected
from schemas.keypoints import COCO_KEYPOINTS, LOWER_INDICES, Visibility
from workers import annotate, osim
from workers.render import Picture

OWN, OTHER = frozenset({3, 4}), 9


@pytest.fixture(scope="module")
def model() -> osim.OsimModel:
    return osim.OsimModel(osim.read_model("default"))


def seen(part: int, depth: float, point: tuple[float, float] = (5.0, 6.0)) -> Visibility:
    """Says what becomes of a point 3 m away, 0.2 m deep under parts 3 and 4, where the picture shows this."""
    points, depths = np.array([point]), np.array([3.0])
    (found,) = annotate.visibility(points, depths, [OWN], 0.2, picture(part, depth))
    return Visibility(found)


@pytest.mark.parametrize(
    ("part", "depth", "expected"),
    [
        (3, 2.85, Visibility.VISIBLE),  # under its own skin
        (4, 3.4, Visibility.VISIBLE),  # bone outside the skin: nothing is before it
        (3, 2.7, Visibility.SELF_OCCLUDED),  # behind its own body, e.g. the knee behind the thigh
        (OTHER, 2.96, Visibility.VISIBLE),  # a neighbour's skin at the seam
        (OTHER, 2.85, Visibility.SELF_OCCLUDED),  # an arm before the hip
        (255, 2.0, Visibility.OCCLUDED),
        (255, 3.2, Visibility.VISIBLE),  # an occluder behind it
        (0, 2.0, Visibility.OCCLUDED),  # furniture
        (0, np.inf, Visibility.VISIBLE),  # a thin limb between pixels
    ],
)
def test_a_point_is_hidden_by_what_is_before_it(
    part: int, depth: float, expected: Visibility
) -> None:
    assert seen(part, depth) == expected


@pytest.mark.parametrize(
    ("point", "inside"),
    [
        ((-0.4, 0.0), True),
        ((-0.6, 0.0), False),
        ((SIZE - 0.6, SIZE - 0.6), True),
        ((SIZE - 0.4, 4.0), False),
        ((4.0, 1e12), False),
        ((np.nan, np.nan), False),
    ],
)
def test_the_frame_ends_at_the_outer_edges_of_its_pixels(
    point: tuple[float, float], inside: bool
) -> None:
    expected = Visibility.VISIBLE if inside else Visibility.OUT_OF_FRAME
    assert seen(3, 2.9, point) == expected


def test_a_point_reads_the_pixel_that_it_lies_in() -> None:
    shown = picture(0, np.inf)
    shown.part[6, 5], shown.depth[6, 5] = 255, 1.0  # row 6, column 5
    points = np.array([[5.4, 6.4], [4.6, 5.6], [6.0, 5.0], [5.6, 6.0]])
    found = annotate.visibility(points, np.full(4, 3.0), [OWN] * 4, 0.2, shown)
    expected = [Visibility.OCCLUDED] * 2 + [Visibility.VISIBLE] * 2
    assert found.tolist() == expected


def check_joints(spec: osim.SkeletonSpec) -> None:
    found = annotate.keypoint_joints(spec)
    names = {COCO_KEYPOINTS[k]: spec.joints[j].child for k, j in found.items()}
    assert sorted(found) == list(range(5, 17))
    assert names["left_hip"] == "femur_l"
    assert names["right_knee"] == "tibia_r"
    assert names["left_ankle"] == "talus_l"
    assert names["right_shoulder"] == "humerus_r"
    assert names["left_wrist"] == "hand_l"
    assert len(set(found.values())) == 12


def test_keypoints_find_their_joints_in_the_default_model(model: osim.OsimModel) -> None:
    check_joints(model.spec)


@pytest.mark.parametrize(
    "name", ["opencap/LaiUhlrich2022.osim", "pose2sim/Model_Pose2Sim_simple.osim"]
)
def test_keypoints_find_their_joints_in_the_models_of_labs(shared_data, name: str) -> None:  # type: ignore[no-untyped-def]
    check_joints(osim.read_skeleton((shared_data / "opensim" / name).read_bytes()))


def test_a_model_without_arms_is_refused_by_the_missing_body() -> None:
    with pytest.raises(InputError, match="humerus_l, so left_shoulder cannot be labelled"):
        annotate.keypoint_joints(tiny_skeleton())


def half_hidden() -> Picture:
    """Returns a picture whose left half is an occluder close by, and whose right half is all pelvis, far away."""
    shown = picture(1, 9.0)
    shown.part[:, : SIZE // 2], shown.depth[:, : SIZE // 2] = 255, 0.5
    return shown


def test_all_frames_of_reference_say_the_same(model: osim.OsimModel) -> None:
    q, camera = model.spec.default_pose(), view()
    found, pose = labels(model, q, camera, half_hidden()), model.pose(q)
    for kind in ("joints", "markers"):
        in_camera = geometry.transform_points(camera.T_cam_from_ground, found[f"{kind}_ground"])
        np.testing.assert_allclose(found[f"{kind}_cam"], in_camera)
        np.testing.assert_allclose(found[f"{kind}_px"], geometry.project(camera.K, in_camera))
    np.testing.assert_array_equal(found["joints_ground"], pose.joint_centres)
    np.testing.assert_array_equal(found["markers_ground"], pose.markers)
    pelvis = model.spec.body_names.index("pelvis")
    np.testing.assert_array_equal(found["T_ground_from_root"], pose.T_ground_from_body[pelvis])
    np.testing.assert_array_equal(found["A_crop_from_source"], camera.A_crop_from_source)
    assert found["camera_yaw"] == camera.yaw


def test_keypoints_are_the_models_joints_and_the_skins_face(model: osim.OsimModel) -> None:
    found = labels(model, model.spec.default_pose(), view(), half_hidden())
    for k, joint in annotate.keypoint_joints(model.spec).items():
        np.testing.assert_array_equal(found["keypoints"][k], found["joints_px"][joint])
        np.testing.assert_array_equal(found["keypoints_cam"][k], found["joints_cam"][joint])
        assert found["keypoint_visibility"][k] == found["joint_visibility"][joint]
    top = found["markers_px"][model.spec.marker_names.index("VERT")]
    np.testing.assert_allclose(found["keypoints"][:5], np.tile(top, (5, 1)))


def test_the_persons_left_is_on_the_pictures_right_when_filmed_from_the_front(
    model: osim.OsimModel,
) -> None:
    """OpenSim's person faces +X, so a camera on +X sees the front."""
    front = labels(model, model.spec.default_pose(), view((3.0, 1.0, 0.0)), picture(1, 9.0))
    back = labels(model, model.spec.default_pose(), view((-3.0, 1.0, 0.0)), picture(1, 9.0))
    left, right = COCO_KEYPOINTS.index("left_hip"), COCO_KEYPOINTS.index("right_hip")
    assert front["keypoints"][left, 0] > front["keypoints"][right, 0] + 3
    assert back["keypoints"][left, 0] < back["keypoints"][right, 0] - 3
    ankle, knee = COCO_KEYPOINTS.index("left_ankle"), COCO_KEYPOINTS.index("left_knee")
    assert front["keypoints"][ankle, 1] > front["keypoints"][knee, 1] + 5


def test_visibility_area_and_occlusion_follow_the_picture(model: osim.OsimModel) -> None:
    found = labels(model, model.spec.default_pose(), view(), half_hidden())
    hidden = found["keypoints"][:, 0] < SIZE / 2 - 0.5
    expected = np.where(hidden, Visibility.OCCLUDED, Visibility.VISIBLE)
    np.testing.assert_array_equal(found["keypoint_visibility"], expected)
    lower = hidden[list(LOWER_INDICES)]
    assert 0 < lower.sum() < 6
    assert found["occlusion"] == pytest.approx(lower.mean())
    assert found["area"] == SIZE * SIZE / 2


def test_the_box_bounds_the_skin_and_ends_with_the_picture(model: osim.OsimModel) -> None:
    q = model.spec.default_pose()
    far = labels(model, q, view(), half_hidden())
    x, y, w, h = far["box"]
    low, high = far["joints_px"].min(0), far["joints_px"].max(0)
    np.testing.assert_allclose([x, y, x + w, y + h], [*low, *high], atol=1e-3)
    near = labels(model, q, view((1.0, 0.9, 0.4)), half_hidden())
    x, y, w, h = near["box"]
    assert min(x, y) >= -0.5
    assert max(x + w, y + h) <= SIZE - 0.5
    assert y == -0.5
    assert y + h == SIZE - 0.5
    assert Visibility.OUT_OF_FRAME in near["keypoint_visibility"]


def test_a_person_behind_something_is_rejected(model: osim.OsimModel) -> None:
    shown = picture(255, 0.5)
    shown.part[:3, :3] = 1
    with pytest.raises(SampleRejected, match="only 9 pixels") as caught:
        labels(model, model.spec.default_pose(), view(), shown)
    assert caught.value.reason == "person_not_visible"


def test_a_picture_of_the_head_alone_is_rejected(model: osim.OsimModel) -> None:
    q = model.spec.default_pose()
    q[model.spec.coordinate_names.index("pelvis_ty")] -= 1.4
    with pytest.raises(SampleRejected) as caught:
        labels(model, q, view(), picture(1, 9.0))
    assert caught.value.reason == "lower_body_outside"
