"""A dataset in other tools' formats: COCO keypoints JSON, OpenSim models and motions, video clips.

Everything is written to any URL; each file appears whole or not at all, and a list of pictures after them.
"""

import io
import json
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.overlay import decode, jpeg, read_arrays
from schemas import files
from schemas.errors import InputError
from schemas.files import write_whole
from schemas.keypoints import COCO_KEYPOINTS, COCO_SKELETON, coco_v
from schemas.manifest import Dataset, open_dataset
from schemas.shards import ShardReceipt
from workers import images, motions, osim

_CRF = 18
"""x264's quality: visually lossless by its makers' account."""


def export_coco(url: str, out: str) -> str:
    """Writes COCO keypoints JSON to `out` and the stored crops to `<stem>_images/` beside it.

    Each picture carries the one person that it was cut for (others in it stay unannotated), with the sample's
    split, lot and group as extra fields. Points outside the picture are not labelled.

    Raises:
        InputError: nothing is published there, or the place cannot be written to.
    """
    dataset, folder = open_dataset(url), f"{out.removesuffix('.json')}_images"
    names = (
        *("image", "image_offset", "sample_id", "group_id", "box", "area", "licence"),
        *("keypoints", "keypoint_visibility"),
    )
    pictures: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for shard in dataset.shards:
        arrays = read_arrays(dataset, shard, names) if shard.rows else {}
        for row in range(shard.rows):
            number, data = len(pictures) + 1, jpeg(arrays, row)
            picture = _coco_image(number, shard, arrays, row, data)
            write_whole(f"{folder}/{picture['file_name']}", data)
            pictures.append(picture)
            annotations.append(_coco_annotation(number, arrays, row))
    document = {
        "info": {"description": f"{dataset.recipe.get('name')}, dataset {dataset.dataset_id}"},
        "licenses": [
            {"id": number, "name": f"COCO licence {number}"}
            for number in sorted({p["license"] for p in pictures if "license" in p})
        ],
        "categories": [_coco_category()],
        "images": pictures,
        "annotations": annotations,
    }
    write_whole(out, json.dumps(document, allow_nan=False).encode())
    return out


def export_opensim(url: str, folder: str) -> str:
    """Writes per subject a scaled `.osim`, and per subject and lot a `.mot` of the stored frames in time order.

    Raises:
        InputError: the dataset has no OpenSim motions, or the place cannot be written to.
    """
    dataset = open_dataset(url)
    bodies: dict[int, NDArray[np.float32]] = {}
    for shard in _with_skeleton(dataset):
        spec = dataset.store.read_skeleton(shard.skeleton)
        names = ("group_id", "time", "q", "scale")
        arrays = read_arrays(dataset, shard, names)
        for subject, rows in _in_time_order(arrays):
            place = f"{folder}/subject_{subject:04d}"
            scale = arrays["scale"][rows[0]]
            if subject not in bodies:
                bodies[subject] = scale
                model = _model(dataset, shard)
                scaled = osim.scaled_osim(model, scale.astype(np.float64))
                write_whole(f"{place}/subject_{subject:04d}.osim", scaled)
            if not np.array_equal(bodies[subject], scale):
                raise InputError(url, f"gives subject {subject} two bodies", "Build it anew")
            mot = motions.write_mot(
                spec, arrays["time"][rows].astype(np.float64), arrays["q"][rows]
            )
            write_whole(f"{place}/{_file_name(shard.key.lot)}.mot", mot)
    return folder


def export_video(url: str, folder: str) -> str:
    """Writes each clip as an `.mp4` and beside it a `.json` with its camera, frame times and poses' names.

    Raises:
        InputError: the dataset has no clips, or the place cannot be written to.
    """
    dataset = open_dataset(url)
    clips = {name: _fps(url, lot) for name, lot in dataset.lots.items() if lot.get("clip")}
    shards = [shard for shard in dataset.shards if shard.rows and shard.key.lot in clips]
    if not shards:
        raise InputError(url, "holds no clips", "Build lots with clip: true")
    names = ("image", "image_offset", "group_id", "time", "K", "T_cam_from_ground", "anthropometry")
    for shard in shards:
        arrays, fps = read_arrays(dataset, shard, names), clips[shard.key.lot]
        for subject, rows in _in_time_order(arrays):
            base = f"{folder}/{shard.key.split}_{_file_name(shard.key.lot)}_{subject:04d}"
            pictures = (decode(dataset, arrays, row) for row in rows)
            write_whole(f"{base}.mp4", _mp4(pictures, arrays["time"][rows], fps))
            about = _about_clip(dataset, shard, arrays, rows) | {"subject": subject, "fps": fps}
            write_whole(f"{base}.json", json.dumps(about, indent=1).encode())
    return folder


def _fps(url: str, lot: dict[str, Any]) -> float:
    fps = lot.get("fps")
    if not isinstance(fps, int | float) or not 0 < fps <= 1000:
        raise InputError(
            url, f"has clips of {fps!r:.40} frames a second", "Build the dataset again"
        )
    return float(fps)


def _in_time_order(arrays: dict[str, np.ndarray]) -> Iterator[tuple[int, list[int]]]:
    """Yields each subject of a shard with its rows by rising time, of equal times only the first."""
    for subject in np.unique(arrays["group_id"]):
        rows = np.flatnonzero(arrays["group_id"] == subject)
        _, first = np.unique(arrays["time"][rows], return_index=True)
        yield int(subject), [int(row) for row in rows[first]]


def _with_skeleton(dataset: Dataset) -> list[ShardReceipt]:
    shards = [shard for shard in dataset.shards if shard.skeleton and shard.rows]
    if not shards:
        raise InputError(dataset.url, "holds no OpenSim motions", "Export a synthetic dataset")
    return shards


def _model(dataset: Dataset, shard: ShardReceipt) -> bytes:
    try:
        digest = dataset.store.read_attributes(shard.action_key)["tables"]["model"]
    except (FileNotFoundError, KeyError, TypeError) as error:
        where = f"{dataset.url}/shards/{shard.action_key}"
        raise InputError(where, "names no model", "Build the dataset again") from error
    return dataset.store.read_model(str(digest))


def _file_name(lot: str) -> str:
    """Makes a lot's name, which a stranger chose, fit for a file; changed names stay distinct."""
    clean = re.sub(r"[^A-Za-z0-9_-]", "_", lot)[:80]
    return clean if clean == lot else f"{clean}-{files.digest(lot.encode())[:6]}"


def _coco_category() -> dict[str, Any]:
    lines = [[COCO_KEYPOINTS.index(a) + 1, COCO_KEYPOINTS.index(b) + 1] for a, b in COCO_SKELETON]
    return {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(COCO_KEYPOINTS),
        "skeleton": lines,
    }


def _coco_image(
    number: int, shard: ShardReceipt, arrays: dict[str, np.ndarray], row: int, data: bytes
) -> dict[str, Any]:
    width, height = images.jpeg_size(data)
    licence = int(arrays["licence"][row])
    known = {"license": licence} if licence else {}
    return known | {
        "id": number,
        "file_name": f"{number:08d}.jpg",
        "width": width,
        "height": height,
        "split": shard.key.split,
        "lot": shard.key.lot,
        "group": int(arrays["group_id"][row]),
        "sample": int(arrays["sample_id"][row]),
    }


def _coco_annotation(number: int, arrays: dict[str, np.ndarray], row: int) -> dict[str, Any]:
    v = coco_v(arrays["keypoint_visibility"][row])
    v = np.where(np.isfinite(arrays["keypoints"][row]).all(axis=1), v, 0)
    points = np.where(v[:, None] > 0, arrays["keypoints"][row].astype(np.float64), 0.0)
    triples = [
        [round(float(x), 2), round(float(y), 2), int(c)]
        for (x, y), c in zip(points, v, strict=True)
    ]
    # COCO's boxes count from the outer corner of the first pixel.
    box = arrays["box"][row].astype(np.float64) + [0.5, 0.5, 0.0, 0.0]
    return {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [round(float(value), 2) for value in box],
        "area": round(float(arrays["area"][row]), 2),
        "keypoints": [value for triple in triples for value in triple],
        "num_keypoints": int((v > 0).sum()),
    }


def _mp4(pictures: Iterator[images.Picture], times: NDArray[np.float32], fps: float) -> bytes:
    """Encodes H.264; a frame that is missing in between leaves its time empty."""
    import av  # here, as it loads FFmpeg's libraries, which only videos need

    rate = Fraction(fps).limit_denominator(1001)
    sink, last = io.BytesIO(), -1
    with av.open(sink, "w", format="mp4") as container:
        stream: Any = None
        for picture, time in zip(pictures, times, strict=True):
            even = np.pad(picture, [(0, n % 2) for n in picture.shape[:2]] + [(0, 0)], mode="edge")
            if stream is None:
                stream = container.add_stream("libx264", rate=rate, options={"crf": str(_CRF)})
                stream.height, stream.width = even.shape[:2]
                stream.pix_fmt, stream.thread_count = "yuv420p", 1
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            last = max(last + 1, round(float(time - times[0]) * fps))
            frame.pts, frame.time_base = last, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return sink.getvalue()


def _about_clip(
    dataset: Dataset, shard: ShardReceipt, arrays: dict[str, np.ndarray], rows: Sequence[int]
) -> dict[str, Any]:
    """Describes a clip; a camera in a hand moves, so it has a matrix a frame, one that stands still has one."""
    stature, mass, age, sex = (float(value) for value in arrays["anthropometry"][rows[0]])
    return {
        "dataset_id": dataset.dataset_id,
        "lot": shard.key.lot,
        "split": shard.key.split,
        "times": [round(float(t), 6) for t in arrays["time"][list(rows)]],
        "K": _matrices(arrays["K"][list(rows)]),
        "T_cam_from_ground": _matrices(arrays["T_cam_from_ground"][list(rows)]),
        "person": {"stature_m": stature, "mass_kg": mass, "age": age, "male": bool(sex)},
    }


def _matrices(values: NDArray[Any]) -> list[Any]:
    """Returns one matrix where all (n, i, j) are the same, else all."""
    still = np.allclose(values, values[0], rtol=0, atol=1e-6)
    found: list[Any] = (values[0] if still else values).astype(np.float64).tolist()
    return found
