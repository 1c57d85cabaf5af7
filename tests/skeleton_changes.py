"""Every way to change one value of a skeleton, found by walking its fields: what identity has to notice."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tiny_skeleton import tiny_skeleton

from schemas.curves import Curve
from schemas.skeleton import Coupler, SkeletonSpec


def varied_skeleton() -> SkeletonSpec:
    """A root and one joint with a bit of everything: a spline, a coupler, a lock, two frames in a row."""
    tiny = tiny_skeleton()
    spline = Curve(kind="spline", x=(0.0, 0.5, 1.0), y=(0.0, 0.4, 0.7), slopes=(1.0, 0.9, 0.3))
    back = tiny.joints[1]
    first = replace(back.axes[0], curve=spline, scales=True)
    second = replace(back.axes[0], direction=(1.0, 0.0, 0.0), coordinates=(7,))
    frames = (back.parent_frames[0], replace(back.parent_frames[0], orientation=(0.1, 0.2, 0.3)))
    bend = tiny.coordinates[6]
    tied = replace(bend, name="lumbar_bending", coupler=Coupler(independents=(6,), curve=spline))
    return SkeletonSpec(
        joints=(
            tiny.joints[0],
            replace(back, axes=(first, second, *back.axes[2:]), parent_frames=frames),
        ),
        coordinates=(*tiny.coordinates[:6], replace(bend, locked=True), tied),
        markers=(replace(tiny.markers[-1], frames=frames), replace(tiny.markers[-1], name="C8")),
    )


def changes(spec: SkeletonSpec) -> Iterator[tuple[str, SkeletonSpec]]:
    """Yields (where, spec) for each value that can be changed by itself.

    What would make no skeleton (a child without a parent, two coordinates of one name) is left out.
    """
    return _variants(spec, "")


def _variants(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields (where, copy of a dataclass with one value below it changed)."""
    hints = get_type_hints(type(value))
    for field in fields(value):
        here = f"{path}.{field.name}" if path else field.name
        for where, new in _others(getattr(value, field.name), hints[field.name], here):
            try:
                yield where, replace(value, **{field.name: new})
            except ValueError:
                continue


def _others(value: Any, hint: Any, path: str) -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        yield from _variants(value, path)
    elif isinstance(value, tuple):
        for i, part in enumerate(value):
            for where, new in _others(part, None, f"{path}[{i}]"):
                yield where, (*value[:i], new, *value[i + 1 :])
        if value and is_dataclass(value[0]):
            if Ellipsis in get_args(hint):
                yield f"{path} shorter", value[:-1]
            if value != value[::-1]:
                yield f"{path} reversed", value[::-1]
    elif get_origin(hint) is Literal:
        yield path, next(option for option in get_args(hint) if option != value)
    elif isinstance(value, bool):
        yield path, not value
    elif isinstance(value, float):
        yield path, value + 1e-6
    elif isinstance(value, int):
        yield path, value + 1
    elif isinstance(value, str):
        yield path, f"{value}_other"
