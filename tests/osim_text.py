"""Parts of `.osim` documents as text, so that OpenSim alone decides what they mean."""

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
    listed = "".join(f"<Coordinate name='{c}'/>" for c in coordinates.split())
    return document(
        f"<CustomJoint name='tested'>{SOCKETS}<coordinates>{listed}</coordinates>{FRAMES}"
        f"{transform(TURN | dict(axes))}</CustomJoint>",
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


def tree(
    bodies: str, joints: list[str], markers: dict[str, str], constraints: str = "", extra: str = ""
) -> bytes:
    """A model of any bodies and joints; markers by name, each in a frame's path."""
    inertia = "<mass>1</mass><inertia>1 1 1 0 0 0</inertia>"
    listed = "".join(f'<Body name="{b}">{inertia}</Body>' for b in bodies.split())
    placed = "".join(
        f'<Marker name="{n}"><socket_parent_frame>{f}</socket_parent_frame><location>.3 .1 -.2</location></Marker>'
        for n, f in markers.items()
    )
    return f"""<?xml version="1.0"?><OpenSimDocument Version="40600"><Model name="tree"><Ground name="ground"/>
<BodySet name="bodyset"><objects>{listed}</objects></BodySet>
<JointSet name="jointset"><objects>{"".join(joints)}</objects></JointSet>
<ConstraintSet name="constraintset"><objects>{constraints}</objects></ConstraintSet>{extra}
<MarkerSet name="markerset"><objects>{placed}</objects></MarkerSet></Model></OpenSimDocument>""".encode()


def joint(kind: str, name: str, ends: str, coordinates: str = "", inside: str = "") -> str:
    """A joint between two bodies ("A B", parent first), in oblique frames of its own."""
    paths = ["/ground" if b == "ground" else f"/bodyset/{b}" for b in ends.split()]
    listed = "".join(f"<Coordinate name='{c}'/>" for c in coordinates.split())
    listed = f"<coordinates>{listed}</coordinates>" if listed else ""
    places = ((".1 -.2 .3", ".3 -.4 .5"), ("-.1 .05 .2", "-.7 .2 .1"))
    frames = "".join(
        f"<PhysicalOffsetFrame name='{name}_{role}'><socket_parent>{path}</socket_parent>"
        f"<translation>{at}</translation><orientation>{turned}</orientation></PhysicalOffsetFrame>"
        for role, path, (at, turned) in zip("pc", paths, places, strict=True)
    )
    return (
        f"<{kind}Joint name='{name}'><socket_parent_frame>{name}_p</socket_parent_frame>"
        f"<socket_child_frame>{name}_c</socket_child_frame>{listed}<frames>{frames}</frames>{inside}</{kind}Joint>"
    )


def transform(axes: Mapping[str, tuple[str, str, str]]) -> str:
    """The SpatialTransform of a CustomJoint; `axes` gives some as (coordinates, direction, function)."""
    plain = ("0 0 1", "1 0 0", "0 1 0", "1 0 0", "0 1 0", "0 0 1")
    names = [f"{motion}{i}" for motion in ("rotation", "translation") for i in (1, 2, 3)]
    given = {n: ("", d, STILL.format(0)) for n, d in zip(names, plain, strict=True)} | dict(axes)
    inside = "".join(
        f"<TransformAxis name='{n}'><coordinates>{c}</coordinates><axis>{d}</axis>{f}</TransformAxis>"
        for n, (c, d, f) in given.items()
    )
    return f"<SpatialTransform>{inside}</SpatialTransform>"
