"""Labels of one frame: everything the model, the camera and the depth picture say, exact by construction.

Positions come from OpenSim; only the five points of the face, which no OpenSim model has, come from the skin.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas import geometry
from schemas.errors import InputError, SampleRejected
from schemas.keypoints import COCO_KEYPOINTS, LOWER_INDICES, Visibility
from schemas.skeleton import SkeletonSpec
from workers.osim import Pose
from workers.render import Picture
from workers.scene import View

_CHILD_BODY = {
    "shoulder": ("humerus",),
    "elbow": ("ulna", "radius"),
    "wrist": ("hand",),
    "hip": ("femur",),
    "knee": ("tibia",),
    "ankle": ("talus", "calcn", "foot"),
}
"""The joint whose child is the first body found is the keypoint's joint."""
OCCLUDER_PART = 255
_OWN_DEPTH_M = 0.22
"""A joint centre lies at most this deep below the skin of the two bodies that it joins."""
_OTHER_DEPTH_M = 0.06
_MARKER_DEPTH_M = 0.05
_MIN_PIXELS = 64
_SKINLESS = ("talus", "patella")
_HIDDEN = (Visibility.SELF_OCCLUDED, Visibility.OCCLUDED)


def keypoint_joints(spec: SkeletonSpec) -> dict[int, int]:
    """Maps COCO keypoint indices (5 … 16) to joint indices, by the name of the joint's child body.

    Raises:
        InputError: the model has no body of the names that the Rajagopal family uses.
    """
    children = {joint.child: i for i, joint in enumerate(spec.joints)}
    found = {}
    for index, name in enumerate(COCO_KEYPOINTS):
        side, _, part = name.partition("_")
        if part not in _CHILD_BODY:
            continue
        bodies = [f"{stem}_{side[0]}" for stem in _CHILD_BODY[part]]
        match = next((children[b] for b in bodies if b in children), None)
        if match is None:
            raise InputError(
                "the model",
                f"no joint's child is called {' or '.join(bodies)}, so {name} cannot be labelled",
                "Use a model with the body names of the Rajagopal/LaiUhlrich family",
            )
        found[index] = match
    return found


def visibility(
    points_px: NDArray[np.float64],
    depths: NDArray[np.float64],
    own_parts: Sequence[frozenset[int]],
    own_depth_m: float,
    picture: Picture,
) -> NDArray[np.uint8]:
    """Says for points (n, 2) at camera depths (n,) whether the picture shows them.

    `own_parts` are the part ids under whose skin a point lies, at most `own_depth_m` deep.
    """
    height, width = picture.part.shape
    result = np.full(len(points_px), Visibility.OUT_OF_FRAME, np.uint8)
    for i, (point, depth) in enumerate(zip(points_px, depths, strict=True)):
        if not np.isfinite(point).all():
            continue
        column, row = (int(v) for v in np.rint(point))
        if not (0 <= column < width and 0 <= row < height):
            continue
        part = int(picture.part[row, column])
        allowed = own_depth_m if part in own_parts[i] else _OTHER_DEPTH_M
        if float(picture.depth[row, column]) >= depth - allowed:
            result[i] = Visibility.VISIBLE
        elif part in (0, OCCLUDER_PART):
            result[i] = Visibility.OCCLUDED
        else:
            result[i] = Visibility.SELF_OCCLUDED
    return result


def annotate(
    spec: SkeletonSpec,
    pose: Pose,
    view: View,
    picture: Picture,
    vertices: NDArray[np.float32],
    face_keypoints: NDArray[np.float64],
) -> dict[str, np.ndarray]:
    """Returns the frame's labels by array name (without the sample dim).

    Args:
        spec: the model.
        pose: the model's pose in the ground frame.
        view: the camera of the stored crop.
        picture: what the renderer saw.
        vertices: skin (v, 3), ground frame.
        face_keypoints: COCO keypoints (17, 3) estimated from the skin, ground frame; rows 0-4 are used.

    Raises:
        SampleRejected: the person is not in the picture.
    """
    T, K = view.T_cam_from_ground, view.K
    person = (picture.part != 0) & (picture.part != OCCLUDER_PART)
    if int(person.sum()) < _MIN_PIXELS:
        raise SampleRejected(
            "person_not_visible", f"only {int(person.sum())} pixels show the person"
        )
    index = keypoint_joints(spec)
    keypoints = face_keypoints.copy()
    keypoints[list(index)] = pose.joint_centres[list(index.values())]
    joints_cam = geometry.transform_points(T, pose.joint_centres)
    markers_cam = geometry.transform_points(T, pose.markers)
    keypoints_cam = geometry.transform_points(T, keypoints)
    joints_px, markers_px, keypoints_px = (
        geometry.project(K, points) for points in (joints_cam, markers_cam, keypoints_cam)
    )
    joint_parts, marker_parts = _joint_parts(spec), _marker_parts(spec)
    head = frozenset(range(1, OCCLUDER_PART))
    keypoint_parts = [joint_parts[index[k]] if k in index else head for k in range(17)]
    keypoint_visibility = visibility(
        keypoints_px, keypoints_cam[:, 2], keypoint_parts, _OWN_DEPTH_M, picture
    )
    keypoint_visibility[:5] = visibility(
        keypoints_px[:5], keypoints_cam[:5, 2], keypoint_parts[:5], _MARKER_DEPTH_M, picture
    )
    lower = keypoint_visibility[list(LOWER_INDICES)]
    labelled = lower != Visibility.OUT_OF_FRAME
    if not labelled.any():
        raise SampleRejected("lower_body_outside", "no hip, knee or ankle lies in the picture")
    return {
        "box": _box(
            geometry.project(K, geometry.transform_points(T, vertices.astype(float))), picture
        ),
        "keypoints": keypoints_px,
        "keypoint_visibility": keypoint_visibility,
        "keypoints_cam": keypoints_cam,
        "A_crop_from_source": view.A_crop_from_source,
        "area": np.asarray(person.sum()),
        "K": K,
        "T_cam_from_ground": T,
        "T_ground_from_root": pose.T_ground_from_body[spec.body_names.index(spec.root_body)],
        "joints_ground": pose.joint_centres,
        "joints_cam": joints_cam,
        "joints_px": joints_px,
        "joint_visibility": visibility(
            joints_px, joints_cam[:, 2], joint_parts, _OWN_DEPTH_M, picture
        ),
        "markers_ground": pose.markers,
        "markers_cam": markers_cam,
        "markers_px": markers_px,
        "marker_visibility": visibility(
            markers_px, markers_cam[:, 2], marker_parts, _MARKER_DEPTH_M, picture
        ),
        "camera_yaw": np.asarray(view.yaw),
        "occlusion": np.asarray(np.isin(lower[labelled], _HIDDEN).mean()),
    }


def _joint_parts(spec: SkeletonSpec) -> list[frozenset[int]]:
    """Part ids of the skin around each joint: of its two bodies, and of the next one where a body has no skin."""
    part = {name: 1 + i for i, name in enumerate(spec.body_names)}
    around = []
    for joint in spec.joints:
        bodies = {joint.parent, joint.child}
        bodies |= {
            j.child for j in spec.joints if j.parent in bodies and j.parent.startswith(_SKINLESS)
        }
        bodies |= {
            j.parent for j in spec.joints if j.child in bodies and j.child.startswith(_SKINLESS)
        }
        around.append(frozenset(part[b] for b in bodies if b in part))
    return around


def _marker_parts(spec: SkeletonSpec) -> list[frozenset[int]]:
    part = {name: 1 + i for i, name in enumerate(spec.body_names)}
    return [frozenset({part.get(marker.body, -1)}) for marker in spec.markers]


def _box(vertices_px: NDArray[np.float64], picture: Picture) -> NDArray[np.float64]:
    """Bounds the whole skin, also where something stands before it, cut at the picture's edges."""
    height, width = picture.part.shape
    low = np.maximum(np.nanmin(vertices_px, axis=0), -0.5)
    high = np.minimum(np.nanmax(vertices_px, axis=0), [width - 0.5, height - 0.5])
    return np.concatenate([low, high - low])
