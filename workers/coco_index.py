"""Reads a COCO annotation file once and says which persons a recipe selects, and where their pictures are.

Numbers stay as COCO writes them: keypoints are pixel indices, boxes count from the outer corner of the first pixel.
"""

import contextlib
import functools
import io
import json
import logging
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO

from schemas import files
from schemas.errors import InputError
from schemas.keypoints import LOWER_INDICES
from schemas.recipes import CocoRecipe
from schemas.shards import ShardKey, unit_hash
from workers import images

log = logging.getLogger(__name__)
LOWER = list(LOWER_INDICES)


@dataclass(frozen=True, kw_only=True)
class Image:
    """One picture as the annotation file describes it; `width` is 0 where it does not."""

    image_id: int
    file_name: str
    width: int
    height: int
    licence: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Person:
    """One annotation; NaN where the file holds no usable number."""

    annotation_id: int
    image_id: int
    box: NDArray[np.float64]
    """x, y, w, h in px, from the outer corner of the first pixel (COCO's own)."""
    area: float
    keypoints: NDArray[np.float64]
    """(17, 3): x, y in px and v (0 not labelled, 1 hidden, 2 visible)."""

    @property
    def readable(self) -> bool:
        """Says whether v is known and every labelled point has a place."""
        v = self.keypoints[:, 2]
        return bool(np.isin(v, (0, 1, 2)).all() and np.isfinite(self.keypoints[v > 0]).all())


@dataclass(frozen=True, kw_only=True, eq=False)
class CocoIndex:
    """The persons that a recipe selects, sorted by (image, annotation), and where their pictures are."""

    persons: tuple[Person, ...]
    pictures: dict[int, Image]
    folder: images.Folder

    @functools.cached_property
    def by_id(self) -> dict[int, Person]:
        """Returns the selected persons by annotation id."""
        return {person.annotation_id: person for person in self.persons}

    def members(self, key: ShardKey) -> list[Person]:
        """Returns a shard's persons in order.

        Raises:
            InputError: the annotation file is no longer the one that was planned with.
        """
        missing = [m for m in key.members if m not in self.by_id]
        if missing:
            why = f"annotation {missing[0]} and {len(missing) - 1} others are no longer selected"
            raise InputError(str(key), why, "The annotation file changed: plan again")
        return [self.by_id[m] for m in key.members]


def load(recipe: CocoRecipe) -> CocoIndex:
    """Reads the annotation file and applies the subset rules; kept in memory while the file is unchanged.

    Raises:
        InputError: unreachable, not JSON, no person category, no keypoints, double ids, or no person left;
            or the pictures' folder is unreachable.
    """
    try:
        fs, path = fsspec.core.url_to_fs(recipe.annotations)
        fs.invalidate_cache(path)
        version = str(fs.ukey(path))
    except Exception:
        log.debug("%s has no version", recipe.annotations, exc_info=True)
        version = ""  # reading it below gives the reason
    persons, pictures = _read(recipe, version)
    # The folder is opened anew each time: it remembers its listing, and pictures may have changed.
    return CocoIndex(persons=persons, pictures=pictures, folder=images.Folder(recipe.images))


@functools.lru_cache(maxsize=2)
def _read(recipe: CocoRecipe, version: str) -> tuple[tuple[Person, ...], dict[int, Image]]:
    url = recipe.annotations
    coco = _open(url, files.read_bytes(url))
    categories = set(coco.getCatIds(catNms=["person"]))
    if not categories:
        raise InputError(url, "has no category `person`", "Name a person_keypoints file")
    records = [a for a in coco.dataset["annotations"] if a.get("category_id") in categories]
    if not any("keypoints" in record for record in records):
        remedy = "Name a person_keypoints file, not an instances or captions file"
        raise InputError(url, "its person annotations hold no `keypoints`", remedy)
    if len(coco.anns) != len(coco.dataset["annotations"]):
        raise InputError(url, "several annotations share one id", "Give each its own")
    pictures = {int(i): _image(record) for i, record in coco.imgs.items()}
    persons = _select(recipe, [_person(r) for r in records if not r.get("iscrowd")], pictures)
    if not persons:
        raise InputError(
            url, "no person satisfies the recipe", "Relax subset, min_box_px or licences"
        )
    return persons, pictures


def _open(url: str, data: bytes) -> COCO:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(url, f"is not JSON ({error})", "Name a person_keypoints file") from error
    if not isinstance(document, dict):
        raise InputError(url, "is no COCO document", "Name a person_keypoints file")
    missing = {"images", "annotations", "categories"} - document.keys()
    if missing:
        what = ", ".join(sorted(missing))
        raise InputError(url, f"has no {what}", "Name a person_keypoints file")
    coco = COCO()
    coco.dataset = document
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            coco.createIndex()
        for record in document["images"] + document["annotations"]:
            int(record["id"]), int(record.get("image_id", 0))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"has a record without sound ids ({error!r})"
        raise InputError(url, why, "Mend the annotation file") from error
    return coco


def _image(record: dict[str, Any]) -> Image:
    def whole(name: str) -> int:
        value = record.get(name)
        return value if isinstance(value, int) else 0

    return Image(
        image_id=int(record["id"]),
        file_name=str(record.get("file_name") or ""),
        width=whole("width"),
        height=whole("height"),
        licence=whole("license"),
    )


def _person(record: dict[str, Any]) -> Person:
    def numbers(value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
        try:
            return np.array(value, dtype=np.float64).reshape(shape)
        except (TypeError, ValueError):
            return np.full(shape, np.nan)

    return Person(
        annotation_id=int(record["id"]),
        image_id=int(record["image_id"]),
        box=numbers(record.get("bbox"), (4,)),
        area=float(numbers(record.get("area"), ())),
        keypoints=numbers(record.get("keypoints"), (17, 3)),
    )


def _select(
    recipe: CocoRecipe, persons: list[Person], pictures: dict[int, Image]
) -> tuple[Person, ...]:
    """Applies the subset rules; an unreadable annotation stays, to be quarantined where all can see it."""

    def wanted(person: Person) -> bool:
        v = person.keypoints[LOWER, 2]
        rules = {"lower_labelled": (v > 0).all(), "lower_visible": (v == 2).all()}
        picture = pictures.get(person.image_id)
        licence = picture.licence if picture else 0
        return (
            bool(rules.get(recipe.subset, (v > 0).any()) or not person.readable)
            and not person.box[3] < recipe.min_box_px
            and (recipe.licences is None or licence in recipe.licences)
        )

    chosen = [p for p in persons if wanted(p)]
    if recipe.subset == "mini":
        chosen.sort(key=lambda p: unit_hash(recipe.seed, "mini", p.annotation_id))
        chosen = chosen[: recipe.mini_persons]
    return tuple(sorted(chosen, key=lambda p: (p.image_id, p.annotation_id)))
