"""Quantities say in people's units what arrays and tables hold, whatever keys a table has."""

from typing import Any

import numpy as np
import pytest
from posed_people import shard

from schemas import layout, quantities
from schemas.errors import InputError
from schemas.geometry import look_at
from schemas.quantities import Rows, catalogue, declared, resolve
from schemas.recipes import Camera
from workers import osim, scene

DATA = osim.read_model("default")
LIGHTS = [{"sun": 0.5, "portrait": True, "room": "gym", "walls": ["a"], "room_size": [3, 4]}]
MOTIONS = [
    {"kind": "squat", "subject": 4, "parameters": {"depth": 90.0, "arms": "crossed", "n": 2}}
    | {"start_s": 0.0, "stop_s": 0.4},
    {"kind": "lunge", "parameters": {"depth": 70.0, "stride": 0.8}},
    {"kind": "random"},
]


@pytest.fixture(scope="module")
def model() -> osim.OsimModel:
    return osim.OsimModel(DATA)


@pytest.fixture(scope="module")
def rows(model: osim.OsimModel) -> Rows:
    poses = np.tile(model.spec.default_pose(), (3, 1))
    knees = [model.spec.coordinate_names.index(f"knee_angle_{s}") for s in "rl"]
    poses[:, knees] = np.radians([[10.0, 20.0], [90.0, 40.0], [0.0, 0.0]])
    contents = shard(model, model.spec.couple(poses))
    contents.arrays["motion_id"][:] = [0, 1, 2]
    contents.arrays["group_id"][:] = 4
    tables: dict[str, Any] = {"motions": MOTIONS, "lights": LIGHTS}
    tables |= {"garments": [{"top": {"kind": "t-shirt", "colour": [1, 2, 3]}, "socks": "none"}]}
    tables |= {"subjects": {"4": {"sex": "male", "bmi": 20.5, "skin_m": {"knee_l": 0.1}}}}
    return Rows(arrays=contents.arrays, tables=tables, spec=model.spec, lot="a", split="val")


def values(rows: Rows, name: str) -> list[Any]:
    every = catalogue(rows.spec, rows.tables)
    return list(every[resolve(name, every)].of(rows))


def test_angles_are_degrees_and_a_stem_is_the_larger_of_both_sides(rows: Rows) -> None:
    assert values(rows, "knee_angle_r") == pytest.approx([10, 90, 0])
    assert values(rows, "knee_flexion_l") == pytest.approx([20, 40, 0])
    assert values(rows, "knee_flexion") == pytest.approx([20, 90, 0])
    assert values(rows, "pelvis_ty") == pytest.approx(rows.arrays["q"][:, 4].tolist())


def test_every_coordinate_is_a_quantity(rows: Rows, model: osim.OsimModel) -> None:
    assert set(model.spec.coordinate_names) <= declared(model.spec).keys()


def test_every_array_of_one_number_a_sample_is_a_quantity(rows: Rows) -> None:
    every = declared(rows.spec)
    single = {a.name for a in layout.ARRAYS if not a.dims and a.dtype.startswith("f")}
    assert single <= every.keys()
    assert values(rows, "time") == pytest.approx([0.0, 0.1, 0.2])
    assert every["time"].unit == "s"


def test_tables_speak_for_themselves(rows: Rows) -> None:
    assert values(rows, "motion.depth")[:2] == [90.0, 70.0]
    assert np.isnan(values(rows, "depth")[2])
    assert values(rows, "stride")[1] == 0.8
    assert values(rows, "arms") == ["crossed", "", ""]
    assert values(rows, "movement") == ["squat", "lunge", "random"]
    assert values(rows, "light.portrait") == [1.0] * 3
    assert values(rows, "room") == ["gym"] * 3
    assert values(rows, "top.kind") == ["t-shirt"] * 3
    assert values(rows, "subject.bmi") == [20.5] * 3
    assert (values(rows, "lot"), values(rows, "split")) == (["a"] * 3, ["val"] * 3)
    every = catalogue(rows.spec, rows.tables)
    assert not {n for n in every if "colour" in n or "skin_m" in n or n == "motion.subject"}


def test_names_that_are_none_are_refused_with_the_nearest(rows: Rows) -> None:
    every = catalogue(rows.spec, rows.tables)
    with pytest.raises(InputError, match="knee_flexion"):
        resolve("knee_flexoin", every)
    with pytest.raises(InputError, match=r"may mean .*motion\.kind"):
        resolve("kind", [*every, "garment.kind"])
    with pytest.raises(InputError, match="no quantity"):
        resolve("", every)


def test_the_camera_is_read_off_its_matrices(model: osim.OsimModel) -> None:
    """What `sample_view` drew, it says in its description; the matrices alone must say the same."""
    skin = np.random.default_rng(0).uniform([-0.2, 0, -0.3], [0.2, 1.7, 0.3], (300, 3))
    front, camera = np.array([1.0, 0.0]), Camera()
    views = [
        scene.sample_view(camera, 128, skin.astype(np.float32), front, np.random.default_rng(i))
        for i in range(20)
    ]
    root = np.tile(np.eye(4), (20, 1, 1))
    arrays = {
        "K": np.stack([v.K for v in views]).astype(np.float32),
        "A_crop_from_source": np.stack([v.A_crop_from_source for v in views]),
        "T_cam_from_ground": np.stack([v.T_cam_from_ground for v in views]),
        "camera_yaw": np.array([v.yaw for v in views], np.float32),
        "T_ground_from_root": root,
    }
    rows = Rows(arrays=arrays, tables={}, spec=model.spec)
    every = declared(model.spec)
    for name, key, within in (
        ("camera_yaw", "yaw_deg", 0.01),
        ("camera_roll", "roll_deg", 0.1),
        ("camera_height", "height_m", 0.001),
        ("camera_focal_mm", "focal_mm", 0.02),
    ):
        said = [v.description[key] for v in views]
        np.testing.assert_allclose(every[name].of(rows), said, atol=within, err_msg=name)


def test_pitch_is_up_and_distance_is_along_the_floor(model: osim.OsimModel) -> None:
    T = look_at(np.array([3.0, 1.0, 4.0]), np.array([0.0, 6.0, 0.0]), 0.3)[None]
    arrays = {"T_cam_from_ground": T, "T_ground_from_root": np.eye(4)[None]}
    rows, every = Rows(arrays=arrays, tables={}, spec=model.spec), declared(model.spec)
    assert every["camera_pitch"].of(rows)[0] == pytest.approx(45.0)
    assert every["camera_distance"].of(rows)[0] == pytest.approx(5.0)


@pytest.mark.parametrize(
    "tables",
    [
        {"motions": 3, "lights": None, "subjects": [1], "garments": {"x": {}}},
        {"motions": [{"a b": 1, "<script>": 2, "x" * 99: 3, "n": 10**400}]},
        {"motions": [{"parameters": {"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}}]},
        {"motions": [{f"k{i}": i for i in range(5000)}]},
        {"motions": ["text", None, 4]},
        {"subjects": {"99999999999999999999999": {"bmi": 1.0}}},
    ],
)
def test_odd_tables_give_few_sound_names_and_no_error(tables: dict[str, Any]) -> None:
    found = catalogue(None, tables)
    assert len(found) < 450
    rows = Rows(
        arrays={n: np.zeros(2, int) for n in ("motion_id", "light_id", "garment_id", "group_id")},
        tables=tables,
        spec=None,
    )
    for name, quantity in found.items():
        assert name.replace(".", "").replace("_", "").isalnum()
        if "." in name:
            assert len(quantity.of(rows)) == 2
    assert quantities.needs(found.values())
