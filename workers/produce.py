"""Makes, checks, writes and describes one shard: the unit of work of every engine, safe to run twice."""

import logging
import re
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from schemas import receipts
from schemas.errors import InputError, changed
from schemas.lots import MotLot, TrcLot
from schemas.recipes import CocoRecipe, Recipe, SynthRecipe
from schemas.shards import (
    ShardContents,
    ShardKey,
    ShardReceipt,
    canonical_digest,
    changed_inputs,
)
from schemas.skeleton import SkeletonSpec
from schemas.statistics import Statistics
from schemas.store import CutShort, Store
from workers import coco, osim, quality, synth
from workers.forward import forward

log = logging.getLogger(__name__)
STAGES = {
    "pose": 7,
    "body": 4,
    "wardrobe": 5,
    "scene": 6,
    "render": 5,
    "annotate": 2,
    "coco": 3,
    "shard": 4,
}
"""Raise a stage's number when its output changes; every shard that depends on it is then rebuilt."""
_SYNTH_STAGES = ("pose", "body", "wardrobe", "scene", "render", "annotate", "shard")
_COCO_STAGES = ("coco", "shard")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One shard to make: plain values that any engine can ship."""

    url: str
    recipe: dict[str, Any]
    """The part of the recipe that this shard needs."""
    key: ShardKey
    action_key: str
    inputs: dict[str, Any]
    """What the action key is the digest of beside the members: stages, settings, digests of files."""
    samples: int


def action_key_of(key: ShardKey, inputs: dict[str, Any]) -> str:
    """Names a shard by all that its bytes depend on; which split it serves is a matter of the manifest."""
    return canonical_digest(
        {"source": key.source, "lot": key.lot, "members": key.members, "inputs": inputs}
    )


def plan(recipe: Recipe, url: str) -> list[Job]:
    """Lists every shard that the recipe wants, under the name that says all its bytes depend on.

    Raises:
        InputError: a file that the recipe names is missing, unreachable or unfit.
    """
    return _plan_synth(recipe, url) if isinstance(recipe, SynthRecipe) else _plan_coco(recipe, url)


def _plan_synth(recipe: SynthRecipe, url: str) -> list[Job]:
    sources, photos = synth.load(recipe), synth.photos_digest(recipe)
    found = {
        lot: (
            synth.for_lot(recipe, lot).model_dump(mode="json"),
            _synth_inputs(recipe, sources, photos, lot),
        )
        for lot in recipe.motions
    }
    return [
        _job(url, *found[key.lot], key, synth.frames(recipe, key)) for key in synth.plan(recipe)
    ]


def _plan_coco(recipe: CocoRecipe, url: str) -> list[Job]:
    index, document = coco.load(recipe), recipe.model_dump(mode="json")
    coco.identify(index)
    return [
        _job(url, document, _coco_inputs(recipe, index, key), key, len(key.members))
        for key in coco.plan(recipe, index)
    ]


def _job(
    url: str, recipe: dict[str, Any], inputs: dict[str, Any], key: ShardKey, samples: int
) -> Job:
    name = action_key_of(key, inputs)
    return Job(url=url, recipe=recipe, key=key, action_key=name, inputs=inputs, samples=samples)


def _synth_inputs(
    recipe: SynthRecipe, sources: synth.Sources, photos: str, lot: str
) -> dict[str, Any]:
    return {
        "stages": {name: STAGES[name] for name in _SYNTH_STAGES},
        "settings": synth.settings(recipe, lot),
        "files": sources.digests(lot) | {"backgrounds": photos},
    }


def _coco_inputs(recipe: CocoRecipe, index: coco.CocoIndex, key: ShardKey) -> dict[str, Any]:
    return {
        "stages": {name: STAGES[name] for name in _COCO_STAGES},
        "settings": coco.settings(recipe),
        "files": coco.inputs(index, key),
    }


def produce(job: Job) -> ShardReceipt:
    """Makes and writes the job's shard whole; the receipt says what was written.

    Raises:
        InputError: an input can no longer be read or is another than was planned with (nothing is written then),
            or the store refused the write.
    """
    started = time.perf_counter()
    recipe: Recipe = TypeAdapter(Recipe).validate_python(job.recipe)
    store = Store(job.url)
    if isinstance(recipe, SynthRecipe):
        contents, statistics = _make_synth(job, recipe, store)
    else:
        contents, statistics = _make_coco(job, recipe)
    receipt = write(store, job.key, job.action_key, contents, statistics, job.inputs)
    log.info("%s: %d rows in %.1f s", job.key, receipt.rows, time.perf_counter() - started)
    return receipt


def _make_synth(job: Job, recipe: SynthRecipe, store: Store) -> tuple[ShardContents, Statistics]:
    sources = synth.load(recipe)
    photos = synth.photos_digest(recipe)  # each photo is checked again when it is drawn
    _refuse_others(job, recipe, _synth_inputs(recipe, sources, photos, job.key.lot))
    contents = synth.make_shard(recipe, sources, job.key)
    spec = osim.read_skeleton(sources.osim)
    contents.tables["model"] = store.put_model(sources.osim)
    store.put_skeleton(spec)
    contents = quality.checked(contents, spec, _poser(spec, sources.osim))
    return contents, quality.statistics(contents, spec)


def _make_coco(job: Job, recipe: CocoRecipe) -> tuple[ShardContents, Statistics]:
    index = coco.load(recipe)
    contents = quality.checked(coco.make_shard(recipe, index, job.key), None, None)
    # After the pictures were read: the index then says what was read, not what lies there.
    _refuse_others(job, recipe, _coco_inputs(recipe, index, job.key))
    return contents, quality.statistics(contents, None)


def _refuse_others(job: Job, recipe: Recipe, loaded: dict[str, Any]) -> None:
    """Refuses to write under a name that stands for other inputs than those that were loaded."""
    if action_key_of(job.key, loaded) == job.action_key:
        return
    lines = changed_inputs(job.inputs, loaded)
    names = dict.fromkeys(".".join(re.split("[.:]", line, maxsplit=2)[:2]) for line in lines)
    if isinstance(recipe, SynthRecipe):
        lot = recipe.motions[job.key.lot]
        scene = recipe.scene
        shown = ", ".join(
            filter(None, (scene.backgrounds, scene.people_in_backgrounds, scene.hdri))
        )
        urls: dict[str, str | None] = {"files.model": recipe.model, "files.backgrounds": shown}
        urls["files.assets"] = recipe.wardrobe.assets
        urls["files.mot"] = lot.mot if isinstance(lot, MotLot) else None
        if isinstance(lot, TrcLot):
            urls |= {"files.trc": lot.trc, "files.static": lot.static, "files.solver": lot.model}
    else:
        urls = {"files.annotations": recipe.annotations, "files.images": recipe.images}
    raise changed(", ".join(urls.get(name) or name for name in names))


def write(
    store: Store,
    key: ShardKey,
    action_key: str,
    contents: ShardContents,
    statistics: Statistics,
    inputs: dict[str, Any],
) -> ShardReceipt:
    """Writes a checked shard whole, with the receipt inside it that is also returned.

    The stored receipt leaves out the split: a shard keeps its bytes and its name when its split changes.
    """

    def receipt_of(size: int, root: str) -> ShardReceipt:
        return ShardReceipt(
            action_key=action_key,
            key=key,
            rows=len(contents.images),
            bytes=size,
            root=root,
            statistics=statistics,
            quarantine=contents.quarantine,
            skeleton=contents.skeleton,
            inputs=inputs,
        )

    def attributes(size: int, digests: dict[str, str]) -> dict[str, Any]:
        receipt = receipts.to_json(receipt_of(size, ""))
        del receipt["key"]["split"], receipt["root"]
        return {"receipt": receipt | {"digests": digests}, "tables": contents.tables}

    return receipt_of(*store.write_shard(action_key, contents, attributes))


def recall(job: Job) -> ShardReceipt | None:
    """Reads the receipt that a whole shard carries, so that an interrupted build need not make it again.

    Returns None for a shard that was begun and never finished, or whose root a power failure cut short.

    Raises:
        InputError: it carries none that can be read, or another shard's.
    """
    store, where = Store(job.url), f"{job.url}/shards/{job.action_key}"
    try:
        attributes, root = store.read_root(job.action_key)
    except (FileNotFoundError, CutShort):
        return None
    try:
        receipt = receipts.from_shard(attributes, job.key.split, root)
    except (KeyError, TypeError, ValueError) as error:
        why = f"carries no readable receipt ({error!r})"
        raise InputError(where, why, "Delete it and build again") from error
    if (receipt.key, receipt.action_key) != (job.key, job.action_key):
        raise InputError(where, "is another shard than its name says", "Delete it and build again")
    return receipt


def _poser(spec: SkeletonSpec, model: bytes) -> quality.PosesOf:
    """Poses by another kinematics than the one that made the labels, where the model allows it."""

    def poses_of(q: NDArray[np.float64], scale: NDArray[np.float32]) -> osim.Pose:
        return forward(spec, model, scale.astype(np.float64))(q)

    return poses_of
