"""Predict: video in, OpenSim's files out; frames, floor and units are those the files promise."""

import argparse
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from tiny_samples import pose
from tiny_skeleton import tiny_skeleton

from schemas.errors import InputError
from schemas.files import read_bytes
from schemas.skeleton import SkeletonSpec
from schemas.training import FitRecipe
from trainers import checkpoint, predict, predict_command, video
from trainers.__main__ import main
from trainers.metrics import Tally
from trainers.tasks import make_task

SPEC = tiny_skeleton()
RATE = Fraction(25)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A short odd-sized video of noise."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (97, 131, 3), dtype=np.uint8) for _ in range(5)]
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    path.write_bytes(video.encode(pictures, RATE))
    return str(path)


def _checkpoint(folder: Path, task: dict[str, object], skeleton: SkeletonSpec | None) -> str:
    recipe = FitRecipe.model_validate({"name": "tiny", "task": task, "augment": {"flip": 0}})
    torch.manual_seed(0)
    made = make_task(recipe, skeleton)
    saved = checkpoint.Checkpoint(
        recipe=recipe,
        described=made.describe(),
        skeleton=skeleton,
        dataset_ids=("none",),
        order={},
        epoch=0,
        step=1,
        total_steps=1,
        metrics={},
        summary=Tally(),
        weights=dict(made.make_net().state_dict()),
    )
    return checkpoint.save(str(folder), saved)


def _track(count: int) -> predict.Track:
    """What a perfect net would say of a person who turns while bending the knees."""
    rng = np.random.default_rng(3)
    q = np.tile(SPEC.default_pose(), (count, 1))
    q[:, :6] = 0.0
    for name in ("knee_angle_r", "knee_angle_l"):
        q[:, SPEC.coordinate_names.index(name)] = np.linspace(0.1, 1.5, count)
    facing = np.array([[0.0, 0.0, -1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])
    turn = Rotation.from_rotvec(np.linspace(0, 0.8, count)[:, None] * np.array([0.0, 1.0, 0.0]))
    return predict.Track(
        times=np.arange(count) / 25.0,
        rate=RATE,
        K=predict.intrinsics(640, 480, 26.0),
        said={
            "q": SPEC.couple(q),
            "scale": np.ones((count, len(SPEC.joints), 3)) + rng.normal(0, 0.01, (count, 1, 1)),
            "R_cam_from_root": facing.T @ turn.as_matrix(),
            "root_cam": np.tile([0.1, 0.0, 3.0], (count, 1)),
        },
    )


def test_coordinates_pose_the_model_where_the_markers_are() -> None:
    """q, scale and the model alone give back every marker of the .trc."""
    movement = predict.assemble(SPEC, _track(6))
    scales = np.tile(movement.scale, (6, 1, 1))
    posed = pose(SPEC, movement.q, scales)
    np.testing.assert_allclose(posed.markers.numpy(), movement.markers, atol=1e-5)
    np.testing.assert_allclose(posed.joint_centres.numpy(), movement.joints, atol=1e-5)


def test_person_stands_upright_on_the_floor_and_faces_x() -> None:
    movement = predict.assemble(SPEC, _track(7))
    points = np.concatenate([movement.joints, movement.markers], axis=1)
    np.testing.assert_allclose(points[..., 1].min(1), 0.0, atol=1e-9)
    names = SPEC.marker_names
    c7, heel, toe = (movement.markers[:, names.index(n)] for n in ("C7", "RHEE", "RTOE"))
    assert (c7[:, 1] > heel[:, 1] + 0.9).all()
    middle = len(toe) // 2
    assert toe[middle, 0] > heel[middle, 0] + 0.1
    root = movement.joints[:, SPEC.joint_names.index("ground_pelvis")]
    np.testing.assert_allclose(root[:, [0, 2]], 0.0, atol=1e-9)


def test_overlay_draws_the_skeleton_where_the_camera_sees_it() -> None:
    track = _track(4)
    movement = predict.assemble(SPEC, track)
    root = track.said["root_cam"][0]
    expected = track.K @ (root / root[2])
    np.testing.assert_allclose(movement.joints_px[0, 0], expected[:2], atol=1e-9)
    torso, ankle = (SPEC.joint_names.index(n) for n in ("back", "ankle_r"))
    assert (movement.joints_px[:, torso, 1] < movement.joints_px[:, ankle, 1]).all()


def test_one_body_for_the_whole_video() -> None:
    track = _track(5)
    track.said["scale"][2] = 9.0
    assert np.abs(predict.assemble(SPEC, track).scale - 1.0).max() < 0.05


def test_intrinsics_are_those_of_the_film_diagonal() -> None:
    K = predict.intrinsics(3000, 2000, 43.27)
    assert K[0, 0] == pytest.approx(np.hypot(3000, 2000))
    assert K[:2, 2].tolist() == [1499.5, 999.5]


def test_3d_files_load_in_opensim_and_agree(clip: str, tmp_path: Path) -> None:
    """The command's own .osim, posed by the command's own .mot in OpenSim, holds the .trc's markers."""
    import opensim

    from workers.motions import read_mot
    from workers.osim import OsimModel, read_model, read_skeleton

    spec = read_skeleton(read_model("default"))
    run = _checkpoint(tmp_path / "run", {"kind": "d3ke", "input_px": 64}, spec)
    to = tmp_path / "out"
    words = ["predict", run, clip, "--to", str(to), "--box", "20,5,60,90", "--json"]
    assert main(words) == 0
    osim = (to / "model.osim").read_bytes()
    model = OsimModel(osim)
    motion = read_mot((to / "prediction.mot").read_bytes(), "prediction.mot", model.spec)
    assert motion.q.shape == (5, len(spec.coordinates))
    table = opensim.TimeSeriesTableVec3(str(to / "prediction.trc"))
    assert table.getNumRows() == 5
    assert tuple(table.getColumnLabels()) == spec.marker_names
    assert opensim.TimeSeriesTable(str(to / "prediction.mot")).getNumRows() == 5
    for i, q in enumerate(motion.q):
        row = table.getRowAtIndex(i)
        stored = np.array([[row[m][k] for k in range(3)] for m in range(table.getNumColumns())])
        posed = dict(zip(model.spec.marker_names, model.pose(q).markers * 1000, strict=True))
        np.testing.assert_allclose([posed[n] for n in spec.marker_names], stored, atol=0.01)
    lines = (to / "prediction.csv").read_text().splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("time_s,pelvis_tilt_deg,")
    drawn = list(video.frames(str(to / "overlay.mp4")))
    assert len(drawn) == 5
    assert drawn[0][1].shape == (96, 130, 3)


def test_2d_writes_keypoints_and_overlay_only(clip: str, tmp_path: Path) -> None:
    run = _checkpoint(tmp_path / "run", {"kind": "pose2d", "input": [64, 64]}, None)
    to = tmp_path / "out"
    assert main(["predict", run, clip, "--to", str(to), "--json"]) == 0
    assert sorted(p.name for p in to.iterdir()) == ["overlay.mp4", "prediction.csv"]
    lines = (to / "prediction.csv").read_text().splitlines()
    assert lines[0].split(",")[:4] == ["time_s", "left_hip_x_px", "left_hip_y_px", "left_hip_score"]
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("content", "match"), [(None, "no such file"), (b"not a video at all", "video")]
)
def test_unusable_videos_are_refused(tmp_path: Path, content: bytes | None, match: str) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=match):
        list(video.frames(str(path)))


def test_box_outside_the_picture_is_refused_and_nothing_is_written(
    clip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _checkpoint(tmp_path / "run", {"kind": "pose2d", "input": [64, 64]}, None)
    words = ["predict", run, clip, "--to", str(tmp_path / "out"), "--box", "500,0,10,10", "--json"]
    assert main(words) == 2
    assert "outside the 130 x 96 picture" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_intrinsics_file_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "camera.json"
    path.write_text('{"K": [[900, 0, 320], [0, 900, 240], [0, 0, 1]]}')
    assert predict.read_intrinsics(str(path))[0, 0] == 900
    for text in ("{}", "[1, 2]", '{"K": [[0, 0, 0], [0, 0, 0], [0, 0, 1]]}', "not json"):
        path.write_text(text)
        with pytest.raises(InputError, match="K"):
            predict.read_intrinsics(str(path))


def test_frames_come_with_their_times(clip: str) -> None:
    times = [seconds for seconds, _ in video.frames(clip)]
    np.testing.assert_allclose(times, np.arange(5) / 25, atol=1e-6)
    assert video.frame_rate(clip) == RATE


def test_box_text_is_four_numbers() -> None:
    assert predict_command.parse_box("1,2,3.5,4") == (1.0, 2.0, 3.5, 4.0)
    with pytest.raises(Exception, match="is not x,y,w,h"):
        predict_command.parse_box("1,2,3")


@pytest.mark.parametrize("text", ["0", "-26", "nan", "inf", "wide"])
def test_a_focal_length_is_a_positive_number(text: str) -> None:
    assert predict_command.parse_length("26.5") == 26.5
    with pytest.raises(argparse.ArgumentTypeError, match=text):
        predict_command.parse_length(text)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "an empty path: is a folder"),
        (".", r"\.: is a folder"),
        ("nosuch://clip.mp4", "nosuch://clip.mp4: cannot be read .*nosuch"),
    ],
)
def test_places_that_hold_no_video_are_refused(url: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(video.frames(url))


def test_results_go_to_any_store(clip: str, tmp_path: Path) -> None:
    run = _checkpoint(tmp_path / "run", {"kind": "pose2d", "input": [64, 64]}, None)
    to = f"memory://{tmp_path.name}/out"
    assert main(["predict", run, clip, "--to", to, "--json"]) == 0
    assert read_bytes(f"{to}/prediction.csv").startswith(b"time_s,left_hip_x_px")
    assert len(read_bytes(f"{to}/overlay.mp4")) > 100


def test_a_camera_that_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^[^(]*: no such file"):
        predict.read_intrinsics(str(tmp_path / "none.json"))
