"""Runs one function over many jobs: here, or as Ray tasks. No other logic, so both give the same results.

The only file of the build side that imports Ray, and only where it is used: its import takes a quarter of a second,
a tenth of what a command that makes nothing may take.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from schemas.errors import InputError

log = logging.getLogger(__name__)
J = TypeVar("J")
R = TypeVar("R")
RETRIES = 2
"""Times that a job whose worker died or raised is tried again; a refused input is not."""
_ROOT = Path(__file__).parents[1]
_NOT_SHIPPED = ["/*", "!.", "!/schemas", "!/workers", "!/pipeline", "!/trainers"]
"""Everything but the four rooms, in .gitignore's language: a dataset that lies in the repository must not travel."""


@dataclass(frozen=True, kw_only=True)
class Failure(Generic[J]):
    """A job that failed for good, and why."""

    job: J
    error: Exception


class Executor(Protocol):
    """Where jobs run."""

    def map(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R | Failure[J]]:
        """Yields each job's result, or its failure, in the order in which they finish."""
        ...


@dataclass(frozen=True, kw_only=True)
class LocalExecutor:
    """Runs jobs one after another in this process."""

    def map(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R | Failure[J]]:
        """Yields results in the order of the jobs."""
        for job in jobs:
            yield self._attempt(function, job)

    def _attempt(self, function: Callable[[J], R], job: J) -> R | Failure[J]:
        for attempt in range(RETRIES + 1):
            try:
                return function(job)
            except InputError as error:
                return Failure(job=job, error=error)
            except Exception as error:  # whatever a job raises belongs to that job
                log.info("attempt %d failed", attempt + 1, exc_info=True)
                last = error
        return Failure(job=job, error=last)


@dataclass(frozen=True, kw_only=True)
class RayExecutor:
    """Runs jobs as Ray tasks, a bounded number in flight, on the cluster at hand or a local one."""

    in_flight: int | None = None
    """Tasks submitted and not yet collected; None: twice the cluster's CPUs at the start."""

    def map(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R | Failure[J]]:
        """Yields results as tasks finish; tasks whose worker dies or raises are tried again."""
        import ray

        connect()
        options: dict[str, Any] = {
            "num_cpus": 1,
            "max_retries": RETRIES,
            "retry_exceptions": [RuntimeError, OSError, MemoryError],
        }
        remote: Any = ray.remote(**options)(function)
        limit = self.in_flight or max(2, 2 * _cpus())
        waiting = iter(jobs)
        running: dict[Any, J] = {}
        while True:
            for job in waiting:
                running[remote.remote(job)] = job
                if len(running) >= limit:
                    break
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                yield _collect(reference, running.pop(reference))


def _collect(reference: Any, job: J) -> Any:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, InputError):
            return Failure(job=job, error=cause)
        log.info("%s", error)  # with the worker's traceback
        return Failure(job=job, error=RuntimeError(f"{type(cause).__name__}: {cause}"))
    except ray.exceptions.RayError as error:
        return Failure(job=job, error=RuntimeError(f"the worker died: {error}"))


def _cpus() -> int:
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(resources.get("CPU", 1))


def connect() -> None:
    """Joins the cluster of `RAY_ADDRESS` or of the surrounding Ray job, else starts a local one."""
    import ray

    if ray.is_initialized():
        return
    environment: dict[str, Any] = {
        "env_vars": {"LP_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    }
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
        environment |= {"working_dir": str(_ROOT), "excludes": _NOT_SHIPPED}
    ray.init(
        # Not Ray's own search: a file that a dead cluster left behind would make it wait for minutes.
        address=os.environ.get("RAY_ADDRESS", "local"),
        log_to_driver=False,
        include_dashboard=False,
        logging_level=logging.ERROR,
        runtime_env=environment,
    )
