"""The page says what the manifest holds, stands alone, escapes what it is told, and draws points in place."""

import base64
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_datasets

from pipeline import overlay, report
from schemas import layout, manifest
from schemas.errors import InputError
from schemas.keypoints import Visibility
from schemas.manifest import Dataset, open_dataset
from schemas.shards import Quarantined, ShardContents, ShardKey
from schemas.statistics import Histogram, Statistics
from workers import images, osim


@pytest.fixture(scope="module")
def synth(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    url, model = str(tmp_path_factory.mktemp("synth")), osim.read_model("default")
    return small_datasets.publish_synth(url, model, {"squat": True, "still": False})


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Dataset:
    recipe = small_datasets.coco_recipe(
        shared_data, subset="mini", mini_persons=60, shard_samples=20, image_px=128
    )
    return small_datasets.publish_coco(str(tmp_path_factory.mktemp("photos")), recipe)


@pytest.fixture(scope="module")
def page(synth: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "sub" / "preview.html"
    assert report.preview(synth.url, str(out)) == str(out)
    return out.read_text(encoding="utf-8")


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    sources = re.findall(r'src="([^"]{0,40})', page)
    assert len(sources) == 24 + 1 + 1  # samples, the same without labels, a strip of the clip
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(
        r"<script[^>]*src|<link|@import|url\(|https?://|fetch\(|XMLHttp|import\(", page
    )
    assert "default-src 'none'" in page


def test_the_page_says_what_the_manifest_holds(page: str, synth: Dataset) -> None:
    assert synth.dataset_id in page
    assert "24 samples of synthetic people in 6 shards" in page
    assert "6 of 30 planned samples were not written" in page
    assert "person_not_visible" in page
    assert synth.skeletons[0] in page
    assert "numpy" in page
    assert "fps: 10.0" in page
    assert "squat, subject 0, 4 frames from 0.00 to 0.30 s" in page
    assert re.search(r"squat, subject \d, 0\.30 s, knees L 52° R 52°", page)


def test_names_and_details_are_escaped(page: str) -> None:
    assert "skeletons &lt;on&gt; grey" in page
    assert "&lt;b&gt;3&lt;/b&gt; px" in page
    assert "<on>" not in page
    assert "<b>" not in page


def test_every_inlined_photo_decodes(photos: Dataset, tmp_path: Path) -> None:
    out = Path(report.preview(photos.url, str(tmp_path / "page.html")))
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', out.read_text(encoding="utf-8"))
    pictures = [images.decode(base64.b64decode(text)) for text in found]
    assert len(pictures) == 25
    assert all(picture.std() > 5 for picture in pictures)


def test_counts_are_of_the_images_that_no_split_divides(photos: Dataset, tmp_path: Path) -> None:
    out = Path(report.preview(photos.url, str(tmp_path / "page.html"))).read_text()
    every = [
        photos.store.read_arrays(shard.action_key, ["group_id"])["group_id"]
        for shard in photos.shards
    ]
    count = len(np.unique(np.concatenate(every)))
    assert re.search(rf'class="sum".*<td class="n">60</td><td class="n">{count}</td>', out)


def test_info_is_the_manifest_in_short(synth: Dataset, photos: Dataset) -> None:
    found = report.info(synth.url)
    assert (found["samples"], found["shards"], found["kind"]) == (24, 6, "synth")
    assert found["lots"] == {"squat": 12, "still": 12}
    assert found["quarantined"] == {"person_not_visible": 6}
    assert found["bytes"] == sum(shard.bytes for shard in synth.shards)
    splits = report.info(photos.url)["splits"]
    assert sum(splits.values()) == 60
    assert splits["train"] > splits["val"] > 0


def test_a_contact_sheet_has_its_rows_and_columns(synth: Dataset, tmp_path: Path) -> None:
    for name in ("sheet.png", "sheet.jpg"):
        path = report.contact_sheet(synth.url, str(tmp_path / name), rows=2, cols=5, side=64)
        assert images.decode(Path(path).read_bytes()).shape == (2 * 68 + 4, 5 * 68 + 4, 3)
    with pytest.raises(InputError, match=r"sheet\.gif"):
        report.contact_sheet(synth.url, str(tmp_path / "sheet.gif"), rows=1, cols=1)


def test_the_look_at_a_dataset_is_repeatable_and_shows_every_lot(synth: Dataset) -> None:
    first, second = overlay.pick(synth, 7), overlay.pick(open_dataset(synth.url), 7)
    assert [s.caption for s in first] == [s.caption for s in second]
    assert {s.shard.key.lot for s in overlay.pick(synth, 2)} == {"squat", "still"}
    everything = overlay.pick(synth, 1000)
    assert len({(s.shard.action_key, float(s.arrays["time"])) for s in everything}) == 24


@pytest.mark.parametrize("side", [160, 400])
def test_a_joint_is_drawn_on_its_pixel_and_a_hidden_one_hollow(synth: Dataset, side: int) -> None:
    sample = overlay.pick(synth, 1)[0]
    assert sample.skeleton is not None
    point = np.array([60.0, 100.0])
    for visibility, filled in ((Visibility.VISIBLE, True), (Visibility.SELF_OCCLUDED, False)):
        arrays = sample.arrays | {
            "keypoint_visibility": np.zeros(17, np.uint8),
            "marker_visibility": np.full(sample.skeleton.sizes.m, 4, np.uint8),
            "joint_visibility": np.full(sample.skeleton.sizes.j, 4, np.uint8),
            "joints_px": np.full((sample.skeleton.sizes.j, 2), 1e6),
        }
        arrays["joints_px"][3] = point
        arrays["joint_visibility"][3] = visibility
        drawn = replace(sample, arrays=arrays)
        bare = arrays | {"joint_visibility": np.full(sample.skeleton.sizes.j, 4, np.uint8)}
        plain = overlay.draw(replace(sample, arrays=bare), side)
        changed = np.abs(overlay.draw(drawn, side).astype(int) - plain).max(axis=2) > 30
        rows, columns = np.nonzero(changed)
        expected = (point + 0.5) * side / 160 - 0.5
        assert np.abs([columns.mean(), rows.mean()] - expected).max() < 0.6
        x, y = np.rint(expected).astype(int)
        assert bool(changed[y, x]) is filled


def test_a_dataset_without_a_sample_still_has_its_page(tmp_path: Path) -> None:
    key = ShardKey(source="coco", lot="persons", split="val", members=(4,))
    contents = ShardContents(
        images=[],
        arrays=layout.empty(layout.Sizes(), 0),
        quarantine=(Quarantined(sample="4", reason="missing_image", detail="gone"),),
        planned=1,
    )
    nothing = Statistics(histograms={"occlusion": Histogram.of(np.empty(0), "")})
    receipt = small_datasets.write(str(tmp_path / "set"), key, contents, nothing)
    manifest.publish(str(tmp_path / "set"), {"kind": "coco", "name": "none"}, [receipt])
    page = Path(report.preview(str(tmp_path / "set"), str(tmp_path / "page.html"))).read_text()
    assert "The dataset holds no sample." in page
    assert "1 of 1 planned samples were not written" in page
    assert "No statistics are stored." in page


def test_an_unreachable_dataset_and_an_unwritable_page_are_refused(
    synth: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no published dataset"):
        report.info(str(tmp_path / "empty"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        report.preview(synth.url, str(tmp_path / "file" / "page.html"))
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_a_published_shard_that_is_gone_is_named(synth: Dataset, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(synth.url, broken)
    lost = synth.shards[0].action_key
    shutil.rmtree(broken / "shards" / lost)
    with pytest.raises(InputError, match=lost):
        report.preview(str(broken), str(tmp_path / "page.html"))
