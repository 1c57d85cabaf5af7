"""Cameras and affines: what goes out comes back, and the pixel centre rule holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas import geometry
from schemas.shards import generator

Array = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)
K = np.array([[300.0, 0.0, 127.5], [0.0, 280.0, 95.5], [0.0, 0.0, 1.0]])


def some_camera(rng: np.random.Generator, roll: float = 0.0) -> tuple[Array, Array]:
    """Returns the eye and the pose of a camera that looks at something near the origin."""
    eye = rng.uniform([2.0, 0.2, -3.0], [4.0, 2.0, 3.0])
    return eye, geometry.look_at(eye, rng.uniform(-0.3, 0.3, 3), roll)


@given(seeds)
def test_a_projected_point_with_its_depth_comes_back(seed: int) -> None:
    rng = generator(seed, "points")
    _, T = some_camera(rng, rng.uniform(-3, 3))
    points = rng.uniform(-0.8, 0.8, (7, 3))
    in_camera = geometry.transform_points(T, points)
    pixels = geometry.project(K, in_camera)
    rays = np.column_stack([pixels, np.ones(7)]) @ np.linalg.inv(K).T
    back = geometry.transform_points(geometry.invert_rigid(T), rays * in_camera[:, 2:])
    np.testing.assert_allclose(back, points, atol=1e-12)


@given(seeds)
def test_the_inverse_of_a_rigid_transform_undoes_it(seed: int) -> None:
    T = np.stack([some_camera(generator(seed, i), i)[1] for i in range(3)])
    np.testing.assert_allclose(
        geometry.invert_rigid(T) @ T, np.tile(np.eye(4), (3, 1, 1)), atol=1e-12
    )


@given(seeds)
def test_look_at_is_a_rigid_pose_at_the_eye_with_the_target_on_its_axis(seed: int) -> None:
    rng = generator(seed, "look")
    eye, target = rng.uniform(1.0, 3.0, 3), rng.uniform(-0.5, 0.5, 3)
    T = geometry.look_at(eye, target, rng.uniform(-3, 3))
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_allclose(geometry.transform_points(T, eye[None])[0], 0.0, atol=1e-12)
    distance = np.linalg.norm(target - eye)
    np.testing.assert_allclose(
        geometry.transform_points(T, target[None])[0], [0, 0, distance], atol=1e-12
    )


def test_without_roll_up_is_up_and_the_cameras_right_is_right() -> None:
    eye = np.array([3.0, 1.0, 0.0])
    T = geometry.look_at(eye, np.array([0.0, 1.0, 0.0]), 0.0)
    above, right = np.array([0.0, 2.0, 0.0]), np.array([0.0, 1.0, -1.0])
    pixels = geometry.project(K, geometry.transform_points(T, np.stack([above, right])))
    np.testing.assert_allclose(pixels[0], [127.5, 95.5 - 280.0 / 3.0])
    np.testing.assert_allclose(pixels[1], [127.5 + 300.0 / 3.0, 95.5])


def test_a_camera_rolled_clockwise_sees_the_world_lean_to_the_left() -> None:
    T = geometry.look_at(np.array([3.0, 0.0, 0.0]), np.zeros(3), np.radians(10.0))
    above = geometry.transform_points(T, np.array([[0.0, 1.0, 0.0]]))[0]
    assert np.degrees(np.arctan2(above[0], -above[1])) == pytest.approx(-10.0)


def test_points_behind_the_camera_have_no_pixel() -> None:
    pixels = geometry.project(K, np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    assert np.isnan(pixels[:2]).all()
    np.testing.assert_allclose(pixels[2], [127.5, 95.5])


@given(seeds)
def test_bounds_are_those_of_the_projected_points(seed: int) -> None:
    rng = generator(seed, "bounds")
    eye, T = some_camera(rng, rng.uniform(-3, 3))
    # Some of them behind the camera, where they bound nothing.
    points = np.concatenate([rng.uniform(-0.8, 0.8, (9, 3)), 1.5 * eye + rng.uniform(0, 1, (3, 3))])
    in_camera = geometry.transform_points(T, points)
    pixels = geometry.project(K, in_camera)
    low, high, nearest = geometry.projected_bounds(K, T, points)
    np.testing.assert_allclose(low, np.nanmin(pixels, axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(high, np.nanmax(pixels, axis=0), rtol=1e-9, atol=1e-9)
    assert nearest == pytest.approx(in_camera[:, 2].min())


def test_nothing_before_the_camera_has_no_bounds() -> None:
    low, high, nearest = geometry.projected_bounds(K, np.eye(4), np.array([[0.0, 0.0, -1.0]]))
    assert (low > high).all()
    assert nearest == -1.0


def test_leading_dims_broadcast() -> None:
    rng = generator(3, "batch")
    T = np.stack([some_camera(rng)[1] for _ in range(4)])
    points = rng.uniform(-0.5, 0.5, (4, 5, 3))
    batch = geometry.project(np.tile(K, (4, 1, 1)), geometry.transform_points(T, points))
    for i in range(4):
        single = geometry.project(K, geometry.transform_points(T[i], points[i]))
        np.testing.assert_allclose(batch[i], single, atol=1e-12)


boxes = st.tuples(st.floats(-500, 500), st.floats(-500, 500), st.floats(1, 800), st.floats(1, 800))


@given(boxes, st.integers(1, 512), st.integers(1, 512))
def test_a_boxs_outer_edges_land_on_the_pictures_outer_edges(
    box: tuple[float, float, float, float], width: int, height: int
) -> None:
    A = geometry.affine_from_box(np.array(box), width, height)
    x, y, w, h = box
    corners = geometry.apply_affine(A, np.array([[x, y], [x + w, y + h]]))
    expected = [[-0.5, -0.5], [width - 0.5, height - 0.5]]
    np.testing.assert_allclose(corners, expected, atol=1e-6 * max(width, height, 1))


def test_a_box_of_whole_pixels_moves_pixel_centres_onto_pixel_centres() -> None:
    """The rule that fails when somebody writes (0, 0) for the corner of a pixel: a box of 3 x 2 pixels at (10, 20)."""
    A = geometry.affine_from_box(np.array([9.5, 19.5, 3.0, 2.0]), 3, 2)
    np.testing.assert_allclose(A, [[1, 0, -10], [0, 1, -20], [0, 0, 1]], atol=1e-12)
    doubled = geometry.affine_from_box(np.array([-0.5, -0.5, 2.0, 2.0]), 4, 4)
    np.testing.assert_allclose(geometry.apply_affine(doubled, np.zeros((1, 2)))[0], [0.5, 0.5])


def test_affines_compose_by_matrix_product_and_move_the_camera_exactly() -> None:
    A = geometry.affine_from_box(np.array([40.0, 30.0, 100.0, 100.0]), 64, 64)
    points = generator(1, "affine").uniform([-0.5, -0.5, 2.0], [0.5, 0.5, 4.0], (9, 3))
    moved = geometry.apply_affine(A, geometry.project(K, points))
    np.testing.assert_allclose(moved, geometry.project(A @ K, points), atol=1e-9)


@given(boxes, st.floats(0.2, 5.0), st.floats(1.0, 3.0))
def test_fit_box_keeps_the_centre_reaches_the_aspect_and_cuts_nothing(
    box: tuple[float, float, float, float], aspect: float, factor: float
) -> None:
    x, y, w, h = geometry.fit_box(np.array(box), aspect, factor)
    assert w / h == pytest.approx(aspect, rel=1e-9)
    centre = [box[0] + box[2] / 2, box[1] + box[3] / 2]
    np.testing.assert_allclose([x + w / 2, y + h / 2], centre, atol=1e-9)
    assert w >= box[2] * factor * (1 - 1e-12)
    assert h >= box[3] * factor * (1 - 1e-12)
    assert w == pytest.approx(box[2] * factor) or h == pytest.approx(box[3] * factor)
