"""What a published dataset covers: its quantities in short, the samples that a query asks for, the targets it reached.

A query reads only the arrays that it needs, of the shards whose statistics leave it open.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from pipeline import overlay
from schemas import query
from schemas.errors import InputError
from schemas.manifest import Dataset
from schemas.quantities import Quantity, Rows, Values, catalogue, declared, needs, resolve
from schemas.shards import ShardReceipt
from schemas.skeleton import SkeletonSpec
from schemas.statistics import Histogram, Statistics

_READERS = 8
_BARS = "▁▂▃▄▅▆▇█"


def table(statistics: Statistics) -> dict[str, dict[str, Any]]:
    """Returns of every quantity its unit, number of values, extremes and percentiles, as JSON values."""
    return {
        name: {"unit": h.unit, "values": h.total}
        | {"min": h.least, "p5": h.quantile(0.05), "median": h.quantile(0.5)}
        | {"p95": h.quantile(0.95), "max": h.most}
        for name, h in statistics.histograms.items()
        if h.total
    }


def lines(dataset: Dataset, *, every: bool = False) -> list[str]:
    """Writes the quantities for a terminal, one a line; without `every`, of two sides only the larger."""
    found = dataset.statistics
    shown = found.histograms
    names = order(dataset, shown)
    if not every:
        names = [n for n in names if not is_side(n, names)]
    width = max([len(n) for n in names], default=0)
    head = (
        f"{'quantity':{width}} {'unit':6} {'min':>8} {'p5':>8} {'median':>8} {'p95':>8} {'max':>8}"
    )
    text = [head]
    for name in names:
        h = shown[name]
        numbers = (h.least, h.quantile(0.05), h.quantile(0.5), h.quantile(0.95), h.most)
        cells = " ".join(f"{_short(v):>8}" for v in numbers)
        text.append(f"{name:{width}} {h.unit:6} {cells}  {sparkline(h)}")
    for name, counts in found.names.items():
        parts = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if parts:
            text.append(f"{name:{width}} {', '.join(f'{n} {c}' for n, c in parts[:8])}")
    return text


def sparkline(histogram: Histogram) -> str:
    """Draws a histogram in a line of blocks; a bin that holds anything shows something."""
    most = max(histogram.counts, default=0)
    heights = [-(-count * (len(_BARS) - 1) // most) if most else 0 for count in histogram.counts]
    bars = (_BARS[h] if c else " " for h, c in zip(heights, histogram.counts, strict=True))
    return "".join(bars)


def order(dataset: Dataset, shown: Mapping[str, Histogram]) -> list[str]:
    """Returns the names of quantities with values: the declared ones first, in their order."""
    first = [name for spec in _specs(dataset) for name in declared(spec)]
    place = {name: i for i, name in reversed(list(enumerate(first)))}
    names = [name for name, h in shown.items() if h.total]
    return sorted(names, key=lambda n: (place.get(n, len(first)), n))


def is_side(name: str, names: Iterable[str]) -> bool:
    if not name.endswith(("_r", "_l")):
        return False
    try:
        return resolve(name[:-2], names) in names
    except InputError:
        return False


def _short(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"


def _specs(dataset: Dataset) -> list[SkeletonSpec | None]:
    found: list[SkeletonSpec | None] = [dataset.store.read_skeleton(f) for f in dataset.skeletons]
    return found or [None]


def known(dataset: Dataset, *, tables: bool = False) -> dict[str, bool]:
    """Returns every quantity that some shard has, and whether its values are names.

    Args:
        tables: also read one shard of each lot for what statistics do not count.
    """
    specs = {f: dataset.store.read_skeleton(f) for f in dataset.skeletons}
    found = {q.name: q.named for s in (*specs.values(), None) for q in declared(s).values()}
    for shard in dataset.shards:
        found |= dict.fromkeys(shard.statistics.histograms.keys() - found.keys(), False)
        found |= dict.fromkeys(shard.statistics.names.keys(), True)
    if tables:
        for shard in {s.key.lot: s for s in dataset.shards}.values():
            entries = dataset.store.read_attributes(shard.action_key).get("tables", {})
            of_shard = catalogue(specs.get(shard.skeleton), entries)
            found |= {n: q.named or found.get(n, False) for n, q in of_shard.items()}
    return {name: named for name, named in found.items() if name != "skin_to_joint"}


def ask(dataset: Dataset, text: str) -> query.Query:
    """Reads a query about a dataset.

    Raises:
        InputError: it is none, or names a quantity that the dataset does not have.
    """
    try:
        return query.parse(text, known(dataset))
    except InputError:
        return query.parse(text, known(dataset, tables=True))


def bounds_of(shard: ShardReceipt) -> query.BoundsOf:
    """Returns what a shard's receipt says of each quantity."""
    histograms = dict(shard.statistics.histograms.items())
    names = dict(shard.statistics.names.items())
    of_key = {"lot": shard.key.lot, "split": shard.key.split}

    def bounds(quantity: str) -> query.Bounds | None:
        if quantity in of_key:
            return query.Bounds(names=frozenset({of_key[quantity]}), complete=True)
        if not histograms or quantity.startswith("subject."):
            return None
        if (h := histograms.get(quantity)) is not None:
            # A name elsewhere, a number here: only reading tells how it is spelt.
            complete = h.total == shard.rows
            return query.Bounds(least=h.least, most=h.most, known=h.total > 0, complete=complete)
        counted = names.get(quantity, {})
        if query.REST in counted:
            return None
        return query.Bounds(
            names=frozenset(counted),
            known=bool(counted),
            complete=sum(counted.values()) == shard.rows,
        )

    return bounds


def rows_of(
    dataset: Dataset, shard: ShardReceipt, quantities: Iterable[str]
) -> tuple[Rows, dict[str, Quantity]]:
    """Reads what some quantities of a shard are computed from, and returns its quantities too.

    Raises:
        InputError: the shard is gone or broken.
    """
    spec = dataset.store.read_skeleton(shard.skeleton) if shard.skeleton else None
    wanted, plain = set(quantities), declared(spec)
    in_tables = bool(wanted - plain.keys()) or "movement" in wanted
    tables = dataset.store.read_attributes(shard.action_key).get("tables", {}) if in_tables else {}
    every = plain | catalogue(spec, tables) if isinstance(tables, dict) else plain
    names = needs(every[n] for n in wanted if n in every) or ("sample_id",)
    arrays = overlay.read_arrays(dataset, shard, names)
    rows = Rows(arrays=arrays, tables=tables, spec=spec, lot=shard.key.lot, split=shard.key.split)
    if rows.count != shard.rows:
        where = f"{dataset.url}/shards/{shard.action_key}"
        raise InputError(where, "holds other samples than its receipt says", "Build it again")
    return rows, every


def values_of(rows: Rows, every: Mapping[str, Quantity]) -> query.ValuesOf:
    """Returns the quantities' values; what these samples' tables lack is unknown."""

    def values(name: str) -> Values:
        if name in every:
            return every[name].of(rows)
        return np.full(rows.count, np.nan)

    return values


def count(dataset: Dataset, asked: query.Query) -> dict[str, Any]:
    """Counts the samples that match, by split and lot, as JSON values; says how many shards were read."""
    judged = [(s, asked.judge(bounds_of(s))) for s in dataset.shards if s.rows]
    unsure = [s for s, (any_, all_) in judged if any_ and not all_]
    with ThreadPoolExecutor(_READERS) as pool:
        read = list(pool.map(lambda s: int(matches(dataset, s, asked).sum()), unsure))
    hits = {s.action_key: n for s, n in zip(unsure, read, strict=True)}
    hits |= {s.action_key: s.rows for s, (_, all_) in judged if all_}
    found: dict[str, Any] = {
        "samples": dataset.rows,
        "matching": sum(hits.values()),
        "splits": _by(dataset, hits, "split"),
        "lots": _by(dataset, hits, "lot"),
        "shards": {"read": len(unsure), "by_statistics": len(judged) - len(unsure)},
    }
    return found


def matches(dataset: Dataset, shard: ShardReceipt, asked: query.Query) -> query.Mask:
    """Returns which samples of a shard match (n,)."""
    rows, every = rows_of(dataset, shard, asked.quantities)
    return asked.matches(values_of(rows, every))


def _by(dataset: Dataset, hits: Mapping[str, int], part: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for shard in dataset.shards:
        entry = found.setdefault(getattr(shard.key, part), {"matching": 0, "samples": 0})
        entry["matching"] += hits.get(shard.action_key, 0)
        entry["samples"] += shard.rows
    return found


def examples(dataset: Dataset, asked: query.Query, most: int) -> list[dict[str, Any]]:
    """Returns some samples that match, of as many shards as there are, with the values asked about."""
    likely = [s for s in dataset.shards if s.rows and asked.judge(bounds_of(s))[0]]
    found: list[dict[str, Any]] = []
    each = max(1, -(-most // max(1, len(likely))))
    for shard in likely:
        if len(found) >= most:
            break
        rows, every = rows_of(dataset, shard, {*asked.quantities})
        values = values_of(rows, every)
        hits = np.flatnonzero(asked.matches(values))[:each]
        if not len(hits):
            continue
        place = overlay.read_arrays(dataset, shard, ["sample_id", "group_id", "time"])
        shown = {name: values(name) for name in sorted(asked.quantities)}
        found += [_example(shard, place, shown, int(row)) for row in hits]
    return found[:most]


def as_name(value: Any) -> str:
    """Spells a value that stands among names."""
    return query.as_name(value)


def _example(
    shard: ShardReceipt, place: Mapping[str, Values], shown: Mapping[str, Values], row: int
) -> dict[str, Any]:
    time = float(place["time"][row])
    return {
        "shard": shard.action_key,
        "row": row,
        "lot": shard.key.lot,
        "split": shard.key.split,
        "group": int(place["group_id"][row]),
        "sample": int(place["sample_id"][row]),
        "time": round(time, 4) if np.isfinite(time) else None,
        "values": {name: _plain(values[row]) for name, values in shown.items()},
    }


def found_lines(found: Mapping[str, Any]) -> list[str]:
    """Writes what a query found for people."""
    shards = found["shards"]
    text = [f"{found['matching']} of {found['samples']} samples match: {found['query']}"]
    for part in ("splits", "lots"):
        entries = found[part].items()
        text.append(
            f"  {part}: " + ", ".join(f"{n} {e['matching']} of {e['samples']}" for n, e in entries)
        )
    text.append(
        f"  {shards['read']} shards read, {shards['by_statistics']} judged by their statistics"
    )
    for e in found["examples"]:
        values = ", ".join(f"{n} {v}" for n, v in e["values"].items())
        when = "" if e["time"] is None else f", {e['time']:.2f} s"
        place = f"{e['shard'][:12]} row {e['row']}"
        text.append(f"  {place}: {e['lot']}/{e['split']}, {e['group']}{when}: {values}")
    return text


def _plain(value: Any) -> float | str | None:
    if isinstance(value, str):
        return value
    return round(float(value), 4) if np.isfinite(value) else None
