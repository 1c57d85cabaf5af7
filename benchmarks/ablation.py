"""Asks real photographs what helps: a small 2D net trained on variants of synthetic people, and with few real persons.

    OMP_NUM_THREADS=1 python -m benchmarks.ablation FOLDER [--data ../shared/data] [--steps 150] [--seeds 1]

Datasets are built once in FOLDER, each finished run is a line of FOLDER/runs.jsonl, and the same command goes on after
a stop. Every net sees the same number of steps and is measured on the same COCO persons, whose pictures nothing else
uses. Pictures of the test split are drawn anew, the same for all nets, to say how far a difference can be trusted.
The last line is one JSON object.
"""

import argparse
import itertools
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline import build, recipes
from pipeline.executor import LocalExecutor
from schemas import manifest
from schemas.recipes import CocoRecipe
from schemas.shards import generator, unit_hash
from schemas.training import FitRecipe
from trainers import checkpoint, evaluate, loop, metrics
from trainers import recipes as training
from trainers.corpus import Corpus, open_corpus
from trainers.data import stream_of
from trainers.metrics import Tally
from trainers.task import Baseline, Task
from trainers.tasks import make_task
from workers import coco, images

BATCH = 30
MEAN_POSE = "mean pose"
FEW = (30, 100, 300)
REDRAWN = 64
"""How often the test pictures are drawn anew."""
SPLITS = "splits={train: 0.6, val: 0, test: 0.4}"
ALL_TRAIN = "splits={train: 1, val: 0, test: 0}"
LOTS = (
    *("squat", "sit_to_stand", "lunge", "single_leg_squat"),
    *("hinge", "calf_raise", "gait", "poses"),
)
SCORES = {"ap": "oks6_AP", "pck": "pck@0.1_box"}


def variants(data: Path, photos: Path) -> dict[str, list[str]]:
    """Returns the words that make each synthetic dataset out of `lower_body`: one change each from `clothed`.

    `clothed_again` changes nothing but the draw: other differences are to be held against its own.
    """
    pack = data / "makehuman_cc0"
    assets, hdri = f"wardrobe.assets={pack}", f"scene.hdri={pack / 'hdri'}"
    return {
        "clothed": [assets, hdri],
        "clothed_again": [assets, hdri, "seed=1"],
        "painted": [hdri],
        "plain_light": [assets],
        "no_occluders": [assets, hdri, "scene.occluder=0"],
        "more_occluders": [assets, hdri, "scene.occluder=0.5"],
        "more_dressed": [assets, hdri, "wardrobe.dressed=0.9"],
        "photos": [assets, hdri, f"scene.backgrounds={photos}"],
    }


def made(url: Path, recipe: str, words: Sequence[str]) -> manifest.Dataset:
    """Builds a dataset, or what is missing of it."""
    asked = recipes.load(recipe, words)
    built = build.build(
        asked, str(url), build.plan(asked, str(url)), LocalExecutor(), lambda *_: None
    )
    if built.dataset is None:
        raise RuntimeError(f"{url.name}: {built.failures}")
    return built.dataset


def synthetic(folder: Path, name: str, words: Sequence[str], people: int) -> manifest.Dataset:
    """Builds a variant: `people` subjects of every lot of `lower_body`, 16 frames each."""
    sizes = [
        f"motions.{lot}.{k}={n}" for lot in LOTS for k, n in (("subjects", people), ("frames", 16))
    ]
    return made(folder / name, "lower_body", [*words, *sizes, ALL_TRAIN, "shard_samples=128"])


def real_words(data: Path, annotations: Path) -> list[str]:
    """Returns the words that select persons with six labelled joints."""
    return [
        *(f"images={data / 'coco/images'}", f"annotations={annotations}"),
        *("subset=lower_labelled", "image_px=256"),
    ]


def selected(data: Path, annotations: Path) -> tuple[list[int], set[int]]:
    """Returns the train split's persons in an order drawn once, and its pictures."""
    recipe = recipes.load("coco_lower", [*real_words(data, annotations), SPLITS])
    if not isinstance(recipe, CocoRecipe):
        raise TypeError(recipe.kind)
    index = coco.load(recipe)
    keys = [key for key in coco.plan(recipe, index) if key.split == "train"]
    persons = [person for key in keys for person in index.members(key)]
    order = sorted((p.annotation_id for p in persons), key=lambda i: unit_hash("few", i))
    return order, {p.image_id for p in persons}


def few_real(
    folder: Path, data: Path, annotations: Path, order: Sequence[int], count: int
) -> manifest.Dataset:
    """Builds a dataset of the first `count` persons of an order."""
    document, chosen = json.loads(annotations.read_bytes()), {*order[:count]}
    document["annotations"] = [a for a in document["annotations"] if a["id"] in chosen]
    folder.mkdir(parents=True, exist_ok=True)
    few = folder / f"real_{count}.json"
    few.write_text(json.dumps(document))
    return made(folder / f"real_{count}", "coco_lower", [*real_words(data, few), ALL_TRAIN])


def cut_photos(folder: Path, data: Path, annotations: Path, pictures: set[int]) -> int:
    """Cuts the largest square without a person's box out of each picture of the train split; returns how many.

    Every picture of the data shows people, so these pieces stand for photographs without; people that nobody labelled
    may be in them.
    """
    document = json.loads(annotations.read_bytes())
    folder.mkdir(parents=True, exist_ok=True)
    for picture in document["images"]:
        if picture["id"] not in pictures:
            continue
        own = [a["bbox"] for a in document["annotations"] if a["image_id"] == picture["id"]]
        square = _free_square(picture["width"], picture["height"], np.array(own, np.float64))
        if square is not None:
            source = images.decode((data / "coco/images" / picture["file_name"]).read_bytes())
            x, y, side = square
            piece = np.ascontiguousarray(source[y : y + side, x : x + side])
            (folder / picture["file_name"]).write_bytes(images.encode(piece, 92))
    return len(list(folder.glob("*.jpg")))


def _free_square(width: int, height: int, boxes: np.ndarray) -> tuple[int, int, int] | None:
    for side in range(min(width, height), 179, -20):
        for y in range(0, height - side + 1, 20):
            for x in range(0, width - side + 1, 20):
                apart = (boxes[:, :2] > [x + side, y + side]) | (
                    boxes[:, :2] + boxes[:, 2:] < [x, y]
                )
                if apart.any(1).all():
                    return x, y, side
    return None


def fit_recipe(steps: int, seed: int, mixed: bool) -> FitRecipe:
    """Returns a training of so many steps; of a mixture half of every batch is real."""
    words = [
        *("task.net=fpn", "task.input=[64, 64]", "task.sigma=1.5", f"batch={BATCH}"),
        *(f"seed={seed}", f"epochs={steps}", f"max_steps={steps}", f"validate_every={steps}"),
        *("optimiser.warmup_steps=20", "optimiser.final=0.02", "stream.threads=1"),
        f"stream.mix={[0.5, 0.5] if mixed else None}".replace("None", "null"),
    ]
    return training.load("pose2d_resnet18", words)


def trained(task: Task, recipe: FitRecipe, train: Corpus, run: Path) -> Baseline:
    """Trains a net in this process, products in bfloat16; a run that was cut short begins anew."""
    shutil.rmtree(run, ignore_errors=True)
    cpu = torch.device("cpu")
    # A cache of cast weights would outlive the steps that change them: it is emptied where autocast ends.
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        loop.fit(task, recipe, train, None, to=str(run), device=cpu)
    _, net = checkpoint.restore(checkpoint.load(checkpoint.complete(str(run))[-1]), cpu)
    shutil.rmtree(run)
    return lambda prepared: task.predict(task.run(net, prepared), prepared)


def by_picture(task: Task, predict: Baseline, recipe: FitRecipe, test: Corpus) -> list[Tally]:
    """Measures a predictor on every picture by itself, in the order of their numbers."""
    whole = recipe.model_copy(update={"batch": test.rows})
    stream = stream_of(task, whole, test, last="keep", shuffle=False)
    cpu = torch.device("cpu")
    (_, prepared), *_ = stream.batches(0, lambda batch: task.prepare(batch, False, cpu))
    with torch.inference_mode():
        said = predict(prepared)
    found = []
    for number in np.unique(prepared["picture"].numpy()):
        rows = prepared["picture"] == int(number)
        mine, true = ({k: v[rows] for k, v in part.items()} for part in (said, prepared))
        found.append(task.measure(mine, true))
    return found


def scores(task: Task, tallies: Sequence[Tally]) -> dict[str, float]:
    """Returns the scores of pictures, one of which may be there twice."""
    numbered = [
        replace(t, rows={**t.rows, "picture": np.full(len(t.rows["picture"]), i)})
        for i, t in enumerate(tallies)
    ]
    found = task.finalise(metrics.total(numbered))
    return {name: round(found[long], 4) for name, long in SCORES.items()}


def measured(task: Task, tallies: Sequence[Tally]) -> dict[str, Any]:
    """Returns the scores, and those of each redrawn set of as many pictures."""
    rng = generator(0, "redrawn")
    draws = [rng.integers(len(tallies), size=len(tallies)) for _ in range(REDRAWN)]
    return scores(task, tallies) | {
        "redrawn": [scores(task, [tallies[i] for i in draw]) for draw in draws]
    }


def table(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns a row for each set of data: means over seeds, and the distance from `clothed` with its deviation.

    A deviation is that of the redrawn test pictures; what the seeds differ by is `seed_deviation`.
    """
    names = list(dict.fromkeys(run["name"] for run in runs))

    def of(name: str, score: str) -> tuple[float, np.ndarray]:
        mine = [run for run in runs if run["name"] == name]
        redrawn = np.mean([[r[score] for r in run["redrawn"]] for run in mine], axis=0)
        return float(np.mean([run[score] for run in mine])), redrawn

    rows = []
    for name in names:
        row: dict[str, Any] = {"name": name}
        for score in SCORES:
            value, redrawn = of(name, score)
            against = name.replace("clothed +", "real") if "+" in name else "clothed"
            base, others = of(against if against in names else name, score)
            row |= {
                score: round(value, 3),
                f"{score}_sd": round(float(redrawn.std(ddof=1)), 3),
                f"{score}_gain": round(value - base, 3),
                f"{score}_gain_sd": round(float((redrawn - others).std(ddof=1)), 3),
                f"{score}_seeds": [run[score] for run in runs if run["name"] == name],
            }
        rows.append(row)
    return rows


def seed_deviation(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Returns the standard deviation of each score between seeds, pooled over the nets that have several."""
    found = {}
    for score in SCORES:
        seeds = [row[f"{score}_seeds"] for row in rows if row["name"] != MEAN_POSE]
        squares = [float(np.var(values, ddof=1)) for values in seeds if len(values) > 1]
        if squares:
            found[score] = round(float(np.sqrt(np.mean(squares))), 4)
    return found


@dataclass(frozen=True, kw_only=True)
class Study:
    """What all runs share."""

    folder: Path
    data: Path
    steps: int
    people: int
    """Subjects of each lot of `lower_body`."""

    @cached_property
    def annotations(self) -> Path:
        """Returns the file of persons."""
        return next((self.data / "coco/annotations").glob("*.json"))

    @cached_property
    def test(self) -> Corpus:
        """Returns the persons to measure on."""
        words = [*real_words(self.data, self.annotations), SPLITS]
        return open_corpus([made(self.folder / "real_all", "coco_lower", words)], "test")

    @cached_property
    def order(self) -> list[int]:
        """Returns the persons to learn from; pieces of their pictures lie in `pieces` from then on."""
        order, pictures = selected(self.data, self.annotations)
        count = cut_photos(self.folder / "pieces", self.data, self.annotations, pictures)
        print(f"{len(order)} persons to learn from, {self.test.rows} to measure on; {count} pieces")
        return order

    @cached_property
    def plans(self) -> dict[str, tuple[str | None, int]]:
        """Returns by run which variant of synthetic people and how many real persons it learns from."""
        plans: dict[str, tuple[str | None, int]] = {name: (name, 0) for name in self._variants}
        plans[MEAN_POSE] = (None, len(self.order))
        for count in (*FEW, len(self.order)):
            plans |= {f"real {count}": (None, count), f"clothed + {count}": ("clothed", count)}
        return plans

    @property
    def _variants(self) -> dict[str, list[str]]:
        return variants(self.data, self.folder / "pieces")

    def run(self, name: str, seed: int) -> dict[str, Any]:
        """Builds what a run learns from, trains and measures; returns its line of the log."""
        start, sets, (variant, count) = time.process_time(), [], self.plans[name]
        if variant:
            sets.append(synthetic(self.folder, variant, self._variants[variant], self.people))
        if count:
            sets.append(few_real(self.folder, self.data, self.annotations, self.order, count))
        built = time.process_time() - start
        recipe = fit_recipe(self.steps, seed, mixed=len(sets) == 2)
        train, task = open_corpus(sets, "train", recipe.stream.mix), make_task(recipe, None)
        if name == MEAN_POSE:
            predict = task.baselines(evaluate.summarise(task, train, recipe))["mean_pose"]
        else:
            predict = trained(task, recipe, train, self.folder / "run")
        line = {"name": name, "seed": seed, "steps": self.steps, "rows": train.rows}
        line |= measured(task, by_picture(task, predict, recipe, self.test))
        return line | {"built_s": round(built), "cpu_s": round(time.process_time() - start)}


def main() -> None:
    """Builds, trains and measures what is missing, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--people", type=int, default=8, help="of each lot of lower_body")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="runs to make, in this order")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder, data = options.folder.resolve(), options.data.resolve()
    study = Study(folder=folder, data=data, steps=options.steps, people=options.people)
    log = folder / "runs.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    runs = [line for line in lines if line["steps"] == options.steps]
    known = {(run["name"], run["seed"]) for run in runs}
    for seed, name in itertools.product(range(options.seeds), options.only or study.plans):
        if (name, seed) not in known:
            runs.append(study.run(name, seed))
            with log.open("a") as file:
                file.write(json.dumps(runs[-1]) + "\n")
            print({k: v for k, v in runs[-1].items() if k != "redrawn"}, flush=True)
    rows = table(runs)
    for row in rows:
        print(*(f"{k} {v}" for k, v in row.items()), sep="  ")
    told = {"steps": options.steps, "test": study.test.rows, "seed_sd": seed_deviation(rows)}
    print(json.dumps(told | {"rows": rows}))


if __name__ == "__main__":
    main()
