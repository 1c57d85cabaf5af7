"""A shard's name changes with all that its bytes depend on and with nothing else; a plan says what changed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_pack
from pydantic import BaseModel
from tiny_coco import document, jpeg, lay_out, person, picture, small_set
from tiny_recipes import LOTS, every_object, keys, lab_motion, photographs, run, synthetic

from pipeline import build, forecast, planning
from schemas.errors import InputError
from schemas.recipes import Camera, CocoRecipe, People, Recipe, Scene, SynthRecipe, Wardrobe
from schemas.shards import ShardKey, ShardReceipt
from schemas.statistics import Statistics
from schemas.store import Store
from workers import osim, produce

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lays out a COCO of 24 pictures."""
    return small_set(tmp_path_factory.mktemp("coco"), 24)


# What changes which keys: every field of the recipes is named here, so that a new one cannot be forgotten.

ALL, NONE = "all", "none"
SYNTH_FIELDS: dict[str, tuple[Any, str | tuple[str, ...]]] = {
    "name": ("other", NONE),
    "seed": (1, ALL),
    "image_px": (64, ALL),
    "jpeg_quality": (80, ALL),
    "people.female": (1.0, ALL),
    "people.age": ([30, 40], ALL),
    "people.stature": ([1.6, 1.7], ALL),
    "people.bmi": ([20, 22], ALL),
    "camera.yaw": ([0, 10], ALL),
    "camera.distance": ([3, 4], ALL),
    "camera.height": ([1, 1.1], ALL),
    "camera.focal_mm": ([30, 31], ALL),
    "camera.roll": ([0, 0], ALL),
    "camera.margin": ([1.2, 1.3], ALL),
    "camera.shift": (0.0, ALL),
    "targets": ({"knee_flexion": {">50": 0.3}}, ("squat", "poses")),
    "scene.sun": ([0.5, 0.6], ALL),
    "scene.ambient": ([0.3, 0.4], ALL),
    "scene.occluder": (0.0, ALL),
    "scene.blur": ([0, 0.1], ALL),
    "scene.noise": ([0, 1], ALL),
    "motions.squat.frames": (1, "squat"),
    "motions.squat.clip": (True, "squat"),
    "motions.squat.fps": (10.0, NONE),
    "motions.squat.hands": ("fist", "squat"),
    "motions.film.fps": (10.0, "film"),
    "motions.poses.fps": (10.0, NONE),
    "motions.squat.depth": ([70, 80], "squat"),
    "camera.views.front": (0.9, ALL),
    "camera.views.side": (0.9, ALL),
    "camera.views.oblique": (0.9, ALL),
    "camera.views.any": (0.9, ALL),
    "camera.views.spread": (5.0, ALL),
    "camera.pitch": ([1, 2], ALL),
    "camera.portrait": (0.1, ALL),
    "camera.handheld": (0.1, ALL),
    "camera.shake": ([0.2, 0.3], ALL),
    "scene.bystanders": (0.9, ALL),
    "scene.exposure": ([0, 0.1], ALL),
    "scene.white_balance": ([0, 0.01], ALL),
    "scene.shutter": ([0.01, 0.02], ALL),
    "scene.compressed": (0.9, ALL),
    "scene.compression": ([0.1, 0.2], ALL),
    "scene.hdri_share": (0.1, NONE),
    "scene.backgrounds_share": (0.1, NONE),
    "wardrobe.markers": (0.5, ALL),
    "motions.squat.stance": ([1, 1.1], "squat"),
    "motions.squat.toe_out": ([5, 6], "squat"),
    "motions.squat.trunk_lean": ([20, 21], "squat"),
    "motions.squat.valgus": ([0, 1], "squat"),
    "motions.squat.asymmetry": ([0, 1], "squat"),
    "motions.squat.hip_shift": ([0, 1], "squat"),
    "motions.squat.butt_wink": ([0, 1], "squat"),
    "motions.squat.faulty": (0.3, "squat"),
    "motions.squat.heel_lift": ([0, 1], "squat"),
    "motions.squat.dorsiflexion": ([30, 31], "squat"),
    "motions.squat.tempo": ([2, 3], "squat"),
    "motions.poses.spread": (0.3, "poses"),
    "motions.poses.grounded": (0.0, "poses"),
    "motions.more": ({"subjects": 2, "frames": 2}, NONE),
}
ELSEWHERE = {"kind", "model", "scene.backgrounds", "shard_samples", "motions", "people", "camera"}
ELSEWHERE |= {"scene.hdri", "scene.people_in_backgrounds", "camera.views"}
ELSEWHERE |= {"scene", "splits", "motions.*.movement", "motions.*.random", "motions.*.subjects"}
ELSEWHERE |= {"motions.*.first"}
ELSEWHERE |= {"motions.*.mot", "motions.*.perturb"}
ELSEWHERE |= {"wardrobe", "wardrobe.assets", "wardrobe.dressed"}
"""Fields that other tests change."""


def with_value(recipe: SynthRecipe, path: str, value: Any) -> SynthRecipe:
    whole = recipe.model_dump(mode="json")
    *parents, last = path.split(".")
    node = whole
    for part in parents:
        node = node[part]
    node[last] = value
    return SynthRecipe.model_validate(whole)


@pytest.mark.parametrize("path", SYNTH_FIELDS)
def test_each_field_of_a_synthetic_recipe_changes_the_keys_it_should(path: str) -> None:
    value, changed = SYNTH_FIELDS[path]
    before, after = keys(synthetic()), keys(with_value(synthetic(), path, value))
    for lot in LOTS:
        same = {k for k in before if k.lot == lot and before[k] == after.get(k)}
        affected = changed in (ALL, lot) or lot in changed
        expected = set() if affected else {k for k in before if k.lot == lot}
        assert same == expected, lot


def leaves(model: type[BaseModel], prefix: str) -> set[str]:
    return {f"{prefix}{name}" for name in model.model_fields}


def test_no_field_of_a_synthetic_recipe_is_forgotten() -> None:
    fields = leaves(SynthRecipe, "") | leaves(People, "people.") | leaves(Camera, "camera.")
    fields |= leaves(Scene, "scene.") | leaves(Wardrobe, "wardrobe.")
    for lot in synthetic().motions.values():
        fields |= leaves(type(lot), "motions.*.")
    named = {f"motions.*.{p.split('.')[2]}" if p.count(".") == 2 else p for p in SYNTH_FIELDS}
    assert fields <= named | ELSEWHERE


COCO_FIELDS: dict[str, tuple[Any, bool]] = {
    "name": ("other", False),
    "licences": ([4], False),
    "min_box_px": (40.0, False),
    "subset": ("lower_visible", False),
    "mini_persons": (9, False),
    "context": (1.5, True),
    "image_px": (64, True),
    "jpeg_quality": (80, True),
}
"""The choosing fields are set to values that choose the same persons here."""


@pytest.mark.parametrize("name", COCO_FIELDS)
def test_each_field_of_a_coco_recipe_changes_the_keys_it_should(pictures: Path, name: str) -> None:
    value, changes = COCO_FIELDS[name]
    before, after = (keys(photographs(pictures, **c)) for c in ({}, {name: value}))
    assert before.keys() == after.keys()
    assert all((before[k] != after[k]) == changes for k in before)


def test_no_field_of_a_coco_recipe_is_forgotten() -> None:
    elsewhere = {"kind", "seed", "images", "annotations", "shard_samples", "splits"}
    assert set(CocoRecipe.model_fields) == set(COCO_FIELDS) | elsewhere


def test_what_only_chooses_members_leaves_the_same_members_their_name(pictures: Path) -> None:
    for recipe in (synthetic(shard_samples=2), photographs(pictures)):
        named = {key.members: name for key, name in keys(recipe).items()}
        for change in (
            {"splits": {"train": 0.15, "val": 0.7, "test": 0.15}},
            {"shard_samples": 3},
        ):
            again = keys(recipe.model_validate(recipe.model_dump() | change))
            assert any(key.members in named for key in again)
            assert all(
                named[key.members] == name
                for key, name in again.items()
                if key.members in named and key.lot in ("squat", "persons")
            )


def test_a_shard_that_serves_another_split_is_kept_and_its_dataset_is_another(
    pictures: Path, tmp_path: Path
) -> None:
    """The bytes are the same as if it had been built so at once."""
    url, anew = str(tmp_path / "set"), str(tmp_path / "anew")
    every: Any = {"train": 1.0, "val": 0.0, "test": 0.0}
    turned = {"train": 0.0, "val": 1.0, "test": 0.0}
    first = run(photographs(pictures, splits=every), url)
    second = run(photographs(pictures, splits=turned), url)
    direct = run(photographs(pictures, splits=turned), anew)
    assert first.made > 2
    assert second.made == 0
    assert first.dataset is not None
    assert second.dataset is not None
    assert direct.dataset is not None
    assert {shard.key.split for shard in second.dataset.shards} == {"val"}
    assert second.dataset.dataset_id == direct.dataset.dataset_id != first.dataset.dataset_id
    assert every_object(url) == every_object(anew)


# Inputs count by their content, wherever they lie.


def test_a_motion_and_a_model_count_by_their_bytes(tmp_path: Path) -> None:
    def of(mot: Path, model: str = "default", perturb: float = 0.0) -> dict[ShardKey, str]:
        lot = {"mot": str(mot), "subjects": 2, "frames": 1, "perturb": [0, perturb]}
        lots = {"lab": lot, "squat": LOTS["squat"]}
        return keys(synthetic(motions=lots, model=model))

    (tmp_path / "b").mkdir()
    one, copy = lab_motion(tmp_path), lab_motion(tmp_path / "b")
    model = tmp_path / "m.osim"
    model.write_bytes(osim.read_model("default"))
    before = of(one)
    assert before == of(copy) == of(one, str(model)) == of(one, f"file://{model}")
    changed = of(lab_motion(tmp_path / "b", 70.0))
    assert {k.lot for k in before if before[k] != changed[k]} == {"lab"}
    assert {k.lot for k in before if before[k] != of(one, perturb=1.0)[k]} == {"lab"}
    model.write_bytes(osim.read_model("default").replace(b"</Model>", b" </Model>"))
    assert set(of(one, str(model)).values()).isdisjoint(before.values())
    one.write_bytes(one.read_bytes() + b"\n")  # in this process, under the same name
    assert of(one) != before


def test_background_photos_count_by_their_names_and_bytes(tmp_path: Path) -> None:
    def of(folder: Path) -> set[str]:
        return set(keys(synthetic(scene={"backgrounds": str(folder)})).values())

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for i in range(2):
            (tmp_path / name / f"{i}.jpg").write_bytes(jpeg(i))
    first = of(tmp_path / "one")
    assert first == of(tmp_path / "two")
    assert first.isdisjoint(keys(synthetic()).values())
    (tmp_path / "one" / "1.jpg").write_bytes(jpeg(9))
    changed = of(tmp_path / "one")
    (tmp_path / "one" / "1.jpg").rename(tmp_path / "one" / "2.jpg")
    assert len({frozenset(keys) for keys in (first, changed, of(tmp_path / "one"))}) == 3


def test_asset_packs_count_by_the_bytes_that_are_used(tmp_path: Path) -> None:
    def of(url: str, **shares: float) -> set[str]:
        return set(keys(synthetic(wardrobe={"assets": url} | shares)).values())

    folder = tiny_pack.put(tmp_path / "folder", tiny_pack.contents())
    zipped = tiny_pack.zipped(tmp_path / "pack.zip", tiny_pack.contents())
    before = of(folder)
    assert before == of(zipped) == of(f"file://{folder}")
    assert before.isdisjoint(keys(synthetic()).values())
    assert before.isdisjoint(of(folder, dressed=0.1))
    assert keys(synthetic()) == keys(
        synthetic(wardrobe={"dressed": 0.1})
    )  # nothing to be dressed in
    texture = tmp_path / "folder" / "skins" / "textures" / "male.png"
    texture.write_bytes(texture.read_bytes() + b"\n")
    assert before.isdisjoint(of(folder))


def test_the_spelling_of_a_path_changes_neither_names_nor_bytes(tmp_path: Path) -> None:
    """Also where pictures are missing, broken or unreadable: what a shard says of them names no folder."""
    content = document([picture(n) for n in range(1, 6)], [person(10 * n, n) for n in range(1, 6)])
    whole = {f"{n:04d}.jpg": jpeg(n) for n in (1, 2)} | {"0003.jpg": b"none"}
    built = []
    for name in ("a", "b c"):
        (tmp_path / name).mkdir()
        lay_out(tmp_path / name, content, whole)
        (tmp_path / name / "0004.jpg").mkdir()
        url = str(tmp_path / f"set-{name}")
        built.append(run(photographs(tmp_path / name), url).dataset)
        assert built[-1] is not None
        assert len(built[-1].shards[0].quarantine) + len(built[-1].shards) > 1
    spelt = photographs(tmp_path / "a").model_copy(
        update={"images": f"file://{tmp_path}/b c/../a/"}
    )
    assert keys(spelt) == keys(photographs(tmp_path / "b c"))
    assert every_object(str(tmp_path / "set-a")) == every_object(str(tmp_path / "set-b c"))


def test_hash_seed_and_folder_do_not_matter(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]; import test_plan as t, json;"
        "print(json.dumps(sorted(t.keys(t.synthetic()).values())))"
    )
    expected = sorted(keys(synthetic()).values())
    for seed in ("1", "77"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
        assert json.loads(done.stdout.splitlines()[-1]) == expected


# Why a shard is to be made.


def reasons(recipe: Recipe, url: str) -> list[set[str]]:
    planned = build.plan(recipe, url)
    return [set(lines) for lines in planning.reasons(planned).values()]


def test_a_plan_says_why_each_shard_is_to_be_made(pictures: Path, tmp_path: Path) -> None:
    url = str(tmp_path / "set")
    recipe = photographs(pictures)
    first = reasons(recipe, url)
    assert first
    assert all(lines == {"new"} for lines in first)
    run(recipe, url)
    assert reasons(recipe, url) == []
    resized = reasons(photographs(pictures, image_px=64), url)
    assert len(resized) == len(first)
    assert all(lines == {"settings.image_px: 48 -> 64"} for lines in resized)
    two = reasons(photographs(pictures, image_px=64, context=1.5), url)
    assert all(len(lines) == 2 for lines in two)


def test_a_plan_names_a_raised_stage_and_a_changed_file(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = str(tmp_path / "set"), tmp_path / "coco"
    folder.mkdir()
    small_set(folder, 24)
    run(photographs(folder), url)
    (folder / "0003.jpg").write_bytes(jpeg(99))
    (only,) = reasons(photographs(folder), url)
    (line,) = only
    assert line.startswith("files.images.3 0003.jpg: ")
    version = produce.STAGES["coco"]
    monkeypatch.setitem(produce.STAGES, "coco", 9)
    raised = reasons(photographs(folder), url)
    assert all(f"stages.coco: {version} -> 9" in lines for lines in raised)


def test_a_place_that_would_be_read_as_a_state_is_refused(pictures: Path, tmp_path: Path) -> None:
    recipe = CocoRecipe.model_validate(
        {"kind": "coco", "name": "c", "images": str(pictures), "image_px": 64}
        | {"annotations": f"{pictures}/persons.json"}
    )
    with pytest.raises(InputError, match="names one state of a dataset"):
        build.plan(recipe, f"{tmp_path}/set@lab")
    assert build.plan(recipe, f"{tmp_path}/me@lab/set").missing


def test_members_that_join_and_shards_that_were_lost_are_told(tmp_path: Path) -> None:
    url, folder = str(tmp_path / "set"), tmp_path / "coco"
    folder.mkdir()
    small_set(folder, 24)
    recipe = photographs(folder, shard_samples=200)
    run(recipe, url)
    small_set(folder, 25)
    (found,) = (lines for lines in reasons(recipe, url) if lines != {"new"})
    assert found == {"members: 2 joined, 0 left"}
    planned = build.plan(recipe, url)
    assert len(planned.unwanted) == 1
    store = Store(url)
    lost = next(job for job in planned.jobs if job.action_key in planned.present)
    for path in store.list_paths(f"shards/{lost.action_key}"):
        (Path(url) / path).unlink()
    (Path(url) / "shards" / lost.action_key).rename(tmp_path / "gone")
    assert {planning.LOST} in reasons(recipe, url)


def test_a_forecast_counts_bytes_hours_and_reasons(pictures: Path, tmp_path: Path) -> None:
    url, recipe = str(tmp_path / "set"), photographs(pictures)
    first = forecast.describe(recipe, build.plan(recipe, url))
    assert first["bytes_from"] == "default"
    assert first["hours"] is None
    assert first["missing_bytes"] == round(48 * forecast.BYTES_PER_PIXEL * 48**2)
    assert any("hours unknown" in line for line in forecast.described("x", first))
    built = run(recipe, url).dataset
    assert built is not None
    assert built.commit.build["made_samples"] == built.rows == 48
    assert built.commit.build["engine"] == "local"
    other = photographs(pictures, jpeg_quality=50)
    second = forecast.describe(other, build.plan(other, url))
    assert second["bytes_from"] == "published"
    assert second["missing_bytes"] == pytest.approx(built.bytes, rel=1e-3)
    seconds = built.commit.build["seconds"]
    assert second["hours"] == pytest.approx(seconds / 3600)
    assert second["reasons"] == {"settings.jpeg_quality: 92 -> 50": len(built.shards)}
    assert len(second["no_longer_wanted"]) == len(built.shards)
    json.dumps(second, allow_nan=False)


def test_the_nearest_shard_is_found_without_comparing_receipts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def of(first: int, last: int) -> ShardKey:
        members = tuple(range(first, last))
        return ShardKey(source="coco", lot="persons", split="train", members=members)

    def receipt(number: int, first: int, last: int) -> ShardReceipt:
        return ShardReceipt(
            action_key=f"{number:064x}",
            key=of(first, last),
            rows=last - first,
            bytes=0,
            root="",
            statistics=Statistics(),
            quarantine=(),
            skeleton="",
            inputs={"settings": {"shard": number}},
        )

    before = planning._Before([receipt(1, 0, 40), receipt(2, 40, 100), receipt(3, 100, 140)])
    job = produce.Job(
        url="", recipe={}, key=of(20, 120), action_key="", inputs={"settings": {}}, samples=100
    )
    compared: list[object] = []
    monkeypatch.setattr(ShardReceipt, "__eq__", lambda *both: bool(compared.append(both)))
    reasons = before.reasons(job)  # of 500 members by each other: a twentieth of a second a shard
    assert reasons == ("members: 40 joined, 0 left", "settings.shard: 2 -> (none)")
    assert not compared
