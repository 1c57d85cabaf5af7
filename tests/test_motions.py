"""Recorded motions: what is read is what was written, OpenSim reads it too, and bad files are named."""

from pathlib import Path

import numpy as np
import opensim
import pytest

from schemas.curves import IDENTITY, ZERO
from schemas.errors import InputError
from schemas.lots import RandomLot
from schemas.shards import generator
from schemas.skeleton import Axis, Coordinate, Coupler, Joint, SkeletonSpec
from workers import motions, trc
from workers.osim import OsimModel, read_model, read_skeleton

HEADER = "Coordinates\nversion=1\nnRows={rows}\nnColumns=9\ninDegrees={degrees}\n\nendheader\n"
NAMES = (
    *("pelvis_tilt", "pelvis_tx", "hip_flexion_r", "knee_angle_r", "knee_angle_r_beta"),
    *("ankle_angle_r", "arm_flex_r", "wrist_flex_r"),
)


@pytest.fixture(scope="module")
def spec() -> SkeletonSpec:
    """Returns one leg and one arm, which is all that reading by name needs."""
    kinds = {"pelvis_tx": "translational", "knee_angle_r_beta": "coupled"}
    ranges = {"knee_angle_r": (0.0, 2.4), "ankle_angle_r": (-0.8, 0.6), "pelvis_tx": (-5.0, 5.0)}
    coordinates = tuple(
        Coordinate(
            name=name,
            kind=kinds.get(name, "rotational"),  # type: ignore[arg-type]
            lower=ranges.get(name, (-1.5, 1.5))[0],
            upper=ranges.get(name, (-1.5, 1.5))[1],
            default=0.25 if name == "arm_flex_r" else 0.0,
            locked=name == "wrist_flex_r",
            coupler=Coupler(independents=(3,), curve=IDENTITY) if name.endswith("beta") else None,
        )
        for name in NAMES
    )
    still = Axis(direction=(1.0, 0.0, 0.0), curve=ZERO)
    turn, move = (Axis(direction=(0.0, 0.0, 1.0), curve=IDENTITY, coordinates=(i,)) for i in (0, 1))
    hip = Axis(direction=(0.0, 0.0, 1.0), curve=IDENTITY, coordinates=(2,))
    joints = (
        Joint(
            name="ground_pelvis",
            parent="ground",
            child="pelvis",
            parent_frames=(),
            child_frames=(),
            axes=(turn, still, still, move, still, still),
        ),
        Joint(
            name="hip_r",
            parent="pelvis",
            child="femur_r",
            parent_frames=(),
            child_frames=(),
            axes=(hip, still, still, still, still, still),
        ),
    )
    return SkeletonSpec(joints=joints, coordinates=coordinates)


@pytest.fixture(scope="module")
def lai(shared_data: Path) -> SkeletonSpec:
    return read_skeleton((shared_data / "opensim/opencap/LaiUhlrich2022.osim").read_bytes())


def document(rows: np.ndarray, names: tuple[str, ...] = NAMES, degrees: str = "yes") -> bytes:
    lines = ["\t".join(("time", *names))]
    lines += ["\t".join(f"{v:.9f}" for v in row) for row in rows]
    return (HEADER.format(rows=len(rows), degrees=degrees) + "\n".join(lines) + "\n").encode()


def table(rows: int = 5) -> np.ndarray:
    """Rows in degrees and metres: time, tilt, tx, hip, knee, beta (rad), ankle, arm, wrist."""
    phase = np.linspace(0.0, 1.0, rows)
    knee = 5 + 80 * phase
    columns = (
        phase,
        -20 * phase,
        0.1 * phase,
        knee,
        knee,
        np.radians(knee),
        20 * phase,
        30 * phase,
    )
    return np.column_stack((*columns, 0 * phase))


def refusal(data: bytes, spec: SkeletonSpec) -> str:
    with pytest.raises(InputError) as caught:
        motions.read_mot(data, "squat.mot", spec)
    text = str(caught.value)
    assert text.startswith("squat.mot: ")
    assert "\n" not in text
    return text


def test_degrees_become_radians_and_coupled_columns_stay_as_they_are(spec: SkeletonSpec) -> None:
    motion = motions.read_mot(document(table()), "squat.mot", spec)
    np.testing.assert_allclose(motion.q[-1, 3], np.radians(85), atol=1e-9)
    np.testing.assert_allclose(motion.q[-1, 4], np.radians(85), atol=1e-8)
    np.testing.assert_allclose(motion.q[-1, 1], 0.1, atol=1e-9)
    assert motion.rejected == ()
    assert motion.filled == ()


def test_the_radians_header_gives_the_same_motion(spec: SkeletonSpec) -> None:
    rows = table()
    radians = rows.copy()
    radians[:, [1, 3, 4, 6, 7, 8]] = np.radians(rows[:, [1, 3, 4, 6, 7, 8]])
    one = motions.read_mot(document(rows), "a", spec)
    other = motions.read_mot(document(radians, degrees="no"), "b", spec)
    np.testing.assert_allclose(one.q, other.q, atol=1e-8)


def test_columns_are_matched_by_name_in_any_order(spec: SkeletonSpec) -> None:
    rows, order = table(), [8, 3, 1, 5, 7, 2, 4, 6]
    shuffled = document(rows[:, [0, *order]], tuple(NAMES[i - 1] for i in order))
    np.testing.assert_array_equal(
        motions.read_mot(shuffled, "a", spec).q, motions.read_mot(document(rows), "b", spec).q
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.replace(b"\n", b"\r\n"),
        lambda d: d.replace(b"\t", b"   "),
        lambda d: d.replace(b"nRows=5\n", b"").replace(b"inDegrees=yes", b"inDegrees = YES"),
        lambda d: (
            b"name x.mot\ndatacolumns 9\ndatarows 5\nrange 0 1\n" + d[d.index(b"endheader") :]
        ),
        lambda d: d.replace(b"\thip_flexion_r", b"\t/jointset/hip_r/hip_flexion_r/value"),
    ],
    ids=["crlf", "spaces", "no nRows", "simm header", "state label"],
)
def test_spellings_of_the_same_file_agree(spec: SkeletonSpec, change) -> None:  # type: ignore[no-untyped-def]
    data = document(table())
    changed = change(data)
    assert changed != data
    np.testing.assert_array_equal(
        motions.read_mot(changed, "a", spec).q, motions.read_mot(data, "b", spec).q
    )


def test_arms_may_be_missing_and_take_the_models_default(spec: SkeletonSpec) -> None:
    keep = [0, 1, 2, 3, 4, 6]
    motion = motions.read_mot(
        document(table()[:, keep], tuple(NAMES[i - 1] for i in keep[1:])), "legs.mot", spec
    )
    assert motion.filled == ("knee_angle_r_beta", "arm_flex_r", "wrist_flex_r")
    assert (motion.q[:, 6] == 0.25).all()
    np.testing.assert_allclose(motion.q[:, 4], motion.q[:, 3])


def test_a_mismatch_lists_the_columns_of_both_sides(spec: SkeletonSpec) -> None:
    names = tuple(
        {"knee_angle_r": "knee_flexion_r", "arm_flex_r": "humerus"}.get(n, n) for n in NAMES
    )
    text = refusal(document(table(), names), spec)
    model_lacks, file_lacks = text.split("the model lacks ")[1].split("; the file lacks ")
    assert model_lacks == "knee_flexion_r, humerus"
    assert file_lacks.startswith("knee_angle_r, arm_flex_r. ")


def test_an_extra_column_is_refused_even_if_nothing_is_missing(spec: SkeletonSpec) -> None:
    rows = np.column_stack((table(), np.zeros(5)))
    assert "the model lacks ground_force_vx; the file lacks no" in refusal(
        document(rows, (*NAMES, "ground_force_vx")), spec
    )


def test_rows_with_nan_are_left_out_and_listed(spec: SkeletonSpec) -> None:
    rows = table(9)
    rows[3, 4], rows[4, 0] = np.nan, np.inf
    motion = motions.read_mot(document(rows), "gaps.mot", spec)
    assert motion.rejected == ((3, "not_finite"), (4, "not_finite"))
    np.testing.assert_allclose(motion.times, np.delete(rows[:, 0], [3, 4]), atol=1e-9)
    assert np.isfinite(motion.q).all()


def test_a_file_of_mostly_nan_is_refused_by_its_first_rows(spec: SkeletonSpec) -> None:
    rows = table(9)
    rows[2:8, 4] = np.nan
    assert "6 of 9 rows hold NaN or infinity (rows 2, 3, 4, 5, 6, …" in refusal(
        document(rows), spec
    )


def test_windows_spellings_of_nan_are_nan_and_other_words_are_not(spec: SkeletonSpec) -> None:
    line = document(table(5)).split(b"\n")
    for word in (b"-nan(ind)", b"1.#QNAN", b"NaN"):
        lines = [*line]
        lines[8] = lines[8].replace(lines[8].split(b"\t")[3], word)
        assert motions.read_mot(b"\n".join(lines), "a", spec).rejected == ((0, "not_finite"),)
    lines = [*line]
    lines[8] = lines[8].replace(lines[8].split(b"\t")[3], b"n/a")
    assert "row 0 holds 'n/a', not a number" in refusal(b"\n".join(lines), spec)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"time,knee\n0,1\n", "has no `endheader` line"),
        (b"version=1\ninDegrees=yes\nendheader\n", "no line of column names"),
        (b"version=1\ninDegrees=yes\nendheader\ntime\tknee_angle_r\n", "holds 0 rows"),
        (
            document(table(5)).replace(b"nRows=5", b"nRows=9"),
            "holds 5 rows where its header says 9",
        ),
        (document(table(5))[:-20], "row 4 has 8 cells under 9 column names"),
        (document(table(5)).replace(b"inDegrees=yes\n", b""), "(inDegrees=missing)"),
        (document(table(5)).replace(b"inDegrees=yes", b"inDegrees=maybe"), "(inDegrees=maybe)"),
        (document(table(5)[::-1]), "time does not increase: 1 s is followed by 0.75 s"),
        (
            document(np.repeat(table(5), 2, axis=0)),
            "time does not increase: 0 s is followed by 0 s",
        ),
    ],
    ids=range(9),
)
def test_damaged_files_are_refused_with_what_is_wrong(
    spec: SkeletonSpec, data: bytes, expected: str
) -> None:
    assert expected in refusal(data, spec)


def test_every_cut_of_a_file_is_refused_or_whole(spec: SkeletonSpec) -> None:
    data = document(table(4))
    whole = motions.read_mot(data, "a", spec)
    for end in range(len(data) - 11):
        refusal(data[:end], spec)
    for end in range(len(data) - 11, len(data)):
        # Only the last cell's digits are gone, which no reader can see.
        np.testing.assert_allclose(motions.read_mot(data[:end], "a", spec).q[:, :6], whole.q[:, :6])


def test_radians_under_a_degrees_header_are_refused_with_the_remedy(spec: SkeletonSpec) -> None:
    rows = table()
    rows[:, [1, 3, 4, 6, 7, 8]] = np.radians(rows[:, [1, 3, 4, 6, 7, 8]])
    text = refusal(document(rows), spec)
    assert "header says degrees, but the knees reach 1.48, which only fits radians" in text
    assert "inDegrees=no" in text


def test_degrees_under_a_radians_header_are_refused_with_the_remedy(spec: SkeletonSpec) -> None:
    text = refusal(document(table(), degrees="no"), spec)
    assert "header says radians, but the knees reach 85, which only fits degrees" in text
    assert "inDegrees=yes" in text


@pytest.mark.parametrize("degrees", ["yes", "no"])
def test_quiet_standing_is_believed_under_either_header(spec: SkeletonSpec, degrees: str) -> None:
    rows = table()
    rows[:, 1:] *= 0.002
    motions.read_mot(document(rows, degrees=degrees), "a", spec)


def test_a_person_turning_round_twice_is_no_reason_to_doubt_radians(spec: SkeletonSpec) -> None:
    rows = table()
    rows[:, 3:] = np.radians(rows[:, 3:])
    rows[:, 1] = np.linspace(0, 4 * np.pi, len(rows))
    motions.read_mot(document(rows, degrees="no"), "a", spec)


@pytest.mark.parametrize(
    "name", ["squats1_videoAndMocap", "walking1_videoAndMocap", "DJ1_videoAndMocap"]
)
def test_a_real_recording_survives_writing_and_OpenSim_reads_both_alike(
    shared_data: Path, lai: SkeletonSpec, tmp_path: Path, name: str
) -> None:
    original = shared_data / f"opensim/opencap/{name}.mot"
    motion = motions.read_mot(original.read_bytes(), name, lai)
    written = tmp_path / "written.mot"
    written.write_bytes(motions.write_mot(lai, motion.times, motion.q))
    again = motions.read_mot(written.read_bytes(), name, lai)
    np.testing.assert_allclose(again.q, motion.q, atol=1e-9)
    np.testing.assert_allclose(again.times, motion.times, atol=1e-9)
    ours, theirs = opensim.TimeSeriesTable(str(written)), opensim.TimeSeriesTable(str(original))
    assert (
        list(ours.getColumnLabels()) == list(theirs.getColumnLabels()) == list(lai.coordinate_names)
    )
    # beta is rewritten from its coupler; OpenCap's solver met the constraint to a few 1e-5.
    np.testing.assert_allclose(
        ours.getMatrix().to_numpy(), theirs.getMatrix().to_numpy(), atol=2e-4
    )
    storage = opensim.Storage(str(written))
    assert storage.isInDegrees()
    assert storage.getSize() == len(motion.times)


def test_a_lab_recording_of_the_family_applies_to_the_models_of_this_project(
    shared_data: Path, lai: SkeletonSpec
) -> None:
    data = (shared_data / "opensim/opencap/squats1_videoAndMocap.mot").read_bytes()
    ours = read_skeleton(read_model("default"))
    motion, theirs = motions.read_mot(data, "a", ours), motions.read_mot(data, "b", lai)
    assert all(name.startswith(("neck_", "wrist_")) for name in motion.filled)
    shared = [n for n in lai.coordinate_names if not n.endswith("_beta")]
    columns = [[s.coordinate_names.index(n) for n in shared] for s in (ours, lai)]
    np.testing.assert_array_equal(motion.q[:, columns[0]], theirs.q[:, columns[1]])


def test_a_model_of_other_names_gets_the_trunk_by_its_own_and_is_else_refused(
    shared_data: Path, lai: SkeletonSpec
) -> None:
    """In both models the same turn of the trunk, as their own kinematics say."""
    path = shared_data / "opensim/pose2sim/Model_Pose2Sim_simple.osim"
    other = OsimModel(path.read_bytes())
    data = (shared_data / "opensim/opencap/squats1_videoAndMocap.mot").read_bytes()
    motion, theirs = motions.read_mot(data, "a", other.spec), motions.read_mot(data, "b", lai)
    own = OsimModel((shared_data / "opensim/opencap/LaiUhlrich2022.osim").read_bytes())
    turns = [
        model.pose(m.q[300]).T_ground_from_body[model.spec.body_names.index("torso"), :3, :3]
        for model, m in ((other, motion), (own, theirs))
    ]
    np.testing.assert_allclose(*turns, atol=1e-6)
    text = refusal(data.replace(b"lumbar_extension", b"lumbar_extending"), other.spec)
    assert "the model lacks lumbar_extending;" in text
    assert "the file lacks L5_S1_Flex_Ext," in text


def test_OpenSims_own_unit_conversion_agrees_with_ours(
    shared_data: Path, lai: SkeletonSpec
) -> None:
    folder = shared_data / "opensim/opencap"
    path = folder / "squats1_videoAndMocap.mot"
    motion = motions.read_mot(path.read_bytes(), "a", lai)
    model = opensim.Model(str(folder / "LaiUhlrich2022.osim"))
    model.initSystem()
    storage = opensim.Storage(str(path))
    model.getSimbodyEngine().convertDegreesToRadians(storage)
    for column, name in enumerate(lai.coordinate_names):
        values = opensim.ArrayDouble()
        storage.getDataColumn(name, values)
        theirs = [values.get(i) for i in range(values.getSize())]
        np.testing.assert_allclose(motion.q[:, column], theirs, atol=2e-5, err_msg=name)


def test_interpolation_hits_its_rows_and_never_leaves_them(spec: SkeletonSpec) -> None:
    motion = motions.read_mot(document(table(9)), "a", spec)
    step = np.zeros((9, 8))
    step[4:] = 1.0
    jump = motions.Motion(name="jump", times=motion.times, q=step)
    np.testing.assert_allclose(jump.at(jump.times), step)
    fine = jump.at(np.linspace(-1.0, 2.0, 1001))
    assert fine.min() == 0.0
    assert fine.max() == 1.0
    np.testing.assert_allclose(motion.at([-5.0, 99.0]), motion.q[[0, -1]])


def test_interpolation_follows_a_real_squat_sampled_at_a_third_of_its_rate(
    shared_data: Path, lai: SkeletonSpec
) -> None:
    data = (shared_data / "opensim/opencap/squats1_videoAndMocap.mot").read_bytes()
    motion = motions.read_mot(data, "a", lai)
    sparse = motions.Motion(name="sparse", times=motion.times[::3], q=motion.q[::3])
    knee = lai.coordinate_names.index("knee_angle_r")
    error = np.degrees(np.abs(sparse.at(motion.times) - motion.q)[:799, knee])
    assert error.max() < 1.0
    assert error.mean() < 0.05


def test_a_single_pose_is_a_motion(spec: SkeletonSpec) -> None:
    motion = motions.read_mot(document(table(1)), "a", spec)
    assert motion.at([0.0, 1.0]).shape == (2, 8)
    assert motion.covered([0.0, 1.0]).tolist() == [True, False]


def test_long_gaps_are_not_vouched_for(spec: SkeletonSpec) -> None:
    rows = table(21)
    rows[5:9, 2] = np.nan
    rows[15, 2] = np.nan
    motion = motions.read_mot(document(rows), "a", spec)
    times = [0.0, 0.2, 0.21, 0.3, 0.44, 0.46, 0.75, 1.0, 1.1, -0.1]
    expected = [True, False, False, False, False, True, True, True, False, False]
    assert motion.covered(times).tolist() == expected


def test_trc_is_millimetres_and_OpenSim_reads_it_with_its_gaps(tmp_path: Path) -> None:
    rng = generator(0, "trc")
    markers = rng.normal(0.0, 1.0, (4, 3, 3))
    markers[2, 1] = np.nan
    names = ("RKNE", "LKNE", "C7")
    path = tmp_path / "markers.trc"
    path.write_bytes(trc.write_trc(names, np.arange(4) / 60, markers, 60.0))
    table_read = opensim.TimeSeriesTableVec3(str(path))
    assert tuple(table_read.getColumnLabels()) == names
    np.testing.assert_allclose(table_read.getIndependentColumn(), np.arange(4) / 60, atol=1e-8)
    assert table_read.getTableMetaDataString("Units") == "mm"
    flat = table_read.flatten()  # kept: the matrix is a view into it
    read = flat.getMatrix().to_numpy().reshape(4, 3, 3)
    np.testing.assert_allclose(read, markers * 1000, atol=1e-4)
    assert opensim.MarkerData(str(path)).getNumMarkers() == 3


def test_perturbation_is_smooth_of_the_size_asked_for_and_spares_the_root(
    shared_data: Path, lai: SkeletonSpec
) -> None:
    data = (shared_data / "opensim/opencap/walking1_videoAndMocap.mot").read_bytes()
    motion = motions.read_mot(data, "a", lai)
    moved = [motions.perturb(motion, lai, 3.0, generator(1, k)) for k in range(30)]
    change = np.degrees(np.stack([m.q for m in moved]) - motion.q)
    root = [n.startswith("pelvis_") for n in lai.coordinate_names]
    assert (change[..., root] == 0).all()
    arms = [lai.coordinate_names.index(n) for n in ("arm_flex_r", "arm_add_l", "lumbar_bending")]
    assert 2.2 < np.sqrt((change[..., arms] ** 2).mean()) < 3.8
    assert np.abs(np.diff(change[..., arms], axis=1)).max() < 1.0
    assert all(m.parameters == {"perturbation": 3.0} for m in moved)
    low, high = (np.array([getattr(c, k) for c in lai.coordinates]) for k in ("lower", "upper"))
    for m in moved:
        assert (m.q >= np.minimum(low, motion.q)).all()
        assert (m.q <= np.maximum(high, motion.q)).all()
        np.testing.assert_allclose(m.q, lai.couple(m.q))


def test_no_perturbation_changes_nothing(shared_data: Path, lai: SkeletonSpec) -> None:
    data = (shared_data / "opensim/opencap/walking1_videoAndMocap.mot").read_bytes()
    motion = motions.read_mot(data, "a", lai)
    inside = motions.perturb(motion, lai, 0.0, generator(1))
    np.testing.assert_array_equal(inside.q, motion.q)


@pytest.mark.parametrize("spread", [0.0, 0.6, 1.0])
def test_random_poses_stay_inside_limits_upright_and_as_wide_as_asked(
    lai: SkeletonSpec, spread: float
) -> None:
    q = motions.random_poses(RandomLot(spread=spread), lai, 400, generator(2, "random"))
    low, high = (np.array([getattr(c, k) for c in lai.coordinates]) for k in ("lower", "upper"))
    free = [i for i, c in enumerate(lai.coordinates) if c.coupler is None]
    assert (q[:, free] >= low[free]).all()
    assert (q[:, free] <= high[free]).all()
    tilt, knee = (lai.coordinate_names.index(n) for n in ("pelvis_tilt", "knee_angle_r"))
    assert np.abs(q[:, tilt]).max() <= spread * np.radians(15) + 1e-12
    reach = spread * high[knee]
    assert reach * 0.95 <= q[:, knee].max() <= reach + 1e-12
    np.testing.assert_allclose(q, lai.couple(q))
    if spread:
        pairs = np.corrcoef(q[:, [i for i in free if q[:, i].std() > 0]].T)
        assert np.abs(pairs - np.eye(len(pairs))).max() < 0.25


def test_the_same_generator_gives_the_same_poses(lai: SkeletonSpec) -> None:
    one, other = (motions.random_poses(RandomLot(), lai, 5, generator(7, "x")) for _ in range(2))
    np.testing.assert_array_equal(one, other)
