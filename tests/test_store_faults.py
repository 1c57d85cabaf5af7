"""Stores that are busy, slow, full, refuse or lose answers: builds get through, or say in a paragraph why not."""

import itertools
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from quick_builds import quicken, recipe_of, run, whole
from s3_proxy import Decide, Proxy, s3_proxy
from tiny_coco import small_set

from pipeline.__main__ import main
from schemas import manifest, objects

_numbers = itertools.count()


@pytest.fixture
def proxy(_s3: dict[str, str], s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Yields a proxy in front of the S3 server; clients that are opened from now on go through it."""
    # Clients are kept by URL, and what they read from the environment with them.
    objects._backend.cache_clear()
    with s3_proxy(_s3["AWS_ENDPOINT_URL"]) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint)
        yield running
    objects._backend.cache_clear()


@pytest.fixture
def url(proxy: Proxy, s3_bucket: str, tmp_path: Path) -> str:
    """Returns an empty place behind the proxy."""
    return f"{s3_bucket}/{tmp_path.name}-{next(_numbers)}"


def one_in(n: int, fault: str) -> Decide:
    """Lets every n-th request meet a fault."""
    count = itertools.count(1)
    return lambda method, path, before: fault if next(count) % n == 0 else "pass"  # type: ignore[return-value]


PASSING: dict[str, Callable[[], Decide]] = {
    "a storm of 503": lambda: lambda method, path, before: "busy" if before < 2 else "pass",
    "a slow server": lambda: lambda method, path, before: "slow",
    "dropped connections": lambda: one_in(5, "dropped"),
    "lost answers": lambda: one_in(5, "answer lost"),
    "every first answer to a write is lost": lambda: (
        lambda method, path, before: "answer lost" if method == "PUT" and not before else "pass"
    ),
}


@pytest.mark.s3
@pytest.mark.parametrize("storm", PASSING)
def test_what_passes_is_waited_for(
    storm: str, proxy: Proxy, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicken(monkeypatch, serial=False)
    few, more = recipe_of(tmp_path, 3), recipe_of(tmp_path, 5)
    wanted = [run(r, f"memory://{tmp_path}").dataset for r in (few, more)]
    proxy.decide = PASSING[storm]()
    built = [run(recipe, url).dataset for recipe in (few, more)]
    assert {*proxy.met} - {"pass"}
    proxy.decide = lambda method, path, before: "pass"
    for there, here in zip(built, wanted, strict=True):
        assert there is not None
        assert here is not None
        assert there.dataset_id == here.dataset_id
    assert manifest.commit_numbers(url) == [0, 1]
    assert whole(url).dataset_id == whole(f"{url}@1").dataset_id


@pytest.mark.s3
def test_a_commit_whose_answer_was_lost_is_recognised(
    proxy: Proxy, url: str, tmp_path: Path
) -> None:
    """The client asks again, hears that the name is taken, and finds its own write there."""
    commits: list[str] = []

    def lose(method: str, path: str, before: int) -> str:
        if method == "PUT" and "/commits/" in path:
            commits.append(path)
            return "pass" if before else "answer lost"
        return "pass"

    proxy.decide = lose  # type: ignore[assignment]
    dataset = run(recipe_of(tmp_path, 3), url).dataset
    assert dataset is not None
    assert dataset.number == 0
    assert manifest.commit_numbers(url) == [0]
    assert commits


REFUSALS: dict[str, tuple[Decide, str]] = {
    "a clock that is an hour off": (
        lambda method, path, before: "clock skewed",
        "RequestTimeTooSkewed",
    ),
    "credentials that expired": (lambda method, path, before: "token expired", "ExpiredToken"),
}


@pytest.mark.s3
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_is_one_paragraph(
    refusal: str, proxy: Proxy, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy.decide, words = REFUSALS[refusal]
    assert words in refused(tmp_path, url, capsys)


@pytest.mark.s3
def test_a_wrong_secret_is_one_paragraph(
    s3_bucket: str,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "credentials" in refused(tmp_path, f"{s3_bucket}/{tmp_path.name}", capsys)


@pytest.mark.s3
def test_a_bucket_that_is_not_there_is_one_paragraph(
    proxy: Proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "s3://no-such-bucket" in refused(tmp_path, "s3://no-such-bucket/set", capsys)


def refused(folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Plans and builds by the command line; returns the one paragraph that both end with."""
    place = folder / "coco"
    place.mkdir()
    small_set(place, 3)
    said = ""
    for command in (["plan"], ["build", "--engine", "local"]):
        words = ["--set", f"images={place}", "--set", f"annotations={place}/persons.json"]
        assert main([command[0], "coco_lower", "--to", url, *command[1:], *words]) == 2
        said = capsys.readouterr().err.strip()
        assert said.startswith("error: ")
        assert len(said.splitlines()) == 1
        assert "Traceback" not in said
    return said


@pytest.mark.s3
@pytest.mark.parametrize("at", ["first shard", "manifest", "commit"])
def test_credentials_that_expire_in_the_middle_leave_what_a_later_build_goes_on_from(
    at: str, proxy: Proxy, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = {"first shard": "image_offset/", "manifest": "/manifests/", "commit": "/commits/"}[at]
    expired = False

    def expire(method: str, path: str, before: int) -> str:
        nonlocal expired
        expired = expired or (method == "PUT" and place in path)
        return "token expired" if expired else "pass"

    recipe = recipe_of(tmp_path, 3)
    proxy.decide = expire  # type: ignore[assignment]
    folder = tmp_path / "coco-3"
    words = [f"images={folder}", f"annotations={folder}/persons.json", "image_px=64"]
    words = [w for word in [*words, "shard_samples=8"] for w in ("--set", word)]
    status = main(["build", "coco_lower", "--to", url, "--engine", "local", *words])
    said = capsys.readouterr().err
    assert status in (1, 2)
    assert "ExpiredToken" in said
    assert "Traceback" not in said
    proxy.decide = lambda method, path, before: "pass"
    assert main(["build", "coco_lower", "--to", url, "--engine", "local", *words]) == 0
    here = run(recipe, f"memory://{tmp_path}").dataset
    assert here is not None
    assert whole(url).dataset_id == here.dataset_id


@pytest.mark.parametrize("limit", [100, 5_000, 30_000])
def test_a_full_disk_ends_the_build_and_the_next_one_goes_on(limit: int, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: both fail a write half way."""
    recipe, url = recipe_of(tmp_path, 3), str(tmp_path / "set")
    folder = tmp_path / "coco-3"
    words = [f"images={folder}", f"annotations={folder}/persons.json", "image_px=64"]
    words = [w for word in [*words, "shard_samples=8"] for w in ("--set", word)]
    # -B, or bytecode would be cut short and kept.
    command = "-B -m pipeline build coco_lower --engine local --to"
    order = [*command.split(), url, *words]
    done = subprocess.run(
        [sys.executable, *order],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode in (1, 2) if limit < 30_000 else done.returncode == 0
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert "free space" in done.stderr
        assert manifest.find_dataset(url) is None or not manifest.find_commit(url, None).complete  # type: ignore[union-attr]
    here = run(recipe, f"memory://{tmp_path}").dataset
    there = run(recipe, url).dataset
    assert here is not None
    assert there is not None
    assert whole(url).dataset_id == there.dataset_id == here.dataset_id
