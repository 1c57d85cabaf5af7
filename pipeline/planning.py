"""Compares what a recipe wants with what is there: what is to make, and why."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from schemas import manifest, receipts
from schemas.errors import InputError
from schemas.recipes import Recipe
from schemas.shards import ShardKey, ShardReceipt, changed_inputs
from schemas.spool import Spool
from schemas.store import Store
from workers import produce

log = logging.getLogger(__name__)
NEW = "new"
LOST = "lost: the manifest names it, the store does not hold it"
UNRECORDED = "inputs: not recorded by the build that published it"
_READERS = 16
_OF_MEMBERS = ("files.annotations", "files.images")
"""Digests over a shard's own members: they say nothing where the members are others."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a recipe wants, and what of it is already there."""

    jobs: tuple[produce.Job, ...]
    present: dict[str, ShardReceipt]
    """Receipts of wanted shards that are whole, by action key, with the splits that are wanted now."""
    recalled: frozenset[str]
    """Those of them that the newest state does not name."""
    published: manifest.Dataset | None
    """The newest complete state, or the newest of all where none is complete."""
    head: int | None
    """The newest commit's number when the plan was made."""

    @property
    def missing(self) -> tuple[produce.Job, ...]:
        """Returns the jobs still to do."""
        return tuple(job for job in self.jobs if job.action_key not in self.present)

    @property
    def samples(self) -> int:
        """Returns the number of samples that the whole recipe plans."""
        return sum(job.samples for job in self.jobs)

    @property
    def unwanted(self) -> tuple[ShardReceipt, ...]:
        """Returns published shards that the recipe wants no more, or wants made anew."""
        wanted = {job.action_key for job in self.jobs}
        shards = self.published.shards if self.published else ()
        return tuple(shard for shard in shards if shard.action_key not in wanted)

    def still_there(self, listed: set[str]) -> "Plan":
        """Returns the plan without present shards that are no longer listed."""
        kept = {key: receipt for key, receipt in self.present.items() if key in listed}
        return replace(self, present=kept)


def plan(recipe: Recipe, url: str) -> Plan:
    """Compares the shards that a recipe wants with those that are whole at the URL.

    One listing of names and the manifest of the newest state; single shards are read only where that does not
    name them. An older state may name what `verify --delete-bad` has deleted since, and a listing what is gone.

    Raises:
        InputError: an input is missing or unfit, the URL names a state, or the store cannot be read.
    """
    if (reference := manifest.split_reference(url)[1]) is not None:
        why = "names one state of a dataset, so nothing could read what is built there"
        raise InputError(url, why, f"Leave out @{reference}, or choose a name without @")
    jobs = tuple(produce.plan(recipe, url))
    begun = Store(url).action_keys()
    spool = Spool()
    newest, complete = _newest(url, spool)
    known = {shard.action_key: shard for shard in (newest.shards if newest else ())}
    there = [job for job in jobs if job.action_key in begun]
    present = {
        job.action_key: _for(job, known[job.action_key]) for job in there if job.action_key in known
    }
    recalled = _recall([job for job in there if job.action_key not in known], spool)
    return Plan(
        jobs=jobs,
        present=present | recalled,
        recalled=frozenset(recalled),
        published=complete or newest,
        head=max(manifest.commit_numbers(url), default=None) if newest is None else newest.number,
    )


def _for(job: produce.Job, receipt: ShardReceipt) -> ShardReceipt:
    """Returns a receipt with the split that is wanted now; mostly the one that was read."""
    return receipt if receipt.key == job.key else replace(receipt, key=job.key)


def _newest(url: str, spool: Spool) -> tuple[manifest.Dataset | None, manifest.Dataset | None]:
    """Returns the newest state and the newest complete one; none where a manifest was deleted.

    The shards themselves then say what they are, and publishing puts the manifest back.
    """
    try:
        newest = manifest.find_dataset(url, spool)
        return newest, _complete(newest, spool)
    except InputError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        log.warning("%s %s: every shard is looked at instead", error.value, error.reason)
        return None, None


def _complete(newest: manifest.Dataset | None, spool: Spool) -> manifest.Dataset | None:
    if newest is None or newest.commit.complete or newest.commit.last_complete is None:
        return newest if newest is not None and newest.commit.complete else None
    commit = manifest.read_commit(newest.url, newest.commit.last_complete)
    shards = manifest.read_shards(newest.url, commit.dataset_id, spool)
    return manifest.Dataset(url=newest.url, commit=commit, shards=shards)


def _recall(jobs: Sequence[produce.Job], spool: Spool) -> dict[str, ShardReceipt]:
    if not jobs:
        return {}
    with ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(produce.recall, jobs)
        return {r.action_key: receipts.spooled(r, spool) for r in found if r is not None}


def reasons(planned: Plan) -> dict[str, tuple[str, ...]]:
    """Says of every missing shard, by action key, why it is to be made.

    `new`, or what changed against the published shard of the same members: `settings.image_px: 256 -> 128`. Where
    no shard has just these members but one shares some: how many joined and left.
    """
    before = _Before(planned.published.shards if planned.published else ())
    return {job.action_key: before.reasons(job) for job in planned.missing}


class _Before:
    """Published shards, to be found by what they hold."""

    def __init__(self, shards: Iterable[ShardReceipt]) -> None:
        self._by_members: dict[tuple[object, ...], ShardReceipt] = {}
        self._by_member: dict[tuple[str, str, int], ShardReceipt] = {}
        for shard in shards:
            self._by_members[_members(shard.key)] = shard
            for member in shard.key.members:
                self._by_member[shard.key.source, shard.key.lot, member] = shard

    def reasons(self, job: produce.Job) -> tuple[str, ...]:
        key = job.key
        if (same := self._by_members.get(_members(key))) is not None:
            return tuple(_changes(same, job)) or (LOST,)
        shared = [self._by_member.get((key.source, key.lot, member)) for member in key.members]
        neighbours = [shard for shard in shared if shard is not None]
        if not neighbours:
            return (NEW,)
        count = Counter(shard.action_key for shard in neighbours)
        nearest = max(neighbours, key=lambda shard: (count[shard.action_key], shard.action_key))
        old, new = set(nearest.key.members), set(key.members)
        moved = f"members: {len(new - old)} joined, {len(old - new)} left"
        other = [line for line in _changes(nearest, job) if not line.startswith(_OF_MEMBERS)]
        return (moved, *other)


def _members(key: ShardKey) -> tuple[object, ...]:
    return key.source, key.lot, key.members


def _changes(shard: ShardReceipt, job: produce.Job) -> list[str]:
    return changed_inputs(shard.inputs, job.inputs) if shard.inputs else [UNRECORDED]
