"""Rotations: valid matrices from anything, right angles between them, usable gradients at the hard points."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from trainers.rotations import (
    about_z,
    from_forward_to,
    geodesic,
    rotation_of_sixd,
    sixd_of_rotation,
)

RNG = np.random.default_rng(5)


def _rotations(count: int) -> Tensor:
    return torch.from_numpy(Rotation.random(count, rng=RNG).as_matrix())


def _turned(R: Tensor, angle: np.ndarray) -> Tensor:
    """Turns rotations (n, 3, 3) by angles (n) about random axes."""
    axis = RNG.normal(size=(len(R), 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    return torch.from_numpy(Rotation.from_rotvec(axis * angle[:, None]).as_matrix()) @ R


def _assert_rotation(R: Tensor) -> None:
    eye = torch.eye(3, dtype=R.dtype).expand_as(R)
    close = {"atol": 16 * torch.finfo(R.dtype).eps, "rtol": 0.0}
    torch.testing.assert_close(R @ R.transpose(-1, -2), eye, **close)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones_like(R[..., 0, 0]), **close)


class TestSixd:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("size", [1e-10, 1.0, 1e30])
    def test_any_six_numbers_give_a_rotation(self, dtype: torch.dtype, size: float) -> None:
        _assert_rotation(
            rotation_of_sixd(torch.from_numpy(RNG.normal(size=(500, 6)) * size).to(dtype))
        )

    def test_round_trip_ignores_the_length_of_the_axes(self) -> None:
        R = _rotations(20)
        torch.testing.assert_close(rotation_of_sixd(sixd_of_rotation(R) * 3.0), R)

    def test_columns_are_the_axes_of_the_source(self) -> None:
        """A source frame whose x axis is dst's y, and whose y axis is dst's z."""
        R_dst_from_src = rotation_of_sixd(torch.tensor([0.0, 2.0, 0.0, 0.0, 0.0, 5.0]))
        x_of_src = torch.tensor([1.0, 0.0, 0.0])
        torch.testing.assert_close(R_dst_from_src @ x_of_src, torch.tensor([0.0, 1.0, 0.0]))

    def test_leading_dims_are_kept(self) -> None:
        sixd = torch.from_numpy(RNG.normal(size=(2, 3, 6)))
        R = rotation_of_sixd(sixd)
        assert R.shape == (2, 3, 3, 3)
        torch.testing.assert_close(rotation_of_sixd(sixd[1, 2]), R[1, 2])
        assert rotation_of_sixd(sixd[:0]).shape == (0, 3, 3, 3)
        assert sixd_of_rotation(R).shape == (2, 3, 6)

    @pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0, -0.8)])
    def test_a_whole_turn_has_no_jump(self, axis: tuple[float, float, float]) -> None:
        """What Euler angles and quaternions cannot do: the way there and the way back are continuous."""
        angles = np.linspace(0.0, 2 * np.pi, 721)
        R = torch.from_numpy(Rotation.from_rotvec(np.outer(angles, axis)).as_matrix())
        sixd = sixd_of_rotation(R)
        step = angles[1]
        assert float((sixd[1:] - sixd[:-1]).norm(dim=1).max()) <= np.sqrt(2) * step
        torch.testing.assert_close(sixd[0], sixd[-1])
        noisy = rotation_of_sixd(1.7 * sixd + 0.05)
        assert float(geodesic(noisy[1:], noisy[:-1]).max()) < 2 * step

    def test_gradient_is_that_of_the_function(self) -> None:
        sixd = torch.from_numpy(RNG.normal(size=(4, 6))).requires_grad_()
        assert torch.autograd.gradcheck(rotation_of_sixd, (sixd,))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize(
        "sixd",
        [
            (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
            (0.0, 0.0, 0.0, 0.3, -0.2, 0.9),
            (0.0, 0.0, 0.0, 2.0, 0.0, 0.0),
            (0.3, -0.2, 0.9, 0.0, 0.0, 0.0),
            (0.3, -0.2, 0.9, 0.3, -0.2, 0.9),
            (0.3, -0.2, 0.9, -0.6, 0.4, -1.8),
            (0.0, 0.0, 2.0, 0.0, 0.0, -1.0),
            (1e-30, 0.0, 0.0, 0.0, 1e-30, 0.0),
            (0.3, -0.2, 0.9, 0.3, -0.2, 0.9 + 1e-5),
        ],
    )
    def test_axes_without_direction_still_give_a_rotation_and_finite_gradients(
        self, sixd: tuple[float, ...], dtype: torch.dtype
    ) -> None:
        given_ = torch.tensor(sixd, dtype=dtype, requires_grad=True)
        R = rotation_of_sixd(given_)
        _assert_rotation(R)
        weights = torch.arange(9.0, dtype=dtype).view(3, 3)
        (gradient,) = torch.autograd.grad((R * weights).sum(), given_)
        assert torch.isfinite(gradient).all()

    def test_what_takes_the_place_of_an_axis_without_direction(self) -> None:
        torch.testing.assert_close(rotation_of_sixd(torch.zeros(6)), torch.eye(3))
        R = rotation_of_sixd(torch.tensor([0.0, 0.0, 2.0, 0.0, 0.0, 5.0]))
        torch.testing.assert_close(R[:, :2], torch.eye(3)[:, [2, 0]])


class TestGeodesic:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_is_the_angle_of_the_turn_also_near_none_and_near_half_a_turn(
        self, dtype: torch.dtype
    ) -> None:
        near = np.logspace(-12, -1, 40)
        angle = np.concatenate([[0.0], near, np.linspace(0.1, 3.0, 40), np.pi - near, [np.pi]])
        R = _rotations(len(angle))
        found = geodesic(_turned(R, angle).to(dtype), R.to(dtype))
        assert found.dtype == dtype
        np.testing.assert_allclose(found.numpy(), angle, atol=8 * torch.finfo(dtype).eps)

    @given(st.integers(0, 2**32 - 1))
    def test_is_a_distance_that_no_frame_changes(self, seed: int) -> None:
        a, b, c, d = torch.from_numpy(
            Rotation.random(4, rng=np.random.default_rng(seed)).as_matrix()
        )
        angle = geodesic(a, b)
        close = {"atol": 1e-12, "rtol": 0.0}
        torch.testing.assert_close(geodesic(b, a), angle, **close)
        torch.testing.assert_close(geodesic(d @ a, d @ b), angle, **close)
        torch.testing.assert_close(geodesic(a @ d, b @ d), angle, **close)
        torch.testing.assert_close(geodesic(a.T, b.T), angle, **close)
        assert angle <= geodesic(a, c) + geodesic(c, b) + 1e-12
        assert 0 <= angle <= np.pi

    def test_leading_dims_broadcast(self) -> None:
        many, few = _rotations(6).view(2, 3, 3, 3), _rotations(3)
        found = geodesic(many, few)
        assert found.shape == (2, 3)
        torch.testing.assert_close(found[1, 2], geodesic(many[1, 2], few[2]))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("angle", [0.0, 1e-9, np.pi / 2, np.pi])
    def test_gradient_is_finite_also_at_no_turn_and_at_half_a_turn(
        self, angle: float, dtype: torch.dtype
    ) -> None:
        sixd = sixd_of_rotation(about_z(torch.tensor(angle, dtype=dtype))).requires_grad_()
        between = geodesic(rotation_of_sixd(sixd), torch.eye(3, dtype=dtype))
        (gradient,) = torch.autograd.grad(between, sixd)
        assert torch.isfinite(gradient).all()
        assert float(gradient.abs().max()) < 10

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_a_rotation_is_no_turn_from_itself(self, dtype: torch.dtype) -> None:
        R = _rotations(100).to(dtype).requires_grad_()
        angle = geodesic(R, R.detach())
        assert float(angle.detach().max()) < 8 * torch.finfo(dtype).eps
        (gradient,) = torch.autograd.grad(angle.sum(), R)
        assert torch.isfinite(gradient).all()

    def test_gradient_is_that_of_the_function(self) -> None:
        one, other = (torch.from_numpy(RNG.normal(size=(4, 6))).requires_grad_() for _ in range(2))
        assert torch.autograd.gradcheck(
            lambda a, b: geodesic(rotation_of_sixd(a), rotation_of_sixd(b)), (one, other)
        )

    def test_descent_finds_the_rotation_from_half_a_turn_away(self) -> None:
        target = _rotations(1)[0]
        sixd = sixd_of_rotation(_turned(target[None], np.array([3.1]))[0]).requires_grad_()
        search = torch.optim.Adam([sixd], lr=0.02)
        for _ in range(600):
            search.zero_grad()
            geodesic(rotation_of_sixd(sixd), target).backward()
            search.step()
        assert float(geodesic(rotation_of_sixd(sixd), target).detach()) < 0.05

    def test_compiled_functions_agree(self) -> None:
        one, other = (torch.from_numpy(RNG.normal(size=(4, 6))) for _ in range(2))

        def angle(a: Tensor, b: Tensor) -> Tensor:
            return geodesic(rotation_of_sixd(a), rotation_of_sixd(b))

        compiled = torch.compile(angle, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(one, other), angle(one, other))


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
