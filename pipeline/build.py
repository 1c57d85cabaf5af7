"""Plan, make what is missing, publish: a build that was interrupted goes on where it stopped."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.executor import Executor, Failure
from schemas import manifest
from schemas.errors import InputError
from schemas.recipes import Recipe
from schemas.shards import ShardReceipt
from schemas.store import Store
from workers import produce

_SAME_REFUSALS = 3
Progress = Callable[[int, int, int], None]
"""Told after every finished shard: samples written, samples quarantined, shards failed."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a recipe wants, and what of it is already there."""

    jobs: tuple[produce.Job, ...]
    present: dict[str, ShardReceipt]
    """Receipts of wanted shards that are whole, by action key."""

    @property
    def missing(self) -> tuple[produce.Job, ...]:
        """Returns the jobs still to do."""
        return tuple(job for job in self.jobs if job.action_key not in self.present)

    @property
    def samples(self) -> int:
        """Returns the number of samples that the whole recipe plans."""
        return sum(job.samples for job in self.jobs)


@dataclass(frozen=True, kw_only=True)
class Built:
    """How a build ended; `dataset` is None while shards failed, and nothing is published then."""

    dataset: manifest.Dataset | None
    made: int
    """Shards made now. What is neither made nor failed was not tried."""
    failures: tuple[Failure[produce.Job], ...]


def plan(recipe: Recipe, url: str) -> Plan:
    """Compares the shards that a recipe wants with those that are whole at the URL."""
    jobs = produce.plan(recipe, url)
    begun = Store(url).action_keys()
    published = manifest.find_dataset(url)
    known = {shard.action_key: shard for shard in published.shards} if published else {}
    present = {}
    for job in jobs:
        if job.action_key in begun:
            receipt = known.get(job.action_key) or produce.recall(url, job.action_key)
            if receipt is not None:
                present[job.action_key] = receipt
    return Plan(jobs=tuple(jobs), present=present)


def build(recipe: Recipe, url: str, planned: Plan, executor: Executor, progress: Progress) -> Built:
    """Makes the missing shards and publishes the whole; a failed shard leaves the old state published.

    A refusal that comes again and again (a full disk, no GL) ends the build: it is not the shards' fault.
    """
    receipts = dict(planned.present)
    failures: list[Failure[produce.Job]] = []
    for result in executor.map(produce.produce, planned.missing):
        if isinstance(result, Failure):
            failures.append(result)
            progress(0, 0, 1)
            if _hopeless(failures):
                break
        else:
            receipts[result.action_key] = result
            progress(result.rows, len(result.quarantine), 0)
    made = len(receipts) - len(planned.present)
    if failures:
        return Built(dataset=None, made=made, failures=tuple(failures))
    document = recipe.model_dump(mode="json")
    return Built(dataset=manifest.publish(url, document, receipts.values()), made=made, failures=())


def _hopeless(failures: list[Failure[produce.Job]]) -> bool:
    """Says whether the last failures are one refusal, but for the shard that they name."""
    last = [f.error for f in failures[-_SAME_REFUSALS:]]
    kinds = {(e.value, e.remedy) for e in last if isinstance(e, InputError)}
    return (
        len(kinds) == 1
        and all(isinstance(e, InputError) for e in last)
        and len(last) == _SAME_REFUSALS
    )
