"""Labels and cameras of the net's own picture, from those of the stored crop.

n samples. A similarity A of the picture (turn by theta, scale s, shift) is exactly a camera that rolled by theta about
its axis and has other intrinsics: A K = K' Rz(theta) with K' = (s f, A c). So labels turn with Rz and stay exact.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec
from trainers.d3ke_net import CAMERA, PLACE
from trainers.readout import Readout
from trainers.rotations import about_z, from_forward_to

ARRAYS = (
    "box",
    "K",
    "T_cam_from_ground",
    "T_ground_from_root",
    "q",
    "q_mask",
    "scale",
    "joints_cam",
    "markers_cam",
)
"""What 3D labels are made of."""


def roll_and_intrinsics(
    A_net_from_crop: NDArray[np.float64], K_crop: NDArray[np.float64]
) -> tuple[Tensor, Tensor]:
    """Splits A K (n, 3, 3) into R_cam_from_stored (n, 3, 3), the roll, and K (n, 3, 3) of the net's picture."""
    A = torch.from_numpy(A_net_from_crop)
    K_stored = torch.from_numpy(np.nan_to_num(K_crop, nan=1.0).astype(np.float64))
    size = torch.linalg.vector_norm(A[:, :2, 0], dim=-1)
    focal = size * torch.sqrt(K_stored[:, 0, 0] * K_stored[:, 1, 1])
    centre = (
        A
        @ torch.stack([K_stored[:, 0, 2], K_stored[:, 1, 2], torch.ones_like(focal)], -1)[..., None]
    )[:, :2, 0]
    K = torch.diag_embed(torch.stack([focal, focal, torch.ones_like(focal)], -1))
    K[:, :2, 2] = centre
    return about_z(torch.atan2(A[:, 1, 0], A[:, 0, 0])), K


def describe_camera(K: Tensor, side: int) -> Tensor:
    """Returns the (n, CAMERA) numbers that the net is told of the camera of a square picture."""
    middle = (side - 1) / 2.0
    slopes = (middle - K[:, :2, 2]) / K[:, :1, 0]
    camera = torch.cat([torch.log(K[:, :1, 0] / side), slopes], dim=-1)
    return camera.reshape(-1, CAMERA)


def R_cam_from_view(camera: Tensor) -> Tensor:
    """Returns the turn (n, 3, 3) from the camera that looks through the picture's middle to the true one."""
    return from_forward_to(torch.cat([camera[:, 1:], torch.ones_like(camera[:, :1])], dim=-1))


def place_of(root_cam: Tensor, K: Tensor, side: int) -> Tensor:
    """Returns where the root (n, 3), camera frame, lies in the picture: (n, PLACE), see `d3ke_net.PLACE`."""
    z = root_cam[:, 2:].clamp_min(1e-3)
    pixel = root_cam[:, :2] / z * K[:, :1, 0] + K[:, :2, 2]
    size = torch.log(K[:, :1, 0] / (z * side))
    return torch.cat([(pixel - (side - 1) / 2.0) / side, size], dim=-1).reshape(-1, PLACE)


def root_from_place(place: Tensor, K: Tensor, side: int) -> Tensor:
    """Inverts `place_of`: the root's position (n, 3) in the camera frame, m."""
    focal = K[:, :1, 0]
    z = focal / (side * torch.exp(place[:, 2:]))
    pixel = place[:, :2] * side + (side - 1) / 2.0
    return torch.cat([(pixel - K[:, :2, 2]) / focal * z, z], dim=-1)


def project(points_cam: Tensor, K: Tensor) -> Tensor:
    """Projects camera-frame points (n, p, 3) to pixels (n, p, 2); what lies behind the camera is held at 1 mm."""
    slopes = points_cam[..., :2] / points_cam[..., 2:].clamp_min(1e-3)
    return slopes * K[:, None, :1, 0] + K[:, None, :2, 2]


def make_labels(
    arrays: Mapping[str, NDArray[Any]],
    spec: SkeletonSpec,
    readout: Readout,
    R_roll: Tensor,
    K: Tensor,
    side: int,
) -> dict[str, Tensor]:
    """Makes the labels of n samples in the frame of the net's camera.

    Args:
        arrays: `ARRAYS` of the stored crops.
        spec: the net's skeleton.
        readout: what is read of it.
        R_roll: R_cam_from_stored (n, 3, 3).
        K: (n, 3, 3) of the net's picture.
        side: of the net's picture, pixels.

    Returns:
        "labelled" (n) bool, and in float64 "q", "q_known" (1 or 0), "angles", "angles_known", "scale",
        "R_cam_from_root", root-relative "joints" and "markers", "root_cam", "place", "joints_px". Rows that are not
        labelled hold zeros: a NaN that is masked after the fact still poisons every gradient.

    Raises:
        InputError: the arrays were written for another skeleton.
    """
    count = len(spec.coordinates)
    shapes = {"q": (count,), "q_mask": (count,), "scale": (len(spec.joints), 3)}
    shapes |= {"joints_cam": (len(spec.joints), 3), "markers_cam": (len(spec.markers), 3)}
    values = {name: _shaped(name, arrays[name], shapes.get(name)) for name in ARRAYS}
    T_root = values["T_cam_from_ground"] @ values["T_ground_from_root"]
    known = [values[name] for name in (*shapes, "K")] + [T_root]
    labelled = torch.stack([v.flatten(1).isfinite().all(1) for v in known]).all(0)
    root = T_root[:, :3, 3]
    found = {
        "q": values["q"],
        "angles": values["q"][:, torch.from_numpy(readout.coordinates)],
        "angles_known": values["q_mask"][:, torch.from_numpy(readout.coordinates)],
        "q_known": values["q_mask"],
        "scale": values["scale"],
        "R_cam_from_root": R_roll @ T_root[:, :3, :3],
        "joints": (values["joints_cam"] - root[:, None]) @ R_roll.transpose(1, 2),
        "markers": (values["markers_cam"] - root[:, None]) @ R_roll.transpose(1, 2),
        "root_cam": (R_roll @ root[..., None])[..., 0],
    }
    found["place"] = place_of(found["root_cam"], K, side)
    found["joints_px"] = project(found["joints"] + found["root_cam"][:, None], K)
    zeroed = {
        name: torch.where(labelled.reshape(-1, *[1] * (v.ndim - 1)), v, 0.0)
        for name, v in found.items()
    }
    return zeroed | {"labelled": labelled}


def _shaped(name: str, values: NDArray[Any], shape: tuple[int, ...] | None) -> Tensor:
    """Takes an array as float64; one without a skeleton (COCO's zero-length dims) becomes the unknown."""
    if shape is not None and values.shape[1:] != shape:
        if 0 not in values.shape[1:]:
            raise InputError(
                f"array {name} of shape {values.shape[1:]}",
                f"belongs to another skeleton than the net's {shape}",
                "Train on data of one skeleton",
            )
        values = np.full((len(values), *shape), np.nan)
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
