"""The diff of skeletons: empty exactly where the fingerprints agree, and told in the words of the `.osim`."""

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from skeleton_changes import varied_skeleton
from tiny_skeleton import tiny_skeleton

from schemas.curves import Curve
from schemas.skeleton import Coupler, Offset, SkeletonSpec
from schemas.skeleton_diff import MOST, Difference, diff
from workers.osim import read_model, read_skeleton, write_osim

SPEC = tiny_skeleton()


def item(group: str, name: str, /, **fields: Any) -> SkeletonSpec:
    """The tiny skeleton with some fields of one of its things replaced."""
    items = [replace(i, **fields) if i.name == name else i for i in getattr(SPEC, group)]
    return replace(SPEC, **{group: tuple(items)})


def axis(**fields: Any) -> SkeletonSpec:
    hip = next(j for j in SPEC.joints if j.name == "hip_r")
    return item("joints", "hip_r", axes=(replace(hip.axes[0], **fields), *hip.axes[1:]))


SAID: list[tuple[SkeletonSpec, str]] = [
    (
        item("coordinates", "knee_angle_r", upper=np.radians(120)),
        "coordinate knee_angle_r: range 0 … 131.8° -> 0 … 120°",
    ),
    (
        item("coordinates", "pelvis_ty", default=0.95),
        "coordinate pelvis_ty: default_value 0.9 m -> 0.95 m",
    ),
    (
        item("coordinates", "knee_angle_r", locked=True),
        "coordinate knee_angle_r: locked false -> true",
    ),
    (
        item("coordinates", "knee_angle_r_beta", coupler=None),
        "coordinate knee_angle_r_beta: coupler LinearFunction(0.4, 0) of knee_angle_r -> none",
    ),
    (
        item("coordinates", "knee_angle_r", kind="coupled"),
        "coordinate knee_angle_r: kind rotational -> coupled, default_value 0° -> 0, "
        "range 0 … 131.8° -> 0 … 2.3",
    ),
    (item("joints", "hip_r", parent="torso"), "joint hip_r: parent pelvis -> torso"),
    (
        item("joints", "hip_r", parent_frames=(Offset(translation=(-0.06, -0.08, 0.092)),)),
        "joint hip_r: parent frame translation moved by 12 mm, (-60, -80, 80) -> (-60, -80, 92)",
    ),
    (
        item("joints", "hip_r", child_frames=(Offset(orientation=(0.0, 0.0, np.radians(5))),)),
        "joint hip_r: child frame orientation (0, 0, 0) -> (0, 0, 5)°",
    ),
    (
        item("joints", "hip_r", parent_frames=()),
        "joint hip_r: parent frame (-60, -80, 80) mm (0, 0, 0)° -> none",
    ),
    (
        axis(direction=(0.0, 0.6, 0.8)),
        "joint hip_r: rotation1 axis turned by 36.87°, (0, 0, 1) -> (0, 0.6, 0.8)",
    ),
    (
        axis(curve=Curve(kind="linear", coefficients=(-1.0, 0.0))),
        "joint hip_r: rotation1 function LinearFunction(1, 0) -> LinearFunction(-1, 0)",
    ),
    (
        axis(curve=Curve(kind="linear", coefficients=(1.0, 0.0), factor=2.0)),
        "joint hip_r: rotation1 function factor 1 -> 2",
    ),
    (
        axis(curve=Curve(kind="spline", x=(0.0, 1.0), y=(0.0, 1.0), slopes=(1.0, 1.0))),
        "joint hip_r: rotation1 function LinearFunction(1, 0) -> SimmSpline of 2 points",
    ),
    (
        item("markers", "RKNE", location=(0.0, -0.41, 0.0600001)),
        "marker RKNE: location moved by 0.0001 mm, (0, -410, 60) -> (0, -410, 60.0001)",
    ),
    (item("markers", "RKNE", body="tibia_r"), "marker RKNE: body femur_r -> tibia_r"),
    (replace(SPEC, markers=SPEC.markers[1:]), "marker RTHI: removed"),
]


class TestWords:
    @pytest.mark.parametrize(("new", "said"), SAID)
    def test_one_change_is_one_line(self, new: SkeletonSpec, said: str) -> None:
        assert diff(SPEC, new).lines == (said,)

    def test_directions_differ(self) -> None:
        added = diff(replace(SPEC, markers=SPEC.markers[1:]), SPEC)
        assert added.lines == ("marker RTHI: added",)

    def test_reordered_things_are_one_line(self) -> None:
        said = diff(SPEC, replace(SPEC, markers=SPEC.markers[::-1])).lines
        assert said == ("marker C7: in another order, here where RTHI was (place 1)",)

    def test_renamed_coordinate_is_named_where_it_moves_a_joint(self) -> None:
        said = diff(SPEC, item("coordinates", "hip_flexion_r", name="flexion")).lines
        assert said == (
            "coordinate hip_flexion_r: removed",
            "coordinate flexion: added",
            "joint hip_r: rotation1 coordinates hip_flexion_r -> flexion",
        )

    def test_a_coordinate_more_changes_no_other_joint(self) -> None:
        """Axes hold places of coordinates, which one more before them shifts."""
        extra = replace(SPEC.coordinates[-1], name="extra")

        joints = tuple(
            replace(
                j,
                axes=tuple(
                    replace(a, coordinates=tuple(i + 1 for i in a.coordinates)) for a in j.axes
                ),
            )
            for j in SPEC.joints
        )
        moved = tuple(
            replace(
                c,
                coupler=replace(
                    c.coupler, independents=tuple(i + 1 for i in c.coupler.independents)
                ),
            )
            if c.coupler
            else c
            for c in SPEC.coordinates
        )
        said = diff(SPEC, replace(SPEC, joints=joints, coordinates=(extra, *moved))).lines
        assert said == ("coordinate extra: added",)

    def test_spline_is_compared_knot_by_knot(self) -> None:
        spec = varied_skeleton()
        joint = spec.joints[1]
        curve = joint.axes[0].curve
        bent = replace(curve, y=(*curve.y[:-1], curve.y[-1] + 0.25))
        axes = (replace(joint.axes[0], curve=bent), *joint.axes[1:])
        said = diff(spec, replace(spec, joints=(spec.joints[0], replace(joint, axes=axes)))).lines
        assert said[0].endswith("function SimmSpline of 3 points: y 1 of 3 by up to 0.25")

    def test_gcv_splines_are_compared_number_by_number(self) -> None:
        rows = ((0.0, 1.0), (0.5, -1.0), (0.0, 0.0))
        straight = Curve(kind="gcv_spline", x=(0.0, 0.5, 1.0), y=(0.0, 0.5, 0.0), rows=rows)
        bent = replace(straight, y=(0.0, 0.75, 0.0), rows=((0.0, 1.5), (0.75, -1.5), (0.0, 0.0)))
        said = diff(axis(curve=straight), axis(curve=bent)).lines
        assert said[0].endswith(
            "GCVSpline of degree 1 of 3 points: y 1 of 3 by up to 0.25, rows 3 of 6 by up to 0.5"
        )
        cubic = replace(straight, rows=((0.0, 1.0, 0.0, 0.0),) * 3)
        said = diff(axis(curve=straight), axis(curve=cubic)).lines
        assert said[0].endswith("of degree 1 of 3 points -> GCVSpline of degree 3 of 3 points")

    def test_new_coupler_names_what_it_follows(self) -> None:
        coupler = Coupler(independents=(0,), curve=Curve(kind="linear", coefficients=(2.0, 0.0)))
        said = diff(SPEC, item("coordinates", "mtp_angle_r", coupler=coupler)).lines
        assert said == (
            "coordinate mtp_angle_r: coupler none -> LinearFunction(2, 0) of pelvis_tilt",
        )


class TestWhole:
    def test_equal_skeletons_have_none(self) -> None:
        found = diff(SPEC, tiny_skeleton())
        assert not found
        assert str(found) == "no difference"
        assert found == Difference()

    def test_other_writing_is_no_difference(self) -> None:
        assert not diff(SPEC, item("joints", "hip_r", child_frames=()))
        hip = next(j for j in SPEC.joints if j.name == "hip_r")
        round_ = replace(hip.axes[0], direction=(0.0, 0.0, -1.0))
        round_ = replace(round_, curve=Curve(kind="linear", coefficients=(-1.0, 0.0)))
        still = replace(hip.axes[2], direction=(0.0, 0.6, 0.8))
        axes = (round_, hip.axes[1], still, *hip.axes[3:])
        assert not diff(SPEC, item("joints", "hip_r", axes=axes))

    def test_negative_zero_is_no_difference(self) -> None:
        first = SPEC.joints[0].parent_frames[0]
        minus = replace(first, translation=(-0.0, 0.0, -0.0))
        assert not diff(SPEC, item("joints", "ground_pelvis", parent_frames=(minus,)))

    def test_long_lists_are_cut(self) -> None:
        spec = read_skeleton(read_model("default"))
        scaled = read_skeleton(write_osim(spec, np.full((spec.sizes.b, 3), 1.1)))
        found = diff(spec, scaled)
        assert len(found) > MOST
        assert len(str(found).splitlines()) == MOST + 1
        assert str(found).endswith(f"and {len(found) - MOST} more")
        assert len(found.short(3)) < 500
        assert found.short(3).endswith(f"and {len(found) - 3} more")

    def test_frozen(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            diff(SPEC, SPEC).joints = ()  # type: ignore[misc]

    @pytest.mark.parametrize("make", [tiny_skeleton, varied_skeleton])
    def test_text_makes_no_difference(self, make: Callable[[], SkeletonSpec]) -> None:
        assert not diff(make(), SkeletonSpec.from_json(make().to_json()))
