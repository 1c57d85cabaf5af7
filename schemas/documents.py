"""From a YAML document and `--set a.b=c` words to a typed recipe; every refusal names the place."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from schemas import files, untrusted
from schemas.errors import InputError

_MAX_BYTES, _MAX_NODES = 256 * 1024, 20_000


def load(name_or_url: str, folder: Path) -> dict[str, Any]:
    """Loads a shipped recipe by name, or any YAML file by path or URL.

    Raises:
        InputError: neither a shipped name nor a readable YAML mapping.
    """
    shipped = folder / f"{name_or_url}.yaml"
    is_name = "/" not in name_or_url and not name_or_url.endswith((".yaml", ".yml"))
    if is_name and not shipped.is_file():
        names = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise InputError(
            name_or_url, "is no shipped recipe", f"Use one of {names}, or a .yaml file"
        )
    data = shipped.read_bytes() if is_name else files.read_bytes(name_or_url, _MAX_BYTES)
    document = _parsed(data, name_or_url, "Mend the file")
    if _too_many(document):
        raise InputError(name_or_url, f"holds more than {_MAX_NODES} values", "Write fewer aliases")
    if not isinstance(document, dict):
        raise InputError(name_or_url, "holds no mapping", "Write `key: value` lines")
    return document


def _parsed(text: str | bytes, where: str, remedy: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (
        yaml.YAMLError,
        RecursionError,
        *untrusted.BROKEN,
    ) as error:  # BROKEN: of tags such as !!bool
        raise InputError(where, f"is not YAML ({error})", remedy) from error


def _too_many(document: Any) -> bool:
    """Says whether a document is endless once its aliases are written out, as checking and printing it would do."""
    waiting, seen = [document], 0
    while waiting and seen <= _MAX_NODES:
        value = waiting.pop()
        seen += 1
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple | set):
            waiting += value
    return seen > _MAX_NODES


def override(document: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """Returns the document with `a.b=c` words applied; values are YAML.

    Raises:
        InputError: a word without `=`, or a path through something that is no mapping.
    """
    result = copy.deepcopy(document)
    for word in words:
        path, equals, text = word.partition("=")
        if not equals or not path:
            raise InputError(f"--set {word}", "is no assignment", "Write --set a.b=value")
        *parents, last = path.split(".")
        node = result
        for part in parents:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise InputError(f"--set {word}", f"`{part}` is no mapping", "Check the path")
        node[last] = _parsed(text, f"--set {_cut(word)}", "Quote the value")
    return result


def validate(kind: Any, document: dict[str, Any], where: str) -> Any:
    """Turns a document into a typed recipe.

    Raises:
        InputError: every fault at once, each with its path in the document.
    """
    try:
        value = TypeAdapter(kind).validate_python(document)
    except ValidationError as error:
        faults = "; ".join(
            f"{_path(fault['loc'], document)}: {fault['msg'].removeprefix('Value error, ')} "
            f"(given: {_cut(repr(fault['input']))})"
            for fault in error.errors()
        )
        raise InputError(where, faults, "Correct these keys") from error
    return value


def _path(place: tuple[int | str, ...], document: Any) -> str:
    """Writes a fault's place as the document has it: pydantic's names of alternatives are no keys of it."""
    parts, node = [], document
    for i, part in enumerate(place):
        held = part in node if isinstance(node, dict) else isinstance(part, int)
        last = i == len(place) - 1 and not str(part).startswith("(")
        if held or last:
            parts.append(str(part))
        if held and not last:
            node = node[part]
    return ".".join(parts) or "document"


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
