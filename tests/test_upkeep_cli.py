"""The commands that look after a dataset say in a few lines what they did, and end with the right status."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_history import every_object, publish, shard

from pipeline.__main__ import main
from schemas.store import Store

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Returns a function that runs one command and returns status, output and errors."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(words)
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Returns a dataset of two states and one stray shard, all written two days ago."""
    url = str(tmp_path / "set")
    publish(url, 1, 2, image_px=192)
    publish(url, 1, (2, 2), 3, image_px=256)
    shard(url, 9)
    for path in (tmp_path / "set").rglob("*"):
        then = path.stat().st_mtime - 48 * 3600
        os.utime(path, (then, then))
    return url


def test_log_has_a_line_per_commit(run: Run, url: str) -> None:
    status, out, _ = run("log", url)
    newest, first = out.splitlines()
    assert status == 0
    assert "6 rows, 3 shards (+2 -1)" in newest
    assert "4 rows, 2 shards (+2 -0)" in first
    assert [e["number"] for e in json.loads(run("log", url, "--json")[1])] == [1, 0]


@pytest.mark.parametrize("command", ["log", "tag"])
def test_a_mistyped_url_is_no_empty_dataset(run: Run, url: str, command: str) -> None:
    status, out, err = run(command, f"{url}s")
    assert (status, out, "holds no published dataset" in err) == (2, "", True)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--grace-hours", "nan"), ("--grace-hours", "1e9"), ("--keep-days", "inf")],
)
def test_spans_that_no_calendar_holds_are_refused(
    run: Run, url: str, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("gc", url, option, value)
    assert f"argument {option}: '{value}' is no number up to 1,000,000" in capsys.readouterr().err


def test_tags_are_made_listed_and_deleted(run: Run, url: str) -> None:
    assert run("tag", url)[1] == "no tags\n"
    assert "is commit 0" in run("tag", url, "paper", "0")[1]
    assert run("tag", url)[1] == "paper: commit 0\n"
    status, _, err = run("tag", url, "paper", "1")
    assert (status, "it names commit 0" in err) == (2, True)
    assert "[paper]" in run("log", url)[1]
    assert run("diff", f"{url}@paper", f"{url}@0")[:2] == (0, "")
    assert run("tag", url, "--delete", "paper")[0] == 0
    assert json.loads(run("tag", url, "--json")[1]) == {}
    assert run("tag", url, "a", "--delete", "b")[0] == 2
    assert run("tag", f"{url}@0", "a")[0] == 2


def test_diff_says_what_and_why(run: Run, url: str) -> None:
    status, out, _ = run("diff", f"{url}@0", url)
    assert status == 1
    for line in (
        "recipe image_px: 192 -> 256",
        "1 shard changed",
        "  1 shard: stages.pose: 1 -> 2",
        "+ synth/squat/train/3+2 (2 rows)",
    ):
        assert line in out.splitlines()
    assert run("diff", url, url)[:2] == (0, "")
    assert json.loads(run("diff", f"{url}@0", url, "--json")[1])["recipe"]


def test_verify_names_what_is_bad_and_deletes_it_where_asked(run: Run, url: str) -> None:
    assert run("verify", url)[0] == run("verify", url, "--quick")[0] == 0
    for path in every_object(url):
        if path.endswith("image/c/0"):
            Store(url).put_bytes(path, b"x")
    for words in ((), ("--quick",)):
        status, out, _ = run("verify", url, *words)
        assert (status, len(out.splitlines())) == (1, 3)
        assert out.count("then build again") == 3
    status, out, _ = run("verify", url, "--delete-bad", "--json")
    told: dict[str, Any] = json.loads(out)
    assert (status, told["deleted"], len(told["bad"])) == (1, 3, 3)


def test_gc_says_first_and_deletes_when_told(run: Run, url: str) -> None:
    before = every_object(url)
    status, out, _ = run("gc", url)
    assert status == 0
    assert "would delete 1 shard, " in out
    assert "add --yes" in out
    assert every_object(url) == before
    assert len(json.loads(run("gc", url, "--keep-last", "1", "--json")[1])["doomed"]) == 4
    status, out, _ = run("gc", url, "--keep-last", "1", "--yes")
    assert (status, "deleted 1 commit, 1 manifest, 2 shards, " in out) == (0, True)
    assert len(run("log", url)[1].splitlines()) == 1
    assert run("verify", url)[0] == 0
    assert run("gc", url, "--grace-hours", "-1")[0] == 2


def test_gc_keeps_what_is_younger_than_the_grace_period(run: Run, url: str) -> None:
    assert "would delete nothing" in run("gc", url, "--grace-hours", "72", "--keep-last", "1")[1]


def test_copy_ends_with_the_same_dataset(run: Run, url: str, tmp_path: Path) -> None:
    run("tag", url, "paper", "0")
    target = str(tmp_path / "copy")
    status, out, _ = run("copy", url, target, "--tags", "--json")
    told = json.loads(out)
    assert (status, told["tags"], told["bad"]) == (0, ["paper"], [])
    assert run("diff", url, target)[0] == run("diff", f"{url}@paper", f"{target}@paper")[0] == 0
    assert "0 objects copied" in run("copy", url, target)[1]


@pytest.mark.parametrize("command", ["log", "tag", "verify", "gc"])
def test_where_nothing_is_nothing_is_made(run: Run, tmp_path: Path, command: str) -> None:
    run(command, str(tmp_path / "mistyped"))
    assert not (tmp_path / "mistyped").exists()
