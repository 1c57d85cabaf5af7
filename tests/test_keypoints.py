"""Names and visibilities: the six lower joints, COCO's v, and mirror twins."""

import numpy as np
import pytest
from pycocotools.cocoeval import Params

from schemas.keypoints import (
    COCO_KEYPOINTS,
    COCO_SIGMAS,
    COCO_SKELETON,
    LOWER_INDICES,
    LOWER_KEYPOINTS,
    Visibility,
    coco_v,
    flip_permutation,
)


def test_the_sigmas_are_pycocotools_own() -> None:
    np.testing.assert_allclose(COCO_SIGMAS, Params(iouType="keypoints").kpt_oks_sigmas)


def test_the_six_lower_joints_are_in_the_order_that_everything_relies_on() -> None:
    sides = ("left", "right")
    expected = tuple(f"{side}_{part}" for part in ("hip", "knee", "ankle") for side in sides)
    assert expected == LOWER_KEYPOINTS
    assert tuple(COCO_KEYPOINTS[i] for i in LOWER_INDICES) == expected
    assert len(COCO_KEYPOINTS) == len(COCO_SIGMAS) == 17


def test_every_limb_joins_two_keypoints_of_one_body_half_or_crosses_once() -> None:
    for a, b in COCO_SKELETON:
        assert {a, b} <= set(COCO_KEYPOINTS)
        same_side = a.split("_")[0] == b.split("_")[0]
        assert same_side or a.split("_")[1] == b.split("_")[1]


@pytest.mark.parametrize(
    ("seen", "v"),
    [
        (Visibility.UNLABELLED, 0),
        (Visibility.VISIBLE, 2),
        (Visibility.SELF_OCCLUDED, 1),
        (Visibility.OCCLUDED, 1),
        (Visibility.OUT_OF_FRAME, 0),
    ],
)
def test_visibility_becomes_cocos_v(seen: Visibility, v: int) -> None:
    assert coco_v(np.array([seen], np.uint8)).tolist() == [v]


def test_no_visibility_is_forgotten() -> None:
    assert len(coco_v(np.array(list(Visibility), np.uint8))) == len(Visibility)


def test_flipping_twice_changes_nothing_and_once_swaps_sides() -> None:
    twin = flip_permutation(COCO_KEYPOINTS)
    assert twin[twin].tolist() == list(range(17))
    assert COCO_KEYPOINTS[twin[COCO_KEYPOINTS.index("left_knee")]] == "right_knee"
    assert twin[0] == 0
    assert sorted(twin[list(LOWER_INDICES)]) == list(LOWER_INDICES)
