"""Picks samples of a dataset to look at and draws their labels on the pictures.

Points are drawn on their pixel centres; hidden ones hollow, those outside the picture not at all.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError, SampleRejected
from schemas.geometry import affine_from_box, apply_affine
from schemas.keypoints import COCO_KEYPOINTS, COCO_SKELETON, Visibility
from schemas.manifest import Dataset
from schemas.shards import ShardReceipt, generator
from schemas.skeleton import SkeletonSpec
from workers import images

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
LEFT: Colour = (20, 180, 255)
RIGHT: Colour = (255, 100, 50)
MIDDLE: Colour = (235, 235, 235)
MARKER: Colour = (190, 240, 40)
_RIM: Colour = (20, 20, 20)
_MAX_SHARDS = 8
_OVERSAMPLE = 3
"""OpenCV draws small circles as diamonds; drawn large and shrunk they are round."""
_ARRAYS = (
    *("image", "image_offset", "sample_id", "group_id", "time", "q", "camera_yaw", "keypoints"),
    *("keypoint_visibility", "joints_px", "joint_visibility", "markers_px", "marker_visibility"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One sample with its picture as stored and its row of each array."""

    shard: ShardReceipt
    picture: Picture
    arrays: dict[str, Any]
    skeleton: SkeletonSpec | None

    @property
    def caption(self) -> str:
        """Says in a line what the picture shows."""
        lot, group = self.shard.key.lot, int(self.arrays["group_id"])
        if self.skeleton is None:
            return f"image {group}, person {int(self.arrays['sample_id'])}"
        angles = dict(
            zip(self.skeleton.coordinate_names, np.degrees(self.arrays["q"]), strict=True)
        )
        text = f"{lot}, subject {group}, {float(self.arrays['time']):.2f} s"
        if {"knee_angle_l", "knee_angle_r"} - angles.keys():
            return text
        return f"{text}, knees L {angles['knee_angle_l']:.0f}° R {angles['knee_angle_r']:.0f}°"


def pick(dataset: Dataset, count: int) -> list[Sample]:
    """Draws samples that show the whole dataset: all lots, then all splits; the same for the same dataset."""
    rng = generator(0, "look", dataset.dataset_id)
    shards = spread([s for s in dataset.shards if s.rows], rng)[: min(count, _MAX_SHARDS)]
    if not shards:
        return []
    each = [0] * len(shards)
    for i in itertools.cycle(range(len(shards))):
        if sum(each) == min(count, sum(shard.rows for shard in shards)):
            break
        each[i] += each[i] < shards[i].rows
    found = []
    for shard, wanted in zip(shards, each, strict=True):
        rows = np.sort(rng.choice(shard.rows, wanted, replace=False))
        found += _read(dataset, shard, [int(r) for r in rows])
    return found


def read_arrays(
    dataset: Dataset, shard: ShardReceipt, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Reads arrays of a published shard.

    Raises:
        InputError: the shard, which the manifest names, is gone or broken.
    """
    try:
        return dataset.store.read_arrays(shard.action_key, names)
    except FileNotFoundError as error:
        why = f"shard {shard.action_key} is published but not there"
        raise InputError(dataset.url, why, "Build the dataset again") from error


def decode(dataset: Dataset, arrays: dict[str, np.ndarray], row: int) -> Picture:
    """Decodes a row's picture from the arrays `image` and `image_offset`.

    Raises:
        InputError: the stored picture is broken.
    """
    try:
        return images.decode(jpeg(arrays, row))
    except SampleRejected as error:
        why = f"a stored picture is broken ({error})"
        raise InputError(dataset.url, why, "Build the dataset again") from error


def jpeg(arrays: dict[str, np.ndarray], row: int) -> bytes:
    """Cuts a row's JPEG file out of the arrays `image` and `image_offset`."""
    start, stop = (int(n) for n in arrays["image_offset"][row : row + 2])
    return arrays["image"][start:stop].tobytes()


def draw(sample: Sample, side: int) -> Picture:
    """Enlarges or shrinks the picture to `side` px and draws limbs, joints and markers on it."""
    large, (height, width) = _OVERSAMPLE * side, sample.picture.shape[:2]
    A = affine_from_box(np.array([-0.5, -0.5, width, height]), large, large)
    canvas = np.asarray(
        cv2.resize(sample.picture, (large, large), interpolation=cv2.INTER_CUBIC), dtype=np.uint8
    )
    arrays, thick = sample.arrays, max(1, large // 240)

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return apply_affine(A, points.astype(np.float64))

    _draw_limbs(canvas, place(arrays["keypoints"]), arrays["keypoint_visibility"], thick)
    for point, visible in zip(
        place(arrays["markers_px"]), arrays["marker_visibility"], strict=True
    ):
        _dot(canvas, point, int(visible), MARKER, thick)
    names: tuple[str, ...] = COCO_KEYPOINTS
    points, seen = arrays["keypoints"], arrays["keypoint_visibility"]
    if sample.skeleton is not None:
        names = sample.skeleton.joint_names
        points, seen = arrays["joints_px"], arrays["joint_visibility"]
    for name, point, visible in zip(names, place(points), seen, strict=True):
        _dot(canvas, point, int(visible), _side(name), 2 * thick)
    small = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def strips(
    dataset: Dataset, most: int = 3, frames: int = 10, side: int = 150
) -> list[tuple[str, Picture]]:
    """Returns a caption and a row of evenly spaced frames with labels of one clip each of the first clip lots."""
    clips = [name for name, lot in dataset.lots.items() if lot.get("clip")]
    found = []
    for lot in clips[:most]:
        shard = next((s for s in dataset.shards if s.rows and s.key.lot == lot), None)
        if shard is None:
            continue
        held = read_arrays(dataset, shard, ["group_id", "time"])
        rows = np.flatnonzero(held["group_id"] == held["group_id"][0])
        rows = rows[np.argsort(held["time"][rows], kind="stable")]
        shown = rows[np.linspace(0, len(rows) - 1, min(frames, len(rows))).astype(int)]
        samples = _read(dataset, shard, [int(row) for row in shown])
        ends = [float(held["time"][row]) for row in (rows[0], rows[-1])]
        text = f"{lot}, subject {int(held['group_id'][0])}, {len(rows)} frames from {ends[0]:.2f} to {ends[1]:.2f} s"
        found.append((text, sheet([draw(s, side) for s in samples], columns=frames)))
    return found


def sheet(tiles: list[Picture], columns: int, gap: int = 4) -> Picture:
    """Lays equal tiles out in rows on white."""
    if not tiles:
        return np.full((gap, gap, 3), 255, np.uint8)
    side, rows = tiles[0].shape[0], -(-len(tiles) // columns)
    shape = (rows * (side + gap) + gap, columns * (side + gap) + gap, 3)
    canvas = np.full(shape, 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = (gap + n * (side + gap) for n in divmod(i, columns))
        canvas[y : y + side, x : x + side] = tile
    return canvas


def spread(shards: list[ShardReceipt], rng: np.random.Generator) -> list[ShardReceipt]:
    """Orders shards so that any beginning holds each (split, lot) about equally."""
    groups: dict[tuple[str, str], list[ShardReceipt]] = {}
    for i in rng.permutation(len(shards)):
        shard = shards[int(i)]
        groups.setdefault((shard.key.split, shard.key.lot), []).append(shard)
    order = [groups[name] for name in sorted(groups)]
    ranked = [(rank, g, s) for g, group in enumerate(order) for rank, s in enumerate(group)]
    return [shard for _, _, shard in sorted(ranked, key=lambda r: r[:2])]


def _read(dataset: Dataset, shard: ShardReceipt, rows: list[int]) -> list[Sample]:
    arrays = read_arrays(dataset, shard, _ARRAYS)
    labels = {name: values for name, values in arrays.items() if not name.startswith("image")}
    skeleton = dataset.store.read_skeleton(shard.skeleton) if shard.skeleton else None
    return [
        Sample(
            shard=shard,
            picture=decode(dataset, arrays, row),
            arrays={name: values[row] for name, values in labels.items()},
            skeleton=skeleton,
        )
        for row in rows
    ]


def _side(name: str) -> Colour:
    if name.startswith("left_") or name.endswith("_l"):
        return LEFT
    return RIGHT if name.startswith("right_") or name.endswith("_r") else MIDDLE


def _draw_limbs(
    canvas: Picture, points: NDArray[np.float64], seen: NDArray[np.uint8], thick: int
) -> None:
    for a, b in COCO_SKELETON:
        i, j = COCO_KEYPOINTS.index(a), COCO_KEYPOINTS.index(b)
        if not (_shown(points[i], int(seen[i])) and _shown(points[j], int(seen[j]))):
            continue
        colour = _side(a) if _side(a) == _side(b) else MIDDLE
        cv2.line(canvas, _fixed(points[i]), _fixed(points[j]), colour, thick, cv2.LINE_AA, 4)


def _shown(point: NDArray[np.float64], visible: int) -> bool:
    known = visible not in (Visibility.UNLABELLED, Visibility.OUT_OF_FRAME)
    return known and bool(np.isfinite(point).all())


def _dot(
    canvas: Picture, point: NDArray[np.float64], visible: int, colour: Colour, radius: int
) -> None:
    if not _shown(point, visible):
        return
    centre = _fixed(point)
    if visible == Visibility.VISIBLE:
        cv2.circle(canvas, centre, 16 * radius + 20, _RIM, -1, cv2.LINE_AA, 4)
        cv2.circle(canvas, centre, 16 * radius, colour, -1, cv2.LINE_AA, 4)
    else:
        cv2.circle(canvas, centre, 16 * radius, colour, 2, cv2.LINE_AA, 4)


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    """Returns OpenCV's fixed-point pixel with four fractional bits."""
    x, y = np.rint(point * 16).astype(int)
    return int(x), int(y)
