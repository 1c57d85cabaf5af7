"""Each made-up movement is what its name says, and its faults are what was asked for."""

import numpy as np
import pytest
from seen_movements import lot, scaled, see, supple

from schemas.lots import (
    CalfRaiseLot,
    GaitLot,
    HingeLot,
    LungeLot,
    SingleLegSquatLot,
    SitToStandLot,
    SquatLot,
)
from workers.osim import OsimModel


@pytest.fixture(scope="module")
def person() -> OsimModel:
    return scaled("default", None)


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
