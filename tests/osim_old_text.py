"""A model as OpenSim 2 and 3 wrote it: joints within bodies, markers by body name. OpenSim upgrades it on load."""

_LINE = "<LinearFunction><coefficients>1 0</coefficients></LinearFunction>"
_POINTS = "<x>-1 -.4 .1 .9 1.2</x><y>0 .3 -.1 .4 .2</y>"
_SPLINE = f"<SimmSpline>{_POINTS}</SimmSpline>"
_OLD_SPLINE = f"<NaturalCubicSpline>{_POINTS}</NaturalCubicSpline>"
_OLDEST_SPLINE = f"<natCubicSpline>{_POINTS}</natCubicSpline>"
_SCALED = f"<MultiplierFunction><function>{_OLDEST_SPLINE}</function><scale>1.3</scale></MultiplierFunction>"
_MOMENTS = "".join(f"<inertia_{k}>{{0}}</inertia_{k}>" for k in ("xx", "yy", "zz"))


def _transform(axes: dict[str, tuple[str, str]]) -> str:
    plain = ("0 0 1", "1 0 0", "0 1 0", "1 0 0", "0 1 0", "0 0 1")
    names = [f"{motion}{i}" for motion in ("rotation", "translation") for i in (1, 2, 3)]
    still = ("", "<Constant><value>0</value></Constant>")
    parts = ((n, *axes.get(n, still), d) for n, d in zip(names, plain, strict=True))
    inside = "".join(
        f"<TransformAxis name='{n}'><coordinates>{c}</coordinates><axis>{d}</axis>"
        f"<function>{f}</function></TransformAxis>"
        for n, c, f, d in parts
    )
    return f"<SpatialTransform>{inside}</SpatialTransform>"


def _body(
    name: str, parent: str, kind: str, coordinates: str = "", inside: str = "", back: str = "false"
) -> str:
    listed = "".join(
        f"<Coordinate name='{c}'><motion_type>rotational</motion_type><default_value>.1</default_value>"
        "<range>-1.5 1.5</range><clamped>false</clamped><locked>false</locked><prescribed_function/></Coordinate>"
        for c in coordinates.split()
    )
    return f"""<Body name="{name}"><mass>1</mass><mass_center>0 0 0</mass_center>{_MOMENTS.format(1)}
<Joint><{kind}Joint name="{parent}_{name}"><parent_body>{parent}</parent_body>
<location_in_parent>.1 -.2 .3</location_in_parent><orientation_in_parent>.3 -.4 .5</orientation_in_parent>
<location>-.1 .05 .2</location><orientation>-.7 .2 .1</orientation>
<CoordinateSet><objects>{listed}</objects><groups/></CoordinateSet><reverse>{back}</reverse>{inside}</{kind}Joint></Joint>
<VisibleObject><GeometrySet><objects/></GeometrySet></VisibleObject></Body>"""


def _coupler(name: str, dependent: str, disabled: str) -> str:
    return f"""<CoordinateCouplerConstraint name="{name}"><isDisabled>{disabled}</isDisabled>
<coupled_coordinates_function>{_OLD_SPLINE}</coupled_coordinates_function>
<independent_coordinate_names>knee</independent_coordinate_names>
<dependent_coordinate_name>{dependent}</dependent_coordinate_name><scale_factor>2</scale_factor>
</CoordinateCouplerConstraint>"""


def old_document(version: int) -> bytes:
    """Ten bodies, one of whose joints is reversed, with couplers on and off."""
    axes = {
        "rotation1": ("tilt", _LINE),
        "translation1": ("tx", _LINE),
        "translation2": ("ty", _LINE),
    }
    knee = {"rotation1": ("knee", _LINE), "rotation2": ("beta", _LINE)}
    knee |= {"translation1": ("knee", _SPLINE), "translation2": ("knee", _SCALED)}
    bodies = [
        f"<Body name='ground'><mass>0</mass><mass_center>0 0 0</mass_center>{_MOMENTS.format(0)}<Joint/></Body>",
        _body("A", "ground", "Custom", "tilt tx ty", _transform(axes)),
        _body("B", "A", "Custom", "knee beta", _transform(knee)),
        _body("C", "B", "Pin", "ankle", back="true"),
        _body("D", "C", "Weld"),
        _body("E", "A", "Ball", "e1 e2 e3"),
        _body("F", "A", "Universal", "f1 f2"),
        _body("G", "A", "Free", "g1 g2 g3 g4 g5 g6"),
        _body("H", "A", "Slider", "h1"),
        _body("I", "A", "Ellipsoid", "i1 i2 i3", "<radii_x_y_z>.1 .2 .3</radii_x_y_z>"),
    ]
    constraints = _coupler("on", "beta", "false") + _coupler("off", "ankle", "true")
    markers = "".join(
        f"<Marker name='on_{b}'><body>{b}</body><location>.1 .2 -.3</location><fixed>false</fixed></Marker>"
        for b in ("ground", *"ABCDEFGHI")
    )
    return f"""<?xml version="1.0"?><OpenSimDocument Version="{version}"><Model name="old">
<length_units>meters</length_units><BodySet><objects>{"".join(bodies)}</objects></BodySet>
<ConstraintSet><objects>{constraints}</objects></ConstraintSet>
<MarkerSet><objects>{markers}</objects></MarkerSet></Model></OpenSimDocument>""".encode()
