"""Small crops of drawn figures, as shards in memory, for tests of streams, tasks and loops."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from schemas import layout, manifest, receipts
from schemas.keypoints import LOWER_INDICES
from schemas.shards import ShardContents, ShardKey, ShardReceipt, Split, canonical_digest
from schemas.statistics import Statistics
from schemas.store import Store
from trainers.corpus import Corpus, Shard

_COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255], [0, 255, 255]]
)


class MemoryReader:
    """Shards in memory, behind the reading half of the store."""

    def __init__(self) -> None:
        self.shards: dict[str, dict[str, NDArray[Any]]] = {}
        self.reads: list[str] = []

    def read_arrays(
        self, action_key: str, names: Sequence[str], root: str | None = None
    ) -> dict[str, NDArray[Any]]:
        """Reads arrays; FileNotFoundError where there is no such shard."""
        self.reads.append(action_key)
        if action_key not in self.shards:
            raise FileNotFoundError(action_key)
        return {name: self.shards[action_key][name] for name in names}


def figure(rng: np.random.Generator, px: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Draws six coloured squares on grey at random places; returns picture and points (6, 2)."""
    image = np.full((px, px, 3), 90, np.uint8)
    points = rng.uniform(0.3 * px, 0.7 * px, (6, 2))
    half = max(1, px // 24)
    for colour, (x, y) in zip(_COLOURS, np.rint(points).astype(int), strict=True):
        image[y - half : y + half + 1, x - half : x + half + 1] = colour
    return image, points


def corpus(
    rows: Sequence[int], *, px: int = 64, seed: int = 0, split: str = "train", photos: bool = False
) -> Corpus:
    """Makes a corpus of figures with `rows[i]` samples in shard i; `sample_id` counts through them."""
    rng, reader, number = np.random.default_rng(seed), MemoryReader(), 0
    shards = []
    for i, count in enumerate(rows):
        arrays: dict[str, NDArray[Any]] = layout.empty(layout.Sizes(), count)
        drawn = [figure(rng, px) for _ in range(count)]
        jpegs = [simplejpeg.encode_jpeg(image, 95, colorsubsampling="444") for image, _ in drawn]
        arrays["sample_id"][:] = np.arange(number, number + count)
        arrays["group_id"][:] = arrays["sample_id"] // 2
        arrays["keypoints"][:, list(LOWER_INDICES)] = [points for _, points in drawn]
        arrays["keypoint_visibility"][:, list(LOWER_INDICES)] = 1
        arrays["box"][:] = [0.2 * px, 0.2 * px, 0.6 * px, 0.6 * px]
        arrays["area"][:] = (0.5 * px) ** 2
        arrays["A_crop_from_source"][:] = np.eye(3)
        arrays["image"] = np.frombuffer(b"".join(jpegs), np.uint8)
        arrays["image_offset"] = np.cumsum([0, *(len(j) for j in jpegs)]).astype("u4")
        number += count
        key = f"{i:02d}"
        reader.shards[key] = arrays
        shards.append(
            Shard(
                store=reader,
                action_key=key,
                rows=count,
                bytes=sum(len(j) for j in jpegs),
                photos=photos,
            )
        )
    return Corpus(dataset_ids=(f"figures-{seed}",), split=split, shards=tuple(shards))


def publish(url: str, rows: dict[Split, Sequence[int]], px: int = 32) -> manifest.Dataset:
    """Writes figures as a published dataset, with `rows[split]` samples in each shard."""
    made = []
    for number, (split, counts) in enumerate(rows.items()):
        data = corpus(counts, px=px, seed=number, split=split)
        for i, shard in enumerate(data.shards):
            reader = shard.store
            assert isinstance(reader, MemoryReader)
            made.append(_write(url, split, i, reader.shards[shard.action_key]))
    return manifest.publish(url, {"name": "figures"}, made)


def _write(url: str, split: Split, number: int, held: dict[str, NDArray[Any]]) -> ShardReceipt:
    arrays = dict(held)
    jpegs, offsets = arrays.pop("image").tobytes(), arrays.pop("image_offset")
    images = [jpegs[a:b] for a, b in pairwise(offsets)]
    key = ShardKey(source="synth", lot="figures", split=split, members=(number,))
    action_key = canonical_digest([str(key)])
    contents = ShardContents(images=images, arrays=arrays, planned=len(images))

    def receipt(size: int, root: str) -> ShardReceipt:
        return ShardReceipt(
            action_key=action_key,
            key=key,
            rows=len(images),
            bytes=size,
            root=root,
            statistics=Statistics(),
            quarantine=(),
            skeleton="",
        )

    def attributes(size: int, digests: dict[str, str]) -> dict[str, Any]:
        return {"receipt": receipts.to_json(receipt(size, "")) | {"digests": digests}}

    return receipt(*Store(url).write_shard(action_key, contents, attributes))
