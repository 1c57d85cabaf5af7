"""What a skeleton is, whichever way it was written: the tree of plain values that its fingerprint hashes.

The same motion can be written in many ways; here each is brought to one, by exact steps only (signs, order, products
that a reader would make as well). What stays different although it poses alike: frames in a row that make up one
(they scale differently as soon as one of them turns), a constant translation instead of an offset (it scales
differently), and functions of different classes through the same points (they part beyond rounding).
"""

import json
from typing import Any

Tree = dict[str, Any]
COUNTED = ("coordinates", "independents")
"""Fields that hold places in `spec.coordinates`."""
DEGREES = ("constant", "linear", "polynomial")
"""Kinds of curve that are polynomials, by degree."""


def canonical(spec: Tree) -> Tree:
    """Returns the identity of a spec given as nested dicts (`dataclasses.asdict`)."""
    return spec | {
        "joints": [canonical_joint(joint) for joint in spec["joints"]],
        "coordinates": [canonical_coordinate(coordinate) for coordinate in spec["coordinates"]],
        "markers": [canonical_marker(marker) for marker in spec["markers"]],
    }


def canonical_joint(joint: Tree) -> Tree:
    """Keeps the axes that move, in one direction of two, translations in any order, frames that change something."""
    plain: Tree = _numbers(joint)
    plain |= {k: _frames(plain[k]) for k in ("parent_frames", "child_frames")}
    if plain.get("shape") is not None:  # its axes have places of their own
        return plain | {"axes": [_without_length(axis) for axis in plain["axes"]]}
    axes = [canonical_axis(axis) for axis in plain.pop("axes")]
    on_ground = plain["parent"] == "ground" and not plain["reverse"]
    for i, axis in enumerate(axes):  # only translations scale, and ground does not
        axis["scales"] = axis["scales"] and i >= 3 and not on_ground
        if not axis["scales"]:
            axis.pop("written", None)
    turns, moves = ([a for a in some if not is_still(a)] for some in (axes[:3], axes[3:]))
    return plain | {"rotations": turns, "translations": sorted(moves, key=json.dumps)}


def _without_length(axis: Tree) -> Tree:
    """Drops the length of an axis that has none of its own."""
    return {k: v for k, v in axis.items() if k != "written" or v is not None}


def is_still(axis: Tree) -> bool:
    """Whether an axis in its canonical form neither turns nor moves anything."""
    return bool(axis["curve"] == {"kind": "constant", "coefficients": [0.0]})


def canonical_axis(axis: Tree) -> Tree:
    """Points an axis to its positive side; a constant is a function of nothing."""
    axis = _numbers(axis)
    x = next((v for v in axis["direction"] if v), 0.0)
    sign = -1.0 if x < 0 else 1.0
    found = axis | {"curve": canonical_curve(axis["curve"], sign)}
    found["direction"] = [sign * v + 0.0 for v in axis["direction"]]
    if found.pop("written") is not None:
        found["written"] = [abs(v) for v in axis["written"]]
    if found["curve"]["kind"] == "constant":
        found |= {name: [] for name in COUNTED if name in axis}
    return found


def canonical_curve(curve: Tree, sign: float = 1.0) -> Tree:
    """Multiplies a curve out, by `sign` too, drops powers and fields that it does not have."""
    factor = sign * curve["factor"]
    found = {name: value for name, value in curve.items() if value != [] and name != "factor"}
    if curve["kind"] not in (*DEGREES, "spline", "piecewise_linear"):
        return found | {"factor": factor}
    for name in ("coefficients", "y", "slopes"):
        if name in found:
            found[name] = [factor * v + 0.0 for v in found[name]]
    if curve["kind"] in DEGREES:
        numbers = found["coefficients"]
        while len(numbers) > 1 and numbers[0] == 0:
            numbers = numbers[1:]
        found |= {"kind": DEGREES[min(len(numbers) - 1, 2)], "coefficients": numbers}
    return found


def canonical_coordinate(coordinate: Tree) -> Tree:
    """Brings the coupler's function to one form."""
    plain: Tree = _numbers(coordinate)
    coupler = plain["coupler"]
    if coupler is None:
        return plain
    return plain | {"coupler": coupler | {"curve": canonical_curve(coupler["curve"])}}


def canonical_marker(marker: Tree) -> Tree:
    """Drops frames that change nothing."""
    plain: Tree = _numbers(marker)
    return plain | {"frames": _frames(plain["frames"])}


def _frames(frames: list[Tree]) -> list[Tree]:
    return [f for f in frames if any(f["translation"]) or any(f["orientation"])]


def _numbers(value: Any) -> Any:
    """Makes every measured number a float without negative zero, every tuple a list."""
    if isinstance(value, dict):
        return {k: v if k in COUNTED else _numbers(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_numbers(v) for v in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) + 0.0
    return value
