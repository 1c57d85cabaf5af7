"""SkeletonSpec: canonical text, fingerprint, refusals; curves: OpenSim's forms without OpenSim."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_skeleton import tiny_skeleton

from schemas.curves import IDENTITY, Curve
from schemas.errors import InputError
from schemas.skeleton import Coupler, Offset, SkeletonSpec, compose, euler_xyz, rotation_xyz

SPEC = tiny_skeleton()
angle = st.floats(-3.1, 3.1)


class TestIdentity:
    def test_text_returns_the_same_spec(self) -> None:
        again = SkeletonSpec.from_json(SPEC.to_json())
        assert again == SPEC
        assert again.fingerprint == SPEC.fingerprint

    def test_negative_zero_is_zero(self) -> None:
        first = SPEC.markers[0]
        plus = replace(SPEC, markers=(replace(first, location=(0.0, 0.1, 0.2)),))
        minus = replace(SPEC, markers=(replace(first, location=(-0.0, 0.1, 0.2)),))
        assert plus.fingerprint == minus.fingerprint

    def test_fingerprint_follows_kinematics(self) -> None:
        marker, coordinate, joint = SPEC.markers[0], SPEC.coordinates[-1], SPEC.joints[-1]
        axis = replace(joint.axes[0], direction=(0.0, 0.6, 0.8))
        changed = [
            replace(SPEC, markers=(replace(marker, location=(9.0, 0.0, 0.0)), *SPEC.markers[1:])),
            replace(SPEC, coordinates=(*SPEC.coordinates[:-1], replace(coordinate, upper=9.0))),
            replace(SPEC, joints=(*SPEC.joints[:-1], replace(joint, axes=(axis, *joint.axes[1:])))),
        ]
        assert len({SPEC.fingerprint, *(spec.fingerprint for spec in changed)}) == 4

    @pytest.mark.parametrize("text", ["", "{}", '{"joints": 3}', "[1, 2", '{"joints":[],"x":1}'])
    def test_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(InputError, match="skeleton"):
            SkeletonSpec.from_json(text)


class TestConsistency:
    def test_child_before_parent_is_refused(self) -> None:
        with pytest.raises(ValueError, match="tree order"):
            replace(SPEC, joints=SPEC.joints[::-1])

    def test_loose_marker_is_refused(self) -> None:
        with pytest.raises(ValueError, match="do not exist"):
            replace(SPEC, markers=(replace(SPEC.markers[0], body="tail"),))

    def test_same_name_twice_is_refused(self) -> None:
        with pytest.raises(ValueError, match="twice"):
            replace(SPEC, markers=(SPEC.markers[0], SPEC.markers[0]))

    def test_number_that_is_none_is_refused(self) -> None:
        with pytest.raises(ValueError, match="finite"):
            replace(SPEC, markers=(replace(SPEC.markers[0], location=(np.nan, 0.0, 0.0)),))

    def test_couplers_in_a_circle_are_refused(self) -> None:
        first, second = SPEC.coordinates[:2]
        circle = (
            replace(first, coupler=Coupler(independents=(1,), curve=IDENTITY)),
            replace(second, coupler=Coupler(independents=(0,), curve=IDENTITY)),
        )
        with pytest.raises(ValueError, match="circle"):
            replace(SPEC, coordinates=(*circle, *SPEC.coordinates[2:]))

    def test_chained_couplers_follow_their_order(self) -> None:
        double = Curve(kind="linear", coefficients=(2.0, 0.0))
        first, second = SPEC.coordinates[:2]
        chain = (
            replace(first, coupler=Coupler(independents=(1,), curve=double)),
            replace(second, coupler=Coupler(independents=(2,), curve=double)),
        )
        q = replace(SPEC, coordinates=(*chain, *SPEC.coordinates[2:])).couple(
            np.ones(len(SPEC.coordinates))
        )
        np.testing.assert_allclose(q[:3], [4.0, 2.0, 1.0])


class TestFrames:
    @given(x=angle, y=st.floats(-1.57, 1.57), z=angle)
    def test_angles_return(self, x: float, y: float, z: float) -> None:
        rotation = rotation_xyz((x, y, z))
        np.testing.assert_allclose(rotation_xyz(euler_xyz(rotation)), rotation, atol=1e-9)

    def test_angles_return_where_two_axes_fall_together(self) -> None:
        rotation = rotation_xyz((0.4, np.pi / 2, 0.3))
        np.testing.assert_allclose(rotation_xyz(euler_xyz(rotation)), rotation, atol=1e-9)

    def test_origin_of_a_chain_is_linear_in_scale(self) -> None:
        chain = (
            Offset(translation=(1.0, 2.0, 3.0), orientation=(0.1, 0.2, 0.3)),
            Offset(translation=(0.5, 0.0, 0.0)),
        )
        rotation, by_scale = compose(chain)
        scale = np.array([2.0, 1.0, 0.5])
        expected = scale * [1.0, 2.0, 3.0] + rotation_xyz((0.1, 0.2, 0.3)) @ (scale * [0.5, 0, 0])
        np.testing.assert_allclose(by_scale @ scale, expected)
        np.testing.assert_allclose(rotation, rotation_xyz((0.1, 0.2, 0.3)))


class TestCurve:
    def test_polynomial_takes_the_highest_power_first(self) -> None:
        curve = Curve(kind="polynomial", coefficients=(2.0, -1.0, 3.0), factor=0.5)
        np.testing.assert_allclose(curve([0.0, 2.0]), [1.5, 4.5])

    def test_spline_keeps_a_cubic(self) -> None:
        x = np.array([-1.0, 0.0, 0.5, 2.0])
        curve = Curve(
            kind="spline", x=tuple(x), y=tuple(x**3 - x), slopes=tuple(3 * x**2 - 1), factor=2.0
        )
        inside = np.linspace(-1.0, 2.0, 31)
        np.testing.assert_allclose(curve(inside), 2 * (inside**3 - inside), atol=1e-12)

    def test_spline_goes_on_straight(self) -> None:
        curve = Curve(kind="spline", x=(0.0, 1.0), y=(0.0, 2.0), slopes=(1.0, 3.0))
        np.testing.assert_allclose(curve([-2.0, 3.0]), [-2.0, 8.0])

    def test_piecewise_linear_goes_on_with_its_outer_slopes(self) -> None:
        curve = Curve(kind="piecewise_linear", x=(0.0, 1.0, 3.0), y=(0.0, 2.0, 0.0))
        np.testing.assert_allclose(curve([-1.0, 0.5, 2.0, 4.0]), [-2.0, 1.0, 1.0, -1.0])

    @pytest.mark.parametrize(
        "fields",
        [
            {"kind": "linear"},
            {"kind": "spline", "x": (0.0, 1.0), "y": (0.0, 1.0)},
            {"kind": "piecewise_linear", "x": (0.0, 0.0), "y": (0.0, 1.0)},
            {"kind": "piecewise_linear", "x": (0.0,), "y": (0.0,)},
            {"kind": "constant", "coefficients": (float("nan"),)},
        ],
    )
    def test_impossible_curves_are_refused(self, fields: dict[str, object]) -> None:
        with pytest.raises(ValueError):
            Curve(**fields)  # type: ignore[arg-type]
