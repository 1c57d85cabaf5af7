"""Datasets for measurements of the store: whole shards under the planned names, with nobody in the pictures."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import build
from schemas import files, layout, manifest
from schemas.recipes import SynthRecipe
from schemas.shards import ShardContents, ShardReceipt
from schemas.store import Store
from workers import images, osim, produce, quality, synth

LOTS = {"squat": 48, "poses": 16}
"""Frames per subject of the lots of `squat_small`."""
_DISTINCT = 256
"""Shards with statistics of their own, as many as lie in a row group: equal ones would shrink to nothing."""
PERSONS = 5
"""In each fabricated picture."""


def words(shards: int, samples_per_shard: int) -> list[str]:
    """Returns the `--set` words that make `squat_small` plan about that many shards, all of random poses."""
    per_shard = max(1, samples_per_shard // LOTS["poses"])
    return [
        "motions.squat.subjects=1",
        f"motions.poses.subjects={shards * per_shard}",
        f"shard_samples={per_shard * LOTS['poses']}",
    ]


def fabricate(recipe: SynthRecipe, url: str, *, whole: bool) -> manifest.Dataset:
    """Publishes every shard that the recipe plans, filled with noise.

    Args:
        recipe: what to plan.
        url: where to.
        whole: True writes every object of every shard; False writes the root metadata of all but the first, which
            is all that planning may look at.
    """
    planned, spec = build.plan(recipe, url), osim.read_skeleton(synth.load(recipe).osim)
    store, receipts = Store(url), list[ShardReceipt]()
    statistics = [
        quality.statistics(noise(16, spec.sizes, spec.fingerprint, seed), spec)
        for seed in range(0 if whole else _DISTINCT)
    ]
    for number, job in enumerate(planned.missing):
        if whole or not receipts:
            contents = noise(job.samples, spec.sizes, spec.fingerprint)
            own = quality.statistics(contents, spec)
            receipts.append(
                produce.write(store, job.key, job.action_key, contents, own, job.inputs)
            )
            root = store.get_bytes(f"shards/{job.action_key}/zarr.json")
            continue
        store.put_bytes(f"shards/{job.action_key}/zarr.json", root)
        same = dataclasses.replace(receipts[0], key=job.key, action_key=job.action_key)
        drawn = statistics[number % _DISTINCT]
        digest = files.digest(job.action_key.encode())
        receipts.append(dataclasses.replace(same, rows=job.samples, root=digest, statistics=drawn))
    return manifest.publish(url, recipe.model_dump(mode="json"), receipts)


def noise(rows: int, sizes: layout.Sizes, skeleton: str, seed: int = 0) -> ShardContents:
    """Returns a shard of random numbers and one small picture."""
    rng = np.random.default_rng([rows, seed])
    arrays = layout.empty(sizes, rows)
    for array in arrays.values():
        if array.dtype.kind == "f":
            array[...] = rng.random(array.shape)
    jpeg = images.encode(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8), 50)
    return ShardContents(images=[jpeg] * rows, arrays=arrays, planned=rows, skeleton=skeleton)


def coco_folder(folder: Path, image_ids: list[int]) -> None:
    """Lays out one tiny picture per id with `PERSONS` in each, over what is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    jpeg = images.encode(np.zeros((16, 16, 3), np.uint8), 50)
    for image_id in image_ids:
        path = folder / f"{image_id:012d}.jpg"
        if not path.exists():
            path.write_bytes(jpeg)
    document = {
        "images": [
            {"id": i, "file_name": f"{i:012d}.jpg", "width": 16, "height": 16} for i in image_ids
        ],
        "annotations": list(_persons(image_ids)),
        "categories": [{"id": 1, "name": "person"}],
    }
    (folder / "persons.json").write_text(json.dumps(document))


def _persons(image_ids: list[int]) -> Iterator[dict[str, Any]]:
    for image_id in image_ids:
        for number in range(PERSONS):
            yield {
                "id": PERSONS * image_id + number,
                "image_id": image_id,
                "category_id": 1,
                "bbox": [0, 0, 16, 16],
                "area": 200,
                "keypoints": [8, 8, 2] * 17,
            }
