"""Measures the store: a build that makes nothing, what a change rebuilds, bytes per sample beside D3KE's layout.

    OMP_NUM_THREADS=1 python -m benchmarks.store [--subjects 4] [--samples 100000]

The last line is one JSON object. `noop_seconds` is the whole command with the interpreter's start; peers and ours are
measured in one run. `rebuilt_fraction` counts shards that existed and are made again; `allowed` is 1 % + 1 shard.
"""

import argparse
import contextlib
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks import d3ke_layout
from benchmarks.fabricated import PERSONS, coco_folder, fabricate, words
from pipeline import build, recipes
from pipeline.executor import LocalExecutor
from schemas import manifest, objects
from schemas.recipes import Recipe, SynthRecipe
from schemas.store import Store
from workers import images, produce


class Counting:
    """Passes every operation on to a store and counts it."""

    def __init__(self, inner: objects.Objects, counts: Counter[str]) -> None:
        self._inner, self._counts = inner, counts

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation: Callable[..., Any] = getattr(self._inner, name)

        def counted(*arguments: Any) -> Any:
            self._counts[name] += 1
            return operation(*arguments)

        return counted


@contextlib.contextmanager
def counted_calls() -> Iterator[Counter[str]]:
    """Counts the operations on every store that is opened meanwhile."""
    counts: Counter[str] = Counter()
    real = objects.open_objects
    with mock.patch("schemas.objects.open_objects", lambda url: Counting(real(url), counts)):
        yield counts


def synth_recipe(*changes: str) -> SynthRecipe:
    """Returns the shipped small recipe with changes."""
    recipe = recipes.load("squat_small", changes)
    if not isinstance(recipe, SynthRecipe):
        raise TypeError("squat_small is no synthetic recipe")
    return recipe


def noop(recipe: Recipe, url: str) -> dict[str, float]:
    """Builds what is there already, in this process; returns seconds and store calls."""
    with counted_calls() as counts:
        started = time.perf_counter()
        built = build.build(recipe, url, build.plan(recipe, url), LocalExecutor(), lambda *_: None)
        seconds = time.perf_counter() - started
    if built.dataset is None or built.made:
        raise RuntimeError("the build had something to make")
    return {"seconds": seconds, "calls": counts.total(), "shards": len(built.dataset.shards)}


def noop_alone(url: str, changes: list[str]) -> dict[str, float]:
    """Does `noop` in a fresh process and adds the peak of its memory in MB."""
    command = [sys.executable, "-m", "benchmarks.store", "--noop", url, "--set", *changes]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found: dict[str, float] = json.loads(lines[-1])
    return found


def whole_command(url: str, changes: list[str], runs: int = 5) -> dict[str, float]:
    """Returns medians of wall clock and of CPU time of `python -m pipeline build` where nothing is to do."""
    command = [sys.executable, "-m", "pipeline", "build", "squat_small", "--to", url]
    command += ["--engine", "local", *(w for c in changes for w in ("--set", c))]
    wall, cpu = [], []
    for _ in range(runs):
        started, used = time.perf_counter(), _children_cpu()
        subprocess.run(command, check=True, capture_output=True)
        wall.append(time.perf_counter() - started)
        cpu.append(_children_cpu() - used)
    return {"noop_seconds": float(np.median(wall)), "noop_cpu_seconds": float(np.median(cpu))}


def _peak_mb() -> float:
    """Returns this process' largest resident memory; getrusage would count its parent's at the fork, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_noop(folder: str, samples: int) -> dict[str, float]:
    """Measures builds that make nothing, of one size of interest and of 1,000 and 10,000 shards."""
    changes = words(samples // 512 + 1, 512)
    fabricate(synth_recipe(*changes), f"{folder}/noop", whole=True)
    alone = noop_alone(f"{folder}/noop", changes)
    result = whole_command(f"{folder}/noop", changes) | {
        "noop_seconds_in_process": alone["seconds"],
        "noop_shards": alone["shards"],
        "noop_calls": alone["calls"],
    }
    many, published = [], []
    for shards in (1_000, 10_000):
        changes = words(shards, 48)
        fabricate(synth_recipe(*changes), f"{folder}/{shards}", whole=False)
        many.append(noop_alone(f"{folder}/{shards}", changes))
        # Under another name the recipe makes no shard, but a commit and its manifest.
        published.append(noop_alone(f"{folder}/{shards}", [*changes, "name=other"]))
        print(shards, many[-1], published[-1])
    few, most = many
    grown = (most["shards"] - few["shards"]) / 1000
    return result | {
        "noop_calls_per_1000_shards": 1000 * most["calls"] / most["shards"],
        "noop_calls_at_10000_shards": most["calls"],
        "noop_seconds_per_1000_shards": (most["seconds"] - few["seconds"]) / grown,
        "driver_mb_per_1000_shards": (most["peak_mb"] - few["peak_mb"]) / grown,
        "publishing_mb_per_1000_shards": (published[1]["peak_mb"] - published[0]["peak_mb"])
        / grown,
    }


def keys(recipe: Recipe) -> set[str]:
    """Returns the names of all shards that a recipe wants."""
    return {job.action_key for job in produce.plan(recipe, "memory://unused")}


def rebuilt(before: set[str], after: set[str]) -> dict[str, float]:
    """Compares two plans: shards made again (they held samples before), shards made, and what 1 % + 1 allows."""
    return {
        "shards": len(before),
        "again": len(before - after),
        "made": len(after - before),
        "allowed": 0.01 * len(before) + 1,
        "fraction": len(before - after) / len(before),
    }


def measure_changes(folder: str, persons: int = 100_000) -> dict[str, dict[str, float]]:
    """Adds 1 % of subjects, a motion, 1 % of COCO images at the end and 1 % in between."""
    many = words(200, 512)
    base = keys(synth_recipe(*many))
    subjects = int(many[1].rpartition("=")[2])
    more = [f"motions.poses.subjects={subjects + subjects // 100}"]
    found = {
        "synth_subjects": rebuilt(base, keys(synth_recipe(*many, *more))),
        "synth_motion": rebuilt(base, keys(synth_recipe(*many, "motions.more.subjects=10"))),
    }
    place = Path(folder, "coco")
    numbers = [10 * i for i in range(1, persons // PERSONS + 1)]
    inside = np.random.default_rng(0).choice(numbers, len(numbers) // 100, replace=False) + 3

    def coco_keys(ids: list[int]) -> set[str]:
        coco_folder(place, ids)
        named = [f"images={place}", f"annotations={place}/persons.json", "min_box_px=0"]
        return keys(recipes.load("coco_lower", named))

    before = coco_keys(numbers)
    at_end = [numbers[-1] + i for i in range(1, len(numbers) // 100 + 1)]
    found["coco_newer_images"] = rebuilt(before, coco_keys(numbers + at_end))
    found["coco_scattered_images"] = rebuilt(
        before, coco_keys(sorted([*numbers, *inside.tolist()]))
    )
    return found


def measure_writing(folder: str, subjects: int) -> tuple[manifest.Dataset, dict[str, float]]:
    """Builds real shards; returns the dataset, its bytes per sample, and what encoding, hashing, putting cost."""
    recipe = synth_recipe(*_few(subjects, 256))
    writing = []
    real = produce.write

    def timed(*arguments: Any) -> Any:
        started = time.perf_counter()
        receipt = real(*arguments)
        writing.append(time.perf_counter() - started)
        return receipt

    url = f"{folder}/real"
    planned = build.plan(recipe, url)
    with mock.patch.object(produce, "write", timed):
        started = time.perf_counter()
        built = build.build(recipe, url, planned, LocalExecutor(), lambda *_: None)
        seconds = time.perf_counter() - started
    if built.dataset is None:
        raise RuntimeError(f"the build failed: {built.failures}")
    return built.dataset, {
        "bytes_per_sample": built.dataset.bytes / built.dataset.rows,
        "write_cost_fraction": sum(writing) / seconds,
        "write_ms_per_sample": 1000 * sum(writing) / built.dataset.rows,
    }


def _few(subjects: int, px: int) -> list[str]:
    size = [f"motions.squat.subjects={subjects}", f"motions.poses.subjects={subjects}"]
    return [*size, f"image_px={px}", "splits.train=1", "splits.val=0", "splits.test=0"]


def read_all(dataset: manifest.Dataset) -> int:
    """Reads every shard with all its labels and decodes every picture; returns the bytes seen."""
    size = 0
    for shard in dataset.shards:
        names = ("image", "image_offset", *d3ke_layout.LABELS)
        arrays = dataset.store.read_arrays(shard.action_key, names)
        flat, offsets = arrays["image"].tobytes(), arrays["image_offset"]
        pictures = (images.decode(flat[a:b]) for a, b in itertools.pairwise(offsets))
        size += sum(p.nbytes for p in pictures) + sum(arrays[n].nbytes for n in d3ke_layout.LABELS)
    return size


def measure_d3ke(folder: str, ours: manifest.Dataset, subjects: int) -> dict[str, float]:
    """Stores the same samples as D3KE's pipeline does, pictured as its full frames, and reads both back."""
    url = f"{folder}/frames"
    recipe = synth_recipe(*_few(subjects, d3ke_layout.HEIGHT))
    build.build(recipe, url, build.plan(recipe, url), LocalExecutor(), lambda *_: None)
    frames, labels = _full(Store(url), manifest.open_dataset(url))
    path = Path(folder, "d3ke.hdf5")
    times = [time.perf_counter()]
    d3ke_layout.write(path, frames, labels)
    times.append(time.perf_counter())
    d3ke_layout.read_all(path, np.random.default_rng(0).permutation(len(frames)))
    times.append(time.perf_counter())
    read_all(ours)
    times.append(time.perf_counter())
    wrote, read, our_read = np.diff(times) * 1000
    return {
        "d3ke_bytes_per_sample": path.stat().st_size / len(frames),
        "d3ke_write_ms_per_sample": wrote / len(frames),
        "d3ke_read_ms_per_sample": read / len(frames),
        "read_ms_per_sample": our_read / ours.rows,
    }


def _full(store: Store, dataset: manifest.Dataset) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    shards = [
        store.read_arrays(s.action_key, ("image", "image_offset", *d3ke_layout.LABELS))
        for s in dataset.shards
    ]
    frames = [
        d3ke_layout.full_frame(images.decode(s["image"][a:b].tobytes()))
        for s in shards
        for a, b in itertools.pairwise(s["image_offset"])
    ]
    labels = {n: np.concatenate([s[n] for s in shards]) for n in d3ke_layout.LABELS}
    return np.stack(frames), labels


def main() -> None:
    """Measures everything in a temporary folder and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=4, help="of the real build, 64 frames each")
    parser.add_argument(
        "--samples", type=int, default=100_000, help="of the build that makes nothing"
    )
    parser.add_argument("--noop", metavar="URL", help="only build what is at URL already")
    parser.add_argument("--set", nargs="*", default=[])
    options = parser.parse_args()
    if options.noop:
        found = noop(synth_recipe(*options.set), options.noop)
        found["peak_mb"] = _peak_mb()
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as folder:
        result: dict[str, Any] = measure_noop(folder, options.samples)
        print(result)
        changes = measure_changes(folder)
        print(changes)
        result["rebuilt_fraction"] = max(
            c["fraction"] for name, c in changes.items() if name != "coco_scattered_images"
        )
        result["changes"] = changes
        dataset, written = measure_writing(folder, options.subjects)
        print(written)
        result |= written | measure_d3ke(folder, dataset, max(1, options.subjects // 4))
    print(json.dumps(_rounded(result)))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
