"""What is exported loads in the tools that it is for, and says there what the dataset says."""

import contextlib
import io
import json
from pathlib import Path

import av
import numpy as np
import opensim
import pytest
import small_datasets
from pycocotools.coco import COCO

from pipeline import export
from schemas.errors import InputError
from schemas.keypoints import COCO_KEYPOINTS, Visibility
from schemas.manifest import Dataset
from workers import images, motions, osim

LOTS = {"squat": True, "../still life": False}


@pytest.fixture(scope="module")
def synth(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    url = str(tmp_path_factory.mktemp("synth"))
    return small_datasets.publish_synth(url, osim.read_model("default"), LOTS, subjects=2)


def load_coco(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_pycocotools_loads_the_export_and_finds_every_picture(
    synth: Dataset, tmp_path: Path
) -> None:
    out = Path(export.export_coco(synth.url, str(tmp_path / "here" / "persons.json")))
    coco = load_coco(str(out))
    assert len(coco.getImgIds()) == len(coco.getAnnIds()) == 16
    (category,) = coco.loadCats(coco.getCatIds(catNms=["person"]))
    assert category["keypoints"] == list(COCO_KEYPOINTS)
    assert [category["keypoints"][i - 1] for i in category["skeleton"][0]] == [
        "left_ankle",
        "left_knee",
    ]
    for image in coco.loadImgs(coco.getImgIds()):
        picture = images.decode((out.parent / "persons_images" / image["file_name"]).read_bytes())
        assert picture.shape == (image["height"], image["width"], 3)
        assert (image["split"], image["lot"] in LOTS) == ("train", True)


def test_exported_numbers_are_the_stored_ones_in_cocos_convention(
    synth: Dataset, tmp_path: Path
) -> None:
    coco = load_coco(export.export_coco(synth.url, str(tmp_path / "persons.json")))
    shard = synth.shards[0]
    arrays = synth.store.read_arrays(shard.action_key, ["keypoints", "keypoint_visibility"])
    for row in range(shard.rows):
        (annotation,) = coco.loadAnns([row + 1])
        triples = np.array(annotation["keypoints"]).reshape(17, 3)
        seen = arrays["keypoint_visibility"][row] == Visibility.VISIBLE
        assert np.array_equal(triples[:, 2], np.where(seen, 2, 0))
        assert np.abs(triples[seen, :2] - arrays["keypoints"][row][seen]).max() < 0.006
        assert not triples[~seen].any()
        assert annotation["num_keypoints"] == 12
        assert annotation["bbox"] == [20.5, 10.5, 100.0, 140.0]
        assert (annotation["area"], annotation["iscrowd"]) == (5000.0, 0)


def test_coco_photos_survive_the_way_through_the_store_and_back(
    shared_data: Path, tmp_path: Path
) -> None:
    recipe = small_datasets.coco_recipe(shared_data, subset="mini", mini_persons=20, image_px=128)
    dataset = small_datasets.publish_coco(str(tmp_path / "set"), recipe)
    coco = load_coco(export.export_coco(dataset.url, str(tmp_path / "again.json")))
    source = load_coco(Path(recipe.annotations))
    for image in coco.loadImgs(coco.getImgIds()):
        (after,) = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        (before,) = source.loadAnns([image["sample"]])
        assert after["keypoints"][2::3] == before["keypoints"][2::3]
        scale = max(after["bbox"][2:]) / max(before["bbox"][2:])
        shift = np.array(after["bbox"][:2]) - 0.5 - scale * (np.array(before["bbox"][:2]) - 0.5)
        old = np.array(before["keypoints"], float).reshape(17, 3)
        new = np.array(after["keypoints"], float).reshape(17, 3)
        labelled = old[:, 2] > 0
        assert np.abs(new[labelled, :2] - (scale * old[labelled, :2] + shift)).max() < 0.1
        assert after["area"] == pytest.approx(before["area"] * scale**2, rel=0.01)


def test_opensim_loads_each_subject_and_its_motions(synth: Dataset, tmp_path: Path) -> None:
    export.export_opensim(synth.url, str(tmp_path))
    found = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*"))
    assert len(found) == 6
    assert found[1:3] == ["subject_0000/squat.mot", "subject_0000/subject_0000.osim"]
    assert found[0].startswith("subject_0000/___still_life-")
    for subject in (0, 1):
        folder = tmp_path / f"subject_{subject:04d}"
        model = opensim.Model(str(folder / f"subject_{subject:04d}.osim"))
        model.initSystem()
        table = opensim.TimeSeriesTable(str(folder / "squat.mot"))
        assert table.getNumRows() == 4
        names = {c.getName() for c in model.getCoordinateSet()}
        assert set(table.getColumnLabels()) == names
        assert np.allclose(table.getIndependentColumn(), [0, 0.1, 0.2, 0.3], atol=1e-6)


def test_an_exported_subject_poses_as_its_stored_markers(synth: Dataset, tmp_path: Path) -> None:
    export.export_opensim(synth.url, str(tmp_path))
    shard = next(s for s in synth.shards if s.key.members == (1,) and s.key.lot == "squat")
    names = ["joints_px", "K", "T_cam_from_ground", "time"]
    arrays = synth.store.read_arrays(shard.action_key, names)
    spec = synth.store.read_skeleton(shard.skeleton)
    folder = tmp_path / "subject_0001"
    model = osim.OsimModel((folder / "subject_0001.osim").read_bytes())
    motion = motions.read_mot((folder / "squat.mot").read_bytes(), "squat.mot", spec)
    for row, time in enumerate(arrays["time"]):
        frame = int(np.argmin(np.abs(motion.times - time)))
        centres = model.pose(motion.q[frame]).joint_centres
        again = small_datasets.project(arrays["K"][row], arrays["T_cam_from_ground"][row], centres)
        assert np.abs(again - arrays["joints_px"][row]).max() < 1e-3


def test_a_clip_becomes_a_video_with_its_camera(synth: Dataset, tmp_path: Path) -> None:
    export.export_video(synth.url, str(tmp_path))
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == [f"train_squat_000{i}.{suffix}" for i in (0, 1) for suffix in ("json", "mp4")]
    about = json.loads((tmp_path / "train_squat_0001.json").read_text())
    assert about["times"] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert about["dataset_id"] == synth.dataset_id
    assert about["K"][0][0] == 150.0
    with av.open(str(tmp_path / "train_squat_0001.mp4")) as video:
        assert float(video.streams.video[0].average_rate) == 10.0
        frames = [
            (float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in video.decode()
        ]
    assert [time for time, _ in frames] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert frames[0][1].shape == (160, 160, 3)
    assert abs(float(frames[0][1].mean()) - 110.0) < 3.0


def test_what_a_dataset_does_not_hold_is_said(
    synth: Dataset, shared_data: Path, tmp_path: Path
) -> None:
    recipe = small_datasets.coco_recipe(shared_data, subset="mini", mini_persons=2, image_px=64)
    photos = small_datasets.publish_coco(str(tmp_path / "photos"), recipe)
    with pytest.raises(InputError, match="no OpenSim motions"):
        export.export_opensim(photos.url, str(tmp_path / "out"))
    with pytest.raises(InputError, match="no clips"):
        export.export_video(photos.url, str(tmp_path / "out"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        export.export_coco(synth.url, str(tmp_path / "file" / "persons.json"))
