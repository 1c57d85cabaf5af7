"""What info, preview and plan say of a dataset is what its arrays hold; shards that statistics rule out stay unread."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_datasets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import charts, coverage, overlay, report
from pipeline.__main__ import main
from schemas.errors import InputError
from schemas.manifest import Dataset, open_dataset
from schemas.quantities import Rows, catalogue
from schemas.shards import ShardReceipt
from schemas.statistics import total
from workers import osim, quality


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Publishes two lots of three subjects, four frames each."""
    url, model = str(tmp_path_factory.mktemp("set")), osim.read_model("default")
    return small_datasets.publish_synth(url, model, {"film": True, "still": False})


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Dataset:
    recipe = small_datasets.coco_recipe(shared_data, shard_samples=40, image_px=64)
    return small_datasets.publish_coco(str(tmp_path_factory.mktemp("photos")), recipe)


def every_value(dataset: Dataset, shard: ShardReceipt) -> dict[str, Any]:
    """Computes all quantities of a shard from all its arrays."""
    attributes = dataset.store.read_attributes(shard.action_key)
    spec = dataset.store.read_skeleton(shard.skeleton) if shard.skeleton else None
    found = catalogue(spec, attributes["tables"])
    names = sorted({name for q in found.values() for name in q.needs})
    arrays = dataset.store.read_arrays(shard.action_key, names)
    rows = Rows(
        arrays=arrays,
        tables=attributes["tables"],
        spec=spec,
        lot=shard.key.lot,
        split=shard.key.split,
    )
    return {name: q.of(rows) for name, q in found.items()}


def test_the_statistics_of_the_shards_add_up_to_those_of_all_samples(dataset: Dataset) -> None:
    merged = dataset.statistics
    for name in ("knee_flexion", "camera_yaw", "hip_adduction_l", "stature"):
        values = np.concatenate([every_value(dataset, s)[name] for s in dataset.shards])
        known = values[np.isfinite(values)]
        held = merged.histograms[name]
        assert held.total == len(known)
        if len(known):
            inside, _ = np.histogram(known, [*held.edges[:-1], np.inf])
            assert tuple(inside) == held.counts
    assert merged.names["motion.name"] == {"squat": 24}
    assert total([s.statistics for s in reversed(dataset.shards)]) == merged


ends = st.sampled_from([-200.0, -5.0, 0.0, 5.0, 17.2, 34.4, 40.0, 51.6, 60.0, 1.7])
asked = st.builds(
    lambda name, op, end: f"{name} {op} {end}",
    st.sampled_from(["knee_flexion", "hip_flexion_l", "stature", "camera_yaw", "phase", "age"]),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    ends,
) | st.sampled_from(
    ["lot == film", "split != train", "sex == male", "motion.name in (squat)", "not movement == x"]
)
texts = st.lists(asked, min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([" and ", " or ", " and not "]).map(lambda w: w.join(parts))
)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(texts)
def test_counting_with_statistics_is_counting_every_sample(dataset: Dataset, text: str) -> None:
    parsed = coverage.ask(dataset, text)
    true = {
        s.action_key: int(parsed.matches(every_value(dataset, s).__getitem__).sum())
        for s in dataset.shards
    }
    found = coverage.count(dataset, parsed)
    assert found["matching"] == sum(true.values())
    assert sum(e["matching"] for e in found["lots"].values()) == sum(true.values())
    assert found["shards"]["read"] + found["shards"]["by_statistics"] == len(dataset.shards)
    shown = coverage.examples(dataset, parsed, 1000)
    assert len({(e["shard"], e["row"]) for e in shown}) == len(shown) <= sum(true.values())
    assert bool(shown) == bool(sum(true.values()))


def test_shards_that_cannot_match_or_match_whole_are_not_read(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = overlay.read_arrays

    def watched(dataset: Dataset, shard: ShardReceipt, names: Any) -> Any:
        read.extend(names)
        return whole(dataset, shard, names)

    monkeypatch.setattr(overlay, "read_arrays", watched)
    for text, matching in (("knee_flexion > 90", 0), ("knee_flexion < 90 and lot == film", 12)):
        found = coverage.count(dataset, coverage.ask(dataset, text))
        assert (found["matching"], found["shards"]["read"]) == (matching, 0)
    assert read == []
    found = coverage.count(dataset, coverage.ask(dataset, "knee_flexion > 30 and stature > 1"))
    assert found["shards"]["read"] == 6
    assert set(read) == {"anthropometry", "q"}


def test_a_shard_that_is_not_what_its_receipt_says_is_refused(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "read_arrays", lambda *_: {"q": np.zeros((1, 99))})
    with pytest.raises(InputError, match="other samples than its receipt says"):
        coverage.count(dataset, coverage.ask(dataset, "knee_flexion > 30"))


def test_photographs_have_what_pictures_have(photos: Dataset) -> None:
    found = coverage.count(photos, coverage.ask(photos, "box_height > 20 and lower_visible == 6"))
    heights = [every_value(photos, s)["box_height"] for s in photos.shards]
    assert found["matching"] == sum(int((h > 20).sum()) for h in heights)
    with pytest.raises(InputError, match="no quantity"):
        coverage.ask(photos, "knee_flexion > 3")


def test_the_table_reads_as_numbers_and_bars(dataset: Dataset) -> None:
    lines = coverage.lines(dataset)
    knee = next(line for line in lines if line.startswith("knee_flexion "))
    assert re.search(r"deg +0 .* 51\.\d  .*█", knee)
    assert not any(line.startswith("knee_angle_r ") for line in lines)
    assert any(line.startswith("knee_angle_r ") for line in coverage.lines(dataset, every=True))
    assert any(line.startswith("motion.name") and "squat 24" in line for line in lines)
    numbers = coverage.table(dataset.statistics)["knee_flexion"]
    assert numbers["min"] <= numbers["p5"] <= numbers["median"] <= numbers["p95"] <= numbers["max"]


def test_the_command_answers_in_json_and_refuses_in_a_paragraph(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["info", dataset.url, "--query", "knee_flexion > 30 and lot == still", "--json"]
    assert main([*words, "--examples", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["matching"] == 6
    assert len(found["examples"]) == 2
    assert found["examples"][0]["values"]["knee_flexion"] > 30
    assert main(["info", dataset.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["quantities"]["camera_pitch"]["unit"] == "deg"
    assert main(["info", dataset.url, "--query", "knee_flexoin > 30"]) == 2
    assert "Did you mean knee_flexion" in capsys.readouterr().err


def test_the_page_holds_the_samples_that_pairs_are_plotted_from(dataset: Dataset) -> None:
    text = charts.explorer(dataset)
    assert text is not None
    assert "<" not in text
    document = json.loads(text)
    assert document["rows"] == document["of"] == 24
    columns = {c["name"]: c for c in document["columns"]}
    knee = columns["knee_flexion"]
    codes = np.frombuffer(base64.b64decode(knee["data"]), np.uint8)
    values = knee["low"] + codes / 254 * (knee["high"] - knee["low"])
    true = np.concatenate([every_value(dataset, s)["knee_flexion"] for s in dataset.shards])
    np.testing.assert_allclose(np.sort(values), np.sort(true), atol=0.25)
    assert columns["motion.name"]["names"] == ["squat"]


def test_charts_label_round_numbers() -> None:
    for low, high in ((-180.0, 180.0), (0.0, 1.0), (1.3, 2.1), (-0.01, 0.02), (0.0, 9e8), (7, 7.5)):
        found = charts.ticks(low, high)
        assert 2 <= len(found) <= 8
        assert all(low < v < high for v in found)
    assert charts.ticks(-180.0, 180.0) == [-90.0, 0.0, 90.0]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    model = osim.read_model("default")
    spec = osim.read_skeleton(model)
    contents = small_datasets._squat(spec, model, 0, 2)
    contents.tables["motions"] = [{"kind": "</script><script>alert(1)</script>", "n": 1.0}]
    contents.tables["model"] = small_datasets.Store(str(tmp_path)).put_model(model)
    small_datasets.Store(str(tmp_path)).put_skeleton(spec)
    key = small_datasets.ShardKey(source="synth", lot="<i>", split="train", members=(0,))
    receipt = small_datasets.write(str(tmp_path), key, contents, quality.statistics(contents, spec))
    small_datasets.manifest.publish(str(tmp_path), {"kind": "synth", "name": "x"}, [receipt])
    page = Path(report.preview(str(tmp_path), str(tmp_path / "page.html"))).read_text()
    assert "alert(1)</script>" not in page
    assert "<i>" not in page
    assert len(re.findall(r"<script", page)) == 2
    found = open_dataset(str(tmp_path))
    assert coverage.count(found, coverage.ask(found, "movement != squat"))["matching"] == 2
