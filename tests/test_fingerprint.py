"""The fingerprint changes exactly when kinematics change: over every field of a spec, and over whole `.osim` texts."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import model_zoo as zoo
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skeleton_changes import changes, varied_skeleton

from schemas.curves import Curve
from schemas.skeleton import Axis, Joint, Offset, SkeletonSpec
from schemas.skeleton_diff import diff
from trainers.skeletal import SkeletalLayer
from workers.osim import read_model, read_skeleton, write_osim

SPEC = varied_skeleton()
Edit = Callable[[Element], None]


def labels(spec: SkeletonSpec) -> tuple[object, ...]:
    """All that a pose does not show: what the columns of q and the rows of the results mean."""
    limits = [(c.name, c.kind, c.lower, c.upper, c.default, c.locked) for c in spec.coordinates]
    return spec.joint_names, spec.body_names, spec.parents, limits, spec.marker_names


def posed(spec: SkeletonSpec) -> np.ndarray:
    """Where everything is in some random poses, each with its own scale."""
    rng = np.random.default_rng(6)
    q = torch.tensor(rng.uniform(-1.5, 1.5, (8, spec.sizes.c)))
    scale = torch.tensor(rng.uniform(0.7, 1.4, (8, spec.sizes.b, 3)))
    return np.concatenate([p.flatten().numpy() for p in SkeletalLayer(spec).double()(q, scale)])


def moves(old: SkeletonSpec, new: SkeletonSpec) -> bool:
    """Whether two skeletons differ in what they mean or in where they are."""
    return labels(old) != labels(new) or float(np.abs(posed(old) - posed(new)).max()) > 1e-12


class TestEveryField:
    def test_it_changes_exactly_when_something_moves_or_is_called_otherwise(self) -> None:
        found = list(changes(SPEC))
        assert len(found) > 200
        wrong = [
            where
            for where, new in found
            if (new.fingerprint != SPEC.fingerprint) != moves(SPEC, new)
        ]
        assert wrong == []

    def test_diff_is_empty_exactly_then(self) -> None:
        wrong = [
            where
            for where, new in changes(SPEC)
            if bool(diff(SPEC, new)) != (new.fingerprint != SPEC.fingerprint)
        ]
        assert wrong == []

    def test_it_is_the_same_in_every_process(self) -> None:
        """A stored number: whoever changes what is hashed makes every stored dataset another one."""
        text = SPEC.to_json()
        assert SkeletonSpec.from_json(text).fingerprint == SPEC.fingerprint
        assert re.fullmatch("[0-9a-f]{64}", SPEC.fingerprint)


def flipped(axis: Axis) -> Axis:
    """Turns an axis round, and what it is given."""
    x, y, z = axis.direction
    curve = replace(axis.curve, factor=-axis.curve.factor)
    return replace(axis, direction=(-x, -y, -z), curve=curve)


def doubled(axis: Axis) -> Axis:
    """Takes a factor of 2 out of the numbers and puts it before the function."""
    curve = axis.curve
    halves = {n: tuple(v / 2 for v in getattr(curve, n)) for n in ("coefficients", "y", "slopes")}
    return replace(axis, curve=replace(curve, factor=2 * curve.factor, **halves))


def padded(axis: Axis) -> Axis:
    """Writes a straight line as a polynomial."""
    if axis.curve.kind != "linear":
        return axis
    curve = Curve(kind="polynomial", coefficients=(0.0, *axis.curve.coefficients))
    return replace(axis, curve=replace(curve, factor=axis.curve.factor))


def with_axes(joint: Joint, axes: list[Axis]) -> Joint:
    a, b, c, d, e, f = axes
    return replace(joint, axes=(a, b, c, d, e, f))


def test_slides_of_a_body_that_is_called_the_parent_of_ground_scale_with_it() -> None:
    spec = read_skeleton(zoo.TREES["slides_on_ground_reversed"])
    (joint,) = spec.joints
    last = joint.axes[5]
    assert last.scales
    other = replace(
        spec, joints=(with_axes(joint, [*joint.axes[:5], replace(last, scales=False)]),)
    )
    assert moves(spec, other)
    assert other.fingerprint != spec.fingerprint
    turning = replace(joint.axes[0], scales=True)  # turns do not scale, whatever the spec says
    other = replace(spec, joints=(with_axes(joint, [turning, *joint.axes[1:]]),))
    assert not moves(spec, other)
    assert other.fingerprint == spec.fingerprint


class TestOtherWriting:
    @given(
        edits=st.lists(st.sampled_from([flipped, doubled, padded, lambda a: a]), min_size=12),
        nothing=st.lists(st.integers(0, 2), min_size=5, max_size=5),
        order=st.permutations([3, 4, 5]),
    )
    def test_same_motion_otherwise_written_is_the_same(
        self, edits: list[Callable[[Axis], Axis]], nothing: list[int], order: list[int]
    ) -> None:
        joints = []
        for k, joint in enumerate(SPEC.joints):
            axes = [edits[6 * k + i](axis) for i, axis in enumerate(joint.axes)]
            joint = with_axes(joint, [*axes[:3], *(axes[i] for i in order)])
            more = (Offset(translation=(-0.0, 0.0, 0.0)),) * nothing[k]
            joints.append(replace(joint, parent_frames=(*more, *joint.parent_frames)))
        marker = SPEC.markers[0]
        marker = replace(marker, frames=(Offset(),) * nothing[2] + marker.frames)
        other = replace(SPEC, joints=tuple(joints), markers=(marker, *SPEC.markers[1:]))
        assert other.fingerprint == SPEC.fingerprint
        assert not moves(SPEC, other)

    def test_axes_that_stand_still_have_no_place_and_no_direction(self) -> None:
        back = SPEC.joints[1]
        one, two, still = back.axes[:3]
        turned = replace(still, direction=(0.0, 0.6, 0.8))
        for axes in ([turned, one, two], [one, turned, two]):
            moved = with_axes(back, [*axes, *back.axes[3:]])
            assert replace(SPEC, joints=(SPEC.joints[0], moved)).fingerprint == SPEC.fingerprint

    def test_turns_keep_their_order(self) -> None:
        back = SPEC.joints[1]
        one, two, still = back.axes[:3]
        swapped = with_axes(back, [two, one, still, *back.axes[3:]])
        assert replace(SPEC, joints=(SPEC.joints[0], swapped)).fingerprint != SPEC.fingerprint

    def test_whole_numbers_are_numbers(self) -> None:
        last = replace(SPEC.markers[1], location=(0, 1, 0))
        real = replace(SPEC.markers[1], location=(0.0, 1.0, 0.0))
        whole, same = (replace(SPEC, markers=(SPEC.markers[0], m)) for m in (last, real))
        assert whole.fingerprint == same.fingerprint


# ---------------------------------------------------------------- whole texts, as OpenSim reads them


def first(root: Element, tag: str) -> Element:
    found = root.find(f".//{tag}")
    if found is None:
        pytest.skip(f"the model has no {tag}")
    return found


def text(tag: str, new: str) -> Edit:
    """Replaces the text of the first element of a kind."""

    def edit(root: Element) -> None:
        first(root, tag).text = new

    return edit


def nudge(path: str, by: float, place: int = 0) -> Edit:
    """Adds to one number of the first element of a kind."""

    def edit(root: Element) -> None:
        found = first(root, path)
        numbers = (found.text or "").split()
        numbers[place] = repr(float(numbers[place]) + by)
        found.text = " ".join(numbers)

    return edit


def rename(tag: str) -> Edit:
    """Gives the first element of a kind another name, wherever it is named."""

    def edit(root: Element) -> None:
        old = first(root, tag).attrib["name"]
        for node in root.iter():
            if node.attrib.get("name") == old:
                node.attrib["name"] = f"{old}_renamed"
            words = (node.text or "").split()
            if old in words:
                node.text = " ".join(f"{w}_renamed" if w == old else w for w in words)

    return edit


def rename_muscle(root: Element) -> None:
    kinds = {node.tag for node in root.iter() if node.tag.endswith("Muscle")}
    if not kinds:
        pytest.skip("the model has no muscle")
    rename(kinds.pop())(root)


def add_to(kind: str, xml: str) -> Edit:
    """Puts one more thing into one of the model's sets, which may have to be made."""

    def edit(root: Element) -> None:
        found = root.find(f"./Model/{kind}")
        if found is None:
            found = SubElement(first(root, "Model"), kind, name=kind.lower())
        objects = found.find("objects")
        objects = SubElement(found, "objects") if objects is None else objects
        objects.append(ElementTree.fromstring(xml))

    return edit


def reverse(kind: str) -> Edit:
    """Turns the order of a set round."""

    def edit(root: Element) -> None:
        objects = first(root, f"{kind}/objects")
        objects[:] = list(objects)[::-1]

    return edit


def comment(root: Element) -> None:
    first(root, "Model").insert(0, ElementTree.Comment("looked at on a Tuesday"))


def rename_body(root: Element) -> None:
    for node in root.iter():
        if node.attrib.get("name") == "toes_r":
            node.attrib["name"] = "forefoot_r"
        if node.text and node.text.endswith("/bodyset/toes_r"):
            node.text = "/bodyset/forefoot_r"


def negative_zeros(root: Element) -> None:
    for node in root.iter("translation"):
        node.text = " ".join("-0.0" if float(w) == 0 else w for w in (node.text or "").split())


def longer(motion: str) -> Edit:
    """Doubles the length of all axes of rotations or translations."""

    def edit(root: Element) -> None:
        for axis in root.iter("TransformAxis"):
            if axis.attrib["name"].startswith(motion) and (node := axis.find("axis")) is not None:
                node.text = " ".join(str(2.0 * float(w)) for w in (node.text or "").split())

    return edit


PUSH = "<PointActuator name='push'><body>pelvis</body></PointActuator>"
FLOOR = "<ContactHalfSpace name='floor'><socket_frame>/ground</socket_frame></ContactHalfSpace>"
SAME: dict[str, Edit] = {
    "muscle's name": rename_muscle,
    "mass": nudge("Body/mass", 1.0),
    "inertia": nudge("Body/inertia", 0.5),
    "mass centre": nudge("Body/mass_center", 0.01),
    "mesh": text("mesh_file", "other.vtp"),
    "colour": text("color", "0.1 0.2 0.3"),
    "credits": text("credits", "Somebody else"),
    "model's name": rename("Model"),
    "one more force": add_to("ForceSet", PUSH),
    "contact": add_to("ContactGeometrySet", FLOOR),
    "controller": add_to("ControllerSet", "<PrescribedController name='hand'/>"),
    "comment": comment,
    "white space": lambda root: ElementTree.indent(root, "      "),
    "order of bodies": reverse("BodySet"),
    "order of constraints": reverse("ConstraintSet"),
    "negative zeros": negative_zeros,
    "longer axes of rotation": longer("rotation"),
    "gravity": text("gravity", "0 -1.62 0"),
}  # fmt: skip
OTHER: dict[str, Edit] = {
    "marker moved by a micrometre": nudge("Marker/location", 1e-6),
    "range": nudge("Coordinate/range", 0.01, 1),
    "default": nudge("Coordinate/default_value", 0.01),
    "lock": text("Coordinate/locked", "true"),
    "axis": nudge("TransformAxis/axis", 0.01, 1),
    "longer axes of translations that scale": longer("translation"),
    "spline's knot": nudge("SimmSpline/y", 1e-6, 3),
    "polynomial": nudge("PolynomialFunction/coefficients", 1e-6, 1),
    "coupler": nudge("CoordinateCouplerConstraint//coefficients", 1e-3),
    "coupler let go": text("CoordinateCouplerConstraint/isEnforced", "false"),
    "offset": nudge("PhysicalOffsetFrame/translation", 1e-6),
    "orientation": nudge("PhysicalOffsetFrame/orientation", 1e-6),
    "coordinate's name": rename("Coordinate"),
    "marker's name": rename("Marker"),
    "body's name": rename_body,
    "order of markers": reverse("MarkerSet"),
    "order of joints": reverse("JointSet"),
}  # fmt: skip


def edited(osim: bytes, edit: Edit) -> SkeletonSpec:
    """Reads a model of which the text was edited."""
    root = ElementTree.fromstring(osim)
    for tag, value in (("locked", "false"), ("default_value", "0")):
        for coordinate in root.iter("Coordinate"):
            if coordinate.find(tag) is None:
                SubElement(coordinate, tag).text = value
    for coupler in root.iter("CoordinateCouplerConstraint"):
        if coupler.find("isEnforced") is None:
            SubElement(coupler, "isEnforced").text = "true"
    edit(root)
    return read_skeleton(ElementTree.tostring(root))


@pytest.fixture(scope="module", params=["default", "LaiUhlrich2022"])
def model(request: pytest.FixtureRequest) -> tuple[bytes, SkeletonSpec]:
    if request.param == "default":
        osim = read_model("default")
    else:
        folder: Path = request.getfixturevalue("shared_data")
        osim = read_model(str(folder / "opensim" / "opencap" / f"{request.param}.osim"))
    return osim, read_skeleton(osim)


class TestText:
    @pytest.mark.parametrize("what", SAME)
    def test_what_is_no_kinematics(self, what: str, model: tuple[bytes, SkeletonSpec]) -> None:
        osim, spec = model
        assert str(diff(spec, edited(osim, SAME[what]))) == "no difference"
        assert edited(osim, SAME[what]).fingerprint == spec.fingerprint

    @pytest.mark.parametrize("what", OTHER)
    def test_what_is_kinematics(self, what: str, model: tuple[bytes, SkeletonSpec]) -> None:
        osim, spec = model
        new = edited(osim, OTHER[what])
        assert new.fingerprint != spec.fingerprint
        assert diff(spec, new)


LINE = zoo.line(1, 0)
PIN = zoo.simple("Pin").replace(b"Pin_0", b"a")
ALIKE: dict[str, tuple[bytes, bytes]] = {
    "a pin and a custom joint about z": (PIN, zoo.custom({})),
    "a pin and a custom joint's third axis": (
        PIN,
        zoo.custom({"rotation1": ("", "0 1 0", zoo.STILL.format(0)), "rotation3": ("a", "0 0 1", LINE)}),
    ),
    "a frame that changes nothing": (PIN, zoo.nested(PIN)),
    "negative zero in an axis": (
        zoo.custom({}), zoo.custom({"rotation1": ("a", "-0.0 0 1.0", LINE)}),
    ),
    "an axis of another length": (zoo.custom({}), zoo.custom({"rotation1": ("a", "0 0 3", LINE)})),
    "an axis turned round": (
        zoo.custom({}), zoo.custom({"rotation1": ("a", "0 0 -1", zoo.line(-1, 0))}),
    ),
    "a multiplied line": (
        zoo.custom({"rotation1": ("a", "0 0 1", zoo.line(3, 0.5))}),
        zoo.custom({"rotation1": ("a", "0 0 1", zoo.multiplied(zoo.line(6, 1), 0.5))}),
    ),
    "a slider and a custom joint along x": (
        zoo.simple("Slider").replace(b"Slider_0", b"a"),
        zoo.custom({"rotation1": ("", "0 0 1", zoo.STILL.format(0)), "translation1": ("a", "1 0 0", LINE)}),
    ),
}  # fmt: skip


class TestSameJointOtherwise:
    @pytest.mark.parametrize("what", ALIKE)
    def test_is_the_same(self, what: str) -> None:
        one, other = (read_skeleton(osim) for osim in ALIKE[what])
        assert str(diff(one, other)) == "no difference"
        assert one.fingerprint == other.fingerprint
        assert not moves(one, other)

    def test_frames_in_a_row_are_not_the_one_that_they_make_up(self) -> None:
        """They stand alike as long as nobody scales: OpenSim scales each along its own axes."""
        chain = read_skeleton(zoo.nested(PIN, ".2 .1 -.3", ".5 -.2 .9"))
        merged = read_skeleton(write_osim(chain, None))
        assert chain.fingerprint != merged.fingerprint
        unscaled = [SkeletalLayer(s).double()(torch.zeros(1, 7).double()) for s in (chain, merged)]
        torch.testing.assert_close(unscaled[0].markers, unscaled[1].markers)
        assert moves(chain, merged)
