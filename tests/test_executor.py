"""One contract for every engine: each job ends once, in a result or in a failure, whatever happens to workers."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from pipeline.executor import Executor, Failure, LocalExecutor, RayExecutor
from schemas.errors import InputError

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(
    scope="module", params=["local", pytest.param("ray", marks=pytest.mark.ray)], name="executor"
)
def _executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "local":
        yield LocalExecutor()
    else:
        yield RayExecutor(in_flight=3)
        ray.shutdown()


def square(number: int) -> int:
    return number * number


def refuse_seven(number: int) -> int:
    if number == 7:
        raise InputError("7", "is odd", "Choose another")
    return number


def fail_once(marker: Path) -> str:
    """Fails in a way that a second attempt mends."""
    if not marker.exists():
        marker.touch()
        raise RuntimeError("a passing fault")
    return "done"


def die_once(marker: Path) -> str:
    """Takes its worker down the first time."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), 9)
    return "done"


def always_fail(number: int) -> int:
    raise RuntimeError(f"no luck with {number}")


def test_every_job_gives_its_result(executor: Executor) -> None:
    assert sorted(executor.map(square, range(10))) == [n * n for n in range(10)]


def test_no_jobs_give_nothing(executor: Executor) -> None:
    assert list(executor.map(square, [])) == []


def test_a_refused_input_is_reported_and_the_rest_goes_on(executor: Executor) -> None:
    results = list(executor.map(refuse_seven, range(9)))
    failures = [r for r in results if isinstance(r, Failure)]
    assert [f.job for f in failures] == [7]
    assert isinstance(failures[0].error, InputError)
    assert "7: is odd. Choose another." in str(failures[0].error)
    assert len(results) == 9


def test_a_passing_fault_is_tried_again(executor: Executor, tmp_path: Path) -> None:
    assert list(executor.map(fail_once, [tmp_path / "a", tmp_path / "b"])) == ["done", "done"]


def test_a_job_that_always_fails_is_reported_once(executor: Executor) -> None:
    (failure,) = executor.map(always_fail, [3])
    assert isinstance(failure, Failure)
    assert "no luck with 3" in str(failure.error)


@pytest.mark.ray
def test_a_killed_worker_costs_only_its_own_attempt(tmp_path: Path) -> None:
    try:
        assert list(RayExecutor(in_flight=2).map(die_once, [tmp_path / "x"])) == ["done"]
    finally:
        ray.shutdown()


@pytest.mark.ray
def test_tasks_in_flight_are_bounded() -> None:
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield number

    try:
        results = RayExecutor(in_flight=2).map(square, jobs())
        next(results)
        assert taken <= 3
        assert len(list(results)) == 19
    finally:
        ray.shutdown()
