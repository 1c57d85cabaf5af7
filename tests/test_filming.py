"""Phones and what they do: views reach their ranges and weights, hands shake smoothly, streaks follow the motion."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas import geometry
from schemas.recipes import Camera, Scene, Views
from workers import cameras, development, film, streaks
from workers.render import Picture
from workers.surfaces import lathe

Array = NDArray[np.float64]
S = 96
FRONT = np.array([1.0, 0.0])
DOLL = lathe([0.0, 0.2, 0.25, 0.0], [0.0, 0.0, 1.2, 1.7], (0.5, 0.5, 0.5), 2).vertices


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng([11, seed])


def drawn(camera: Camera, count: int = 300) -> list[cameras.View]:
    return [cameras.sample_view(camera, S, DOLL, FRONT, rng(k)) for k in range(count)]


def test_views_have_the_weights_and_the_spread_that_are_asked_for() -> None:
    views = Views(front=0.5, side=0.3, oblique=0.2, any=0.0, spread=10.0)
    yaw = np.degrees([v.yaw for v in drawn(Camera(views=views), 600)])
    shares = [float((np.abs(np.abs(yaw) - middle) <= 10.0).mean()) for middle in (0.0, 90.0, 45.0)]
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.06)
    assert sum(shares) == pytest.approx(1.0)
    assert 0.35 < float((yaw > 45).mean() / (np.abs(yaw) > 45).mean()) < 0.65


def test_a_view_never_leaves_the_yaw_that_is_allowed() -> None:
    yaw = np.degrees([v.yaw for v in drawn(Camera(yaw=(20.0, 60.0)))])
    assert yaw.min() >= 20.0
    assert yaw.max() <= 60.0


def test_ranges_are_reached_and_kept_and_described() -> None:
    camera = Camera()
    about = [v.description for v in drawn(camera, 800)]
    for key, (low, high) in {
        "distance_m": camera.distance,
        "height_m": camera.height,
        "focal_mm": camera.focal_mm,
        "roll_deg": camera.roll,
    }.items():
        values = np.array([a[key] for a in about])
        assert low - 1e-3 <= values.min() < low + 0.2 * (high - low), key
        assert high - 0.05 * (high - low) < values.max() <= high + 1e-3, key
    assert 0.5 < np.mean([a["portrait"] for a in about]) < 0.95


def test_the_description_is_what_the_labels_say() -> None:
    for view in drawn(Camera(), 40):
        T, about = view.T_cam_from_ground, view.description
        assert np.degrees(np.arcsin(T[2, 1])) == pytest.approx(about["pitch_deg"], abs=0.01)
        assert view.eye[1] == pytest.approx(about["height_m"], abs=1e-3)
        phone = np.linalg.inv(view.A_crop_from_source) @ view.K
        focal = about["focal_mm"] / cameras.FILM_DIAGONAL_MM * np.hypot(1080, 1920)
        assert phone[0, 0] == pytest.approx(focal, rel=1e-3)


def hand(seed: int, **changes: object) -> cameras.Hand:
    held = cameras.sample_hand(Camera.model_validate({"handheld": 1.0} | changes), rng(seed))
    assert held is not None
    return held


def test_a_hand_starts_where_the_stage_was_set_and_drifts_smoothly() -> None:
    view, held = drawn(Camera(), 1)[0], hand(0)
    np.testing.assert_array_equal(
        held.move(view, 2.0, 2.0).T_cam_from_ground, view.T_cam_from_ground
    )
    poses = [held.move(view, t, 0.0).T_cam_from_ground for t in np.arange(0, 6, 1 / 30)]
    turns = [
        np.degrees(np.arccos(min(1, (np.trace(a[:3, :3] @ b[:3, :3].T) - 1) / 2)))
        for a, b in pairwise(poses)
    ]
    assert 0.0 < max(turns) < 1.0
    for T in poses:
        np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)


def test_shake_has_the_size_that_is_asked_for() -> None:
    for degrees in (0.2, 0.6):
        spread = []
        for seed in range(12):
            held = hand(seed, shake=(degrees, degrees))
            times = np.linspace(0, 200, 4000)
            wave = np.sin(2 * np.pi * held.hertz[..., None] * times + held.phase[..., None])
            spread.append(np.degrees((held.size[..., None] * wave).sum(axis=1)).std(axis=1))
        assert np.mean(spread) == pytest.approx(degrees, rel=0.1)


def test_spin_is_the_derivative_of_the_camera() -> None:
    view, held, step = drawn(Camera(), 1)[0], hand(3), 1e-5
    now = held.move(view, 1.0, 1.0)
    later = held.move(view, 1.0 + step, 1.0).T_cam_from_ground
    change = (later @ np.linalg.inv(now.T_cam_from_ground))[:3, :3] / step
    expected = np.array([change[2, 1], change[0, 2], change[1, 0]])
    assert now.spin is not None
    np.testing.assert_allclose(now.spin, expected, rtol=1e-3, atol=1e-6)


def scene_of(part: int = 1) -> tuple[Picture, cameras.View]:
    """A bright square of one body before a dark wall, 4 m away."""
    radiance = np.full((S, S, 3), 0.05, np.float32)
    parts = np.zeros((S, S), np.uint8)
    depth = np.full((S, S), 6.0, np.float32)
    where = (slice(30, 60), slice(36, 56))
    radiance[where], parts[where], depth[where] = 0.8, part, 4.0
    K = np.array([[200.0, 0, 47.5], [0, 200.0, 47.5], [0, 0, 1]])
    T = geometry.look_at(np.array([4.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0]), 0.0)
    base = drawn(Camera(), 1)[0]
    return Picture(radiance=radiance, part=parts, depth=depth), replace(
        base, K=K, T_cam_from_ground=T
    )


def drift(velocity: tuple[float, float, float]) -> Array:
    moves = np.zeros((2, 3, 4))
    moves[0, :, 3] = velocity
    return moves


def test_a_streak_is_as_long_as_the_way_and_lies_along_it() -> None:
    picture, view = scene_of()
    # 4 m/s to the camera's right for 40 ms at 4 m and f = 200 px: 8 px.
    right = view.T_cam_from_ground[0, :3]
    blurred, streak = streaks.exposed(picture, view, drift(tuple(4.0 * right)), 0.04)
    assert streak == pytest.approx(8.0, rel=0.01)
    row = blurred[45, :, 0]
    rising = (row[26:46] - 0.05) / 0.75
    assert rising[36 - 26 - 5] < 0.05
    assert rising[36 - 26 + 5] > 0.95
    assert 0.35 < rising[36 - 26] < 0.65
    np.testing.assert_allclose(blurred[10], 0.05, atol=1e-3)
    column = blurred[:, 46, 0]
    assert column[29] < 0.1
    assert column[30] > 0.7
    assert blurred.sum() == pytest.approx(float(picture.radiance.sum()), rel=0.02)


def test_what_stands_still_stays_as_it_was() -> None:
    picture, view = scene_of()
    for nothing in (None, drift((0.0, 0.0, 0.0)), drift((0.001, 0.0, 0.0))):
        blurred, streak = streaks.exposed(picture, view, nothing, 0.03)
        np.testing.assert_array_equal(blurred, picture.radiance)
        assert streak < 0.01


def test_a_turning_phone_smears_everything_by_its_angle() -> None:
    picture, view = scene_of()
    spinning = replace(view, spin=np.array([0.0, 1.0, 0.0]))
    blurred, streak = streaks.exposed(picture, spinning, None, 0.03)
    assert streak == pytest.approx(0.03 * 200, rel=0.03)
    assert 0.3 < (float(blurred[45, 36, 0]) - 0.05) / 0.75 < 0.7


def test_ways_agree_with_projecting_the_moved_points() -> None:
    picture, view = scene_of()
    generator = rng(5)
    moves = np.zeros((2, 3, 4))
    moves[0, :, :3] = 0.02 * np.array([[0, -1, 0.3], [1, 0, -0.2], [-0.3, 0.2, 0]])
    moves[0, :, 3] = generator.normal(0, 0.01, 3)
    turn = np.array([0.004, -0.003, 0.006])
    rows, columns = np.nonzero(picture.part == 1)
    way = streaks.ways(picture, view, turn, moves, rows, columns)
    rays = np.stack([columns, rows, np.ones(len(rows))], axis=1) @ np.linalg.inv(view.K).T
    camera = rays * 4.0
    ground = geometry.transform_points(geometry.invert_rigid(view.T_cam_from_ground), camera)
    ends = []
    for sign in (-0.5, 0.5):
        moved = ground + sign * (ground @ moves[0, :, :3].T + moves[0, :, 3])
        seen = geometry.transform_points(view.T_cam_from_ground, moved)
        seen = seen + sign * np.cross(turn, seen)
        ends.append(geometry.project(view.K, seen))
    np.testing.assert_allclose(way, ends[1] - ends[0], atol=0.03)


def test_the_meter_brings_bright_and_dark_scenes_to_one_level() -> None:
    radiance = rng(1).uniform(0.05, 1.0, (64, 64, 3)).astype(np.float32)
    levels = [development.meter(radiance * k) * k for k in (0.2, 1.0, 4.0)]
    np.testing.assert_allclose(levels, levels[0], rtol=0.03)
    how = development.sample_development(
        Scene(noise=(0, 0), blur=(0, 0), compressed=0, exposure=(0, 0), white_balance=(0, 0)),
        rng(0),
    )
    picture = development.develop(radiance * 5, how, rng(0))
    assert 90 < picture.mean() < 150
    brighter = development.develop(radiance * 5, replace(how, exposure=0.7), rng(0))
    assert brighter.mean() > picture.mean() + 15


def test_film_and_its_inverse_agree() -> None:
    levels = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    again = film.picture_of(film.radiance_of(levels).astype(np.float32))
    assert np.abs(again.astype(int) - levels).max() <= 1


def busy() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:65, 0:65]
    wave = 120 + 60 * np.sin(x / 2.0) + 50 * np.cos(y / 3.0)
    return np.stack([wave, 0.8 * wave, 255 - wave], axis=2).clip(0, 255).astype(np.uint8)


def test_compression_costs_more_detail_the_stronger_it_is_and_keeps_the_size() -> None:
    errors = []
    for strength in (0.0, 0.5, 1.0):
        result = development.compress(busy(), strength)
        assert result.shape == (65, 65, 3)
        errors.append(float(np.abs(result.astype(int) - busy()).mean()))
    assert 0 < errors[0] < errors[1] < errors[2] < 40


def test_another_process_compresses_to_the_same_bytes() -> None:
    program = (
        "import sys, hashlib; sys.path[:0] = ['.', 'tests']; import test_filming as t;"
        "print(hashlib.sha256(t.development.compress(t.busy(), 0.7).tobytes()).hexdigest())"
    )
    root = Path(__file__).parents[1]
    runs = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
        ).stdout
        for _ in range(2)
    }
    assert len(runs) == 1
