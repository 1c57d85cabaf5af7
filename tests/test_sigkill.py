"""Builds that are killed at any moment, over and over in one place, leave nothing that the next one cannot mend."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked_builds import Nursery, nursery
from quick_builds import run, whole
from tiny_coco import small_set

from pipeline import recipes
from schemas import manifest
from schemas.errors import InputError

ROUNDS = 30


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.s3)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Returns an empty place."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_bucket')}/{tmp_path.name}"
    return f"file://{tmp_path}/set"


@pytest.fixture
def words(tmp_path: Path) -> Callable[[int], list[str]]:
    """Returns the recipe of a number; every number has its own shards."""
    small_set(tmp_path, 3)
    fixed = [f"images={tmp_path}", f"annotations={tmp_path}/persons.json", "shard_samples=8"]
    return lambda number: [*fixed, "image_px=64", f"jpeg_quality={95 - number}"]


def state(url: str) -> tuple[int, str] | None:
    """Returns what a reader gets, every byte checked."""
    try:
        dataset = whole(url)
    except InputError as error:
        if "holds no published" in str(error) or "only an unfinished" in str(error):
            return None
        raise
    return dataset.number, dataset.dataset_id


def test_killed_builds_are_mended_by_the_next(
    url: str, words: Callable[[int], list[str]], record_property: Callable[[str, Any], None]
) -> None:
    rng, killed, seen = np.random.default_rng(0), 0, [state(url)]
    with nursery() as builds:
        reach = 2.0 * min(timed(builds, f"{url}-{n}", words(60)) for n in range(3))
        for turn in itertools.count():
            if turn >= ROUNDS and killed > ROUNDS / 3:
                break
            pids = [builds.start(url, words(turn // 3)) for _ in range(1 + turn % 2)]
            time.sleep(float(rng.uniform(0.0, reach)))
            for pid in pids:
                builds.kill(pid)
            ended = [builds.wait(pid) != -9 for pid in pids]
            killed += ended.count(False)
            # Half of the kills shall come in time on any machine; where too few did there are more rounds.
            reach *= 0.8 if all(ended) else 1.1
            seen.append(state(url))
        last = words((turn - 1) // 3)
        pid = builds.start(url, last)
        assert builds.wait(pid) == 0
    record_property("rounds, killed, commits", (turn, killed, len(manifest.commit_numbers(url))))
    complete = [entry for entry in seen if entry]
    assert complete == sorted(complete, key=lambda entry: entry[0])
    wanted = run(recipes.load("coco_lower", last), f"memory://{url}").dataset
    assert wanted is not None
    assert whole(url).dataset_id == wanted.dataset_id
    for number in manifest.commit_numbers(url):
        assert whole(f"{url}@{number}").number == number


def timed(builds: Nursery, url: str, words: list[str]) -> float:
    """Returns the seconds that a build takes that nobody kills."""
    started = time.monotonic()
    assert builds.wait(builds.start(url, words)) == 0
    return time.monotonic() - started
