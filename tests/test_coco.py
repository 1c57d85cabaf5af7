"""COCO persons: the rules select who they say, points stay on their pixels, the broken are named."""

import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import fsspec
import numpy as np
import pytest
from tiny_coco import document, jpeg, lay_out, person, picture, small_set

from schemas.errors import InputError
from schemas.keypoints import Visibility
from schemas.layout import ARRAYS
from schemas.recipes import CocoRecipe, Splits
from schemas.shards import ShardKey, canonical_digest
from workers import coco, images

ALL_TRAIN = Splits(train=1.0, val=0.0, test=0.0)


def recipe(folder: Path, **changes: Any) -> CocoRecipe:
    fields = {"images": str(folder), "annotations": str(folder / "persons.json"), "image_px": 128}
    return CocoRecipe(name="test", **(fields | {"splits": ALL_TRAIN} | changes))


def only_key(index: coco.CocoIndex) -> ShardKey:
    ids = tuple(p.annotation_id for p in index.persons)
    return ShardKey(source="coco", lot="persons", split="train", members=ids)


@pytest.mark.parametrize(("subset", "count"), [("lower_visible", 1088), ("lower_labelled", 1405)])
def test_the_rules_select_the_known_numbers_of_real_persons(
    shared_data: Path, subset: str, count: int
) -> None:
    folder = shared_data / "coco"
    wanted = CocoRecipe(
        name="test",
        images=str(folder / "images"),
        annotations=str(folder / "annotations" / "person_keypoints_lower_dev.json"),
        subset=subset,
        min_box_px=0,
    )
    index = coco.load(wanted)
    assert len(index.persons) == count
    keys = coco.plan(wanted, index)
    members = [m for key in keys for m in key.members]
    assert sorted(members) == sorted(p.annotation_id for p in index.persons)


def test_real_pictures_decode_and_their_joints_lie_in_their_boxes(shared_data: Path) -> None:
    folder = shared_data / "coco"
    wanted = CocoRecipe(
        name="test",
        images=str(folder / "images"),
        annotations=str(folder / "annotations" / "person_keypoints_lower_dev.json"),
        subset="lower_visible",
        shard_samples=60,
    )
    index = coco.load(wanted)
    contents = coco.make_shard(wanted, index, coco.plan(wanted, index)[0])
    assert contents.planned == len(contents.images) >= 30
    arrays = contents.arrays
    x, y, w, h = (arrays["box"][:, i, None] for i in range(4))
    lower = arrays["keypoints"][:, 11:]
    inside = (lower[..., 0] > x - 0.1 * w) & (lower[..., 0] < x + 1.1 * w)
    inside &= (lower[..., 1] > y - 0.1 * h) & (lower[..., 1] < y + 1.1 * h)
    assert inside.mean() > 0.99
    assert np.allclose(np.maximum(w, h), wanted.image_px / wanted.context, rtol=1e-5)


def test_a_keypoint_and_the_box_stay_on_their_pixels(tmp_path: Path) -> None:
    canvas = np.zeros((150, 200, 3), np.uint8)
    canvas[20:130, 50:110] = 90
    cv2.circle(canvas, (80, 100), 3, (255, 255, 255), -1)
    one = person(7, 1)
    one["keypoints"][3 * 13 : 3 * 13 + 2] = [80, 100]
    files = {"0001.jpg": images.encode(canvas, 100)}
    wanted = recipe(
        lay_out(tmp_path, document([picture(1)], [one]), files), image_px=400, jpeg_quality=100
    )
    index = coco.load(wanted)
    contents = coco.make_shard(wanted, index, only_key(index))
    crop = images.decode(contents.images[0]).astype(float).mean(axis=2)
    rows, columns = np.nonzero(crop > 200)
    found = np.array([columns.mean(), rows.mean()])
    assert np.abs(found - contents.arrays["keypoints"][0, 13]).max() < 0.2
    x, y, w, h = contents.arrays["box"][0]
    rows, columns = np.nonzero(crop > 45)
    edges = [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]
    assert (
        np.abs((np.array(edges) - [x, y, x + w, y + h]).mean()) < 0.3
    )  # half a pixel is 1.04 here
    assert np.abs(np.array(edges) - [x, y, x + w, y + h]).max() < 1.2
    assert np.hypot(x + w / 2 - 199.5, y + h / 2 - 199.5) < 1e-3


def test_area_and_affine_follow_the_crop_and_every_array_has_its_layout(tmp_path: Path) -> None:
    wanted = recipe(small_set(tmp_path))
    index = coco.load(wanted)
    contents = coco.make_shard(wanted, index, only_key(index))
    for spec in ARRAYS:
        assert contents.arrays[spec.name].dtype == np.dtype(spec.dtype), spec.name
        assert len(contents.arrays[spec.name]) == 6, spec.name
    scale = 128 / (110 * wanted.context)
    assert np.allclose(contents.arrays["area"], 3000 * scale**2)
    assert np.allclose(contents.arrays["A_crop_from_source"][:, 0, 0], scale)
    assert contents.arrays["q"].shape == (6, 0)
    assert np.isnan(contents.arrays["K"]).all()
    assert contents.arrays["licence"].tolist() == [4] * 6
    assert contents.arrays["group_id"].tolist() == [1, 1, 2, 2, 3, 3]
    assert {images.decode(data).shape for data in contents.images} == {(128, 128, 3)}


def test_v_becomes_visibility_and_an_unlabelled_point_has_no_place(tmp_path: Path) -> None:
    one = person(1, 1)
    one["keypoints"][3 * 11 : 3 * 14] = [0, 0, 0, 66, 99, 1, 66, 98, 2]
    wanted = recipe(lay_out(tmp_path, document([picture(1)], [one]), {"0001.jpg": jpeg()}))
    index = coco.load(wanted)
    arrays = coco.make_shard(wanted, index, only_key(index)).arrays
    told = arrays["keypoint_visibility"][0, 11:14].tolist()
    assert told == [Visibility.UNLABELLED, Visibility.OCCLUDED, Visibility.VISIBLE]
    assert np.isnan(arrays["keypoints"][0]).all(axis=1).nonzero()[0].tolist() == [11]
    assert arrays["occlusion"][0] == pytest.approx(1 / 5)


def test_crowds_small_boxes_foreign_licences_and_missing_legs_stay_out(tmp_path: Path) -> None:
    legless = person(5, 1)
    legless["keypoints"][33:] = [0] * 18
    half = person(6, 1)
    half["keypoints"][33:42] = [0] * 9
    persons = [
        person(1, 1),
        person(2, 1, iscrowd=1),
        person(3, 1, bbox=[50, 20, 60, 31.9]),
        person(4, 2),
        legless,
        half,
        person(7, 1, v=1),
        person(8, 1, category_id=2),
    ]
    content = document([picture(1), picture(2, license=1)], persons)
    lay_out(tmp_path, content, {})

    def chosen(**changes: Any) -> list[int]:
        return [p.annotation_id for p in coco.load(recipe(tmp_path, **changes)).persons]

    assert chosen() == [1, 6, 7, 4]
    assert chosen(min_box_px=0) == [1, 3, 6, 7, 4]
    assert chosen(licences=(4,)) == [1, 6, 7]
    assert chosen(subset="lower_labelled") == [1, 7, 4]
    assert chosen(subset="lower_visible") == [1, 4]


def test_mini_is_a_seeded_draw_that_does_not_depend_on_the_order_of_the_file(
    tmp_path: Path,
) -> None:
    persons = [person(n, n % 5 + 1) for n in range(1, 61)]
    draws = []
    for order in (persons, persons[::-1]):
        lay_out(tmp_path, document([picture(n) for n in range(1, 6)], order), {})
        index = coco.load(recipe(tmp_path, subset="mini", mini_persons=20))
        draws.append([p.annotation_id for p in index.persons])
    other = coco.load(recipe(tmp_path, subset="mini", mini_persons=20, seed=1))
    assert draws[0] == draws[1]
    assert len(draws[0]) == 20
    assert draws[0] != [p.annotation_id for p in other.persons]


def planned(tmp_path: Path, numbers: list[int], **changes: Any) -> list[ShardKey]:
    content = document([picture(n) for n in numbers], [person(7 * n, n) for n in numbers])
    content["annotations"] += [person(7 * n + 1, n) for n in numbers if n % 3]
    lay_out(tmp_path, content, {})
    wanted = recipe(tmp_path, shard_samples=16, **changes)
    return coco.plan(wanted, coco.load(wanted))


def test_a_plan_holds_each_person_once_and_never_divides_an_image(tmp_path: Path) -> None:
    keys = planned(tmp_path, list(range(1, 301)), splits=Splits())
    members = [m for key in keys for m in key.members]
    assert len(members) == len(set(members)) == 500
    home = {m // 7: key for key in keys for m in key.members}
    assert all(home[m // 7] is key for key in keys for m in key.members)
    assert max(len(key.members) for key in keys) <= 17
    shares = {s: sum(len(k.members) for k in keys if k.split == s) / 500 for s in Splits().__dict__}
    assert shares["train"] == pytest.approx(0.7, abs=0.08)
    assert shares["val"] == pytest.approx(0.15, abs=0.08)


def test_an_added_image_changes_its_own_shard_and_seldom_the_next(tmp_path: Path) -> None:
    numbers = list(range(2, 802, 2))
    before = set(planned(tmp_path, numbers))
    assert len(before) > 40
    for extra in (1, 201, 401, 777):
        after = set(planned(tmp_path, sorted([*numbers, extra])))
        assert 1 <= len(after - before) <= 4, extra


def test_broken_entries_are_quarantined_with_reasons_and_the_rest_goes_on(tmp_path: Path) -> None:
    pictures = [picture(n) for n in range(1, 8)] + [picture(8, file_name="../secret.jpg")]
    files = {f"{n:04d}.jpg": jpeg(n) for n in (1, 5, 6)}
    files |= {"0003.jpg": jpeg(3)[:-200], "0004.jpg": jpeg(4, 150, 200), "0007.jpg": b"<html>"}
    persons = [person(n, n) for n in range(1, 5)] + [
        person(5, 5, bbox=[float("nan")] * 4),
        person(6, 6, keypoints=[1, 2, 3]),
        person(7, 7),
        person(8, 8),
        person(9, 99),
        person(10, 1, bbox=[500, 20, 60, 110]),
        person(11, 1),
        person(12, 1, area=None),
    ]
    wanted = recipe(lay_out(tmp_path, document(pictures, persons), files))
    index = coco.load(wanted)
    key = only_key(index)
    contents = coco.make_shard(wanted, index, key)
    assert contents.arrays["sample_id"].tolist() == [1, 11]
    assert {q.sample.split()[1]: q.reason for q in contents.quarantine} == {
        "10": "bad_box",
        "12": "bad_area",
        "2": "missing_image",
        "3": "truncated_jpeg",
        "4": "size_mismatch",
        "5": "bad_box",
        "6": "bad_keypoints",
        "7": "not_an_image",
        "8": "bad_file_name",
        "9": "missing_image",
    }
    assert contents.planned == 12 == len(contents.images) + len(contents.quarantine)
    canonical_digest(coco.inputs(index, key))


def test_a_shard_with_nothing_usable_is_empty_but_whole(tmp_path: Path) -> None:
    wanted = recipe(lay_out(tmp_path, document([picture(1)], [person(1, 1)]), {}))
    index = coco.load(wanted)
    contents = coco.make_shard(wanted, index, only_key(index))
    assert (len(contents.images), contents.arrays["box"].shape) == (0, (0, 4))
    assert len(contents.quarantine) == contents.planned == 1


def test_folder_zip_and_memory_give_the_same_shard(tmp_path: Path) -> None:
    wanted = recipe(small_set(tmp_path))
    archive = tmp_path / "pictures.zip"
    memory = fsspec.filesystem("memory")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(tmp_path.glob("*.jpg")):
            file.write(path, f"val/{path.name}")
            memory.pipe(f"/coco/{path.name}", path.read_bytes())
    shards = []
    for url in (str(tmp_path), f"zip://val::file://{archive}", "memory://coco"):
        there = wanted.model_copy(update={"images": url})
        index = coco.load(there)
        shards.append(coco.make_shard(there, index, only_key(index)))
        read = coco.inputs(index, only_key(index))
        assert read == coco.inputs(coco.load(there), only_key(index))
    assert shards[0].images == shards[1].images == shards[2].images
    assert len(shards[0].images) == 6


@pytest.mark.s3
def test_pictures_and_annotations_may_lie_on_s3(tmp_path: Path, s3_bucket: str) -> None:
    here = recipe(small_set(tmp_path))
    fs, _ = fsspec.core.url_to_fs(s3_bucket)
    fs.put([str(p) for p in tmp_path.iterdir()], f"{s3_bucket}/coco/")
    there = here.model_copy(
        update={"images": f"{s3_bucket}/coco", "annotations": f"{s3_bucket}/coco/persons.json"}
    )
    index = coco.load(there)
    key = only_key(index)
    before = coco.inputs(index, key)
    assert index.folder.identity("0001.jpg").startswith("ETag:")
    anew = coco.load(there)
    assert (
        coco.make_shard(there, anew, key).images
        == coco.make_shard(here, coco.load(here), key).images
    )
    assert coco.inputs(anew, key) == before
    fs.pipe(f"{s3_bucket}/coco/0001.jpg", jpeg(5))
    assert coco.inputs(coco.load(there), key) != before
    with pytest.raises(InputError, match="nowhere"):
        coco.load(there.model_copy(update={"images": f"{s3_bucket}/nowhere"}))


def test_inputs_tell_a_changed_picture_and_a_changed_annotation(tmp_path: Path) -> None:
    wanted = recipe(small_set(tmp_path))

    def identity() -> str:
        index = coco.load(wanted)
        return canonical_digest(coco.inputs(index, only_key(index)))

    first = identity()
    assert identity() == first
    (tmp_path / "0002.jpg").write_bytes(jpeg(77))
    second = identity()
    content = json.loads((tmp_path / "persons.json").read_text())
    content["annotations"][0]["keypoints"][0] += 1
    (tmp_path / "persons.json").write_text(json.dumps(content))
    assert len({first, second, identity()}) == 3


def test_a_key_planned_with_another_file_is_refused(tmp_path: Path) -> None:
    wanted = recipe(small_set(tmp_path))
    key = ShardKey(source="coco", lot="persons", split="train", members=(10, 12345))
    with pytest.raises(InputError, match="12345"):
        coco.make_shard(wanted, coco.load(wanted), key)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[]", "no COCO document"),
        ('{"images": [], "annotations": []}', "has no categories"),
        (json.dumps(document([], [person(1, 1), {"id": 3}])), "without sound ids"),
        (json.dumps(document([], [person(1, 1) | {"id": None}])), "without sound ids"),
        (json.dumps(document([picture(1) | {"id": "x"}], [person(1, 1)])), "without sound ids"),
        (json.dumps(document([picture(1)], [{"id": 1, "image_id": 1, "category_id": 1}])), "keyp"),
        (json.dumps(document([picture(1)], [person(1, 1), person(1, 1)])), "share one id"),
        (json.dumps(document([picture(1)], [person(1, 1, v=0)])), "no person satisfies"),
        (
            json.dumps(document([], [person(1, 1)]) | {"categories": [{"id": 1, "name": "dog"}]}),
            "no category",
        ),
    ],
)
def test_an_unusable_annotation_file_is_refused_in_words(
    tmp_path: Path, text: str, why: str
) -> None:
    (tmp_path / "persons.json").write_text(text)
    with pytest.raises(InputError, match=why):
        coco.load(recipe(tmp_path))


def test_unreachable_urls_are_refused_by_name(tmp_path: Path) -> None:
    small_set(tmp_path)
    with pytest.raises(InputError, match=r"absent\.json"):
        coco.load(recipe(tmp_path, annotations=str(tmp_path / "absent.json")))
    for url in (str(tmp_path / "nowhere"), f"zip://val::{tmp_path}/no.zip", "nosuch://x"):
        with pytest.raises(InputError, match=r"folder|pictures"):
            coco.load(recipe(tmp_path, images=url))


def test_reading_an_annotation_file_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco.load(recipe(small_set(tmp_path), seed=41))
    assert capsys.readouterr().out == ""
