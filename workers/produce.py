"""Makes, checks, writes and describes one shard: the unit of work of every engine, safe to run twice."""

import functools
import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from schemas.errors import InputError
from schemas.manifest import receipt_from_json, receipt_to_json
from schemas.recipes import Recipe, SynthRecipe
from schemas.shards import ShardContents, ShardKey, ShardReceipt, canonical_digest
from schemas.statistics import Statistics
from schemas.store import CutShort, Store
from workers import coco, osim, quality, synth

log = logging.getLogger(__name__)
STAGES = {
    "pose": 2,
    "body": 1,
    "wardrobe": 1,
    "scene": 1,
    "render": 1,
    "annotate": 1,
    "coco": 1,
    "shard": 1,
}
"""Raise a stage's number when its output changes; every shard that depends on it is then rebuilt."""
_SYNTH_STAGES = ("pose", "body", "wardrobe", "scene", "render", "annotate", "shard")
_COCO_STAGES = ("coco", "shard")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One shard to make: plain values that any engine can ship."""

    url: str
    recipe: dict[str, Any]
    key: ShardKey
    action_key: str
    samples: int


def plan(recipe: Recipe, url: str) -> list[Job]:
    """Lists every shard that the recipe wants, under the name that says all its bytes depend on.

    Raises:
        InputError: a file that the recipe names is missing, unreachable or unfit.
    """
    document = recipe.model_dump(mode="json")
    jobs = []
    for key, inputs, samples in _wanted(recipe):
        action_key = canonical_digest(
            {"source": key.source, "lot": key.lot, "members": key.members, "inputs": inputs}
        )
        jobs.append(Job(url=url, recipe=document, key=key, action_key=action_key, samples=samples))
    return jobs


def _wanted(recipe: Recipe) -> list[tuple[ShardKey, dict[str, Any], int]]:
    if isinstance(recipe, SynthRecipe):
        sources = _synth_sources(recipe)
        stages = {name: STAGES[name] for name in _SYNTH_STAGES}
        photos = {"photos": synth.photos_digest(recipe)}
        return [
            (
                key,
                {"stages": stages, "settings": synth.settings(recipe, key.lot)}
                | {"files": sources.digests(key.lot) | photos},
                synth.frames(recipe, key),
            )
            for key in synth.plan(recipe)
        ]
    index = coco.load(recipe)
    stages = {name: STAGES[name] for name in _COCO_STAGES}
    settings = recipe.model_dump(mode="json", include={"context", "image_px", "jpeg_quality"})
    return [
        (
            key,
            {"stages": stages, "settings": settings, "records": coco.inputs(index, key)},
            len(key.members),
        )
        for key in coco.plan(recipe, index)
    ]


def produce(job: Job) -> ShardReceipt:
    """Makes and writes the job's shard whole; the receipt says what was written.

    Raises:
        InputError: an input can no longer be read, or the store refused the write.
    """
    started = time.perf_counter()
    recipe: Recipe = TypeAdapter(Recipe).validate_python(job.recipe)
    store = Store(job.url)
    if isinstance(recipe, SynthRecipe):
        sources = _synth_sources(recipe)
        contents = synth.make_shard(recipe, sources, job.key)
        spec = osim.read_skeleton(sources.osim)
        contents.tables["model"] = store.put_model(sources.osim)
        store.put_skeleton(spec)
        contents = quality.checked(contents, spec, _poser(sources.osim))
    else:
        spec = None
        contents = quality.checked(coco.make_shard(recipe, coco.load(recipe), job.key), None, None)
    receipt = write(store, job.key, job.action_key, contents, quality.statistics(contents, spec))
    log.info("%s: %d rows in %.1f s", job.key, receipt.rows, time.perf_counter() - started)
    return receipt


def write(
    store: Store, key: ShardKey, action_key: str, contents: ShardContents, statistics: Statistics
) -> ShardReceipt:
    """Writes a checked shard whole, with the receipt inside it that is also returned."""

    def receipt_of(size: int, digests: dict[str, str]) -> ShardReceipt:
        return ShardReceipt(
            action_key=action_key,
            key=key,
            rows=len(contents.images),
            bytes=size,
            digests=digests,
            statistics=statistics,
            quarantine=contents.quarantine,
            skeleton=contents.skeleton,
        )

    def attributes(size: int, digests: dict[str, str]) -> dict[str, Any]:
        return {"receipt": receipt_to_json(receipt_of(size, digests)), "tables": contents.tables}

    return receipt_of(*store.write_shard(action_key, contents, attributes))


def recall(url: str, action_key: str) -> ShardReceipt | None:
    """Reads the receipt that a whole shard carries, so that an interrupted build need not make it again.

    Returns None for a shard that was begun and never finished, or whose root a power failure cut short.

    Raises:
        InputError: it carries none that can be read.
    """
    store = Store(url)
    try:
        attributes = store.read_attributes(action_key)
    except (FileNotFoundError, CutShort):
        return None
    try:
        receipt = receipt_from_json(attributes["receipt"])
    except (KeyError, TypeError, ValueError) as error:
        where = f"{url}/shards/{action_key}"
        raise InputError(
            where, f"carries no readable receipt ({error!r})", "Delete it and build again"
        ) from error
    digests = receipt.digests | {"zarr.json": store.root_digest(action_key)}
    return ShardReceipt(**{**receipt.__dict__, "digests": digests})


def _synth_sources(recipe: SynthRecipe) -> synth.Sources:
    return _load(recipe.model_dump_json())


@functools.lru_cache(maxsize=2)
def _load(recipe: str) -> synth.Sources:
    return synth.load(SynthRecipe.model_validate_json(recipe))


@functools.lru_cache(maxsize=4)
def _posable(model: bytes, scale: bytes) -> osim.OsimModel:
    return osim.OsimModel(model, np.frombuffer(scale, np.float32).reshape(-1, 3).astype(np.float64))


def _poser(model: bytes) -> quality.PoseOf:
    def pose_of(q: NDArray[np.float64], scale: NDArray[np.float32]) -> osim.Pose:
        return _posable(model, scale.tobytes()).pose(q)

    return pose_of
