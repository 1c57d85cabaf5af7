"""One training run from URLs to history, on this process; Ray workers each call the same function."""

import logging
from collections.abc import Callable, Sequence

import torch

from schemas import manifest
from schemas.training import FitRecipe
from trainers import loop
from trainers.corpus import Corpus, find_corpus, only_skeleton, open_corpus
from trainers.loop import Event, History
from trainers.task import Task
from trainers.tasks import make_task

log = logging.getLogger(__name__)
_OFTEN = 10
"""Times an epoch from which samples are learnt by heart: in an ablation (docs/benchmarks.md, fewest shots) persons that
half a batch showed 6 times as often as they are did good, 16 times nothing, 50 times harm."""


def pick_device() -> torch.device:
    """Returns the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check(recipe: FitRecipe, data: Sequence[str], to: str) -> tuple[Task, list[manifest.Dataset]]:
    """Opens the data and builds the task, so that what cannot work is refused before anything starts.

    Raises:
        InputError: data missing, empty train split, no skeleton where the task needs one, or `to` holds
            another run.
    """
    datasets = [manifest.open_dataset(url) for url in data]
    task = make_task(recipe, only_skeleton(datasets))
    train = open_corpus(datasets, "train", recipe.stream.mix)
    loop.require_same(to, task, recipe, train)
    _warn_of_repeats(train)
    return task, datasets


def _warn_of_repeats(train: Corpus) -> None:
    for number, repeats in enumerate(train.repeats):
        shards = [s for s in train.shards if s.dataset == number]
        if repeats > _OFTEN:
            log.warning(
                "%s: an epoch shows each of its %d samples %.0f times, and so few are learnt by heart. "
                "Lower its share in stream.mix, or leave stream.mix out, which shows every sample once",
                *(shards[0].origin, sum(s.rows for s in shards), repeats),
            )


def run(
    recipe: FitRecipe,
    data: Sequence[str],
    to: str,
    device: torch.device,
    report: Callable[[Event], None] | None = None,
) -> History:
    """Fits a recipe on the train split of the datasets, measuring on their val split."""
    task, datasets = check(recipe, data, to)
    return loop.fit(
        task,
        recipe,
        open_corpus(datasets, "train", recipe.stream.mix),
        find_corpus(datasets, "val"),
        to=to,
        device=device,
        report=report,
    )
