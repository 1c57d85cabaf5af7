"""What an OpenSim model says about kinematics, and nothing else, as plain frozen data.

Dims: c = coordinate, b = body (ground is none), j = joint, m = marker. Units m and rad; OpenSim's frames.
A joint is six axes, whatever its OpenSim class: with P the parent body, B the child body, F and M the joint's
frames on them,

    T_P_from_B = T_P_from_F · [R1 R2 R3 | t1 + t2 + t3] · inverse(T_B_from_M)

where R_i turns about axis i and t_i moves along axis i, each by its curve's value (Seth et al. 2010, OpenSim's
CustomJoint). Three classes make their middle factor, T_F_from_M, otherwise: these have a `shape`, and the axes' values
are its arguments. Joint i carries body i.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from schemas.curves import Curve
from schemas.errors import InputError
from schemas.formulas import Formula
from schemas.layout import Sizes
from schemas.shapes import Shape
from schemas.skeleton_identity import canonical

Array = NDArray[np.float64]
Vec3 = tuple[float, float, float]
Function = Annotated[Curve | Formula, Field(discriminator="kind")]
"""What an axis or a coupler follows."""
GROUND = "ground"
CoordinateKind = Literal["rotational", "translational", "coupled"]
"""`coupled`: moves both ways; `.mot` files keep such columns in radians and metres."""


@dataclass(frozen=True, kw_only=True)
class Offset:
    """A frame fixed in another, as a `PhysicalOffsetFrame`."""

    translation: Vec3 = (0.0, 0.0, 0.0)
    orientation: Vec3 = (0.0, 0.0, 0.0)
    """Body-fixed X-Y-Z angles."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One of a joint's six axes."""

    direction: Vec3
    """Unit vector: of a rotation in the frame the preceding rotations left, of a translation in the parent's frame."""
    curve: Function
    coordinates: tuple[int, ...] = ()
    """What the curve is a function of, in the order of its arguments; none for most constants."""
    scales: bool = False
    """Whether `Model.scale` multiplies the curve by |direction| · (scale of the parent body), absolute components;
    where the joint is reversed, that is the child."""
    written: Vec3 | None = None
    """The direction in the model's own length, where that is not 1: `Model.scale` multiplies by this one."""

    @property
    def stretch(self) -> Array:
        """What the scale's components weigh (3) in the factor that multiplies the curve; 0 if it does not scale."""
        return np.abs(self.written or self.direction) * self.scales


@dataclass(frozen=True, kw_only=True)
class Joint:
    """The joint that carries the child body."""

    name: str
    parent: str
    child: str
    parent_frames: tuple[Offset, ...]
    """From the parent body outwards, each in the one before; usually one."""
    child_frames: tuple[Offset, ...]
    axes: tuple[Axis, Axis, Axis, Axis, Axis, Axis]
    shape: Annotated[Shape, Field(discriminator="kind")] | None = None
    """None for a joint that its axes describe; else the axes' values are the arguments of the shape."""
    reverse: bool = False
    """True where the model names this child as the joint's parent: its axes and shape then make T_M_from_F, and its
    centre is F's origin. (The tree grows from ground, whatever the model says.)"""


@dataclass(frozen=True, kw_only=True)
class Coupler:
    """Makes a coordinate a function of others."""

    independents: tuple[int, ...]
    curve: Function


@dataclass(frozen=True, kw_only=True)
class Coordinate:
    """One generalised coordinate."""

    name: str
    kind: CoordinateKind
    lower: float
    upper: float
    default: float
    locked: bool = False
    coupler: Coupler | None = None


@dataclass(frozen=True, kw_only=True)
class Marker:
    """A point fixed to a body, or to `ground`."""

    name: str
    body: str
    location: Vec3
    """In the body, or in the last of `frames`."""
    frames: tuple[Offset, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SkeletonSpec:
    """The kinematics of a model: joints in tree order, coordinates and markers in the model's own order."""

    joints: tuple[Joint, ...]
    coordinates: tuple[Coordinate, ...]
    markers: tuple[Marker, ...] = ()

    def __post_init__(self) -> None:
        seen = {GROUND}
        for joint in self.joints:
            if joint.parent not in seen or joint.child in seen:
                raise ValueError(f"joint {joint.name} is out of tree order or closes a loop")
            seen.add(joint.child)
        if loose := [m.name for m in self.markers if m.body not in seen]:
            raise ValueError(f"markers {loose} are on bodies that do not exist")
        used = [(a.curve, a.coordinates) for j in self.joints for a in j.axes]
        couplers = [c.coupler for c in self.coordinates if c.coupler]
        used += [(c.curve, c.independents) for c in couplers]
        if any(not 0 <= i < len(self.coordinates) for _, on in used for i in on):
            raise ValueError("an axis or coupler names a coordinate that does not exist")
        if any(_arguments(curve) > len(on) for curve, on in used):
            raise ValueError("a function has more arguments than coordinates")
        for names in (self.joint_names, self.coordinate_names, self.marker_names):
            if twice := {n for n in names if names.count(n) > 1}:
                raise ValueError(f"names are used twice: {sorted(twice)}")
        try:
            self.to_json()
        except ValueError as error:
            raise ValueError("a number is not finite") from error
        if len(self.coupler_order) < sum(c.coupler is not None for c in self.coordinates):
            raise ValueError("couplers depend on each other in a circle")

    @cached_property
    def body_names(self) -> tuple[str, ...]:
        """Bodies without ground; body i is carried by joint i."""
        return tuple(j.child for j in self.joints)

    @cached_property
    def joint_names(self) -> tuple[str, ...]:
        """Joints in tree order."""
        return tuple(j.name for j in self.joints)

    @cached_property
    def coordinate_names(self) -> tuple[str, ...]:
        """Coordinates in the model's order: the meaning of q."""
        return tuple(c.name for c in self.coordinates)

    @cached_property
    def marker_names(self) -> tuple[str, ...]:
        """Markers in the model's order."""
        return tuple(m.name for m in self.markers)

    @property
    def root_body(self) -> str:
        """The first body that hangs on ground."""
        return next(j.child for j in self.joints if j.parent == GROUND)

    @property
    def sizes(self) -> Sizes:
        """The counts that give the stored arrays their shapes."""
        return Sizes(
            c=len(self.coordinates), b=len(self.joints), j=len(self.joints), m=len(self.markers)
        )

    @cached_property
    def parents(self) -> tuple[int, ...]:
        """Index of each body's parent body, -1 for ground."""
        index = {GROUND: -1} | {name: i for i, name in enumerate(self.body_names)}
        return tuple(index[j.parent] for j in self.joints)

    @cached_property
    def scaled_by(self) -> tuple[tuple[int, int], ...]:
        """Per joint the bodies that the model calls its parent and its child, -1 for ground."""
        pairs = zip(self.parents, self.joints, strict=True)
        return tuple((i, p) if j.reverse else (p, i) for i, (p, j) in enumerate(pairs))

    @cached_property
    def coupler_order(self) -> tuple[int, ...]:
        """Coupled coordinates, each after those it depends on."""
        waiting = {i: c.coupler.independents for i, c in enumerate(self.coordinates) if c.coupler}
        order: list[int] = []
        while ready := [i for i, on in waiting.items() if not waiting.keys() & set(on)]:
            order += ready
            for i in ready:
                del waiting[i]
        return tuple(order)

    @cached_property
    def free(self) -> tuple[int, ...]:
        """Coordinates that no coupler decides."""
        return tuple(i for i, c in enumerate(self.coordinates) if c.coupler is None)

    def default_pose(self) -> Array:
        """Returns the default q (c), couplers applied."""
        return self.couple(np.array([c.default for c in self.coordinates]))

    @cached_property
    def coupler_scale(self) -> dict[int, tuple[int, Vec3]]:
        """Per coupled coordinate: a body (-1 for ground) and the weights of its scale; 0 where it does not scale.

        OpenSim multiplies a coupled translation by the uniform scale of the joint's parent and refuses a
        non-uniform one; the squares of the direction carry that over to any scale.
        """
        found = dict.fromkeys(self.coupler_order, (-1, (0.0, 0.0, 0.0)))
        for (parent, _), joint in zip(self.scaled_by, self.joints, strict=True):
            for axis in joint.axes[3:]:
                for i in axis.coordinates:
                    if i in found and self.coordinates[i].kind == "translational":
                        x, y, z = axis.direction
                        found[i] = (parent, (x * x, y * y, z * z))
        return found

    def coupler_factor(self, coordinate: int, scale: Array | None) -> float:
        """Returns what scaling the bodies by (b, 3) multiplies a coupler by."""
        parent, weights = self.coupler_scale[coordinate]
        if scale is None or parent < 0 or not any(weights):
            return 1.0
        return float(np.dot(weights, scale[parent]))

    def couple(self, q: Array, scale: Array | None = None) -> Array:
        """Returns q (…, c) with every coupled coordinate overwritten by its coupler, bodies scaled by (b, 3)."""
        q = np.array(q, dtype=np.float64)
        for i in self.coupler_order:
            coupler = self.coordinates[i].coupler
            if coupler is not None:
                value = coupler.curve(*(q[..., on] for on in coupler.independents))
                q[..., i] = self.coupler_factor(i, scale) * value
        return q

    def to_json(self) -> str:
        """Writes canonical JSON: sorted keys, no spaces, shortest exact numbers, no negative zero."""
        return json.dumps(
            _plain(asdict(self)), sort_keys=True, separators=(",", ":"), allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> "SkeletonSpec":
        """Reads what `to_json` wrote.

        Raises:
            InputError: not a skeleton.
        """
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(
                "skeleton", f"{where or 'text'}: {first['msg']}", "Write it again from its .osim"
            ) from error

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of what the skeleton is, whichever way it was written: see schemas/skeleton_identity.py."""
        text = json.dumps(canonical(asdict(self)), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _arguments(curve: Curve | Formula) -> int:
    """How many coordinates a function needs at least."""
    if isinstance(curve, Formula):
        return curve.arguments
    return int(curve.kind != "constant")


def _plain(value: object) -> object:
    """Turns negative zeros into zeros, at any depth."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value + 0.0 if isinstance(value, float) else value


def rotation_xyz(orientation: Vec3) -> Array:
    """Returns R_outer_from_inner (3, 3) of body-fixed X-Y-Z angles: Rx · Ry · Rz."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(orientation), np.sin(orientation)
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    result: Array = rx @ ry @ rz
    return result


def euler_xyz(rotation: Array) -> Vec3:
    """Returns the body-fixed X-Y-Z angles of R_outer_from_inner (3, 3); `rotation_xyz` undoes it."""
    y = float(np.arctan2(rotation[0, 2], np.hypot(rotation[0, 0], rotation[0, 1])))
    if np.hypot(rotation[0, 0], rotation[0, 1]) < 1e-12:  # x and z turn about one line: all in x
        return (float(np.arctan2(rotation[2, 1], rotation[1, 1])), y, 0.0)
    x = float(np.arctan2(-rotation[1, 2], rotation[2, 2]))
    return (x, y, float(np.arctan2(-rotation[0, 1], rotation[0, 0])))


def compose(frames: tuple[Offset, ...]) -> tuple[Array, Array]:
    """Returns R_body_from_frame (3, 3) and S (3, 3): the last frame's origin in the body is S @ scale.

    OpenSim scales each offset's translation by the body's factors along that offset's own outer axes, so the
    origin is linear in the scale (3); the unscaled one is S @ (1, 1, 1).
    """
    rotation, origin_by_scale = np.eye(3), np.zeros((3, 3))
    for frame in frames:
        origin_by_scale = origin_by_scale + rotation @ np.diag(frame.translation)
        rotation = rotation @ rotation_xyz(frame.orientation)
    return rotation, origin_by_scale
