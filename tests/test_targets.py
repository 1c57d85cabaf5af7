"""Targets are met by the frames alone, each from its own key; what cannot be met is counted and said."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import outlook
from schemas.errors import InputError
from schemas.quantities import catalogue
from schemas.recipes import SynthRecipe
from schemas.shards import ShardKey
from schemas.targets import interval, strata
from workers import draws, motions, osim, produce, selection, synth

SPEC = osim.read_skeleton(osim.read_model("default"))
KNEES = [SPEC.coordinate_names.index(f"knee_angle_{s}") for s in "rl"]
TARGETS: dict[str, Any] = {"knee_flexion": {">110": 0.15, "<30": 0.2}, "camera_yaw": "uniform"}
SQUAT = {"subjects": 1, "frames": 24, "depth": [60, 125]}


def recipe(targets: Any = TARGETS, **lots: dict[str, Any]) -> SynthRecipe:
    fields = {"name": "x", "motions": lots or {"squat": SQUAT}, "targets": targets, "image_px": 64}
    return SynthRecipe.model_validate(fields)


def rehearsed(depth: float) -> motions.Motion:
    """Returns knees that go down to a depth and up again."""
    times = np.linspace(0.0, 3.0, 181)
    q = np.tile(SPEC.default_pose(), (len(times), 1))
    q[:, KNEES] = np.radians(5 + (depth - 5) * np.sin(np.pi * times / 3) ** 2)[:, None]
    return motions.Motion(name="r", times=times, q=SPEC.couple(q))


def moments(
    wanted: SynthRecipe, subject: int, frames: int, deepest: float = 125.0
) -> tuple[list[selection.Moment], np.ndarray, list[int]]:
    """Chooses frames of one subject; returns them, their knee flexion, and the renditions made."""
    aim = selection.Aim.of(wanted, "squat", subject, SPEC)
    made: list[int] = []

    def perform(number: int) -> motions.Motion:
        made.append(number)
        natural = 60 + 65 * np.random.default_rng(subject).random()
        return rehearsed(min(deepest, natural if number == 0 else max(natural, 118.0)))

    renditions = selection.Renditions(
        aim=aim, perform=perform, fits=lambda q: np.ones(len(q), bool)
    )
    found = [m for f in range(frames) if (m := renditions.choose(f)) is not None]
    q = np.concatenate([renditions.made[m.rendition].motion.at([m.time]) for m in found])
    return found, np.degrees(q[:, KNEES]).max(axis=1), made


def test_shares_are_met_on_two_thousand_frames() -> None:
    knees = np.concatenate([moments(recipe(), s, 48)[1] for s in range(42)])
    assert len(knees) == 2016
    assert (knees > 110).mean() == pytest.approx(0.15, abs=0.02)
    assert (knees < 30).mean() == pytest.approx(0.20, abs=0.02)


def test_two_angles_and_a_uniform_one_are_met_together() -> None:
    targets = {"knee_flexion": {"uniform": [10, 110]}, "knee_angle_l": {">60": 0.5}}
    knees = np.concatenate([moments(recipe(targets), s, 48)[1] for s in range(20)])
    assert np.histogram(knees, np.linspace(10, 110, 6))[0].sum() / len(knees) > 0.5
    alone = {"knee_flexion": {"uniform": [10, 110]}}
    knees = np.concatenate([moments(recipe(alone), s, 48)[1] for s in range(20)])
    shares = np.histogram(knees, np.linspace(10, 110, 13))[0] / len(knees)
    np.testing.assert_allclose(shares, 1 / 12, atol=0.02)


def test_a_frame_does_not_depend_on_how_many_there_are() -> None:
    few, many = moments(recipe(), 3, 7)[0], moments(recipe(), 3, 60)[0]
    assert few == many[:7]
    assert moments(recipe(), 4, 7)[0] != few


def test_a_deeper_rendition_is_made_only_where_frames_need_one() -> None:
    needs_none = recipe({"knee_flexion": {"<30": 0.2}})
    assert {n for s in range(6) for n in moments(needs_none, s, 48)[2]} == {0}
    made = [moments(recipe(), s, 48)[2] for s in range(12)]
    assert {tuple(m) for m in made} == {(0,), (0, 1)}


def test_what_nothing_reaches_is_given_up_and_named() -> None:
    found, knees, made = moments(recipe(), 0, 100, deepest=90.0)
    unmet = [m for m in found if m.unmet]
    assert len(found) == 100
    assert len(unmet) == pytest.approx(15, abs=3)
    assert {m.unmet for m in unmet} == {("knee_flexion",)}
    assert knees.max() < 91
    assert made == list(range(selection.RENDITIONS))


def test_deeper_renditions_ask_for_more_and_keep_the_rest() -> None:
    lot = recipe().motions["squat"]
    depths = [selection.deeper(lot, n, [30.0, 110.0, 150.0]) for n in range(selection.RENDITIONS)]
    assert [d.depth for d in depths if d is not None] == [  # type: ignore[union-attr]
        (60.0, 125.0),
        (112.0, 125.0),
        (118.5, 125.0),
        (125.0, 125.0),
    ]
    assert selection.deeper(lot, 1, [142.0]) is None
    recorded = recipe(TARGETS, lab={"mot": "x.mot"}).motions["lab"]
    assert selection.deeper(recorded, 1, [110.0]) is None


@given(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 0.3, 1.0]))
def test_a_stratum_without_a_share_is_never_drawn(position: float, share: float) -> None:
    parted = strata("knee_flexion", {">110": share, "<30": 0.0})
    stratum = parted.draw(position)
    assert parted.shares[stratum] > 0
    assert (stratum == 1) == (position < share)


def test_strata_part_a_range_without_a_gap() -> None:
    parted = strata("camera_yaw", {"-30..30": 0.5, "between 60 and 120": 0.25})
    values = np.array([-31.0, -30.0, 29.9, 30.0, 60.0, 120.0, 120.1])
    assert parted.index(values).tolist() == [2, 0, 0, 2, 1, 1, 2]
    assert parted.pieces(2, -180, 180) == [(-180, -30), (30, 60), (120, 180)]
    assert parted.pieces(0, 0, 180) == [(0, 30)]


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        ({"knee_flexion": {">110": 0.7, "<30": 0.4}}, "targets.knee_flexion: .*add up to 1.1"),
        ({"knee_flexion": {">110": 0.1, ">100": 0.1}}, "overlap"),
        ({"knee_flexion": {">110": 1.5}}, r"targets\.knee_flexion.*less than or equal to 1"),
        ({"knee_flexion": {"deep": 0.1}}, "no stratum"),
        ({"knee_flexion": {"__import__('os')": 0.1}}, "no stratum"),
        ({"knee_flexion": {}}, "names no stratum"),
        ({"knee_flexion": "uniform"}, "no range to be uniform over"),
        ({"knee_flexion": {"uniform": [90, 10]}}, "runs backwards"),
        ({"knee_flexion": 0.3}, r"targets\.knee_flexion"),
        ({"occlusion": {">0.5": 0.1}}, "cannot be a target"),
        ({"camera_pitch": {">5": 0.1}}, "cannot be a target"),
        ({"pelvis_ty": {">1": 0.1}}, "cannot be a target"),
        ({"camera_height": {">5": 0.1}}, "outside the camera's range"),
        ({"camera_yaw": {"-180..180": 0.5}}, "the rest lies outside"),
        ({f"hip_{i}": {">5": 0.1} for i in range(9)}, "at most 8"),
    ],
)
def test_impossible_targets_are_refused_with_their_place(targets: Any, says: str) -> None:
    from schemas import documents

    document = {"name": "x", "motions": {"squat": SQUAT}, "targets": targets}
    with pytest.raises(InputError, match=says):
        documents.validate(SynthRecipe, document, "r.yaml")


def test_an_angle_that_the_model_lacks_is_refused_before_any_work() -> None:
    with pytest.raises(InputError, match=r"targets\.knee_flexon.*knee_flexion"):
        produce.plan(recipe({"knee_flexon": {">110": 0.1}}), "memory://nowhere")


def test_equal_targets_in_another_order_are_the_same_shards() -> None:
    swapped = {"camera_yaw": "uniform", "knee_flexion": {"<30": 0.2, ">110": 0.15}}
    names = [
        [j.action_key for j in produce.plan(recipe(t), "memory://x")] for t in (TARGETS, swapped)
    ]
    assert names[0] == names[1]
    assert names[0] != [j.action_key for j in produce.plan(recipe({}), "memory://x")]


def test_interval_texts_read_back() -> None:
    for text in ("> 110", "<= -5.5", "between 60 and 90"):
        assert interval(interval(text).text) == interval(text)


@pytest.fixture(scope="module")
def drawn() -> Any:
    """Returns one subject's frames with poses and cameras, as the sampler draws them."""
    wanted = recipe()
    arrays = ("q", "camera_yaw", "T_cam_from_ground", "motion_id", "time")
    return draws.draw(wanted, synth.load(wanted), "squat", 3, arrays)


def test_the_sampler_meets_targets_with_real_squats_and_cameras(drawn: Any) -> None:
    every = catalogue(drawn.spec, drawn.tables)
    knees, yaw = (every[n].of(drawn) for n in ("knee_flexion", "camera_yaw"))
    assert drawn.count == 24
    assert (knees > 110).sum() == pytest.approx(0.15 * 24, abs=1.5)
    assert (knees < 30).sum() == pytest.approx(0.2 * 24, abs=1.5)
    assert np.histogram(yaw, np.linspace(-180, 180, 7))[0].min() >= 2
    parameters = [m["parameters"] for m in drawn.tables["motions"]]
    assert parameters[-1]["depth"] >= 110


def test_what_is_drawn_is_what_is_made_and_neither_depends_on_the_others(drawn: Any) -> None:
    wanted = recipe(TARGETS, squat=SQUAT | {"frames": 5})
    key = ShardKey(source="synth", lot="squat", split="train", members=(1, 3))
    made = synth.make_shard(wanted, synth.load(wanted), key)
    rows = np.flatnonzero(made.arrays["group_id"] == 3)
    frames = made.arrays["sample_id"][rows] - 3 * 5
    assert len(rows) == 5
    for name in ("q", "T_cam_from_ground", "camera_yaw"):
        np.testing.assert_array_equal(made.arrays[name][rows], drawn.arrays[name][frames])
    alone = synth.make_shard(
        wanted, synth.load(wanted), ShardKey(source="synth", lot="squat", split="val", members=(3,))
    )
    assert alone.images == [made.images[i] for i in rows]


def test_clips_and_random_poses_under_targets() -> None:
    lots = {
        "film": {"subjects": 1, "frames": 6, "clip": True, "fps": 10.0},
        "poses": {"random": "limits", "subjects": 1, "frames": 40, "spread": 0.9},
    }
    wanted, free = recipe(TARGETS, **lots), recipe({}, **lots)
    sources = synth.load(wanted)
    clips = [draws.draw(r, sources, "film", 0, ("q", "time")) for r in (wanted, free)]
    np.testing.assert_array_equal(clips[0].arrays["q"], clips[1].arrays["q"])
    np.testing.assert_allclose(np.diff(clips[0].arrays["time"]), 0.1)
    poses = draws.draw(wanted, sources, "poses", 0, ("q",))
    knees = catalogue(poses.spec, poses.tables)["knee_flexion"].of(poses)
    assert (knees > 110).mean() == pytest.approx(0.15, abs=0.04)


def test_the_outlook_counts_exactly_or_says_how_far_off_it_may_be() -> None:
    from pipeline import planning

    wanted = recipe(TARGETS, squat=SQUAT | {"subjects": 3, "frames": 8})
    planned = planning.plan(wanted, "memory://outlook")
    text = "knee_flexion > 110 and split in (train, val, test)"
    exact = outlook.query_plan(wanted, planned, text, most=3)["added"]
    assert exact["exact"]
    assert exact["standard_error"] == 0.0
    sources = synth.load(wanted)
    true = 0
    for subject in range(3):
        rows = draws.draw(wanted, sources, "squat", subject, ("q",))
        true += int((catalogue(rows.spec, rows.tables)["knee_flexion"].of(rows) > 110).sum())
    assert exact["matching"] == sum(exact["splits"].values()) == true
    rough = outlook.query_plan(wanted, planned, text, most=2)["added"]
    assert not rough["exact"]
    assert abs(rough["matching"] - true) <= 3 * rough["standard_error"] + 3
    assert "occlusion" in outlook.query_plan(wanted, planned, "occlusion > 0")["added"]["why"]


def test_the_plan_names_lots_that_cannot_meet_a_target() -> None:
    from pipeline import planning

    lots = {"shallow": SQUAT | {"depth": [40, 60]}}
    wanted = recipe({"knee_flexion": {">110": 0.2}}, **lots)
    found = outlook.targets_plan(wanted, planning.plan(wanted, "memory://short"))
    deep = next(e for e in found if e["stratum"] == "> 110")
    assert deep["short"] == ["shallow"]
    assert deep["single"] == 0.0
    assert any("MISSED" in line for line in outlook.target_lines(found, "a build would reach"))
