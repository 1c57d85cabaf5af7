"""Small `.osim` models, one per joint class and function, with oblique frames; text, so that OpenSim alone decides."""

from collections.abc import Mapping

SIMPLE_JOINTS = {
    "Weld": 0,
    "Pin": 1,
    "Slider": 1,
    "Universal": 2,
    "Ball": 3,
    "Gimbal": 3,
    "Free": 6,
    "Planar": 3,
}
"""Joint classes and how many coordinates they have."""
STILL = "<Constant name='function'><value>{}</value></Constant>"
TURN = {
    "rotation1": (
        "a",
        "0 0 1",
        "<LinearFunction name='function'><coefficients>1 0</coefficients></LinearFunction>",
    )
}


def document(joint: str, constraints: str = "", markers: str = "") -> bytes:
    """A free body A that carries a body B by `joint`, a marker on each and one on ground."""
    free = "".join(f"<Coordinate name='root_{i}'/>" for i in range(6))
    inertia = "<mass>1</mass><inertia>1 1 1 0 0 0</inertia>"
    return f"""<?xml version="1.0"?><OpenSimDocument Version="40600"><Model name="zoo"><Ground name="ground"/>
<BodySet name="bodyset"><objects><Body name="A">{inertia}</Body><Body name="B">{inertia}</Body></objects></BodySet>
<JointSet name="jointset"><objects><FreeJoint name="root"><socket_parent_frame>/ground</socket_parent_frame>
<socket_child_frame>/bodyset/A</socket_child_frame><coordinates>{free}</coordinates></FreeJoint>
{joint}</objects></JointSet>
<ConstraintSet name="constraintset"><objects>{constraints}</objects></ConstraintSet>
<MarkerSet name="markerset"><objects>{markers}
<Marker name="on_a"><socket_parent_frame>/bodyset/A</socket_parent_frame><location>.3 .1 -.2</location></Marker>
<Marker name="on_b"><socket_parent_frame>/bodyset/B</socket_parent_frame><location>.1 .2 .3</location></Marker>
<Marker name="on_ground"><socket_parent_frame>/ground</socket_parent_frame><location>.5 0 1</location></Marker>
</objects></MarkerSet></Model></OpenSimDocument>""".encode()


FRAMES = """<frames>
<PhysicalOffsetFrame name="outer"><socket_parent>/bodyset/A</socket_parent><translation>.1 -.2 .3</translation>
<orientation>.3 -.4 .5</orientation></PhysicalOffsetFrame>
<PhysicalOffsetFrame name="inner"><socket_parent>/bodyset/B</socket_parent><translation>-.1 .05 .2</translation>
<orientation>-.7 .2 .1</orientation></PhysicalOffsetFrame></frames>"""
SOCKETS = (
    "<socket_parent_frame>outer</socket_parent_frame><socket_child_frame>inner</socket_child_frame>"
)


def simple(kind: str) -> bytes:
    """A model whose joint is of one of OpenSim's classes."""
    names = "".join(f"<Coordinate name='{kind}_{i}'/>" for i in range(SIMPLE_JOINTS.get(kind, 0)))
    coordinates = f"<coordinates>{names}</coordinates>" if names else ""
    return document(f"<{kind}Joint name='tested'>{SOCKETS}{coordinates}{FRAMES}</{kind}Joint>")


def custom(
    axes: Mapping[str, tuple[str, str, str]], coordinates: str = "a", constraints: str = ""
) -> bytes:
    """A model with a CustomJoint; `axes` gives some of its axes as (coordinate, direction, function)."""
    still = STILL.format(0)
    plain = ("0 0 1", "1 0 0", "0 1 0", "1 0 0", "0 1 0", "0 0 1")
    names = [f"{motion}{i}" for motion in ("rotation", "translation") for i in (1, 2, 3)]
    given = {n: ("", d, still) for n, d in zip(names, plain, strict=True)} | TURN | dict(axes)
    transform = "".join(
        f"<TransformAxis name='{n}'><coordinates>{c}</coordinates><axis>{d}</axis>{f}</TransformAxis>"
        for n, (c, d, f) in given.items()
    )
    listed = "".join(f"<Coordinate name='{c}'/>" for c in coordinates.split())
    return document(
        f"<CustomJoint name='tested'>{SOCKETS}<coordinates>{listed}</coordinates>{FRAMES}"
        f"<SpatialTransform>{transform}</SpatialTransform></CustomJoint>",
        constraints,
    )


def nested(osim: bytes, translation: str = "0 0 0", orientation: str = "0 0 0") -> bytes:
    """Puts one more frame between the parent body and the joint, and a marker on it."""
    frame = f"""<PhysicalOffsetFrame name="more"><socket_parent>../outer</socket_parent>
<translation>{translation}</translation><orientation>{orientation}</orientation></PhysicalOffsetFrame></frames>"""
    moved = osim.replace(b"</frames>", frame.encode(), 1)
    moved = moved.replace(b"<socket_parent_frame>outer", b"<socket_parent_frame>more")
    if translation == "0 0 0":
        return moved
    place = b"</socket_parent_frame><loc"
    return moved.replace(b"/bodyset/A" + place, b"/jointset/tested/more" + place)


def line(slope: float, intercept: float) -> str:
    """A LinearFunction."""
    return f"<LinearFunction name='function'><coefficients>{slope} {intercept}</coefficients></LinearFunction>"


def through(kind: str, x: str, y: str) -> str:
    """A function through knots."""
    return f"<{kind} name='function'><x>{x}</x><y>{y}</y></{kind}>"


def multiplied(function: str, factor: float) -> str:
    """A MultiplierFunction around another function."""
    inside = function.replace(" name='function'", "")
    inside = f"<function>{inside}</function><scale>{factor}</scale>"
    return f"<MultiplierFunction name='function'>{inside}</MultiplierFunction>"


def coupler(function: str, factor: float = 1.0) -> str:
    """Makes b a function of a."""
    bare = function.replace(" name='function'", "")
    return f"""<CoordinateCouplerConstraint name="coupler"><coupled_coordinates_function>{bare}
</coupled_coordinates_function><independent_coordinate_names>a</independent_coordinate_names>
<dependent_coordinate_name>b</dependent_coordinate_name><scale_factor>{factor}</scale_factor>
</CoordinateCouplerConstraint>"""


_SPLINE = through("SimmSpline", "-1 -.4 .1 .9 1.2", "0 .3 -.1 .4 .2")
_CURVED = "<PolynomialFunction name='function'><coefficients>.2 -.3 .1 .05 .02</coefficients></PolynomialFunction>"
_BROKEN = through("PiecewiseLinearFunction", "-.5 0 .6", "0 .1 .5")
CUSTOM = {
    "spline": custom({"translation2": ("a", "0 1 0", _SPLINE)}),
    "spline_of_two": custom({"translation2": ("a", "0 1 0", through("SimmSpline", "-1 .3", "0 .1"))}),
    "spline_of_three": custom({"rotation2": ("a", "1 0 0", through("SimmSpline", "-1 .3 .9", "0 .1 .5"))}),
    "piecewise_linear": custom({"rotation3": ("a", "0 1 0", _BROKEN)}),
    "polynomial": custom({"translation1": ("a", "1 0 0", _CURVED), "rotation2": ("a", "1 0 0", _CURVED)}),
    "nested_multipliers": custom({"translation3": ("a", "0 0 1", multiplied(multiplied(_SPLINE, 2.0), -0.7))}),
    "multiplied_identity": custom({"translation3": ("a", "0 0 1", multiplied(line(1, 0), 1.0))}),
    "constant_translation": custom({"translation2": ("", "0 1 0", STILL.format(.3))}),
    "slope_and_intercept": custom({"rotation2": ("a", "1 0 0", line(2, 0.5))}),
    "long_axis": custom({"rotation1": ("a", "0 2 1", line(1, 0))}),
    "long_translation_axis": custom({"translation1": ("a", "2 0 0", line(1, 0))}),
    "oblique_translation": custom({"translation1": ("a", "0.6 -0.8 0", line(2, 0.1))}),
    "negative_translation": custom({"translation2": ("a", "0 -1 0", _SPLINE)}),
    "no_function": custom({"rotation2": ("b", "1 0 0", "")}, "a b"),
    "coupled_rotation": custom({"rotation2": ("b", "1 0 0", line(1, 0))}, "a b", coupler(_SPLINE, 2.0)),
}  # fmt: skip
"""By what is special about the CustomJoint."""
ALL = CUSTOM | {kind: simple(kind) for kind in SIMPLE_JOINTS} | {
    "nested_frames": nested(simple("Universal"), ".2 .1 -.3", ".5 -.2 .9"),
}  # fmt: skip
"""Everything that is supported."""
