"""Builds of a COCO of a few pictures in milliseconds: the store's protocol is real, the pixels are made once."""

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tiny_coco import small_set

from pipeline import build, inventory, planning, recipes
from pipeline.executor import LocalExecutor
from schemas import files, manifest, store
from schemas.recipes import Recipe
from schemas.shards import ShardContents
from schemas.store import Store
from workers import coco

A = TypeVar("A")
R = TypeVar("R")
_THIN = ("zarr.json", "image/", "sample_id/")


class OneThread:
    """A thread pool of no threads, so that operations come in the same order every time."""

    def __init__(self, threads: int) -> None:
        """Takes what a pool takes."""

    def __enter__(self) -> "OneThread":
        """Starts nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends nothing."""

    def map(self, function: Callable[[A], R], values: Iterable[A]) -> Iterator[R]:
        """Calls the function for one value after the other."""
        return map(function, values)


def quicken(patch: pytest.MonkeyPatch, thin: bool = True, serial: bool = True) -> None:
    """Makes builds deterministic and remembers pixels and encodings; thin shards hold two arrays only."""
    if serial:
        patch.setattr(store, "ThreadPoolExecutor", OneThread)
        patch.setattr(planning, "ThreadPoolExecutor", OneThread)
    encode, make = store._encode, coco.make_shard
    encoded: dict[Any, dict[str, bytes]] = {}
    made: dict[Any, ShardContents] = {}

    def remembered(contents: ShardContents) -> dict[str, bytes]:
        key = (tuple(contents.images), contents.arrays["sample_id"].tobytes())
        if key not in encoded:
            encoded[key] = encode(contents)
        return {p: d for p, d in encoded[key].items() if not thin or p.startswith(_THIN)}

    def crops(recipe: Any, index: Any, key: Any) -> ShardContents:
        name = (recipe.model_dump_json(), key)
        if name not in made:
            made[name] = make(recipe, index, key)
        return made[name]

    patch.setattr(store, "_encode", remembered)
    patch.setattr(coco, "make_shard", crops)
    patch.setattr(manifest, "tool_versions", functools.cache(manifest.tool_versions))


def make_ahead(recipe: Any) -> None:
    """Makes and encodes all shards of a COCO recipe, for a later build to remember."""
    index = coco.load(recipe)
    for key in coco.plan(recipe, index):
        store._encode(coco.make_shard(recipe, index, key))


def recipe_of(folder: Path, pictures: int, *words: str) -> Recipe:
    """Returns a recipe for a COCO of that many pictures, made in a folder of its own on first use."""
    place = folder / f"coco-{pictures}"
    if not place.exists():
        place.mkdir(parents=True)
        small_set(place, pictures)
    fixed = (f"images={place}", f"annotations={place}/persons.json", "image_px=64")
    return recipes.load("coco_lower", [*fixed, "shard_samples=8", *words])


def run(recipe: Recipe, url: str) -> build.Built:
    """Plans and builds in this process."""
    planned = build.plan(recipe, url)
    return build.build(recipe, url, planned, LocalExecutor(), lambda *_: None)


def whole(url: str) -> manifest.Dataset:
    """Opens a dataset and checks every object of every shard against its digest."""
    dataset = manifest.open_dataset(url)
    held = Store(dataset.url)
    for shard in dataset.shards:
        root = held.get_bytes(inventory.root_of(shard.action_key))
        assert files.digest(root) == shard.root, shard.action_key
        for path, digest in inventory.shard_objects(shard.action_key, root).items():
            assert files.digest(held.get_bytes(path)) == digest, path
    return dataset
