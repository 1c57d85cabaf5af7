"""Rotations in torch: the continuous 6D form, angles between rotations, turns of a camera.

Matrices are named `R_dst_from_src` and act on columns; leading dims broadcast; angles are radians.
"""

import torch
from torch import Tensor


def matrix_from_6d(six: Tensor) -> Tensor:
    """Turns (…, 6) into rotation matrices (…, 3, 3): Gram-Schmidt on the first two columns.

    Source: Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", CVPR 2019.
    """
    first = torch.nn.functional.normalize(six[..., :3], dim=-1)
    second = six[..., 3:] - (first * six[..., 3:]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def sixd_from_matrix(R: Tensor) -> Tensor:
    """Returns the first two columns of rotation matrices (…, 3, 3) as (…, 6)."""
    return torch.cat([R[..., :, 0], R[..., :, 1]], dim=-1)


def geodesic(R_a: Tensor, R_b: Tensor) -> Tensor:
    """Returns the angle (…) in [0, pi] of the turn between two rotations (…, 3, 3).

    The arc tangent of sine and cosine, whose gradient stays finite where the arc cosine of the trace has none.
    """
    R = R_a @ R_b.transpose(-1, -2)
    cos = (R.diagonal(dim1=-2, dim2=-1).sum(-1) - 1.0) / 2.0
    skew = torch.stack(
        [
            R[..., 2, 1] - R[..., 1, 2],
            R[..., 0, 2] - R[..., 2, 0],
            R[..., 1, 0] - R[..., 0, 1],
        ],
        dim=-1,
    )
    return torch.atan2(torch.linalg.vector_norm(skew, dim=-1) / 2.0, cos)


def about_z(angle: Tensor) -> Tensor:
    """Returns the turns (…, 3, 3) by `angle` (…) about z; in an image (x right, y down) that is clockwise."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = [
        torch.stack([cos, -sin, zero], dim=-1),
        torch.stack([sin, cos, zero], dim=-1),
        torch.stack([zero, zero, one], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


def from_forward_to(ray: Tensor) -> Tensor:
    """Returns the smallest turns (…, 3, 3) that take the optical axis (0, 0, 1) to `ray` (…, 3), ray_z > 0.

    Rodrigues' formula with axis z x ray: I + [v] + [v]^2 / (1 + ray_z).
    """
    x, y, z = torch.nn.functional.normalize(ray, dim=-1).unbind(-1)
    k = 1.0 / (1.0 + z)
    rows = [
        torch.stack([1.0 - k * x * x, -k * x * y, x], dim=-1),
        torch.stack([-k * x * y, 1.0 - k * y * y, y], dim=-1),
        torch.stack([-x, -y, z], dim=-1),
    ]
    return torch.stack(rows, dim=-2)
