"""The renderer's promises: exact pixels, exact parts and depths, light from the right side, the same bytes anywhere."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas import geometry
from schemas.errors import InputError
from workers import gpu
from workers.light import Light, hemisphere
from workers.render import Picture, Renderer
from workers.surfaces import Surface, Texture, ball, box, merge, place, sheet, vertex_normals

ROOT = Path(__file__).parents[1]
Array = NDArray[np.float64]
S = 64
K = np.array([[90.0, 0.0, 21.3], [0.0, 80.0, 44.8], [0.0, 0.0, 1.0]])
"""Unequal focal lengths and a principal point far from the middle."""
LIGHT = Light(
    direction=np.array([0.6, 0.8, 0.0]),
    sun=np.ones(3),
    ambient=hemisphere(np.full(3, 0.4), np.full(3, 0.2)),
)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(S)


def camera(eye: tuple[float, ...] = (0.0, 1.0, 4.0), roll: float = 0.0) -> Array:
    return geometry.look_at(np.array(eye), np.array([0.0, 0.6, 0.0]), roll)


def central(focal: float = 60.0) -> Array:
    return np.array([[focal, 0, (S - 1) / 2], [0, focal, (S - 1) / 2], [0, 0, 1.0]])


def floor(colour: float = 0.7, **finish: bool) -> Surface:
    flat = sheet((-5, 0, -5), (0, 0, 10), (10, 0, 0), (colour,) * 3)
    return Surface(**(vars(flat) | {"casts": False} | finish))


def dots(pixels: Array, depths: Array, K: Array, T: Array) -> Surface:
    """Triangles 0.6 px wide about pixels (n, 2), facing the camera, part = 1 + index."""
    corners = np.array([[-0.3, -0.3], [-0.3, 0.3], [0.3, 0.0]])
    spots = (pixels[:, None] + corners).reshape(-1, 2)
    rays = np.concatenate([spots, np.ones((len(spots), 1))], axis=1) @ np.linalg.inv(K).T
    points = geometry.transform_points(
        geometry.invert_rigid(T), rays * np.repeat(depths, 3)[:, None]
    )
    return Surface(
        vertices=points.astype(np.float32),
        faces=np.arange(len(points), dtype=np.int32).reshape(-1, 3),
        colours=np.full((len(points), 3), 0.5, np.float32),
        parts=np.repeat(np.arange(1, len(pixels) + 1), 3).astype(np.uint8),
        two_sided=True,
    )


@pytest.mark.parametrize("supersample", [True, False])
@pytest.mark.parametrize("roll", [0.0, 0.7])
def test_a_dot_at_a_projected_point_covers_that_pixel_only_and_has_its_depth(
    supersample: bool, roll: float
) -> None:
    rng = np.random.default_rng(0)
    T = camera(roll=roll)
    cells = rng.permutation(S * S)[:200]
    pixels = np.stack([cells % S, cells // S], axis=1).astype(np.float64)
    depths = rng.uniform(0.5, 12.0, len(pixels))
    drawn = dots(pixels, depths, K, T)
    picture = Renderer(S, supersample=supersample).render([drawn], K, T, LIGHT, None)
    expected = np.zeros((S, S), np.uint8)
    expected[cells // S, cells % S] = np.arange(1, 201)
    np.testing.assert_array_equal(picture.part, expected)
    np.testing.assert_allclose(picture.depth[cells // S, cells % S], depths, atol=1e-3)
    assert np.isinf(picture.depth[expected == 0]).all()


def test_depth_of_a_slanted_floor_is_the_rays_own(renderer: Renderer) -> None:
    T = camera((1.0, 1.5, 3.0), roll=0.2)
    picture = renderer.render([floor()], K, T, LIGHT, None)
    v, u = np.mgrid[0:S, 0:S]
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(K).T @ T[:3, :3]
    eye = geometry.invert_rigid(T)[:3, 3]
    with np.errstate(divide="ignore"):
        depth = -eye[1] / rays[..., 1]
    hit = eye + rays * depth[..., None]
    on_floor = (depth > 0) & (np.abs(hit[..., [0, 2]]) < 4.9).all(axis=-1)
    assert on_floor.sum() > 500
    np.testing.assert_allclose(picture.depth[on_floor], depth[on_floor], atol=1e-3)


def test_nearer_surfaces_hide_farther_ones_and_parts_are_never_averaged(renderer: Renderer) -> None:
    far, near = box((1, 1, 0.1), (1, 0, 0), 7), box((0.4, 2, 0.1), (0, 0, 1), 255)
    near = place(near, at=np.array([0.13, 0, 1.0]))
    for order in ([far, near, floor()], [floor(), near, far]):
        picture = renderer.render(order, central(), camera(), LIGHT, None)
        assert set(np.unique(picture.part)) == {0, 7, 255}
        assert (picture.depth[picture.part == 255] < 3.2).all()
        assert (picture.depth[picture.part == 7] > 3.7).all()


def test_pictures_are_neither_mirrored_nor_upside_down(renderer: Renderer) -> None:
    """From +z, x runs to the right: red on the right, green on the left, blue on top."""
    cubes = [
        place(box((0.3, 0.3, 0.3), colour), at=np.array(at))
        for colour, at in (
            ((1, 0, 0), (0.7, 0.3, 0)),
            ((0, 1, 0), (-0.7, 0.3, 0)),
            ((0, 0, 1), (0, 1.1, 0)),
        )
    ]
    rgb = renderer.render(cubes, central(), camera(), LIGHT, None).rgb.astype(float)
    v, u = np.mgrid[0:S, 0:S]

    def middle(channel: int) -> tuple[float, float]:
        others = [c for c in range(3) if c != channel]
        mask = rgb[..., channel] > rgb[..., others].max(axis=-1) + 60
        return float(u[mask].mean()), float(v[mask].mean())

    red, green, blue = (middle(channel) for channel in range(3))
    assert green[0] < S / 2 - 5 < S / 2 + 5 < red[0]
    assert blue[1] < min(red[1], green[1]) - 8


def brightness(picture: Picture, point: tuple[float, float, float], T: Array) -> float:
    at = geometry.project(central(), geometry.transform_points(T, np.array([point])))[0]
    u, v = (round(float(c)) for c in at)
    return float(picture.rgb[v, u].mean())


def test_shadows_fall_away_from_the_sun_and_start_at_the_foot(renderer: Renderer) -> None:
    T = camera((0.0, 2.5, 3.0))
    post = box((0.16, 0.6, 0.16), (0.8, 0.8, 0.8), 3)
    lit = renderer.render([floor()], central(), T, LIGHT, None)
    shaded = renderer.render([post, floor()], central(), T, LIGHT, None)
    for x in (-0.16, -0.25, -0.4):
        assert brightness(shaded, (x, 0, 0), T) < 0.8 * brightness(lit, (x, 0, 0), T)
    for x in (0.5, -0.8):
        assert brightness(shaded, (x, 0, 0), T) > 0.93 * brightness(lit, (x, 0, 0), T)


def test_the_side_towards_the_sun_is_the_brighter_one(renderer: Renderer) -> None:
    globe = ball(0.6, (0.6, 0.6, 0.6), 1, 40)
    picture = renderer.render([globe], central(120), camera(), LIGHT, None)
    rows, columns = np.nonzero(picture.part == 1)
    middle = picture.rgb[round(float(rows.mean()))].mean(axis=-1)
    left, right = int(columns.min()) + 4, int(columns.max()) - 4
    assert right - left > 20
    assert middle[right] > 1.2 * middle[left]


def test_a_photo_fills_the_frame_upright_and_only_shadows_darken_its_floor(
    renderer: Renderer,
) -> None:
    photo = np.full((2 * S, 2 * S, 3), 128, np.uint8)
    photo[:S] = (200, 40, 40)
    T = camera((0.0, 2.5, 3.0))
    post = box((0.16, 0.6, 0.16), (0.8, 0.8, 0.8), 3)
    picture = renderer.render([post, floor(catcher=True)], central(), T, LIGHT, photo)
    np.testing.assert_allclose(picture.rgb[2, 2], (200, 40, 40), atol=2)
    np.testing.assert_allclose(picture.rgb[-2, -2], (128, 128, 128), atol=2)
    assert brightness(picture, (-0.25, 0, 0.05), T) < 100
    assert picture.part[-2, -2] == 0
    assert np.isfinite(picture.depth[-2, -2])


def test_walls_vanish_from_behind_and_leaves_do_not(renderer: Renderer) -> None:
    wall = sheet((1, 0, 0), (-2, 0, 0), (0, 2, 0), (0.5, 0.5, 0.5))
    assert vertex_normals(wall.vertices, wall.faces)[0, 2] < 0
    for two_sided in (False, True):
        seen = Surface(**(vars(wall) | {"two_sided": two_sided}))
        picture = renderer.render([seen], central(), camera(), LIGHT, None)
        assert bool(np.isfinite(picture.depth[S // 2, S // 2])) is two_sided


def test_solids_are_closed_and_wound_outwards() -> None:
    for solid in (box((1, 2, 3), (1, 1, 1)), ball(1.0, (1, 1, 1))):
        corners = solid.vertices[solid.faces].astype(np.float64)
        volume = (
            np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
        )
        assert volume == pytest.approx(6.0 if len(solid.vertices) == 24 else 4.19, rel=0.1)


def test_colours_come_back_as_srgb(renderer: Renderer) -> None:
    """A doubling of light is a doubling after decoding sRGB, where the film's curve is still straight."""
    values = []
    for factor in (0.02, 0.04):
        light = replace(LIGHT, exposure=factor)
        picture = renderer.render([floor()], central(), camera(), light, None)
        srgb = float(picture.rgb[S - 4, S // 2].mean()) / 255
        values.append(((srgb + 0.055) / 1.055) ** 2.4 if srgb > 0.04045 else srgb / 12.92)
    assert values[1] / values[0] == pytest.approx(2.0, rel=0.12)


def test_textures_multiply_and_repeat_and_more_than_fit_may_come_one_after_another(
    renderer: Renderer,
) -> None:
    first = None
    for k in range(20):
        pixels = np.full((512, 512, 3), 255, np.uint8)
        pixels[:256, :, k % 3] = 0
        texture = Texture(name=f"test{k}", pixels=pixels)
        surface = Surface(**(vars(floor()) | {"texture": texture}))
        picture = renderer.render([surface], central(), camera(), LIGHT, None)
        means = picture.rgb[S - 10 :].reshape(-1, 3).mean(axis=0)
        assert int(np.argmin(means)) == k % 3
        first = picture.rgb if first is None else first
    again = Texture(name="test0", pixels=np.full((512, 512, 3), 255, np.uint8))
    again.pixels[:256, :, 0] = 0
    surface = Surface(**(vars(floor()) | {"texture": again}))
    np.testing.assert_array_equal(
        renderer.render([surface], central(), camera(), LIGHT, None).rgb, first
    )


def test_what_was_drawn_before_leaves_no_trace(renderer: Renderer) -> None:
    many = merge([ball(0.1 + 0.02 * k, (1, 0, 0), 9) for k in range(30)], "many")
    one = [box((0.5, 0.5, 0.5), (0, 1, 0), 2), floor()]
    before = renderer.render(one, central(), camera(), LIGHT, None)
    renderer.render([many], K, camera((1, 2, 3)), LIGHT, np.zeros((S, S, 3), np.uint8))
    after = renderer.render(one, central(), camera(), LIGHT, None)
    for name in ("radiance", "part", "depth"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


_SCRIPT = """
import hashlib, os, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from schemas.geometry import look_at
from workers.light import Light, hemisphere
from workers.render import Renderer
from workers.surfaces import ball, sheet
light = Light(direction=np.array([0.6, 0.8, 0.0]), sun=np.ones(3), ambient=hemisphere(np.ones(3), np.ones(3)))
K = np.array([[90.0, 0, 30], [0, 90, 30], [0, 0, 1]])
T = look_at(np.array([1.0, 1.0, 4.0]), np.array([0.0, 0.5, 0.0]), 0.1)
solids = [ball(0.5, (0.8, 0.4, 0.2), 3), sheet((-3, 0, -3), (0, 0, 6), (6, 0, 0), (0.5,) * 3)]
renderer = Renderer(64)
for _ in range(int(sys.argv[2])):
    picture = renderer.render(solids, K, T, light, None)
data = picture.rgb.tobytes() + picture.part.tobytes() + picture.depth.tobytes()
print(hashlib.sha256(data).hexdigest(), os.environ["LP_NUM_THREADS"])
"""


def python(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, str(ROOT), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_two_processes_draw_the_same_bytes() -> None:
    runs = [
        python(_SCRIPT, "1", LP_NUM_THREADS="1"),
        python(_SCRIPT, "3", LP_NUM_THREADS="2"),
    ]
    assert all(run.returncode == 0 for run in runs), runs
    digests = [run.stdout.split() for run in runs]
    assert digests[0][0] == digests[1][0]
    assert [d[1] for d in digests] == ["1", "2"]


def test_without_opengl_the_error_says_what_to_install() -> None:
    run = python(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from workers.render import Renderer\n"
        "Renderer(64).backend_name",
        __EGL_VENDOR_LIBRARY_FILENAMES="/nonexistent.json",
    )
    assert run.returncode != 0
    assert "InputError: OpenGL" in run.stderr
    assert "apt-get install -y libegl1 libgl1 libgl1-mesa-dri" in run.stderr


def test_a_missing_library_is_an_input_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: object) -> None:
        raise ImportError("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(gpu, "_OWN", gpu._Threads())
    monkeypatch.setattr("moderngl.create_context", fails)
    with pytest.raises(InputError, match=r"libEGL\.so\.1.*apt-get install -y libegl1"):
        Renderer(S).backend_name  # noqa: B018  the property does the work


def test_another_thread_is_refused_but_may_have_its_own(renderer: Renderer) -> None:
    scene = [floor()]
    expected = renderer.render(scene, central(), camera(), LIGHT, None)
    outcomes: list[object] = []

    def work() -> None:
        try:
            renderer.render(scene, central(), camera(), LIGHT, None)
        except RuntimeError as error:
            outcomes.append(error)
        outcomes.append(Renderer(S).render(scene, central(), camera(), LIGHT, None))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    error, picture = outcomes
    assert isinstance(error, RuntimeError)
    assert "thread" in str(error)
    assert isinstance(picture, Picture)
    np.testing.assert_array_equal(picture.rgb, expected.rgb)


def test_a_forked_process_is_refused_instead_of_hanging() -> None:
    run = python(
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from workers.render import Renderer\n"
        "Renderer(64).backend_name\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try:\n"
        "        Renderer(32).backend_name\n"
        "    except RuntimeError as error:\n"
        "        print('refused:', error, flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    assert "refused: This process was forked" in run.stdout


def test_memory_does_not_grow_with_the_frames(renderer: Renderer) -> None:
    def resident_kb() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])

    def growth_kb() -> int:
        before = resident_kb()
        for k in range(300):
            renderer.render(scene, central(60 + 0.01 * k), camera(), LIGHT, None)
        return resident_kb() - before

    scene = [ball(0.5, (1, 0, 0), 1, 40), floor()]
    for _ in range(50):
        renderer.render(scene, central(), camera(), LIGHT, None)
    # Other threads and the allocator take some at times; a leak takes it every time.
    assert any(growth_kb() < 3000 for _ in range(3))


def test_bootstrap_is_silent_where_all_is_there_and_says_what_is_missing_where_not(
    tmp_path: Path,
) -> None:
    script = ROOT / "scripts" / "bootstrap.sh"

    def bootstrap(**environment: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(script)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=240
        )

    libraries, drivers, bare = tmp_path / "lib", tmp_path / "dri", tmp_path / "bin"
    for folder in (libraries, drivers, bare):
        folder.mkdir()
    for path in (libraries / "libEGL.so.1", libraries / "libGL.so.1", drivers / "swrast_dri.so"):
        path.touch()
    where = {"KINEFORGE_LIBRARY_DIRS": str(libraries), "KINEFORGE_DRIVER_DIRS": str(drivers)}
    ready = bootstrap(PATH=os.environ["PATH"], **where)
    assert (ready.returncode, ready.stdout, ready.stderr) == (0, "", "")
    # A user who is not root and has no sudo.
    for name, body in (("apt-get", "exit 9"), ("id", "echo 1000"), ("uname", "echo x86_64")):
        (bare / name).write_text(f"#!/bin/sh\n{body}\n")
        (bare / name).chmod(0o755)
    (drivers / "swrast_dri.so").unlink()
    lacking = subprocess.run(
        ["/bin/sh", str(script)],
        env={"PATH": str(bare), **where},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert lacking.returncode == 1
    assert (
        "apt-get install -y --no-install-recommends libegl1 libgl1 libgl1-mesa-dri"
        in lacking.stderr
    )


@pytest.mark.parametrize(("focal", "thin"), [(60.0, True), (9000.0, False)])
def test_thinned_faces_are_drawn_where_pixels_are_large(
    renderer: Renderer, focal: float, thin: bool
) -> None:
    solid = ball(0.6, (0.5, 0.5, 0.5), part=7)
    surface = replace(solid, thinned=np.zeros((0, 3), np.int32))
    picture = renderer.render([surface], central(focal), camera(), LIGHT, None)
    assert bool((picture.part == 7).any()) is not thin
