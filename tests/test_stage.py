"""Stages in whole frames: a hand moves the camera of a clip and nothing else, and no blur moves a label."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.geometry import project, transform_points
from schemas.recipes import People, SynthRecipe
from schemas.shards import ShardContents, ShardKey
from workers import bystanders, images, osim, synth

MAPS = Path(__file__).parents[1] / "../shared/data/makehuman_cc0/hdri"
NUMBERS_OF_THE_FILM = {"shutter", "motion_blur", "exposure", "compression"}


def make(lot: dict[str, Any], camera: dict[str, Any], scene: dict[str, Any]) -> ShardContents:
    recipe = SynthRecipe.model_validate(
        {
            "name": "stage",
            "motions": {"lot": {"subjects": 1} | lot},
            "camera": camera,
            "scene": {"occluder": 0.0, "bystanders": 0.0} | scene,
            "image_px": 96,
        }
    )
    key = ShardKey(source="synth", lot="lot", split="train", members=(0,))
    return synth.make_shard(recipe, synth.load(recipe), key)


@pytest.fixture(scope="module")
def film() -> ShardContents:
    """Makes a clip filmed by a shaking hand."""
    shaking = {"handheld": 1.0, "shake": [0.6, 0.6]}
    return make({"frames": 4, "clip": True, "fps": 3.0}, shaking, {})


def test_a_handheld_clip_moves_the_camera_and_keeps_everything_else(film: ShardContents) -> None:
    arrays = film.arrays
    poses = arrays["T_cam_from_ground"]
    assert len(np.unique(poses.reshape(len(poses), -1), axis=0)) == 4
    for name in ("K", "A_crop_from_source", "scale", "garment_id", "group_id", "light_id"):
        assert (arrays[name] == arrays[name][0]).all(), name
    turns = poses[:, :3, :3] @ poses[0, :3, :3].T
    angles = np.degrees(np.arccos(np.clip((np.trace(turns, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert 0.02 < angles[1:].max() < 6.0


def test_labels_of_a_shaking_camera_reproject_exactly(film: ShardContents) -> None:
    arrays = film.arrays
    for i in range(len(film.images)):
        for name in ("joints", "markers"):
            ground = arrays[f"{name}_ground"][i].astype(np.float64)
            seen = project(
                arrays["K"][i].astype(np.float64),
                transform_points(arrays["T_cam_from_ground"][i], ground),
            )
            assert np.abs(seen - arrays[f"{name}_px"][i]).max() <= 0.01


def test_a_tripod_stands_still() -> None:
    contents = make({"frames": 3, "clip": True, "fps": 3.0}, {"handheld": 0.0}, {})
    poses = contents.arrays["T_cam_from_ground"]
    assert (poses == poses[0]).all()


def test_blur_and_compression_change_the_picture_and_no_label() -> None:
    lot = {"frames": 6, "tempo": [1.6, 1.6], "depth": [110, 120]}
    sharp, smeared = (
        make(lot, {"handheld": 0.0}, {"shutter": s, "compressed": 0.0, "noise": [0, 0]})
        for s in ([0.0005, 0.0005], [0.08, 0.08])
    )
    for name in sharp.arrays.keys() - NUMBERS_OF_THE_FILM:
        np.testing.assert_array_equal(sharp.arrays[name], smeared.arrays[name], err_msg=name)
    assert smeared.arrays["motion_blur"].max() > 20 * sharp.arrays["motion_blur"].max()
    assert smeared.arrays["motion_blur"].max() > 0.7
    assert sharp.images != smeared.images


@pytest.mark.skipif(not MAPS.is_dir(), reason="no environment maps beside the repository")
def test_every_share_is_kept_and_described() -> None:
    scene = {"hdri": str(MAPS), "hdri_share": 1.0, "bystanders": 1.0}
    contents = make({"frames": 4}, {}, scene)
    for about in contents.tables["lights"]:
        assert about["room"] == "hdri"
        assert about["hdri"].endswith((".hdr", ".exr"))
        assert {"yaw_deg", "focal_mm", "exposure_stops", "shutter_s", "shake_deg"} <= about.keys()
    assert sum(about["bystanders"] for about in contents.tables["lights"]) > 0
    for jpeg in contents.images:
        assert images.decode(jpeg).std() > 10


def test_people_in_the_background_wear_the_colours_of_their_cloth() -> None:
    rng = np.random.default_rng(0)
    figures = bystanders.draw(People(), osim.read_model("default"), 0, 6, rng)
    means = np.array([s.colours.mean(axis=0) for figure in figures for s in figure])
    assert np.ptp(means, axis=1).max() > 0.3  # something is vivid
    assert (means.min(axis=1) < 0.97).all()  # and nothing has lost its texture
