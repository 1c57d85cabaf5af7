"""Fetches `.osim` documents and refuses what is none, before OpenSim's C++ sees it."""

from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

from schemas.errors import InputError
from schemas.files import absolute, read_bytes

DEFAULT_MODEL = "default"
FEWEST_NUMBERS = {
    "LinearFunction": 2,
    "PolynomialFunction": 1,
    "SimmSpline": 2,
    "PiecewiseLinearFunction": 2,
    "PiecewiseConstantFunction": 1,
    "GCVSpline": 2,
}
"""Of coefficients or knots, by function."""


def read_model(url: str) -> bytes:
    """Reads an `.osim`: `default` for the one this project ships, else any URL.

    Raises:
        InputError: cannot be read, or is not an OpenSim model.
    """
    if url == DEFAULT_MODEL:
        return resources.files("workers").joinpath("models/kineforge_body.osim").read_bytes()
    osim = read_bytes(absolute(url))
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
    if b"<!ENTITY" in osim:
        raise InputError(label, "defines XML entities, which no OpenSim model does", remedy)
    try:
        root = ElementTree.fromstring(osim)
    except ElementTree.ParseError as error:
        raise InputError(label, f"is not whole XML ({error})", remedy) from error
    if root.tag != "OpenSimDocument" or root.find("Model") is None:
        raise InputError(label, f"is no OpenSim model (its root is <{root.tag}>)", remedy)
    for function in root.iter():
        if function.tag in FEWEST_NUMBERS:
            _check_function(function, label)
    return root


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
