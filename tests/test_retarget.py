"""Recordings given to subjects: their feet stand where the recorded ones stood, their angles are the recorded ones."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from schemas.shards import generator
from workers import contacts, motions, retarget
from workers.motions import Motion
from workers.osim import OsimModel, read_model
from workers.performance import within_limits
from workers.planting import Planter

MODELS = {
    "default": "default",
    "opencap": "opencap/LaiUhlrich2022.osim",
    "pose2sim": "pose2sim/Model_Pose2Sim_simple.osim",
}
RECORDINGS = ("squats1", "walking1", "DJ1")
LEFT_OPEN = ("pelvis_t", "subtalar")
"""Coordinates that follow from where the feet stand."""


@dataclass(frozen=True)
class Given:
    """A recording, when its feet stand, and a subject showing it."""

    recorded: Motion
    contacts: contacts.Contacts
    shown: Motion
    planter: Planter

    @property
    def heights(self) -> np.ndarray:
        """Heights of the heels and balls (t, s, p) over where they stand flat."""
        return np.asarray((self.points - self.flat)[..., 1])

    @property
    def points(self) -> np.ndarray:
        return contacts.soles(self.planter, self.planter.kinematics.pose(self.shown.q))

    @property
    def flat(self) -> np.ndarray:
        assert self.shown.stance is not None
        return contacts.soles(self.planter, self.planter.kinematics.pose(self.shown.stance))

    def off(self) -> np.ndarray:
        """How far every angle (t, k) is from the recording, degrees."""
        names = enumerate(self.planter.spec.coordinates)
        turning = [
            i
            for i, c in names
            if c.kind == "rotational" and not c.name.startswith((*LEFT_OPEN, "mtp"))
        ]
        return np.abs(np.degrees(self.shown.q[:, turning] - self.recorded.q[:, turning]))


def path_of(shared_data: Path, name: str) -> Path:
    return shared_data / "opensim" / "opencap" / f"{name}_videoAndMocap.mot"


def model_of(shared_data: Path, name: str, factor: float | None = None) -> OsimModel:
    url = MODELS[name] if name == "default" else str(shared_data / "opensim" / MODELS[name])
    data = read_model(url)
    if factor is None:
        return OsimModel(data)
    bodies = OsimModel(data).spec.body_names
    # Both sides alike, as people are.
    draws = {n: generator(5, n.removesuffix("_l").removesuffix("_r")) for n in bodies}
    return OsimModel(data, factor * np.array([draws[n].uniform(0.94, 1.06, 3) for n in bodies]))


def give(shared_data: Path, name: str, model: str, factor: float = 1.0) -> Given:
    own = Planter(model_of(shared_data, model))
    recorded = motions.read_mot(path_of(shared_data, name).read_bytes(), name, own.spec)
    planter = Planter(model_of(shared_data, model, factor))
    found = contacts.find(recorded, own)
    return Given(recorded, found, retarget.retarget(recorded, found, planter), planter)


@pytest.fixture(
    scope="module",
    params=[(name, model) for name in RECORDINGS for model in MODELS],
    ids=lambda p: f"{p[0]}-{p[1]}",
)
def given(request: pytest.FixtureRequest, shared_data: Path) -> Given:
    """Every real recording on a subject of every model."""
    return give(shared_data, *request.param)


def test_planted_feet_neither_slip_nor_sink_nor_float(given: Given) -> None:
    points, heights = given.points, given.heights
    for p, standing in enumerate((given.contacts.heel, given.contacts.ball)):
        for s in range(2):
            for begin, end in contacts.runs(standing[:, s]):
                way = points[begin:end, s, p] - points[begin, s, p]
                assert np.linalg.norm(way[:, [0, 2]], axis=1).max() <= 0.005
                assert np.abs(heights[begin:end, s, p]).max() <= 0.004
    assert heights.min() > -0.005


def test_angles_stay_near_the_recording_and_inside_the_limits(given: Given) -> None:
    off = given.off()
    assert np.median(off) < 1.0
    assert np.percentile(off, 95) < 9.0
    assert off.max() < 20.0
    spec = given.planter.spec
    unfit = within_limits(given.recorded.q, spec)[1].keys()
    fit = [i for i in range(len(off)) if i not in unfit]
    low, high = (np.array([getattr(c, k) for c in spec.coordinates]) for k in ("lower", "upper"))
    assert ((given.shown.q >= low - 1e-9) & (given.shown.q <= high + 1e-9))[fit].all()
    np.testing.assert_array_equal(given.shown.times, given.recorded.times)
    moved = given.shown.parameters
    assert 0.0 < float(moved["moved_median"]) < 3.0 < float(moved["moved_worst"])


def test_it_moves_as_smoothly_as_people_do(given: Given) -> None:
    """No jump where a foot comes down or leaves; subtalar angles turn quickly, as recordings know them least."""
    names = given.planter.spec.coordinate_names
    solved = [i for i in given.planter.columns[3:] if "subtalar" not in names[i]]
    rate = 1.0 / np.median(np.diff(given.shown.times))
    speed = np.abs(np.diff(np.degrees(given.shown.q[:, solved]), axis=0)).max() * rate
    assert speed < 1000.0


def test_knees_bend_forward(given: Given) -> None:
    posed = given.planter.kinematics.pose(given.shown.q)
    for s, side in enumerate("rl"):
        hip, knee, ankle = (
            given.planter.joints(posed, b)[:, s] for b in ("femur", "tibia", "talus")
        )
        out = knee - (hip + ankle) / 2
        across = np.cross(np.tile([0.0, 0.0, 1.0], (len(hip), 1)), ankle - hip)
        bent = given.planter.angle(given.shown.q, f"knee_angle_{side}") > 25.0
        assert ((out * across).sum(1)[bent] > 0.0).all()


class TestContacts:
    """What is known of the three recordings by watching them."""

    @pytest.fixture(scope="class")
    @staticmethod
    def found(shared_data: Path) -> dict[str, contacts.Contacts]:
        return {name: give(shared_data, name, "opencap").contacts for name in RECORDINGS}

    def test_who_squats_stands_on_both_feet_all_the_time(
        self, found: dict[str, contacts.Contacts]
    ) -> None:
        assert found["squats1"].heel.all()
        assert found["squats1"].ball.all()

    def test_who_walks_never_leaves_the_floor_and_lands_on_the_heel(
        self, found: dict[str, contacts.Contacts]
    ) -> None:
        walk = found["walking1"]
        assert walk.standing.any(axis=1).all()
        assert 0.05 < walk.standing.all(axis=1).mean() < 0.4
        right = np.flatnonzero(np.diff(walk.heel[:, 0].astype(int)) > 0)
        assert len(right) == 1
        assert walk.heel[right[0] + 1, 0]
        assert not walk.ball[right[0] + 1, 0]
        off = np.flatnonzero(np.diff(walk.standing[:, 0].astype(int)) < 0)[0]
        assert walk.ball[off, 0]
        assert not walk.heel[off, 0]

    def test_who_jumps_down_is_in_the_air_before_and_after(
        self, found: dict[str, contacts.Contacts]
    ) -> None:
        jump = found["DJ1"].standing
        assert not jump[:33].any()
        assert jump[38:72].all()
        assert not jump[80:].any()

    def test_a_body_that_only_flies_has_none(self, shared_data: Path) -> None:
        planter = Planter(model_of(shared_data, "default"))
        times = np.arange(50) / 100.0
        q = np.tile(planter.standing(), (50, 1))
        q[:, planter.coordinate["pelvis_tx"]] = 4.0 * times
        flying = Motion(name="flying", times=times, q=q)
        found = contacts.find(flying, planter)
        assert not found.standing.any()
        assert retarget.retarget(flying, found, planter) is flying


def test_flights_keep_their_height(shared_data: Path) -> None:
    given = give(shared_data, "DJ1", "default")
    own = Planter(model_of(shared_data, "default"))
    recorded = contacts.soles(own, own.kinematics.pose(given.recorded.q))[..., 1]
    landing = int(np.flatnonzero(given.contacts.standing.all(axis=1))[0])
    above = (recorded - recorded[landing]).min(axis=(1, 2))[0]
    assert given.heights.min(axis=(1, 2))[0] == pytest.approx(above, rel=0.15)
    assert above > 0.35


def test_longer_legs_take_longer_steps(shared_data: Path) -> None:
    steps, legs = [], []
    for factor in (0.85, 1.1):
        given = give(shared_data, "walking1", "default", factor)
        ankles = given.planter.joints(given.planter.kinematics.pose(given.shown.q), "talus")
        steps.append(np.abs(ankles[:, 0, 0] - ankles[:, 1, 0]).max())
        legs.append(given.planter.leg)
    assert steps[1] / steps[0] == pytest.approx(legs[1] / legs[0], rel=0.03)


def test_a_pelvis_that_travels_too_far_is_called_back(shared_data: Path) -> None:
    """The same walk, told by somebody with legs a quarter longer."""
    own = Planter(model_of(shared_data, "default"))
    recorded = motions.read_mot(path_of(shared_data, "walking1").read_bytes(), "walk", own.spec)
    q = recorded.q.copy()
    q[:, own.columns[:3]] *= 1.25
    first, second = (contacts.find(replace(recorded, q=p), own) for p in (recorded.q, q))
    assert first.travel / second.travel == pytest.approx(1.25, rel=0.08)
    assert (first.standing == second.standing).mean() > 0.95


def test_angles_far_beyond_a_limit_stay_there_to_be_refused(shared_data: Path) -> None:
    own = Planter(model_of(shared_data, "default"))
    recorded = motions.read_mot(path_of(shared_data, "squats1").read_bytes(), "squats", own.spec)
    q = recorded.q[:60].copy()
    q[40:45, own.coordinate["knee_angle_r"]] = np.radians(175.0)
    bad = replace(recorded, q=q, times=recorded.times[:60])
    shown = retarget.retarget(bad, contacts.find(bad, own), own)
    assert set(within_limits(shown.q, own.spec)[1]) >= set(range(40, 45))
