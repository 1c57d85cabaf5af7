"""Fits a net: the same losses on one process and on many, undisturbed or restarted.

A global step divides the sum of per-sample losses by the global batch and sums gradients over ranks, so it does not
depend on how the batch is shared. A checkpoint holds the stream's position; a restarted run takes the next step.
"""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from schemas import files
from schemas.errors import InputError
from schemas.training import FitRecipe, Optimiser
from trainers import checkpoint, evaluate, parallel
from trainers.checkpoint import Checkpoint
from trainers.corpus import Corpus
from trainers.data import SampleStream, stream_of
from trainers.metrics import Tally
from trainers.position import Position
from trainers.task import Batch, Prepared, Task

_KEEP = 2
Record = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Told to whoever watches a run: a step taken, or a validation made."""

    validated: bool
    total_steps: int
    of_steps: int
    values: Record
    position: Position | None = None
    """Where the training stream goes on from the checkpoint that was just written; None where none was."""


@dataclass(kw_only=True)
class History:
    """What a run has seen so far."""

    steps: list[Record] = field(default_factory=list)
    """Per step: step, epoch, loss and its parts, seconds, waited (for data)."""
    validations: list[dict[str, Any]] = field(default_factory=list)
    """Per validation: step, epoch, and the metrics by predictor ("net" and the baselines)."""

    def until(self, total_steps: int) -> "History":
        """Returns what was known after that many steps."""
        return History(
            steps=[r for r in self.steps if r["step"] <= total_steps],
            validations=[r for r in self.validations if r["step"] <= total_steps],
        )


@dataclass(kw_only=True)
class _Run:
    """What changes while fitting."""

    task: Task
    recipe: FitRecipe
    net: nn.Module
    optimiser: torch.optim.Optimizer
    history: History
    summary: Tally
    epoch: int = 0
    step: int = 0
    total: int = 0
    metrics: Record = field(default_factory=dict)


def fit(
    task: Task,
    recipe: FitRecipe,
    train: Corpus,
    val: Corpus | None,
    *,
    to: str | None,
    device: torch.device,
    report: Callable[[Event], None] | None = None,
) -> History:
    """Trains until the recipe's end, from the newest checkpoint under `to` where there is one.

    Args:
        task: what is learnt.
        recipe: how.
        train: the samples to learn from.
        val: the samples to measure on; None measures nothing.
        to: URL for checkpoints and history.json; None keeps nothing.
        device: where the net runs.
        report: called on every rank after each step and validation.

    Raises:
        InputError: `to` holds a run of another recipe or other data, or the loss became infinite.
    """
    run = _begin(task, recipe, train, to, device)
    stream = train_stream(task, recipe, train)
    of_steps = min(recipe.epochs * stream.steps, recipe.max_steps or recipe.epochs * stream.steps)
    tell = report or (lambda event: None)
    event = partial(Event, of_steps=of_steps)
    while run.total < of_steps:
        last = min(stream.steps, run.step + of_steps - run.total)
        for record in _train(run, stream, last, of_steps, device):
            position = None
            if recipe.checkpoint_steps and run.total % recipe.checkpoint_steps == 0:
                # The last validation measured other weights than these.
                run.metrics = {}
                position = _save(run, stream, to)
            tell(event(total_steps=run.total, validated=False, values=record, position=position))
        if run.step >= stream.steps:
            run.epoch, run.step = run.epoch + 1, 0
        if run.total >= of_steps or run.epoch % recipe.validate_every == 0:
            _validate(run, val, device)
            position = _save(run, stream, to)
            known = run.metrics
            tell(event(total_steps=run.total, validated=True, values=known, position=position))
    return run.history


def _begin(
    task: Task, recipe: FitRecipe, train: Corpus, to: str | None, device: torch.device
) -> _Run:
    torch.manual_seed(recipe.seed)
    saved = require_same(to, task, recipe, train) if to else None
    if saved is None or to is None:
        net = task.make_net().to(device)
        summary = evaluate.summarise(task, train, recipe)
        optimiser = _optimiser(recipe.optimiser, net)
        return _Run(
            task=task,
            recipe=recipe,
            net=net,
            optimiser=optimiser,
            history=History(),
            summary=summary,
        )
    _, net = checkpoint.restore(saved, device)
    optimiser = _optimiser(recipe.optimiser, net)
    if saved.optimiser is not None:
        optimiser.load_state_dict(saved.optimiser)
    return _Run(
        task=task,
        recipe=recipe,
        net=net,
        optimiser=optimiser,
        history=read_history(to).until(saved.total_steps),
        summary=saved.summary,
        epoch=saved.epoch,
        step=saved.step,
        total=saved.total_steps,
        metrics=saved.metrics,
    )


def train_stream(task: Task, recipe: FitRecipe, train: Corpus) -> SampleStream:
    """Returns the batches that a run learns from."""
    return stream_of(task, recipe, train, last=recipe.stream.last)


def require_same(to: str, task: Task, recipe: FitRecipe, train: Corpus) -> Checkpoint | None:
    """Loads a run's newest checkpoint; None where there is none yet.

    Raises:
        InputError: it is of another recipe or other data.
    """
    found = checkpoint.complete(to)
    if not found:
        return None
    saved = checkpoint.load(found[-1])
    remedy = "Name another --to, or the recipe and data that this run was begun with"
    if _essence(saved.recipe) != _essence(recipe):
        raise InputError(to, "holds checkpoints of another recipe", remedy)
    if saved.order.get("data") != train.identity:
        raise InputError(to, "holds checkpoints of a run on other data", remedy)
    train_stream(task, recipe, train).resume(saved.position)
    return saved


def _essence(recipe: FitRecipe) -> FitRecipe:
    """Returns the recipe without what a run may change on the way: its length and its machine."""
    stream = recipe.stream.model_copy(update={"threads": 1, "cache_mb": 1})
    free = {"epochs": 1, "max_steps": None, "validate_every": 1, "checkpoint_steps": None}
    return recipe.model_copy(update={**free, "stream": stream})


def _optimiser(options: Optimiser, net: nn.Module) -> torch.optim.Optimizer:
    kind = torch.optim.Adam if options.name == "adam" else torch.optim.AdamW
    # Fused: three times faster than the default on a CPU, where it is a good part of a small net's step.
    return kind(net.parameters(), lr=options.rate, weight_decay=options.weight_decay, fused=True)


def rate(options: Optimiser, step: int, of_steps: int) -> float:
    """Returns the learning rate of a step (from 0): linear warm-up, then a cosine to `final` of the rate."""
    if step < options.warmup_steps:
        return options.rate * (step + 1) / options.warmup_steps
    along = (step - options.warmup_steps) / max(1, of_steps - options.warmup_steps)
    low = options.final
    return options.rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, along))))


def _train(
    run: _Run, stream: SampleStream, last: int, of_steps: int, device: torch.device
) -> Iterator[Record]:
    """Takes the steps of one epoch up to `last`; yields the record of each."""
    batches = stream.batches(
        run.epoch,
        partial(_prepare, run.task, device),
        first_step=run.step,
        last_step=last,
        rank=parallel.rank(),
        world=parallel.world(),
    )
    started = time.perf_counter()
    try:
        for size, batch in batches:
            waited = time.perf_counter() - started
            for group in run.optimiser.param_groups:
                group["lr"] = rate(run.recipe.optimiser, run.total, of_steps)
            losses = _step(run, batch, size)
            run.step, run.total = run.step + 1, run.total + 1
            seconds = time.perf_counter() - started
            place = {"step": float(run.total), "epoch": float(run.epoch)}
            record = place | losses | {"seconds": seconds, "waited": waited}
            run.history.steps.append(record)
            yield record
            started = time.perf_counter()
    except torch.OutOfMemoryError as error:
        # Of the net, or of a batch that is being prepared beside it.
        raise InputError(
            f"batch={run.recipe.batch}",
            "does not fit into the GPU's memory",
            "Lower it, or share it among more --workers",
        ) from error


def _prepare(task: Task, device: torch.device, batch: Batch) -> tuple[Prepared, torch.Tensor]:
    """Returns what the task makes of a batch, and the samples' weights (n,)."""
    weights = torch.ones(len(batch)) if batch.weights is None else torch.from_numpy(batch.weights)
    return task.prepare(batch, True, device), weights.to(device)


def _step(run: _Run, batch: tuple[Prepared, torch.Tensor], size: int) -> Record:
    """Takes one optimiser step; returns the global means of the loss and its parts."""
    run.net.train()
    # Dropout and the like then depend on the step alone, so that a restarted run goes on as it would have.
    torch.manual_seed(run.recipe.seed * 1_000_003 + run.total * 4099 + parallel.rank())
    run.optimiser.zero_grad(set_to_none=True)
    prepared, weights = batch
    parts = run.task.loss(run.task.run(run.net, prepared), prepared)
    ((parts["loss"] * weights).sum() / size).backward()  # type: ignore[no-untyped-call]
    parallel.sum_gradients(run.net.parameters())
    sums = torch.stack([(v.detach().double() * weights).sum() for v in parts.values()])
    means = (parallel.add_up(sums) / size).tolist()
    values = dict(zip(parts, means, strict=True))
    if not all(math.isfinite(v) for v in means):
        raise InputError(
            run.recipe.name,
            f"the loss is no longer finite at step {run.total} ({values})",
            "Lower optimiser.rate or set optimiser.clip_norm, and train into another --to",
        )
    if run.recipe.optimiser.clip_norm is not None:
        nn.utils.clip_grad_norm_(run.net.parameters(), run.recipe.optimiser.clip_norm)
    run.optimiser.step()
    return values


def _validate(run: _Run, val: Corpus | None, device: torch.device) -> None:
    if val is None:
        run.metrics = {}
        return
    baselines = run.task.baselines(run.summary)
    found = evaluate.measure(run.task, run.net, val, run.recipe, device, baselines)
    run.metrics = found["net"]
    run.history.validations.append({"step": run.total, "epoch": run.epoch, "metrics": found})


def _save(run: _Run, stream: SampleStream, to: str | None) -> Position | None:
    """Writes a checkpoint and the history by rank 0; the others wait, so that none runs ahead of it."""
    if to is None:
        return None
    position = stream.position(run.epoch, run.step)
    if parallel.rank() == 0:
        # Before the checkpoint: a history that knows more than the checkpoint is cut when the run goes on.
        _write_history(to, run.history)
        checkpoint.save(
            to,
            Checkpoint(
                recipe=run.recipe,
                described=run.task.describe(),
                skeleton=run.task.skeleton,
                dataset_ids=stream.corpus.dataset_ids,
                order=position.order,
                epoch=position.epoch,
                step=position.step,
                total_steps=run.total,
                metrics=run.metrics,
                summary=run.summary,
                weights=run.net.state_dict(),
                optimiser=run.optimiser.state_dict(),
            ),
        )
        checkpoint.prune(to, _KEEP)
    parallel.wait_for_all()
    return position


def _write_history(to: str, history: History) -> None:
    text = json.dumps(plain(dataclasses.asdict(history)), allow_nan=False)
    files.write_whole(f"{to.rstrip('/')}/history.json", text.encode())


def plain(value: Any) -> Any:
    """Returns JSON values: numbers that are not finite become null."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_history(to: str) -> History:
    """Reads a run's history.json; null is a metric that nothing was counted for, NaN."""
    url = f"{to.rstrip('/')}/history.json"
    data = files.read_bytes(url)
    try:
        history = History(**json.loads(data))
    except (ValueError, TypeError) as error:
        remedy = "Name another --to, or put a whole history.json there"
        raise InputError(url, f"is no history of a run ({error})", remedy) from error
    for validation in history.validations:
        for metrics in validation["metrics"].values():
            metrics.update({k: math.nan for k, v in metrics.items() if v is None})
    return history
