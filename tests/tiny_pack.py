"""A small asset pack made by hand: a cape, a pair of shoes, hair and two skins, in MakeHuman's layout."""

import io
import zipfile
from pathlib import Path

import cv2
import numpy as np

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
