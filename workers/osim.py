"""The only module that knows OpenSim: reads `.osim` models into plain data, poses and scales them, runs its tools.

Dims: c = coordinate, b = body, j = joint, m = marker. Units m and rad; OpenSim's ground frame (Y up, X forward).
"""

import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import opensim
from numpy.typing import NDArray

from schemas.curves import ZERO, Curve
from schemas.errors import InputError
from schemas.files import local_copy
from schemas.formulas import Formula
from schemas.shapes import Scapula
from schemas.skeleton import (
    Axis,
    Coordinate,
    CoordinateKind,
    Coupler,
    Joint,
    Marker,
    Offset,
    SkeletonSpec,
    Vec3,
)
from workers.osim_files import check_document
from workers.osim_files import missing_meshes as missing_meshes
from workers.osim_files import read_model as read_model
from workers.osim_functions import FUNCTIONS, Tools
from workers.osim_joints import JOINT_AXES, coordinate_names, plain_axes, shape_of, tree_order
from workers.osim_xml import check_scale, model_xml

opensim.Logger.setLevelString("Off")
opensim.Logger.removeFileSink()  # else it leaves an opensim.log wherever it was started

Array = NDArray[np.float64]
UNBOUNDED = 99999.9
"""OpenSim's own stand-in for no limit; JSON has no infinity."""
KINDS: dict[int, CoordinateKind] = {1: "rotational", 2: "translational", 3: "coupled"}


class Pose(NamedTuple):
    """Where everything is, ground frame, m."""

    T_ground_from_body: Array
    """(b, 4, 4)."""
    joint_centres: Array
    """(j, 3): origin of each joint's child frame."""
    markers: Array
    """(m, 3)."""


def _first_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error))[:300].strip().rstrip(".")


@contextmanager
def _named_refusal() -> Iterator[None]:
    """Turns whatever OpenSim throws at a broken model into a refusal."""
    try:
        yield
    except InputError:
        raise
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            ".osim",
            f"OpenSim cannot load it ({_first_line(error)})",
            "Open it in OpenSim and repair it",
        ) from error


def _load(osim: bytes, *, couplers: bool = True) -> tuple[Any, Any]:
    """Builds the model without its forces (kinematics need none), if wanted without constraints; its default state."""
    check_document(osim, ".osim")
    with _named_refusal():
        with local_copy(osim, ".osim") as path:
            model = opensim.Model(str(path))
        model.updForceSet().clearAndDestroy()
        model.updControllerSet().clearAndDestroy()
        if not couplers:
            model.updConstraintSet().clearAndDestroy()
        if b"<ScapulothoracicJoint" in osim:
            _refuse_reversed_scapulae(model)
        return model, model.initSystem()


def _refuse_reversed_scapulae(model: Any) -> None:
    """Refuses a scapula that is called the parent of its thorax: OpenSim's C++ would end the process over it."""
    model.finalizeConnections()
    for joint in _tree(model)[0]:
        if joint.reverse and isinstance(joint.shape, Scapula):
            remedy = "Make the thorax its parent"
            raise InputError(f"joint {joint.name}", "has the scapula as its parent", remedy)


def _each(collection: Any) -> Iterator[Any]:
    return (collection.get(i) for i in range(collection.getSize()))


def _vec3(vector: Any) -> Vec3:
    return (float(vector.get(0)), float(vector.get(1)), float(vector.get(2)))


def _unit(vector: Any) -> Vec3:
    raw = np.array(_vec3(vector))
    length = float(np.linalg.norm(raw))
    # An axis that is a unit vector but for rounding stays as the file has it: the fingerprint then
    # depends on the file alone.
    x, y, z = raw if abs(length - 1.0) < 1e-15 else raw / length
    return (float(x), float(y), float(z))


@lru_cache(maxsize=8)
def read_skeleton(osim: bytes) -> SkeletonSpec:
    """Distils a model into plain data.

    Warns where the model holds constraints other than couplers: they are ignored.

    Raises:
        InputError: OpenSim cannot load it, or it holds a joint or function that is not supported.
    """
    model, _ = _load(osim)
    with _named_refusal():
        couplers, ignored = _couplers(model)
        joints, loops = _tree(model)
        ignored += [f"{joint.name} (joint that closes a loop)" for joint in loops]
        if ignored:
            warnings.warn(f"constraints are ignored: {', '.join(ignored)}", stacklevel=2)
        coordinates = list(_each(model.getCoordinateSet()))
        names = enumerate(coordinate_names(coordinates))
        moving = tuple(_coordinate(coordinates[i], n, couplers.get(i)) for i, n in names)
        markers = tuple(_marker(m) for m in _each(model.getMarkerSet()))
    try:
        return SkeletonSpec(joints=tuple(joints), coordinates=moving, markers=markers)
    except ValueError as error:
        raise InputError(".osim", str(error), "Repair it in OpenSim") from error


def _tree(model: Any) -> tuple[list[Joint], list[Joint]]:
    coordinates = enumerate(_each(model.getCoordinateSet()))
    index = {str(c.getAbsolutePathString()): i for i, c in coordinates}
    joints = list(_each(model.getJointSet()))
    kinds = {str(j.getName()): str(j.getConcreteClassName()) for j in joints}
    replacing = {name for name, kind in kinds.items() if kind in ("WeldJoint", "FreeJoint")}
    return tree_order([_joint(j, index) for j in joints], replacing)


def _frames(frame: Any) -> tuple[str, tuple[Offset, ...]]:
    """Returns the body a frame is fixed to and the offsets from it, outermost last."""
    offsets: list[Offset] = []
    while (node := opensim.PhysicalOffsetFrame.safeDownCast(frame)) is not None:
        offset = Offset(
            translation=_vec3(node.get_translation()), orientation=_vec3(node.get_orientation())
        )
        if offset != Offset():  # a frame that changes nothing is not kinematics
            offsets.append(offset)
        frame = node.getParentFrame()
    name, kind = str(frame.getName()), str(frame.getConcreteClassName())
    if kind not in ("Body", "Ground"):
        raise InputError(
            f"frame {name}", f"is a {kind}, which is not supported", "Use a PhysicalOffsetFrame"
        )
    return name, tuple(reversed(offsets))


def _joint(joint: Any, index: dict[str, int]) -> Joint:
    name, kind = str(joint.getName()), str(joint.getConcreteClassName())
    parent, parent_frames = _frames(joint.getParentFrame())
    child, child_frames = _frames(joint.getChildFrame())
    coordinates = [joint.get_coordinates(i) for i in range(joint.numCoordinates())]
    own = {str(c.getName()): index[str(c.getAbsolutePathString())] for c in coordinates}
    if kind == "CustomJoint":
        transform = opensim.CustomJoint.safeDownCast(joint).getSpatialTransform()
        axes = [_custom_axis(transform.getTransformAxis(i), i, name, own) for i in range(6)]
    elif kind in JOINT_AXES:
        axes = plain_axes(*JOINT_AXES[kind], list(own.values()))
    else:
        raise InputError(
            f"joint {name}", f"is a {kind}, which is not supported", "Replace it by a CustomJoint"
        )
    return Joint(
        name=name,
        parent=parent,
        child=child,
        parent_frames=parent_frames,
        child_frames=child_frames,
        axes=(axes[0], axes[1], axes[2], axes[3], axes[4], axes[5]),
        shape=shape_of(getattr(opensim, kind).safeDownCast(joint), kind),
    )


def _custom_axis(axis: Any, position: int, joint: str, index: dict[str, int]) -> Axis:
    names = axis.getCoordinateNamesInArray()
    on = tuple(index[str(names.get(i))] for i in range(names.size()))
    curve = _curve(axis.getFunction(), len(on), f"joint {joint}, axis {position + 1}")
    direction, written = _unit(axis.getAxis()), _vec3(axis.getAxis())
    scales = position >= 3 and curve != ZERO and not _is_plain(axis.getFunction())
    return Axis(
        direction=direction,
        curve=curve,
        coordinates=on,
        scales=scales,
        written=written if scales and written != direction else None,
    )


def _is_plain(function: Any) -> bool:
    """Whether Model.scale takes a translation for a degree of freedom, and leaves it alone."""
    line = opensim.LinearFunction.safeDownCast(function)
    if line is None:
        return False
    return bool(line.getCoefficients().get(0) == 1.0 and line.getCoefficients().get(1) == 0.0)


def _curve(function: Any, arguments: int, owner: str) -> Curve | Formula:
    """Copies a function of some coordinates; `owner` names it in a refusal."""
    factor = 1.0
    while (multiplier := opensim.MultiplierFunction.safeDownCast(function)) is not None:
        factor *= float(multiplier.getScale())
        function = multiplier.getFunction()
    if function is None:
        raise InputError(owner, "holds a MultiplierFunction of nothing", "Give it a function")
    kind = str(function.getConcreteClassName())
    if kind not in FUNCTIONS:
        raise InputError(
            owner, f"holds a {kind}, which is not supported", f"Use one of {', '.join(FUNCTIONS)}"
        )
    own = getattr(opensim, kind).safeDownCast(function)
    try:
        curve = FUNCTIONS[kind](own, factor, arguments, Tools(_derivatives, _number))
    except ValueError as error:
        raise InputError(owner, f"holds a {kind} where {error}", "Repair the function") from error
    # A constant is one number, however it was written.
    none = isinstance(curve, Curve) and curve.kind == "constant" and curve(0.0) == 0
    return ZERO if none else curve


def _derivatives(function: Any, at: float, orders: Sequence[int]) -> list[float]:
    """Returns derivatives of a function of one variable; of order 0 its value."""
    x, found = opensim.Vector(1, at), []
    for order in orders:
        components = opensim.StdVectorInt()
        for _ in range(order):
            components.append(0)
        value = function.calcDerivative(components, x) if order else function.calcValue(x)
        found.append(float(value))
    return found


def _number(function: Any, name: str) -> float:
    return float(opensim.PropertyHelper.getValueDouble(function.getPropertyByName(name)))


def _couplers(model: Any) -> tuple[dict[int, Coupler], list[str]]:
    """Returns the enforced couplers by dependent coordinate, and the names of every other constraint."""
    couplers, others = {}, []
    index: dict[str, int] = {}  # OpenSim takes the first of a name
    for i, coordinate in enumerate(_each(model.getCoordinateSet())):
        index.setdefault(str(coordinate.getName()), i)
    for constraint in _each(model.getConstraintSet()):
        if not constraint.get_isEnforced():
            continue
        coupler = opensim.CoordinateCouplerConstraint.safeDownCast(constraint)
        if coupler is None:
            others.append(f"{constraint.getName()} ({constraint.getConcreteClassName()})")
            continue
        name, on = str(coupler.getName()), list(_each(coupler.getIndependentCoordinateNames()))
        curve = _curve(coupler.getFunction(), len(on), f"coupler {name}")
        factor = opensim.PropertyHelper.getValueDouble(coupler.getPropertyByName("scale_factor"))
        couplers[index[str(coupler.getDependentCoordinateName())]] = Coupler(
            independents=tuple(index[str(n)] for n in on), curve=curve.times(float(factor))
        )
    return couplers, others


def _coordinate(coordinate: Any, name: str, coupler: Coupler | None) -> Coordinate:
    return Coordinate(
        name=name,
        kind=KINDS[int(coordinate.getMotionType())],
        lower=max(float(coordinate.getRangeMin()), -UNBOUNDED),
        upper=min(float(coordinate.getRangeMax()), UNBOUNDED),
        default=float(coordinate.getDefaultValue()),
        locked=bool(coordinate.getDefaultLocked()),
        coupler=coupler,
    )


def _marker(marker: Any) -> Marker:
    body, frames = _frames(marker.getParentFrame())
    return Marker(
        name=str(marker.getName()),
        body=body,
        location=_vec3(marker.get_location()),
        frames=frames,
    )


def _apply_scale(model: Any, state: Any, spec: SkeletonSpec, scale: Array) -> Any:
    """Scales in place as OpenSim's ScaleTool does and returns the new default state."""
    scales = opensim.ScaleSet()
    for name, factors in zip(spec.body_names, check_scale(scale, spec), strict=True):
        entry = opensim.Scale()
        entry.setSegmentName(name)
        entry.setScaleFactors(opensim.Vec3(*(float(f) for f in factors)))
        entry.setApply(True)
        scales.cloneAndAppend(entry)
    model.scale(state, scales, False)
    return model.initSystem()


def scaled_osim(osim: bytes, scale: Array) -> bytes:
    """Scales a model by (b, 3) factors with OpenSim's own `Model.scale` and writes it whole, muscles too."""
    spec = read_skeleton(osim)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.osim"
        path.write_bytes(osim)
        try:
            model = opensim.Model(str(path))
            _apply_scale(model, model.initSystem(), spec, scale)
            model.printToXML(str(path))
        except RuntimeError as error:
            raise InputError(
                ".osim",
                f"OpenSim cannot scale it ({_first_line(error)})",
                "Write the scaled skeleton from its spec (write_osim)",
            ) from error
        return path.read_bytes()


Pairs = Mapping[str, Sequence[tuple[str, str]]]
"""Body -> the pairs of markers whose distances say how large it is."""


def scale_to_markers(osim: bytes, static: bytes, pairs: Pairs, span: tuple[float, float]) -> bytes:
    """Scales a model with OpenSim's ScaleTool (its ModelScaler) to a `.trc` of quiet standing, in a folder of its own.

    Raises:
        InputError: OpenSim cannot scale it by this file.
    """
    measurements = opensim.MeasurementSet()
    for body, of_body in pairs.items():
        measurement, scale = opensim.Measurement(), opensim.BodyScale()
        measurement.setName(body)
        scale.setName(body)
        axes = opensim.ArrayStr()
        for axis in "XYZ":
            axes.append(axis)
        scale.setAxisNames(axes)
        measurement.getBodyScaleSet().cloneAndAppend(scale)
        for one, other in of_body:
            measurement.getMarkerPairSet().cloneAndAppend(opensim.MarkerPair(one, other))
        measurements.cloneAndAppend(measurement)
    with _task_folder(osim, static) as (model, folder):
        scaler, order, times = opensim.ModelScaler(), opensim.ArrayStr(), opensim.ArrayDouble()
        order.append("measurements")
        for time in span:
            times.append(time)
        scaler.setMeasurementSet(measurements)
        scaler.setScalingOrder(order)
        scaler.setTimeRange(times)
        scaler.setMarkerFileName(str(folder / "markers.trc"))
        scaler.setOutputModelFileName(str(folder / "scaled.osim"))
        scaler.setPrintResultFiles(True)
        if not scaler.processModel(model):
            raise RuntimeError("its ModelScaler says no")
        return (folder / "scaled.osim").read_bytes()


def inverse_kinematics(osim: bytes, markers: bytes, names: Sequence[str]) -> bytes:
    """Runs OpenSim's InverseKinematicsTool on a `.trc`, all named markers alike, in a folder of its own -> `.mot`.

    Raises:
        InputError: OpenSim cannot solve it.
    """
    with _task_folder(osim, markers) as (model, folder):
        tool, tasks = opensim.InverseKinematicsTool(), opensim.IKTaskSet()
        for name in names:
            task = opensim.IKMarkerTask()
            task.setName(name)
            task.setApply(True)
            task.setWeight(1.0)
            tasks.cloneAndAppend(task)
        tool.setModel(model)
        tool.set_IKTaskSet(tasks)
        tool.setMarkerDataFileName(str(folder / "markers.trc"))
        tool.setOutputMotionFileName(str(folder / "out.mot"))
        tool.setResultsDir(str(folder))
        tool.set_report_errors(False)
        if not tool.run():
            raise RuntimeError("its InverseKinematicsTool says no")
        return (folder / "out.mot").read_bytes()


_OUTPUT = threading.Lock()


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps what OpenSim's tools print of a model, whatever its logger says, out of the program's own output."""
    with _OUTPUT:
        sys.stdout.flush()
        kept = os.dup(1)
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


@contextmanager
def _task_folder(osim: bytes, markers: bytes) -> Iterator[tuple[Any, Path]]:
    """Lends a model without forces and a private folder with its markers; says whose fault a failure is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "markers.trc").write_bytes(markers)
        model = _load(osim)[0]
        try:
            with _silent():
                yield model, folder
        except (RuntimeError, OSError) as error:
            raise InputError(
                ".trc",
                f"OpenSim's tools cannot use it ({_first_line(error)})",
                "Check that its markers carry the model's names and stay in view",
            ) from error


def write_osim(spec: SkeletonSpec, scale: Array | None, name: str = "kineforge") -> bytes:
    """Writes a scaled `.osim` from the spec alone; it poses as `OsimModel(…, scale)` does.

    Bodies get a mass of 1 kg: a spec holds kinematics only.
    """
    return model_xml(spec, name=name, scale=None if scale is None else check_scale(scale, spec))


class OsimModel:
    """OpenSim's own forward kinematics of one model, scaled or not: the reference, and the maker of labels.

    Coordinates are set without `assemble` (10 ms a pose); coupled ones are computed here.
    """

    def __init__(self, osim: bytes, scale: Array | None = None) -> None:
        # OpenSim refuses to scale couplers of translations non-uniformly; here the spec couples.
        self._model, self._state = _load(osim, couplers=scale is None)
        self.spec = read_skeleton(osim)
        """Of the unscaled model."""
        self.scale = None if scale is None else check_scale(scale, self.spec)
        """(b, 3), None for the model as it is."""
        if scale is not None:
            self._state = _apply_scale(self._model, self._state, self.spec, scale)
        self._coordinates = list(_each(self._model.getCoordinateSet()))
        for coordinate in self._coordinates:
            coordinate.setLocked(self._state, False)
            coordinate.setClamped(self._state, False)
        bodies, joints = self._model.getBodySet(), self._model.getJointSet()
        self._bodies = [bodies.get(name) for name in self.spec.body_names]
        self._centres = [joints.get(name).getChildFrame() for name in self.spec.joint_names]
        self._markers = list(_each(self._model.getMarkerSet()))

    def pose(self, q: Array) -> Pose:
        """Poses the model at q (c), rad and m; the entries of coupled coordinates are overwritten.

        Raises:
            ValueError: q has the wrong length or is not finite.
        """
        q = np.asarray(q, dtype=np.float64)
        if q.shape != (len(self._coordinates),) or not np.all(np.isfinite(q)):
            raise ValueError(f"q must be {len(self._coordinates)} finite numbers, not {q}")
        state, coupled = self._state, self.spec.couple(q, self.scale)
        for coordinate, value in zip(self._coordinates, coupled, strict=True):
            coordinate.setValue(state, float(value), False)
        self._model.realizePosition(state)
        return Pose(
            np.array([_matrix(b.getTransformInGround(state)) for b in self._bodies]),
            np.array([_vec3(f.getPositionInGround(state)) for f in self._centres]).reshape(-1, 3),
            np.array([_vec3(m.getLocationInGround(state)) for m in self._markers]).reshape(-1, 3),
        )


def _matrix(transform: Any) -> Array:
    matrix, rotation, origin = np.eye(4), transform.R(), transform.p()
    matrix[:3, :3] = [[rotation.get(r, c) for c in range(3)] for r in range(3)]
    matrix[:3, 3] = _vec3(origin)
    return matrix
