"""Recorded motions: OpenSim's `.mot` in and out, poses in between, and poses for coverage.

Dims: t = row in time, c = coordinate in `spec.coordinate_names` order, m = marker. q in rad and m, ground frame.
A `.mot` under `inDegrees=yes` holds degrees in its rotational columns only: coordinates of kind `coupled`
(`knee_angle_r_beta`) stay in radians, which is OpenSim's own convention.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

from schemas.errors import InputError
from schemas.lots import RandomLot
from schemas.skeleton import GROUND, SkeletonSpec
from workers.family import LATERAL, LUMBAR, TWISTING

Array = NDArray[np.float64]
_HEADER_KEY = re.compile(r"^\s*(nRows|datarows|inDegrees|version)\s*(?:=\s*|\s+)(\S+)\s*$", re.I)
_NOT_A_NUMBER = re.compile(r"^[-+]?(nan(\(.*\))?|1\.#(qnan|snan|ind).*)$", re.I)
_ESSENTIAL = ("pelvis_", "hip_", "knee_angle", "ankle_angle")
"""Without these a file says too little about the lower body; every other coordinate may take its default."""
_MAX_GAP = 3.0
"""Poses are interpolated over gaps of at most this many median row spacings."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Poses over time."""

    name: str
    times: Array
    """(t,) s, strictly increasing."""
    q: Array
    """(t, c) rad and m."""
    rejected: tuple[tuple[int, str], ...] = ()
    """Rows of the file that were left out (0 = first data row) and why."""
    filled: tuple[str, ...] = ()
    """Coordinates that the file lacks, held at the model's default."""
    parameters: dict[str, float | str] = field(default_factory=dict)
    """What a procedural motion was made with and what it reached; lengths m, angles degrees, times s."""
    phase: Array | None = None
    """(t,): the share of a made-up movement that is over, 0.5 at its deepest; of one that recurs, how many times it is
    over. None where there is no such thing."""
    stance: Array | None = None
    """(c,) rad and m: a pose that stands flat on the motion's floor; None where the lowest skin says where that is."""

    def at(self, times: ArrayLike) -> Array:
        """Interpolates poses (n, c) at times (n,) s; times outside the motion take its first or last pose.

        Monotone piecewise cubics (Fritsch & Carlson 1980): smooth, and never beyond the rows on either side, so
        that a pose between two poses inside the joint limits is inside them too.
        """
        wanted = np.clip(np.asarray(times, np.float64), self.times[0], self.times[-1])
        if len(self.times) == 1:
            return np.repeat(self.q, wanted.size, axis=0)
        result: Array = PchipInterpolator(self.times, self.q, axis=0)(wanted)
        return result

    def phase_at(self, times: ArrayLike) -> Array:
        """Returns the phase (n,) in [0, 1] at times (n,) s, NaN where the motion has none."""
        wanted = np.asarray(times, np.float64)
        if self.phase is None:
            return np.full(wanted.shape, np.nan)
        found = np.interp(wanted, self.times, self.phase)
        return np.where(found > 1.0, found % 1.0, found)

    def covered(self, times: ArrayLike) -> NDArray[np.bool_]:
        """Says for times (n,) whether the motion holds rows close enough on both sides to vouch for `at`."""
        wanted = np.asarray(times, np.float64)
        inside = (wanted >= self.times[0]) & (wanted <= self.times[-1])
        if len(self.times) == 1:
            return np.asarray(inside)
        spans = np.diff(self.times)
        after = np.clip(np.searchsorted(self.times, wanted, side="right"), 1, len(spans))
        return np.asarray(inside & (spans[after - 1] <= _MAX_GAP * np.median(spans)))


@dataclass(frozen=True, kw_only=True)
class _Table:
    labels: tuple[str, ...]
    values: Array
    in_degrees: bool


def read_mot(data: bytes, name: str, spec: SkeletonSpec) -> Motion:
    """Reads an OpenSim motion (`.mot`, or `.sto` of coordinates) onto a skeleton, columns matched by name.

    Either header (`inDegrees=yes` or `no`; the older SIMM header without a version means degrees, as in
    OpenSim), any sampling rate, tabs or spaces. The root's, hips', knees' and ankles' coordinates must be there;
    others that are missing take the model's default and are listed in `filled`. The trunk's angles are also known by
    other models' names. Columns that the model lacks are refused, but for `*_beta`, which follow the knee and say
    nothing of their own. Rows that hold NaN
    are left out and listed in `rejected`.

    Raises:
        InputError: not such a file, cut short, columns that do not match, most rows NaN, time that does not
            increase, or values in the other unit than the header says.
    """
    table = _parse(data, name)
    coordinates = _match(table.labels[1:], name, spec)
    values, rejected = _drop_nan(table.values, name)
    _check_times(values[:, 0], name)
    _check_units(values[:, 1:], coordinates, table.in_degrees, name, spec)
    q = np.tile(spec.default_pose(), (len(values), 1))
    for column, index in enumerate(coordinates, start=1):
        if index is None:
            continue
        turns = table.in_degrees and spec.coordinates[index].kind == "rotational"
        q[:, index] = np.radians(values[:, column]) if turns else values[:, column]
    filled = tuple(c.name for i, c in enumerate(spec.coordinates) if i not in coordinates)
    return Motion(name=name, times=values[:, 0], q=spec.couple(q), rejected=rejected, filled=filled)


def _parse(data: bytes, name: str) -> _Table:
    lines = data.decode("utf-8", errors="replace").splitlines()
    end = next((i for i, line in enumerate(lines) if line.strip().lower() == "endheader"), None)
    if end is None:
        raise InputError(
            name, "has no `endheader` line, so it is no OpenSim motion", "Name a .mot file"
        )
    header = {m[1].lower(): m[2] for line in lines[:end] if (m := _HEADER_KEY.match(line))}
    filled = [line.split() for line in lines[end + 1 :] if line.strip()]
    if not filled or filled[0][0].lower() != "time":
        raise InputError(
            name, "has no line of column names that begins with `time`", "Export it again"
        )
    labels, rows = tuple(_short(label) for label in filled[0]), filled[1:]
    declared = header.get("nrows", header.get("datarows", str(len(rows))))
    if not rows or declared != str(len(rows)):
        raise InputError(
            name, f"holds {len(rows)} rows where its header says {declared}", "Export it again"
        )
    if ragged := [i for i, row in enumerate(rows) if len(row) != len(labels)]:
        raise InputError(
            name,
            f"row {ragged[0]} has {len(rows[ragged[0]])} cells under {len(labels)} column names",
            "The file is damaged or cut short: export it again",
        )
    return _Table(labels=labels, values=_numbers(rows, name), in_degrees=_degrees(header, name))


def _short(label: str) -> str:
    """Turns OpenSim 4's state label `/jointset/hip_r/hip_flexion_r/value` into the coordinate's name."""
    return label.split("/")[-2] if label.startswith("/") and label.endswith("/value") else label


def _degrees(header: dict[str, str], name: str) -> bool:
    said = header.get("indegrees", "" if "version" in header else "yes").lower()
    if said not in ("yes", "no"):
        raise InputError(
            name,
            f"its header does not say whether angles are in degrees (inDegrees={said or 'missing'})",
            "Add the line `inDegrees=yes` or `inDegrees=no` above `endheader`",
        )
    return said == "yes"


def _numbers(rows: list[list[str]], name: str) -> Array:
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError:
        return np.array([[_number(cell, i, name) for cell in row] for i, row in enumerate(rows)])


def _number(cell: str, row: int, name: str) -> float:
    if _NOT_A_NUMBER.match(cell):
        return np.nan
    try:
        return float(cell)
    except ValueError:
        raise InputError(
            name, f"row {row} holds {cell!r}, not a number", "Correct the cell"
        ) from None


def _match(columns: tuple[str, ...], name: str, spec: SkeletonSpec) -> list[int | None]:
    """Returns each column's coordinate, None where it is one that may be ignored."""
    index = {c: i for i, c in enumerate(spec.coordinate_names)}
    columns = tuple(_own_name(c, index) for c in columns)
    free = [c.name for c in spec.coordinates if c.coupler is None and not c.locked]
    essential = [c for c in free if c.startswith(_ESSENTIAL)] or free
    unknown = [c for c in columns if c not in index and not c.endswith("_beta")]
    missing = [c for c in free if c not in columns]
    if unknown or any(c in essential for c in missing):
        raise InputError(
            name,
            f"its columns do not match the model: the model lacks {', '.join(unknown) or 'none of them'}; "
            f"the file lacks {', '.join(missing) or 'no coordinate'}",
            "Use the model that the motion was made with, or rename and drop columns; only coordinates "
            f"other than {', '.join(f'{e}*' for e in _ESSENTIAL)} may be missing",
        )
    if twice := sorted({c for c in columns if columns.count(c) > 1}):
        raise InputError(name, f"has the columns {', '.join(twice)} twice", "Keep one of each")
    return [index.get(c) for c in columns]


def _own_name(column: str, known: Mapping[str, int]) -> str:
    """Returns the model's name of a column that has another one in other models."""
    same = next((names for names in (LUMBAR, LATERAL, TWISTING) if column in names), ())
    return next((n for n in same if n in known and column not in known), column)


def _drop_nan(values: Array, name: str) -> tuple[Array, tuple[tuple[int, str], ...]]:
    finite = np.isfinite(values).all(axis=1)
    bad = np.flatnonzero(~finite)
    if 2 * len(bad) > len(values):
        first = ", ".join(str(i) for i in bad[:5])
        raise InputError(
            name,
            f"{len(bad)} of {len(values)} rows hold NaN or infinity (rows {first}, … counted from 0)",
            "Fill the gaps or cut the recording to the part that was tracked",
        )
    return values[finite], tuple((int(i), "not_finite") for i in bad)


def _check_times(times: Array, name: str) -> None:
    if len(back := np.flatnonzero(np.diff(times) <= 0)):
        row = int(back[0])
        raise InputError(
            name,
            f"time does not increase: {times[row]:g} s is followed by {times[row + 1]:g} s",
            "Sort the rows and remove repeated ones",
        )


def _check_units(
    values: Array,
    coordinates: list[int | None],
    in_degrees: bool,
    name: str,
    spec: SkeletonSpec,
) -> None:
    """Compares the header's unit with what bodies can do.

    Under a degrees header: knees that move, yet never bend by 2.6 (149 degrees if they were radians), while
    no other angle reaches 3.5, are radians. Under a radians header: a knee beyond 2.8 (160 degrees), or
    another joint (the root may turn round and round) beyond a full turn, is degrees.
    """
    kinds = [spec.coordinates[i].kind if i is not None else "" for i in coordinates]
    names = [spec.coordinate_names[i] if i is not None else "" for i in coordinates]
    peak = np.abs(values).max(axis=0)
    turning = [k == "rotational" for k in kinds]
    root = _root_coordinates(spec)
    angles = peak[turning]
    joints = peak[[r and n not in root for r, n in zip(turning, names, strict=True)]]
    knees = peak[[r and n.startswith("knee") for r, n in zip(turning, names, strict=True)]]
    knee = float(knees.max(initial=0.0))
    if in_degrees and 0.3 < knee < 2.6 and angles.max() < 3.5:
        _refuse_unit(name, knee, "degrees", "radians", "no")
    if not in_degrees and (knee > 2.8 or joints.max(initial=0.0) > 2 * np.pi):
        _refuse_unit(name, knee, "radians", "degrees", "yes")


def _refuse_unit(name: str, knee: float, said: str, found: str, flag: str) -> None:
    raise InputError(
        name,
        f"its header says {said}, but the knees reach {knee:.3g}, which only fits {found}",
        f"Change its header to inDegrees={flag}, or convert the angles",
    )


def _root_coordinates(spec: SkeletonSpec) -> frozenset[str]:
    """Returns the coordinates of the joints that hang on ground."""
    used = (a.coordinates for j in spec.joints if j.parent == GROUND for a in j.axes)
    return frozenset(spec.coordinate_names[i] for on in used for i in on)


def write_mot(spec: SkeletonSpec, times: Array, q: Array) -> bytes:
    """Writes poses (t, c) at times (t,) as OpenSim's inverse kinematics writes them: degrees, 8 decimals."""
    turning = np.array([c.kind == "rotational" for c in spec.coordinates])
    table = np.column_stack([times, np.where(turning, np.degrees(q), q)])
    text = io.StringIO()
    text.write(
        f"Coordinates\nversion=1\nnRows={table.shape[0]}\nnColumns={table.shape[1]}\ninDegrees=yes\n\n"
        "Units are S.I. units (second, meters, Newtons, ...)\n"
        "If the header above contains a line with 'inDegrees', this indicates whether rotational values are "
        "in degrees (yes) or radians (no).\n\nendheader\n"
    )
    text.write("\t".join(("time", *spec.coordinate_names)) + "\n")
    np.savetxt(text, table, fmt="%16.8f", delimiter="\t")
    return text.getvalue().encode()


def perturb(motion: Motion, spec: SkeletonSpec, degrees: float, rng: np.random.Generator) -> Motion:
    """Adds to every joint angle its own smooth curve: a constant and three slow sines, `degrees` in all (RMS).

    The root, translations, locked and coupled coordinates stay. No angle leaves its limits, nor goes further
    beyond them than the recording itself does.
    """
    root = _root_coordinates(spec)
    q = motion.q.copy()
    for i, c in enumerate(spec.coordinates):
        if c.name in root or c.kind != "rotational" or c.locked or c.coupler is not None:
            continue
        periods, phases = rng.uniform(1.0, 4.0, 3), rng.uniform(0.0, 2 * np.pi, 3)
        weights = rng.normal(0.0, np.sqrt([0.5, 1 / 3, 1 / 3, 1 / 3]))
        waves = np.sin(2 * np.pi * motion.times[:, None] / periods + phases) @ weights[1:]
        low, high = np.minimum(c.lower, q[:, i]), np.maximum(c.upper, q[:, i])
        q[:, i] = np.clip(q[:, i] + np.radians(degrees) * (weights[0] + waves), low, high)
    parameters = motion.parameters | {"perturbation": float(degrees)}
    return replace(motion, q=spec.couple(q), parameters=parameters)


_NATURAL = {
    "hip_adduction": (-40, 10),
    **dict.fromkeys(("lumbar_extension", "L5_S1_Flex_Ext"), (-50, 15)),
    **dict.fromkeys(("lumbar_bending", "L5_S1_Lat_Bending"), (-20, 20)),
    **dict.fromkeys(("lumbar_rotation", "L5_S1_axial_rotation"), (-25, 25)),
    **dict.fromkeys(("neck_flexion", "neck_bending", "neck_rotation"), (-30, 30)),
    "arm_flex": (-30, 110),
    "arm_add": (-70, 0),
    "arm_rot": (-30, 50),
    "elbow_flex": (0, 120),
    "pro_sup": (20, 110),
    **dict.fromkeys(("wrist_flex", "wrist_dev"), (-15, 15)),
    "pelvis_tilt": (-15, 15),
    "pelvis_list": (-8, 8),
    "pelvis_rotation": (0, 0),
}
"""Degrees. Models give arms and trunk ranges of half a turn either way; people use this part of them."""


def random_poses(lot: RandomLot, spec: SkeletonSpec, count: int, rng: np.random.Generator) -> Array:
    """Draws independent poses (count, c) rad and m, each angle uniform in `lot.spread` of its range.

    The range is the model's, narrowed to what people do for the trunk, neck and arms; it shrinks towards the default.
    The root stays upright within a small tilt and where its default puts it; locked coordinates keep their
    default, coupled ones follow their couplers.
    """
    root = _root_coordinates(spec)
    q = np.tile(spec.default_pose(), (count, 1))
    for i, c in enumerate(spec.coordinates):
        held = c.locked or c.coupler is not None or (c.name in root and c.name not in _NATURAL)
        if held or c.kind != "rotational":
            continue
        natural = np.radians(_NATURAL.get(re.sub(r"_[rl]$", "", c.name), (-180, 180)))
        low, high = np.clip(natural, c.lower, c.upper)
        middle = np.clip(c.default, low, high)
        q[:, i] = middle + lot.spread * (rng.uniform(low, high, count) - middle)
    return spec.couple(q)
