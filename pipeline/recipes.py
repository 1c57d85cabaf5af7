"""From what a user types to a typed recipe whose paths mean the same on every worker."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas import documents, files
from schemas.recipes import Recipe

FOLDER = Path(__file__).parent / "recipes"
_OF_LOTS = ("mot", "trc", "static", "model")


def load(name_or_url: str, words: Sequence[str]) -> Recipe:
    """Loads a shipped recipe or a YAML file and applies `--set` words.

    Raises:
        InputError: unknown name, unreadable file, unknown key or impossible value.
    """
    document = documents.override(documents.load(name_or_url, FOLDER), words)
    recipe: Recipe = documents.validate(Recipe, _absolute(document), name_or_url)
    return recipe


def _absolute(document: dict[str, Any]) -> dict[str, Any]:
    """Makes relative paths absolute: a Ray worker runs in another folder."""
    given = [key for key in ("model", "images", "annotations") if document.get(key)]
    fixed = _made_absolute(document, given)
    urls = {"scene": ("backgrounds", "people_in_backgrounds", "hdri"), "wardrobe": ("assets",)}
    for part, keys in urls.items():
        if isinstance(fixed.get(part), dict):
            fixed[part] = _made_absolute(fixed[part], keys)
    if isinstance(fixed.get("motions"), dict):
        fixed["motions"] = {
            name: _made_absolute(lot, _OF_LOTS) if isinstance(lot, dict) else lot
            for name, lot in fixed["motions"].items()
        }
    return fixed


def _made_absolute(part: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    named = {k: part[k] for k in keys if isinstance(part.get(k), str) and part[k] != "default"}
    return part | {k: files.absolute(url) for k, url in named.items()}
