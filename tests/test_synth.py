"""Synthetic people: the same from the same key wherever they are made, standing on the floor, bending as people do."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import InputError
from schemas.geometry import project, transform_points
from schemas.recipes import SynthRecipe
from schemas.shards import ShardContents, ShardKey, generator
from schemas.store import Store
from workers import cast, images, motions, osim, performance, produce, synth, wardrobe

LOTS: dict[str, Any] = {
    "squat": {"subjects": 2, "frames": 3, "depth": [100, 110]},
    "poses": {"random": "limits", "subjects": 1, "frames": 2},
    "film": {"subjects": 1, "frames": 3, "clip": True, "fps": 4.0},
}
MADE_FOR_THE_SHARD = ("motion_id", "garment_id", "light_id")
"""Indices into the shard's own tables."""


def tiny(**changes: Any) -> SynthRecipe:
    fields: dict[str, Any] = {"name": "tiny", "motions": LOTS, "image_px": 64}
    return SynthRecipe.model_validate(fields | {"scene": {"occluder": 0.0}} | changes)


def key(lot: str, *members: int) -> ShardKey:
    return ShardKey(source="synth", lot=lot, split="train", members=members)


def fingerprint(contents: ShardContents) -> str:
    """Digests all pixels and all labels."""
    digest = hashlib.sha256(b"".join(contents.images))
    for name in sorted(contents.arrays):
        digest.update(contents.arrays[name].tobytes())
    return digest.hexdigest()


def make(lot: str, *members: int) -> ShardContents:
    recipe = tiny()
    return synth.make_shard(recipe, synth.load(recipe), key(lot, *members))


@pytest.fixture(scope="module")
def shards() -> dict[str, ShardContents]:
    """Makes one shard of each lot."""
    return {"squat": make("squat", 0, 1), "poses": make("poses", 0), "film": make("film", 0)}


@pytest.fixture(scope="module")
def model() -> osim.OsimModel:
    return osim.OsimModel(osim.read_model("default"))


def test_every_planned_frame_is_made_and_decodes(shards: dict[str, ShardContents]) -> None:
    for contents in shards.values():
        assert contents.quarantine == ()
        assert len(contents.images) == contents.planned > 0
        for jpeg in contents.images:
            picture = images.decode(jpeg)
            assert picture.shape == (64, 64, 3)
            assert picture.std() > 5


def test_another_process_makes_the_same_bytes(shards: dict[str, ShardContents]) -> None:
    program = (
        "import sys; sys.path[:0] = ['.', 'tests']; import test_synth as t;"
        "print(t.fingerprint(t.make('poses', 0)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.stdout.split()[-1] == fingerprint(shards["poses"])


def test_a_frame_does_not_depend_on_its_shard_mates(shards: dict[str, ShardContents]) -> None:
    both, alone = shards["squat"], make("squat", 1)
    rows = np.flatnonzero(both.arrays["group_id"] == 1)
    assert [both.images[i] for i in rows] == alone.images
    for name in both.arrays.keys() - set(MADE_FOR_THE_SHARD):
        np.testing.assert_array_equal(both.arrays[name][rows], alone.arrays[name], err_msg=name)
    assert both.tables["subjects"]["1"] == alone.tables["subjects"]["1"]


def test_people_frames_and_lots_differ(shards: dict[str, ShardContents]) -> None:
    squat = shards["squat"]
    everything = [jpeg for contents in shards.values() for jpeg in contents.images]
    assert len(set(everything)) == len(everything)
    assert len({s.tobytes() for s in squat.arrays["scale"]}) == 2
    ids = squat.arrays["sample_id"]
    assert ids.tolist() == [0, 1, 2, 3, 4, 5]


def test_one_person_has_one_body_in_all_lots(shards: dict[str, ShardContents]) -> None:
    bodies = [contents.arrays["scale"][0] for contents in shards.values()]
    np.testing.assert_array_equal(bodies[0], bodies[1])
    np.testing.assert_array_equal(bodies[0], bodies[2])


def lowest_skin(lot: str, contents: ShardContents) -> np.ndarray:
    """Poses the dressed skin anew from the stored numbers and returns each frame's lowest height."""
    recipe = tiny()
    data = osim.read_model(recipe.model)
    heights = []
    for subject, q in zip(contents.arrays["group_id"], contents.arrays["q"], strict=True):
        number = int(subject)
        human = cast.body_of(recipe.people, data, recipe.seed, number)
        scaled = osim.OsimModel(data, human.scale)
        rng = generator(recipe.seed, "outfit", lot, number)
        outfit = wardrobe.dress(human, scaled, recipe.wardrobe, None, rng)
        T = scaled.pose(q).T_ground_from_body
        heights.append(outfit.points(human.skin(T), T)[:, 1].min())
    return np.array(heights)


def test_feet_stand_on_the_floor(shards: dict[str, ShardContents]) -> None:
    poses = lowest_skin("poses", shards["poses"])
    np.testing.assert_allclose(poses, 0.0, atol=1e-4)
    for lot in ("squat", "film"):
        lowest = lowest_skin(lot, shards[lot])
        for subject in np.unique(shards[lot].arrays["group_id"]):
            own = lowest[shards[lot].arrays["group_id"] == subject]
            assert own.min() > -0.008  # the edge of a sole that rolls by 8 degrees
            assert own.max() < 0.002


def forward(T_ground_from_root: np.ndarray) -> np.ndarray:
    """Returns the person's front on the floor: the pelvis' right side is its Z axis."""
    front = np.cross([0.0, 1.0, 0.0], T_ground_from_root[:3, 2])
    return np.asarray(front / np.linalg.norm(front))


def test_knees_bend_forward_and_hips_go_back(
    shards: dict[str, ShardContents], model: osim.OsimModel
) -> None:
    arrays, names = shards["squat"].arrays, model.spec.joint_names
    angle = arrays["q"][:, model.spec.coordinate_names.index("knee_angle_r")]
    bottom = [i for i in range(len(angle)) if angle[i] > np.radians(60)]
    assert bottom
    for i in bottom:
        front = forward(arrays["T_ground_from_root"][i])
        for side in "rl":
            hip, knee, ankle = (
                arrays["joints_ground"][i, names.index(f"{joint}_{side}")]
                for joint in ("hip", "walker_knee", "ankle")
            )
            line = hip + (ankle - hip) * (hip[1] - knee[1]) / (hip[1] - ankle[1])
            assert np.dot(knee - line, front) > 0.15
            assert np.dot(hip - ankle, front) < 0.05  # who stands on the toes goes forward
            assert hip[1] > ankle[1]


def test_toes_point_to_the_front_and_the_head_is_on_top(
    shards: dict[str, ShardContents], model: osim.OsimModel
) -> None:
    names = model.spec.marker_names
    toe, heel, top, right, left = (
        names.index(n) for n in ("r_toe_study", "r_calc_study", "VERT", "RHJC_study", "LHJC_study")
    )
    for contents in (shards["squat"], shards["film"]):
        for T, markers in zip(
            contents.arrays["T_ground_from_root"], contents.arrays["markers_ground"], strict=True
        ):
            front = forward(T)
            assert np.dot(markers[toe] - markers[heel], front) > 0.08
            assert markers[top, 1] == markers[:, 1].max()
            assert np.cross(front, [0, 1, 0]) @ (markers[right] - markers[left]) > 0.1


def test_angles_keep_their_limits_and_couplers(
    shards: dict[str, ShardContents], model: osim.OsimModel
) -> None:
    low = np.array([c.lower for c in model.spec.coordinates])
    high = np.array([c.upper for c in model.spec.coordinates])
    for contents in shards.values():
        q = contents.arrays["q"]
        assert (q >= low - 1e-9).all()
        assert (q <= high + 1e-9).all()
        np.testing.assert_array_equal(q, model.spec.couple(q))


def test_a_clip_has_one_camera_one_light_and_even_times(shards: dict[str, ShardContents]) -> None:
    film, apart = shards["film"].arrays, shards["squat"].arrays
    for name in ("K", "T_cam_from_ground", "light_id"):
        assert (film[name] == film[name][0]).all()
    assert len(np.unique(apart["T_cam_from_ground"], axis=0)) == len(apart["time"])
    np.testing.assert_allclose(np.diff(film["time"]), 0.25, atol=1e-6)


def test_a_clip_shows_one_subject_outfit_and_light_at_consecutive_times() -> None:
    both = make("film", 0, 1).arrays
    assert both["group_id"].tolist() == [0, 0, 0, 1, 1, 1]
    for subject in (0, 1):
        rows = both["group_id"] == subject
        for name in ("garment_id", "motion_id", "light_id", "scale", "anthropometry"):
            assert len(np.unique(both[name][rows], axis=0)) == 1, name
        assert np.diff(both["sample_id"][rows]).tolist() == [1, 1]
        np.testing.assert_allclose(np.diff(both["time"][rows]), 0.25, atol=1e-6)
    assert len(np.unique(both["garment_id"])) == len(np.unique(both["motion_id"])) == 2


def test_the_whole_person_of_every_frame_is_in_the_picture(
    shards: dict[str, ShardContents],
) -> None:
    for contents in shards.values():
        assert (contents.arrays["joints_px"] > -0.5).all()
        assert (contents.arrays["joints_px"] < 63.5).all()
        box = contents.arrays["box"]
        assert (box[:, 2:].max(axis=1) > 64 / 3).all()


def test_labels_are_where_the_camera_says(shards: dict[str, ShardContents]) -> None:
    for contents in shards.values():
        a = contents.arrays
        pixels = project(
            a["K"].astype(float), transform_points(a["T_cam_from_ground"], a["markers_ground"])
        )
        np.testing.assert_allclose(pixels, a["markers_px"], atol=2e-3)


def test_the_tables_answer_to_the_rows(shards: dict[str, ShardContents]) -> None:
    for contents in shards.values():
        for name, table in (("motion_id", "motions"), ("garment_id", "garments")):
            subjects = [contents.tables[table][i]["subject"] for i in contents.arrays[name]]
            assert subjects == contents.arrays["group_id"].tolist()
        assert contents.arrays["light_id"].max() == len(contents.tables["lights"]) - 1
        assert set(contents.tables["subjects"]) == {str(g) for g in contents.arrays["group_id"]}


@given(
    st.integers(1, 60),
    st.integers(1, 9),
    st.integers(1, 40),
    st.sampled_from([(0.7, 0.15), (0.5, 0.0)]),
    st.integers(0, 300),
)
@settings(max_examples=40)
def test_a_plan_holds_every_subject_once_in_its_own_split(
    subjects: int, frames: int, per_shard: int, shares: tuple[float, float], first: int
) -> None:
    splits = {"train": shares[0], "val": shares[1], "test": 1.0 - sum(shares)}
    lot = {"subjects": subjects, "frames": frames, "first": first}
    numbers = list(range(first, first + subjects))
    recipe = tiny(motions={"a": lot, "b": lot}, shard_samples=per_shard, splits=splits)
    keys = synth.plan(recipe)
    for name in ("a", "b"):
        planned = [(m, k.split) for k in keys if k.lot == name for m in k.members]
        assert sorted(m for m, _ in planned) == numbers
        assert all(split == synth.split_of(m, recipe) for m, split in planned)
    assert all(len(k.members) == 1 or synth.frames(recipe, k) <= per_shard for k in keys)
    assert sum(synth.frames(recipe, k) for k in keys) == 2 * subjects * frames
    counts = [sum(synth.split_of(m, recipe) == s for m in numbers) for s in splits]
    np.testing.assert_allclose(counts, [subjects * share for share in splits.values()], atol=2.5)


def recording(folder: Path, spec: osim.SkeletonSpec, q: np.ndarray, name: str = "lab.mot") -> Path:
    """Writes a motion of 50 Hz."""
    path = folder / name
    path.write_bytes(motions.write_mot(spec, np.arange(len(q)) / 50.0, q))
    return path


def bent(spec: osim.SkeletonSpec, degrees: np.ndarray) -> np.ndarray:
    q = np.tile(spec.default_pose(), (len(degrees), 1))
    for side in "rl":
        q[:, spec.coordinate_names.index(f"knee_angle_{side}")] = np.radians(degrees)
    return spec.couple(q)


def mot_recipe(path: Path, **lot: Any) -> SynthRecipe:
    whole = {"mot": str(path), "subjects": 1, "frames": 3} | lot
    return tiny(motions={"lab": whole})


def test_frames_in_a_gap_of_the_recording_are_quarantined_and_the_rest_is_made(
    tmp_path: Path, model: osim.OsimModel
) -> None:
    q = bent(model.spec, np.linspace(5, 60, 90))
    q[31:59, 0] = np.nan
    recipe = mot_recipe(recording(tmp_path, model.spec, q))
    contents = synth.make_shard(recipe, synth.load(recipe), key("lab", 0))
    assert [(e.sample, e.reason) for e in contents.quarantine] == [("1", "gap_in_motion")]
    assert contents.arrays["sample_id"].tolist() == [0, 2]
    assert contents.tables["motions"][0]["rows_left_out"] == 28


@pytest.mark.parametrize("clip", [False, True])
def test_a_recording_beyond_the_limits_gives_an_empty_shard_not_a_fault(
    tmp_path: Path, model: osim.OsimModel, clip: bool
) -> None:
    recipe = mot_recipe(
        recording(tmp_path, model.spec, bent(model.spec, np.full(60, 170.0))), clip=clip
    )
    url = str(tmp_path / "set")
    (job,) = produce.plan(recipe, url)
    receipt = produce.produce(job)
    assert receipt.rows == 0
    assert [e.reason for e in receipt.quarantine] == ["beyond_joint_limit"] * 3
    assert "knee_angle" in receipt.quarantine[0].detail
    assert Store(url).read_arrays(job.action_key, ["q"])["q"].shape[0] == 0


def test_a_little_beyond_a_limit_is_moved_onto_it_couplers_too(
    tmp_path: Path, model: osim.OsimModel
) -> None:
    high = np.degrees(
        model.spec.coordinates[model.spec.coordinate_names.index("knee_angle_r")].upper
    )
    recipe = mot_recipe(
        recording(tmp_path, model.spec, bent(model.spec, np.full(60, high + 2.0))), frames=1
    )
    contents = synth.make_shard(recipe, synth.load(recipe), key("lab", 0))
    q = contents.arrays["q"]
    assert contents.quarantine == ()
    np.testing.assert_array_equal(q, model.spec.couple(q))
    assert np.degrees(q.max()) <= high + 1e-9


def test_a_recording_keeps_its_angles_but_for_what_planted_feet_take(shared_data: Path) -> None:
    """The lab's own model and motion: the stored angles are near the file's, at the stored times."""
    folder = shared_data / "opensim" / "opencap"
    path = folder / "squats1_videoAndMocap.mot"
    recipe = mot_recipe(path, frames=2).model_copy(
        update={"model": str(folder / "LaiUhlrich2022.osim")}
    )
    sources = synth.load(recipe)
    contents = synth.make_shard(recipe, sources, key("lab", 0))
    assert contents.quarantine == ()
    spec = osim.read_skeleton(sources.osim)
    recorded = motions.read_mot(path.read_bytes(), "squats1", spec)
    turning = [i for i, n in enumerate(spec.coordinate_names) if not n.startswith("pelvis_t")]
    stored = contents.arrays["q"][:, turning]
    there = recorded.at(contents.arrays["time"])[:, turning]
    off = np.degrees(np.abs(stored - there))
    knees = [turning.index(i) for i, n in enumerate(spec.coordinate_names) if n.startswith("knee")]
    assert np.median(off) < 1.0
    assert off[:, knees].max() < 5.0
    about = contents.tables["motions"][0]["parameters"]
    assert about["feet"] == "planted"
    assert about["moved_median"] < 2.0
    assert np.isnan(contents.arrays["phase"]).all()
    poser = osim.OsimModel(sources.osim, contents.arrays["scale"][0].astype(float))
    markers = poser.pose(contents.arrays["q"][0]).markers
    np.testing.assert_allclose(markers, contents.arrays["markers_ground"][0], atol=1e-5)


def test_feet_stay_on_the_floor_in_a_recording_of_another_body_and_leave_it_in_flight(
    tmp_path: Path, model: osim.OsimModel
) -> None:
    """The root's height does not follow the bending knees, as if the recorded legs were shorter; then it jumps."""
    q = bent(model.spec, np.array([0.0, 20.0, 40.0, 0.0]))
    q[3, model.spec.coordinate_names.index("pelvis_ty")] += 0.4
    recipe = mot_recipe(tmp_path / "none.mot")
    human = cast.body_of(recipe.people, osim.read_model("default"), 0, 0)
    scaled = osim.OsimModel(osim.read_model("default"), human.scale)
    outfit = wardrobe.dress(human, scaled, recipe.wardrobe, None, generator(0, "outfit"))
    person = cast.Person(body=human, outfit=outfit, model=scaled)
    moved = performance.on_floor(q, model.spec, person, recipe.motions["lab"])
    lowest = [float(person.surface(scaled.pose(row))[:, 1].min()) for row in moved]
    np.testing.assert_allclose(lowest[:3], 0.0, atol=1e-4)
    assert 0.2 < lowest[3] < 0.4


def test_a_recording_for_another_model_is_refused_before_anything_is_made(
    tmp_path: Path, model: osim.OsimModel
) -> None:
    path = recording(tmp_path, model.spec, bent(model.spec, np.linspace(0, 80, 9)))
    path.write_bytes(path.read_bytes().replace(b"hip_flexion_r", b"hip_flex_right"))
    with pytest.raises(InputError, match="lacks hip_flex_right; the file lacks hip_flexion_r"):
        produce.plan(mot_recipe(path), str(tmp_path / "set"))


def test_a_pack_dresses_people_and_its_zip_the_same(tmp_path: Path, shared_data: Path) -> None:
    """Same bytes from a folder and a zip; every frame is there, and the table says what was worn."""
    folder = shared_data / "makehuman_cc0"
    packed = tmp_path / "pack.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(
            p for kind in ("clothes", "hair", "skins") for p in (folder / kind).rglob("*.*")
        ):
            archive.write(path, path.relative_to(folder))
    found = []
    for url in (folder, packed):
        recipe = tiny(
            wardrobe={"assets": str(url), "dressed": 1.0}, motions={"poses": LOTS["poses"]}
        )
        sources = synth.load(recipe)
        (key,) = [k for k in synth.plan(recipe) if k.split == "train"][:1]
        found.append(synth.make_shard(recipe, sources, key))
    assert found[0].images == found[1].images
    assert found[0].tables == found[1].tables
    assert len(found[0].images) + len(found[0].quarantine) == found[0].planned
    assert all(g["suit"]["asset"].startswith("clothes/") for g in found[0].tables["garments"])


def test_settings_name_all_that_a_lots_bytes_depend_on_and_no_more() -> None:
    def of(**changes: Any) -> dict[str, Any]:
        return synth.settings(tiny(**changes), "squat")

    assert of() == of(name="other", shard_samples=7, splits={"train": 1.0, "val": 0.0, "test": 0.0})
    more = LOTS | {"squat": LOTS["squat"] | {"subjects": 9}, "new": {}}
    assert of() == of(motions=more)
    for change in (
        {"seed": 1},
        {"image_px": 96},
        {"jpeg_quality": 80},
        {"people": {"female": 1.0}},
        {"camera": {"roll": [0, 0]}},
        {"scene": {"occluder": 0.5}},
        {"wardrobe": {"markers": 0.5}},
        {"motions": LOTS | {"squat": LOTS["squat"] | {"frames": 4}}},
    ):
        assert of() != of(**change)


def test_a_shard_is_written_once_and_recalled_whole(
    tmp_path: Path, shards: dict[str, ShardContents], model: osim.OsimModel
) -> None:
    recipe, url = tiny(motions={"poses": LOTS["poses"]}), str(tmp_path / "set")
    (job,) = produce.plan(recipe, url)
    receipt = produce.produce(job)
    assert produce.recall(job) == receipt
    store = Store(url)
    assert store.read_arrays(job.action_key, ["image"])["image"].tobytes() == b"".join(
        shards["poses"].images
    )
    assert store.read_skeleton(receipt.skeleton) == model.spec
    table = store.read_attributes(job.action_key)["tables"]
    assert store.read_model(table["model"]) == osim.read_model("default")


def test_a_shard_without_a_receipt_is_named(
    tmp_path: Path, shards: dict[str, ShardContents]
) -> None:
    (job,) = produce.plan(tiny(motions={"poses": LOTS["poses"]}), str(tmp_path / "set"))
    Store(job.url).write_shard(
        job.action_key, shards["poses"], lambda size, digests: {"tables": {}}
    )
    with pytest.raises(InputError, match=f"{job.action_key}: carries no readable receipt"):
        produce.recall(job)
