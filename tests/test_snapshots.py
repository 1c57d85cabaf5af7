"""What a build has made is listed while it runs: readers pass over it, the next build resumes; rivals are told."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_coco import small_set
from tiny_recipes import photographs, run

from pipeline import build, forecast
from pipeline.__main__ import main
from pipeline.executor import LocalExecutor
from schemas import leases, manifest, objects
from schemas.errors import InputError
from schemas.store import Store
from workers import produce


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lays out a COCO of 24 pictures."""
    return small_set(tmp_path_factory.mktemp("coco"), 24)


class Stopping:
    """Runs a few jobs, then raises."""

    def __init__(self, jobs: int, error: BaseException) -> None:
        self.jobs, self.error = jobs, error

    def map(self, function: Callable[[Any], Any], jobs: Any) -> Iterator[Any]:
        for count, job in enumerate(jobs):
            if count == self.jobs:
                raise self.error
            yield function(job)


class Watching:
    """Runs jobs and shows the store's state after each."""

    def __init__(self, look: Callable[[], None]) -> None:
        self.look = look

    def map(self, function: Callable[[Any], Any], jobs: Any) -> Iterator[Any]:
        for job in jobs:
            yield function(job)
            self.look()


def stopped(recipe: Any, url: str, jobs: int, error: BaseException) -> None:
    planned = build.plan(recipe, url)
    with pytest.raises(type(error)):
        build.build(recipe, url, planned, Stopping(jobs, error), lambda *_: None)


def commits(url: str) -> list[manifest.Commit]:
    return [manifest.read_commit(url, n) for n in manifest.commit_numbers(url)]


def test_what_is_made_is_listed_while_the_build_runs(pictures: Path, tmp_path: Path) -> None:
    url, recipe = str(tmp_path / "set"), photographs(pictures)
    seen: list[int] = []

    def look() -> None:
        seen.append(commits(url)[-1].shards)
        with pytest.raises(InputError, match="holds only an unfinished build"):
            manifest.open_dataset(url)

    planned = build.plan(recipe, url)
    built = build.build(recipe, url, planned, Watching(look), lambda *_: None, snapshot_minutes=0.0)
    assert seen == list(range(1, len(planned.jobs) + 1))
    assert built.others == ()
    found = commits(url)
    assert [c.complete for c in found] == [False] * len(seen) + [True]
    assert found[-1].build["made_samples"] == 48
    assert manifest.open_dataset(url) == built.dataset


def test_within_the_interval_nothing_is_listed(pictures: Path, tmp_path: Path) -> None:
    url = str(tmp_path / "set")
    run(photographs(pictures), url)
    assert [c.complete for c in commits(url)] == [True]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputError("x", "full", "y"), OSError("z")])
def test_an_end_before_time_lists_what_was_made_and_readers_keep_the_old_state(
    pictures: Path, tmp_path: Path, error: BaseException
) -> None:
    url = str(tmp_path / "set")
    old = run(photographs(pictures), url).dataset
    recipe = photographs(pictures, image_px=64)
    stopped(recipe, url, 2, error)
    assert [(c.complete, c.last_complete) for c in commits(url)] == [(True, 0), (False, 0)]
    assert manifest.open_dataset(url) == old
    assert leases.held(url) == []
    again = run(recipe, url)
    direct = run(recipe, str(tmp_path / "direct"))
    assert again.dataset is not None
    assert direct.dataset is not None
    assert again.made == direct.made - 2
    assert again.dataset.dataset_id == direct.dataset.dataset_id


def test_a_resumed_build_reads_one_manifest_and_no_shard(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, recipe = str(tmp_path / "set"), photographs(pictures)
    stopped(recipe, url, 3, KeyboardInterrupt())
    monkeypatch.setattr(produce, "recall", lambda job: pytest.fail(f"read {job.key}"))
    assert len(build.plan(recipe, url).present) == 3


def test_shards_that_no_manifest_names_are_recalled_and_listed(
    pictures: Path, tmp_path: Path
) -> None:
    """As after a SIGKILL: no last words."""
    url, recipe = str(tmp_path / "set"), photographs(pictures)
    jobs = produce.plan(recipe, url)
    for job in jobs[:2]:
        produce.produce(job)
    planned = build.plan(recipe, url)
    assert planned.recalled == {job.action_key for job in jobs[:2]}
    stopped(recipe, url, 0, KeyboardInterrupt())
    assert [c.shards for c in commits(url)] == [2]
    assert build.plan(recipe, url).recalled == frozenset()


def test_stopping_twice_without_news_lists_nothing(pictures: Path, tmp_path: Path) -> None:
    url, recipe = str(tmp_path / "set"), photographs(pictures)
    for _ in range(2):
        stopped(recipe, url, 0, KeyboardInterrupt())
    assert commits(url) == []
    stopped(recipe, url, 1, KeyboardInterrupt())
    stopped(recipe, url, 0, KeyboardInterrupt())
    assert len(commits(url)) == 1


def test_a_store_that_refuses_the_listing_does_not_hide_why_the_build_ended(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, recipe = str(tmp_path / "set"), photographs(pictures)

    def full(*_: Any, **__: Any) -> Any:
        raise InputError(url, "the disk is full", "free some")

    monkeypatch.setattr(manifest, "publish", full)
    stopped(recipe, url, 2, KeyboardInterrupt())


def test_a_rival_that_publishes_meanwhile_stays_in_the_chain_and_is_told(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, mine, theirs = (
        str(tmp_path / "set"),
        photographs(pictures),
        photographs(pictures, image_px=64),
    )
    planned = build.plan(mine, url)
    rival = run(theirs, url).dataset
    built = build.build(mine, url, planned, LocalExecutor(), lambda *_: None)
    assert built.dataset is not None
    assert built.others == (0,)
    assert (built.dataset.number, built.dataset.commit.parent) == (1, rival and rival.dataset_id)
    assert manifest.open_dataset(url) == built.dataset
    assert manifest.open_dataset(f"{url}@0") == rival


def test_rivals_of_one_recipe_end_in_one_state(pictures: Path, tmp_path: Path) -> None:
    url, recipe = str(tmp_path / "set"), photographs(pictures)
    planned = build.plan(recipe, url)
    first = run(recipe, url)
    second = build.build(recipe, url, planned, LocalExecutor(), lambda *_: None)
    assert first.dataset is not None
    assert second.dataset is not None
    assert second.made == first.made
    assert second.others == (0,)
    assert second.dataset == first.dataset
    assert len(commits(url)) == 1


def test_the_command_tells_of_a_rival(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, real = str(tmp_path / "set"), build.build

    def raced(*arguments: Any, **options: Any) -> build.Built:
        theirs = photographs(pictures, image_px=64)
        real(theirs, url, build.plan(theirs, url), LocalExecutor(), lambda *_: None)
        return real(*arguments, **options)

    monkeypatch.setattr(build, "build", raced)
    words = [f"images={pictures}", f"annotations={pictures}/persons.json", "image_px=48"]
    sets = [part for word in words for part in ("--set", word)]
    assert main(["build", "coco_lower", "--to", url, "--engine", "local", *sets]) == 0
    said = capsys.readouterr().err
    assert "published on top of commit 0, made by another build meanwhile" in said


def test_a_lease_names_what_the_build_wants_while_it_runs(pictures: Path, tmp_path: Path) -> None:
    url, recipe = str(tmp_path / "set"), photographs(pictures)
    planned = build.plan(recipe, url)
    wanted = {job.action_key for job in planned.jobs}
    seen: list[bool] = []

    def look() -> None:
        (lease,) = leases.held(url)
        seen.append(lease.wanted == wanted)
        (told,) = forecast.status(url)["running"]
        assert told["shards"] == len(wanted)

    build.build(recipe, url, planned, Watching(look), lambda *_: None)
    assert seen
    assert all(seen)
    assert leases.held(url) == []


def test_what_was_swept_after_the_plan_is_made_again(pictures: Path, tmp_path: Path) -> None:
    url, recipe = str(tmp_path / "set"), photographs(pictures)
    jobs = produce.plan(recipe, url)
    produce.produce(jobs[0])
    planned = build.plan(recipe, url)
    assert len(planned.present) == 1
    store = Store(url)
    for path in store.list_paths("shards"):
        (Path(url) / path).unlink()
    for folder in sorted((Path(url) / "shards").rglob("*"), reverse=True):
        folder.rmdir()
    built = build.build(recipe, url, planned, LocalExecutor(), lambda *_: None)
    assert built.made == len(jobs)


class Counting:
    """Counts the operations of a store."""

    def __init__(self, inner: objects.Objects) -> None:
        self.inner, self.calls = inner, list[str]()

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.calls.append(f"{name} {arguments[0]}")
            return getattr(self.inner, name)(*arguments)

        return call


def test_a_build_that_has_nothing_to_do_asks_the_store_a_fixed_number_of_times(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for samples in (4, 24):
        url, recipe = str(tmp_path / str(samples)), photographs(pictures, shard_samples=samples)
        run(recipe, url)
        counting = Counting(objects.open_objects(url))
        with monkeypatch.context() as patch:
            patch.setattr(objects, "open_objects", lambda url, held=counting: held)
            assert run(recipe, url).made == 0
        counts.append([call.split()[0] for call in counting.calls])
        assert not any(call.startswith("get shards") for call in counting.calls)
    assert counts[0] == counts[1]
    assert len(counts[0]) <= 16


def test_status_says_where_a_dataset_stands(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, recipe = str(tmp_path / "set"), photographs(pictures)
    with pytest.raises(InputError, match="holds no dataset and no build"):
        forecast.status(url)
    assert not Path(url).exists()
    Store(url).put_bytes(f"shards/{'a' * 64}/zarr.json", b"{}")
    assert "1 shards made or begun" in forecast.standing(forecast.status(url))[0]
    stopped(recipe, url, 1, KeyboardInterrupt())
    found = forecast.status(url)
    assert found["head"] is None
    assert [c["shards"] for c in found["unfinished"]] == [1]
    built = run(recipe, url).dataset
    assert built is not None
    stopped(photographs(pictures, image_px=64), url, 2, KeyboardInterrupt())
    found = forecast.status(url)
    assert (found["head"]["number"], found["head"]["rows"]) == (1, 48)
    assert (found["unfinished_commits"], found["unfinished"][0]["shards"]) == (1, 2)
    words = ["image_px=64", f"images={pictures}", f"annotations={pictures}/persons.json"]
    sets = [part for word in [*words, "shard_samples=8"] for part in ("--set", word)]
    assert main(["status", url, "--recipe", "coco_lower", "--json", *sets]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert plan["missing_shards"] == plan["shards"] - 2
    assert main(["status", url, "--recipe", "coco_lower", *sets]) == 0
    text = capsys.readouterr().out
    assert "commit 1 of" in text
    assert "unfinished, newest of 1 since" in text
    assert f"{plan['missing_shards']} x settings.image_px: 48 -> 64" in text


def test_a_manifest_that_was_deleted_is_put_back_by_the_next_build(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url, recipe = str(tmp_path / "set"), photographs(pictures)
    before = run(recipe, url).dataset
    assert before is not None
    Store(url).objects.delete(manifest.manifest_path(before.dataset_id))
    with pytest.raises(InputError, match="is missing"):
        manifest.open_dataset(url)
    again = run(recipe, url)
    assert (again.made, again.others) == (0, ())
    assert "every shard is looked at" in caplog.text
    assert manifest.open_dataset(url) == before


def test_a_build_that_a_scheduler_stops_ends_as_by_ctrl_c(pictures: Path, tmp_path: Path) -> None:
    """It lists what it has, and gives its lease back."""
    url = str(tmp_path / "set")
    program = (
        "import os, signal, sys\n"
        "from pipeline.__main__ import main\n"
        "from workers import produce\n"
        "real, made = produce.produce, []\n"
        "def last(job):\n"
        "    if made:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    made.append(real(job))\n"
        "    return made[-1]\n"
        "produce.produce = last\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = [f"images={pictures}", f"annotations={pictures / 'persons.json'}"]
    words += ["min_box_px=0", "shard_samples=8"]
    sets = [part for word in words for part in ("--set", word)]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "build",
            "coco_lower",
            "--to",
            url,
            "--engine",
            "local",
            *sets,
        ],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert (done.returncode, "the same command goes on" in done.stderr) == (130, True), done.stderr
    assert [commit.complete for commit in commits(url)] == [False]
    assert leases.held(url) == []
