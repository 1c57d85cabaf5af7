"""Made-up movements: feet stay, bodies stay apart and balanced, and what is labelled is what is seen."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from schemas.errors import InputError
from schemas.lots import (
    PROCEDURAL,
    CalfRaiseLot,
    GaitLot,
    HingeLot,
    LungeLot,
    ProceduralLot,
    SingleLegSquatLot,
    SitToStandLot,
    SquatLot,
)
from schemas.recipes import People
from schemas.shards import generator
from schemas.skeleton import SkeletonSpec
from workers import movements
from workers.body import Body, make_body
from workers.figure import ARM_BOUND_M, LEG_BOUND_M, Figure
from workers.kinematics import Posed
from workers.motions import Motion
from workers.movement import draw
from workers.osim import OsimModel, read_model
from workers.planting import Planter

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "opensim"
MODELS = {
    "default": "default",
    "opencap": str(SHARED / "opencap/LaiUhlrich2022.osim"),
    "pose2sim": str(SHARED / "pose2sim/Model_Pose2Sim_simple.osim"),
}
KINDS = {str(kind.model_fields["movement"].default): kind for kind in PROCEDURAL}
NEAR_M = 0.0015


@dataclass(frozen=True)
class Seen:
    """A movement and where everything is in every frame."""

    motion: Motion
    planter: Planter
    posed: Posed

    def angle(self, name: str) -> np.ndarray:
        return self.planter.angle(self.motion.q, name)

    def joint(self, body: str) -> np.ndarray:
        return self.posed.joint_centres[:, self.planter.body[body]]

    def heel(self, side: str) -> np.ndarray:
        return self.posed.T_ground_from_body[:, self.planter.body[f"calcn_{side}"], :3, 3]

    def said(self, name: str) -> float:
        return float(self.motion.parameters[name])

    @property
    def middle(self) -> int:
        """The frame with the lowest hips."""
        return int(np.argmin(self.joint("femur_r")[:, 1] + self.joint("femur_l")[:, 1]))


def see(model: OsimModel, lot: ProceduralLot, seed: int) -> Seen:
    motion = movements.perform(lot, model, generator(seed, "movement"))
    planter = Planter(model)
    return Seen(motion, planter, planter.kinematics.pose(motion.q))


def lot(kind: type[ProceduralLot], **wanted: float) -> Any:
    """A lot of one value per range: no faults, the middle of everything else, unless wanted otherwise."""
    values: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if isinstance(field.default, tuple):
            low, high = field.default
            plain = float(np.clip(0.0, low, high)) if name in kind.FAULTS else (low + high) / 2
            value = wanted.get(name, plain)
            values[name] = (value, value)
    return kind(**values)


def supple(**wanted: float) -> SquatLot:
    """A squat that stiff ankles do not change."""
    return SquatLot.model_validate(lot(SquatLot, dorsiflexion=45.0, **wanted))


def scaled(name: str, seed: int | None) -> OsimModel:
    if name != "default" and not Path(MODELS[name]).is_file():
        pytest.skip("shared/data is not beside the repository")
    osim = read_model(MODELS[name])
    if seed is None:
        return OsimModel(osim)
    names = OsimModel(osim).spec.body_names
    # Both sides alike, as people are; every segment within 10 % of the model, in each direction.
    factors = {n: generator(seed, n.removesuffix("_l").removesuffix("_r")) for n in names}
    return OsimModel(osim, np.array([factors[n].uniform(0.9, 1.1, 3) for n in names]))


@pytest.fixture(scope="module")
def person() -> OsimModel:
    return scaled("default", None)


@pytest.fixture(
    scope="module",
    params=[(kind, model) for kind in KINDS for model in MODELS],
    ids=lambda p: f"{p[0]}-{p[1]}",
)
def anyone(request: pytest.FixtureRequest) -> Seen:
    """Every movement, drawn from its whole default range, on every model, scaled."""
    kind, model = request.param
    return see(scaled(model, 3), KINDS[kind](), 20)


def slip(points: np.ndarray, floor: float) -> float:
    """How far a point (n, 3) gets within any one contact with the floor, m."""
    down = points[:, 1] < floor + NEAR_M
    worst, begin = 0.0, -1
    for i, touching in enumerate([*down, False]):
        if touching and begin < 0:
            begin = i
        elif not touching and begin >= 0:
            run = points[begin:i][:, [0, 2]]
            worst, begin = max(worst, float(np.linalg.norm(run - run[0], axis=1).max())), -1
    return worst


def test_what_stands_on_the_floor_stays_within_five_millimetres(anyone: Seen) -> None:
    for name in ("heel", "toes"):
        feet = [anyone.heel(s) if name == "heel" else anyone.joint(f"toes_{s}") for s in "rl"]
        floor = min(points[:, 1].min() for points in feet)
        assert max(slip(points, floor) for points in feet) <= 0.005, name


def test_every_angle_stays_inside_its_limits_and_couplers_hold(anyone: Seen) -> None:
    q, spec = anyone.motion.q, anyone.planter.spec
    assert np.isfinite(q).all()
    for i, c in enumerate(spec.coordinates):
        assert q[:, i].min() >= c.lower, c.name
        assert q[:, i].max() <= c.upper, c.name
    np.testing.assert_allclose(q, spec.couple(q), atol=1e-12)


def test_it_moves_at_human_speed(anyone: Seen) -> None:
    turning = [c.kind == "rotational" for c in anyone.planter.spec.coordinates]
    steps = np.abs(np.diff(np.degrees(anyone.motion.q[:, turning]), axis=0))
    assert steps.max() * 60.0 < 700.0
    np.testing.assert_allclose(np.diff(anyone.motion.times), 1 / 60, rtol=1e-9)


def test_knees_bend_forward_and_the_trunk_stays_over_the_legs(anyone: Seen) -> None:
    for side in "rl":
        hip, knee, ankle = (anyone.joint(f"{b}_{side}") for b in ("femur", "tibia", "talus"))
        leg, out = ankle - hip, knee - (hip + ankle) / 2
        across = np.cross(np.tile([0.0, 0.0, 1.0], (len(leg), 1)), leg)  # forward of the leg's line
        forward = (out * across).sum(1) / np.linalg.norm(across, axis=1)
        bent = anyone.angle(f"knee_angle_{side}") > 20.0
        assert (forward[bent] > 0.0).all()
    shoulders = (anyone.joint("humerus_r") + anyone.joint("humerus_l")) / 2
    hips = (anyone.joint("femur_r") + anyone.joint("femur_l")) / 2
    assert (shoulders[:, 1] > hips[:, 1] - 0.1).all()


def test_the_centre_of_mass_stays_between_the_feet(anyone: Seen) -> None:
    if anyone.motion.name in ("gait", "sit_to_stand"):
        pytest.skip("walkers fall from foot to foot, and who sits is borne by the chair")
    com = anyone.planter.centre_of_mass(anyone.posed)
    heels = np.stack([anyone.heel(s) for s in "rl"], axis=1)
    toes = np.stack([anyone.joint(f"toes_{s}") for s in "rl"], axis=1)
    assert (com[:, 0] > heels[..., 0].min(1) - 0.03).all()
    assert (com[:, 0] < toes[..., 0].max(1) + 0.07).all()
    side = np.concatenate([heels, toes], axis=1)[..., 2]
    assert (com[:, 2] > side.min(1) - 0.045).all()
    assert (com[:, 2] < side.max(1) + 0.045).all()


class TestRealBodies:
    """Bodies with skin: limbs keep out of each other, or the frame is refused."""

    @pytest.fixture(scope="class")
    @staticmethod
    def people() -> list[tuple[Body, OsimModel]]:
        data = read_model("default")
        bodies = [make_body(People(), data, generator(1, "body", i)) for i in range(3)]
        return [(body, OsimModel(data, body.scale)) for body in bodies]

    @pytest.mark.parametrize("kind", list(KINDS))
    def test_limbs_keep_out_of_each_other(
        self, people: list[tuple[Body, OsimModel]], kind: str
    ) -> None:
        for k, (body, model) in enumerate(people):
            motion = movements.perform(KINDS[kind](), model, generator(k, "clear"), body)
            figure = Figure(Planter(model).kinematics, body)
            legs, arms = figure.depths(figure.kinematics.pose(motion.q))
            fit = (legs <= LEG_BOUND_M + 0.002) & (arms <= ARM_BOUND_M + 0.002)
            assert fit.mean() > 0.8

    def test_spheres_see_a_hand_in_the_belly_and_crossed_legs(
        self, people: list[tuple[Body, OsimModel]]
    ) -> None:
        body, model = people[0]
        planter = Planter(model)
        figure = Figure(planter.kinematics, body)
        q = np.tile(model.spec.default_pose(), (3, 1))
        put: Callable[..., None] = planter.put
        for side in "rl":
            put(q, f"hip_adduction_{side}", np.radians(-5.0))
            put(q, f"arm_add_{side}", np.radians(-20.0))
        put(q[1], "elbow_flex_r", np.radians(95.0))
        put(q[1], "arm_rot_r", np.radians(88.0))
        put(q[1], "arm_add_r", 0.0)
        put(q[2], "hip_adduction_r", np.radians(14.0))
        put(q[2], "hip_adduction_l", np.radians(14.0))
        legs, arms = figure.depths(planter.kinematics.pose(q))
        assert legs[0] < LEG_BOUND_M < legs[2]
        assert arms[0] < ARM_BOUND_M < arms[1]


@pytest.mark.parametrize("depth", [70.0, 100.0, 130.0])
@pytest.mark.parametrize("valgus", [-12.0, 12.0])
def test_valgus_and_varus_of_twelve_degrees_are_all_but_reached(
    person: OsimModel, depth: float, valgus: float
) -> None:
    seen = see(person, lot(SquatLot, depth=depth, valgus=valgus), 1)
    plain = see(person, lot(SquatLot, depth=depth), 1)
    reached = seen.said("reached_valgus")
    assert reached * np.sign(valgus) > 8.0
    angles = [np.degrees(s.planter.frontal_angles(s.posed))[s.middle].mean() for s in (seen, plain)]
    assert angles[0] - angles[1] == pytest.approx(reached, abs=1.5)
    gaps = [
        s.joint("tibia_r")[s.middle, 2] - s.joint("tibia_l")[s.middle, 2] for s in (seen, plain)
    ]
    assert (gaps[1] - gaps[0]) * np.sign(valgus) > 0.04


def test_full_depth_is_reached(person: OsimModel) -> None:
    seen = see(person, lot(SquatLot, depth=135.0, trunk_lean=40.0), 2)
    knees = max(seen.angle("knee_angle_r").max(), seen.angle("knee_angle_l").max())
    assert knees == pytest.approx(135.0, abs=2.0)
    hips, knee = seen.joint("femur_r")[seen.middle], seen.joint("tibia_r")[seen.middle]
    assert hips[1] < knee[1]


def test_butt_wink_tilts_the_pelvis_under_the_trunk(person: OsimModel) -> None:
    plain, wink = (see(person, supple(depth=115.0, butt_wink=w), 3) for w in (0.0, 20.0))
    change = (
        wink.angle("lumbar_extension")[wink.middle] - plain.angle("lumbar_extension")[plain.middle]
    )
    assert change < -15.0
    assert wink.said("reached_butt_wink") == pytest.approx(20.0, abs=2.5)
    assert plain.said("reached_butt_wink") == pytest.approx(0.0, abs=2.5)
    assert wink.angle("lumbar_extension")[0] == pytest.approx(
        plain.angle("lumbar_extension")[0], abs=1
    )


@pytest.mark.parametrize("shift", [-6.0, 5.0])
def test_hip_shift_moves_the_pelvis_sideways_by_that_many_centimetres(
    person: OsimModel, shift: float
) -> None:
    seen = see(person, lot(SquatLot, hip_shift=shift), 3)
    pelvis = seen.joint("pelvis")[:, 2]
    assert pelvis[seen.middle] - pelvis[0] == pytest.approx(shift / 100, abs=0.003)


def test_asymmetry_bends_the_right_knee_more(person: OsimModel) -> None:
    seen = see(person, lot(SquatLot, asymmetry=8.0), 4)
    difference = seen.angle("knee_angle_r") - seen.angle("knee_angle_l")
    assert difference[seen.middle] == pytest.approx(seen.said("reached_asymmetry"), abs=0.7)
    assert difference[seen.middle] > 6.0


def test_heels_only_leave_the_floor_by_the_lift_asked_for(person: OsimModel) -> None:
    seen = see(person, lot(SquatLot, heel_lift=12.0), 2)
    T = seen.posed.T_ground_from_body[:, seen.planter.body["calcn_r"]]
    pitch = np.degrees(np.arcsin(-T[:, 1, 0]) - np.arcsin(-T[0, 1, 0]))
    assert pitch.max() == pytest.approx(12.0, abs=0.7)
    assert pitch.min() > -0.7


STIFF, SUPPLE = 26.0, 45.0


@pytest.fixture(scope="module")
def ankles(person: OsimModel) -> dict[tuple[str, float], Seen]:
    """A deep squat by people of either kind of ankles, by what gives."""
    found = {}
    for seed, ankle in itertools.product(range(12), (STIFF, SUPPLE)):
        seen = see(
            person, lot(SquatLot, depth=125.0, trunk_lean=30.0, dorsiflexion=ankle), 40 + seed
        )
        found[str(seen.motion.parameters["gives"]), ankle] = seen
    return found


@pytest.mark.parametrize("gives", ["heels", "depth", "trunk"])
def test_ankles_bend_no_further_than_drawn(
    ankles: dict[tuple[str, float], Seen], gives: str
) -> None:
    stiff, supple = ankles[gives, STIFF], ankles[gives, SUPPLE]
    for side in "rl":
        assert stiff.angle(f"ankle_angle_{side}").max() < STIFF + 1.0
    assert supple.angle("ankle_angle_r").max() > STIFF + 3.0
    assert supple.said("reached_heel_lift") < 1.0
    assert supple.said("reached_depth") == pytest.approx(125.0, abs=2.0)


def test_stiff_ankles_cost_heels_depth_or_lean(ankles: dict[tuple[str, float], Seen]) -> None:
    heels, depth, trunk = (ankles[gives, STIFF] for gives in ("heels", "depth", "trunk"))
    raised = heels.heel("r")[heels.middle, 1] - heels.heel("r")[0, 1]
    assert raised > 0.02
    assert heels.said("reached_heel_lift") > 5.0
    assert heels.said("reached_depth") == pytest.approx(125.0, abs=2.0)
    assert depth.said("reached_depth") < 120.0
    assert trunk.said("reached_trunk_lean") > 42.0
    for flat in (depth, trunk):
        assert flat.said("reached_heel_lift") < 1.0
        assert np.ptp(flat.heel("r")[:, 1]) < 0.003


def test_a_hinge_bends_the_hips_not_the_knees(person: OsimModel) -> None:
    seen = see(person, lot(HingeLot, trunk_lean=75.0, depth=18.0), 5)
    trunk = seen.posed.T_ground_from_body[:, seen.planter.body["torso"], :3, 1]
    assert np.degrees(np.arcsin(trunk[:, 0])).max() == pytest.approx(75.0, abs=3.0)
    assert seen.angle("knee_angle_r").max() < 22.0


def test_a_calf_raise_lifts_both_heels_and_keeps_the_toes(person: OsimModel) -> None:
    seen = see(person, lot(CalfRaiseLot, rise=30.0), 6)
    for side in "rl":
        heel = seen.heel(side)[:, 1]
        assert np.ptp(heel) > 0.06
        assert np.ptp(seen.joint(f"toes_{side}")[:, 1]) < 0.003
    assert seen.angle("knee_angle_r").max() < 12.0


def test_sitting_holds_the_hips_at_the_seat_until_they_leave_it(person: OsimModel) -> None:
    low, high = (see(person, lot(SitToStandLot, seat=s), 7) for s in (0.9, 1.15))
    for seen in (low, high):
        hips = (seen.joint("femur_r") + seen.joint("femur_l")) / 2
        assert hips[0, 1] == pytest.approx(hips[-1, 1], abs=1e-6)
        assert hips[:, 1].max() - hips[0, 1] > 0.25
        seated = hips[:, 1] < hips[0, 1] + 0.005
        assert np.ptp(hips[seated][:, 0]) < 0.01
        assert seen.angle("knee_angle_r")[0] > 70.0
        assert hips[0, 0] == pytest.approx(-seen.said("seat_behind_ankles_m"), abs=0.01)
    assert high.said("seat_height_m") - low.said("seat_height_m") > 0.08


def test_a_lunge_has_one_foot_ahead_and_both_knees_bent(person: OsimModel) -> None:
    for seed in range(3):
        seen = see(person, lot(LungeLot, depth=85.0, step=0.95), seed)
        side = "r" if seen.motion.parameters["side"] == "right" else "l"
        other = "l" if side == "r" else "r"
        at = seen.middle
        assert seen.joint(f"talus_{side}")[at, 0] - seen.joint(f"talus_{other}")[at, 0] > 0.5
        assert seen.angle(f"knee_angle_{side}")[at] == pytest.approx(85.0, abs=4.0)
        assert seen.angle(f"knee_angle_{other}")[at] > 50.0
        assert seen.heel(other)[at, 1] - seen.joint(f"toes_{other}")[at, 1] > 0.04


def test_on_one_leg_the_other_foot_is_in_the_air_and_the_body_over_the_foot(
    person: OsimModel,
) -> None:
    seen = see(person, lot(SingleLegSquatLot, depth=60.0, pelvic_drop=8.0), 8)
    side = "r" if seen.motion.parameters["side"] == "right" else "l"
    other = "l" if side == "r" else "r"
    assert (seen.joint(f"toes_{other}")[:, 1] > seen.joint(f"toes_{side}")[:, 1] + 0.02).all()
    com = seen.planter.centre_of_mass(seen.posed)
    assert np.abs(com[:, 2] - seen.joint(f"talus_{side}")[:, 2]).max() < 0.05
    drop = seen.joint(f"femur_{side}")[:, 1] - seen.joint(f"femur_{other}")[:, 1]
    assert drop[seen.middle] > 0.015


def test_gait_looks_like_published_gait(person: OsimModel) -> None:
    seen = see(
        person,
        lot(GaitLot, speed=1.3, walk_ratio=0.006, step_width=0.11, toe_out=7.0),
        9,
    )
    for side in "rl":
        knee = seen.angle(f"knee_angle_{side}")
        assert 48.0 < knee.max() < 72.0
        assert -2.0 < knee.min() < 12.0
        assert 33.0 < np.ptp(seen.angle(f"hip_flexion_{side}")) < 58.0
        assert 20.0 < np.ptp(seen.angle(f"ankle_angle_{side}")) < 50.0
    pelvis, times = seen.joint("pelvis"), seen.motion.times
    speed = (pelvis[-1, 0] - pelvis[0, 0]) / (times[-1] - times[0])
    assert speed == pytest.approx(1.3, abs=0.08)
    assert 0.02 < np.ptp(pelvis[:, 1]) < 0.075
    lowest = np.min(
        [seen.heel(s)[:, 1] for s in "rl"] + [seen.joint(f"toes_{s}")[:, 1] for s in "rl"]
    )
    assert lowest > seen.heel("r")[:, 1].min() - 0.004


def test_a_deep_squat_leans_as_asked_by_moving_the_weight_over_the_feet(person: OsimModel) -> None:
    upright, leaning = (
        see(person, supple(depth=105.0, trunk_lean=lean), 3) for lean in (33.0, 50.0)
    )
    shares = []
    for seen, asked in ((upright, 33.0), (leaning, 50.0)):
        assert seen.said("reached_trunk_lean") == pytest.approx(asked, abs=4.0)
        com = seen.planter.centre_of_mass(seen.posed)[seen.middle, 0]
        ankle, ball = (seen.joint(f"{b}_r")[seen.middle, 0] for b in ("talus", "toes"))
        shares.append((com - ankle) / (ball - ankle))
    assert 0.0 < shares[0] < 0.9
    assert 0.0 < shares[1] < 0.9


@pytest.mark.parametrize("valgus", [-6.0, 6.0])
@pytest.mark.parametrize("factor", [0.85, 1.0, 1.2])
def test_feet_that_give_keep_to_the_bound_whatever_their_size(valgus: float, factor: float) -> None:
    data = read_model("default")
    sizes = np.full((len(OsimModel(data).spec.body_names), 3), factor)
    seen = see(OsimModel(data, sizes), lot(HingeLot, valgus=valgus, depth=14.0), 3)
    for name in ("heel", "toes"):
        feet = [seen.heel(s) if name == "heel" else seen.joint(f"toes_{s}") for s in "rl"]
        floor = min(points[:, 1].min() for points in feet)
        assert max(slip(points, floor) for points in feet) <= 0.005, name


@pytest.mark.parametrize("valgus", [-8.0, 8.0])
def test_balls_stay_under_raised_heels_whose_knees_go_sideways(
    person: OsimModel, valgus: float
) -> None:
    asked = lot(SquatLot, depth=120.0, valgus=valgus, heel_lift=14.0, dorsiflexion=28.0)
    seen = see(person, asked, 16)
    assert seen.said("reached_heel_lift") > 20.0
    for side in "rl":
        ball = seen.joint(f"toes_{side}")
        assert np.linalg.norm((ball - ball[0])[:, [0, 2]], axis=1).max() <= 0.005


def test_the_phase_runs_from_the_start_over_the_deepest_point_to_the_end(person: OsimModel) -> None:
    for kind in (SquatLot, CalfRaiseLot, LungeLot, SingleLegSquatLot):
        seen = see(person, lot(kind), 5)
        phase = seen.motion.phase_at(seen.motion.times)
        assert phase[0] == 0.0
        assert phase[-1] == pytest.approx(1.0)
        assert (np.diff(phase) >= 0).all()
        if kind is not CalfRaiseLot:
            assert phase[seen.middle] == pytest.approx(0.5, abs=0.06)


def test_the_phase_of_gait_counts_strides_from_where_the_right_heel_lands(
    person: OsimModel,
) -> None:
    seen = see(person, lot(GaitLot), 5)
    phase = seen.motion.phase_at(seen.motion.times)
    assert (phase >= 0).all()
    assert (phase <= 1).all()
    landing = np.flatnonzero(np.diff(phase) < 0)
    assert len(landing) == 2
    speed = np.diff(seen.heel("r")[:, 0]) * 60.0
    assert (np.abs(speed[landing + 2]) < 0.3).all()
    assert (speed[landing - 5] > 1.0).all()


def test_a_recording_and_random_poses_have_no_phase() -> None:
    standing = Motion(name="lab", times=np.arange(3.0), q=np.zeros((3, 2)))
    assert np.isnan(standing.phase_at([0.5, 1.0])).all()


def test_what_jumps_is_tried_again_slower_not_wider(person: OsimModel) -> None:
    """Gait at the fastest speed and shortest steps: feet stay where they were asked for if legs keep apart."""
    recipe = lot(GaitLot, speed=1.7, walk_ratio=0.0052, step_width=0.14)
    motion = movements.perform(recipe, person, generator(4, "fast"))
    assert float(motion.parameters["step_width"]) == pytest.approx(0.14)


def test_a_key_gives_one_movement_and_another_key_another(person: OsimModel) -> None:
    one, same, other = (
        movements.perform(SquatLot(), person, generator(s, "squat")) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.q, same.q)
    assert one.parameters == same.parameters
    assert one.parameters != other.parameters


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_draw_fills_the_recipes_ranges_and_faults_come_as_often_as_said(kind: str) -> None:
    recipe = KINDS[kind](faulty=0.5)
    drawn = [draw(recipe, generator(s, "draw")) for s in range(300)]
    for name in drawn[0]:
        low, high = getattr(recipe, name)
        values = np.array([d[name] for d in drawn])
        assert values.min() >= low
        assert values.max() <= high
        assert np.ptp(values) > 0.93 * (high - low)
        neutral = float(np.clip(0.0, low, high))
        absent = (values == neutral).mean()
        assert (0.35 < absent < 0.65) if name in recipe.FAULTS else absent < 0.1


def test_a_model_without_the_familys_names_is_refused_by_what_it_lacks() -> None:
    bare: Any = SimpleNamespace(spec=SkeletonSpec(joints=(), coordinates=()))
    with pytest.raises(InputError, match=r"has no pelvis_tx, .*knee_angle_r, .*femur_l"):
        movements.perform(SquatLot(), bare, generator(0, "bare"))
