"""One training run from URLs to history, on this process; Ray workers each call the same function."""

from collections.abc import Callable, Sequence

import torch

from schemas import manifest
from schemas.training import FitRecipe
from trainers import loop
from trainers.corpus import find_corpus, only_skeleton, open_corpus
from trainers.loop import Event, History
from trainers.task import Task
from trainers.tasks import make_task


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
    loop.require_same(to, task, recipe, open_corpus(datasets, "train", recipe.stream.mix))
    return task, datasets


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
