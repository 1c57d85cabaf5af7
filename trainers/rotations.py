"""Rotations in torch: the continuous 6D form, angles between rotations, turns of a camera.

Matrices are named `R_dst_from_src`, act on columns, and have src's axes, seen in dst, as their columns;
`sixd_dst_from_src` is the first two of those. Leading dims broadcast; angles are radians.
"""

import torch
from torch import Tensor

SHORT = 1e-12
"""A column shorter than this has no direction: its gradient would be a million million."""


def rotation_of_sixd(sixd_dst_from_src: Tensor) -> Tensor:
    """Turns any six numbers (…, 6) into R_dst_from_src (…, 3, 3): Gram-Schmidt on src's x and y axes.

    Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", CVPR 2019; projected
    twice, so that it stays orthonormal to rounding where the axes are nearly parallel (Parlett, "The Symmetric
    Eigenvalue Problem": twice is enough).

    A first axis without length counts as dst's x; a second one without length, or without a part across the first,
    as that axis of dst which lies farthest from the first. Such an axis gets no gradient.
    """
    x, y = sixd_dst_from_src[..., :3], sixd_dst_from_src[..., 3:]
    ex, ey, ez = torch.eye(3, dtype=x.dtype, device=x.device)
    x = _unit(x, torch.zeros_like(x) + ex)
    size = x.detach().abs()
    smallest = size.argmin(-1, keepdim=True)
    far = torch.where(smallest == 0, ex, torch.where(smallest == 1, ey, ez))
    y = _across(_unit(y, far), x)
    parallel = torch.linalg.vector_norm(y.detach(), dim=-1, keepdim=True) <= 4 * _epsilon(y)
    y = torch.nn.functional.normalize(torch.where(parallel, _across(far, x), y), dim=-1)
    y = torch.nn.functional.normalize(_across(y, x), dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)


def _unit(vector: Tensor, otherwise: Tensor) -> Tensor:
    """Returns unit vectors (…, 3), those of `otherwise` where a vector is too short; no overflow on the way."""
    largest = vector.detach().abs().amax(-1, keepdim=True)
    short = largest < SHORT
    # A length does not change a direction, so dividing by a constant changes no gradient.
    scaled = torch.where(short, otherwise, vector) / torch.where(short, 1.0, largest)
    return torch.nn.functional.normalize(scaled, dim=-1)


def _across(vector: Tensor, unit: Tensor) -> Tensor:
    return vector - (unit * vector).sum(-1, keepdim=True) * unit


def _epsilon(like: Tensor) -> float:
    return torch.finfo(like.dtype).eps


def sixd_of_rotation(R_dst_from_src: Tensor) -> Tensor:
    """Returns src's x and y axes in dst (…, 6): the first two columns of R_dst_from_src (…, 3, 3)."""
    return torch.cat([R_dst_from_src[..., :, 0], R_dst_from_src[..., :, 1]], dim=-1)


def geodesic(R_dst_from_a: Tensor, R_dst_from_b: Tensor) -> Tensor:
    """Returns the angle (…) in [0, pi] of the turn between frames a and b, both given in dst by (…, 3, 3).

    It is the length of the shortest way in SO(3) and the same seen from any frame (Hartley et al., "Rotation
    Averaging", IJCV 2013). The arc tangent of sine and cosine keeps all digits near 0 and near pi, where
    the arc cosine of the trace loses half of them and its gradient is infinite; at 0 and pi the gradient is 0.
    """
    R = R_dst_from_a @ R_dst_from_b.transpose(-1, -2)
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
