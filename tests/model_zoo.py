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


SHAPES = {
    "Ellipsoid": (3, "<radii_x_y_z>.1 .25 .4</radii_x_y_z>"),
    "Scapulothoracic": (
        4,
        """<thoracic_ellipsoid_radii_x_y_z>.1 .25 .4</thoracic_ellipsoid_radii_x_y_z>
<scapula_winging_axis_origin>.05 -.03</scapula_winging_axis_origin>
<scapula_winging_axis_direction>.4</scapula_winging_axis_direction>""",
    ),
    "ConstantCurvature": (
        3,
        "<neutral_angle_x_z_y>.1 -.2 .3</neutral_angle_x_z_y><length>.4</length>",
    ),
}
"""Joint classes with sizes of their own: how many coordinates they have, and the sizes."""


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
    count, sizes = SHAPES.get(kind, (SIMPLE_JOINTS.get(kind, 0), ""))
    names = "".join(f"<Coordinate name='{kind}_{i}'/>" for i in range(count))
    coordinates = f"<coordinates>{names}</coordinates>" if names else ""
    return document(
        f"<{kind}Joint name='tested'>{SOCKETS}{coordinates}{FRAMES}{sizes}</{kind}Joint>"
    )


def on_ground(osim: bytes) -> bytes:
    """Hangs the tested joint on ground instead of on body A."""
    return osim.replace(b"<socket_parent>/bodyset/A", b"<socket_parent>/ground", 1)


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


def function(kind: str, **properties: object) -> str:
    """A function by its properties."""
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in properties.items())
    return f"<{kind} name='function'>{inside}</{kind}>"


def coupler(function: str, factor: float = 1.0, on: str = "a") -> str:
    """Makes b a function of a, or of others."""
    bare = function.replace(" name='function'", "")
    return f"""<CoordinateCouplerConstraint name="coupler"><coupled_coordinates_function>{bare}
</coupled_coordinates_function><independent_coordinate_names>{on}</independent_coordinate_names>
<dependent_coordinate_name>b</dependent_coordinate_name><scale_factor>{factor}</scale_factor>
</CoordinateCouplerConstraint>"""


_SPLINE = through("SimmSpline", "-1 -.4 .1 .9 1.2", "0 .3 -.1 .4 .2")
_CURVED = "<PolynomialFunction name='function'><coefficients>.2 -.3 .1 .05 .02</coefficients></PolynomialFunction>"
_BROKEN = through("PiecewiseLinearFunction", "-.5 0 .6", "0 .1 .5")
_SINE = function("Sine", amplitude=0.3, omega=2.5, phase=0.4, offset=-0.1)
_STEP = function("StepFunction", start_time=-0.5, end_time=0.7, start_value=0.3, end_value=-0.2)
_STAIRS = through("PiecewiseConstantFunction", "-.5 0 .6", ".2 .1 .5")
_PLANE = function("LinearFunction", coefficients=".5 -.3 .2")
_MULTIVARIATE = function(
    "MultivariatePolynomialFunction", coefficients=".1 -.2 .3 .05 .2 -.1", dimension=2, order=2
)
_CUBE = function(
    "MultivariatePolynomialFunction",
    coefficients=" ".join(f"{(-1) ** i * 0.1 / (i + 1):.4f}" for i in range(20)),
    dimension=3,
    order=3,
)
_EXPRESSION = function(
    "ExpressionBasedFunction",
    expression="sin(x)*s - y^2/(2+x^2) + erf(x) + 0.1*max(x, y) - 3e-1*abs(x-y); s=exp(-square(y))",
    variables="x y",
)
_ONE_ARGUMENT = function("ExpressionBasedFunction", expression="0.2*tanh(t)-t^3/9", variables="t")


def gcv(half_order: int, variance: float = 0.0) -> str:
    """A GCVSpline of 3 knots more than it needs."""
    count = 2 * half_order + 3
    x = " ".join(f"{-1 + 2.2 * i / count + 0.05 * (i % 2):.3f}" for i in range(count))
    y = " ".join(f"{0.3 * (-1) ** (i // 2) / (1 + i % 3):.3f}" for i in range(count))
    weights = " ".join(["1"] * count)
    return function(
        "GCVSpline", half_order=half_order, error_variance=variance, x=x, weights=weights, y=y
    )


def turning_and_moving(function: str, on: str = "a") -> bytes:
    """Puts one function on a rotation and on an oblique translation, there of its coordinates in reverse."""
    back = " ".join(reversed(on.split()))
    axes = {"rotation2": (on, "1 0 0", function), "translation3": (back, "0 -.6 .8", function)}
    return custom(axes, " ".join(sorted(on.split())))


THREE_TURNS = {"rotation2": ("b", "1 0 0", line(1, 0)), "rotation3": ("c", "0 1 0", line(1, 0))}
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
    "sine": turning_and_moving(_SINE),
    "step": turning_and_moving(_STEP),
    "stairs": turning_and_moving(_STAIRS),
    "one_stair": custom({"translation2": ("a", "0 1 0", through("PiecewiseConstantFunction", ".3", ".2"))}),
    **{f"gcv_{m}": turning_and_moving(gcv(m)) for m in (1, 2, 3, 4)},
    "gcv_smooth": turning_and_moving(gcv(2, 0.01)),
    "plane": turning_and_moving(_PLANE, "a b"),
    "plane_that_does_not_scale": turning_and_moving(function("LinearFunction", coefficients="1 0 .2"), "a b"),
    "plane_that_scales": custom({"rotation2": ("b", "1 0 0", line(1, 0)), "translation3": ("b a", "0 .6 .8", multiplied(function("LinearFunction", coefficients="1 0 .2"), 1.0))}, "a b"),
    "multivariate": turning_and_moving(_MULTIVARIATE, "a b"),
    "multivariate_of_three": turning_and_moving(multiplied(_CUBE, -.7), "a c b"),
    "expression": turning_and_moving(multiplied(_EXPRESSION, .4), "b a"),
    "expression_of_one": custom({"translation1": ("a", ".8 0 .6", _ONE_ARGUMENT)}),
    "spline_of_two_coordinates": turning_and_moving(_SPLINE, "b a"),
    "multiplied_sine": custom({"translation1": ("a", "1 0 0", multiplied(multiplied(_SINE, 2.0), -.5))}),
    "coupled_sine": custom({"rotation2": ("b", "1 0 0", line(1, 0))}, "a b", coupler(_SINE, 1.5)),
    "coupled_to_two": custom(THREE_TURNS, "a b c", coupler(_MULTIVARIATE, .5, "a c")),
    "coupled_plane": custom(THREE_TURNS, "a b c", coupler(_PLANE, .5, "c a")),
    "coupled_expression": custom(THREE_TURNS, "a b c", coupler(_EXPRESSION, 1.0, "c a")),
    "line_without_coordinate": custom({"rotation2": ("", "1 0 0", line(2, .5))}),
    "coupled_rotation": custom({"rotation2": ("b", "1 0 0", line(1, 0))}, "a b", coupler(_SPLINE, 2.0)),
}  # fmt: skip
"""By what is special about the CustomJoint."""
ALL = CUSTOM | {kind: simple(kind) for kind in SIMPLE_JOINTS} | {
    **{kind: simple(kind) for kind in SHAPES},
    **{f"{kind}_on_ground": on_ground(simple(kind)) for kind in SHAPES},
    "nested_frames": nested(simple("Universal"), ".2 .1 -.3", ".5 -.2 .9"),
}  # fmt: skip
"""Everything that is supported."""
