"""The default model: a plausible adult whose names and signs are those of the lab models."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from schemas.skeleton import SkeletonSpec
from workers import default_model
from workers.osim import OsimModel, Pose, read_model

SIDES = (("_r", 1.0), ("_l", -1.0))


@pytest.fixture(scope="module")
def model() -> OsimModel:
    return OsimModel(read_model("default"))


def posed(model: OsimModel, **degrees: float) -> Pose:
    q = model.spec.default_pose()
    for name, value in degrees.items():
        q[model.spec.coordinate_names.index(name)] = np.radians(value)
    return model.pose(q)


def joint(model: OsimModel, pose: Pose, name: str) -> np.ndarray:
    centre: np.ndarray = pose.joint_centres[model.spec.joint_names.index(name)]
    return centre


def marker(model: OsimModel, pose: Pose, name: str) -> np.ndarray:
    place: np.ndarray = pose.markers[model.spec.marker_names.index(name)]
    return place


def rotation(model: OsimModel, pose: Pose, body: str) -> np.ndarray:
    matrix: np.ndarray = pose.T_ground_from_body[model.spec.body_names.index(body), :3, :3]
    return matrix


class TestFile:
    def test_committed_file_is_what_the_generator_writes(self) -> None:
        assert read_model("default") == default_model.build()

    def test_loads_in_opensim_without_a_word(self, tmp_path: Path) -> None:
        path = tmp_path / "model.osim"
        path.write_bytes(read_model("default"))
        code = f"import opensim; m = opensim.Model({str(path)!r}); m.initSystem()"
        run = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True, text=True
        )
        said = [line for line in run.stdout.splitlines() if "Loaded model" not in line]
        assert (said, run.stderr) == ([], "")

    def test_size_is_as_designed(self, model: OsimModel) -> None:
        sizes = model.spec.sizes
        assert (sizes.c, sizes.b, sizes.j, sizes.m) == (38, 23, 23, 49)

    def test_mass_adds_up(self) -> None:
        sided = {"pelvis", "torso", "head"}
        shares = [s[0] * (1 if name in sided else 2) for name, s in default_model.SEGMENTS.items()]
        assert sum(shares) == pytest.approx(1.0, abs=1e-9)
        written = default_model.build().decode().split("<mass>")[1:]
        masses = [float(text.split("<")[0]) for text in written]
        assert sum(masses) == pytest.approx(68.0, abs=1e-3)


class TestAnthropometry:
    def test_stands_on_the_floor_at_its_stature(self, model: OsimModel) -> None:
        pose = posed(model)
        assert pose.markers[:, 1].max() == pytest.approx(1.70, abs=1e-6)
        for side, _ in SIDES:
            assert joint(model, pose, f"subtalar{side}")[1] == pytest.approx(0.0, abs=1e-6)
        assert 0.0 < pose.markers[:, 1].min() < 0.05

    @pytest.mark.parametrize(
        ("start", "end", "low", "high"),
        [
            # Shares of stature: Drillis & Contini 1966, de Leva 1996 and the spread between such tables.
            ("hip", "walker_knee", 0.230, 0.255),
            ("walker_knee", "ankle", 0.235, 0.255),
            ("acromial", "elbow", 0.155, 0.190),
            ("elbow", "radius_hand", 0.140, 0.160),
        ],
    )
    def test_limbs_have_plausible_lengths(
        self, model: OsimModel, start: str, end: str, low: float, high: float
    ) -> None:
        pose = posed(model)
        for side, _ in SIDES:
            ends = joint(model, pose, start + side), joint(model, pose, end + side)
            assert low < np.linalg.norm(ends[0] - ends[1]) / 1.70 < high

    def test_is_symmetric(self, model: OsimModel) -> None:
        rng, spec = np.random.default_rng(4), model.spec
        q = spec.default_pose()
        for name in spec.coordinate_names:
            if name.endswith("_r"):
                i = spec.coordinate_names.index(name)
                q[i] = rng.uniform(spec.coordinates[i].lower, spec.coordinates[i].upper)
                q[spec.coordinate_names.index(f"{name[:-2]}_l")] = q[i]
        pose = model.pose(q)
        mirror = np.array([1.0, 1.0, -1.0])
        for name in spec.joint_names:
            if name.endswith("_r"):
                left = joint(model, pose, f"{name[:-2]}_l")
                np.testing.assert_allclose(joint(model, pose, name) * mirror, left, atol=1e-9)
        for right, left_name, _, _ in default_model.MARKERS:
            if left_name:
                left = marker(model, pose, left_name)
                np.testing.assert_allclose(marker(model, pose, right) * mirror, left, atol=1e-9)

    def test_markers_lie_within_the_thickness_of_a_body(self, model: OsimModel) -> None:
        pose, spec = posed(model), model.spec
        ends = {"femur": "walker_knee", "tibia": "ankle", "humerus": "elbow"}
        for m in spec.markers:
            body = m.body.removesuffix("_r").removesuffix("_l")
            if body in ends:
                start = pose.T_ground_from_body[spec.body_names.index(m.body), :3, 3]
                end = joint(model, pose, ends[body] + m.body[-2:])
                along = (end - start) / np.linalg.norm(end - start)
                offset = marker(model, pose, m.name) - start
                distance = np.linalg.norm(offset - along * (offset @ along))
                assert 0.03 < distance < 0.10, m.name

    def test_medial_markers_are_medial(self, model: OsimModel) -> None:
        pose = posed(model)
        for lateral, medial in (
            ("r_knee", "r_mknee"),
            ("r_ankle", "r_mankle"),
            ("r_lelbow", "r_melbow"),
        ):
            outer, inner = (marker(model, pose, f"{n}_study") for n in (lateral, medial))
            assert outer[2] > inner[2] + 0.05


class TestMotion:
    """What a positive angle does, in words that a clinician would use. X forward, Y up, Z to the right."""

    def test_knee_brings_the_heel_to_the_buttocks(self, model: OsimModel) -> None:
        for side, _ in SIDES:
            pose = posed(model, **{f"knee_angle{side}": 140})
            heel, hip = joint(model, pose, f"subtalar{side}"), joint(model, pose, f"hip{side}")
            knee = joint(model, pose, f"walker_knee{side}")
            assert heel[0] < knee[0] - 0.2
            assert np.linalg.norm(heel - hip) < 0.35

    def test_hip_lifts_the_knee_forward_and_adducts_inward(self, model: OsimModel) -> None:
        for side, sign in SIDES:
            straight = joint(model, posed(model), f"walker_knee{side}")
            raised = joint(model, posed(model, **{f"hip_flexion{side}": 60}), f"walker_knee{side}")
            inward = joint(
                model, posed(model, **{f"hip_adduction{side}": 20}), f"walker_knee{side}"
            )
            assert raised[0] > straight[0] + 0.3
            assert (inward[2] - straight[2]) * sign < -0.1

    def test_ankle_lifts_the_toes_and_subtalar_turns_the_sole_inward(
        self, model: OsimModel
    ) -> None:
        for side, sign in SIDES:
            flat = joint(model, posed(model), f"mtp{side}")
            raised = joint(model, posed(model, **{f"ankle_angle{side}": 20}), f"mtp{side}")
            assert raised[1] > flat[1] + 0.04
            pose = posed(model, **{f"subtalar_angle{side}": 20})
            sole = -rotation(model, pose, f"calcn{side}")[:, 1]
            assert sole[2] * sign < -0.1
            toes = rotation(model, posed(model, **{f"mtp_angle{side}": 20}), f"toes{side}")[:, 0]
            assert toes[1] < -0.2

    def test_trunk_head_and_arms(self, model: OsimModel) -> None:
        assert joint(model, posed(model, lumbar_extension=30), "neck")[0] < -0.2
        assert joint(model, posed(model, lumbar_bending=30), "neck")[2] > 0.1
        assert marker(model, posed(model, neck_flexion=30), "VERT")[0] < -0.15
        for side, _ in SIDES:
            hand = f"radius_hand{side}"
            lifted = joint(model, posed(model, **{f"arm_flex{side}": 90}), hand)
            assert lifted[0] > 0.4
            curled = joint(model, posed(model, **{f"elbow_flex{side}": 90}), hand)
            assert curled[0] > 0.15

    def test_turning_the_palm_leaves_the_wrist(self, model: OsimModel) -> None:
        for side, sign in SIDES:
            pose = posed(model, **{f"pro_sup{side}": 90})
            still = joint(model, posed(model), f"radius_hand{side}")
            np.testing.assert_allclose(joint(model, pose, f"radius_hand{side}"), still, atol=1e-6)
            palm = rotation(model, pose, f"hand{side}")[:, 0]
            assert palm[2] * sign < -0.9

    def test_patella_stays_in_front_of_the_knees_axis(self, model: OsimModel) -> None:
        for knee in range(0, 150, 10):
            pose = posed(model, knee_angle_r=knee)
            offset = joint(model, pose, "patellofemoral_r") - joint(model, pose, "walker_knee_r")
            assert np.linalg.norm(offset) == pytest.approx(default_model.PATELLA_RADIUS, abs=1e-4)
            shin = -rotation(model, pose, "tibia_r")[:, 1]
            # The tendon runs from the patella down to the front of the shin: it never lies behind the bone.
            front = rotation(model, pose, "tibia_r")[:, 0]
            assert offset @ front > 0.01
            assert offset @ shin < 0.04


class TestLabMotions:
    def test_columns_and_values_of_lab_motions_apply(
        self, model: OsimModel, shared_data: Path
    ) -> None:
        for path in sorted((shared_data / "opensim" / "opencap").glob("*.mot")):
            header, table = path.read_text().split("endheader\n")
            rows = table.splitlines()
            values = np.array([[float(v) for v in row.split()] for row in rows[1:] if row.strip()])
            assert "inDegrees=yes" in header
            for name, column in zip(rows[0].split()[1:], values.T[1:], strict=True):
                c = model.spec.coordinates[model.spec.coordinate_names.index(name)]
                q = np.radians(column) if c.kind == "rotational" else column
                assert c.lower <= q.min(), (path.name, name)
                assert q.max() <= c.upper, (path.name, name)

    @pytest.mark.parametrize("name", ["opencap/LaiUhlrich2022", "pose2sim/Model_Pose2Sim_simple"])
    def test_signs_are_those_of_the_lab_models(
        self, model: OsimModel, shared_data: Path, name: str
    ) -> None:
        lab = OsimModel((shared_data / "opensim" / f"{name}.osim").read_bytes())
        compared = 0
        for coordinate in model.spec.coordinates:
            if coordinate.kind != "rotational" or coordinate.name not in lab.spec.coordinate_names:
                continue
            ours, theirs = (_turn(m, coordinate.name) for m in (model, lab))
            assert ours @ theirs > 0.9, coordinate.name
            compared += 1
        assert compared >= 27


def _turn(model: OsimModel, coordinate: str) -> np.ndarray:
    """Unit axis, in ground, about which 0.2 rad of a coordinate turns the body that it moves."""
    spec: SkeletonSpec = model.spec
    i = spec.coordinate_names.index(coordinate)
    body = next(k for k, j in enumerate(spec.joints) if any(i in a.coordinates for a in j.axes))
    q = np.zeros(len(spec.coordinates))
    start = model.pose(q).T_ground_from_body[body, :3, :3]
    q[i] = 0.2
    turned = model.pose(q).T_ground_from_body[body, :3, :3] @ start.T
    axis = np.array(
        [turned[2, 1] - turned[1, 2], turned[0, 2] - turned[2, 0], turned[1, 0] - turned[0, 1]]
    )
    unit: np.ndarray = axis / np.linalg.norm(axis)
    return unit
