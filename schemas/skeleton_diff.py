"""Says how two skeletons differ, in the words of the `.osim`: what a person reads when fingerprints do not match.

Lengths in mm, angles in degrees; coordinates of kind `coupled` and all functions in the model's own m and rad.
Things are matched by name, and coordinates are named where an axis or coupler counts them, so that a coordinate
more does not change every joint behind it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from schemas.skeleton import SkeletonSpec
from schemas.skeleton_identity import (
    COUNTED,
    Tree,
    canonical_axis,
    canonical_coordinate,
    canonical_joint,
    canonical_marker,
    is_still,
)

MOST = 60
"""Lines that `str` shows; a scaled model differs in everything."""
WIDTH = 120
"""Characters of a line that `short` keeps."""
WORDS = {
    "direction": "axis",
    "written": "axis with its length",
    "curve": "function",
    "parent_frames": "parent frame",
    "child_frames": "child frame",
    "frames": "frame",
    "default": "default_value",
    "child": "child body",
}
"""The `.osim`'s words for fields, where they are others."""
AXES = ("rotation1", "rotation2", "rotation3", "translation1", "translation2", "translation3")
FUNCTIONS = {
    "constant": "Constant",
    "linear": "LinearFunction",
    "polynomial": "PolynomialFunction",
    "spline": "SimmSpline",
    "piecewise_linear": "PiecewiseLinearFunction",
    "piecewise_constant": "PiecewiseConstantFunction",
    "step": "StepFunction",
    "gcv_spline": "GCVSpline",
    "sine": "Sine",
    "plane": "LinearFunction",
    "multivariate": "MultivariatePolynomialFunction",
    "expression": "ExpressionBasedFunction",
}
"""OpenSim's class of each kind of curve or formula."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What the second of two skeletons has other than the first; empty (and falsy) where nothing."""

    coordinates: tuple[str, ...] = ()
    bodies: tuple[str, ...] = ()
    joints: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """Everything, one thing each: `marker RKNE: …`."""
        return tuple(
            f"{field.name.removesuffix('s').replace('bodie', 'body')} {line}"
            for field in fields(self)
            for line in getattr(self, field.name)
        )

    def short(self, most: int = 4) -> str:
        """Returns the first few in one line, cut where they are long, and how many there are besides."""
        told = [f"{line[:WIDTH]}…" if len(line) > WIDTH else line for line in self.lines[:most]]
        rest = len(self) - most
        return "; ".join(told) + (f"; and {rest} more" if rest > 0 else "")

    def __str__(self) -> str:
        if not self:
            return "no difference"
        rest = [f"… and {len(self) - MOST} more"] if len(self) > MOST else []
        return "\n".join([*self.lines[:MOST], *rest])


def diff(old: SkeletonSpec, new: SkeletonSpec) -> Difference:
    """Compares two skeletons; empty exactly where their fingerprints agree."""
    bodies = [{name: Thing({}, None) for name in spec.body_names} for spec in (old, new)]
    return Difference(
        coordinates=tuple(_items(_coordinates(old), _coordinates(new))),
        bodies=tuple(_items(*bodies)),
        joints=tuple(_items(*(_things(s, s.joints, canonical_joint) for s in (old, new)))),
        markers=tuple(_items(*(_things(s, s.markers, canonical_marker) for s in (old, new)))),
    )


class Thing(NamedTuple):
    """Something with a name."""

    tree: dict[str, Any]
    """Its fields as they are written."""
    identity: Any
    """What it is, whichever way it is written."""


def _things(
    spec: SkeletonSpec, items: Iterable[Any], canonical: Callable[[Tree], Tree]
) -> dict[str, Thing]:
    """Turns named things into plain trees by name."""
    trees = [_tree(item, spec.coordinate_names) for item in items]
    return {tree.pop("name"): Thing(tree, canonical(tree)) for tree in trees}


def _tree(value: Any, names: Sequence[str]) -> Any:
    """Turns dataclasses into dicts at any depth, places of coordinates into their names."""
    if is_dataclass(value):
        return {
            f.name: _named(getattr(value, f.name), names)
            if f.name in COUNTED
            else _tree(getattr(value, f.name), names)
            for f in fields(value)
        }
    return tuple(_tree(v, names) for v in value) if isinstance(value, tuple) else value


def _named(places: Sequence[int], names: Sequence[str]) -> str | None:
    return ", ".join(names[i] for i in places) or None


def _coordinates(spec: SkeletonSpec) -> dict[str, Thing]:
    """Returns the coordinates, their values with the units that people read."""
    things = _things(spec, spec.coordinates, canonical_coordinate)
    for tree, _ in things.values():
        unit = {"rotational": "°", "translational": " m"}.get(tree["kind"], "")
        low, high = tree.pop("lower"), tree.pop("upper")
        tree["range"] = _Measured((low, high), unit)
        tree["default"] = _Measured((tree["default"],), unit)
    return things


@dataclass(frozen=True)
class _Measured:
    """Numbers with a unit, compared as they are, written in degrees where they turn."""

    values: tuple[float, ...]
    unit: str

    def text(self, digits: int) -> str:
        shown = np.degrees(self.values) if self.unit == "°" else self.values
        return " … ".join(f"{v:.{digits}g}" for v in shown) + self.unit


def _items(old: dict[str, Thing], new: dict[str, Thing]) -> Iterator[str]:
    """Says what was removed, added, changed and reordered among things with names."""
    yield from (f"{name}: removed" for name in old if name not in new)
    yield from (f"{name}: added" for name in new if name not in old)
    for name in old:
        if name in new and old[name].identity != new[name].identity:
            yield f"{name}: {', '.join(_changes('', '', old[name].tree, new[name].tree))}"
    ours, theirs = [n for n in old if n in new], [n for n in new if n in old]
    for place, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a != b:
            yield f"{b}: in another order, here where {a} was (place {place + 1})"
            return


def _changes(label: str, field: str, old: Any, new: Any) -> Iterator[str]:
    """Yields one text per change; `field` is the last field's name, `label` the words before it."""
    if old == new:
        return
    words = f"{label} {WORDS.get(field, field)}".strip()
    both = old is not None and new is not None
    if both and field in SAID:
        yield f"{words} {SAID[field](old, new)}"
    elif both and isinstance(old, dict):
        yield from chain.from_iterable(_changes(words, k, old[k], new[k]) for k in old)
    elif both and _same_parts(old, new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            if field == "axes" and _same_axis(a, b):
                continue
            part = AXES[i] if field == "axes" else f"{words} {i + 1}" if len(old) > 1 else words
            yield from _changes(part, "", a, b)
    else:
        yield f"{words} {_arrow(old, new)}"


def _same_parts(old: Any, new: Any) -> bool:
    """Whether both are equally many dataclasses, to be compared one by one."""
    tuples = isinstance(old, tuple) and isinstance(new, tuple)
    return tuples and len(old) == len(new) and all(isinstance(v, dict) for v in (*old, *new))


def _same_axis(old: Tree, new: Tree) -> bool:
    one, other = canonical_axis(old), canonical_axis(new)
    return one == other or (is_still(one) and is_still(other))


def _arrow(old: Any, new: Any, factor: float = 1.0, unit: str = "") -> str:
    """Returns `old -> new` in as many digits as it takes to tell them apart."""
    texts = ("", "")
    for digits in (4, 9, 17):
        texts = _text(old, digits, factor), _text(new, digits, factor)
        if texts[0] != texts[1]:
            break
    return f"{texts[0]} -> {texts[1]}{unit}"


def _text(value: Any, digits: int, factor: float = 1.0) -> str:
    """Writes a value for people."""
    if isinstance(value, _Measured):
        return value.text(digits)
    if isinstance(value, bool) or not isinstance(value, (float, tuple, dict)):
        return {None: "none", True: "true", False: "false"}.get(value, str(value))
    if isinstance(value, float):
        return f"{value * factor + 0.0:.{digits}g}"
    if isinstance(value, tuple) and any(isinstance(v, dict) for v in value):
        return " then ".join(_text(v, digits) for v in value)
    if isinstance(value, tuple):
        return f"({', '.join(_text(v, digits, factor) for v in value)})" if value else "none"
    if "kind" in value and "factor" in value:
        return _function(value, digits)
    if "curve" in value:
        on = next((value[k] for k in COUNTED if k in value), None)
        return f"{_text(value['curve'], digits)} of {on or 'nothing'}"
    if {"translation", "orientation"} == value.keys():
        place = _text(value["translation"], digits, 1e3)
        return f"{place} mm {_text(value['orientation'], digits, 180 / np.pi)}°"
    return ", ".join(f"{k} {_text(v, digits)}" for k, v in value.items())


def _function(curve: dict[str, Any], digits: int) -> str:
    """Writes a curve: its numbers where they are few, else how many knots it has."""
    name = FUNCTIONS.get(curve["kind"], curve["kind"])
    times = "" if curve["factor"] == 1.0 else f"{_text(curve['factor'], digits)} · "
    if len(curve.get("x", ())):
        degree = f" of degree {len(curve['rows'][0]) - 1}" if curve.get("rows") else ""
        return f"{times}{name}{degree} of {len(curve['x'])} points"
    return f"{times}{name}{_text(curve.get('coefficients', ()), digits)}"


def _moved(old: tuple[float, ...], new: tuple[float, ...]) -> str:
    distance = 1e3 * float(np.linalg.norm(np.subtract(new, old)))
    return f"moved by {distance:.4g} mm, {_arrow(old, new, 1e3)}"


def _turned(old: tuple[float, ...], new: tuple[float, ...]) -> str:
    return _arrow(old, new, 180 / np.pi, "°")


def _redirected(old: tuple[float, ...], new: tuple[float, ...]) -> str:
    sine, cosine = np.linalg.norm(np.cross(old, new)), np.dot(old, new)
    angle = np.degrees(np.arctan2(sine, cosine))
    return f"turned by {angle:.4g}°, {_arrow(old, new)}" if angle else _arrow(old, new)


def _refitted(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Compares curves number by number where only their numbers differ."""
    changed = [k for k in old if old[k] != new.get(k)]
    if changed == ["factor"]:
        return f"factor {_arrow(old['factor'], new['factor'])}"
    alike = old["kind"] == new["kind"]
    if (
        not alike
        or not old.get("x")
        or any(len(_many(old[k])) != len(_many(new[k])) for k in changed)
    ):
        return _arrow(old, new)
    told = []
    for field in changed:
        apart = [abs(b - a) for a, b in zip(_many(old[field]), _many(new[field]), strict=True)]
        count = sum(d > 0 for d in apart)
        told.append(f"{field} {count} of {len(apart)} by up to {max(apart):.4g}")
    return f"{_function(old, 4)}: {', '.join(told)}"


def _many(value: Any) -> tuple[Any, ...]:
    """Returns all numbers of a field, whose rows may be tuples themselves."""
    if not isinstance(value, tuple):
        return (value,)
    return tuple(number for part in value for number in _many(part))


SAID: dict[str, Callable[[Any, Any], str]] = {
    "translation": _moved,
    "location": _moved,
    "orientation": _turned,
    "direction": _redirected,
    "curve": _refitted,
}
"""How the change of a field is told, where two values with an arrow say too little."""
