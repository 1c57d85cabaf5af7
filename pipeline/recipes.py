"""From what a user types to a typed recipe whose paths mean the same on every worker."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas import documents, files
from schemas.recipes import Recipe

FOLDER = Path(__file__).parent / "recipes"


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
    fixed = dict(document)
    for key in ("model", "images", "annotations"):
        if isinstance(fixed.get(key), str) and fixed[key] not in ("", "default"):
            fixed[key] = files.absolute(fixed[key])
    urls = {"scene": ("backgrounds", "people_in_backgrounds", "hdri"), "wardrobe": ("assets",)}
    for part, keys in urls.items():
        if isinstance(fixed.get(part), dict):
            named = {k: fixed[part][k] for k in keys if isinstance(fixed[part].get(k), str)}
            fixed[part] = fixed[part] | {k: files.absolute(url) for k, url in named.items()}
    if isinstance(fixed.get("motions"), dict):
        fixed["motions"] = {
            name: lot | {"mot": files.absolute(lot["mot"])}
            if isinstance(lot, dict) and isinstance(lot.get("mot"), str)
            else lot
            for name, lot in fixed["motions"].items()
        }
    return fixed
