"""A build is the same whoever does it, does nothing twice, and never shows half of itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from tiny_coco import small_set

from pipeline import build, recipes
from pipeline.executor import Executor, Failure, LocalExecutor, RayExecutor
from schemas import manifest
from schemas.errors import InputError
from schemas.recipes import Recipe
from schemas.store import Store
from workers import produce


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with a COCO of 24 pictures."""
    return small_set(tmp_path_factory.mktemp("coco"), 24)


def coco_recipe(pictures: Path, *words: str) -> Recipe:
    fixed = (f"images={pictures}", f"annotations={pictures}/persons.json", "image_px=64")
    return recipes.load("coco_lower", [*fixed, "shard_samples=8", *words])


def run(recipe: Recipe, url: str, executor: Executor | None = None) -> build.Built:
    planned = build.plan(recipe, url)
    return build.build(recipe, url, planned, executor or LocalExecutor(), lambda *_: None)


def every_object(url: str) -> dict[str, bytes]:
    store = Store(url)
    return {path: store.get_bytes(path) for path in store.list_paths("shards")}


def test_the_recipes_that_ship_are_valid() -> None:
    names = sorted(path.stem for path in recipes.FOLDER.glob("*.yaml"))
    assert {"coco_lower", "squat_small"} <= set(names)
    assert recipes.load("squat_small", []).kind == "synth"
    assert recipes.load("coco_lower", ["images=a", "annotations=b"]).kind == "coco"


def test_relative_paths_become_absolute() -> None:
    recipe = recipes.load("squat_small", ["motions.lab.mot=a/b.mot", "model=c.osim"])
    assert recipe.kind == "synth"
    assert Path(recipe.model).is_absolute()
    assert Path(recipe.model_dump()["motions"]["lab"]["mot"]).is_absolute()


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["motions.squat.subjcts=3"], ": motions.squat.subjcts: "),
        (["image_px=3"], ": image_px: "),
        (["camera.distance=[5, 2]"], "runs backwards"),
        (["splits.train=0.9"], "must add up to 1"),
        (["motions={}"], "motions"),
    ],
)
def test_a_bad_recipe_is_refused_with_the_path_in_the_document(
    words: list[str], names: str
) -> None:
    with pytest.raises(InputError, match=names):
        recipes.load("squat_small", words)


def test_a_second_run_makes_nothing(pictures: Path, tmp_path: Path) -> None:
    recipe, url = coco_recipe(pictures), str(tmp_path / "set")
    first, second = run(recipe, url), run(recipe, url)
    assert first.made > 2
    assert second.made == 0
    assert second.dataset == first.dataset
    assert len(Store(url).list_paths("commits")) == 1


@pytest.mark.ray
def test_ray_and_local_write_the_same_bytes(pictures: Path, tmp_path: Path) -> None:
    recipe = coco_recipe(pictures)
    one, two = str(tmp_path / "local"), str(tmp_path / "ray")
    local = run(recipe, one)
    try:
        spread = run(recipe, two, RayExecutor())
    finally:
        ray.shutdown()
    assert every_object(one) == every_object(two)
    assert local.dataset is not None
    assert spread.dataset is not None
    assert local.dataset.dataset_id == spread.dataset.dataset_id


@pytest.mark.s3
def test_s3_memory_and_file_hold_the_same_dataset(
    pictures: Path, tmp_path: Path, s3_bucket: str
) -> None:
    recipe = coco_recipe(pictures)
    urls = (f"{s3_bucket}/{tmp_path.name}", f"memory://{tmp_path.name}", f"file://{tmp_path}/set")
    built = [run(recipe, url).dataset for url in urls]
    assert len({dataset.dataset_id for dataset in built if dataset is not None}) == 1
    assert every_object(urls[0]) == every_object(urls[1]) == every_object(urls[2])


def test_only_what_depends_on_a_change_is_made_again(pictures: Path, tmp_path: Path) -> None:
    url = str(tmp_path / "set")
    whole = run(coco_recipe(pictures), url)
    assert whole.dataset is not None
    renamed = build.plan(coco_recipe(pictures, "name=other"), url)
    assert renamed.missing == ()
    larger = build.plan(coco_recipe(pictures, "image_px=72"), url)
    assert len(larger.missing) == len(larger.jobs)


def test_another_picture_leaves_other_shards_alone(tmp_path: Path) -> None:
    few, more = tmp_path / "few", tmp_path / "more"
    few.mkdir()
    more.mkdir()
    before = build.plan(coco_recipe(small_set(few, 40)), str(tmp_path / "set")).jobs
    after = build.plan(coco_recipe(small_set(more, 41)), str(tmp_path / "set")).jobs
    changed = {job.action_key for job in after} - {job.action_key for job in before}
    assert 1 <= len(changed) <= 2
    assert len(after) > 6


def test_a_synthetic_recipe_keeps_its_shards_when_subjects_and_motions_join() -> None:
    def keys(*words: str) -> set[str]:
        recipe = recipes.load("squat_small", ["shard_samples=96", *words])
        return {job.action_key for job in produce.plan(recipe, "memory://none")}

    before = keys()
    assert len(before & keys("motions.more={movement: squat, subjects: 2}")) == len(before)
    assert len(before - keys("motions.squat.subjects=33")) <= 1
    assert before.isdisjoint(keys("seed=1"))
    lot = "motions={{poses: {{random: limits, frames: 96, first: {}, subjects: {}}}}}"
    assert keys(lot.format(3, 4)) < keys(lot.format(0, 9))
    squats = keys("motions={squat: {subjects: 32, frames: 48}}")
    assert squats < before
    assert squats.isdisjoint(keys("motions={squat: {subjects: 32, frames: 48, depth: [10, 20]}}"))


def test_subjects_never_cross_splits_and_every_split_is_served() -> None:
    recipe = recipes.load("squat_small", [])
    found: dict[int, set[str]] = {}
    for job in produce.plan(recipe, "memory://none"):
        for subject in job.key.members:
            found.setdefault(subject, set()).add(job.key.split)
    assert all(len(splits) == 1 for splits in found.values())
    assert set.union(*found.values()) == {"train", "val", "test"}
    assert len(found) == 32


class Stopping:
    """Runs a few jobs, then is interrupted as by Ctrl-C."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def map(self, function: Callable[[Any], Any], jobs: Any) -> Any:
        for count, job in enumerate(jobs):
            if count == self.jobs:
                raise KeyboardInterrupt
            yield function(job)


def test_an_interrupted_build_goes_on_and_ends_the_same(pictures: Path, tmp_path: Path) -> None:
    recipe = coco_recipe(pictures)
    url, other = str(tmp_path / "stopped"), str(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(recipe, url, Stopping(2))
    with pytest.raises(InputError, match=r"holds only an unfinished build \(2 shards so far\)"):
        manifest.open_dataset(url)
    again, whole = run(recipe, url), run(recipe, other)
    assert again.dataset is not None
    assert whole.dataset is not None
    assert again.made == whole.made - 2
    assert again.dataset.dataset_id == whole.dataset.dataset_id
    assert every_object(url) == every_object(other)


def test_a_failed_shard_leaves_the_published_state_and_the_finished_shards(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "set")
    before = run(coco_recipe(pictures, "image_px=48"), url).dataset
    real = produce.produce

    def poisoned(job: produce.Job) -> Any:
        if job.key == planned.jobs[0].key:
            raise RuntimeError("poison")
        return real(job)

    recipe = coco_recipe(pictures)
    planned = build.plan(recipe, url)
    monkeypatch.setattr(produce, "produce", poisoned)
    built = run(recipe, url)
    assert built.dataset is None
    assert [str(f.error) for f in built.failures if isinstance(f, Failure)] == ["poison"]
    assert manifest.open_dataset(url) == before
    monkeypatch.setattr(produce, "produce", real)
    assert run(recipe, url).made == 1


def test_a_lost_acknowledgement_of_the_commit_is_recognised(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "set")
    create = Store.create_bytes

    def lossy(self: Store, path: str, data: bytes) -> bool:
        made = create(self, path, data)
        return made and not path.startswith("commits/")

    monkeypatch.setattr(Store, "create_bytes", lossy)
    built = run(coco_recipe(pictures), url)
    assert built.dataset is not None
    assert len(Store(url).list_paths("commits")) == 1


def test_the_recipe_and_tools_are_on_record(pictures: Path, tmp_path: Path) -> None:
    url = str(tmp_path / "set")
    run(coco_recipe(pictures), url)
    commit = json.loads(Store(url).get_bytes(Store(url).list_paths("commits")[-1]))
    assert commit["recipe"]["context"] == 1.75
    assert commit["tools"]["zarr"]
