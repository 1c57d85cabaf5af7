"""What knowing every quantity costs: bytes of a receipt, time of a shard's statistics, of adding up, of a query.

    python benchmarks/coverage.py [--shards 1000]

One subject of a squat lot is drawn with its tables, its frames are copied to a shard of 512 samples, its statistics to
1,000 shards. The last line is one JSON object.
"""

import argparse
import json
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import fabricated
from pipeline import coverage
from schemas import files, manifest, query
from schemas.recipes import SynthRecipe
from schemas.shards import ShardContents, ShardKey, ShardReceipt, canonical_digest
from schemas.skeleton import SkeletonSpec
from schemas.statistics import Statistics
from workers import draws, osim, quality, selection, synth

ROWS, FRAMES = 512, 48
QUERY = "knee_flexion > 110 and camera_yaw between 60 and 120 and movement == squat"
TARGETS: dict[str, Any] = {"knee_flexion": {">110": 0.15, "<30": 0.2}, "camera_yaw": "uniform"}


def shard(recipe: SynthRecipe, spec: SkeletonSpec) -> ShardContents:
    """Returns a full shard of one subject's poses and cameras, with tables as long as a real one's."""
    rows = draws.draw(recipe, synth.load(recipe), "squat", 0, ("light_id", "q", "K"))
    subjects, copies = -(-ROWS // FRAMES), -(-ROWS // rows.count)
    noise = fabricated.noise(ROWS, spec.sizes, spec.fingerprint)
    for name in ("q", "K"):
        noise.arrays[name][:] = np.tile(
            rows.arrays[name], (copies, *[1] * (rows.arrays[name].ndim - 1))
        )[:ROWS]
    noise.arrays["light_id"][:] = np.arange(ROWS)
    for name in ("motion_id", "garment_id", "group_id"):
        noise.arrays[name][:] = np.arange(ROWS) // FRAMES
    lights = rows.tables["lights"] * copies
    tables = {
        "subjects": {str(i): rows.tables["subjects"]["0"] for i in range(subjects)},
        "motions": rows.tables["motions"][:1] * subjects,
        "garments": rows.tables["garments"] * subjects,
        "lights": lights[:ROWS],
    }
    return replace(noise, tables=tables)


def receipts(statistics: Statistics, count: int) -> list[ShardReceipt]:
    """Returns receipts of their own names and digests, as a manifest holds them."""
    text = json.dumps(statistics.to_json())
    return [
        ShardReceipt(
            action_key=canonical_digest(i),
            key=ShardKey(source="synth", lot="squat", split="train", members=(i,)),
            rows=ROWS,
            bytes=10**7,
            root=files.digest(str(i).encode()),
            statistics=Statistics.from_json(json.loads(text)),
            quarantine=(),
            skeleton="0" * 64,
            inputs={},
        )
        for i in range(count)
    ]


def seconds(work: Any, times: int = 3) -> float:
    """Returns the least CPU time of some runs."""
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", type=int, default=1000)
    shards = parser.parse_args().shards
    fields = {"name": "x", "motions": {"squat": {"subjects": 1, "frames": FRAMES}}}
    recipe = SynthRecipe.model_validate(fields | {"targets": TARGETS})
    spec = osim.read_skeleton(osim.read_model("default"))
    contents = shard(recipe, spec)
    statistics = quality.statistics(contents, spec)
    found: dict[str, Any] = {
        "quantities": len(statistics.histograms) + len(statistics.names),
        "statistics_bytes": len(json.dumps(statistics.to_json(), separators=(",", ":"))),
        "statistics_ms_per_shard": round(
            1e3 * seconds(lambda: quality.statistics(contents, spec)), 1
        ),
    }
    tracemalloc.start()
    held = receipts(statistics, shards)
    found["memory_bytes_per_receipt"] = round(tracemalloc.get_traced_memory()[0] / shards)
    tracemalloc.stop()
    with TemporaryDirectory() as folder:
        dataset = manifest.publish(folder, {"name": "x"}, held)
        path = Path(folder) / manifest.manifest_path(dataset.dataset_id)
        found["manifest_bytes_per_receipt"] = round(path.stat().st_size / shards)
        found["open_seconds"] = round(seconds(lambda: manifest.open_dataset(folder), 2), 2)
    found["add_up_seconds"] = round(seconds(lambda: dataset.statistics, 1), 2)
    named = {"knee_flexion": False, "camera_yaw": False, "movement": True}
    asked = query.parse(QUERY, named)
    judge = lambda: [asked.judge(coverage.bounds_of(s)) for s in dataset.shards]  # noqa: E731
    found["judge_seconds"] = round(seconds(judge), 2)
    aim = selection.Aim.of(recipe, "squat", 0, spec)
    aims = seconds(lambda: [aim.strata(f) for f in range(1000)])
    found["aim_us_per_frame"] = round(1e6 * aims / 1000, 1)
    for name, value in found.items():
        print(f"{name:28} {value}")
    print(json.dumps(found | {"shards": shards}))


if __name__ == "__main__":
    main()
