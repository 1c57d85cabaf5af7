"""The named quantities of a sample, as pure functions of its arrays and its shard's tables.

Every coordinate has its OpenSim name, in degrees or metres; `X`, where a model has `X_r` and `X_l`, is the larger of
both. What the tables hold, parameters of the motion, garments, light and room, subject, is picked up under the name it
has there: `motion.depth`, `garment.top.kind`. What a sample does not know is NaN, or "" for a name.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.geometry import invert_rigid
from schemas.keypoints import LOWER_INDICES, Visibility
from schemas.layout import ARRAYS
from schemas.skeleton import SkeletonSpec

Values = NDArray[Any]
"""(n,) float64 with NaN, or (n,) object of str with ""."""
FILM_DIAGONAL_MM = 43.2666
"""Of 36 x 24 mm film, which "35 mm equivalent" focal lengths are for."""
ALIASES = {
    **{f"knee_flexion_{s}": f"knee_angle_{s}" for s in "rl"},
    **{f"ankle_dorsiflexion_{s}": f"ankle_angle_{s}" for s in "rl"},
    "knee_angle": "knee_flexion",
    "ankle_angle": "ankle_dorsiflexion",
}
_LARGER = {"knee_angle": "knee_flexion", "ankle_angle": "ankle_dorsiflexion"}
"""Names of the larger of both sides that say what grows."""
_TABLES = {
    "motion": ("motions", "motion_id"),
    "garment": ("garments", "garment_id"),
    "light": ("lights", "light_id"),
    "subject": ("subjects", "group_id"),
}
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,59}")
_MEASURES = re.compile(r".*_(m|mm|px|deg)")
"""A mapping with a unit in its name holds measurements of many parts, not parameters."""
MAX_NAME, _MAX_DEPTH, _MAX_LEAVES = 80, 4, 400


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Samples of one shard: what quantities are functions of."""

    arrays: Mapping[str, NDArray[Any]]
    tables: Mapping[str, Any]
    spec: SkeletonSpec | None
    lot: str = ""
    split: str = ""

    @property
    def count(self) -> int:
        """Returns the number of samples."""
        return len(next(iter(self.arrays.values())))


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One named number, or name, of every sample."""

    name: str
    unit: str
    """"" for pure numbers and for names."""
    needs: tuple[str, ...]
    """Arrays that it is computed from."""
    of: Callable[[Rows], Values]
    doc: str
    named: bool = False
    """True where values are names."""
    counted: bool = True
    """Whether shards keep a histogram of it."""


def declared(spec: SkeletonSpec | None) -> dict[str, Quantity]:
    """Returns the quantities that follow from the arrays, in the order in which people want to see them."""
    found = [*_of_pose(spec)] if spec is not None else []
    found += _OF_CAMERA if spec is not None else ()
    found += (*_OF_PICTURE, *_OF_LAYOUT)
    found += _OF_PERSON if spec is not None else ()
    found += _OF_SHARD
    return {q.name: q for q in found}


def catalogue(spec: SkeletonSpec | None, tables: Mapping[str, Any]) -> dict[str, Quantity]:
    """Returns every quantity of a shard: the declared ones and those that its tables hold."""
    return declared(spec) | _of_tables(tables)


def resolve(name: str, known: Iterable[str]) -> str:
    """Returns the full name of a quantity: itself, an alias, or the end of just one (`depth` for `motion.depth`).

    Raises:
        InputError: no such quantity, or several; lists the nearest.
    """
    names = list(known)
    for whole in (name, ALIASES.get(name, name)):
        if whole in names:
            return whole
    ends = sorted(n for n in names if n.endswith(f".{name}"))
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise InputError(name, f"may mean {', '.join(ends[:8])}", "Write one of these out")
    every = {*names, *(a for a, n in ALIASES.items() if n in names)}
    short = {n.rpartition(".")[2] for n in every}
    near = difflib.get_close_matches(name, sorted(every | short), n=4, cutoff=0.5)
    advice = f"Did you mean {' or '.join(near)}" if near else "`info` lists all of them"
    raise InputError(name, "is no quantity of this dataset", advice)


def needs(quantities: Iterable[Quantity]) -> tuple[str, ...]:
    """Returns the arrays that these are computed from."""
    return tuple(sorted({array for q in quantities for array in q.needs}))


# Poses.


def _of_pose(spec: SkeletonSpec) -> list[Quantity]:
    names = spec.coordinate_names
    stems = [n[:-2] for n in names if n.endswith("_r") and f"{n[:-2]}_l" in names]
    both = [_larger(spec, stem) for stem in stems]
    first = [q for q in both if q.name == "knee_flexion"]
    return [*first, *(q for q in both if q not in first), *(_coordinate(spec, n) for n in names)]


def _coordinate(spec: SkeletonSpec, name: str) -> Quantity:
    i = spec.coordinate_names.index(name)
    kind = spec.coordinates[i].kind
    turning = kind == "rotational"

    def of(rows: Rows) -> Values:
        q = np.asarray(rows.arrays["q"][:, i], np.float64)
        return np.degrees(q) if turning else q

    unit = "deg" if turning else "m" if kind == "translational" else ""
    return Quantity(name=name, unit=unit, needs=("q",), of=of, doc="OpenSim coordinate")


def _larger(spec: SkeletonSpec, stem: str) -> Quantity:
    right, left = _coordinate(spec, f"{stem}_r"), _coordinate(spec, f"{stem}_l")
    return Quantity(
        name=_LARGER.get(stem, stem),
        unit=right.unit,
        needs=("q",),
        of=lambda rows: np.maximum(right.of(rows), left.of(rows)),
        doc="larger of both sides",
    )


# Camera, picture and person.


def _numeric(
    name: str, unit: str, arrays: str, of: Callable[..., NDArray[Any]], doc: str
) -> Quantity:
    """Makes a quantity of the arrays named, which `of` gets in float64."""
    names = tuple(arrays.split())

    def values(rows: Rows) -> Values:
        with np.errstate(invalid="ignore", divide="ignore"):
            found = of(*(np.asarray(rows.arrays[n], np.float64) for n in names))
        return np.asarray(found, np.float64)

    return Quantity(name=name, unit=unit, needs=names, of=values, doc=doc)


def _wrapped(radians: NDArray[Any]) -> NDArray[Any]:
    """Returns degrees in [-180, 180)."""
    return np.asarray((np.degrees(radians) + 180.0) % 360.0 - 180.0)


def _eye(T: NDArray[Any]) -> NDArray[Any]:
    return invert_rigid(T)[:, :3, 3]


def _roll(T: NDArray[Any]) -> NDArray[Any]:
    """Turn of the camera about its axis, clockwise for who holds it, as `schemas.geometry.look_at` has it."""
    return np.asarray(np.degrees(np.arctan2(-T[:, 0, 1], -T[:, 1, 1])))


def _distance(T: NDArray[Any], root: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.linalg.norm((_eye(T) - root[:, :3, 3])[:, [0, 2]], axis=1))


def _focal(K: NDArray[Any], A: NDArray[Any]) -> NDArray[Any]:
    """Undoes the crop; the phone's principal point lies in the middle of its picture."""
    source = np.linalg.solve(A, K)
    diagonal = np.hypot(2 * source[:, 0, 2] + 1, 2 * source[:, 1, 2] + 1)
    return np.asarray(source[:, 0, 0] / diagonal * FILM_DIAGONAL_MM)


_OF_CAMERA = (
    _numeric("camera_yaw", "deg", "camera_yaw", _wrapped, "0 in front, 90 on the left side"),
    _numeric(
        "camera_pitch",
        "deg",
        "T_cam_from_ground",
        lambda T: np.degrees(np.arcsin(np.clip(T[:, 2, 1], -1, 1))),
        "camera looks up (+) or down",
    ),
    _numeric("camera_roll", "deg", "T_cam_from_ground", _roll, "camera turned clockwise"),
    _numeric(
        "camera_distance",
        "m",
        "T_cam_from_ground T_ground_from_root",
        _distance,
        "along the floor, from the pelvis",
    ),
    _numeric("camera_height", "m", "T_cam_from_ground", lambda T: _eye(T)[:, 1], "above the floor"),
    _numeric("camera_focal_mm", "mm", "K A_crop_from_source", _focal, "35 mm equivalent"),
)
_OF_PICTURE = (
    _numeric("box_height", "px", "box", lambda b: b[:, 3], "person's box in the stored crop"),
    _numeric("box_width", "px", "box", lambda b: b[:, 2], "person's box in the stored crop"),
    _numeric(
        "occlusion", "", "occlusion", lambda v: v, "hidden share of the labelled lower joints"
    ),
    _numeric(
        "lower_visible",
        "",
        "keypoint_visibility",
        lambda v: (v[:, list(LOWER_INDICES)] == Visibility.VISIBLE).sum(axis=1),
        "visible hips, knees and ankles, of 6",
    ),
)
_ELSEWHERE = frozenset({"camera_yaw", "occlusion"})
"""Arrays of one number a sample that are quantities of another unit, or declared above."""
_OF_LAYOUT = tuple(
    _numeric(a.name, "" if a.unit == "1" else a.unit, a.name, lambda v: v, a.doc)
    for a in ARRAYS
    if not a.dims and a.dtype.startswith("f") and a.name not in _ELSEWHERE
)
_OF_PERSON = (
    _numeric("stature", "m", "anthropometry", lambda a: a[:, 0], "body height"),
    _numeric("mass", "kg", "anthropometry", lambda a: a[:, 1], "body mass"),
    _numeric(
        "bmi", "kg/m^2", "anthropometry", lambda a: a[:, 1] / a[:, 0] ** 2, "mass / stature^2"
    ),
    _numeric("age", "y", "anthropometry", lambda a: a[:, 2], "years"),
    Quantity(
        name="sex",
        unit="",
        needs=("anthropometry",),
        of=lambda rows: _chosen(
            {0.0: "female", 1.0: "male"}, rows.arrays["anthropometry"][:, 3].tolist()
        ),
        doc="female or male",
        named=True,
    ),
)


def _chosen(names: Mapping[Any, str], keys: Iterable[Any]) -> Values:
    return np.array([names.get(key, "") for key in keys], dtype=object)


# The shard's place in the dataset, and its tables.


def _constant(name: str, of: Callable[[Rows], str], doc: str) -> Quantity:
    def values(rows: Rows) -> Values:
        return np.array([of(rows)[:MAX_NAME]] * rows.count, dtype=object)

    return Quantity(
        name=name, unit="", needs=("sample_id",), of=values, doc=doc, named=True, counted=False
    )


def _movement(rows: Rows) -> Values:
    return np.array([_name(v) for v in _column(rows, "motion", ("kind",))], dtype=object)


_OF_SHARD = (
    Quantity(
        name="movement",
        unit="",
        needs=("motion_id",),
        of=_movement,
        doc="kind of motion: squat, mot, random, …",
        named=True,
    ),
    _constant("lot", lambda rows: rows.lot, "lot of the recipe"),
    _constant("split", lambda rows: rows.split, "train, val or test"),
)


def _of_tables(tables: Mapping[str, Any]) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    for prefix, (table, array) in _TABLES.items():
        leaves: dict[tuple[str, ...], bool] = {}
        for entry in _entries(tables, table).values():
            for path, value in _leaves(entry):
                if len(leaves) < _MAX_LEAVES or path in leaves:
                    leaves[path] = leaves.get(path, False) or isinstance(value, str)
        for path, named in leaves.items():
            name = ".".join([prefix, *(p for p in path if p != "parameters")])
            found[name] = _of_table(name, prefix, path, array, named)
    return found


def _of_table(name: str, prefix: str, path: tuple[str, ...], array: str, named: bool) -> Quantity:
    def of(rows: Rows) -> Values:
        column = _column(rows, prefix, path)
        if named:
            return np.array([_name(v) for v in column], dtype=object)
        return np.array([_number(v) for v in column], dtype=np.float64)

    return Quantity(
        name=name,
        unit=_unit(path[-1]),
        needs=(array,),
        of=of,
        doc=f"table {_TABLES[prefix][0]}",
        named=named,
        counted=prefix != "subject",
    )


def _unit(key: str) -> str:
    return key.rpartition("_")[2] if _MEASURES.fullmatch(key) else ""


def _entries(tables: Mapping[str, Any], table: str) -> dict[int, Mapping[str, Any]]:
    """Returns a table's entries by the number that arrays name them by."""
    held = tables.get(table, ())
    if isinstance(held, list | tuple):
        held = dict(enumerate(held))
    if not isinstance(held, Mapping):
        return {}
    pairs = [(int(k), v) for k, v in held.items() if re.fullmatch(r"-?\d{1,18}", str(k), re.ASCII)]
    return {key: entry for key, entry in pairs if isinstance(entry, Mapping)}


def _leaves(
    entry: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterable[tuple[tuple[str, ...], float | str]]:
    """Yields paths and values of the numbers and names in an entry; lists and odd keys are passed over."""
    for key, value in entry.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key) or (key == "subject" and not path):
            continue
        if isinstance(value, Mapping):
            if len(path) < _MAX_DEPTH and not _MEASURES.fullmatch(key):
                yield from _leaves(value, (*path, key))
        elif isinstance(value, bool | int | float):
            yield (*path, key), _number(value)
        elif isinstance(value, str):
            yield (*path, key), value


def _column(rows: Rows, prefix: str, path: tuple[str, ...]) -> list[Any]:
    """Returns each sample's value at a path of its table entry, None where there is none."""
    table, array = _TABLES[prefix]
    values: dict[int, Any] = {}
    for number, entry in _entries(rows.tables, table).items():
        value: Any = entry
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        values[number] = value
    return [values.get(int(i)) for i in rows.arrays[array]]


def _number(value: Any) -> float:
    # JSON has whole numbers of any length.
    sound = isinstance(value, bool | int | float) and abs(value) < 1e300
    return float(value) if sound else np.nan


def _name(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return f"{_number(value):g}"
    return value[:MAX_NAME] if isinstance(value, str) else ""
