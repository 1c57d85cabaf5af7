"""Inputs that change while a build runs never land under the old name."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_pack
from tiny_coco import jpeg, small_set
from tiny_recipes import LOTS, lab_motion, photographs, run, synthetic

from pipeline import build
from pipeline.executor import LocalExecutor
from schemas.errors import InputError
from schemas.store import Store
from workers import coco, osim, produce, synth

TRAIN = {"train": 1.0, "val": 0.0, "test": 0.0}


def refuses(jobs: list[produce.Job], what: str) -> None:
    """Asserts that no job writes anything and that the refusal names the input."""
    for job in jobs:
        with pytest.raises(InputError, match="changed since the build was planned") as caught:
            produce.produce(job)
        assert what in caught.value.value
        assert caught.value.remedy == "Run the same command again"
        assert Store(job.url).list_paths("") == []


def test_a_motion_that_is_replaced_after_the_plan_is_refused(tmp_path: Path) -> None:
    path = lab_motion(tmp_path)
    lots = {"lab": {"mot": str(path), "subjects": 1, "frames": 1}}
    jobs = produce.plan(synthetic(motions=lots), str(tmp_path / "set"))
    lab_motion(tmp_path, 60.0)
    refuses(jobs, str(path))


def test_a_model_that_is_replaced_after_the_plan_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "m.osim"
    model.write_bytes(osim.read_model("default"))
    recipe = synthetic(model=str(model), motions={"poses": LOTS["poses"]})
    jobs = produce.plan(recipe, str(tmp_path / "set"))
    model.write_bytes(model.read_bytes().replace(b"</Model>", b" </Model>"))
    refuses(jobs, str(model))


def test_a_photo_that_is_replaced_after_the_plan_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg(1, 640, 480))
    recipe = synthetic(scene={"backgrounds": str(folder)}, motions={"poses": LOTS["poses"]})
    jobs = produce.plan(recipe, str(tmp_path / "set"))
    (folder / "a.jpg").write_bytes(jpeg(2, 640, 480))
    refuses(jobs, str(folder))


def test_an_asset_that_is_replaced_after_the_plan_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    url = tiny_pack.put(folder, tiny_pack.contents())
    recipe = synthetic(wardrobe={"assets": url}, motions={"poses": LOTS["poses"]})
    jobs = produce.plan(recipe, str(tmp_path / "set"))
    (folder / "hair/bob/bob.png").write_bytes(tiny_pack.png((1, 1, 1)))
    refuses(jobs, url)


def test_a_photo_that_is_replaced_while_a_shard_is_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg(1, 640, 480))
    recipe = synthetic(scene={"backgrounds": str(folder)}, motions={"poses": LOTS["poses"]})
    jobs = produce.plan(recipe, str(tmp_path / "set"))
    real = synth.make_shard

    def late(*arguments: Any) -> Any:
        (folder / "a.jpg").write_bytes(jpeg(2, 640, 480))
        return real(*arguments)

    monkeypatch.setattr(synth, "make_shard", late)
    refuses(jobs[:1], "a.jpg")


@pytest.mark.parametrize("fault", ["replaced", "removed", "broken"])
def test_a_picture_that_changes_after_the_plan_is_refused(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "coco"
    folder.mkdir()
    small_set(folder, 4)
    recipe = photographs(folder, shard_samples=64, splits=TRAIN)
    (job,) = produce.plan(recipe, str(tmp_path / "set"))
    path = folder / "0002.jpg"
    if fault == "removed":
        path.unlink()
    else:
        path.write_bytes(jpeg(99) if fault == "replaced" else path.read_bytes()[:200])
    refuses([job], str(folder))


def test_what_counts_is_the_picture_that_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replaced before it is read and put back before the check: the disk then agrees with the plan, the pixels not."""
    folder = tmp_path / "coco"
    folder.mkdir()
    small_set(folder, 2)
    recipe = photographs(folder, shard_samples=64, splits=TRAIN)
    (job,) = produce.plan(recipe, str(tmp_path / "set"))
    path, real = folder / "0002.jpg", coco.make_shard

    def swapped(*arguments: Any) -> Any:
        original = path.read_bytes()
        path.write_bytes(jpeg(99))
        made = real(*arguments)
        path.write_bytes(original)
        return made

    monkeypatch.setattr(coco, "make_shard", swapped)
    refuses([job], str(folder))


def test_an_annotation_that_changes_after_the_plan_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "coco"
    folder.mkdir()
    small_set(folder, 4)
    recipe = photographs(folder, shard_samples=64, splits=TRAIN)
    (job,) = produce.plan(recipe, str(tmp_path / "set"))
    content = json.loads((folder / "persons.json").read_text())
    content["annotations"][0]["keypoints"][0] += 1.0
    (folder / "persons.json").write_text(json.dumps(content))
    refuses([job], "persons.json")


def test_a_build_over_a_changed_input_fails_whole_and_the_next_one_succeeds(tmp_path: Path) -> None:
    folder, url = tmp_path / "coco", str(tmp_path / "set")
    folder.mkdir()
    small_set(folder, 24)
    recipe = photographs(folder)
    planned = build.plan(recipe, url)
    (folder / "0003.jpg").write_bytes(jpeg(99))
    built = build.build(recipe, url, planned, LocalExecutor(), lambda *_: None)
    assert built.dataset is None
    assert len(built.failures) == 1
    again = run(recipe, url)
    assert again.made == 1
    assert again.dataset is not None
    direct = run(recipe, str(tmp_path / "direct")).dataset
    assert direct is not None
    assert again.dataset.dataset_id == direct.dataset_id
