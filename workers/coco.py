"""COCO keypoint annotations to shards of person crops, in the same array layout as the synthetic source.

Pixels: COCO writes keypoints as pixel indices, which is this project's rule (the first pixel's centre is
(0, 0)), but boxes from the outer corner of the first pixel; so boxes move by -0.5 on the way in.
A person is one annotation; what a split never divides is its image.
"""

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas import files, layout
from schemas.errors import SampleRejected
from schemas.geometry import affine_from_box, apply_affine, fit_box
from schemas.keypoints import Visibility
from schemas.recipes import CocoRecipe
from schemas.shards import (
    Quarantined,
    ShardContents,
    ShardKey,
    Split,
    canonical_digest,
    unit_hash,
)
from workers import images
from workers.coco_index import LOWER, CocoIndex, Image, Person, load
from workers.cutting import cut

__all__ = ["CocoIndex", "identify", "inputs", "load", "make_shard", "plan", "settings"]

_FROM_V = np.array([Visibility.UNLABELLED, Visibility.OCCLUDED, Visibility.VISIBLE], dtype=np.uint8)
_READ_AHEAD = 32


def plan(recipe: CocoRecipe, index: CocoIndex) -> list[ShardKey]:
    """Cuts the selected persons into shards whose borders depend on the images near them only.

    Within a split, persons in the order of their images, an image never divided; see `workers.cutting`. An added image
    changes its own shard, seldom the next.
    """
    splits: dict[Split, list[tuple[int, list[int]]]] = {"train": [], "val": [], "test": []}
    for image_id, group in groupby(index.persons, key=lambda p: p.image_id):
        splits[_split(recipe, image_id)].append((image_id, [p.annotation_id for p in group]))
    shards = []
    for split, groups in splits.items():
        ranks = [unit_hash("cut", image_id) for image_id, _ in groups]
        start = 0
        for end in cut(ranks, [len(ids) for _, ids in groups], recipe.shard_samples):
            shards.append(_key(split, [i for _, ids in groups[start:end] for i in ids]))
            start = end
    return shards


def inputs(index: CocoIndex, key: ShardKey) -> dict[str, Any]:
    """Digests everything outside the recipe that the shard's bytes depend on: annotations, and pictures by name.

    Of pictures that the index' folder has read, what was read counts.
    """
    persons = index.members(key)
    numbers = sorted({p.image_id for p in persons})
    return {
        "annotations": _digest(persons),
        "images": dict(_image_inputs(index, image_id) for image_id in numbers),
    }


def identify(index: CocoIndex) -> None:
    """Looks at all selected persons' pictures, several at once, so that `inputs` need not wait for each."""
    wanted = {p.image_id for p in index.persons}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(functools.partial(_image_inputs, index), sorted(wanted)))


def settings(recipe: CocoRecipe) -> dict[str, Any]:
    """Returns the part of the recipe that a shard's bytes depend on; the rest only chooses its members."""
    return recipe.model_dump(mode="json", include={"context", "image_px", "jpeg_quality"})


def make_shard(recipe: CocoRecipe, index: CocoIndex, key: ShardKey) -> ShardContents:
    """Cuts, scales and encodes a shard's persons; whoever cannot be used is quarantined with the reason.

    The crop is the square about the box's centre with `context` times the box's longer side, always stored
    at `image_px`, so small persons are enlarged: batches then decode into one buffer, and a JPEG of
    an enlarged picture is small.
    """
    rows: list[_Row] = []
    rejected: list[Quarantined] = []
    for person, picture in _with_pictures(index, index.members(key)):
        try:
            rows.append(_crop(recipe, index, person, picture))
        except SampleRejected as error:
            sample = f"annotation {person.annotation_id} in image {person.image_id}"
            rejected.append(Quarantined(sample=sample, reason=error.reason, detail=error.detail))
    arrays = layout.empty(layout.Sizes(), len(rows))
    for i, row in enumerate(rows):
        _fill({name: array[i : i + 1] for name, array in arrays.items()}, row)
    return ShardContents(
        images=[row.jpeg for row in rows],
        arrays=arrays,
        tables={"pictures": {str(r.image.image_id): r.image.file_name for r in rows}},
        quarantine=tuple(rejected),
        planned=len(key.members),
    )


def _split(recipe: CocoRecipe, image_id: int) -> Split:
    place = unit_hash(recipe.seed, "split", image_id)
    if place < recipe.splits.train:
        return "train"
    return "val" if place < recipe.splits.train + recipe.splits.val else "test"


def _key(split: Split, members: Sequence[int]) -> ShardKey:
    return ShardKey(source="coco", lot="persons", split=split, members=tuple(members))


def _digest(persons: Sequence[Person]) -> str:
    """Digests all that the annotations say of persons, bit by bit; every NaN counts as the same."""
    ids = np.array([[p.annotation_id, p.image_id] for p in persons], "<i8")
    numbers = np.array([[*p.box, p.area, *p.keypoints.ravel()] for p in persons], "<f8")
    numbers[np.isnan(numbers)] = np.nan
    return files.digest(ids.tobytes() + numbers.tobytes())


def _image_inputs(index: CocoIndex, image_id: int) -> tuple[str, str]:
    """Returns a picture's id and name, and half a sha256 of all that is known of it: a shard has dozens of them."""
    image = index.pictures.get(image_id)
    if image is None:
        return str(image_id), "not described"
    try:
        identity = index.folder.identity(image.file_name)
    except SampleRejected as error:
        identity = error.reason
    about = [image.width, image.height, image.licence, identity]
    return f"{image_id} {image.file_name}", canonical_digest(about)[:32]


def _with_pictures(
    index: CocoIndex, persons: list[Person]
) -> Iterator[tuple[Person, images.Picture | SampleRejected]]:
    """Pairs each person with the decoded picture, decoding once an image; reads ahead, so a store may be far."""
    groups = [(i, list(g)) for i, g in groupby(persons, key=lambda p: p.image_id)]
    with ThreadPoolExecutor(8) as pool:
        for start in range(0, len(groups), _READ_AHEAD):
            part = groups[start : start + _READ_AHEAD]
            fetched = pool.map(functools.partial(_fetch, index), [i for i, _ in part])
            for (image_id, group), data in zip(part, fetched, strict=True):
                picture = _decode(index.pictures, image_id, data)
                yield from ((person, picture) for person in group)


def _fetch(index: CocoIndex, image_id: int) -> bytes | SampleRejected:
    try:
        image = index.pictures.get(image_id)
        if image is None:
            raise SampleRejected("missing_image", f"the file describes no image {image_id}")
        return index.folder.read(image.file_name)
    except SampleRejected as error:
        return error


def _decode(
    described: dict[int, Image], image_id: int, data: bytes | SampleRejected
) -> images.Picture | SampleRejected:
    if isinstance(data, SampleRejected):
        return data
    try:
        picture = images.decode(data)
    except SampleRejected as error:
        return error
    image = described[image_id]
    height, width = picture.shape[:2]
    if (width, height) != (image.width, image.height):
        told = (
            f"{image.file_name} is {width} x {height}, described as {image.width} x {image.height}"
        )
        return SampleRejected("size_mismatch", told)
    return picture


@dataclass(frozen=True, kw_only=True, eq=False)
class _Row:
    person: Person
    image: Image
    box_px: NDArray[np.float64]
    """x, y, w, h in the source picture, pixel-centre rule."""
    A_crop_from_source: NDArray[np.float64]
    jpeg: bytes


def _crop(
    recipe: CocoRecipe, index: CocoIndex, person: Person, picture: images.Picture | SampleRejected
) -> _Row:
    if isinstance(picture, SampleRejected):
        raise picture
    image, side = index.pictures[person.image_id], recipe.image_px
    if not person.readable:
        raise SampleRejected("bad_keypoints", "not 17 triples of x, y and v in 0, 1, 2")
    x, y, w, h = person.box
    inside = w > 0 and h > 0 and x < image.width and y < image.height and x + w > 0 and y + h > 0
    if not (np.isfinite(person.box).all() and inside):
        raise SampleRejected("bad_box", f"{person.box.tolist()} holds nothing of the picture")
    if not np.isfinite(person.area):
        raise SampleRejected("bad_area", "the annotation has no area, which COCO's OKS needs")
    box_px = person.box - np.array([0.5, 0.5, 0.0, 0.0])
    A = affine_from_box(fit_box(box_px, 1.0, recipe.context), side, side)
    jpeg = images.encode(images.warp(picture, A, side, side), recipe.jpeg_quality)
    return _Row(person=person, image=image, box_px=box_px, A_crop_from_source=A, jpeg=jpeg)


def _fill(arrays: dict[str, np.ndarray], row: _Row) -> None:
    """Writes one row of every array that a photograph has."""
    person, A = row.person, row.A_crop_from_source
    scale = A[0, 0]
    v = person.keypoints[:, 2].astype(np.uint8)
    labelled = v[LOWER] > 0
    corner = apply_affine(A, row.box_px[:2])
    arrays["sample_id"][0] = person.annotation_id
    arrays["group_id"][0] = person.image_id
    arrays["box"][0] = [*corner, *(scale * row.box_px[2:])]
    arrays["keypoints"][0] = np.where(
        v[:, None] > 0, apply_affine(A, person.keypoints[:, :2]), np.nan
    )
    arrays["keypoint_visibility"][0] = _FROM_V[v]
    arrays["A_crop_from_source"][0] = A
    arrays["area"][0] = person.area * scale**2
    arrays["licence"][0] = row.image.licence
    if labelled.any():
        arrays["occlusion"][0] = (v[LOWER] == 1).sum() / labelled.sum()
