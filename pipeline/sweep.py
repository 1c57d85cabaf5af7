"""Garbage collection: marks what kept commits and running builds name, sweeps what is old and named by nothing.

What makes it safe beside builds, tags and other collections:

- Only objects older than the grace period go, by the store's own clock.
- Leases are read before commits, and both once more before each deletion: a build publishes before it gives its
  lease back, so what it named is seen in the one or in the other. A build that begins meanwhile waits.
- While any lease lives, only shards that no lease wants are swept: which manifests, skeletons and models the
  build will name is not known yet.
- A commit goes before its manifest, that before its shards; of a shard, the root metadata goes first.
- A tag that was made while its commit was dropped brings the commit back.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from pipeline import history, inventory
from pipeline.inventory import Progress
from schemas import leases, manifest
from schemas.errors import InputError
from schemas.manifest import Commit
from schemas.manifest_checks import read_names
from schemas.objects import Found
from schemas.store import Store

GRACE = timedelta(hours=24)
Kind = Literal["commit", "manifest", "shard", "skeleton", "model", "lease"]
_MANIFEST = re.compile(r"manifests/([0-9a-f]{64})\.parquet")
_SKELETON = re.compile(r"skeletons/([0-9a-f]{64})\.json")
_MODEL = re.compile(r"models/([0-9a-f]{64})\.osim")
_PASSING = re.compile(r"builds/[0-9a-f]{32}\.(?:json|now|sweep)")


class Doomed(NamedTuple):
    """What one deletion removes: an object, or a shard with all its objects."""

    kind: Kind
    name: str
    """A path; of a shard its action key."""
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Which commits are kept beside the tagged ones, the newest complete one and all after it; default all."""

    grace: timedelta = GRACE
    keep_last: int | None = None
    """Keep this many of the newest complete commits."""
    keep_days: float | None = None
    """Keep what was published within so many days."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a sweep would remove, in the order of removal, and what it keeps."""

    doomed: tuple[Doomed, ...]
    commits: tuple[int, ...]
    """Numbers of the kept commits."""
    shards: int
    """Kept shards, named by commits or by running builds."""
    young: int
    """Shards that nothing names, but younger than the grace period."""
    builds: int
    """Leases that live."""
    older_than: datetime
    """By the store's clock: what is younger stays."""

    @property
    def bytes(self) -> int:
        """Returns how much would be freed."""
        return sum(doomed.bytes for doomed in self.doomed)


class _Marks(NamedTuple):
    shards: frozenset[str]
    skeletons: frozenset[str]
    manifests: frozenset[str]
    commits: tuple[int, ...]
    dropped: tuple[Found, ...]
    leases: tuple[leases.Lease, ...]

    @property
    def builds(self) -> int:
        return sum(lease.alive for lease in self.leases)


def survey(url: str, policy: Policy) -> Survey:
    """Says what a sweep would remove; removes nothing.

    Raises:
        InputError: there is no dataset, the store cannot be read, or a kept commit is broken: what it names is
            then not known.
    """
    _refuse_absurd(policy)
    store = Store(url).objects
    if not (store.listing("commits") or store.folders("shards") or store.listing("builds")):
        raise InputError(url, "holds no dataset", "Check the URL")
    now = leases.store_now(url)
    limit = now - policy.grace
    marks = _mark(url, policy, now)
    shards, young = _stray_shards(url, marks, limit)
    doomed = [Doomed("commit", found.path, found.size) for found in marks.dropped]
    if not marks.builds:
        doomed += _stray(url, "manifests", _MANIFEST, "manifest", marks.manifests, limit)
    doomed += shards
    if not marks.builds:
        doomed += _stray(url, "skeletons", _SKELETON, "skeleton", marks.skeletons, limit)
        doomed += _stray_models(url, marks, limit)
    doomed += _dead_leases(url, marks, limit)
    return Survey(
        doomed=tuple(doomed),
        commits=marks.commits,
        shards=len(marks.shards),
        young=young,
        builds=marks.builds,
        older_than=limit,
    )


def _refuse_absurd(policy: Policy) -> None:
    for name, value, least in (
        ("grace-hours", policy.grace / timedelta(hours=1), 0),
        ("keep-last", policy.keep_last, 1),
        ("keep-days", policy.keep_days, 0),
    ):
        if value is not None and not value >= least:
            raise InputError(f"{name}={value}", "keeps nothing", f"Give {least} or more")


def _mark(url: str, policy: Policy, now: datetime) -> _Marks:
    """Reads leases first and commits after them: a build that ends in between is in one of the two."""
    held = leases.held(url, max(policy.grace, leases.DEAD_AFTER))
    kept, dropped = _choose(url, policy, now)
    shards = {key for lease in held if lease.alive for key in lease.wanted}
    skeletons: set[str] = set()
    manifests = {commit.dataset_id for commit in kept}
    for dataset_id in sorted(manifests):
        for named in read_names(url, dataset_id):
            shards.add(named.action_key)
            skeletons.add(named.skeleton)
    return _Marks(
        frozenset(shards),
        frozenset(skeletons),
        frozenset(manifests),
        tuple(commit.number for commit in kept),
        tuple(dropped),
        tuple(held),
    )


def _choose(url: str, policy: Policy, now: datetime) -> tuple[list[Commit], list[Found]]:
    """Parts the commits into kept ones and those to drop."""
    listed = {found.path: found for found in Store(url).objects.listing("commits")}
    numbers = manifest.commit_numbers(url)
    commits = list(manifest.read_commits(url, numbers))
    if torn := sorted({*numbers} - {commit.number for commit in commits}):
        raise InputError(
            f"{url}/{manifest.commit_path(torn[0])}",
            "is cut short, so what it names is not known",
            "Delete this object if no published state is missed, then run gc again",
        )
    complete = [commit.number for commit in commits if commit.complete]
    if not complete or (policy.keep_last is None and policy.keep_days is None):
        return commits, []
    first = complete[-max(1, policy.keep_last or 1) :][0]
    days = timedelta(days=policy.keep_days or 0)
    tagged = set(history.tags(url).values())
    kept, dropped = [], []
    for commit in commits:
        found = listed.get(manifest.commit_path(commit.number))
        age = now - found.modified if found else timedelta(0)
        recent = commit.number >= complete[-1]
        if policy.keep_last is not None:
            recent |= commit.complete and commit.number >= first
        if recent or commit.number in tagged or age < max(policy.grace, days) or found is None:
            kept.append(commit)
        else:
            dropped.append(found)
    return kept, dropped


def _stray_shards(url: str, marks: _Marks, limit: datetime) -> tuple[list[Doomed], int]:
    """Finds shards that nothing names, whole or torn, and counts those that are too young to go."""
    keys = (k for k in Store(url).objects.folders("shards") if inventory.DIGEST.fullmatch(k))

    def look(key: str) -> tuple[str, list[Found]]:
        return key, Store(url).objects.listing(f"shards/{key}")

    doomed, young = [], 0
    for key, found in inventory.concurrently(look, (k for k in keys if k not in marks.shards)):
        if any(entry.modified >= limit for entry in found):
            young += 1
        elif found:
            doomed.append(Doomed("shard", key, sum(entry.size for entry in found)))
    return doomed, young


def _stray(
    url: str,
    folder: str,
    pattern: re.Pattern[str],
    kind: Kind,
    kept: Iterable[str],
    limit: datetime,
) -> list[Doomed]:
    """Finds old small objects of one kind whose names are not kept; strange names stay."""
    return [
        Doomed(kind, found.path, found.size)
        for found in Store(url).objects.listing(folder)
        if (match := pattern.fullmatch(found.path))
        and match.group(1) not in kept
        and found.modified < limit
    ]


def _stray_models(url: str, marks: _Marks, limit: datetime) -> list[Doomed]:
    """Finds models that no kept shard names; only the shards themselves know, so they are asked if it matters."""
    listed = _stray(url, "models", _MODEL, "model", (), limit)
    if not listed:
        return []
    named, keys = set[str](), set[str]()
    for name in sorted(marks.manifests):  # one at a time: each is many receipts
        for receipt in manifest.read_shards(url, name):
            if model_named := inventory.model_of(receipt):
                named.add(model_named)
            if receipt.skeleton:
                keys.add(receipt.action_key)
    if all(_model_name(doomed) in named for doomed in listed):
        return []
    store = Store(url)

    def model(key: str) -> str | None:
        try:
            return inventory.model_in(store.get_bytes(inventory.root_of(key)))
        except FileNotFoundError:
            return None

    named |= {found for found in inventory.concurrently(model, sorted(keys)) if found}
    return [doomed for doomed in listed if _model_name(doomed) not in named]


def _model_name(doomed: Doomed) -> str:
    return doomed.name.removeprefix("models/").removesuffix(".osim")


def _dead_leases(url: str, marks: _Marks, limit: datetime) -> list[Doomed]:
    """Finds leases of builds that are no more, and probes of the clock that a crash left."""
    alive = {lease.path for lease in marks.leases if lease.alive} | leases.sweeps(url)
    return [
        Doomed("lease", found.path, found.size)
        for found in Store(url).objects.listing("builds")
        if _PASSING.fullmatch(found.path) and found.path not in alive and found.modified < limit
    ]


class Swept(NamedTuple):
    """What a sweep removed, and what it spared as a build or a tag came to want it."""

    removed: list[Doomed]
    spared: list[Doomed]

    @property
    def bytes(self) -> int:
        """Returns how much was freed."""
        return sum(doomed.bytes for doomed in self.removed)


def sweep(url: str, policy: Policy, found: Survey, progress: Progress | None = None) -> Swept:
    """Removes what a survey found and what is still named by nothing. May be stopped at any time and run again.

    Raises:
        InputError: the store failed, or a shard's folder is a link to elsewhere.
    """
    swept = Swept([], [])
    with leases.sweep(url):
        watch = _Watch(url, policy, found)
        for done, doomed in enumerate(found.doomed, start=1):
            (swept.removed if watch.remove(doomed) else swept.spared).append(doomed)
            if progress:
                progress(done, len(found.doomed))
    return swept


class _Watch:
    """Keeps the marks current while a sweep goes on: two small calls before each deletion."""

    def __init__(self, url: str, policy: Policy, found: Survey) -> None:
        self.url, self.policy, self.found = url, policy, found
        self.store = Store(url).objects
        self.seen: tuple[frozenset[tuple[str, datetime]], int] | None = None
        self.stray_models: tuple[_Marks | None, set[str]] = (None, set())
        self.marks = self._look()

    def _look(self) -> _Marks:
        """Marks again where a lease or a commit has come or gone."""
        listed = self.store.listing("builds")
        builds = frozenset((f.path, f.modified) for f in listed if f.path.endswith(".json"))
        newest = max(manifest.following_commits(self.url, list(self._newest())), default=-1)
        if (builds, newest) != self.seen:
            now = self.found.older_than + self.policy.grace
            self.marks = _mark(self.url, self.policy, now)
            self.seen = (builds, newest)
        return self.marks

    def _newest(self) -> Iterator[int]:
        if self.seen is not None:
            yield self.seen[1]
        elif self.found.commits:
            yield self.found.commits[-1]

    def remove(self, doomed: Doomed) -> bool:
        """Removes one thing unless it has come to be wanted; says whether it did."""
        marks = self._look()
        if doomed.kind == "commit":
            return doomed.name in {f.path for f in marks.dropped} and self._drop(doomed.name)
        if doomed.kind == "shard":
            return doomed.name not in marks.shards and self._remove_shard(doomed.name)
        if doomed.kind == "lease":
            if doomed.name in {lease.path for lease in marks.leases if lease.alive}:
                return False
        elif marks.builds or self._named(doomed, marks):
            return False
        self.store.delete(doomed.name)
        return True

    def _named(self, doomed: Doomed, marks: _Marks) -> bool:
        name = doomed.name.split("/")[1].split(".")[0]
        if doomed.kind == "model":
            if self.stray_models[0] is not marks:  # every shard may have to be asked
                stray = _stray_models(self.url, marks, self.found.older_than)
                self.stray_models = (marks, {each.name for each in stray})
            return doomed.name not in self.stray_models[1]
        return name in (marks.manifests if doomed.kind == "manifest" else marks.skeletons)

    def _remove_shard(self, key: str) -> bool:
        listed = self.store.listing(f"shards/{key}")
        if any(entry.modified >= self.found.older_than for entry in listed):
            return False
        inventory.remove_shard(self.url, key)
        return True

    def _drop(self, path: str) -> bool:
        """Removes a commit; brings it back where a tag was given to it meanwhile."""
        try:
            data = bytes(self.store.get(path))
        except FileNotFoundError:
            return True
        if self._tagged(path):
            return False
        self.store.delete(path)
        try:
            tagged = self._tagged(path)
        except InputError:  # who cannot read the tags must not drop what they may name
            self.store.create(path, data)
            raise
        if tagged:
            self.store.create(path, data)
        return not tagged

    def _tagged(self, path: str) -> bool:
        if int(path.split("/")[1].split(".")[0]) not in history.tags(self.url).values():
            return False
        self.seen = None
        return True
