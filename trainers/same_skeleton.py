"""Refuses data of another skeleton than a net was trained on."""

from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec
from schemas.skeleton_diff import diff


def require_skeleton(trained: SkeletonSpec, given: SkeletonSpec, where: str) -> None:
    """Refuses data of another skeleton than a net was trained on.

    Raises:
        InputError: names the first coordinates, bodies, joints and markers that differ, and how many do.
    """
    if trained.fingerprint == given.fingerprint or not (difference := diff(trained, given)):
        return
    raise InputError(
        where,
        f"has another skeleton than the checkpoint (checkpoint -> data: {difference.short()})",
        "Use data of the checkpoint's skeleton, or train on this one",
    )
