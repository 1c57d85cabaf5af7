"""Which class trains which kind of task. A new task is one line here and one model in `schemas.training`."""

from collections.abc import Callable, Mapping
from typing import Any

from schemas.errors import InputError
from schemas.training import FitRecipe
from trainers.d3ke import make_d3ke
from trainers.pose2d import make_pose2d
from trainers.task import Task

Factory = Callable[[FitRecipe, Any], Task]
"""Takes the recipe and the data's SkeletonSpec (None where the data have none)."""

FACTORIES: Mapping[str, Factory] = {
    "pose2d": make_pose2d,
    "d3ke": make_d3ke,
}


def make_task(recipe: FitRecipe, skeleton: Any | None) -> Task:
    """Builds the task of a recipe.

    Raises:
        InputError: the task needs a skeleton and the data have none.
    """
    factory = FACTORIES.get(recipe.task.kind)
    if factory is None:
        raise InputError(
            recipe.task.kind, "is no task of this version", f"Use one of {sorted(FACTORIES)}"
        )
    return factory(recipe, skeleton)
