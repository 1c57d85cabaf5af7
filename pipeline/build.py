"""Plan, make what is missing, publish: a build that was interrupted goes on where it stopped."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.executor import Executor, Failure
from pipeline.planning import Plan, plan
from schemas import leases, manifest, receipts
from schemas.errors import InputError
from schemas.recipes import Recipe
from schemas.shards import ShardReceipt
from schemas.spool import Spool
from schemas.store import Store
from workers import produce

__all__ = ["Built", "Plan", "Progress", "build", "plan"]

log = logging.getLogger(__name__)
SNAPSHOT_MINUTES = 10.0
_SAME_REFUSALS = 3
Progress = Callable[[int, int, int], None]
"""Told after every finished shard: samples written, samples quarantined, shards failed."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """How a build ended; `dataset` is None while shards failed: readers keep the old state then."""

    dataset: manifest.Dataset | None
    made: int
    """Shards made now. What is neither made nor failed was not tried."""
    failures: tuple[Failure[produce.Job], ...]
    others: tuple[int, ...] = ()
    """Commits that other builds made since the plan, ascending."""


def build(
    recipe: Recipe,
    url: str,
    planned: Plan,
    executor: Executor,
    progress: Progress,
    *,
    snapshot_minutes: float = SNAPSHOT_MINUTES,
) -> Built:
    """Makes the missing shards and publishes the whole; a failed shard leaves the old state published.

    Every `snapshot_minutes`, and when it fails or is interrupted, the build publishes what it has as an unfinished
    state, which readers pass over and the next build reads. While it runs a lease names what it wants.
    A refusal that comes again and again (a full disk, no GL) ends the build: it is not the shards' fault.
    """
    with leases.hold(url, [job.action_key for job in planned.jobs]):
        # What was swept between the plan and the lease is made again.
        planned = planned.still_there(Store(url).action_keys())
        record = _Record(recipe, url, planned, type(executor).__name__, snapshot_minutes)
        try:
            failures = _make(planned, executor, progress, record)
        except BaseException:
            record.save()
            raise
        if failures:
            record.save()
            return Built(dataset=None, made=record.made, failures=tuple(failures))
        dataset = record.publish(complete=True)
        others = record.others(dataset, planned.head)
        return Built(dataset=dataset, made=record.made, failures=(), others=others)


def _make(
    planned: Plan, executor: Executor, progress: Progress, record: "_Record"
) -> list[Failure[produce.Job]]:
    failures: list[Failure[produce.Job]] = []
    for result in executor.map(produce.produce, planned.missing):
        if isinstance(result, Failure):
            failures.append(result)
            progress(0, 0, 1)
            if _hopeless(failures):
                break
        else:
            record.add(result)
            progress(result.rows, len(result.quarantine), 0)
            record.save_if_due()
    return failures


class _Record:
    """What a build has so far, and the commits that it made of it."""

    def __init__(
        self, recipe: Recipe, url: str, planned: Plan, executor: str, snapshot_minutes: float
    ) -> None:
        self.url, self.recipe = url, recipe.model_dump(mode="json")
        self.receipts, self.spool = dict(planned.present), Spool()
        self.engine = executor.removesuffix("Executor").lower()
        self.made, self.samples = 0, 0
        self.unsaved = bool(planned.recalled)
        self.every, self.started = 60.0 * snapshot_minutes, time.monotonic()
        self.saved = self.started
        self.own: set[int] = set()

    def add(self, receipt: ShardReceipt) -> None:
        self.receipts[receipt.action_key] = receipts.spooled(receipt, self.spool)
        self.made += 1
        self.samples += receipt.rows
        self.unsaved = True

    def save_if_due(self) -> None:
        if time.monotonic() - self.saved >= self.every:
            self.save()

    def save(self) -> None:
        """Publishes an unfinished state if there is news; a store that refuses it does not end the build."""
        self.saved = time.monotonic()
        if not self.unsaved:
            return
        try:
            self.publish(complete=False)
        except InputError as error:
            log.warning("what was made so far is kept but not yet listed: %s", error)
        else:
            self.unsaved = False

    def publish(self, *, complete: bool) -> manifest.Dataset:
        about: dict[str, Any] = {
            "made_samples": self.samples,
            "seconds": round(time.monotonic() - self.started, 3),
            "engine": self.engine,
        }
        shards = self.receipts.values()
        dataset = manifest.publish(self.url, self.recipe, shards, complete=complete, build=about)
        if dataset.commit.build == about:
            self.own.add(dataset.number)
        return dataset

    def others(self, dataset: manifest.Dataset, head: int | None) -> tuple[int, ...]:
        first = 0 if head is None else head + 1
        return tuple(n for n in range(first, dataset.number + 1) if n not in self.own)


def _hopeless(failures: list[Failure[produce.Job]]) -> bool:
    """Says whether the last failures are one refusal, but for the shard that they name."""
    last = [f.error for f in failures[-_SAME_REFUSALS:]]
    kinds = {(e.value, e.remedy) for e in last if isinstance(e, InputError)}
    return (
        len(kinds) == 1
        and all(isinstance(e, InputError) for e in last)
        and len(last) == _SAME_REFUSALS
    )
