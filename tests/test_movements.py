"""Made-up movements: feet stay, bodies stay apart and balanced, and what is labelled is what is seen."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from seen_movements import KINDS, MODELS, Seen, lot, scaled, see

from schemas.errors import InputError
from schemas.lots import (
    CalfRaiseLot,
    GaitLot,
    HingeLot,
    LungeLot,
    SingleLegSquatLot,
    SquatLot,
)
from schemas.recipes import People
from schemas.shards import generator
from schemas.skeleton import SkeletonSpec
from workers import movements
from workers.body import Body, make_body
from workers.figure import ARM_BOUND_M, LEG_BOUND_M, Figure
from workers.motions import Motion
from workers.movement import draw
from workers.osim import OsimModel, read_model
from workers.planting import Planter

NEAR_M = 0.0015


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
