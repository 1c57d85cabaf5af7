"""Background photographs: a square crop of a JPEG in a folder that the recipe names."""

import json
from functools import lru_cache

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from schemas import files
from schemas.errors import InputError
from schemas.recipes import Scene
from workers import catalogue
from workers.images import MAX_PIXELS

KIND = (".jpg",)
_PERSON = 1
"""COCO's category."""


def identify(scene: Scene) -> str:
    """Identifies the background photos as they are now, and what says which of them show people; "" without photos.

    Raises:
        InputError: the folder cannot be listed, or holds no photo; the annotations cannot be read.
    """
    if scene.backgrounds is None:
        return ""
    photos = catalogue.identify(scene.backgrounds, KIND)
    if scene.people_in_backgrounds is None:
        return photos
    return f"{photos} {files.digest(files.read_bytes(scene.people_in_backgrounds))}"


@lru_cache(maxsize=4)
def _with_people(url: str) -> frozenset[str]:
    """Returns the names of the photos that a COCO JSON says show a person."""
    data = files.read_bytes(url)
    try:
        document = json.loads(data)
        annotations = document["annotations"]
        shown = {a["image_id"] for a in annotations if a.get("category_id", _PERSON) == _PERSON}
        pictures = (i for i in document["images"] if i["id"] in shown)
        return frozenset(str(i["file_name"]).rsplit("/", 1)[-1] for i in pictures)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        remedy = "Name COCO's instances or person_keypoints JSON"
        raise InputError(url, f"is no COCO annotation file ({error!r})", remedy) from error


def _allowed(scene: Scene, folder: str) -> catalogue.Entries:
    found = catalogue.entries(folder, KIND)
    if scene.people_in_backgrounds is None:
        return found
    peopled = _with_people(scene.people_in_backgrounds)
    allowed = tuple((url, d) for url, d in found if url.rsplit("/", 1)[-1] not in peopled)
    if not allowed:
        why = f"each of its {len(found)} photos shows people by {scene.people_in_backgrounds}"
        raise InputError(folder, why, "Name a folder that also holds photos without people")
    return allowed


def sample_photo(
    scene: Scene, folder: str, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], str]:
    """Draws a square crop of a photo that can be decoded; a broken one gives way to the next in the list."""
    photos = _allowed(scene, folder)
    start = int(rng.integers(len(photos)))
    share, x, y, mirrored = rng.uniform(0.6, 1.0), rng.uniform(), rng.uniform(), rng.random() < 0.5
    for k in range(len(photos)):
        url, digest = photos[(start + k) % len(photos)]
        picture = _decoded(url, digest)
        if picture is None:
            continue
        height, width = picture.shape[:2]
        edge = max(1, round(min(height, width) * share))
        top, left = round(y * (height - edge)), round(x * (width - edge))
        crop = picture[top : top + edge, left : left + edge]
        return np.ascontiguousarray(crop[:, ::-1] if mirrored else crop), url.rsplit("/", 1)[-1]
    raise InputError(
        folder,
        f"none of its {len(photos)} .jpg files can be decoded",
        "Name a folder of JPEG photos",
    )


@lru_cache(maxsize=64)
def _decoded(url: str, digest: str) -> NDArray[np.uint8] | None:
    """Returns a photo of at least 400 px where it has them, or None for what is not a whole JPEG."""
    data = catalogue.read(url, digest)
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        if height * width > MAX_PIXELS:
            return None
        picture: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", min_height=400, min_width=400
        )
    except ValueError:
        return None
    return picture
