"""Any order of builds, crashes, races, tags, collections and reads, against a dictionary of what must be there."""

import itertools
import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from faulty_store import Crash, FaultyObjects, install
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from quick_builds import quicken, recipe_of, run, whole
from turns import Turns

from pipeline import history, sweep, verify
from schemas import manifest
from schemas.errors import InputError
from schemas.recipes import Recipe
from schemas.store import Store

FULL = os.environ.get("KINEFORGE_STORE_MACHINE") == "full"
"""The long profile: 1,000 examples of 100 steps; else what a test run has time for."""
EXAMPLES, STEPS = (1000, 100) if FULL else (200, 75)
_numbers = itertools.count()
_folder = tempfile.TemporaryDirectory()
RECIPES = ((3, ""), (3, "image_px=72"), (4, ""), (5, ""), (5, "name=other"))
at = st.integers(1, 40)


def recipe(number: int) -> Recipe:
    """Returns one of a few recipes; some share shards, two all of them."""
    pictures, word = RECIPES[number]
    return recipe_of(Path(_folder.name), pictures, *([word] if word else []))


class StoreMachine(RuleBasedStateMachine):
    """One dataset, and what a dictionary says of it."""

    @initialize()
    def begin(self) -> None:
        """Starts with an empty place."""
        self.patch = pytest.MonkeyPatch()
        self.url = f"memory://machine-{next(_numbers)}"
        self.store: FaultyObjects = install(self.patch, self.url)
        self.wanted = 0
        self.states: dict[int, tuple[str, bool]] = {}
        """Dataset id and completeness of every commit that must be there."""
        self.tags: dict[str, int] = {}

    def teardown(self) -> None:
        """Ends the example."""
        if hasattr(self, "patch"):
            self.patch.undo()

    def note(self) -> None:
        """Takes new commits into the dictionary; old ones must be as they were."""
        for number in manifest.commit_numbers(self.url):
            commit = manifest.read_commit(self.url, number)
            known = self.states.setdefault(number, (commit.dataset_id, commit.complete))
            assert known == (commit.dataset_id, commit.complete)

    @rule(number=st.integers(0, len(RECIPES) - 1))
    def change_recipe(self, number: int) -> None:
        """Wants something else from now on."""
        self.wanted = number

    @rule()
    def build(self) -> None:
        """Builds what is wanted."""
        made = run(recipe(self.wanted), self.url).dataset
        assert made is not None
        assert made.dataset_id == IDS[self.wanted]
        assert manifest.open_dataset(self.url).dataset_id == IDS[self.wanted]
        self.note()

    @rule(
        i=at, fault=st.sampled_from(["crash before", "crash after", "torn", "interrupted", "lost"])
    )
    def build_into_a_fault(self, i: int, fault: str) -> None:
        """Builds, and meets a fault at the first operation from number i on that it fits."""
        reached = len(self.store.operations) + i
        kinds = {"torn": "torn write", "lost": "lost acknowledgement"}
        writes = fault in ("torn", "crash after")

        def meet(operation: Any) -> None:
            fits = operation.name in ("put", "create") if writes else True
            # gc refuses to guess what a torn commit or a torn young lease names: a person must look.
            guarded = operation.path.startswith(("commits/", "builds/"))
            fits = fits and not (fault == "torn" and guarded)
            if operation.number >= reached and fits and not self.store.faults:
                self.store.faults = {operation.number: kinds.get(fault, fault)}  # type: ignore[dict-item]

        self.store.before = meet
        try:
            run(recipe(self.wanted), self.url)
        except (Crash, InputError, KeyboardInterrupt):
            pass
        finally:
            self.store.before = lambda operation: None
            self.store.faults = {}
            self.store.alive()
        self.note()

    @rule(other=st.integers(0, len(RECIPES) - 1), i=at, j=at, dies=st.booleans())
    def build_at_once(self, other: int, i: int, j: int, dies: bool) -> None:
        """Lets two builds run in turns; the first may die."""
        clients: list[Callable[[], Any]] = [
            lambda n=n: run(recipe(n), self.url)  # type: ignore[misc]
            for n in (self.wanted, other)
        ]
        ends = Turns(self.store, clients).run((i, j), dies)
        self.store.before = lambda operation: None
        self.store.alive()
        self.note()
        assert not isinstance(ends[1], BaseException), ends[1]
        assert self.states[ends[1].dataset.number] == (IDS[other], True)
        assert dies or self.states[ends[0].dataset.number] == (IDS[self.wanted], True)

    @rule(lag=st.integers(0, 30))
    def build_with_listings_that_lag(self, lag: int) -> None:
        """Builds while the store lists the last writes not yet."""
        self.store.lag = lag
        try:
            self.build()
        finally:
            self.store.lag = 0

    @precondition(lambda self: any(complete for _, complete in self.states.values()))
    @rule(name=st.sampled_from(["a", "b", "c"]))
    def tag(self, name: str) -> None:
        """Gives the newest complete state a name, or takes the name away where it is given."""
        if name in self.tags:
            assert history.delete_tag(self.url, name) == self.tags.pop(name)
        else:
            self.tags[name] = history.add_tag(self.url, name).number
        assert history.tags(self.url) == self.tags

    @precondition(lambda self: self.states)
    @rule(keep=st.none() | st.integers(1, 3), build_first=st.booleans())
    def collect(self, keep: int | None, build_first: bool) -> None:
        """Sweeps without any grace; what goes must be what the policy lets go."""
        policy = sweep.Policy(grace=timedelta(0), keep_last=keep)
        found = sweep.survey(self.url, policy)
        if build_first:
            self.build()
        sweep.sweep(self.url, policy, found)
        # What is relied on: by the end of a grace period, which is none here, listings have caught up.
        self.store.catch_up()
        numbers = set(manifest.commit_numbers(self.url))
        complete = [n for n, (_, whole) in sorted(self.states.items()) if whole]
        kept = set(self.tags.values()) | {n for n in self.states if n >= max(complete, default=0)}
        kept |= set(complete[-(keep or len(complete) or 1) :])
        assert kept <= numbers
        assert keep or numbers == set(self.states)
        self.states = {n: state for n, state in self.states.items() if n in numbers}

    @precondition(lambda self: len(self.states) > 1)
    @rule(data=st.data())
    def diff(self, data: st.DataObject) -> None:
        """Compares two states: no difference if and only if they are one."""
        pair = [data.draw(st.sampled_from(sorted(self.states))) for _ in range(2)]
        one, two = (manifest.open_dataset(f"{self.url}@{n}") for n in pair)
        found = history.difference(one, two)
        same = not (found.changed or found.added or found.removed)
        assert same == (self.states[pair[0]][0] == self.states[pair[1]][0])

    @precondition(lambda self: any(complete for _, complete in self.states.values()))
    @rule()
    def check(self) -> None:
        """Verifies the newest state."""
        assert verify.verify(self.url) == []

    @invariant()
    def what_must_be_there_reads_whole(self) -> None:
        """Reads every kept state, every byte against its digest."""
        if not hasattr(self, "store"):
            return
        with self.store.quiet():
            assert manifest.commit_numbers(self.url) == sorted(self.states)
            for number, (dataset_id, _) in self.states.items():
                assert whole(f"{self.url}@{number}").dataset_id == dataset_id
            complete = [n for n, (_, finished) in self.states.items() if finished]
            if complete:
                assert manifest.open_dataset(self.url).number == max(complete)
            for name, number in self.tags.items():
                assert manifest.open_dataset(f"{self.url}@{name}").number == number


IDS: list[str] = []


@pytest.mark.timeout(3600)  # minutes of work, so a quarter of an hour on a busy machine
def test_any_history_ends_as_the_dictionary_says(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)
    for number in range(len(RECIPES)):
        dataset = run(recipe(number), f"memory://alone-{number}").dataset
        assert dataset is not None
        IDS.append(dataset.dataset_id)
        assert Store(dataset.url).list_paths("builds") == []
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=not FULL,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(StoreMachine, settings=chosen)  # type: ignore[no-untyped-call]
