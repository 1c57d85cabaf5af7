"""Charts of a dataset's quantities for the preview page: histograms as SVG, and samples to plot any pair from."""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline import coverage, overlay
from schemas.manifest import Dataset
from schemas.quantities import Quantity, Rows, catalogue, declared, needs
from schemas.shards import ShardReceipt, generator
from schemas.statistics import Histogram

SAMPLES, _SHARDS = 4000, 24
"""Samples that the page can plot pairs of, and shards they are read from at most."""
_UNKNOWN = 255
_WIDTH, _HEIGHT, _FOOT = 320, 118, 18
_PAIRS = (
    ("knee_flexion", "hip_flexion"),
    ("camera_yaw", "knee_flexion"),
    ("knee_flexion", "movement"),
)
_GROUPS = {
    "motion": "Parameters of the motions",
    "light": "Camera, light and room, as drawn",
    "garment": "Clothes",
}


def groups(dataset: Dataset) -> list[dict[str, Any]]:
    """Returns the quantities' histograms in titled groups, each with an SVG and a sentence."""
    shown = dataset.statistics.histograms
    every = _declared(dataset)
    names = [n for n in coverage.order(dataset, shown) if not coverage.is_side(n, shown)]
    titled: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        title = _title(name, every)
        titled.setdefault(title, []).append(plot(name, shown[name], every.get(name)))
    return [{"title": title, "plots": plots} for title, plots in titled.items()]


def _declared(dataset: Dataset) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    for fingerprint in dataset.skeletons:
        found |= declared(dataset.store.read_skeleton(fingerprint))
    return declared(None) | found


def _title(name: str, every: Mapping[str, Quantity]) -> str:
    prefix, dot, _ = name.partition(".")
    if dot:
        return _GROUPS.get(prefix, prefix)
    if name in every and every[name].needs == ("q",):
        return "Poses"
    return "Cameras" if name.startswith("camera_") else "Pictures and people"


def plot(name: str, histogram: Histogram, quantity: Quantity | None = None) -> dict[str, Any]:
    """Draws a histogram as SVG and says in words what it shows."""
    doc = f" ({quantity.doc})" if quantity is not None and quantity.doc else ""
    words = in_words(histogram)
    return {"name": name, "title": f"{name}{doc}", "caption": words, "svg": _svg(name, histogram)}


def unit(histogram: Histogram) -> str:
    """Returns the unit as people write it."""
    return {"deg": "°"}.get(histogram.unit, f" {histogram.unit}".rstrip()).replace("^2", "²")


def in_words(histogram: Histogram) -> str:
    """Says how many values there are and where nine tenths of them lie."""
    if not histogram.total:
        return "no values"
    low, high = (f"{histogram.quantile(s):.3g}" for s in (0.05, 0.95))
    return f"{histogram.total:,} values, nine tenths between {low} and {high}{unit(histogram)}"


def _svg(name: str, histogram: Histogram) -> Markup:
    """Draws bars over labelled ticks; every number comes from `histogram`, the name is escaped."""
    base = _HEIGHT - _FOOT
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="Histogram of {}">')
    foot = Markup('<line x1="0" x2="{}" y1="{}" y2="{}" class="axis"/></svg>')
    parts = [*_grid(histogram, base), *_bars(histogram, base)] if histogram.counts else []
    ends = (head.format(_WIDTH, _HEIGHT, name), foot.format(_WIDTH, base, base))
    most = Markup('<text x="2" y="10" class="most">{:,}</text>').format(
        max(histogram.counts or (0,))
    )
    return Markup("").join([ends[0], *parts, most, ends[1]])


def _across(histogram: Histogram, value: float) -> float:
    low, high = histogram.edges[0], histogram.edges[-1]
    return (value - low) / (high - low) * (_WIDTH - 2) + 1


def _grid(histogram: Histogram, base: int) -> list[Markup]:
    line = Markup(
        '<line x1="{0:.1f}" x2="{0:.1f}" y1="4" y2="{1}" class="grid"/><text x="{0:.1f}" y="{2}">{3:g}</text>'
    )
    values = ticks(histogram.edges[0], histogram.edges[-1])
    return [line.format(_across(histogram, v), base, _HEIGHT - 5, v) for v in values]


def _bars(histogram: Histogram, base: int) -> list[Markup]:
    bar = Markup(
        '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
    )
    found, most = [], max(histogram.counts)
    for low, high, count in zip(
        histogram.edges, histogram.edges[1:], histogram.counts, strict=False
    ):
        tall = max(1.0, count / most * (base - 6)) if count else 0.0
        left, right = _across(histogram, low), _across(histogram, high)
        text = f"{low:g} to {high:g}: {count:,}"
        wide = max(0.5, right - left - 1)
        found.append(bar.format(left + 0.5, base - tall, wide, tall, text))
    return found


def ticks(low: float, high: float) -> list[float]:
    """Returns three to six round numbers from `low` to `high`, not at the very ends."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    steps = [power, 2 * power, 5 * power, 10 * power]
    if high - low >= 90:
        steps = [15.0, 30.0, 45.0, 90.0, *steps]
    step = min((s for s in steps if s >= raw), default=raw)
    margin = 0.04 * (high - low)
    first = math.ceil((low + margin) / step)
    found = [i * step for i in range(first, first + 8) if i * step <= high - margin]
    return [round(v, 12) for v in found]


def names(dataset: Dataset) -> list[dict[str, Any]]:
    """Returns the quantities whose values are names, with counts, the most frequent first."""
    found = []
    for name, counts in dataset.statistics.names.items():
        pairs = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        most = max((n for _, n in pairs), default=1)
        bars = [{"name": n, "count": c, "share": round(100 * c / most, 1)} for n, c in pairs[:12]]
        if bars:
            found.append({"name": name, "bars": bars, "more": len(pairs) - len(bars)})
    return found


def explorer(dataset: Dataset) -> Markup | None:
    """Returns samples as JSON that may stand in a page: a byte a value of every quantity; None where there are none."""
    shards, every = _chosen(dataset), _declared(dataset)
    if not shards:
        return None
    each = -(-SAMPLES // len(shards))
    columns: dict[str, list[Any]] = {}
    units: dict[str, str] = {}
    before = 0
    for shard in shards:
        rows, of_shard = _read(dataset, shard, each)
        for name in of_shard:
            columns.setdefault(name, [np.full(before, np.nan)])
            units[name] = of_shard[name].unit
        for name, parts in columns.items():
            here = of_shard[name].of(rows) if name in of_shard else np.full(rows.count, np.nan)
            parts.append(here)
        before += rows.count
    order = [*(n for n in every if n in columns), *sorted(columns.keys() - every.keys())]
    packed = [_packed(n, units[n], np.concatenate(columns[n])) for n in order]
    document = {"rows": before, "of": dataset.rows, "columns": [p for p in packed if p]}
    document["pairs"] = [list(pair) for pair in _PAIRS]
    return Markup(json.dumps(document, separators=(",", ":")).replace("<", "\\u003c"))


def _chosen(dataset: Dataset) -> list[ShardReceipt]:
    """Draws shards of every lot and split."""
    filled = [s for s in dataset.shards if s.rows]
    return overlay.spread(filled, generator(0, "pairs", dataset.dataset_id))[:_SHARDS]


def _read(dataset: Dataset, shard: ShardReceipt, most: int) -> tuple[Rows, dict[str, Quantity]]:
    """Reads evenly spaced samples of a shard."""
    spec = dataset.store.read_skeleton(shard.skeleton) if shard.skeleton else None
    tables = dataset.store.read_attributes(shard.action_key).get("tables", {})
    every = {n: q for n, q in catalogue(spec, tables).items() if not n.startswith("subject.")}
    arrays = overlay.read_arrays(dataset, shard, needs(every.values()))
    pick = np.unique(np.linspace(0, shard.rows - 1, min(most, shard.rows)).astype(int))
    thin = {name: values[pick] for name, values in arrays.items()}
    return Rows(
        arrays=thin, tables=tables, spec=spec, lot=shard.key.lot, split=shard.key.split
    ), every


def _packed(name: str, unit: str, values: Any) -> dict[str, Any] | None:
    """Packs a column into bytes: 0 to 254 from its least to its most, or an index into its names; 255 is unknown."""
    if any(isinstance(v, str) for v in values):
        texts = [coverage.as_name(v) for v in values]
        known = sorted(set(texts) - {""})[:_UNKNOWN]
        place = {text: i for i, text in enumerate(known)}
        codes = np.array([place.get(text, _UNKNOWN) for text in texts], np.uint8)
        found: dict[str, Any] = {"name": name, "names": known}
    else:
        numbers = np.asarray(values, np.float64)
        finite = numbers[np.isfinite(numbers)]
        if not finite.size:
            return None
        low, high = float(finite.min()), float(finite.max())
        scaled = (numbers - low) / ((high - low) or 1.0) * (_UNKNOWN - 1)
        codes = (
            np.where(np.isfinite(numbers), np.nan_to_num(scaled), _UNKNOWN).round().astype(np.uint8)
        )
        found = {"name": name, "unit": unit, "low": low, "high": high}
    return found | {"data": base64.b64encode(codes.tobytes()).decode()}
