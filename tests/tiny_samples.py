"""Samples of the tiny skeleton as a shard would hold them; the labels come from the skeletal layer itself."""

from typing import Any

import numpy as np
import torch
from tiny_skeleton import tiny_skeleton

from schemas import layout
from schemas.geometry import look_at, project, transform_points
from schemas.skeleton import SkeletonSpec
from schemas.training import FitRecipe
from trainers.d3ke import D3keTask, make_d3ke
from trainers.readout import read
from trainers.skeletal import SkeletalLayer
from trainers.task import UNIFORMS, Batch


def pose(spec: SkeletonSpec, q: np.ndarray, scale: np.ndarray) -> Any:
    """Poses n samples in float64."""
    with torch.no_grad():
        return SkeletalLayer(spec).double()(torch.from_numpy(q), torch.from_numpy(scale))


def tiny_batch(count: int, px: int, rng: np.random.Generator) -> Batch:
    """Makes labelled samples: random poses, bodies and cameras, pictures of noise that only name the sample."""
    spec, readout = tiny_skeleton(), read(tiny_skeleton())
    share = rng.uniform(0.1, 0.9, (count, len(readout.low)))
    q = np.tile(spec.default_pose(), (count, 1))
    q[:, readout.coordinates] = readout.low + share * (readout.high - readout.low)
    q[:, readout.root_coordinates[:3]] = rng.uniform(-0.4, 0.4, (count, 3))
    q = spec.couple(q)
    groups = rng.uniform(0.85, 1.15, (count, len(readout.groups), 3))
    scale = groups[:, readout.group_of_body]
    posed = pose(spec, q, scale)
    arrays: dict[str, np.ndarray] = layout.empty(spec.sizes, count)
    eyes = rng.uniform([2.5, 0.8, -1.0], [4.0, 1.6, 1.0], (count, 3))
    T = np.stack([look_at(eye, np.array([0.0, 0.8, 0.0]), 0.05) for eye in eyes])
    K = np.array([[1.4 * px, 0, px * 0.55], [0, 1.4 * px, px * 0.45], [0, 0, 1.0]])
    joints, markers = posed.joint_centres.numpy(), posed.markers.numpy()
    arrays |= {
        "q": q,
        "scale": scale.astype(np.float32),
        "K": np.tile(K, (count, 1, 1)).astype(np.float32),
        "T_cam_from_ground": T,
        "T_ground_from_root": posed.T_ground_from_body[:, readout.root].numpy(),
        "joints_cam": transform_points(T, joints).astype(np.float32),
        "markers_cam": transform_points(T, markers).astype(np.float32),
    }
    px_of = project(K, arrays["joints_cam"].astype(np.float64))
    low, high = px_of.min(1), px_of.max(1)
    arrays["box"] = np.concatenate([low, high - low], axis=1).astype(np.float32)
    images = tuple(rng.integers(0, 256, (count, px, px, 3), dtype=np.uint8))
    return Batch(images=images, arrays=arrays, uniforms=rng.random((count, UNIFORMS)))


def tiny_task(**options: Any) -> D3keTask:
    """Makes a d3ke task on small pictures."""
    task = {"kind": "d3ke", "backbone": "resnet18", "input_px": 64, "root_weight": 0.1} | options
    recipe = FitRecipe.model_validate({"name": "tiny", "task": task, "augment": None})
    return make_d3ke(recipe, tiny_skeleton())
