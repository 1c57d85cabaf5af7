"""What a build would cost and why, and where a dataset stands: as JSON values, and as lines for people."""

from collections import Counter
from typing import Any

from pipeline.planning import Plan, reasons
from schemas import leases, manifest
from schemas.errors import InputError
from schemas.recipes import Recipe
from schemas.shards import ShardReceipt
from schemas.store import Store

BYTES_PER_PIXEL = 0.3
"""Of a stored picture with all labels, where nothing is published to go by: measured 0.31 in synthetic 256² frames,
0.26 in COCO crops of 384² (docs/benchmarks.md)."""
_COMMITS_READ = 8
_DISTINCT = 3


def describe(recipe: Recipe, planned: Plan) -> dict[str, Any]:
    """Returns what a build would do: shards, samples, bytes, hours, and why, with one entry a missing shard."""
    missing = planned.missing
    samples = sum(job.samples for job in missing)
    each, source = _bytes_per_sample(recipe, planned.published)
    rate = _rate(recipe, planned)
    why = reasons(planned)
    entries = [
        {"shard": str(job.key), "action_key": job.action_key, "samples": job.samples}
        | {"reasons": list(why[job.action_key])}
        for job in missing
    ]
    return {
        "shards": len(planned.jobs),
        "samples": planned.samples,
        "missing_shards": len(missing),
        "missing_samples": samples,
        "missing_bytes": round(samples * each),
        "bytes_per_sample": round(each),
        "bytes_from": source,
        "hours": 0.0 if not samples else None if rate is None else samples / rate / 3600,
        "missing": entries,
        "reasons": _grouped(why),
        "no_longer_wanted": [_named(shard) for shard in planned.unwanted],
    }


def described(name: str, found: dict[str, Any]) -> list[str]:
    """Writes what `describe` found for people."""
    head = f"{name}: {found['samples']} samples in {found['shards']} shards; "
    lines = [
        f"{head}{found['missing_samples']} samples in {found['missing_shards']} shards to make"
    ]
    if found["missing_samples"]:
        default = (
            " (a guess: nothing alike is published)" if found["bytes_from"] != "published" else ""
        )
        lines.append(
            f"  about {found['missing_bytes'] / 1e6:,.1f} MB{default}, {_hours(found['hours'])}"
        )
    lines += [f"  {count} x {reason}" for reason, count in found["reasons"].items()]
    if unwanted := found["no_longer_wanted"]:
        lines.append(f"  {len(unwanted)} published shards are no longer wanted")
    return lines


def status(url: str) -> dict[str, Any]:
    """Returns where a dataset stands: newest complete state, unfinished ones since, running builds.

    Raises:
        InputError: nothing was ever published or begun there, or it cannot be read.
    """
    numbers = manifest.commit_numbers(url)
    newest = next(manifest.read_commits(url, reversed(numbers)), None)
    running = [lease for lease in leases.held(url) if lease.alive]
    shards = len(Store(url).action_keys())
    if newest is None and not running and not shards:
        raise InputError(url, "holds no dataset and no build", "Check the URL, or build it first")
    complete = newest
    if newest is not None and not newest.complete:
        last = newest.last_complete
        complete = None if last is None else manifest.read_commit(url, last)
    first = -1 if complete is None else complete.number
    return {
        "url": url,
        "head": None if complete is None else _commit(complete),
        "unfinished": [] if newest is None or newest.complete else [_commit(newest)],
        "unfinished_commits": sum(number > first for number in numbers),
        "stored_shards": shards,
        "running": [
            {"host": b.host, "pid": b.pid, "since": b.created, "shards": len(b.wanted)}
            for b in running
        ],
    }


def standing(found: dict[str, Any]) -> list[str]:
    """Writes what `status` found for people."""
    head = found["head"]
    none = f"nothing complete yet, {found['stored_shards']} shards made or begun"
    lines = [f"{found['url']}: {_state(head) if head else none}"]
    since = found["unfinished_commits"]
    lines += [f"  unfinished, newest of {since} since: {_state(c)}" for c in found["unfinished"]]
    lines += [
        f"  a build of {b['shards']} shards runs on {b['host']} (process {b['pid']}) since {b['since']}"
        for b in found["running"]
    ]
    return lines


def _state(commit: dict[str, Any]) -> str:
    return (
        f"commit {commit['number']} of {commit['created']}, {commit['rows']} samples in {commit['shards']} shards, "
        f"{commit['bytes'] / 1e6:,.1f} MB, dataset {commit['dataset_id'][:12]}"
    )


def _commit(commit: manifest.Commit) -> dict[str, Any]:
    names = ("number", "created", "dataset_id", "rows", "shards", "bytes", "build")
    return {name: getattr(commit, name) for name in names}


def _hours(hours: float | None) -> str:
    if hours is None:
        return "hours unknown (no build of this kind is on record)"
    return f"about {hours:.1f} hours at the last build's rate" if hours >= 0.1 else "some minutes"


def _bytes_per_sample(recipe: Recipe, published: manifest.Dataset | None) -> tuple[float, str]:
    """Returns bytes per sample of what is published where it is alike, else of the pictures' size."""
    if published is not None and published.rows:
        alike = (published.recipe.get("kind"), published.recipe.get("image_px"))
        if alike == (recipe.kind, recipe.image_px):
            return published.bytes / published.rows, "published"
    return BYTES_PER_PIXEL * recipe.image_px**2, "default"


def _rate(recipe: Recipe, planned: Plan) -> float | None:
    """Returns samples/s of the newest build of this kind on record that made any, None where none is near."""
    if planned.published is None or planned.head is None:
        return None
    url = planned.published.url
    numbers = manifest.commit_numbers(url)[-_COMMITS_READ:]
    for commit in manifest.read_commits(url, reversed(numbers)):
        made, seconds = commit.build.get("made_samples"), commit.build.get("seconds")
        if not (isinstance(made, int) and isinstance(seconds, int | float)):
            continue  # a copy's, or a stranger's
        if commit.recipe.get("kind") == recipe.kind and made > 0 and seconds > 0:
            return float(made / seconds)
    return None


def _grouped(why: dict[str, tuple[str, ...]]) -> dict[str, int]:
    """Counts the shards of each reason, most first; inputs that differ from shard to shard count under their name."""
    lines = Counter(line for found in why.values() for line in found)
    distinct = Counter(line.partition(":")[0] for line in lines)
    counts: Counter[str] = Counter()
    for line, count in lines.items():
        name = line.partition(":")[0]
        counts[line if distinct[name] <= _DISTINCT else f"{name}: changed"] += count
    return dict(counts.most_common())


def _named(shard: ShardReceipt) -> str:
    return str(shard.key)
