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
    joint_parts = _joint_parts(spec)
    keypoints = _keypoints(spec, pose, joint_parts, face_keypoints, view, picture)
    lower = keypoints["keypoint_visibility"][list(LOWER_INDICES)]
    labelled = lower != Visibility.OUT_OF_FRAME
    if not labelled.any():
        raise SampleRejected("lower_body_outside", "no hip, knee or ankle lies in the picture")
    return {
        "box": _box(vertices, view, picture),
        "A_crop_from_source": view.A_crop_from_source,
        "area": np.asarray(person.sum()),
        "K": K,
        "T_cam_from_ground": T,
        "T_ground_from_root": pose.T_ground_from_body[spec.body_names.index(spec.root_body)],
        "camera_yaw": np.asarray(view.yaw),
        "occlusion": np.asarray(np.isin(lower[labelled], _HIDDEN).mean()),
        **keypoints,
        **_points("joint", pose.joint_centres, joint_parts, _OWN_DEPTH_M, view, picture),
        **_points("marker", pose.markers, _marker_parts(spec), _MARKER_DEPTH_M, view, picture),
    }


def _points(
    name: str,
    ground: NDArray[np.float64],
    parts: Sequence[frozenset[int]],
    own_depth_m: float,
    view: View,
    picture: Picture,
) -> dict[str, np.ndarray]:
    """Returns points of the model (n, 3) in every frame, and what the picture shows of them."""
    cam = geometry.transform_points(view.T_cam_from_ground, ground)
    px = geometry.project(view.K, cam)
    return {
        f"{name}s_ground": ground,
        f"{name}s_cam": cam,
        f"{name}s_px": px,
        f"{name}_visibility": visibility(px, cam[:, 2], parts, own_depth_m, picture),
    }


def _keypoints(
    spec: SkeletonSpec,
    pose: Pose,
    joint_parts: Sequence[frozenset[int]],
    face: NDArray[np.float64],
    view: View,
    picture: Picture,
) -> dict[str, np.ndarray]:
    """Returns COCO's keypoints: the model's joints, and of the face the points on the skin."""
    index = keypoint_joints(spec)
    ground = face.copy()
    ground[list(index)] = pose.joint_centres[list(index.values())]
    cam = geometry.transform_points(view.T_cam_from_ground, ground)
    px = geometry.project(view.K, cam)
    anywhere = frozenset(range(1, OCCLUDER_PART))
    parts = [joint_parts[index[k]] if k in index else anywhere for k in range(len(ground))]
    seen = visibility(px, cam[:, 2], parts, _OWN_DEPTH_M, picture)
    on_skin = [k for k in range(len(ground)) if k not in index]
    seen[on_skin] = visibility(
        px[on_skin], cam[on_skin, 2], [anywhere] * len(on_skin), _MARKER_DEPTH_M, picture
    )
    return {"keypoints": px, "keypoint_visibility": seen, "keypoints_cam": cam}


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


def _box(vertices: NDArray[np.float32], view: View, picture: Picture) -> NDArray[np.float64]:
    """Bounds the whole skin (v, 3), also where something stands before it, cut at the picture's edges."""
    height, width = picture.part.shape
    points = vertices.astype(np.float64)
    low, high, _ = geometry.projected_bounds(view.K, view.T_cam_from_ground, points)
    low = np.maximum(low, -0.5)
    high = np.minimum(high, [width - 0.5, height - 0.5])
    return np.concatenate([low, high - low])
