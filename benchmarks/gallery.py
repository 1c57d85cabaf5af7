"""Draws people to be looked at: random crops, deep squats from four sides, bodies, outfits, refused poses, photographs.

    OMP_NUM_THREADS=1 python -m benchmarks.gallery FOLDER [--data ../shared/data] [--only squats …]

Writes FOLDER/gallery.html, one page without any outside link, and each sheet as .png. Everything is drawn as
`lower_body` with an asset pack and environment maps draws it, with the words that a section names.
"""

import argparse
import base64
import html
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np

from pipeline import overlay, recipes
from schemas.recipes import CocoRecipe, Recipe, SynthRecipe
from schemas.shards import ShardContents, ShardKey
from workers import cast, coco, images, performance, synth, takes

SIDE = 200
YAWS = (0, 90, 180, -90)
CLOSEST = ("gait", "lunge")
"""Lots whose limbs come nearest to each other."""
_HIDDEN_OF = 3
"""People of each lot among whom the most hidden are looked for."""
ALONE = "splits={train: 1, val: 0, test: 0}"


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One picture and what it shows."""

    picture: overlay.Picture
    caption: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """Pictures that belong together."""

    columns: int
    text: str
    tiles: list[Tile]


class Gallery:
    """Makes the sections from shipped recipes and given data."""

    def __init__(self, data: Path) -> None:
        self._data = data
        pack = data / "makehuman_cc0"
        self._given = [f"wardrobe.assets={pack}", f"scene.hdri={pack / 'hdri'}", ALONE]

    @property
    def sections(self) -> dict[str, Callable[[], Section]]:
        """Returns what makes each section, by name."""
        return {
            "crops": self.crops,
            "squats": self.squats,
            "bodies": self.bodies,
            "outfits": self.outfits,
            "failures": self.failures,
            "photographs": self.photographs,
        }

    def crops(self) -> Section:
        """Eight people in each lot, a picture each, nobody twice."""
        recipe = self._recipe([])
        found = [made for lot in recipe.motions for made in self._shots(recipe, lot, 8)]
        tiles = [_tile(c, i, f"{c.tables['motions'][0]['name']}, {_who(c, i)}") for c, i in found]
        return Section(columns=8, text="64 crops of eight lots, none chosen", tiles=tiles)

    def squats(self) -> Section:
        """The same deep moment of each of 16 people from in front, the left, behind and the right."""
        deep = ["motions.squat.depth=[115, 135]", 'targets={knee_flexion: {">110": 1}}']
        sides = []
        for yaw in YAWS:
            view = [f"camera.yaw=[{yaw}, {yaw}]", "camera.views={front: 0, side: 0, oblique: 0}"]
            sides.append([*self._shots(self._recipe([*deep, *view]), "squat", 16)])
        if any(
            len({_subject(*shot) for shot in person}) > 1 for person in zip(*sides, strict=True)
        ):
            raise RuntimeError("a camera stood in a person: the sides show different people")
        tiles = [
            _tile(c, i, f"{_who(c, i)}, camera at {yaw}°")
            for person in zip(*sides, strict=True)
            for yaw, (c, i) in zip(YAWS, person, strict=True)
        ]
        return Section(columns=8, text="16 deep squats, each from four sides", tiles=tiles)

    def bodies(self) -> Section:
        """Sixteen people standing, the lightest for their height first."""
        words = ["camera.views={side: 0, oblique: 0, any: 0}", "scene.occluder=0"]
        recipe = self._recipe([*words, 'targets={knee_flexion: {"<15": 1}}'])
        found = sorted(self._shots(recipe, "squat", 16), key=_bmi)
        tiles = [_tile(c, i, _who(c, i)) for c, i in found]
        return Section(columns=8, text="16 bodies, by body mass index", tiles=tiles)

    def outfits(self) -> Section:
        """Sixteen outfits, half of them suits of the pack."""
        words = ["camera.views={side: 0, any: 0}", "scene.occluder=0", "seed=1"]
        recipe = self._recipe([*words, 'targets={knee_flexion: {"20..80": 1}}'])
        found = self._shots(recipe, "squat", 16)
        tiles = [_tile(c, i, _worn(c, i)) for c, i in found]
        return Section(columns=8, text="16 outfits, of the pack and painted", tiles=tiles)

    def failures(self) -> Section:
        """Poses that quarantine refused, drawn all the same, then the most hidden of them and a few others."""
        recipe, tiles, others, tried = self._recipe([], frames=16), [], [], 0
        for lot in CLOSEST:
            sources = synth.load(synth.for_lot(recipe, lot))
            first = recipe.motions[lot].first
            for subject in range(first, first + 16):
                tried += recipe.motions[lot].frames
                person = cast.person_of(recipe, sources, lot, subject)
                shown = takes.takes_of(recipe, lot, sources, person.model, person.body, subject)
                rejects = {frame: e for take in shown for frame, e in take.rejects.items()}
                if not rejects and subject >= first + _HIDDEN_OF:
                    continue
                with mock.patch.object(performance, "_penetrating", return_value={}):
                    contents, _ = self._shard(recipe, lot, subject)
                frames = contents.arrays["sample_id"] % recipe.motions[lot].frames
                for row, frame in enumerate(int(f) for f in frames):
                    if frame in rejects:
                        tiles.append(_tile(contents, row, f"{lot}, {rejects[frame]}"))
                    else:
                        others.append((contents, row))
        others.sort(key=lambda other: -float(other[0].arrays["occlusion"][other[1]]))
        hidden = [_tile(c, i, f"{_share(c, i)} of the joints hidden") for c, i in others[:16]]
        text = f"{len(tiles)} refused of {tried} poses, then the most hidden"
        return Section(columns=8, text=text, tiles=[*tiles, *hidden])

    def photographs(self) -> Section:
        """Persons of COCO, cut out as the drawn ones are."""
        folder = self._data / "coco"
        annotations = next((folder / "annotations").glob("*.json"))
        words = [f"images={folder / 'images'}", f"annotations={annotations}", "image_px=256"]
        kept = ["subset=lower_visible", "min_box_px=150", "context=1.3", "shard_samples=32"]
        recipe: Recipe = recipes.load("coco_lower", [*words, *kept])
        if not isinstance(recipe, CocoRecipe):
            raise TypeError(recipe.kind)
        index = coco.load(recipe)
        contents = coco.make_shard(recipe, index, coco.plan(recipe, index)[0])
        tiles = [_tile(contents, i, "") for i in range(min(32, len(contents.images)))]
        return Section(columns=8, text="Photographs of COCO to hold them against", tiles=tiles)

    def _recipe(self, words: list[str], frames: int = 1) -> SynthRecipe:
        recipe = recipes.load("lower_body", [*self._given, *words])
        if not isinstance(recipe, SynthRecipe):
            raise TypeError(recipe.kind)
        lots = {n: lot.model_copy(update={"frames": frames}) for n, lot in recipe.motions.items()}
        return recipe.model_copy(update={"motions": lots})

    def _shots(
        self, recipe: SynthRecipe, lot: str, count: int
    ) -> Iterator[tuple[ShardContents, int]]:
        """Yields one picture each of so many subjects; who is refused gives way to the next."""
        numbers = itertools.count(recipe.motions[lot].first)
        shards = (self._shard(recipe, lot, subject) for subject in numbers)
        shown = ((contents, 0) for contents, rows in shards if rows)
        return itertools.islice(shown, count)

    def _shard(self, recipe: SynthRecipe, lot: str, subject: int) -> tuple[ShardContents, int]:
        """Makes a shard of one subject; returns it and the number of its pictures."""
        key = ShardKey(source="synth", lot=lot, split="train", members=(subject,))
        contents = synth.make_shard(recipe, synth.load(synth.for_lot(recipe, lot)), key)
        return contents, len(contents.images)


def _tile(contents: ShardContents, row: int, caption: str) -> Tile:
    picture = cv2.resize(
        images.decode(contents.images[row]), (SIDE, SIDE), interpolation=cv2.INTER_AREA
    )
    return Tile(picture=np.asarray(picture, np.uint8), caption=caption)


def _subject(contents: ShardContents, row: int) -> int:
    return int(contents.arrays["group_id"][row])


def _about(contents: ShardContents, row: int) -> dict[str, Any]:
    about: dict[str, Any] = contents.tables["subjects"][str(_subject(contents, row))]
    return about


def _who(contents: ShardContents, row: int) -> str:
    about = _about(contents, row)
    return (
        f"{about['sex']}, {about['age']:.0f} y, {about['stature_m']:.2f} m, BMI {about['bmi']:.0f}"
    )


def _bmi(shot: tuple[ShardContents, int]) -> float:
    return float(_about(*shot)["bmi"])


def _worn(contents: ShardContents, row: int) -> str:
    outfit = contents.tables["garments"][int(contents.arrays["garment_id"][row])]
    names = []
    for part in ("suit", "top", "bottom", "shoes", "hair"):
        about = outfit.get(part, "none")
        if isinstance(about, dict):
            named = str(about.get("asset") or about.get("kind") or about.get("style"))
            names.append(named.rsplit("/", 1)[-1].removesuffix(".mhclo"))
    return ", ".join(names)


def _share(contents: ShardContents, row: int) -> str:
    return f"{100 * float(contents.arrays['occlusion'][row]):.0f} %"


def page(sections: dict[str, Section]) -> str:
    """Returns one HTML page with all pictures in it."""
    parts = [
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Gallery</title><style>"
        "body{font:14px/1.4 system-ui,sans-serif;margin:2rem auto;max-width:1700px;padding:0 1rem}"
        "div{display:grid;gap:.5rem}figure{margin:0}img{width:100%;display:block}"
        "figcaption{font-size:11px;color:#5c656e}</style>"
    ]
    for section in sections.values():
        parts.append(
            f"<h2>{html.escape(section.text)}</h2>"
            f'<div style="grid-template-columns:repeat({section.columns},1fr)">'
        )
        for tile in section.tiles:
            data = base64.b64encode(images.encode(tile.picture, 88)).decode()
            said = html.escape(tile.caption)
            parts.append(
                f'<figure><img alt="{said}" src="data:image/jpeg;base64,{data}">'
                f"<figcaption>{said}</figcaption></figure>"
            )
        parts.append("</div>")
    return "".join(parts)


def main() -> None:
    """Writes the page and the sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    makers = Gallery(Path("../shared/data")).sections
    parser.add_argument("--only", nargs="+", choices=list(makers), default=list(makers))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    makers, made = Gallery(options.data.resolve()).sections, {}
    for name in options.only:
        made[name] = makers[name]()
        picture = overlay.sheet([t.picture for t in made[name].tiles], made[name].columns)
        cv2.imwrite(str(options.folder / f"{name}.png"), picture[..., ::-1])
        print(f"{name}: {made[name].text}, {len(made[name].tiles)} pictures", flush=True)
    (options.folder / "gallery.html").write_text(page(made))


if __name__ == "__main__":
    main()
