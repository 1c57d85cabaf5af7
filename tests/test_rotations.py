"""Rotations: valid matrices from anything, right angles between them, usable gradients at the hard points."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from trainers.rotations import (
    about_z,
    from_forward_to,
    geodesic,
    matrix_from_6d,
    sixd_from_matrix,
)

RNG = np.random.default_rng(5)


def _rotations(count: int) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(count, rng=RNG).as_matrix())


def test_any_six_numbers_give_a_rotation() -> None:
    R = matrix_from_6d(torch.from_numpy(RNG.normal(size=(50, 6)) * 10))
    eye = torch.eye(3, dtype=R.dtype).expand(50, 3, 3)
    torch.testing.assert_close(R @ R.transpose(-1, -2), eye)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(50, dtype=R.dtype))


def test_6d_round_trip_ignores_the_length_of_its_columns() -> None:
    R = _rotations(20)
    six = sixd_from_matrix(R) * 3.0
    torch.testing.assert_close(matrix_from_6d(six), R)


def test_geodesic_is_the_angle_of_the_turn() -> None:
    R = _rotations(30)
    axis = RNG.normal(size=(30, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.linspace(0.0, np.pi - 1e-3, 30)
    turned = torch.from_numpy(Rotation.from_rotvec(axis * angle[:, None]).as_matrix()) @ R
    np.testing.assert_allclose(geodesic(turned, R).numpy(), angle, atol=1e-7)


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, np.pi])
def test_geodesic_gradient_is_finite_also_at_no_turn_and_at_half_a_turn(angle: float) -> None:
    six = sixd_from_matrix(about_z(torch.tensor(angle, dtype=torch.float64))).requires_grad_()
    angle_between = geodesic(matrix_from_6d(six), torch.eye(3, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(angle_between, six)
    assert torch.isfinite(gradient).all()


def test_about_z_turns_x_towards_y() -> None:
    R = about_z(torch.tensor(np.pi / 2))
    torch.testing.assert_close(R @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))


def test_virtual_camera_looks_along_the_ray_by_the_smallest_turn() -> None:
    ray = torch.tensor([[0.3, -0.2, 1.0], [0.0, 0.0, 1.0], [-1.2, 0.9, 1.0]], dtype=torch.float64)
    R = from_forward_to(ray)
    unit = torch.nn.functional.normalize(ray, dim=-1)
    torch.testing.assert_close(R[..., 2], unit)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(3, dtype=R.dtype))
    eye = torch.eye(3, dtype=R.dtype).expand(3, 3, 3)
    torch.testing.assert_close(geodesic(R, eye), torch.acos(unit[:, 2]))
