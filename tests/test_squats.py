"""Procedural squats: the feet stay, the knees go forward, the hips back, and what was asked for is what is seen."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import opensim
import pytest

from schemas.errors import InputError
from schemas.recipes import ProceduralLot
from schemas.shards import generator
from schemas.skeleton import SkeletonSpec
from workers import squats
from workers.motions import Motion
from workers.osim import OsimModel, read_model

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "opensim"
MODELS = {
    "default": "default",
    "opencap": str(SHARED / "opencap/LaiUhlrich2022.osim"),
    "pose2sim": str(SHARED / "pose2sim/Model_Pose2Sim_simple.osim"),
}
PLAIN: dict[str, float] = {
    **{"depth": 100.0, "stance": 1.2, "toe_out": 12.0, "trunk_lean": 35.0, "valgus": 0.0},
    **{"asymmetry": 0.0, "heel_lift": 0.0, "tempo": 2.5},
}


@dataclass(frozen=True)
class Seen:
    """A squat and where OpenSim says everything is; every fourth frame."""

    motion: Motion
    spec: SkeletonSpec
    bodies: np.ndarray
    joints: np.ndarray

    def frame(self, body: str) -> np.ndarray:
        return self.bodies[:, self.spec.body_names.index(body)]

    def joint(self, body: str) -> np.ndarray:
        """Joint centre at the body's near end."""
        return self.joints[:, self.spec.body_names.index(body)]

    def angle(self, name: str) -> np.ndarray:
        """Degrees, every frame of the motion."""
        return np.degrees(self.motion.q[:, self.spec.coordinate_names.index(name)])

    @property
    def bottom(self) -> int:
        return int(np.argmin(self.joint("femur_r")[:, 1]))


def see(model: OsimModel, lot: ProceduralLot, seed: int) -> Seen:
    motion = squats.squat(lot, model, generator(seed, "squat"))
    poses = [model.pose(q) for q in motion.q[::4]]
    bodies = np.stack([p.T_ground_from_body for p in poses])
    return Seen(motion, model.spec, bodies, np.stack([p.joint_centres for p in poses]))


def lot(**wanted: float) -> ProceduralLot:
    return ProceduralLot(**{k: (v, v) for k, v in (PLAIN | wanted).items()})  # type: ignore[arg-type]


def scaled(name: str, seed: int | None) -> OsimModel:
    if name != "default" and not Path(MODELS[name]).is_file():
        pytest.skip("shared/data is not beside the repository")
    osim = read_model(MODELS[name])
    if seed is None:
        return OsimModel(osim)
    names = OsimModel(osim).spec.body_names
    # Both sides alike, as people are; every segment within 12 % of the model, in each direction.
    factors = {n: generator(seed, n.removesuffix("_l").removesuffix("_r")) for n in names}
    return OsimModel(osim, np.array([factors[n].uniform(0.88, 1.12, 3) for n in names]))


@pytest.fixture(scope="module")
def person() -> OsimModel:
    return scaled("default", None)


@pytest.fixture(
    scope="module",
    params=[("default", None), ("default", 1), ("opencap", None), ("opencap", 2), ("pose2sim", 3)],
    ids=lambda p: f"{p[0]}-{'unscaled' if p[1] is None else f'scale{p[1]}'}",
)
def anyone(request: pytest.FixtureRequest) -> Seen:
    """A squat drawn from the whole default recipe, on every model, scaled or not."""
    name, scale = request.param
    return see(scaled(name, scale), ProceduralLot(), 10 + (scale or 0))


def slip(seen: Seen, body: str) -> float:
    origin = seen.frame(body)[:, :3, 3]
    return float(np.linalg.norm(origin - origin[0], axis=1).max())


def test_the_balls_of_the_feet_stay_within_five_millimetres(anyone: Seen) -> None:
    assert slip(anyone, "toes_r") <= 0.005
    assert slip(anyone, "toes_l") <= 0.005


def test_heels_only_leave_the_floor_by_the_lift_asked_for(anyone: Seen) -> None:
    asked = float(anyone.motion.parameters["heel_lift"])
    for side in "rl":
        T = anyone.frame(f"calcn_{side}")
        pitch = np.degrees(np.arcsin(-T[:, 1, 0]) - np.arcsin(-T[0, 1, 0]))
        assert pitch.max() == pytest.approx(asked, abs=0.7)
        assert pitch.min() > -0.7
        roll = np.degrees(np.arccos(np.clip(T[:, :3, 2] @ T[0, :3, 2], -1, 1)))
        assert roll.max() <= 7.5
        heel = T[:, :3, 3] - T[0, :3, 3]
        assert np.abs(heel[:, 2]).max() <= 0.015


def test_every_angle_stays_inside_its_limits_and_couplers_hold(anyone: Seen) -> None:
    q = anyone.motion.q
    assert np.isfinite(q).all()
    for i, c in enumerate(anyone.spec.coordinates):
        assert q[:, i].min() >= c.lower, c.name
        assert q[:, i].max() <= c.upper, c.name
    np.testing.assert_array_equal(q, anyone.spec.couple(q))


def test_the_depth_asked_for_is_reached_and_recorded(anyone: Seen) -> None:
    said = anyone.motion.parameters
    deepest = [anyone.angle(f"knee_angle_{s}").max() for s in "rl"]
    assert np.mean(deepest) == pytest.approx(float(said["depth"]), abs=1.0)
    recorded = [said["reached_knee_r"], said["reached_knee_l"]]
    np.testing.assert_allclose(deepest, np.array(recorded, float), atol=0.5)


def test_knees_go_forward_hips_back_and_down_and_the_trunk_forward(anyone: Seen) -> None:
    at = anyone.bottom
    for side in "rl":
        ankle, knee, hip = (anyone.joint(f"{b}_{side}")[at] for b in ("talus", "tibia", "femur"))
        assert knee[0] - ankle[0] > 0.08
        assert ankle[0] - hip[0] > 0.0
        assert knee[0] - hip[0] > 0.15
        assert anyone.joint(f"femur_{side}")[0, 1] - hip[1] > 0.08
    up = anyone.frame("torso")[at, :3, 1]
    assert up[0] > 0.2
    assert abs(up[2]) < 0.15


def test_it_begins_and_ends_standing_in_the_same_pose_and_bends_once(anyone: Seen) -> None:
    q, knee = anyone.motion.q, anyone.angle("knee_angle_r")
    np.testing.assert_allclose(q[0], q[-1], atol=1e-9)
    assert knee[0] < 15.0
    turn = int(np.argmax(knee))
    assert (np.diff(knee[: turn + 1]) >= -0.05).all()
    assert (np.diff(knee[turn:]) <= 0.05).all()


def test_it_moves_smoothly_at_human_speed(anyone: Seen) -> None:
    speed = np.gradient(np.degrees(anyone.motion.q[:, 6:]), anyone.motion.times, axis=0)
    assert np.abs(speed).max() < 400.0
    assert np.abs(np.diff(speed, axis=0)).max() < 45.0


@pytest.mark.parametrize("seed", range(4))
def test_the_centre_of_mass_by_OpenSims_masses_stays_over_the_feet(
    shared_data: Path, seed: int
) -> None:
    model = scaled("opencap", None)
    motion = squats.squat(ProceduralLot(), model, generator(seed, "balance"))
    reference = opensim.Model(str(shared_data / "opensim/opencap/LaiUhlrich2022.osim"))
    state = reference.initSystem()
    names = model.spec.body_names
    for q in motion.q[::10]:
        for name, value in zip(model.spec.coordinate_names, q, strict=True):
            reference.getCoordinateSet().get(name).setValue(state, float(value), False)
        reference.realizePosition(state)
        centre = reference.calcMassCenterPosition(state)
        pose = model.pose(q)
        heels, balls, ankles = (
            pose.joint_centres[[names.index(f"{b}_{s}") for s in "rl"]]
            for b in ("calcn", "toes", "talus")
        )
        assert heels[:, 0].mean() + 0.02 < centre.get(0) < balls[:, 0].mean()
        assert ankles[1, 2] < centre.get(2) < ankles[0, 2]


def test_right_and_left_mirror_each_other_unless_asked(
    person: OsimModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = squats._draw
    monkeypatch.setattr(
        squats, "_draw", lambda *a: replace(drawn(*a), twist=0.0, list=0.0, arms="hanging")
    )
    seen = see(person, lot(valgus=5.0, heel_lift=6.0), 1)
    for name in seen.spec.coordinate_names:
        if name.endswith("_r"):
            difference = seen.angle(name) - seen.angle(name.removesuffix("_r") + "_l")
            assert np.abs(difference).max() < 0.01, name
        elif name in ("pelvis_list", "pelvis_rotation", "pelvis_tz", "lumbar_bending"):
            assert np.abs(seen.angle(name)).max() < 0.01, name


def test_under_lifted_heels_the_toes_stay_flat(person: OsimModel) -> None:
    seen = see(person, lot(heel_lift=12.0), 2)
    for side in "rl":
        toes = seen.frame(f"toes_{side}")
        tilt = np.degrees(np.arccos(np.clip(toes[:, :3, 1] @ toes[0, :3, 1], -1, 1)))
        assert tilt.max() < 7.0  # the toes turn about an oblique axis
        dip = np.degrees(np.arcsin(toes[:, 1, 0]) - np.arcsin(toes[0, 1, 0]))
        assert np.abs(dip).max() < 1.0


def test_the_eyes_stay_up_while_the_trunk_leans(person: OsimModel) -> None:
    seen = see(person, lot(trunk_lean=45.0), 2)
    nose, chest = (
        -np.degrees(np.arcsin(seen.frame(body)[seen.bottom, 1, 0])) for body in ("head", "torso")
    )
    assert chest > 40.0
    assert 5.0 < nose < 0.6 * chest


@pytest.mark.parametrize("shift", [-6.0, 5.0])
def test_asymmetry_moves_the_pelvis_sideways_by_that_many_centimetres(
    person: OsimModel, shift: float
) -> None:
    seen = see(person, lot(asymmetry=shift), 3)
    pelvis = seen.frame("pelvis")[:, 2, 3]
    assert pelvis[seen.bottom] - pelvis[0] == pytest.approx(shift / 100, abs=0.002)


@pytest.mark.parametrize(("stance", "toe_out"), [(0.9, 0.0), (1.6, 30.0)])
def test_stance_and_toe_out_are_what_was_asked(
    person: OsimModel, stance: float, toe_out: float
) -> None:
    seen = see(person, lot(stance=stance, toe_out=toe_out), 4)
    gap = {
        b: np.linalg.norm(seen.joint(f"{b}_r")[0] - seen.joint(f"{b}_l")[0])
        for b in ("talus", "femur")
    }
    assert gap["talus"] == pytest.approx(stance * gap["femur"], rel=0.03)
    for side, outwards in (("r", 1), ("l", -1)):
        forward = seen.frame(f"calcn_{side}")[0, :3, 0]
        turned = np.degrees(np.arctan2(outwards * forward[2], forward[0]))
        assert turned == pytest.approx(toe_out, abs=0.2)


def test_valgus_brings_the_knees_together_and_varus_apart(person: OsimModel) -> None:
    gaps, reached = [], []
    for valgus in (-4.0, 0.0, 4.0):
        seen = see(person, lot(valgus=valgus), 5)
        knees = [seen.joint(f"tibia_{s}")[seen.bottom, 2] for s in "rl"]
        gaps.append(knees[0] - knees[1])
        reached.append(float(seen.motion.parameters["reached_valgus"]))
    assert gaps[0] > gaps[1] + 0.03
    assert gaps[1] > gaps[2] + 0.03
    np.testing.assert_allclose(reached, [-4.0, 0.0, 4.0], atol=1.2)


def test_more_lean_spares_the_ankles(person: OsimModel) -> None:
    upright, leaning = (see(person, lot(trunk_lean=v, depth=85.0), 6) for v in (20.0, 50.0))
    assert float(upright.motion.parameters["reached_lean"]) == pytest.approx(20.0, abs=1.0)
    assert float(leaning.motion.parameters["reached_lean"]) == pytest.approx(50.0, abs=1.0)
    assert upright.angle("ankle_angle_r").max() > leaning.angle("ankle_angle_r").max() + 4.0
    assert upright.angle("hip_flexion_r").max() + 10.0 < leaning.angle("hip_flexion_r").max()


def test_what_cannot_be_had_together_gives_way_but_the_feet_do_not(person: OsimModel) -> None:
    seen = see(person, lot(depth=125.0, trunk_lean=15.0, toe_out=0.0, stance=0.9), 7)
    said = seen.motion.parameters
    assert float(said["reached_lean"]) > 20.0
    assert (float(said["reached_knee_r"]) + float(said["reached_knee_l"])) / 2 > 115.0
    assert max(slip(seen, f"{b}_{s}") for b in ("calcn", "toes") for s in "rl") <= 0.005


@pytest.mark.parametrize("tempo", [1.6, 4.0])
def test_the_repetition_takes_the_tempo(person: OsimModel, tempo: float) -> None:
    seen = see(person, lot(tempo=tempo), 8)
    said, knee, times = seen.motion.parameters, seen.angle("knee_angle_r"), seen.motion.times
    rests = float(said["rest_before"]) + float(said["rest_after"])
    assert times[-1] == pytest.approx(tempo + rests, abs=0.02)
    moving = np.flatnonzero(np.abs(knee - knee[0]) > 0.02)
    assert times[moving[-1]] - times[moving[0]] == pytest.approx(tempo, rel=0.12)
    np.testing.assert_allclose(np.diff(times), 1 / 60, rtol=1e-9)


def test_arms_do_what_their_style_says(person: OsimModel) -> None:
    found: dict[str, Seen] = {}
    for seed in range(40):
        style = squats._draw(lot(), generator(seed, "squat")).arms
        if style not in found:
            found[style] = see(person, lot(), seed)
    assert set(found) == {"forward", "clasped", "crossed", "hanging"}
    hands = {}
    for style, seen in found.items():
        at, joint = seen.bottom, seen.joint
        hands[style] = {s: joint(f"hand_{s}")[at] - joint(f"humerus_{s}")[at] for s in "rl"}
    assert hands["forward"]["r"][0] > 0.4
    assert abs(hands["forward"]["r"][1]) < 0.15
    assert hands["hanging"]["l"][1] < -0.4
    assert abs(hands["hanging"]["l"][0]) < 0.2
    assert hands["crossed"]["r"][2] < -0.1
    assert hands["crossed"]["l"][2] > 0.1
    assert hands["clasped"]["r"][0] > 0.2


def test_a_key_gives_one_squat_and_another_key_another(person: OsimModel) -> None:
    one, same, other = (
        squats.squat(ProceduralLot(), person, generator(s, "squat")) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.q, same.q)
    assert one.parameters == same.parameters
    assert one.parameters != other.parameters


def test_the_draw_fills_the_recipes_ranges_and_keeps_to_them() -> None:
    recipe = ProceduralLot()
    drawn = [squats._draw(recipe, generator(s, "draw")) for s in range(300)]
    for name in squats.ASKED:
        low, high = getattr(recipe, name)
        values = np.array([getattr(d, name) for d in drawn])
        assert values.min() >= low
        assert values.max() <= high
        assert np.ptp(values) > 0.95 * (high - low)


def test_a_model_without_the_familys_names_is_refused_by_what_it_lacks() -> None:
    bare: Any = SimpleNamespace(spec=SkeletonSpec(joints=(), coordinates=()))
    with pytest.raises(InputError, match=r"has no pelvis_tx, .*knee_angle_r, .*femur_l"):
        squats.squat(ProceduralLot(), bare, generator(0, "bare"))
