"""Every fault at every operation of a build: running it again mends all, and no reader ever sees half of anything."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from faulty_store import APPLIES, Crash, Fault, FaultyObjects, Operation, install
from quick_builds import quicken, recipe_of, run, whole
from turns import Turns

from schemas import files, manifest
from schemas.errors import InputError
from schemas.recipes import Recipe
from schemas.shards import canonical_digest
from schemas.store import Store

IMMUTABLE = ("shards/", "commits/", "manifests/", "skeletons/", "models/")
_numbers = itertools.count()


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Returns a patch that is undone after the test, with quick builds."""
    quicken(monkeypatch)
    return monkeypatch


@pytest.fixture(params=["memory", "file"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Returns a maker of places for a dataset that nothing lies at."""

    def make() -> str:
        place = f"{tmp_path.name}-{next(_numbers)}"
        return f"memory://{place}" if request.param == "memory" else f"{tmp_path}/{place}"

    return make


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What happens before the faults, and the build that meets them."""

    before: tuple[Recipe, ...]
    recipe: Recipe


def scenes(folder: Path) -> Iterator[Scene]:
    """Yields a first build, one on top of another recipe's, and one that goes back to an earlier state."""
    few, more = recipe_of(folder, 3), recipe_of(folder, 5)
    yield Scene(before=(), recipe=few)
    yield Scene(before=(few,), recipe=more)
    yield Scene(before=(few, more), recipe=few)


def prepared(patch: pytest.MonkeyPatch, url: str, scene: Scene) -> FaultyObjects:
    """Lays out what was there before, then puts the faulty store in front of it."""
    for path, data in laid_out(scene.before):
        Store(url).put_bytes(path, data)
    return install(patch, url)


def laid_out(recipes: tuple[Recipe, ...]) -> list[tuple[str, bytes]]:
    """Returns all objects of a dataset that these recipes were built to, one after the other; built once."""
    url = f"memory://laid-out-{canonical_digest([r.model_dump(mode='json') for r in recipes])}"
    if recipes and not manifest.commit_numbers(url):
        for recipe in recipes:
            assert run(recipe, url).dataset
    return [(path, Store(url).get_bytes(path)) for path in Store(url).list_paths("")]


class Reader:
    """A client without faults that looks after every operation, and the laws that hold for what it sees."""

    def __init__(self, store: FaultyObjects, url: str) -> None:
        self.store, self.url = store, url
        with store.quiet():
            self.seen: list[tuple[int, str] | None] = [published(url)]
            self.bytes = {path: self._digest(path) for path in Store(url).list_paths("")}
        self.looks = 0
        store.after = self.look

    def look(self, operation: Operation) -> None:
        """Opens the dataset where it may have changed; what cannot have changed it must not have tried to."""
        if operation.name not in ("put", "create", "delete"):
            return
        path, old = operation.path, self.bytes.get(operation.path)
        self.bytes[path] = new = self._digest(path)
        # A new object under shards/ that no manifest names yet is seen by nobody.
        if not path.startswith("shards/") or old is not None:
            self.seen.append(published(self.url))
            self.looks += 1
        if old is not None and self._needed(path):
            assert new == old, f"{path} was changed under its readers"

    def _digest(self, path: str) -> str | None:
        try:
            return files.digest(self.store.real.get(path))
        except FileNotFoundError:
            return None

    def _needed(self, path: str) -> bool:
        if not path.startswith(IMMUTABLE):
            return False
        for number in readable(self.url):
            commit = manifest.read_commit(self.url, number)
            named = {manifest.commit_path(number), manifest.manifest_path(commit.dataset_id)}
            shards = {s.action_key for s in manifest.read_shards(self.url, commit.dataset_id)}
            if path in named or path.split("/")[1] in shards:
                return True
        return False


def published(url: str) -> tuple[int, str] | None:
    """Returns number and id of what a reader gets, every byte of it checked; None where there is nothing yet."""
    if not readable(url):
        return None
    try:
        dataset = whole(url)
    except InputError as error:
        if "only an unfinished" not in str(error):
            raise
        return None
    return dataset.number, dataset.dataset_id


def check_end(store: FaultyObjects, reader: Reader, url: str, wanted: str, laps: int) -> None:
    """Checks what every history must end with."""
    with store.quiet():
        assert whole(url).dataset_id == wanted
        commits = [whole(f"{url}@{n}").commit for n in readable(url)]
    complete = [entry for entry in reader.seen if entry]
    assert complete == sorted(complete, key=lambda entry: entry[0]), "a reader went back in time"
    assert len(set(complete)) <= laps + 1, "a reader saw what nobody built"
    states = [(c.dataset_id, c.complete, c.recipe) for c in commits]
    assert all(a != b for a, b in itertools.pairwise(states)), "a state was published twice"


def readable(url: str) -> list[int]:
    """Returns the numbers of the commits that are not cut short."""
    numbers = []
    for number in manifest.commit_numbers(url):
        with suppress(InputError):
            numbers.append(manifest.read_commit(url, number).number)
    return numbers


def attempt(recipe: Recipe, url: str) -> Any:
    """Builds; whatever fault was met ends it as it would end a command."""
    try:
        return run(recipe, url)
    except (Crash, InputError, KeyboardInterrupt) as ended:
        return ended


def failure_free(patch: pytest.MonkeyPatch, url: str, scene: Scene) -> tuple[FaultyObjects, str]:
    """Runs the scene without faults; returns the record of its operations and the dataset id."""
    with patch.context() as inner:
        store = prepared(inner, url, scene)
        dataset = run(scene.recipe, url).dataset
        assert dataset is not None
    return store, dataset.dataset_id


def test_every_fault_at_every_operation_is_mended_by_running_again(
    patch: pytest.MonkeyPatch,
    new_url: Callable[[], str],
    tmp_path: Path,
    record_property: Callable[[str, Any], None],
) -> None:
    operations = cases = looks = 0
    # A disk takes longer and adds only what a rebuild meets.
    on_disk = not new_url().startswith("memory://")
    for scene in list(scenes(tmp_path))[on_disk:][: 1 if on_disk else None]:
        record, wanted = failure_free(patch, new_url(), scene)
        operations += len(record.operations)
        for operation, fault in itertools.product(record.operations, get_args(Fault)):
            if operation.name in APPLIES[fault]:
                looks += one_fault(patch, new_url(), scene, {operation.number: fault}, wanted)
                cases += 1
    record_property("operations, cases, looks", (operations, cases, looks))
    assert operations > 20
    assert cases > 100


def one_fault(
    patch: pytest.MonkeyPatch, url: str, scene: Scene, faults: dict[int, Fault], wanted: str
) -> int:
    """Builds into the faults, then again without; returns how often a reader looked."""
    with patch.context() as inner:
        store = prepared(inner, url, scene)
        reader = Reader(store, url)
        store.faults = faults
        for _ in faults:
            attempt(scene.recipe, url)
            store.alive()
        assert len(store.operations) >= min(faults), "the fault was not reached"
        store.faults = {}
        assert run(scene.recipe, url).dataset is not None
        for again in store.later:
            again()
        check_end(store, reader, url, wanted, laps=1)
    return reader.looks


def test_two_faults_in_a_row_are_mended_as_well(
    patch: pytest.MonkeyPatch, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    """The recovery itself dies once more, at every of its operations."""
    scene = Scene(before=(recipe_of(tmp_path, 3),), recipe=recipe_of(tmp_path, 5))
    record, wanted = failure_free(patch, f"memory://{tmp_path}", scene)
    k, cases = len(record.operations), 0
    for i, extra in itertools.product(range(1, k + 1), range(1, k + 3)):
        url = f"memory://{tmp_path}-{i}-{extra}"
        one_fault(patch, url, scene, {i: "crash before", i + extra: "crash before"}, wanted)
        cases += 1
    record_property("cases", cases)
    assert cases > 300


@pytest.mark.parametrize("lag", [1, 2, 3, 5, 10, 10_000])
def test_listings_that_lag_behind_all_the_time_change_nothing(
    patch: pytest.MonkeyPatch, new_url: Callable[[], str], tmp_path: Path, lag: int
) -> None:
    for scene in scenes(tmp_path):
        _, wanted = failure_free(patch, new_url(), scene)
        url = new_url()
        with patch.context() as inner:
            store = prepared(inner, url, scene)
            reader = Reader(store, url)
            store.lag = lag
            for _ in range(3):
                assert run(scene.recipe, url).dataset is not None
            store.lag = 0
            check_end(store, reader, url, wanted, laps=1)


PAIRS = {
    "the same recipe twice": (3, 3),
    "two recipes that share shards": (3, 5),
}


@pytest.mark.parametrize(
    ("pair", "first_dies"),
    [*((pair, False) for pair in PAIRS), ("two recipes that share shards", True)],
)
def test_two_builds_at_once_end_in_one_chain_whichever_waits_when(
    patch: pytest.MonkeyPatch,
    tmp_path: Path,
    pair: str,
    first_dies: bool,
    record_property: Callable[[str, Any], None],
) -> None:
    """One builds i operations, the other j, then each the rest; or the first dies and is run again."""
    recipes = [recipe_of(tmp_path, n) for n in PAIRS[pair]]
    sizes, ids = [], []
    for n, recipe in enumerate(recipes):
        record, wanted = failure_free(
            patch, f"memory://{tmp_path}-{n}", Scene(before=(), recipe=recipe)
        )
        sizes.append(len(record.operations))
        ids.append(wanted)
    cases = 0
    for i, j in itertools.product(range(1, sizes[0] + 1), range(1, sizes[1] + 1)):
        interleaved(patch, f"memory://{tmp_path}-{i}-{j}", recipes, ids, (i, j), first_dies)
        cases += 1
    record_property("cases", cases)
    assert cases > 200


def interleaved(
    patch: pytest.MonkeyPatch,
    url: str,
    recipes: list[Recipe],
    ids: list[str],
    switches: tuple[int, int],
    first_dies: bool,
) -> None:
    """Runs both builds in turns and checks what is left."""
    with patch.context() as inner:
        store = install(inner, url)
        reader = Reader(store, url)
        turns = Turns(store, [lambda r=r: attempt(r, url) for r in recipes])  # type: ignore[misc]
        ends = turns.run(switches, first_dies)
        if isinstance(ends[0], Crash):
            ends[0] = run(recipes[0], url)
        with store.quiet():
            chain = [manifest.read_commit(url, n) for n in manifest.commit_numbers(url)]
            for end, wanted in zip(ends, ids, strict=True):
                assert not isinstance(end, BaseException), end
                assert whole(f"{url}@{end.dataset.number}").dataset_id == wanted
            assert {commit.dataset_id for commit in chain} == set(ids)
            assert [c.parent for c in chain] == [None, *(c.dataset_id for c in chain[:-1])]
            assert [c.number for c in chain] == [*range(len(chain))]
            last = chain[-1].dataset_id
        check_end(store, reader, url, last, laps=len(chain))


def test_every_crash_of_a_build_with_all_arrays_is_mended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    """Real shards, every array of them; the other tests' shards hold two."""
    quicken(monkeypatch, thin=False)
    scene = Scene(before=(), recipe=recipe_of(tmp_path, 3, "shard_samples=4"))
    record, wanted = failure_free(monkeypatch, f"memory://{tmp_path}-thick", scene)
    for operation in record.operations:
        url = f"memory://{tmp_path}-thick-{operation.number}"
        one_fault(monkeypatch, url, scene, {operation.number: "crash before"}, wanted)
    record_property("operations", len(record.operations))
    assert len(record.operations) > 100
