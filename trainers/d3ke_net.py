"""The image net of D3KE: a picture in, bounded kinematics and the skeleton they make out.

n samples, c coordinates (a predicted), b bodies (g groups of equal scale), j joints, m markers. Lengths are metres,
angles radians. Two frames: `root` is the root body; `view` is the camera turned so that it looks through the
middle of the net's picture, which makes the same pose look the same wherever its crop was cut from.

Source of the idea: Bittner et al., "Towards Single Camera Human 3D-Kinematics", Sensors 2023, 23(1):341. Different
here: bounds act on the pooled value; any OpenSim joint works; the root's place in the picture is predicted too.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from schemas.skeleton import SkeletonSpec
from trainers.backbones import make_backbone
from trainers.readout import SCALE_LIMITS, read
from trainers.rotations import rotation_of_sixd
from trainers.skeletal import SkeletalLayer

PLACE = 3
"""Numbers that place the root in the picture: column, row (share of the side, from the middle), log size."""
CAMERA = 3
"""Numbers that describe a camera: log focal length over the picture's side, and the slopes x/z, y/z of the ray through
the picture's middle. Perspective foreshortening depends on the first, what the turn to `view` leaves on the others."""
_UPRIGHT_FACING = (0.0, 0.0, -1.0, 0.0, -1.0, 0.0)
"""The 6D rotation of a person (X forward, Y up) who stands before the camera (y down, z forward) and faces it."""
_FILLS = math.log(0.45)
"""Log size at the start: a metre covers 0.45 of the picture's side when a grown person fills three quarters."""


class Bounded(nn.Module):
    """Squeezes raw numbers (n, k) into (low, high) by a sigmoid; a raw 0 gives `start`."""

    low: Tensor
    span: Tensor
    raw_start: Tensor

    def __init__(self, low: np.ndarray, high: np.ndarray, start: np.ndarray) -> None:
        super().__init__()
        share = np.clip((start - low) / np.maximum(high - low, 1e-9), 0.1, 0.9)
        self.register_buffer("low", _float(low), persistent=False)
        self.register_buffer("span", _float(high - low), persistent=False)
        self.register_buffer("raw_start", _float(np.log(share / (1 - share))), persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        """Returns values (n, k) inside the bounds."""
        return self.low + self.span * torch.sigmoid(raw + self.raw_start)


class D3keNet(nn.Module):
    """Backbone, 1x1 convolution, global average, bounds, skeletal layer; end to end differentiable."""

    places: Tensor
    group_of_body: Tensor
    default_q: Tensor
    at_rest: Tensor

    def __init__(self, spec: SkeletonSpec, backbone: str, weights: str | None = None) -> None:
        super().__init__()
        readout = read(spec)
        self.root, self.group_count = readout.root, len(readout.groups)
        self.backbone = make_backbone(backbone, weights)
        self.skeletal = SkeletalLayer(spec)
        default = spec.default_pose()
        start = default[readout.coordinates]
        ones = np.ones(3 * self.group_count)
        self.angles = Bounded(readout.low, readout.high, start)
        self.scales = Bounded(ones * SCALE_LIMITS[0], ones * SCALE_LIMITS[1], ones)
        self.sizes = (6, len(ones), len(start), PLACE)
        self.head = nn.Conv2d(self.backbone.channels[-1], sum(self.sizes), 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.get_parameter("bias"), 0.0)
        self.lens = nn.Linear(CAMERA, sum(self.sizes), bias=False)
        nn.init.zeros_(self.lens.weight)
        default[readout.root_coordinates] = 0.0
        at_rest = torch.tensor([*_UPRIGHT_FACING, 0.0, 0.0, _FILLS])
        self.register_buffer("at_rest", at_rest, persistent=False)
        self.register_buffer("default_q", _float(default), persistent=False)
        self.register_buffer("places", torch.from_numpy(readout.coordinates), persistent=False)
        self.register_buffer(
            "group_of_body", torch.from_numpy(readout.group_of_body), persistent=False
        )

    def forward(self, image: Tensor, camera: Tensor) -> dict[str, Tensor]:
        """Reads pictures (n, 3, h, w), normalised as the backbone wants them, and their cameras (n, CAMERA).

        Returns:
            "R_view_from_root" (n, 3, 3); "q" (n, c), the root's own coordinates 0; "angles" (n, a), the predicted
            ones among q; "scale" (n, b, 3); "joints_root" (n, j, 3) and "markers_root" (n, m, 3); "place" (n, 3).
        """
        pooled = self.head(self.backbone(image)).mean((-2, -1)).float() + self.lens(camera)
        sixd, scales, angles, place = pooled.split(self.sizes, dim=-1)
        R_view_from_root = rotation_of_sixd(sixd + self.at_rest[:6])
        angles = self.angles(angles)
        q = self.default_q.expand(len(angles), -1).index_copy(1, self.places, angles)
        groups = self.scales(scales).unflatten(-1, (self.group_count, 3))
        scale = groups[:, self.group_of_body]
        joints, markers = self.in_root(q, scale)
        return {
            "R_view_from_root": R_view_from_root,
            "q": q,
            "angles": angles,
            "scale": scale,
            "joints_root": joints,
            "markers_root": markers,
            "place": place + self.at_rest[6:],
        }

    def in_root(self, q: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Returns joint centres (n, j, 3) and markers (n, m, 3) in the root body's frame.

        Whatever the root joint is, its pose on ground is taken out again.
        """
        count = len(q)
        if not count:
            # A rank may get no sample, and the layer poses at least one; the extra row is dropped below.
            q, scale = self.default_q[None].to(q), scale.new_ones(1, *scale.shape[1:])
        pose = self.skeletal(q, scale)
        root = pose.T_ground_from_body[:, self.root]
        R, t = root[:, :3, :3], root[:, None, :3, 3]
        return ((pose.joint_centres - t) @ R)[:count], ((pose.markers - t) @ R)[:count]


def _float(values: np.ndarray) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)
