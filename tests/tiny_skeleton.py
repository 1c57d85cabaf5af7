"""A skeleton small enough to think about: pelvis, two legs with a coupled patella, a locked toe, a torso."""

from schemas.curves import IDENTITY, ZERO, Curve
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

_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
Moved = tuple[int, Vec3, int]
"""Slot among a joint's six axes, direction, coordinate."""


def _axes(*moved: Moved) -> tuple[Axis, Axis, Axis, Axis, Axis, Axis]:
    still = [Axis(direction=d, curve=ZERO) for d in (_X, _Y, _Z, _X, _Y, _Z)]
    for slot, direction, coordinate in moved:
        still[slot] = Axis(direction=direction, curve=IDENTITY, coordinates=(coordinate,))
    a, b, c, d, e, f = still
    return a, b, c, d, e, f


def tiny_skeleton() -> SkeletonSpec:
    """Makes it; coordinates are named as in the Rajagopal family."""
    coordinates: list[Coordinate] = []
    joints: list[Joint] = []

    def coordinate(
        name: str,
        lower: float,
        upper: float,
        kind: CoordinateKind = "rotational",
        default: float = 0.0,
        locked: bool = False,
        coupler: Coupler | None = None,
    ) -> int:
        coordinates.append(
            Coordinate(
                name=name,
                kind=kind,
                lower=lower,
                upper=upper,
                default=default,
                locked=locked,
                coupler=coupler,
            )
        )
        return len(coordinates) - 1

    def joint(name: str, parent: str, child: str, at: Vec3, *moved: Moved) -> None:
        joints.append(
            Joint(
                name=name,
                parent=parent,
                child=child,
                parent_frames=(Offset(translation=at),),
                child_frames=(Offset(),),
                axes=_axes(*moved),
            )
        )

    tilt, lean, turn = (coordinate(f"pelvis_{n}", -3.2, 3.2) for n in ("tilt", "list", "rotation"))
    tx, ty, tz = (
        coordinate(f"pelvis_t{n}", -5.0, 5.0, "translational", 0.9 if n == "y" else 0.0)
        for n in "xyz"
    )
    joint(
        "ground_pelvis",
        "ground",
        "pelvis",
        (0.0, 0.0, 0.0),
        *((0, _Z, tilt), (1, _X, lean), (2, _Y, turn), (3, _X, tx), (4, _Y, ty), (5, _Z, tz)),
    )
    bend = coordinate("lumbar_extension", -1.5, 0.5)
    joint("back", "pelvis", "torso", (-0.1, 0.08, 0.0), (0, _Z, bend))
    for side, sign in (("r", 1.0), ("l", -1.0)):
        flexion = coordinate(f"hip_flexion_{side}", -0.5, 2.1)
        adduction = coordinate(f"hip_adduction_{side}", -0.9, 0.5)
        knee = coordinate(f"knee_angle_{side}", 0.0, 2.3)
        coupler = Coupler(independents=(knee,), curve=Curve(kind="linear", coefficients=(0.4, 0.0)))
        beta = coordinate(f"knee_angle_{side}_beta", 0.0, 2.3, coupler=coupler)
        ankle = coordinate(f"ankle_angle_{side}", -0.7, 0.5)
        toe = coordinate(f"mtp_angle_{side}", -0.5, 0.5, locked=True)
        hip = ((0, _Z, flexion), (1, (sign, 0.0, 0.0), adduction))
        back = (0.0, 0.0, -1.0)
        joint(f"hip_{side}", "pelvis", f"femur_{side}", (-0.06, -0.08, 0.08 * sign), *hip)
        at_knee = (0.0, -0.41, 0.0)
        joint(f"walker_knee_{side}", f"femur_{side}", f"tibia_{side}", at_knee, (0, back, knee))
        joint(
            f"patellofemoral_{side}", f"femur_{side}", f"patella_{side}", at_knee, (0, back, beta)
        )
        joint(f"ankle_{side}", f"tibia_{side}", f"calcn_{side}", (0.0, -0.42, 0.0), (0, _Z, ankle))
        joint(f"mtp_{side}", f"calcn_{side}", f"toes_{side}", (0.18, -0.04, 0.0), (0, back, toe))
    markers = [
        Marker(name=f"{side.upper()}{name}", body=f"{body}_{side}", location=(x, y, z * sign))
        for side, sign in (("r", 1.0), ("l", -1.0))
        for name, body, x, y, z in (
            ("THI", "femur", 0.08, -0.2, 0.04),
            ("KNE", "femur", 0.0, -0.41, 0.06),
            ("ANK", "tibia", 0.0, -0.42, 0.05),
            ("HEE", "calcn", -0.05, -0.06, 0.0),
            ("TOE", "toes", 0.05, -0.02, 0.0),
        )
    ]
    markers.append(Marker(name="C7", body="torso", location=(-0.05, 0.45, 0.0)))
    return SkeletonSpec(
        joints=tuple(joints), coordinates=tuple(coordinates), markers=tuple(markers)
    )
