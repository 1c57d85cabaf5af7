"""Says how two skeletons differ, in the words of the `.osim`."""

from typing import Any

from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec


def require_skeleton(trained: SkeletonSpec, given: SkeletonSpec, where: str) -> None:
    """Refuses data of another skeleton than a net was trained on.

    Raises:
        InputError: names the coordinates, markers and bodies that differ.
    """
    if trained.fingerprint == given.fingerprint:
        return
    told = []
    for kind in ("coordinate_names", "marker_names", "body_names"):
        ours, theirs = set(getattr(trained, kind)), set(getattr(given, kind))
        word = kind.removesuffix("_names")
        told += [f"{word}s only in the checkpoint: {', '.join(sorted(ours - theirs))}"] * bool(
            ours - theirs
        )
        told += [f"{word}s only in the data: {', '.join(sorted(theirs - ours))}"] * bool(
            theirs - ours
        )
        if ours == theirs and getattr(trained, kind) != getattr(given, kind):
            told.append(f"{word}s in another order")
    told += _changed("coordinate", trained.coordinates, given.coordinates)
    told += _changed("marker", trained.markers, given.markers)
    raise InputError(
        where,
        f"has another skeleton than the checkpoint ({'; '.join(told) or 'other frames or axes'})",
        "Use data of the checkpoint's skeleton, or train on this one",
    )


def _changed(word: str, ours: Any, theirs: Any) -> list[str]:
    other = {item.name: item for item in theirs}
    names = [i.name for i in ours if i.name in other and other[i.name] != i]
    return [f"{word}s that differ: {', '.join(names)}"] if names else []
