"""What a person wants to know of a dataset: a short summary, a contact sheet, one self-contained page."""

import base64
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
import yaml
from markupsafe import Markup

from pipeline import charts, overlay, reached
from schemas.errors import InputError
from schemas.files import write_whole
from schemas.manifest import Dataset, open_dataset
from schemas.shards import ShardReceipt
from workers import images

_SAMPLES = 24
_TILE_PX = 320
_PLAIN_PX = 128


def info(url: str) -> dict[str, Any]:
    """Returns what a dataset holds as JSON values, from its manifest alone.

    Raises:
        InputError: nothing is published there, or it cannot be reached.
    """
    return summary(open_dataset(url))


def preview(url: str, out: str) -> str:
    """Writes one HTML page without any outside link; the page appears whole or not at all.

    Raises:
        InputError: nothing is published there, or the page cannot be written.
    """
    dataset = open_dataset(url)
    samples = overlay.pick(dataset, _SAMPLES)
    quarantine = _quarantine(dataset)
    template, script = (
        Path(__file__).with_name(name).read_text(encoding="utf-8")
        for name in ("preview.html", "preview.js")
    )
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        template
    )
    text = page.render(
        info=summary(dataset),
        url=url,
        summary=_summary(dataset),
        groups=_group_name(dataset),
        counts=_counts(dataset),
        tiles=[{"src": _tile(s), "caption": s.caption} for s in samples],
        plain=_jpeg_uri(_plain_sheet(samples)),
        left=overlay.LEFT,
        right=overlay.RIGHT,
        marker=overlay.MARKER,
        strips=[{"src": _jpeg_uri(p), "caption": c} for c, p in overlay.strips(dataset)],
        targets=reached.reached(dataset),
        groups_of_plots=charts.groups(dataset),
        names=charts.names(dataset),
        explorer=charts.explorer(dataset),
        script=Markup(script),
        quarantine=quarantine,
        quarantined=sum(row["count"] for row in quarantine),
        planned=dataset.rows + sum(row["count"] for row in quarantine),
        skeletons=[_skeleton(dataset, fingerprint) for fingerprint in dataset.skeletons],
        recipe=_yaml(dataset.recipe),
    )
    write_whole(out, text.encode())
    return out


def contact_sheet(url: str, out: str, rows: int, cols: int, side: int = 256) -> str:
    """Writes a JPEG or PNG (by the name's suffix) of rows x cols samples with their labels drawn.

    Raises:
        InputError: nothing is published there, another suffix, or the file cannot be written.
    """
    suffix = Path(out).suffix.lower()
    if suffix not in (".jpg", ".jpeg", ".png"):
        raise InputError(out, "is neither .jpg nor .png", "Choose another file name")
    samples = overlay.pick(open_dataset(url), rows * cols)
    picture = overlay.sheet([overlay.draw(sample, side) for sample in samples], cols)
    if suffix == ".png":
        _, encoded = cv2.imencode(".png", picture[..., ::-1])
        write_whole(out, encoded.tobytes())
    else:
        write_whole(out, images.encode(picture, 88))
    return out


def summary(dataset: Dataset) -> dict[str, Any]:
    """Returns what a dataset holds as JSON values, from its manifest alone."""
    splits: dict[str, int] = {"train": 0, "val": 0, "test": 0}
    lots: dict[str, int] = {}
    for shard in dataset.shards:
        splits[shard.key.split] += shard.rows
        lots[shard.key.lot] = lots.get(shard.key.lot, 0) + shard.rows
    return {
        "name": str(dataset.recipe.get("name", "")),
        "kind": str(dataset.recipe.get("kind", "")),
        "dataset_id": dataset.dataset_id,
        "number": dataset.number,
        "parent": dataset.commit.parent,
        "created": dataset.commit.created,
        "samples": dataset.rows,
        "shards": len(dataset.shards),
        "bytes": dataset.bytes,
        "bytes_per_sample": round(dataset.bytes / dataset.rows) if dataset.rows else 0,
        "splits": splits,
        "lots": lots,
        "quarantined": {row["reason"]: row["count"] for row in _quarantine(dataset)},
        "skeletons": list(dataset.skeletons),
        "tools": dataset.commit.tools,
    }


def _summary(dataset: Dataset) -> str:
    size = dataset.bytes / 1e6
    what = "synthetic people" if _group_name(dataset) == "subjects" else "persons in photographs"
    return f"{dataset.rows:,} samples of {what} in {len(dataset.shards):,} shards, {size:,.1f} MB."


def _group_name(dataset: Dataset) -> str:
    return "images" if dataset.recipe.get("kind") == "coco" else "subjects"


def _counts(dataset: Dataset) -> list[dict[str, Any]]:
    """Returns a row for each lot and split, then the sum; groups are what no split divides."""

    def groups_of(shard: ShardReceipt) -> set[int]:
        ids = overlay.read_arrays(dataset, shard, ["group_id"])["group_id"]
        return {int(i) for i in ids}

    with ThreadPoolExecutor(8) as pool:
        groups = list(pool.map(groups_of, dataset.shards))
    pairs = list(zip(dataset.shards, groups, strict=True))
    names = sorted(
        {(s.key.lot, s.key.split) for s in dataset.shards},
        key=lambda n: (n[0], ["train", "val", "test"].index(n[1])),
    )
    rows = [
        _count(lot, split, [p for p in pairs if (p[0].key.lot, p[0].key.split) == (lot, split)])
        for lot, split in names
    ]
    return [*rows, _count("all", "", pairs) | {"sum": True}]


def _count(lot: str, split: str, pairs: list[tuple[ShardReceipt, set[int]]]) -> dict[str, Any]:
    return {
        "lot": lot,
        "split": split,
        "samples": sum(shard.rows for shard, _ in pairs),
        "groups": len(set().union(*(group for _, group in pairs))),
        "shards": len(pairs),
        "bytes": sum(shard.bytes for shard, _ in pairs),
        "sum": False,
    }


def _quarantine(dataset: Dataset) -> list[dict[str, Any]]:
    """Returns each reason with its count and first example, the most frequent first."""
    entries = [entry for shard in dataset.shards for entry in shard.quarantine]
    count = Counter(entry.reason for entry in entries)
    first = {entry.reason: entry for entry in reversed(entries)}
    return [
        {"reason": r, "count": n, "sample": first[r].sample, "detail": first[r].detail}
        for r, n in count.most_common()
    ]


def _skeleton(dataset: Dataset, fingerprint: str) -> dict[str, Any]:
    spec = dataset.store.read_skeleton(fingerprint)
    return {
        "fingerprint": fingerprint,
        "coordinates": len(spec.coordinate_names),
        "bodies": len(spec.body_names),
        "joints": len(spec.joint_names),
        "markers": len(spec.marker_names),
    }


def _yaml(recipe: dict[str, Any]) -> str:
    """Writes the recipe as a person would: ranges on one line, other things on their own."""
    text: str = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, default_flow_style=None)
    return text.strip()


def _tile(sample: overlay.Sample) -> str:
    return _jpeg_uri(overlay.draw(sample, _TILE_PX))


def _plain_sheet(samples: Iterable[overlay.Sample]) -> overlay.Picture:
    size = (_PLAIN_PX, _PLAIN_PX)
    tiles = [cv2.resize(s.picture, size, interpolation=cv2.INTER_AREA) for s in samples]
    return overlay.sheet([np.asarray(t, dtype=np.uint8) for t in tiles], columns=8)


def _jpeg_uri(picture: overlay.Picture) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(images.encode(picture, 85)).decode()
