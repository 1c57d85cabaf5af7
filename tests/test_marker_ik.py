"""Joint angles from markers by OpenSim's tools: right where markers are, masked where a landmark is not."""

import threading
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import InputError
from schemas.lots import TrcLot
from schemas.recipes import SynthRecipe
from schemas.shards import generator
from schemas.skeleton import SkeletonSpec
from workers import marker_ik, osim, performance, synth, synth_plan, trc

FRAMES = 24
SIZE = 1.06


def bent(spec: SkeletonSpec) -> np.ndarray:
    """Poses (t, c) of both knees and hips bending."""
    q = np.tile(spec.default_pose(), (FRAMES, 1))
    for side in "rl":
        for name, top in ((f"knee_angle_{side}", 1.2), (f"hip_flexion_{side}", 0.9)):
            q[:, spec.coordinate_names.index(name)] = np.linspace(0.1, top, FRAMES)
    return spec.couple(q)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person 6 % larger than the default model, 1 mm of noise; in `off` the right ankle is 4 cm off for 8 frames."""
    folder = tmp_path_factory.mktemp("lab")
    data = osim.read_model("default")
    spec = osim.read_skeleton(data)
    model = osim.OsimModel(data, np.full((len(spec.body_names), 3), SIZE))
    q, rng = bent(spec), generator(1, "lab")
    places = np.stack([model.pose(row).markers for row in q])
    places += rng.normal(0.0, 0.001, places.shape)
    still = np.stack([model.pose(spec.default_pose()).markers] * 8)
    off, lost = places.copy(), places.copy()
    off[8:16, spec.marker_names.index("r_ankle_study")] += [0.0, 0.0, 0.09]
    off[8:16, spec.marker_names.index("r_mankle_study")] += [0.0, 0.0, -0.09]
    arm = [k for k, m in enumerate(spec.markers) if m.body in ("hand_r", "radius_r")]
    lost[:, arm] = np.nan
    for name, values in (("trial", places), ("static", still), ("off", off), ("lost", lost)):
        text = trc.write_trc(spec.marker_names, np.arange(len(values)) / 100, values, 100.0)
        (folder / f"{name}.trc").write_bytes(text)
    return folder


def recipe(lab: Path, name: str) -> SynthRecipe:
    lot = {"trc": f"{lab}/{name}.trc", "static": f"{lab}/static.trc", "subjects": 1, "frames": 6}
    return SynthRecipe.model_validate({"name": "x", "image_px": 48, "motions": {"lab": lot}})


def solved(lab: Path, name: str) -> tuple[np.ndarray, np.ndarray, SkeletonSpec]:
    wanted = recipe(lab, name)
    sources, lot = synth_plan.load(wanted), wanted.motions["lab"]
    assert isinstance(lot, TrcLot)
    spec = osim.read_skeleton(sources.osim)
    motion, mask = marker_ik.solved(sources.trials["lab"], lot, spec)
    return motion.q, mask.known, spec


def test_angles_are_found_whatever_the_persons_size_and_nothing_is_printed(
    lab: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    q, known, spec = solved(lab, "trial")
    assert capfd.readouterr().out == ""
    for name in ("knee_angle_r", "knee_angle_l", "hip_flexion_r"):
        column = spec.coordinate_names.index(name)
        np.testing.assert_allclose(q[:, column], bent(spec)[:, column], atol=np.radians(5.0))
        assert known[:, column].mean() > 0.9


def test_a_landmark_far_off_masks_its_joint_and_only_while_it_is(lab: Path) -> None:
    _, known, spec = solved(lab, "off")
    ankle, other, neck = (
        spec.coordinate_names.index(n) for n in ("ankle_angle_r", "ankle_angle_l", "neck_flexion")
    )
    assert not known[9:15, ankle].any()
    assert known[:7, ankle].all()
    assert known[17:, ankle].all()
    assert known[:, [other, neck]].all()


def test_what_no_marker_shows_is_unknown(lab: Path) -> None:
    _, known, spec = solved(lab, "lost")
    assert not known[:, spec.coordinate_names.index("pro_sup_r")].any()
    assert known[:, spec.coordinate_names.index("pro_sup_l")].all()


def test_two_tasks_at_once_give_the_same_bytes_and_leave_nothing(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = osim.read_model("default")
    spec, text = osim.read_skeleton(data), (lab / "trial.trc").read_bytes()
    found: list[bytes] = []

    def task() -> None:
        found.append(osim.inverse_kinematics(data, text, spec.marker_names))

    threads = [threading.Thread(target=task) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert found[0] == osim.inverse_kinematics(data, text, spec.marker_names)
    assert list(tmp_path.iterdir()) == []


def test_a_shard_holds_the_mask_and_another_trial_is_another_shard(lab: Path) -> None:
    names = set()
    for name in ("trial", "off"):
        wanted = recipe(lab, name)
        sources = synth_plan.load(wanted)
        names.add(str(sources.digests("lab")))
    assert len(names) == 2
    contents = synth.make_shard(wanted, sources, synth_plan.plan(wanted)[0])
    mask = contents.arrays["q_mask"]
    assert mask.shape == (len(contents.images), len(osim.read_skeleton(sources.osim).coordinates))
    assert 0 < mask.mean() < 1


def test_a_frame_of_which_nothing_is_known_is_quarantined(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*arguments: object) -> np.ndarray:
        known = masked(*arguments)  # type: ignore[arg-type]
        known[: FRAMES // 2] = 0
        return known

    masked = marker_ik.known_coordinates
    monkeypatch.setattr(marker_ik, "known_coordinates", nothing)
    wanted = recipe(lab, "trial")
    sources = synth_plan.load(wanted)
    model = osim.OsimModel(sources.osim)
    played = performance.perform(
        wanted.motions["lab"], "lab", sources, model, generator(1, "frames")
    )
    assert {r.reason for r in played.rejects.values()} == {"all_masked"}
    assert 0 < len(played.rejects) < 6


@pytest.mark.parametrize("text", [b"", b"no trc\n" * 9])
def test_a_file_that_is_none_is_refused_before_any_work(tmp_path: Path, text: bytes) -> None:
    for name in ("trial", "static"):
        (tmp_path / f"{name}.trc").write_bytes(text)
    with pytest.raises(InputError, match=r"is no \.trc"):
        synth_plan.load(recipe(tmp_path, "trial"))
