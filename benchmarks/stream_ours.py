"""Kineforge's loader and the decode-only bound, for `benchmarks.stream`; and the samples themselves."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch

from benchmarks.stream_samples import BATCH, HEIGHT, WIDTH, Ready, Samples, decode
from schemas import layout, manifest
from schemas.shards import ShardContents, ShardKey, ShardReceipt, canonical_digest
from schemas.statistics import Statistics
from schemas.store import Store
from schemas.training import Streaming
from trainers import augment
from trainers.corpus import open_corpus
from trainers.data import SampleStream
from trainers.task import Batch
from workers import produce

Array = np.ndarray[Any, Any]
ROWS = 512
"""Samples per shard."""
_LEAST_PX = 100
"""A smaller person would be mostly blur, and its file small."""


def make_samples(coco: Path, count: int, quality: int = 95) -> Samples:
    """Cuts persons out of COCO's photographs, each in several random framings, as JPEG 4:2:0.

    Args:
        coco: a folder with `images` and `annotations/*.json`.
        count: how many.
        quality: of the JPEGs; 95 gives about 20 kB.
    """
    rng = np.random.default_rng(0)
    document = json.loads(next((coco / "annotations").glob("*.json")).read_text())
    names = {image["id"]: image["file_name"] for image in document["images"]}
    persons = [a for a in document["annotations"] if a["bbox"][3] >= _LEAST_PX]
    jpegs, keypoints, boxes = [], [], []
    for number in range(count):
        person = persons[number % len(persons)]
        photo = simplejpeg.decode_jpeg((coco / "images" / names[person["image_id"]]).read_bytes())
        box = np.array([person["bbox"]], dtype=np.float64)
        box[:, :2] += rng.uniform(-0.1, 0.1, 2) * box[:, 2:]
        A = augment.box_affine(box, HEIGHT, WIDTH, rng.uniform(1.0, 1.5))
        picture = augment.warp([photo], A, HEIGHT, WIDTH)[0].permute(1, 2, 0).contiguous().numpy()
        jpegs.append(simplejpeg.encode_jpeg(picture, quality, colorsubsampling="420"))
        points = np.array(person["keypoints"], dtype=np.float64).reshape(1, -1, 3)
        moved = augment.move_points(A, points[..., :2])[0]
        keypoints.append(np.column_stack([moved, points[0, :, 2] > 0]))
        corner, size = augment.move_points(A, box[:, None, :2])[0, 0], A[0, [0, 1], [0, 1]]
        boxes.append([*corner, *(size * box[0, 2:])])
    sizes = [len(jpeg) for jpeg in jpegs]
    return Samples(
        jpegs=np.frombuffer(b"".join(jpegs), np.uint8),
        offsets=np.cumsum([0, *sizes]),
        keypoints=np.array(keypoints, np.float32),
        box=np.array(boxes, np.float32),
    )


class Kineforge:
    """This project's own stream; `workers` are its decoding threads."""

    settings = f"default order (24 lanes, windows of 512), shards of {ROWS}"

    def write(self, samples: Samples, folder: Path) -> None:
        """Publishes a dataset."""
        store = Store(str(folder))
        numbers = range(0, len(samples), ROWS)
        receipts = [_write(store, samples, i, min(i + ROWS, len(samples))) for i in numbers]
        manifest.publish(str(folder), {"name": "stream"}, receipts)

    def epochs(self, url: str, cache: Path, workers: int) -> Iterator[Iterator[Ready]]:
        """Opens the dataset and yields one epoch after the other."""
        stream = SampleStream(
            corpus=open_corpus([manifest.open_dataset(url)], "train"),
            arrays=("keypoints", "keypoint_visibility", "box"),
            batch=BATCH,
            seed=0,
            options=Streaming(threads=workers),
            last="keep",
        )
        epoch = 0
        while True:
            yield (batch for _, batch in stream.batches(epoch, _finish))
            epoch += 1


def _finish(batch: Batch) -> Ready:
    arrays = {name: np.asarray(values) for name, values in batch.arrays.items()}
    # Pictures of one size are views of one buffer, which is the batch.
    whole: Any = batch.pixels
    fits = isinstance(whole, np.ndarray) and whole.shape == (len(batch), HEIGHT, WIDTH, 3)
    pixels = whole if fits else np.stack(batch.images)
    labelled = arrays["keypoint_visibility"][..., None].astype(np.float32)
    return Ready(
        ids=torch.from_numpy(arrays["sample_id"]),
        images=torch.from_numpy(pixels),
        keypoints=torch.from_numpy(np.concatenate([arrays["keypoints"], labelled], axis=2)),
        box=torch.from_numpy(arrays["box"]),
    )


def _write(store: Store, samples: Samples, first: int, last: int) -> ShardReceipt:
    arrays = layout.empty(layout.Sizes(), last - first)
    arrays["sample_id"][:] = arrays["group_id"][:] = np.arange(first, last)
    arrays["keypoints"][:] = samples.keypoints[first:last, :, :2]
    arrays["keypoint_visibility"][:] = samples.keypoints[first:last, :, 2]
    arrays["box"][:] = samples.box[first:last]
    jpegs = [samples.jpeg(i) for i in range(first, last)]
    key = ShardKey(source="synth", lot="stream", split="train", members=(first,))
    contents = ShardContents(images=jpegs, arrays=arrays, planned=len(jpegs))
    action_key = canonical_digest(["benchmarks.stream", str(key)])
    return produce.write(store, key, action_key, contents, Statistics(), {})


class DecodeBound:
    """JPEG bytes in memory to arrays and nothing else: what no loader with this decoder can exceed."""

    settings = "in stored order, reused buffers, targets by view"

    def write(self, samples: Samples, folder: Path) -> None:
        """Stores the flat files."""
        samples.save(folder)

    def epochs(self, url: str, cache: Path, workers: int) -> Iterator[Iterator[Ready]]:
        """Reads everything into memory and yields one epoch after the other."""
        samples = Samples.load(Path(url))
        jpegs = [samples.jpeg(i) for i in range(len(samples))]
        while True:
            yield _decoded(samples, jpegs, workers)


def _decoded(samples: Samples, jpegs: list[bytes], threads: int) -> Iterator[Ready]:
    buffers = [np.empty((BATCH, HEIGHT, WIDTH, 3), np.uint8) for _ in range(threads + 2)]

    def work(step: int) -> Ready:
        rows = slice(step * BATCH, min((step + 1) * BATCH, len(samples)))
        out = buffers[step % len(buffers)][: rows.stop - rows.start]
        decode(jpegs[rows], out)
        return Ready(
            ids=torch.arange(rows.start, rows.stop),
            images=torch.from_numpy(out),
            keypoints=torch.from_numpy(samples.keypoints[rows]),
            box=torch.from_numpy(samples.box[rows]),
        )

    return _in_flight(work, -(-len(samples) // BATCH), threads)


def _in_flight(work: Callable[[int], Ready], steps: int, threads: int) -> Iterator[Ready]:
    """Keeps one call more than threads going, and yields in order."""
    with ThreadPoolExecutor(threads) as pool:
        flying: list[Future[Ready]] = []
        for step in range(steps):
            flying.append(pool.submit(work, step))
            if len(flying) > threads:
                yield flying.pop(0).result()
        for future in flying:
            yield future.result()
