"""The scene's promises: exact cameras about the person, crops that hold it, light from above, occluders in between."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from schemas import geometry
from schemas.errors import InputError, SampleRejected
from schemas.recipes import Camera, Scene
from workers import equipment, film, occluders, photos, props, scene, textures
from workers.furnishing import CLEAR_M
from workers.render import Renderer
from workers.surfaces import OCCLUDER, Surface, box, lathe, merge, place

Array = NDArray[np.float64]
FRONT = np.array([1.0, 0.0])
S = 96


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng([7, seed])


def figure() -> Surface:
    """A person-sized doll that faces +x and holds out its left arm (towards -z)."""
    trunk = lathe(
        [0.0, 0.16, 0.2, 0.1, 0.1, 0.0], [0.8, 0.8, 1.4, 1.5, 1.7, 1.75], (0.8, 0.2, 0.2), 2
    )
    legs = [place(box((0.12, 0.85, 0.12), (0.2, 0.2, 0.5), 3), at=(0, 0, z)) for z in (-0.1, 0.1)]
    arm = place(box((0.1, 0.1, 0.6), (0.1, 0.8, 0.1), 4), at=(0, 1.3, -0.45))
    return merge([trunk, *legs, arm], "figure")


def seen(view: scene.View, points: Array) -> Array:
    return geometry.project(view.K, geometry.transform_points(view.T_cam_from_ground, points))


def occluder_before(
    view: scene.View, person: Surface, random: np.random.Generator
) -> Surface | None:
    return occluders.sample_occluder(view.K, view.T_cam_from_ground, person.vertices, random)


def view_of(
    seed: int, camera: Camera | None = None, vertices: NDArray[np.float32] | None = None
) -> scene.View:
    points = figure().vertices if vertices is None else vertices
    return scene.sample_view(camera or Camera(), S, points, FRONT, rng(seed))


@pytest.mark.parametrize("seed", range(25))
def test_the_crop_holds_the_person_inside_the_phone_picture(seed: int) -> None:
    camera = Camera(margin=(1.2, 1.2), shift=0.05)
    view = view_of(seed, camera)
    pixels = seen(view, figure().vertices.astype(np.float64))
    assert pixels.min() > -0.5
    assert pixels.max() < S - 0.5
    box_side = np.ptp(pixels, axis=0).max()
    assert box_side == pytest.approx(S / 1.2)
    offset = (pixels.min(axis=0) + pixels.max(axis=0)) / 2 - (S - 1) / 2
    assert np.abs(offset).max() <= 0.05 * S + 1e-9
    source_from_crop = np.asarray(np.linalg.inv(view.A_crop_from_source), np.float64)
    in_source = geometry.apply_affine(source_from_crop, pixels)
    assert in_source.min() > -0.5
    assert np.all(in_source.max(axis=0) < np.array(view.source_px) - 0.5)


def test_the_intrinsics_are_the_phones_moved_by_the_crop() -> None:
    view = view_of(3, Camera(focal_mm=(26, 26)))
    phone = np.linalg.inv(view.A_crop_from_source) @ view.K
    focal = 26 / np.hypot(36, 24) * np.hypot(1080, 1920)
    middle = (np.array(view.source_px) - 1) / 2
    expected = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
    np.testing.assert_allclose(phone, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("yaw", "side"), [(0, (1, 0)), (90, (0, -1)), (180, (-1, 0)), (-90, (0, 1))]
)
def test_yaw_counts_from_the_persons_front_to_its_left(
    yaw: float, side: tuple[float, float]
) -> None:
    """Facing +x with Y up, the left hand is at -z."""
    camera = Camera(yaw=(yaw, yaw), distance=(3, 3), height=(1.1, 1.1))
    view = view_of(0, camera)
    points = figure().vertices
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    expected = [centre[0] + 3 * side[0], 1.1, centre[2] + 3 * side[1]]
    np.testing.assert_allclose(view.eye, expected, atol=1e-6)
    assert view.yaw == pytest.approx(np.radians(yaw))


def test_a_camera_in_front_sees_the_left_arm_on_the_right_of_the_picture() -> None:
    view = view_of(1, Camera(yaw=(0, 0), roll=(0, 0)))
    light, _ = scene.sample_light(Scene(), rng(0))
    picture = Renderer(S).render([figure()], view.K, view.T_cam_from_ground, light, None)
    columns = np.nonzero(picture.part == 4)[1]
    assert columns.mean() > np.nonzero(picture.part == 3)[1].mean() + 8
    rows = np.nonzero(picture.part == 4)[0]
    assert rows.mean() < np.nonzero(picture.part == 3)[0].mean() - 15


def test_roll_turns_the_camera_by_its_angle() -> None:
    """A camera turned clockwise shows the person leaning to the left."""
    upright = np.array([[0, 0.0, 0], [0, 1.7, 0]])
    angles = []
    for roll in (0.0, 12.0):
        camera = Camera(roll=(roll, roll), yaw=(0, 0), height=(0.9, 0.9))
        foot, head = seen(view_of(5, camera), upright)
        angles.append(np.degrees(np.arctan2(*(head - foot)[[0, 1]] * [1, -1])))
    assert angles[0] - angles[1] == pytest.approx(12.0, abs=0.8)


def test_one_followed_camera_holds_every_frame() -> None:
    still = figure().vertices
    frames = np.stack([still + np.array([0.1 * k, 0, 0.15 * k], np.float32) for k in range(6)])
    view = scene.sample_view(Camera(margin=(1.1, 1.1), shift=0.0), S, frames, FRONT, rng(2))
    pixels = seen(view, frames.astype(np.float64)).reshape(-1, 2)
    assert pixels.min() > -0.5
    assert pixels.max() < S - 0.5
    assert np.ptp(pixels, axis=0).max() == pytest.approx(S / 1.1)


def test_a_person_too_near_for_the_camera_is_rejected() -> None:
    huge = figure().vertices * np.array([20, 1, 20], np.float32)
    with pytest.raises(SampleRejected, match="person_in_camera"):
        view_of(0, Camera(distance=(0.5, 0.5)), huge)


@pytest.mark.parametrize("seed", range(6))
def test_everything_repeats_with_its_key_and_describes_itself_in_json(seed: int) -> None:
    def draw() -> tuple[object, ...]:
        random = rng(seed)
        view = view_of(seed)
        light, about_light = scene.sample_light(Scene(), random)
        room, about_room = scene.sample_room(Scene(), random, view.eye)
        occluder = occluder_before(view, figure(), random)
        words = json.dumps([view.description, about_light, about_room], sort_keys=True)
        meshes = [s.vertices.tobytes() + s.colours.tobytes() for s in room]
        return words, meshes, light.sun.tobytes(), occluder and occluder.vertices.tobytes()

    assert draw() == draw()


@pytest.mark.parametrize("seed", range(20))
def test_light_comes_from_above_within_the_recipes_ranges(seed: int) -> None:
    recipe = Scene(sun=(0.7, 0.8), ambient=(0.3, 0.4))
    light, about = scene.sample_light(recipe, rng(seed))
    assert np.linalg.norm(light.direction) == pytest.approx(1)
    assert light.direction[1] > 0.4
    assert 0.7 <= about["sun"] <= 0.8
    assert 0.3 <= about["ambient"] <= 0.4


@pytest.mark.parametrize("seed", range(30))
def test_furniture_leaves_the_person_and_the_line_of_sight_free(seed: int) -> None:
    view = view_of(seed)
    room, about = scene.sample_room(Scene(), rng(seed), view.eye)
    assert all((s.parts == 0).all() for s in room)
    eye = view.eye[[0, 2]]
    for surface in (s for s in room if s.name == "furniture"):
        xz = surface.vertices[:, [0, 2]].astype(np.float64)
        assert np.linalg.norm(xz, axis=1).min() > CLEAR_M - 1e-4
        along = xz @ eye / (eye @ eye)
        aside = np.abs(xz @ np.array([-eye[1], eye[0]])) / np.linalg.norm(eye)
        assert not ((along > 0) & (along < 1) & (aside < 1.0)).any()
    assert about["room"]


def test_rooms_have_a_floor_at_zero_and_differ() -> None:
    kinds = set()
    for seed in range(40):
        room, about = scene.sample_room(Scene(), rng(seed))
        floor = next(s for s in room if s.name == "floor")
        assert not floor.vertices[:, 1].any()
        assert not floor.casts
        assert min(s.vertices[:, 1].min() for s in room) > -1e-3
        kinds.add((about["room"], about["floor"]))
    assert len(kinds) > 8


def test_textures_repeat_without_a_seam_and_never_change() -> None:
    for name in textures.PAINTERS:
        pixels = textures.tile(name).pixels.astype(float)
        assert pixels.shape == (512, 512, 3)
        inner = np.abs(np.diff(pixels, axis=1)).mean(axis=(0, 2))
        seam = np.abs(pixels[:, 0] - pixels[:, -1]).mean()
        assert seam <= inner.max() + 3, name
        textures.tile.cache_clear()
        np.testing.assert_array_equal(textures.tile(name).pixels, pixels)


MAKERS = [
    (module, name)
    for module in (props, equipment)
    for name, maker in vars(module).items()
    if getattr(maker, "__module__", "") == module.__name__
    and "part" in getattr(maker, "__annotations__", {})
    and not name.startswith("_")
]


@pytest.mark.parametrize(("module", "name"), MAKERS)
def test_props_stand_on_the_floor_with_one_part_and_sane_sizes(
    module: ModuleType, name: str
) -> None:
    for seed in range(5):
        thing: Surface = getattr(module, name)(rng(seed), OCCLUDER)
        low = thing.vertices[:, 1].min()
        assert abs(low) < 1e-3 or name == "plant"
        assert (thing.parts == OCCLUDER).all()
        assert thing.faces.max() < len(thing.vertices)
        assert 0.2 < np.ptp(thing.vertices, axis=0).max() < 6
        assert np.isfinite(thing.vertices).all()
        assert ((thing.colours >= 0) & (thing.colours <= 1)).all()


def test_occluders_hide_a_part_of_the_person_from_in_front() -> None:
    renderer, doll = Renderer(S), figure()
    light, _ = scene.sample_light(Scene(), rng(0))
    hidden, names = [], set()
    for seed in range(40):
        view = view_of(seed)
        occluder = occluder_before(view, doll, rng(seed))
        if occluder is None:
            continue
        names.add(occluder.name)
        assert (occluder.parts == OCCLUDER).all()
        where = (view.K, view.T_cam_from_ground, light, None)
        alone = renderer.render([doll], *where).part > 0
        together = renderer.render([doll, occluder], *where).part
        hidden.append(float((together[alone] == OCCLUDER).mean()))
        assert hidden[-1] < 0.75
    assert len(hidden) > 30
    assert len(names) >= 5
    assert 0.03 < float(np.median(hidden)) < 0.4


def jpeg(value: int) -> bytes:
    data: bytes = simplejpeg.encode_jpeg(np.full((90, 120, 3), value, np.uint8))
    return data


def test_a_broken_photo_gives_way_to_the_next_and_only_broken_ones_are_an_error(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(40))
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    (tmp_path / "c.jpg").write_bytes(jpeg(200))
    recipe = Scene(backgrounds=str(tmp_path))
    found = {}
    for seed in range(20):
        photo, name = photos.sample_photo(recipe, str(tmp_path), rng(seed))
        assert photo.shape[0] == photo.shape[1]
        found[name] = int(photo.mean())
    assert found == {"a.jpg": pytest.approx(40, abs=2), "c.jpg": pytest.approx(200, abs=2)}
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "x.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match="none of its 1"):
        photos.sample_photo(Scene(backgrounds=str(broken)), str(broken), rng(0))


def test_a_folder_without_photos_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.jpg"):
        photos.sample_photo(Scene(backgrounds=str(tmp_path)), str(tmp_path), rng(0))


def test_development_repeats_and_does_what_it_draws() -> None:
    picture = np.full((64, 64, 3), 120, np.uint8)
    picture[:, 32:] = 200

    radiance = film.radiance_of(picture).astype(np.float32)

    def developed(recipe: Scene, seed: int) -> NDArray[np.uint8]:
        random = rng(seed)
        return scene.develop(radiance, scene.sample_development(recipe, random), random)

    noisy = Scene(blur=(0, 0), noise=(5, 5), compressed=0.0)
    grainy = developed(noisy, 0)
    np.testing.assert_array_equal(grainy, developed(noisy, 0))
    assert grainy[:, :30].astype(float).std(axis=(0, 1)).mean() == pytest.approx(5, rel=0.3)
    plain = developed(Scene(blur=(0, 0), noise=(0, 0), compressed=0.0), 1)
    assert len(np.unique(plain[:, :30].reshape(-1, 3), axis=0)) == 1
    assert plain[0, 0].mean() < plain[0, -1].mean()
    blurred = developed(Scene(blur=(2, 2), noise=(0, 0), compressed=0.0), 1)
    steps = [np.abs(np.diff(p[32].astype(float), axis=0)).max() for p in (plain, blurred)]
    assert steps[1] < 0.4 * steps[0]
