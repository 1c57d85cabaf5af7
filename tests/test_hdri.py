"""Environment maps: irradiance as by integration, the sun where it is, shadows away from it, hostile files refused."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_hdri import rgbe

from schemas import geometry
from schemas.errors import InputError
from schemas.recipes import Scene
from workers import film, hdri
from workers.light import ALL_ROUND, irradiance
from workers.render import Renderer
from workers.surfaces import Surface, box, sheet

Array = NDArray[np.float64]
MAPS = Path(__file__).parents[1] / "../shared/data/makehuman_cc0/hdri"
S = 96


def sky(height: int = 64, seed: int = 0) -> NDArray[np.float32]:
    """A smooth random sphere, brighter above."""
    rng = np.random.default_rng(seed)
    ways = hdri.directions(height)
    level = 1.0 + 0.6 * ways[..., 1] + 0.3 * np.sin(3 * ways @ rng.normal(size=3))
    return (level[..., None] * rng.uniform(0.5, 1.0, 3)).astype(np.float32)


def sunny(
    azimuth: float, elevation: float, radius: float, height: int = 256
) -> NDArray[np.float32]:
    flat = np.cos(elevation)
    sun = np.array([flat * np.cos(azimuth), np.sin(elevation), flat * np.sin(azimuth)])
    inside = hdri.directions(height) @ sun > np.cos(radius)
    return np.where(inside[..., None], 900.0, 0.5 * np.ones(3)).astype(np.float32)


def towards(azimuth: float, elevation: float) -> Array:
    flat = np.cos(elevation)
    return np.array([flat * np.cos(azimuth), np.sin(elevation), flat * np.sin(azimuth)])


@pytest.mark.parametrize("seed", range(3))
def test_the_polynomial_is_the_irradiance_integrated_over_the_sphere(seed: int) -> None:
    """Ramamoorthi & Hanrahan: order 2 is within a few per cent of any environment's irradiance."""
    radiance = sky(seed=seed).astype(np.float64)
    ways, angles = hdri.directions(64), hdri._solid_angles(64)
    cosine = np.maximum(np.einsum("hwi,ni->nhw", ways, ALL_ROUND), 0.0)
    exact = np.einsum("nhw,hwc->nc", cosine * angles, radiance) / np.pi
    np.testing.assert_allclose(irradiance(hdri.harmonics(radiance), ALL_ROUND), exact, rtol=0.03)


def test_solid_angles_cover_the_sphere_once() -> None:
    assert float(hdri._solid_angles(32).sum() * 64) == pytest.approx(4 * np.pi)


@pytest.mark.parametrize(
    ("azimuth", "elevation"), [(0.4, 0.6), (-3.1, 0.9), (3.13, 0.2), (1.5, 1.3)]
)
def test_the_sun_is_found_with_its_irradiance_and_size(azimuth: float, elevation: float) -> None:
    radius = np.radians(3.0)
    place = hdri.distil(sunny(azimuth, elevation, radius))
    apart = np.degrees(np.arccos(np.clip(place.direction @ towards(azimuth, elevation), -1, 1)))
    assert apart < 0.4
    assert np.degrees(place.radius) == pytest.approx(3.0, abs=0.4)
    expected = 899.5 * 2 * np.pi * (1 - np.cos(radius)) / np.pi
    np.testing.assert_allclose(place.sun, expected, rtol=0.05)
    # What is left is an even sky.
    np.testing.assert_allclose(irradiance(place.ambient, ALL_ROUND), 0.5, rtol=0.08)


def test_turning_the_map_turns_its_light() -> None:
    place, turn = hdri.distil(sky(seed=1)), 0.8
    turned = hdri.turned(place.ambient, turn)
    moved = hdri._turn(ALL_ROUND, turn)
    np.testing.assert_allclose(
        irradiance(turned, moved), irradiance(place.ambient, ALL_ROUND), atol=1e-9
    )


def view(
    eye: tuple[float, float, float], target: tuple[float, float, float]
) -> tuple[Array, Array]:
    K = np.array([[80.0, 0, (S - 1) / 2], [0, 80.0, (S - 1) / 2], [0, 0, 1]])
    return K, geometry.look_at(np.array(eye), np.array(target), 0.0)


@pytest.mark.parametrize("turn", [0.0, 1.9, -2.7])
def test_the_backdrop_shows_the_sun_where_the_light_comes_from(turn: float) -> None:
    place = hdri.distil(sunny(0.3, 0.35, np.radians(3.0)))
    light, _ = hdri.light_of(place, turn)
    K, T = view((0, 1.6, 0), tuple(np.array([0, 1.6, 0]) + 5 * light.direction))
    seen = hdri.backdrop(place, turn, light, K, T, S).sum(axis=2)
    row, column = np.unravel_index(int(cv2.GaussianBlur(seen, (0, 0), 2).argmax()), seen.shape)
    assert np.hypot(row - (S - 1) / 2, column - (S - 1) / 2) < 3.5


def floor() -> Surface:
    flat = sheet((-6, 0, -6), (0, 0, 12), (12, 0, 0), (1, 1, 1))
    return Surface(**(vars(flat) | {"casts": False, "catcher": True}))


def test_on_the_catching_floor_only_the_shadow_away_from_the_sun_is_darker() -> None:
    place = hdri.distil(sunny(0.0, 0.7, np.radians(3.0)))
    light, _ = hdri.light_of(place, 0.5)
    K, T = view((0.0, 3.5, 3.0), (0.0, 0.0, 0.0))
    behind = hdri.backdrop(place, 0.5, light, K, T, S)
    post = box((0.2, 0.8, 0.2), (0.5, 0.5, 0.5), 3)
    renderer = Renderer(S)
    bare = renderer.render([floor()], K, T, light, behind).radiance.sum(axis=2)
    shown = renderer.render([post, floor()], K, T, light, behind)
    ratio = shown.radiance.sum(axis=2) / bare

    def at(distance: float) -> float:
        flat = light.direction[[0, 2]] / np.linalg.norm(light.direction[[0, 2]])
        point = np.array([[distance * flat[0], 0.0, distance * flat[1]]])
        u, v = geometry.project(K, geometry.transform_points(T, point))[0]
        return float(ratio[round(float(v)), round(float(u))])

    assert at(-0.5) < 0.4
    assert at(0.6) > 0.85
    assert at(-1.6) > 0.9


def test_what_is_not_hidden_is_the_backdrop_itself() -> None:
    place = hdri.distil(sky(seed=2))
    light, _ = hdri.light_of(place, 0.0)
    K, T = view((0.0, 1.5, 4.0), (0.0, 0.8, 0.0))
    behind = hdri.backdrop(place, 0.0, light, K, T, S)
    picture = Renderer(S).render([floor()], K, T, light, behind)
    np.testing.assert_allclose(picture.radiance, behind, rtol=0.02, atol=0.004)


def test_a_radiance_file_comes_back_as_it_was_written() -> None:
    radiance = sky(32)
    np.testing.assert_allclose(hdri.decode(rgbe(radiance), "x.hdr"), radiance, rtol=0.02)


def exr_header(width: int, height: int) -> bytes:
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    return b"\x76\x2f\x31\x01\x02\0\0\0dataWindow\0box2i\0\x10\0\0\0" + window + b"\0" * 64


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is no Radiance"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 99999 +X 199998\n", "more than 4096"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 64 +X 128\n\x02\x02", "cannot be decoded"),
        (b"#?RADIANCE\n" + b"A=1\n" * 100000, "is no Radiance"),
        (rgbe(np.ones((40, 50, 3), np.float32)), "50 x 40"),
        (rgbe(np.ones((32, 64, 3), np.float32))[:200], "cannot be decoded"),
        (exr_header(2**31 - 1, 2**30), ""),
        (exr_header(80000, 40000), "more than 4096"),
        (exr_header(64, 32), "cannot be decoded"),
        (b"\x76\x2f\x31\x01" + b"\0" * 300, "is no Radiance"),
        (b"\x89PNG\r\n\x1a\n", "is no Radiance"),
    ],
)
def test_hostile_maps_are_refused_before_anything_is_allocated(data: bytes, why: str) -> None:
    with pytest.raises(InputError, match=f"x.hdr.*{why}"):
        hdri.decode(data, "x.hdr")


def test_broken_numbers_become_darkness() -> None:
    radiance = np.ones((8, 16, 3), np.float32)
    place = hdri.distil(np.clip(np.nan_to_num(radiance), 0, None))
    assert np.isfinite(place.ambient).all()
    dark = hdri.distil(np.zeros((8, 16, 3), np.float32))
    light, _ = hdri.light_of(dark, 0.0)
    assert np.isfinite(light.exposure)
    assert np.isfinite(film.picture_of(np.zeros((2, 2, 3), np.float32))).all()


@pytest.mark.skipif(not MAPS.is_dir(), reason="no environment maps beside the repository")
@pytest.mark.parametrize("name", ["park.hdr", "sunset.exr", "interior.exr"])
def test_real_maps_decode_and_give_plausible_light(name: str) -> None:
    radiance = hdri.decode((MAPS / name).read_bytes(), name)
    assert radiance.shape == (512, 1024, 3)
    place = hdri.distil(radiance, name)
    assert place.direction[1] > 0
    up, down = irradiance(place.ambient, np.array([[0, 1.0, 0], [0, -1.0, 0]]))
    assert (up + place.sun).sum() > down.sum()
    if name == "park.hdr":
        brightest = np.unravel_index(int(radiance.sum(axis=2).argmax()), (512, 1024))
        assert hdri.directions(512)[brightest] @ place.direction > np.cos(np.radians(1.0))


def test_a_folder_without_maps_is_refused_and_a_changed_map_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \.hdr or \.exr"):
        hdri.identify(Scene(hdri=str(tmp_path)))
    (tmp_path / "a.hdr").write_bytes(rgbe(sky(16)))
    scene = Scene(hdri=str(tmp_path))
    before = hdri.identify(scene)
    (tmp_path / "a.hdr").write_bytes(rgbe(sky(16, seed=3)))
    with pytest.raises(InputError, match="changed since"):
        hdri.sample_surroundings(str(tmp_path), np.random.default_rng(0))
    assert hdri.identify(scene) != before
