"""A COCO of a few pictures, made in a folder, for the tests."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from schemas.keypoints import COCO_KEYPOINTS
from workers import images


def person(number: int, image: int, v: int = 2, **changes: Any) -> dict[str, Any]:
    """Describes one person with all 17 keypoints."""
    points = np.stack([np.linspace(60, 90, 17), np.linspace(30, 120, 17), np.full(17, v)], axis=1)
    record = {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [50.0, 20.0, 60.0, 110.0],
        "area": 3000.0,
        "keypoints": np.round(points).flatten().tolist(),
    }
    return record | changes


def picture(number: int, **changes: Any) -> dict[str, Any]:
    """Describes one picture."""
    record = {"id": number, "file_name": f"{number:04d}.jpg", "width": 200, "height": 150}
    return record | {"license": 4} | changes


def document(pictures: list[dict[str, Any]], persons: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the annotation file's content."""
    categories = [{"id": 1, "name": "person", "keypoints": list(COCO_KEYPOINTS)}]
    return {"images": pictures, "annotations": persons, "categories": categories}


def jpeg(seed: int = 0, width: int = 200, height: int = 150) -> bytes:
    """Makes a smooth random picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    return images.encode(cv2.resize(coarse, (width, height)), 95)


def lay_out(folder: Path, content: dict[str, Any], files: dict[str, bytes]) -> Path:
    """Writes the annotation file and the pictures."""
    (folder / "persons.json").write_text(json.dumps(content))
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def small_set(folder: Path, count: int = 3) -> Path:
    """Lays out `count` pictures of two persons each."""
    numbers = range(1, count + 1)
    content = document(
        [picture(n) for n in numbers], [person(10 * n + i, n) for n in numbers for i in (0, 1)]
    )
    return lay_out(folder, content, {f"{n:04d}.jpg": jpeg(n) for n in numbers})
