"""Nets from data: `fit RECIPE --data URL --to URL`, `evaluate CHECKPOINT --data URL`, `predict CHECKPOINT VIDEO`;
angles from markers: `solve MODEL TRC --to MOT`."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from schemas import files, manifest
from schemas.errors import InputError
from schemas.skeleton import SkeletonSpec
from schemas.training import FitRecipe
from trainers import (
    checkpoint,
    evaluate,
    loop,
    predict_command,
    recipes,
    same_skeleton,
    session,
    solve_command,
)
from trainers.corpus import only_skeleton, open_corpus
from trainers.loop import Event, History

log = logging.getLogger(__name__)


def _urls(text: str) -> list[str]:
    urls = [url for url in text.split(",") if url]
    if not urls:
        raise argparse.ArgumentTypeError(f"{text!r} names no dataset")
    return urls


def _count(text: str) -> int:
    """Reads a whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def fit(args: argparse.Namespace) -> dict[str, Any]:
    """Trains a recipe and says where it lies."""
    recipe = recipes.load(args.recipe, args.set)
    bar: tqdm[Any] | None = None
    shown: dict[str, str] = {}

    def report(event: Event) -> None:
        # Opened by the first step: a refusal before it is then the only thing on the screen.
        nonlocal bar
        if bar is None:
            bar = tqdm(
                desc=recipe.name,
                unit="step",
                total=event.of_steps,
                initial=event.total_steps - 1,
                disable=args.json,
            )
        bar.update(event.total_steps - bar.n)
        if "loss" in event.values:
            shown["val_loss" if event.validated else "loss"] = f"{event.values['loss']:.5f}"
        bar.set_postfix(shown)

    try:
        history = _fit(recipe, args, report)
    finally:
        if bar is not None:
            bar.close()
    first, last = history.steps[0], history.steps[-1]
    metrics = history.validations[-1]["metrics"] if history.validations else {}
    return {
        "run": args.to,
        "checkpoint": checkpoint.complete(args.to)[-1],
        "steps": int(last["step"]),
        "first_loss": first["loss"],
        "last_loss": last["loss"],
        "metrics": metrics,
    }


def _fit(recipe: FitRecipe, args: argparse.Namespace, report: Callable[[Event], None]) -> History:
    if args.no_ray:
        return session.run(recipe, args.data, args.to, session.pick_device(), report)
    # Ray takes seconds to import, and a run without it needs none of them.
    from trainers import ray_train

    gpu = session.pick_device().type == "cuda" if args.gpu is None else args.gpu
    return ray_train.fit(
        recipe, args.data, args.to, workers=args.workers, use_gpu=gpu, report=report
    )


def evaluate_checkpoint(args: argparse.Namespace) -> dict[str, Any]:
    """Measures a checkpoint on one split and stores the result beside it."""
    url = checkpoint.best(args.checkpoint) if args.best else args.checkpoint
    saved = checkpoint.load(url)
    device = session.pick_device()
    task, net = checkpoint.restore(saved, device)
    datasets = [manifest.open_dataset(u) for u in args.data]
    if saved.skeleton is not None:
        given = only_skeleton(datasets)
        if given is None:
            raise InputError(
                ",".join(args.data), "has samples without a skeleton", "Evaluate on synthetic data"
            )
        same_skeleton.require_skeleton(saved.skeleton, given, ",".join(args.data))
    corpus = open_corpus(datasets, args.split)
    baselines = task.baselines(saved.summary)
    with tqdm(total=corpus.rows, unit="sample", desc=args.split, delay=1, disable=args.json) as bar:

        def tick(size: int) -> None:
            bar.update(size)

        further = task.second_steps(saved.summary)
        found = evaluate.measure(task, net, corpus, saved.recipe, device, baselines, tick, further)
    result = {
        "checkpoint": saved.url,
        "dataset_ids": list(corpus.dataset_ids),
        "split": args.split,
        "metrics": found,
    }
    text = json.dumps(loop.plain(result), indent=1, sort_keys=True)
    stored = f"{saved.url}/evaluation-{args.split}-{corpus.identity[:12]}.json"
    try:
        files.write_whole(stored, text.encode())
    except InputError as error:
        # A published checkpoint may be read-only, and the figures are worth minutes.
        log.warning("the metrics are printed, but not stored: %s", error)
        return result
    return result | {"stored": stored}


def predict_video(args: argparse.Namespace) -> dict[str, Any]:
    """Reads kinematics from a video and writes OpenSim's files."""
    # OpenSim takes seconds to load, and no other verb needs it.
    from workers import motions, osim, trc

    writers = predict_command.Writers(
        mot=motions.write_mot, trc=trc.write_trc, osim=osim.write_osim
    )
    return predict_command.run(args, writers)


def solve_trial(args: argparse.Namespace) -> dict[str, Any]:
    """Finds the joint angles of a marker trial and writes OpenSim's files."""
    from workers import motions, osim, trc

    def markers(url: str, spec: SkeletonSpec) -> tuple[Any, Any]:
        found = trc.read_trc(files.read_bytes(files.absolute(url)), url)
        return found.times, trc.in_order(found, spec.marker_names)

    formats = solve_command.Formats(
        skeleton=lambda url: osim.read_skeleton(osim.read_model(url)),
        markers=markers,
        mot=motions.write_mot,
        osim=osim.write_osim,
    )
    return solve_command.run(args, formats)


def table(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Lays metrics out as text: a row per metric, a column per predictor."""
    columns = list(metrics)
    names = list(dict.fromkeys(name for c in columns for name in metrics[c]))
    width = max((len(n) for n in names), default=6) + 2
    wide = max(12, *(len(c) + 2 for c in columns)) if columns else 12
    lines = ["".ljust(width) + "".join(c.rjust(wide) for c in columns)]
    for name in names:
        cells = [f"{metrics[c][name]:.4g}" if name in metrics[c] else "-" for c in columns]
        lines.append(name.ljust(width) + "".join(cell.rjust(wide) for cell in cells))
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Describes the command line."""
    root = argparse.ArgumentParser(prog="python -m trainers", description=__doc__)
    verbs = root.add_subparsers(dest="verb", required=True)
    fitting = verbs.add_parser("fit", help="train a recipe")
    fitting.add_argument("recipe", help="a shipped recipe's name, or a .yaml file")
    _add_data(fitting)
    fitting.add_argument("--to", required=True, help="URL for checkpoints and history")
    fitting.add_argument("--set", action="append", default=[], metavar="a.b=c")
    fitting.add_argument(
        "--workers",
        type=_count,
        help="Ray Train workers (default: two, or one where there is no room for two)",
    )
    fitting.add_argument(
        "--gpu",
        action=argparse.BooleanOptionalAction,
        help="a GPU per worker (default: if this machine has one)",
    )
    fitting.add_argument("--no-ray", action="store_true", help="train in this process")
    fitting.set_defaults(run=fit)
    measuring = verbs.add_parser("evaluate", help="measure a checkpoint")
    measuring.add_argument("checkpoint", help="URL of a run or of one of its steps")
    _add_data(measuring)
    measuring.add_argument("--split", choices=("train", "val", "test"), default="test")
    measuring.add_argument("--best", action="store_true", help="of a run, the step of lowest loss")
    measuring.set_defaults(run=evaluate_checkpoint)
    reading = predict_command.add_predict(verbs)
    reading.set_defaults(run=predict_video)
    solving = solve_command.add_solve(verbs)
    solving.set_defaults(run=solve_trial)
    for verb in (fitting, measuring, reading, solving):
        verb.add_argument("--json", action="store_true", help="print JSON and nothing else")
    return root


def _add_data(verb: argparse.ArgumentParser) -> None:
    # Extends: of two --data the last one alone would be taken, without a word.
    verb.add_argument(
        "--data", type=_urls, action="extend", required=True, help="dataset URLs, with commas"
    )


def show(result: Mapping[str, Any]) -> str:
    """Lays a verb's result out for people."""
    head = [f"{k}: {v}" for k, v in result.items() if k != "metrics"]
    return "\n".join([*head, *([table(result["metrics"])] if result.get("metrics") else [])])


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0 done, 2 refused, 130 interrupted."""
    args = parser().parse_args(words)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        result = args.run(args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    print(json.dumps(loop.plain(result), sort_keys=True) if args.json else show(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
