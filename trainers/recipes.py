"""Finds and checks training recipes."""

from collections.abc import Sequence
from pathlib import Path

from schemas import documents
from schemas.training import FitRecipe

FOLDER = Path(__file__).parent / "recipes"


def load(name_or_url: str, overrides: Sequence[str] = ()) -> FitRecipe:
    """Loads a shipped recipe by name or any YAML by path or URL, with `a.b=c` words applied.

    Raises:
        InputError: unknown name, unreadable file, or a value that the recipe refuses, with its path.
    """
    document = documents.override(documents.load(name_or_url, FOLDER), overrides)
    recipe: FitRecipe = documents.validate(FitRecipe, document, name_or_url)
    return recipe
