"""Ankles that end before the squat does: heels come up, depth gets less or the trunk leans more."""

import itertools

import numpy as np
import pytest
from seen_movements import Seen, lot, scaled, see

from schemas.lots import SquatLot
from workers.osim import OsimModel

STIFF, SUPPLE = 26.0, 45.0


@pytest.fixture(scope="module")
def person() -> OsimModel:
    return scaled("default", None)


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
