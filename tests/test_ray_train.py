"""Ray Train runs the same loop: the same losses as one process, also when a worker dies on the way."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import tiny_crops
from ray._private.runtime_env import packaging

from schemas.errors import InputError
from schemas.training import FitRecipe
from trainers import checkpoint, ray_train, session
from trainers.loop import Event
from trainers.position import Position

pytestmark = pytest.mark.ray
STEPS = 6


@pytest.fixture(scope="module", autouse=True)
def _shutdown() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # Two workers ask for two CPUs, and a machine of one would wait for the other for ever.
        patch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 2}')
        yield
        ray.shutdown()


def recipe() -> FitRecipe:
    document = {
        "name": "tiny",
        "task": {"kind": "pose2d", "input": [32, 32], "net": "fpn"},
        "batch": 5,
        "epochs": 9,
        "max_steps": STEPS,
        "checkpoint_steps": 1,
        "validate_every": 9,
        "stream": {"lanes": 4, "window": 4},
    }
    return FitRecipe.model_validate(document)


def descendants(name: str) -> list[int]:
    """Finds the processes of that title that this test's own Ray started."""
    parents, titles = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
            titles[int(entry.name)] = (entry / "cmdline").read_text()
        except OSError:
            continue
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])

    def ours(pid: int) -> bool:
        while pid > 1:
            if pid == os.getpid():
                return True
            pid = parents.get(pid, 0)
        return False

    return [pid for pid, title in titles.items() if name in title and ours(pid)]


def positions(run: str) -> list[Position]:
    """Reads the stream's positions out of Ray's own checkpoints, oldest first."""
    found = sorted(Path(run).glob(f"ray/*/checkpoint_*/{ray_train.STREAM_JSON}"))
    return [Position.from_json(path.read_text()) for path in found]


def test_two_workers_of_which_one_dies_train_as_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_crops.publish(str(tmp_path / "set"), {"train": (9, 6), "val": (3,)})
    data, to = [str(tmp_path / "set")], str(tmp_path / "run")
    killed, over = list[int](), str(tmp_path / "over")

    def worker(config: dict[str, Any]) -> None:
        from trainers import ray_train

        hand = ray_train._hand_to_ray

        def wait_for_the_kill(event: Event, position: Position) -> None:
            hand(event, position)
            while event.total_steps == 2 and not Path(over).exists():
                time.sleep(0.01)

        ray_train._hand_to_ray = wait_for_the_kill
        ray_train._worker(config)

    def kill_a_worker() -> None:
        while not checkpoint.complete(to):
            time.sleep(0.05)
        for pid in descendants("RayTrainWorker")[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        Path(over).touch()

    # Or the few steps could be over before the kill.
    monkeypatch.setattr(ray_train, "_worker", worker)
    killer = threading.Thread(target=kill_a_worker, daemon=True)
    killer.start()
    history = ray_train.fit(recipe(), data, to, workers=2, use_gpu=False)
    killer.join(60)
    assert len(killed) == 1
    assert [int(r["step"]) for r in history.steps] == list(range(1, STEPS + 1))
    alone = session.run(recipe(), data, str(tmp_path / "alone"), session.pick_device())
    # Adam's first steps are full-sized whatever the gradient, so rounding grows from step to step.
    for ours, theirs in list(zip(history.steps, alone.steps, strict=True))[:3]:
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=5e-3)
    newest = checkpoint.load(to)
    assert newest.total_steps == STEPS
    assert positions(to)[-1] == newest.position
    assert history.validations[-1]["metrics"].keys() == {"net", "image_centre", "mean_pose"}


def test_what_cannot_work_is_refused_before_ray_starts(tmp_path: Path) -> None:
    tiny_crops.publish(str(tmp_path / "set"), {"train": (9,)})
    data, to = [str(tmp_path / "set")], str(tmp_path / "run")
    session.run(recipe().model_copy(update={"max_steps": 1}), data, to, session.pick_device())
    other = recipe().model_copy(update={"batch": 4})
    with pytest.raises(InputError, match="another recipe"):
        ray_train.fit(other, data, to, workers=1, use_gpu=False)
    with pytest.raises(InputError, match="lives in this process"):
        ray_train.fit(recipe(), data, "memory://run", workers=1, use_gpu=False)


@pytest.mark.parametrize(
    ("workers", "use_gpu", "address", "found"),
    [
        (None, False, None, 2),
        (None, True, None, 1),
        (3, False, None, 3),
        (4, False, None, "workers=4: want a CPU each, and this machine has 3. Lower --workers."),
        (2, True, None, "workers=2: want a GPU each, and this machine has 1. Lower.* --no-gpu."),
        (9, True, "cluster:6379", 9),  # which may grow
    ],
)
def test_more_workers_than_this_machine_can_hold_are_not_waited_for(
    workers: int | None,
    use_gpu: bool,
    address: str | None,
    found: int | str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 3.0, "GPU": 1.0})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    if isinstance(found, str):
        with pytest.raises(InputError, match=found):
            ray_train._room(workers, use_gpu)
    else:
        assert ray_train._room(workers, use_gpu) == found
    assert ("waits until it has grown" in caplog.text) == bool(address)


def test_ctrl_c_is_no_end_of_a_run() -> None:
    """Ray's handler makes it `sys.exit(0)`, and stays."""
    before = signal.getsignal(signal.SIGINT)

    def as_ray_answers() -> None:
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt), ray_train._interruptible():
        as_ray_answers()
    assert signal.getsignal(signal.SIGINT) is before


def test_datasets_and_runs_in_the_repository_do_not_travel() -> None:
    """In the words of Ray's own packaging, as `fit --data data/x --to models/y` writes them there."""
    root = Path(ray_train.__file__).parents[1]
    excluded = packaging._get_excludes(root, ray_train._NOT_SHIPPED)
    for name in ("trainers/loop.py", "trainers/recipes/d3ke_resnet18.yaml", "schemas/store.py"):
        assert not excluded(root / name)
    for name in ("data", "models", "demo", ".venv", ".git", "tests"):
        assert excluded(root / name)


def test_the_last_word_on_the_board_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that ends between two looks at the board still reaches the progress bar."""
    monkeypatch.setattr(ray_train, "_POLL_SECONDS", 60.0)
    ray_train._connect()
    board = ray.remote(num_cpus=0)(ray_train.Board).remote()
    seen: list[Event] = []
    last = Event(validated=True, total_steps=7, of_steps=7, values={})
    with ray_train._watched(board, seen.append):
        ray.get(board.write.remote(last))
    assert seen == [last]
