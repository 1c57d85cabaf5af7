"""Reading, scaling and writing OpenSim models."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from xml.sax.saxutils import escape

import model_zoo as zoo
import numpy as np
import opensim
import osim_text as text
import pytest

from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec
from workers.osim import (
    OsimModel,
    _curve,
    missing_meshes,
    read_model,
    read_skeleton,
    scaled_osim,
    write_osim,
)

pytestmark = pytest.mark.filterwarnings("ignore:constraints are ignored")
ZOO = zoo.ALL
STILL = text.transform({})
LOOSE = [
    text.joint("Pin", "j", "A B", "b"),
    text.joint("Pin", "k", "A C", "c"),
    text.joint("Pin", "l", "C D", "d"),
    text.joint("Weld", "m", "B C"),
]
BACKWARDS = text.joint("Scapulothoracic", "j", "B A", "s t u v", text.SHAPES["Scapulothoracic"][1])
WRITTEN_OTHERWISE = ("nested_frames", "deep_frames", "gcv_smooth", "mixed", "trees")
WRITTEN_OTHERWISE += ("loop", "welded_loop")
"""Nested frames are written as the one that they make up, a smoothing spline through other points, trees in order."""


def random_scale(spec: SkeletonSpec, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.7, 1.4, (len(spec.body_names), 3))


def largest_difference(one: OsimModel, other: OsimModel, rng: np.random.Generator) -> float:
    """Over ten random poses, coordinates matched by name."""
    names = one.spec.coordinate_names
    order = [names.index(name) for name in other.spec.coordinate_names]
    worst = 0.0
    for _ in range(10):
        q = rng.uniform(-1.5, 1.5, len(names))
        pairs = zip(one.pose(q), other.pose(q[order]), strict=True)
        worst = max(worst, *(float(np.abs(a - b).max(initial=0.0)) for a, b in pairs))
    return worst


class TestReading:
    def test_names_keep_the_models_order(self, shared_data: Path) -> None:
        folder = shared_data / "opensim" / "opencap"
        spec = read_skeleton(read_model(str(folder / "LaiUhlrich2022.osim")))
        lines = (folder / "squats1_videoAndMocap.mot").read_text().splitlines()
        columns = next(line for line in lines if line.startswith("time")).split()
        assert list(spec.coordinate_names) == columns[1:]
        assert spec.root_body == "pelvis"
        assert (spec.sizes.c, spec.sizes.b, spec.sizes.j, spec.sizes.m) == (35, 22, 22, 43)

    def test_coupler_is_read(self, shared_data: Path) -> None:
        path = shared_data / "opensim" / "opencap" / "LaiUhlrich2022.osim"
        spec = read_skeleton(read_model(str(path)))
        beta = spec.coordinates[spec.coordinate_names.index("knee_angle_l_beta")]
        assert beta.kind == "coupled"
        assert beta.coupler is not None
        assert spec.coordinate_names[beta.coupler.independents[0]] == "knee_angle_l"

    def test_frame_that_changes_nothing_is_no_kinematics(self) -> None:
        plain = text.simple("Pin")
        assert read_skeleton(text.nested(plain)).fingerprint == read_skeleton(plain).fingerprint

    def test_other_constraints_are_named_in_one_warning(self) -> None:
        bodies = """<socket_{0}1>/bodyset/A</socket_{0}1><socket_{0}2>/bodyset/B</socket_{0}2>"""
        distance = "<constant_distance>.3</constant_distance>"
        kinds = {"Weld": ("frame", ""), "Point": ("body_", "")}
        kinds["ConstantDistance"] = ("body_", distance)
        held = "".join(
            f'<{kind}Constraint name="c{i}">{bodies.format(ends)}{more}</{kind}Constraint>'
            for i, (kind, (ends, more)) in enumerate(kinds.items())
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read_skeleton(text.custom({}, constraints=held))
        (only,) = caught
        assert "c0 (WeldConstraint), c1 (PointConstraint), c2 (Const" in str(only.message)

    def test_a_joint_that_closes_a_loop_is_named(self) -> None:
        with pytest.warns(UserWarning, match=r"k \(joint that closes a loop\)"):
            spec = read_skeleton(zoo.TREES["loop"])
        assert spec.coordinate_names[-2:] == ("c", "d")

    def test_coordinates_of_one_name_get_their_joints(self) -> None:
        names = read_skeleton(zoo.TREES["same_names"]).coordinate_names
        assert names[-3:] == ("j_b", "c", "k_b")

    def test_a_coupler_that_is_off_is_none(self) -> None:
        spec = read_skeleton(zoo.OLD["version_20302"])
        coupled = [c.name for c in spec.coordinates if c.coupler]
        assert coupled == ["beta"]

    def test_no_log_and_no_output(self, tmp_path: Path) -> None:
        root = Path(__file__).parents[1]
        code = "from workers.osim import *; m = OsimModel(read_model('default')); m.pose(m.spec.default_pose())"
        run = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(root)},
            capture_output=True,
            check=True,
        )
        assert (run.stdout, run.stderr, os.listdir(tmp_path)) == (b"", b"", [])

    def test_missing_meshes_are_listed(self, tmp_path: Path) -> None:
        mesh = "<Body name=\"A\"><attached_geometry><Mesh name='m'><mesh_file>{}</mesh_file></Mesh></attached_geometry>"
        osim = text.simple("Pin").replace(b'<Body name="A">', mesh.format("bone.vtp").encode())
        url = str(tmp_path / "model.osim")
        assert missing_meshes(osim, url) == ["bone.vtp"]
        assert read_skeleton(osim).body_names == ("A", "B")
        (tmp_path / "Geometry").mkdir()
        (tmp_path / "Geometry" / "bone.vtp").touch()
        assert missing_meshes(osim, url) == []


class TestRefusals:
    def test_unsupported_function_is_named(self) -> None:
        curve = "<ActiveForceLengthCurve name='function'/>"
        with pytest.raises(
            InputError, match="joint tested, axis 2: holds a ActiveForceLengthCurve"
        ):
            read_skeleton(text.custom({"rotation2": ("a", "1 0 0", curve)}))

    @pytest.mark.parametrize(
        ("expression", "reason"),
        [
            ("select(x, 1, 2)", "function select"),
            ("x > 1", "did not expect"),
            ("z + 1", "does not define z"),
            ("(" * 500 + "x" + ")" * 500, "too deep"),
            ("x" + "+x" * 4000, "too long"),
            ("x + 1/0", "no finite number"),  # over these two OpenSim itself never comes to an end
            ("sqrt(-1) * x", "no finite number"),
            ("__import__('os')", "function __import__"),
        ],
    )
    def test_expression_is_refused(self, expression: str, reason: str) -> None:
        function = text.function(
            "ExpressionBasedFunction", expression=escape(expression), variables="x"
        )
        with pytest.raises(InputError, match=reason):
            read_skeleton(text.custom({"rotation2": ("a", "1 0 0", function)}))

    @pytest.mark.parametrize(
        "function",
        [
            text.function("LinearFunction", coefficients="1 2"),
            text.multiplied(text.function("LinearFunction", coefficients="1 2"), 2.0),
            text.function(
                "MultivariatePolynomialFunction", coefficients="1 2", dimension=1, order=1
            ),
            text.function("ExpressionBasedFunction", expression="x", variables="x y z"),
        ],
    )
    def test_functions_of_other_arguments_are_refused(self, function: str) -> None:
        # Without the check, OpenSim reads past the coordinates' end, and some of these end the process.
        with pytest.raises(InputError, match="of other than 2 coordinates"):
            read_skeleton(text.custom({"rotation2": ("a b", "1 0 0", function)}, "a b"))

    @pytest.mark.parametrize(
        "osim",
        [
            b"",
            b"not xml",
            b"<html/>",
            b"<OpenSimDocument/>",
            b'<!DOCTYPE x [<!ENTITY a "b">]><OpenSimDocument><Model/></OpenSimDocument>',
            text.simple("Pin")[:900],
            text.simple("Pin").replace(b"/bodyset/B", b"/bodyset/nobody"),
            text.simple("Pin").replace(b"-.1 .05 .2", b"nan nan nan"),
            text.custom({"rotation2": ("a", "1 0 0", text.through("SimmSpline", "0 1 2", "0 1"))}),
            # Without the check below, these end the process: OpenSim reads past the list.
            text.custom({"rotation2": ("a", "1 0 0", text.line(1, 0).replace("1 0<", "<"))}),
        ],
    )
    def test_broken_files_are_refused(self, osim: bytes) -> None:
        with pytest.raises(InputError):
            read_skeleton(osim)

    @pytest.mark.parametrize(
        ("osim", "reason"),
        [
            # Over the first two, OpenSim's C++ would end the process.
            (text.tree("A", [text.joint("Custom", "j", "ground A", inside=STILL)], {}), "without coord"),
            (text.tree("A B", [zoo.ROOT, BACKWARDS], {}), "scapula as its parent"),
            (text.tree("A B C D", [zoo.ROOT, *LOOSE], {}), "closes a loop that others hang on"),
            (text.tree("", [], {}), "no body"),
        ],
    )  # fmt: skip
    def test_trees_that_do_not_work_are_refused(self, osim: bytes, reason: str) -> None:
        with pytest.raises(InputError, match=reason):
            read_skeleton(osim)

    def test_a_multiplier_of_nothing_is_refused(self) -> None:
        """OpenSim loads some models with one, if it need not evaluate it."""
        with pytest.raises(InputError, match="of nothing"):
            _curve(opensim.MultiplierFunction(), 1, "joint j")

    def test_couplers_in_a_circle_are_refused(self) -> None:
        turns = {"rotation2": ("b", "1 0 0", text.line(1, 0))}
        first = text.coupler(text.line(1, 0))
        second = first.replace(">a<", ">x<").replace(">b<", ">a<").replace(">x<", ">b<")
        both = first + second.replace('"coupler"', '"second"')
        with pytest.raises(InputError, match="circle"):
            read_skeleton(text.custom(turns, "a b", both))

    def test_file_that_is_no_model_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "setup.osim"
        path.write_text("<OpenSimDocument><ScaleTool/></OpenSimDocument>")
        with pytest.raises(InputError, match="is no OpenSim model"):
            read_model(str(path))

    def test_scale_of_the_wrong_shape_is_refused(self) -> None:
        for scale in (np.ones((1, 3)), np.zeros((2, 3)), np.full((2, 3), np.nan)):
            with pytest.raises(InputError, match="positive numbers"):
                OsimModel(text.simple("Pin"), scale)

    def test_pose_of_the_wrong_length_is_refused(self) -> None:
        with pytest.raises(ValueError, match="finite numbers"):
            OsimModel(text.simple("Pin")).pose(np.zeros(3))


class TestPosing:
    def test_locked_and_clamped_coordinates_take_what_they_are_given(self) -> None:
        free = text.simple("Pin")
        held = free.replace(
            b"<Coordinate name='Pin_0'/>",
            b"<Coordinate name='Pin_0'><range>-.1 .1</range><clamped>true</clamped><locked>true</locked></Coordinate>",
        )
        q = np.array([0.0] * 6 + [1.0])
        expected = OsimModel(free).pose(q).markers
        np.testing.assert_allclose(OsimModel(held).pose(q).markers, expected, atol=1e-12)
        assert read_skeleton(held).coordinates[-1].locked

    def test_coupled_entries_are_overwritten(self) -> None:
        model = OsimModel(zoo.CUSTOM["coupled_rotation"])
        q = np.array([0.0] * 6 + [0.3, 99.0])
        free = OsimModel(text.custom({"rotation2": ("b", "1 0 0", text.line(1, 0))}, "a b"))
        expected = free.pose(model.spec.couple(q)).markers
        np.testing.assert_allclose(model.pose(q).markers, expected, atol=1e-12)

    def test_coupler_agrees_with_opensims_assembly(self, shared_data: Path) -> None:
        opensim = pytest.importorskip("opensim")
        path = shared_data / "opensim" / "opencap" / "LaiUhlrich2022.osim"
        model = opensim.Model(str(path))
        state = model.initSystem()
        coordinates = model.getCoordinateSet()
        spec = read_skeleton(path.read_bytes())
        beta = spec.coordinate_names.index("knee_angle_r_beta")
        for knee in (0.1, 0.7, 1.9):
            coordinates.get("knee_angle_r").setValue(state, knee, False)
            model.assemble(state)
            q = np.full(len(spec.coordinates), knee)
            q[spec.coordinate_names.index("knee_angle_r")] = coordinates.get(
                "knee_angle_r"
            ).getValue(state)
            solved = coordinates.get("knee_angle_r_beta").getValue(state)
            assert spec.couple(q)[beta] == pytest.approx(solved, abs=1e-8)


class TestWriting:
    @pytest.mark.parametrize("name", ZOO)
    def test_unscaled_text_returns_the_kinematics(self, name: str) -> None:
        spec, rng = read_skeleton(ZOO[name]), np.random.default_rng(1)
        written = write_osim(spec, None)
        assert largest_difference(OsimModel(ZOO[name]), OsimModel(written), rng) < 1e-9
        if name not in WRITTEN_OTHERWISE:
            assert read_skeleton(written).fingerprint == spec.fingerprint

    @pytest.mark.parametrize("name", ZOO)
    def test_scaled_text_poses_as_opensims_scaled_model(self, name: str) -> None:
        spec, rng = read_skeleton(ZOO[name]), np.random.default_rng(2)
        scale = random_scale(spec, rng)
        written, scaled = OsimModel(write_osim(spec, scale)), OsimModel(ZOO[name], scale)
        assert largest_difference(scaled, written, rng) < 1e-9
        assert largest_difference(scaled, OsimModel(scaled_osim(ZOO[name], scale)), rng) < 1e-9

    def test_real_model_returns_to_the_same_fingerprint(self, shared_data: Path) -> None:
        for path in (shared_data / "opensim").glob("*/*.osim"):
            spec = read_skeleton(path.read_bytes())
            assert read_skeleton(write_osim(spec, None)).fingerprint == spec.fingerprint

    def test_opensims_scaled_file_keeps_the_rest_of_the_model(self, shared_data: Path) -> None:
        osim = read_model(str(shared_data / "opensim" / "opencap" / "LaiUhlrich2022.osim"))
        scaled = scaled_osim(osim, np.full((22, 3), 1.1))
        assert scaled.count(b"<socket_parent_frame>") >= osim.count(b"<Marker ")
        assert b"_r" in scaled
        assert scaled.count(b"Muscle name=") == osim.count(b"Muscle name=")


class TestCoupledTranslation:
    """OpenSim multiplies such a coupler by the parent's uniform scale and refuses any other."""

    OSIM = text.custom(
        {"translation1": ("b", "1 0 0", text.line(1, 0))}, "a b", text.coupler(text.line(0.5, 0.1))
    )

    def test_uniform_scale_is_opensims(self) -> None:
        scale = np.full((2, 3), 1.3)
        ours = read_skeleton(self.OSIM)
        theirs = read_skeleton(scaled_osim(self.OSIM, scale))
        q = np.full(8, 0.4)
        np.testing.assert_allclose(ours.couple(q, scale), theirs.couple(q), atol=1e-12)
        assert ours.couple(q, scale)[7] == pytest.approx(1.3 * 0.3)

    def test_other_scale_works_from_the_spec_and_is_refused_by_opensim(self) -> None:
        rng = np.random.default_rng(3)
        spec = read_skeleton(self.OSIM)
        scale = random_scale(spec, rng)
        scaled = OsimModel(self.OSIM, scale)
        assert largest_difference(scaled, OsimModel(write_osim(spec, scale)), rng) < 1e-9
        with pytest.raises(InputError, match="write_osim"):
            scaled_osim(self.OSIM, scale)
