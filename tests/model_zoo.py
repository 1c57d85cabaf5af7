"""Small `.osim` models, one per joint class and function, with oblique frames, and trees that mix them."""

from osim_old_text import old_document
from osim_text import (
    SHAPES,
    SIMPLE_JOINTS,
    STILL,
    coupler,
    custom,
    function,
    joint,
    line,
    multiplied,
    nested,
    on_ground,
    simple,
    through,
    transform,
    tree,
)

_SPLINE = through("SimmSpline", "-1 -.4 .1 .9 1.2", "0 .3 -.1 .4 .2")
_CURVED = "<PolynomialFunction name='function'><coefficients>.2 -.3 .1 .05 .02</coefficients></PolynomialFunction>"
_BROKEN = through("PiecewiseLinearFunction", "-.5 0 .6", "0 .1 .5")
_SINE = function("Sine", amplitude=0.3, omega=2.5, phase=0.4, offset=-0.1)


def _step(start: float, end: float) -> str:
    times = {"transition_start_time": start, "transition_end_time": end}
    return function("StepFunction", **times, start_value=0.3, end_value=-0.2)


_STEP = _step(-0.5, 0.7)
_STEP_BACK = _step(0.4, -0.7)
_STAIRS = through("PiecewiseConstantFunction", "-.5 0 .6", ".2 .1 .5")
_PLANE = function("LinearFunction", coefficients=".5 -.3 .2")
_SLOPE = function("LinearFunction", coefficients="1 0 .2")
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
    "long_that_scales": custom({"translation1": ("a", "2 0 -.5", _CURVED), "translation2": ("a", "0 -.3 0", _SPLINE)}),
    "oblique_translation": custom({"translation1": ("a", "0.6 -0.8 0", line(2, 0.1))}),
    "negative_translation": custom({"translation2": ("a", "0 -1 0", _SPLINE)}),
    "no_function": custom({"rotation2": ("b", "1 0 0", "")}, "a b"),
    "sine": turning_and_moving(_SINE),
    "step": turning_and_moving(_STEP),
    "step_back": turning_and_moving(_STEP_BACK),
    "stairs": turning_and_moving(_STAIRS),
    "one_stair": custom({"translation2": ("a", "0 1 0", through("PiecewiseConstantFunction", ".3", ".2"))}),
    **{f"gcv_{m}": turning_and_moving(gcv(m)) for m in (1, 2, 3, 4)},
    "gcv_smooth": turning_and_moving(gcv(2, 0.01)),
    "plane": turning_and_moving(_PLANE, "a b"),
    "plane_that_does_not_scale": turning_and_moving(_SLOPE, "a b"),
    "plane_that_scales": custom({"translation3": ("b a", "0 .6 .8", multiplied(_SLOPE, 1.0))}, "a b"),
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
SIX = " ".join(f"root_{i}" for i in range(6))
ROOT = joint("Free", "root", "ground A", SIX)
_ENDS = {"on_b": "/bodyset/B", "on_ground": "/ground", "on_frame": "/jointset/j/j_p"}
_BENT = transform(
    {
        "rotation1": ("a", ".6 0 .8", line(1, 0)),
        "rotation2": ("b", "1 0 0", _SINE),
        "rotation3": ("a b", "0 1 0", _PLANE),
        "translation1": ("a", "1 0 0", _SPLINE),
        "translation2": ("c", "0 1 0", line(1, 0)),
        "translation3": ("b a", "0 -.6 .8", _MULTIVARIATE),
    }
)


def _reversed(kind: str) -> bytes:
    """A model in which B, which hangs on A, is called the parent."""
    count, sizes = SHAPES.get(kind, (SIMPLE_JOINTS.get(kind, 3), _BENT))
    names = "abcdef" if kind == "Custom" else "uvwxyz"
    coordinates = " ".join(names[:count])
    markers = {"on_b": "/bodyset/B", "on_ground": "/ground"}
    return tree("A B", [ROOT, joint(kind, "j", "B A", coordinates, sizes)], markers)


def _mixed() -> bytes:
    """Fourteen bodies, listed out of order, that hang on each other by everything there is."""
    twice = {"rotation2": ("y", "1 0 0", gcv(3)), "translation1": ("x y", ".8 0 .6", _EXPRESSION)}
    thrice = {
        "rotation1": ("k l m", "0 0 1", _CUBE),
        "rotation2": ("l", "1 0 0", multiplied(_STEP, -2.0)),
        "translation2": ("m", "0 1 0", multiplied(_STAIRS, 0.5)),
        "translation3": ("k", ".6 0 .8", _BROKEN),
    }
    joints = [
        joint(
            "Custom",
            "elbow",
            "D E",
            "x y",
            transform({"rotation1": ("x", "0 0 1", _CURVED)} | twice),
        ),
        ROOT,
        joint("Scapulothoracic", "scapula", "B C", "s1 s2 s3 s4", SHAPES["Scapulothoracic"][1]),
        joint("ConstantCurvature", "spine", "A B", "b1 b2 b3", SHAPES["ConstantCurvature"][1]),
        joint("Ellipsoid", "shoulder", "C D", "e1 e2 e3", SHAPES["Ellipsoid"][1]),
        joint("Universal", "wrist", "F E", "f1 f2"),
        joint("Custom", "knee", "A G", "a b c", _BENT),
        joint("Weld", "plate", "G H"),
        joint("Gimbal", "ankle", "H I", "g1 g2 g3"),
        joint("Planar", "toe", "I J", "p1 p2 p3"),
        joint("Custom", "tail", "A K", "k l m", transform(thrice)),
        joint("Slider", "drawer", "K L", "d1"),
        joint("Ball", "handle", "M L", "h1 h2 h3"),
        joint("Pin", "door", "ground N", "n1"),
    ]
    couplers = coupler(_EXPRESSION, 0.5, "a c") + coupler(_SINE).replace(">b<", ">f1<").replace(
        'name="coupler"', 'name="other"'
    )
    markers = {f"on_{b.lower()}": f"/bodyset/{b}" for b in "ABCDEFGHIJKLMN"} | {
        "on_ground": "/ground",
        "on_frame": "/jointset/knee/knee_c",
    }
    return tree("N M L K J I H G F E D C B A", joints, markers, couplers)


_PIN = joint("Pin", "j", "A B", "b")
_DEEP = "".join(
    f"<PhysicalOffsetFrame name='{side}{k}'><socket_parent>../{f'{side}{k - 1}' if k else f'j_{side}'}</socket_parent>"
    f"<translation>.1 .2 .{k}</translation><orientation>.2 -.3 .4</orientation></PhysicalOffsetFrame>"
    for side in "pc"
    for k in range(3)
)


def _deep(pin: str) -> str:
    """Puts three more frames on each side."""
    deep = pin.replace("</frames>", _DEEP + "</frames>").replace("frame>j_p<", "frame>p2<")
    return deep.replace("frame>j_c<", "frame>c2<")


TREES = {
    **{f"reversed_{kind}": _reversed(kind) for kind in ("Custom", "Pin", "Free", "Weld")},
    **{f"reversed_{kind}": _reversed(kind) for kind in ("Ellipsoid", "ConstantCurvature")},
    "slides_on_ground_reversed": tree("A", [joint("Custom", "j", "A ground", "a b c", _BENT)], {"on_a": "/bodyset/A"}),
    "on_ground_reversed": tree("A", [joint("Universal", "j", "A ground", "a b")], {"on_a": "/bodyset/A"}),
    "loop": tree("A B C", [ROOT, _PIN, joint("Pin", "k", "B C", "c"), joint("Pin", "l", "A C", "d")], _ENDS),
    "welded_loop": tree("A B C", [ROOT, _PIN, joint("Pin", "k", "A C", "c"), joint("Weld", "l", "B C")], _ENDS),
    "trees": tree("A B C", [joint("Weld", "w", "ground C"), _PIN, ROOT], _ENDS | {"on_c": "/bodyset/C"}),
    "deep_frames": tree("A B", [ROOT, _deep(_PIN)], _ENDS | {"on_deep": "/jointset/j/c2"}),
    "same_names": tree("A B C", [ROOT, _PIN, joint("Universal", "k", "B C", "c b")], {"on_c": "/bodyset/C"}),
    "bare": tree("A B", [ROOT, _PIN], {}),
    "mixed": _mixed(),
}  # fmt: skip
"""By what is special about the tree of joints."""
OLD = {f"version_{version}": old_document(version) for version in (20302, 30000)}
"""Files from before OpenSim 4."""
ALL = CUSTOM | TREES | OLD | {kind: simple(kind) for kind in SIMPLE_JOINTS} | {
    **{kind: simple(kind) for kind in SHAPES},
    **{f"{kind}_on_ground": on_ground(simple(kind)) for kind in SHAPES},
    "nested_frames": nested(simple("Universal"), ".2 .1 -.3", ".5 -.2 .9"),
}  # fmt: skip
"""Everything that is supported."""
