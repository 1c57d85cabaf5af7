"""Labelled frames of an OpenSim model in a picture made by hand: no body, no renderer, yet every label consistent."""

from collections.abc import Callable

import numpy as np

from schemas import geometry, layout
from schemas.shards import ShardContents
from workers import annotate, osim
from workers.forward import forward
from workers.render import Picture
from workers.scene import View

SIZE = 96


def view(eye: tuple[float, float, float] = (3.0, 1.0, 0.6), yaw: float = 0.3) -> View:
    """Returns a camera that holds a person at the origin."""
    K = np.array([[110.0, 0, 47.5], [0, 110.0, 47.5], [0, 0, 1]])
    return View(
        K=K,
        T_cam_from_ground=geometry.look_at(np.array(eye), np.array([0.0, 0.9, 0.0]), 0.05),
        yaw=yaw,
        A_crop_from_source=np.diag([0.5, 0.5, 1.0]),
        source_px=(192, 192),
        description={},
    )


def picture(part: int, depth: float) -> Picture:
    """Returns a picture that shows one thing at one depth everywhere."""
    shape = (SIZE, SIZE)
    return Picture(
        radiance=np.zeros((*shape, 3), np.float32),
        part=np.full(shape, part, np.uint8),
        depth=np.full(shape, depth, np.float32),
    )


def labels(
    model: osim.OsimModel, q: np.ndarray, camera: View, shown: Picture
) -> dict[str, np.ndarray]:
    """Annotates a pose; the joint centres stand for the skin, the head's vertex for the face."""
    pose = model.pose(q)
    face = np.tile(pose.markers[model.spec.marker_names.index("VERT")], (17, 1))
    skin = pose.joint_centres.astype(np.float32)
    return annotate.annotate(model.spec, pose, camera, shown, skin, face)


def shard(model: osim.OsimModel, poses: np.ndarray) -> ShardContents:
    """Makes a shard of consistent rows, one a pose (n, c), as the synthetic source does."""
    arrays = layout.empty(model.spec.sizes, len(poses))
    for i, q in enumerate(poses):
        row = labels(model, q, view(yaw=0.1 * i), picture(1, 2.0)) | {
            "sample_id": np.asarray(10 + i),
            "group_id": np.asarray(4),
            "q": q,
            "scale": np.ones((len(model.spec.body_names), 3)),
            "time": np.asarray(0.1 * i),
            "anthropometry": np.array([1.7, 70.0, 30.0, 1.0]),
        }
        for name, values in row.items():
            arrays[name][i] = values
    return ShardContents(
        images=[bytes([i]) for i in range(len(poses))],
        arrays=arrays,
        tables={"subjects": {"4": {"skin_to_skeleton_m": {"hip_r": 0.004, "knee_r": 0.012}}}},
        planned=len(poses),
        skeleton=model.spec.fingerprint,
    )


def pose_of(data: bytes) -> Callable[..., osim.Pose]:
    """Poses the stored numbers anew."""
    spec = osim.read_skeleton(data)
    return lambda q, scale: forward(spec, data, scale.astype(np.float64))(q)
