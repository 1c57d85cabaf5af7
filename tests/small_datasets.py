"""Small published datasets for tests of what reads them: COCO persons, and an OpenSim model filmed on grey."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schemas import geometry, layout, manifest
from schemas.keypoints import COCO_KEYPOINTS, Visibility
from schemas.recipes import CocoRecipe
from schemas.shards import Quarantined, ShardContents, ShardKey, ShardReceipt, canonical_digest
from schemas.skeleton import SkeletonSpec
from schemas.statistics import Statistics
from schemas.store import Store
from workers import coco, images, osim, produce, quality

_CHILD = {"shoulder": "humerus", "elbow": "ulna", "wrist": "hand"}
_CHILD |= {"hip": "femur", "knee": "tibia", "ankle": "talus"}


def write(url: str, key: ShardKey, contents: ShardContents, statistics: Statistics) -> ShardReceipt:
    """Writes one shard and returns its receipt, as a worker does."""
    action_key = canonical_digest([str(key), *key.members])
    return produce.write(Store(url), key, action_key, contents, statistics, {})


def publish_coco(url: str, recipe: CocoRecipe) -> manifest.Dataset:
    """Builds and publishes what a COCO recipe asks for."""
    index = coco.load(recipe)
    receipts = []
    for key in coco.plan(recipe, index):
        contents = coco.make_shard(recipe, index, key)
        receipts.append(write(url, key, contents, quality.statistics(contents, None)))
    return manifest.publish(url, recipe.model_dump(mode="json"), receipts)


def publish_synth(
    url: str, model: bytes, lots: dict[str, bool], subjects: int = 3, frames: int = 4
) -> manifest.Dataset:
    """Publishes squatting skeletons on grey; `lots` says of each lot whether it is a clip."""
    spec, store = osim.read_skeleton(model), Store(url)
    store.put_skeleton(spec)
    digest = store.put_model(model)
    receipts = []
    for lot in lots:
        for subject in range(subjects):
            contents = _squat(spec, model, subject, frames)
            contents.tables["model"] = digest
            key = ShardKey(source="synth", lot=lot, split="train", members=(subject,))
            receipts.append(write(url, key, contents, quality.statistics(contents, spec)))
    recipe = {
        "kind": "synth",
        "name": "skeletons <on> grey",
        "motions": {lot: {"clip": clip, "fps": 10.0} for lot, clip in lots.items()},
    }
    return manifest.publish(url, recipe, receipts)


def project(K: np.ndarray, T_cam_from_ground: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Projects ground-frame points (n, 3) to pixels."""
    return geometry.project(K, geometry.transform_points(T_cam_from_ground, points))


def _columns(spec: SkeletonSpec, names: Sequence[str]) -> list[int]:
    return [spec.coordinate_names.index(name) for name in names]


def _squat(spec: SkeletonSpec, model: bytes, subject: int, frames: int) -> ShardContents:
    """Films one subject; the frames are stored backwards in time, as nothing promises their order."""
    size = 160
    scale = np.full((len(spec.body_names), 3), 0.9 + 0.1 * subject)
    poser = osim.OsimModel(model, scale)
    arrays = layout.empty(spec.sizes, frames)
    K = np.array([[150.0, 0, 79.5], [0, 150.0, 79.5], [0, 0, 1]])
    T = geometry.look_at(np.array([2.5, 1.0, 1.0]), np.array([0.0, 0.8, 0.0]), 0.0)
    index = {joint.child: i for i, joint in enumerate(spec.joints)}
    for row in range(frames):
        time = 0.1 * (frames - 1 - row)
        q = spec.default_pose()
        q[_columns(spec, ["knee_angle_r", "knee_angle_l"])] = 3 * time
        q[_columns(spec, ["hip_flexion_r", "hip_flexion_l"])] = 2 * time
        q = spec.couple(q)
        pose = poser.pose(q)
        keypoints = np.full((17, 3), np.nan)
        for k, name in enumerate(COCO_KEYPOINTS[5:], start=5):
            side, _, part = name.partition("_")
            keypoints[k] = pose.joint_centres[index[f"{_CHILD[part]}_{side[0]}"]]
        values = {
            "sample_id": subject * frames + row,
            "group_id": subject,
            "time": time,
            "q": q,
            "scale": scale,
            "K": K,
            "T_cam_from_ground": T,
            "box": [20.0, 10.0, 100.0, 140.0],
            "area": 5000.0,
            "A_crop_from_source": np.eye(3),
            "anthropometry": [1.7, 70.0, 30.0, subject % 2],
            "motion_id": 0,
            "keypoints": project(K, T, keypoints),
            "joints_px": project(K, T, pose.joint_centres),
            "markers_px": project(K, T, pose.markers),
            "joint_visibility": Visibility.VISIBLE,
            "marker_visibility": Visibility.SELF_OCCLUDED,
            "keypoint_visibility": [Visibility.UNLABELLED] * 5 + [Visibility.VISIBLE] * 12,
        }
        for name, value in values.items():
            arrays[name][row] = value
    grey = np.full((size, size, 3), 90 + 20 * subject, np.uint8)
    lost = Quarantined(sample=f"{subject}/9", reason="person_not_visible", detail="<b>3</b> px")
    return ShardContents(
        images=[images.encode(grey, 90)] * frames,
        arrays=arrays,
        tables={"subjects": {str(subject): {}}, "motions": [{"subject": subject, "name": "squat"}]},
        quarantine=(lost,),
        planned=frames + 1,
        skeleton=spec.fingerprint,
    )


def coco_recipe(folder: Path, **changes: Any) -> CocoRecipe:
    """Returns a recipe for the COCO pictures of the shared data."""
    fields: dict[str, Any] = {
        "name": "coco_test",
        "images": str(folder / "coco" / "images"),
        "annotations": str(folder / "coco" / "annotations" / "person_keypoints_lower_dev.json"),
        "subset": "lower_visible",
    }
    return CocoRecipe(**(fields | changes))
