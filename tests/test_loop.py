"""One loop: the same losses on one process and on several, and after any restart."""

import contextlib
import dataclasses
import json
import math
import multiprocessing
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_crops import MemoryReader, corpus
from tiny_samples import tiny_batch, tiny_task
from torch import distributed

from schemas.errors import InputError
from schemas.training import Augment, FitRecipe, Optimiser, Pose2d
from trainers import checkpoint, evaluate, loop, parallel, shelf
from trainers import data as stream_data
from trainers.loop import Event, History, train_stream
from trainers.metrics import Tally
from trainers.pose2d import Pose2dTask
from trainers.task import Batch, Prepared, Task
from trainers.tasks import make_task

CPU = torch.device("cpu")


def recipe(**changes: Any) -> FitRecipe:
    document: dict[str, Any] = {
        "name": "tiny",
        "task": {"kind": "pose2d", "input": [32, 32], "net": "fpn"},
        "batch": 5,
        "epochs": 2,
        "stream": {"lanes": 4, "window": 4},
    }
    return FitRecipe.model_validate(document | changes)


def fit(to: str | None, **changes: Any) -> History:
    r = recipe(**changes)
    train, val = corpus((6, 3, 4), px=32), corpus((5,), px=32, seed=1, split="val")
    return loop.fit(make_task(r, None), r, train, val, to=to, device=CPU)


def losses(history: History) -> list[float]:
    return [record["loss"] for record in history.steps]


def test_the_same_recipe_gives_the_same_run(tmp_path: Path) -> None:
    a, b = fit(None), fit(str(tmp_path))
    assert losses(a) == losses(b)
    assert len(a.steps) == 4
    assert [v["metrics"]["net"] for v in a.validations] == [
        v["metrics"]["net"] for v in b.validations
    ]
    assert set(a.validations[0]["metrics"]) == {"net", "image_centre", "mean_pose"}
    assert losses(loop.read_history(str(tmp_path))) == losses(b)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_run_stopped_anywhere_goes_on_as_if_it_had_not(stop: int, tmp_path: Path) -> None:
    whole = fit(None)
    fit(str(tmp_path), max_steps=stop)
    again = fit(str(tmp_path))
    assert losses(again) == pytest.approx(losses(whole), abs=0)
    assert checkpoint.load(str(tmp_path)).total_steps == 4


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    fit(str(tmp_path))
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    assert len(fit(str(tmp_path)).steps) == 4
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before


def test_another_recipe_or_other_data_are_refused(tmp_path: Path) -> None:
    fit(str(tmp_path), max_steps=1)
    with pytest.raises(InputError, match="another recipe"):
        fit(str(tmp_path), batch=4)
    r = recipe()
    with pytest.raises(InputError, match="other data"):
        loop.fit(
            make_task(r, None), r, corpus((9,), px=32, seed=8), None, to=str(tmp_path), device=CPU
        )


def test_checkpoints_in_mid_epoch_and_events(tmp_path: Path) -> None:
    seen: list[Event] = []
    r = recipe(checkpoint_steps=1, max_steps=3)
    train = corpus((6, 3, 4), px=32)
    loop.fit(make_task(r, None), r, train, None, to=str(tmp_path), device=CPU, report=seen.append)
    assert [(e.total_steps, e.validated) for e in seen] == [
        (1, False), (2, False), (2, True), (3, False), (3, True)
    ]  # fmt: skip
    assert [int(u[-8:]) for u in checkpoint.complete(str(tmp_path))] == [2, 3]
    last = checkpoint.load(str(tmp_path))
    assert (last.epoch, last.step) == (1, 1)


def test_a_checkpoint_between_validations_claims_no_metrics(tmp_path: Path) -> None:
    """Or it would pass for the best one by the loss of an earlier step."""
    fit(str(tmp_path), checkpoint_steps=3, epochs=2)
    told = {int(u[-8:]): checkpoint.load(u).metrics for u in checkpoint.complete(str(tmp_path))}
    assert told[3] == {}
    assert told[4]["loss"] > 0


def test_a_history_is_whole_whatever_interrupts_its_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run needs it; a torn one would lock the run out of its own checkpoints."""
    fit(str(tmp_path), max_steps=2)
    before = (tmp_path / "history.json").read_bytes()

    def torn(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", torn)
        with pytest.raises(InputError, match="No space left"):
            fit(str(tmp_path), max_steps=3)
    assert (tmp_path / "history.json").read_bytes() == before
    assert [p.name for p in tmp_path.glob(".*")] == []
    assert len(fit(str(tmp_path)).steps) == 4


def test_metrics_of_nothing_come_back_as_they_were(tmp_path: Path) -> None:
    nothing = History(
        validations=[{"step": 1, "epoch": 0, "metrics": {"net": {"AP": float("nan")}}}]
    )
    (tmp_path / "history.json").write_text(json.dumps(loop.plain(dataclasses.asdict(nothing))))
    (told,) = loop.read_history(str(tmp_path)).validations
    assert math.isnan(told["metrics"]["net"]["AP"])
    (tmp_path / "history.json").write_text('{"steps": [')
    with pytest.raises(InputError, match="no history"):
        loop.read_history(str(tmp_path))


def test_an_infinite_loss_is_told_with_a_remedy() -> None:
    with pytest.raises(InputError, match=r"no longer finite.*optimiser\.rate"):
        fit(None, optimiser={"rate": 1e30}, epochs=6)


@pytest.mark.parametrize("where", ["run", "prepare"])
def test_a_batch_beyond_the_gpus_memory_is_told_with_a_remedy(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    r, train = recipe(), corpus((6,), px=32)
    task = make_task(r, None)
    # Not while the baselines are summed up, which is done on the CPU.
    monkeypatch.setattr(evaluate, "summarise", lambda *_: Tally())
    monkeypatch.setattr(Pose2dTask, where, full)
    with pytest.raises(InputError, match=r"batch=5: does not fit.*Lower it"):
        loop.fit(task, r, train, None, to=None, device=CPU)


@pytest.mark.parametrize("kind", ["pose2d", "d3ke"])
def test_a_step_mixes_no_devices(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meta tensors refuse those of the CPU as a GPU's do, and hold nothing that a GPU would be waited for."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no meta device
    task: Task
    if kind == "pose2d":
        task = make_task(recipe(), None)
        (batch,) = (
            b for _, b in train_stream(task, recipe(), corpus((5,))).batches(0, lambda b: b)
        )
    else:
        task, batch = tiny_task(), tiny_batch(5, 64, np.random.default_rng(0))
        augment = {"flip": 0, "blur": 0.5, "occlude": 0.5}
        changed = task.recipe.model_copy(update={"augment": Augment.model_validate(augment)})
        task = dataclasses.replace(task, recipe=changed)
    device = torch.device("meta")
    net = task.make_net().to(device)
    prepared, weights = loop._prepare(task, device, batch)
    output = task.run(net, prepared)
    (task.loss(output, prepared)["loss"] * weights).sum().backward()
    assert prepared["image"].device == weights.device == device
    assert {p.grad.device for p in net.parameters() if p.grad is not None} == {device}


def test_learning_rate_warms_up_and_decays() -> None:
    options = Optimiser(rate=1.0, warmup_steps=4, final=0.1)
    rates = [loop.rate(options, step, 20) for step in range(21)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[20] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert loop.rate(Optimiser(rate=1.0), 7, 20) == 1.0


class DoubleTask(Pose2dTask):
    """In float64, as Adam's first steps turn rounding errors of float32 into whole steps."""

    def make_net(self) -> torch.nn.Module:
        """Makes the net in float64."""
        return super().make_net().double()

    def prepare(self, batch: Batch, training: bool, device: torch.device) -> Prepared:
        """Prepares in float64."""
        prepared = super().prepare(batch, training, device)
        return {k: v.double() if v.is_floating_point() else v for k, v in prepared.items()}


def fit_double(to: str | None) -> History:
    r = recipe()
    assert isinstance(r.task, Pose2d)
    train, val = corpus((6, 3, 4), px=32), corpus((5,), px=32, seed=1, split="val")
    return loop.fit(DoubleTask(recipe=r, config=r.task), r, train, val, to=to, device=CPU)


def _rank(rank: int, world: int, folder: str) -> None:
    """Runs in a process of its own: the same fit on a share of every batch."""
    torch.set_num_threads(1)
    store = f"file://{folder}/rendezvous"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    history = fit_double(f"{folder}/run")
    torch.manual_seed(0)
    x = torch.randn(3, 4, 5, 5) * 3 + 7
    grad, running = _normalised(x[rank * 3 // world : (rank + 1) * 3 // world])
    distributed.destroy_process_group()
    patience = time.monotonic() + 60
    while any(
        "gloo" in name for name in _threads()
    ):  # the kernel shows one that ended a little longer
        assert time.monotonic() < patience, "they outlive the group"
        time.sleep(0.01)
    if rank == 0:
        told = {"losses": losses(history), "validations": history.validations}
        Path(f"{folder}/told.json").write_text(json.dumps(loop.plain(told)))
    torch.save({"grad": grad, "running": running}, f"{folder}/norm-{rank}.pt")


def _threads() -> set[str]:
    """Returns the names of this process's threads."""
    names = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            names.add((thread / "comm").read_text())
    return names


def _normalised(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the gradient at x of an uneven function of its normalisation, and the running statistics."""
    norm = parallel.BatchNorm2d(4)
    x = x.clone().requires_grad_()
    (norm(x) ** 3).sum().backward()
    assert x.grad is not None
    return x.grad, torch.cat([norm.running_mean, norm.running_var])  # type: ignore[list-item]


@pytest.mark.parametrize("world", [1, 3])
def test_ranks_together_read_a_split_once_to_measure_on_it(
    world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A reader that is asked a second time for the machine being busy would count twice.
    monkeypatch.setattr(shelf, "_HEDGE_LEAST_SECONDS", 1000.0)
    r, data = recipe(), corpus([4] * 12, px=32)
    task = make_task(r, None)
    net = task.make_net()
    monkeypatch.setattr(parallel, "world", lambda: world)
    monkeypatch.setattr(parallel, "gather", lambda value: [value])
    for rank in range(world):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        evaluate.measure(task, net, data, r, CPU, {})
    reader = data.shards[0].store
    assert isinstance(reader, MemoryReader)
    # Two ranks may meet within a shard.
    assert len(data.shards) <= len(reader.reads) <= len(data.shards) + world - 1


def test_a_validation_keeps_no_more_of_its_split_than_it_must(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It reads it once, beside a training stream that keeps `cache_mb`."""
    r, data, held = recipe(batch=2), corpus([16] * 40, px=200), list[int]()
    real = shelf.Shelf.get

    def get(self: shelf.Shelf[Any], number: int) -> Any:
        held.append(sum(self.rows[n] for n in self._held))
        return real(self, number)

    monkeypatch.setattr(shelf.Shelf, "get", get)
    monkeypatch.setattr(stream_data, "_AHEAD_SAMPLES", 8)
    task = make_task(r, None)
    evaluate.measure(task, task.make_net(), data, r, CPU, {})
    assert sum(shard.bytes for shard in data.shards) > 2 * 2**20
    assert max(held) <= data.rows / 2


@pytest.mark.parametrize("world", [2, 4])
def test_processes_together_train_as_one(
    world: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_rank, args=(r, world, str(tmp_path))) for r in range(world)
    ]
    for p in processes:
        p.start()
    alone = fit_double(None)
    torch.manual_seed(0)
    grad, running = _normalised(torch.randn(3, 4, 5, 5) * 3 + 7)
    for p in processes:
        p.join(800)
        assert p.exitcode == 0
    told = json.loads((tmp_path / "told.json").read_text())
    # The batch of 5 falls into 2 + 3, or 1 + 1 + 1 + 2: gradients, and batch normalisation, are those of the whole.
    assert told["losses"] == pytest.approx(losses(alone), rel=1e-9)
    ours = alone.validations[-1]["metrics"]
    theirs = told["validations"][-1]["metrics"]
    assert theirs["mean_pose"] == pytest.approx(ours["mean_pose"])
    assert theirs["net"]["loss"] == pytest.approx(ours["net"]["loss"], rel=1e-9)
    parts = [torch.load(tmp_path / f"norm-{r}.pt", weights_only=True) for r in range(world)]
    torch.testing.assert_close(torch.cat([p["grad"] for p in parts]), grad, atol=1e-5, rtol=1e-4)
    for p in parts:
        torch.testing.assert_close(p["running"], running)
