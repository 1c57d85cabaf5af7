"""Measures a net, and the predictors that never look, on one split."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn

from schemas.training import FitRecipe
from trainers import metrics, parallel
from trainers.corpus import Corpus
from trainers.data import stream_of
from trainers.metrics import Tally
from trainers.order import share
from trainers.task import Baseline, Prepared, SecondStep, Task

_SUMMARY_SAMPLES = 4096
Tick = Callable[[int], None]
"""Told after each batch of this rank how many samples it held."""


def measure(
    task: Task,
    net: nn.Module,
    corpus: Corpus,
    recipe: FitRecipe,
    device: torch.device,
    baselines: Mapping[str, Baseline],
    tick: Tick | None = None,
    second_steps: Mapping[str, SecondStep] | None = None,
) -> dict[str, dict[str, float]]:
    """Returns the metrics of "net", each baseline and each second step over a split, the same on every rank.

    Each rank takes whole batches of its own part of the split, so that it reads no other's shards.
    """
    rank, world = parallel.rank(), parallel.world()
    # Read once, so nothing is kept beside the shards that the training stream keeps for its next epoch.
    once = recipe.stream.model_copy(update={"cache_mb": 1})
    fitting = recipe.model_copy(update={"batch": -(-recipe.batch // world), "stream": once})
    stream = stream_of(task, fitting, corpus, last="keep", shuffle=False)
    part = share(stream.steps, rank, world)
    own: list[Tally] = []
    losses: list[Tally] = []
    further = second_steps or {}
    others: dict[str, list[Tally]] = {name: [] for name in (*baselines, *further)}
    net.eval()
    finish = partial(task.prepare, training=False, device=device)
    batches = stream.batches(0, finish, first_step=part.start, last_step=part.stop)
    with torch.inference_mode():
        for size, prepared in batches:
            output = task.run(net, prepared)
            parts = task.loss(output, prepared)
            losses += [metrics.averaged(k, v.double().cpu().numpy()) for k, v in parts.items()]
            said = task.predict(output, prepared)
            own.append(task.measure(said, prepared))
            for name, predict in baselines.items():
                others[name].append(task.measure(predict(prepared), prepared))
            for name, go_on in further.items():
                others[name].append(task.measure(go_on(said, prepared), prepared))
            if tick is not None:
                tick(size)
    loss = _merge(losses)
    means = {name: loss.mean(name) for name in loss.sums if f"{name}_count" in loss.sums}
    result = {"net": task.finalise(_merge(own)) | means}
    return result | {name: task.finalise(_merge(parts)) for name, parts in others.items()}


def summarise(task: Task, corpus: Corpus, recipe: FitRecipe) -> Tally:
    """Returns what the baselines must know of the train split, from up to 4,096 samples drawn over all of it."""
    stream = stream_of(task, recipe, corpus, last="keep")
    finish: Callable[..., Prepared] = partial(
        task.prepare, training=False, device=torch.device("cpu")
    )
    last = -(-_SUMMARY_SAMPLES // recipe.batch)
    batches = stream.batches(
        0, finish, last_step=last, rank=parallel.rank(), world=parallel.world()
    )
    return _merge([task.summarise(p) for _, p in batches if len(p["image"])])


def _merge(parts: list[Tally]) -> Tally:
    """Adds up this rank's parts, then the ranks'."""
    return metrics.total(parallel.gather(metrics.total(parts)))
