"""What a stranger wrote into a dataset, or a power failure cut off, ends in a line a person reads and no traceback."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_history import publish

from pipeline import forecast, recipes, transfer
from pipeline.__main__ import main
from schemas import manifest, statistics
from schemas.errors import InputError
from schemas.manifest import commit_path
from schemas.statistics import Histogram, Statistics
from schemas.store import Store

ROOT = Path(__file__).parents[1]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Returns a dataset of one state."""
    url = str(tmp_path / "set")
    publish(url, 1, 2)
    return url


def rewrite(url: str, **values: Any) -> None:
    """Changes what the newest commit says."""
    path = commit_path(manifest.commit_numbers(url)[-1])
    document = json.loads(Store(url).get_bytes(path)) | values
    Store(url).put_bytes(path, json.dumps(document).encode())


def refused(url: str, *words: str) -> str:
    """Runs a command that must refuse; returns what it says."""
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("pipeline.__main__.say", lambda text, error=False: said.append(str(text)))
        assert main([words[0], url, *words[1:]]) == 2
    return said[-1]


def test_a_terminal_is_not_obeyed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(url, created="\x1b[2J\r2026", recipe={"name": "\x07bell"})
    for command in ("log", "status", "info"):
        assert main([command, url]) == 0
        out = capsys.readouterr().out
        assert "?[2J?2026" in out
        assert not {"\x1b", "\r", "\x07"} & set(out)


def test_nobody_who_reads_on_is_no_traceback(url: str) -> None:
    command = [sys.executable, "-m", "pipeline", "log", url]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (1, b"")


@pytest.mark.parametrize("folder", ["skeletons", "models"])
def test_what_is_missing_beside_the_shards_is_named(url: str, folder: str) -> None:
    paths = Store(url).list_paths(folder)
    for path in paths:
        Store(url).objects.delete(path)
    name = paths[0].split("/")[1].split(".")[0]
    store = Store(url)
    read = store.read_skeleton if folder == "skeletons" else store.read_model
    with pytest.raises(InputError, match=f"{paths[0]}: is missing. Run .*verify --delete-bad"):
        read(name)


def test_a_missing_object_is_named_in_one_line(url: str) -> None:
    with pytest.raises(FileNotFoundError) as found:
        Store(url).get_bytes("no/such")
    assert str(found.value) == f"{url}/no/such"


def test_a_commit_that_is_cut_short_is_passed_over(tmp_path: Path, url: str) -> None:
    there = str(tmp_path / "copy")
    transfer.copy(url, there, tags=True)
    for place in (url, there):
        Store(place).put_bytes(commit_path(1), b'{"numb')
    head = forecast.status(url)["head"]
    assert head is not None
    assert head["number"] == 0
    source = manifest.open_dataset(f"{url}@0")
    found = transfer._published(there, source)
    assert found is not None
    assert found.number == 0


def test_a_rate_that_is_no_number_is_passed_over(url: str) -> None:
    rewrite(url, build={"made_samples": "x", "seconds": 3}, recipe={"kind": "synth"})
    recipe = recipes.load("squat_small", [])
    dataset = manifest.open_dataset(url)
    planned = type("Planned", (), {"published": dataset, "head": 0})()
    assert forecast._rate(recipe, planned) is None


@pytest.mark.parametrize("motions", ["x", ["x"], {"squat": "x"}, None])
def test_lots_that_are_none_are_left_out(url: str, motions: Any) -> None:
    rewrite(url, recipe={"motions": motions})
    assert manifest.open_dataset(url).lots == {}
    assert "holds no clips" in refused(url, "export", "--video", "unused")


@pytest.mark.parametrize("fps", ["x", None, 0, 1e9])
def test_clips_of_no_rate_are_refused(url: str, fps: Any) -> None:
    rewrite(url, recipe={"motions": {"squat": {"clip": True, "fps": fps}}})
    assert "frames a second" in refused(url, "export", "--video", "unused")


@pytest.mark.parametrize("line", ["knee deg 0 0 1 2", "knee", "knee m 99 0 1.0 2.0 1"])
def test_statistics_that_nobody_wrote_are_refused(
    url: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_written", lambda *_: line)
    publish(url, 5)
    monkeypatch.undo()
    assert "statistics" in refused(url, "info")


def test_statistics_that_do_not_add_up_are_refused(url: str) -> None:
    published = manifest.open_dataset(url)
    held = [
        {"knee": Histogram(unit=unit, counts=(1,), least=0.0, most=0.0)} for unit in ("m", "deg")
    ]
    shards = tuple(
        dataclasses.replace(shard, statistics=Statistics(histograms=each))
        for shard, each in zip(published.shards, held, strict=True)
    )
    with pytest.raises(InputError, match="do not add up"):
        _ = dataclasses.replace(published, shards=shards).statistics


@pytest.mark.parametrize(
    "word", ["seed=" + "[" * 3000, "seed=2020-13-45", "seed=!!bool x", "seed=" + "9" * 5000]
)
def test_values_that_are_no_yaml_are_refused(word: str) -> None:
    with pytest.raises(InputError, match="is not YAML") as found:
        recipes.load("squat_small", [word])
    assert len(str(found.value)) < 400


def test_paths_of_lots_mean_the_same_on_every_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["motions.lab={trc: a.trc, static: b.trc, model: c.osim, subjects: 1}"]
    lot = recipes.load("squat_small", words).model_dump()["motions"]["lab"]
    assert [lot[key] for key in ("trc", "static", "model")] == [
        str(tmp_path / name) for name in ("a.trc", "b.trc", "c.osim")
    ]
