"""Small recipes and what a build makes of them, for the tests of plans and builds."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline import build
from pipeline.executor import LocalExecutor
from schemas.recipes import CocoRecipe, Recipe, SynthRecipe
from schemas.shards import ShardKey
from schemas.store import Store
from workers import motions, osim, produce

LOTS: dict[str, dict[str, Any]] = {
    "squat": {"subjects": 4, "frames": 2},
    "film": {"subjects": 2, "frames": 2, "clip": True},
    "poses": {"random": "limits", "subjects": 2, "frames": 2},
}


def synthetic(**changes: Any) -> SynthRecipe:
    """A recipe of three small lots."""
    fields: dict[str, Any] = {"name": "x", "motions": LOTS, "image_px": 48, "shard_samples": 4}
    return SynthRecipe.model_validate(fields | changes)


def photographs(folder: Path, **changes: Any) -> CocoRecipe:
    """A recipe for the pictures of `tiny_coco`."""
    fields = {"images": str(folder), "annotations": f"{folder}/persons.json", "image_px": 48}
    return CocoRecipe.model_validate({"name": "x", "shard_samples": 8} | fields | changes)


def keys(recipe: Recipe, lot: str | None = None) -> dict[ShardKey, str]:
    """Every shard's name."""
    jobs = produce.plan(recipe, "memory://nowhere")
    return {job.key: job.action_key for job in jobs if lot in (None, job.key.lot)}


def run(recipe: Recipe, url: str, **options: Any) -> build.Built:
    """Builds in this process."""
    planned = build.plan(recipe, url)
    return build.build(recipe, url, planned, LocalExecutor(), lambda *_: None, **options)


def every_object(url: str) -> dict[str, bytes]:
    """All bytes of all shards."""
    store = Store(url)
    return {path: store.get_bytes(path) for path in store.list_paths("shards")}


def lab_motion(folder: Path, top_degrees: float = 80.0) -> Path:
    """Writes a recording of the default model."""
    spec = osim.read_skeleton(osim.read_model("default"))
    q = np.tile(spec.default_pose(), (20, 1))
    knees = [spec.coordinate_names.index(f"knee_angle_{side}") for side in "rl"]
    q[:, knees] = np.radians(np.linspace(0, top_degrees, 20))[:, None]
    path = folder / "lab.mot"
    path.write_bytes(motions.write_mot(spec, np.arange(20) / 10.0, spec.couple(q)))
    return path
