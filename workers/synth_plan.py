"""What a synthetic recipe asks for: its files, its shards, and what the bytes of each depend on."""

import functools
import logging
from dataclasses import dataclass, field
from typing import Any

from schemas import files
from schemas.lots import AnyLot, MotLot, ProceduralLot, RandomLot, TrcLot
from schemas.recipes import SynthRecipe
from schemas.shards import ShardKey, Split
from workers import annotate, anny_data, family, hdri, motions, osim, photos, selection, trc
from workers.makehuman_pack import Pack, open_pack
from workers.marker_ik import Trial

log = logging.getLogger(__name__)
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files a synthetic recipe names, read once."""

    osim: bytes
    mots: dict[str, bytes]
    """The `.mot` of each lot that has one."""
    trials: dict[str, Trial] = field(default_factory=dict)
    """The marker files of each lot that has them."""
    assets: Pack | None = None
    """What people wear."""

    def digests(self, lot: str) -> dict[str, str]:
        """Returns what identifies the inputs of one lot: files by their bytes, installed bodies by version."""
        found = {"model": files.digest(self.osim), "bodies": anny_data.cache_path().stem}
        if self.assets is not None:
            found["assets"] = self.assets.identity
        if lot in self.mots:
            found["mot"] = files.digest(self.mots[lot])
        if (trial := self.trials.get(lot)) is not None:
            found["trc"], found["solver"] = files.digest(trial.trc), files.digest(trial.model)
            found["static"] = "" if trial.static is None else files.digest(trial.static)
        return found


def load(recipe: SynthRecipe) -> Sources:
    """Reads every file that the recipe names.

    Raises:
        InputError: one is missing, unreachable or not what it should be.
    """
    lots = {name: lot for name, lot in recipe.motions.items() if isinstance(lot, MotLot)}
    sources = Sources(
        osim=osim.read_model(recipe.model),
        mots={name: files.read_bytes(lot.mot) for name, lot in lots.items()},
        trials={n: _trial(t, recipe) for n, t in recipe.motions.items() if isinstance(t, TrcLot)},
        assets=None if recipe.wardrobe.assets is None else open_pack(recipe.wardrobe.assets),
    )
    _warn_of_meshes(sources.osim, recipe.model)
    spec = osim.read_skeleton(sources.osim)
    annotate.keypoint_joints(spec)
    selection.check(recipe, spec)
    for name, lot in lots.items():
        motions.read_mot(sources.mots[name], lot.mot, spec)
    if any(_on_feet(lot) for lot in recipe.motions.values()):
        family.check(spec)
    return sources


def _on_feet(lot: AnyLot) -> bool:
    """Says whether a lot's motion is made with planted feet."""
    return isinstance(lot, ProceduralLot) or (isinstance(lot, RandomLot) and lot.grounded > 0)


def _trial(lot: TrcLot, recipe: SynthRecipe) -> Trial:
    """Reads a lot's marker files.

    Raises:
        InputError: one is missing or no `.trc`, or has none of the model's markers.
    """
    model = osim.read_model(lot.model or recipe.model)
    names = osim.read_skeleton(model).marker_names
    found = {url: files.read_bytes(url) for url in (lot.trc, lot.static) if url is not None}
    for url, data in found.items():
        trc.in_order(trc.read_trc(data, url), names)
    static = None if lot.static is None else found[lot.static]
    return Trial(trc=found[lot.trc], static=static, model=model)


@functools.lru_cache(maxsize=4)
def _warn_of_meshes(model: bytes, url: str) -> None:
    """Says it once a process."""
    if meshes := osim.missing_meshes(model, url):
        log.warning(
            "%s names %d bone meshes that are not beside it (%s, …): labels and pictures do not need them, but "
            "exported models will show no bones in OpenSim until these files lie in a Geometry folder.",
            *(url, len(meshes), meshes[0]),
        )


def for_lot(recipe: SynthRecipe, lot: str) -> SynthRecipe:
    """Returns the recipe with one lot only: all that a shard of it needs."""
    return recipe.model_copy(update={"motions": {lot: recipe.motions[lot]}})


def split_of(subject: int, recipe: SynthRecipe) -> Split:
    """Assigns a subject to a split: evenly spread over any n subjects in a row, and for good."""
    position = ((subject + 0.5) * _GOLDEN) % 1.0
    if position < recipe.splits.train:
        return "train"
    return "val" if position < recipe.splits.train + recipe.splits.val else "test"


def plan(recipe: SynthRecipe) -> list[ShardKey]:
    """Lists the shards: within a lot and a split, consecutive subjects share a shard until it is full."""
    keys = []
    for name, lot in sorted(recipe.motions.items()):
        per_shard = max(1, recipe.shard_samples // lot.frames)
        by_split: dict[Split, list[int]] = {"train": [], "val": [], "test": []}
        for subject in range(lot.first, lot.first + lot.subjects):
            by_split[split_of(subject, recipe)].append(subject)
        for split, subjects in by_split.items():
            for start in range(0, len(subjects), per_shard):
                members = tuple(subjects[start : start + per_shard])
                keys.append(ShardKey(source="synth", lot=name, split=split, members=members))
    return keys


def photos_digest(recipe: SynthRecipe) -> str:
    """Identifies background photos and environment maps as they are now, by their names and bytes; "" for none."""
    return " ".join(filter(None, (photos.identify(recipe.scene), hdri.identify(recipe.scene))))


def frames(recipe: SynthRecipe, key: ShardKey) -> int:
    """Returns how many samples a shard plans."""
    return recipe.motions[key.lot].frames * len(key.members)


def settings(recipe: SynthRecipe, lot: str) -> dict[str, Any]:
    """Returns the part of the recipe that a lot's bytes depend on; names, URLs and counts do not matter."""
    whole = recipe.model_dump(mode="json")
    chosen = {k: whole[k] for k in ("seed", "people", "camera", "image_px", "jpeg_quality")}
    elsewhere = {"backgrounds", "people_in_backgrounds", "hdri"}
    if recipe.scene.hdri is None:
        elsewhere.add("hdri_share")
    if recipe.scene.backgrounds is None:
        elsewhere.add("backgrounds_share")
    chosen["scene"] = {k: v for k, v in whole["scene"].items() if k not in elsewhere}
    unused = {"assets"} if recipe.wardrobe.assets else {"assets", "dressed"}
    chosen["wardrobe"] = {k: v for k, v in whole["wardrobe"].items() if k not in unused}
    motion = recipe.motions[lot]
    if recipe.targets and not motion.clip:
        chosen["targets"] = whole["targets"]
    idle = {"first", "subjects", "mot", "trc", "static", "model"}
    if not motion.clip or isinstance(motion, RandomLot):
        idle.add("fps")  # frames are not spaced by it
    chosen["lot"] = {k: v for k, v in whole["motions"][lot].items() if k not in idle}
    return chosen
