"""Ray Train's adapter: workers, restarts and nothing else. Every worker calls `session.run`, as one process would.

Checkpoints go to the run's URL by rank 0, and a restarted group finds the newest there, so the run survives also
where Ray's own storage does not. Ray's checkpoints, under `<run>/ray`, hold the stream's position at each of them
(`stream.json`). The only file of the training side that imports Ray.
"""

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.fs
import ray
import ray.train
import ray.train.torch

from schemas import files
from schemas.errors import InputError
from schemas.training import FitRecipe
from trainers import parallel, session
from trainers.loop import Event, History, read_history
from trainers.position import Position

log = logging.getLogger(__name__)
_ROOT = Path(__file__).parents[1]
_NOT_SHIPPED = ["/*", "!.", "!/schemas", "!/trainers"]
"""Everything but the two rooms, in .gitignore's language: datasets and runs that lie here must not travel."""
_FAILURES, _KEEP, _WORKERS = 2, 2, 2
STREAM_JSON = "stream.json"
"""The stream's position in a checkpoint of Ray's, as `Position.from_json` reads it."""
_POLL_SECONDS = 0.5


def fit(
    recipe: FitRecipe,
    data: Sequence[str],
    to: str,
    *,
    workers: int | None,
    use_gpu: bool,
    report: Callable[[Event], None] | None = None,
) -> History:
    """Trains on Ray workers and returns what `session.run` would have; `report` hears of some steps.

    Args:
        recipe: what is trained.
        data: dataset URLs.
        to: URL of the run.
        workers: how many; None is two, or one where there is no room for two.
        use_gpu: a GPU for each, else a CPU.
        report: told now and then.

    Raises:
        InputError: what `session.run` refuses, a URL that only this process can see, or more workers than this
            machine has room for.
    """
    local = [url for url in (*data, to) if url.startswith("memory://")]
    if local:
        raise InputError(
            local[0], "lives in this process only", "Use file:// or s3://, or --no-ray"
        )
    session.check(recipe, data, to)
    _connect()
    count = _room(workers, use_gpu)
    board = ray.remote(num_cpus=0)(Board).remote()
    fs, path = fsspec.core.url_to_fs(f"{to.rstrip('/')}/ray")
    trainer = ray.train.torch.TorchTrainer(
        _worker,
        train_loop_config={
            "recipe": recipe.model_dump(mode="json"),
            "data": [files.absolute(url) for url in data],
            "to": files.absolute(to),
            "board": board,
        },
        scaling_config=ray.train.ScalingConfig(num_workers=count, use_gpu=use_gpu),
        run_config=ray.train.RunConfig(
            name=recipe.name,
            storage_path=path,
            storage_filesystem=pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs)),
            failure_config=ray.train.FailureConfig(max_failures=_FAILURES),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=_KEEP),
        ),
    )
    try:
        with _watched(board, report), _interruptible():
            trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise _cause(error) from error
    return read_history(to)


def _worker(config: dict[str, Any]) -> None:
    """Runs on each worker, inside the process group that Ray made."""
    recipe = FitRecipe.model_validate(config["recipe"])

    def report(event: Event) -> None:
        if parallel.rank() == 0:
            config["board"].write.remote(event)
        if event.position is not None:
            _hand_to_ray(event, event.position)

    device = ray.train.torch.get_device()
    session.run(recipe, config["data"], config["to"], device, report)


def _hand_to_ray(event: Event, position: Position) -> None:
    """Reports metrics and, by rank 0, a checkpoint of Ray's with the stream's position."""
    values = {"step": event.total_steps, **event.values}
    if parallel.rank() > 0:
        ray.train.report(values)
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / STREAM_JSON).write_text(position.to_json())
        ray.train.report(values, checkpoint=ray.train.Checkpoint.from_directory(folder))


class Board:
    """An actor on which the first worker writes how far it is; the newest word counts."""

    def __init__(self) -> None:
        self.last: Event | None = None

    def write(self, event: Event) -> None:
        """Replaces the word."""
        self.last = event

    def read(self) -> Event | None:
        """Returns the newest word."""
        return self.last


@contextmanager
def _watched(board: Any, report: Callable[[Event], None] | None) -> Iterator[None]:
    """Passes new words on the board to `report` while the body runs."""
    done = threading.Event()

    def watch() -> None:
        seen, over = None, False
        while not over:
            # Looks once more after the end, or the last steps would go untold.
            over = done.wait(_POLL_SECONDS)
            event = ray.get(board.read.remote())
            if event is not None and event != seen and report is not None:
                report(event)
            seen = event

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lets Ctrl-C interrupt the body; Ray answers it by `sys.exit(0)`, here and for the rest of the program."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _connect() -> None:
    """Joins the cluster of `RAY_ADDRESS` or of the surrounding Ray job, else starts a local one."""
    if ray.is_initialized():
        return
    # After a node is lost Ray waits so long for its return before it starts the group without it; 60 by default.
    variables = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20"}
    os.environ.update({k: v for k, v in variables.items() if k not in os.environ})
    environment: dict[str, Any] = {"env_vars": {"OMP_NUM_THREADS": "1", **variables}}
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


def _room(workers: int | None, use_gpu: bool) -> int:
    """Returns how many workers to start; Ray itself would wait for room without a word, on one machine for ever."""
    kind = "GPU" if use_gpu else "CPU"
    held = ray.cluster_resources()  # type: ignore[no-untyped-call]
    room = int(held.get(kind, 0))
    if workers is None:
        return max(1, min(_WORKERS, room))
    if workers > room and "RAY_ADDRESS" in os.environ:
        log.warning(
            "%d workers want a %s each; the cluster has %d, and training waits until it has grown",
            *(workers, kind, room),
        )
    elif workers > room:
        raise InputError(
            f"workers={workers}",
            f"want a {kind} each, and this machine has {room}",
            "Lower --workers" + (", or train on CPUs with --no-gpu" if use_gpu else ""),
        )
    return workers


def _cause(error: BaseException) -> BaseException:
    """Finds the refusal inside Ray's wrapping; another failure is returned as it is."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        seen: BaseException | None = failure
        while seen is not None:
            if isinstance(seen, InputError):
                return seen
            inner = getattr(seen, "cause", None)
            seen = inner if isinstance(inner, BaseException) else seen.__cause__
    return error
