"""COCO's 17 keypoints, the six lower joints, and what can be said of a point's visibility."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

COCO_KEYPOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
COCO_SIGMAS = (
    np.array(
        [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89], dtype=np.float64
    )
    / 1000.0
)
"""Per-keypoint constants of COCO's object keypoint similarity (pycocotools `Params.kpt_oks_sigmas`)."""
COCO_SKELETON = (
    ("left_ankle", "left_knee"),
    ("left_knee", "left_hip"),
    ("right_ankle", "right_knee"),
    ("right_knee", "right_hip"),
    ("left_hip", "right_hip"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("right_shoulder", "right_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_elbow", "right_wrist"),
)
LOWER_KEYPOINTS = COCO_KEYPOINTS[11:]
LOWER_INDICES = tuple(range(11, 17))


class Visibility(IntEnum):
    """What is known of a labelled point in an image; stored as u1."""

    UNLABELLED = 0
    VISIBLE = 1
    SELF_OCCLUDED = 2
    """Behind the person's own body."""
    OCCLUDED = 3
    """Behind something else, or, in COCO, labelled but not visible for whatever reason."""
    OUT_OF_FRAME = 4


_COCO_V = np.array([0, 2, 1, 1, 0], dtype=np.uint8)


def coco_v(visibility: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Maps `Visibility` to COCO's v (0 not labelled or outside, 1 labelled but hidden, 2 visible)."""
    result: NDArray[np.uint8] = _COCO_V[visibility]
    return result


def flip_permutation(names: tuple[str, ...]) -> NDArray[np.intp]:
    """Returns the index of each name's mirror twin: `left_x` <-> `right_x`, others stay."""
    twin = {"left": "right", "right": "left"}
    index = {name: i for i, name in enumerate(names)}

    def mirrored(name: str) -> str:
        side, _, rest = name.partition("_")
        return f"{twin[side]}_{rest}" if side in twin else name

    return np.array([index[mirrored(name)] for name in names], dtype=np.intp)
