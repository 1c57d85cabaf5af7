"""Which shares of a dataset's frames lie where its recipe's targets want them."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from pydantic import ValidationError

from pipeline.coverage import rows_of
from schemas.manifest import Dataset
from schemas.quantities import Rows, Values, declared, resolve
from schemas.recipes import SynthRecipe
from schemas.shards import ShardReceipt
from schemas.targets import Strata

_READERS = 8
TOLERANCE = 0.02
"""Of a target's share, on some 2,000 frames."""


def recipe_of(dataset: Dataset) -> SynthRecipe | None:
    """Returns the recipe of a synthetic dataset; None for others and for recipes of another version."""
    try:
        return SynthRecipe.model_validate(dataset.recipe)
    except ValidationError:
        return None


def strata_of(rows: Rows, strata: Iterable[Strata]) -> dict[str, Values]:
    """Returns of samples the stratum of each target (n,)."""
    every = declared(rows.spec)
    return {s.quantity: s.index(every[resolve(s.quantity, every)].of(rows)) for s in strata}


def reached(dataset: Dataset) -> list[dict[str, Any]]:
    """Returns of every stratum of the recipe's targets the share asked for and those reached, as JSON values.

    `single` is of the frames that targets choose, `all` of clips too. Reads the poses and cameras of every shard.
    """
    recipe = recipe_of(dataset)
    if recipe is None or not recipe.targets:
        return []
    strata = recipe.strata
    counts = {(s.quantity, c): np.zeros(len(s.shares)) for s in strata for c in (False, True)}
    shards = [s for s in dataset.shards if s.rows and s.skeleton and s.key.lot in recipe.motions]

    def read(shard: ShardReceipt) -> tuple[bool, dict[str, Values]]:
        plain = declared(dataset.store.read_skeleton(shard.skeleton))
        names = [resolve(s.quantity, plain) for s in strata]
        rows, _ = rows_of(dataset, shard, names)
        return recipe.motions[shard.key.lot].clip, strata_of(rows, strata)

    with ThreadPoolExecutor(_READERS) as pool:
        for clip, found in pool.map(read, shards):
            for s in strata:
                counts[s.quantity, clip] += np.bincount(found[s.quantity], minlength=len(s.shares))
    unmet = dataset.statistics.counts
    return [
        entry | {"unmet_frames": unmet.get(f"unmet_{s.quantity}", 0)} | {"missed": missed(entry)}
        for s in strata
        for entry in shares(s, counts[s.quantity, False], counts[s.quantity, True])
    ]


def missed(entry: Mapping[str, Any]) -> bool:
    """Says whether the single frames' share is further from what was asked for than the tolerance."""
    single = entry["single"]
    return single is not None and abs(single - entry["asked"]) > TOLERANCE


def shares(s: Strata, single: Values, clips: Values) -> list[dict[str, Any]]:
    """Returns of each stratum the share asked for and those of counted frames, single ones and all."""
    both = single + clips
    texts = [*(i.text for i in s.intervals), "the rest"]
    return [
        {
            "quantity": s.quantity,
            "stratum": text,
            "asked": round(asked, 4),
            "single": round(float(single[i] / single.sum()), 4) if single.sum() else None,
            "all": round(float(both[i] / both.sum()), 4) if both.sum() else None,
        }
        for i, (text, asked) in enumerate(zip(texts, s.shares, strict=True))
        if asked > 0 or both[i] > 0
    ]
