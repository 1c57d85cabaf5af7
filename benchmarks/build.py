"""Measures a build: synthetic frames/s and COCO persons/s by one process and by Ray on all cores, and bytes/sample.

    OMP_NUM_THREADS=1 python -m benchmarks.build [--subjects 8] [--coco ../shared/data/coco]

The last line is one JSON object; `ray_over_local` is the speed-up of the Ray engine in the same run.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from pipeline import build, recipes
from pipeline.executor import Executor, LocalExecutor, RayExecutor, connect
from schemas.recipes import Recipe


def rate(recipe: Recipe, url: str, executor: Executor) -> tuple[float, float]:
    """Builds a dataset; returns samples/s of wall clock, and bytes per sample."""
    planned = build.plan(recipe, url)
    started = time.perf_counter()
    built = build.build(recipe, url, planned, executor, lambda *_: None)
    seconds = time.perf_counter() - started
    if built.dataset is None:
        raise RuntimeError(f"the build failed: {built.failures}")
    return built.dataset.rows / seconds, built.dataset.bytes / built.dataset.rows


def main() -> None:
    """Builds each dataset twice and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--coco", type=Path, default=Path("../shared/data/coco"))
    options = parser.parse_args()
    count = options.subjects
    found = {
        "synthetic": recipes.load(
            "squat_small",
            [
                f"motions.squat.subjects={count}",
                f"motions.poses.subjects={count}",
                "shard_samples=128",
            ],
        )
    }
    if options.coco.is_dir():
        annotations = next((options.coco / "annotations").glob("*.json"))
        found["coco"] = recipes.load(
            "coco_lower",
            [f"images={options.coco}/images", f"annotations={annotations}", "shard_samples=128"],
        )
    connect()
    result = {}
    for name, recipe in found.items():
        with tempfile.TemporaryDirectory() as folder:
            local, size = rate(recipe, f"{folder}/local", LocalExecutor())
            spread, _ = rate(recipe, f"{folder}/ray", RayExecutor())
        result[name] = {
            "local_per_s": round(local, 1),
            "ray_per_s": round(spread, 1),
            "ray_over_local": round(spread / local, 2),
            "bytes_per_sample": round(size),
        }
        print(name, result[name])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
