"""Fetches `.osim` documents and refuses what is none, before OpenSim's C++ sees it."""

from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from schemas.errors import InputError
from schemas.files import absolute, read_bytes
from workers.osim_expressions import program_of

DEFAULT_MODEL = "default"
_MAX_BYTES = 64 * 1024**2
_MAX_DEPTH = 64
"""The models at hand nest 11 deep; its C++ reads by recursion."""
FEWEST_NUMBERS = {
    "LinearFunction": 2,
    "PolynomialFunction": 1,
    "SimmSpline": 2,
    "PiecewiseLinearFunction": 2,
    "PiecewiseConstantFunction": 1,
    "GCVSpline": 2,
}
"""Of coefficients or knots, by function."""
FUNCTION_OWNERS = (
    ("TransformAxis", "coordinates", "function"),
    ("CoordinateCouplerConstraint", "independent_coordinate_names", "coupled_coordinates_function"),
)
"""What holds functions of coordinates, where it lists these, and the element that may hold the function."""


def read_model(url: str) -> bytes:
    """Reads an `.osim`: `default` for the one this project ships, else any URL.

    Raises:
        InputError: cannot be read, or is not an OpenSim model.
    """
    if url == DEFAULT_MODEL:
        return resources.files("workers").joinpath("models/kineforge_body.osim").read_bytes()
    osim = read_bytes(absolute(url), _MAX_BYTES)
    check_document(osim, url)
    return osim


def missing_meshes(osim: bytes, url: str) -> list[str]:
    """Lists the mesh files that a model names and that lie neither beside it nor in its Geometry folder.

    Nothing here needs them; they matter to whoever opens the model in OpenSim's own window.
    """
    root = check_document(osim, url)
    names = {(node.text or "").strip() for node in root.iter("mesh_file")} - {""}
    if url == DEFAULT_MODEL or "://" in url or "::" in url:
        return sorted(names)
    folder = Path(url).expanduser().absolute().parent
    return sorted(
        n for n in names if not any((folder / s / n).is_file() for s in (".", "Geometry"))
    )


def check_document(osim: bytes, label: str) -> ElementTree.Element:
    """Refuses what is not an OpenSim model before C++ sees it."""
    remedy = "Name an OpenSim model file"
    _check_structure(osim, label)
    try:
        root = ElementTree.fromstring(osim)
    except ElementTree.ParseError as error:
        raise InputError(label, f"is not whole XML ({error})", remedy) from error
    if root.tag != "OpenSimDocument" or root.find("Model") is None:
        raise InputError(label, f"is no OpenSim model (its root is <{root.tag}>)", remedy)
    for function in root.iter():
        if function.tag in FEWEST_NUMBERS:
            _check_function(function, label)
    for joint in root.iter("CustomJoint"):
        lists = [*joint.iter("coordinates"), *joint.iter("coordinate")]
        if not any((node.text or "").strip() for node in lists if not len(node)):
            # OpenSim's C++ ends the process here.
            remedy = "Make it a WeldJoint"
            raise InputError(label, f"has a joint {joint.get('name')} without coordinates", remedy)
    for owner, list_of, functions in FUNCTION_OWNERS:
        for node in root.iter(owner):
            arguments = len((node.findtext(list_of) or "").split())
            for function in _innermost(node, functions):
                _check_arguments(function, arguments, f"{label}, {node.get('name', owner)}")
    return root


def _check_structure(osim: bytes, label: str) -> None:
    """Refuses entities, in whatever encoding, and elements nested so deeply that C++ would run out of stack."""
    depth = 0
    remedy = "Name an OpenSim model file"

    def refuse(*_: Any) -> None:
        raise InputError(label, "defines XML entities, which no OpenSim model does", remedy)

    def enter(*_: Any) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise InputError(label, f"nests elements more than {_MAX_DEPTH} deep", remedy)

    def leave(*_: Any) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = enter, leave
    try:
        parser.Parse(osim, True)
    except expat.ExpatError as error:
        raise InputError(label, f"is not whole XML ({error})", remedy) from error


def _innermost(node: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    """Returns the function that a node holds, by itself or within an element, without the multipliers around it."""
    held = [child for child in node if child.tag.endswith(("Function", "Spline", "Sine"))]
    held += [child for outer in node.findall(tag) for child in outer]
    inside = [f for m in held if m.tag == "MultiplierFunction" for f in _innermost(m, "function")]
    return inside + [f for f in held if f.tag != "MultiplierFunction"]


def _check_arguments(function: ElementTree.Element, given: int, label: str) -> None:
    """Refuses functions of more arguments than they get: OpenSim's C++ reads past the end, or never ends."""
    numbers = len((function.findtext("coefficients") or "1 0").split())
    variables = (function.findtext("variables") or "").split()
    dimension = (function.findtext("dimension") or "0").strip()
    wrong = given == 0 and function.tag not in ("Constant", "LinearFunction")
    wrong |= function.tag == "LinearFunction" and numbers <= given
    wrong |= function.tag == "MultivariatePolynomialFunction" and dimension != str(given)
    wrong |= function.tag == "ExpressionBasedFunction" and len(variables) > given
    if wrong:
        remedy = "Give it as many arguments as it has coordinates"
        raise InputError(label, f"holds a {function.tag} of other than {given} coordinates", remedy)
    if function.tag == "ExpressionBasedFunction":
        try:
            program_of((function.findtext("expression") or "").strip(), variables)
        except ValueError as error:
            remedy = "Write it with other functions"
            raise InputError(label, f"holds an expression that {error}", remedy) from error


def _check_function(function: ElementTree.Element, label: str) -> None:
    """Refuses lists of numbers at which OpenSim's C++ reads past the end."""
    lists = [function.find(tag) for tag in ("coefficients", "x", "y")]
    counts = {len((found.text or "").split()) for found in lists if found is not None}
    fewest = FEWEST_NUMBERS[function.tag]
    if counts and (len(counts) > 1 or min(counts) < fewest):
        raise InputError(
            label,
            f"holds a {function.tag} with {' and '.join(map(str, sorted(counts)))} numbers",
            f"Give it at least {fewest}, as many x as y",
        )
