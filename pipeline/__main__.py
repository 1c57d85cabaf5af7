"""python -m pipeline plan|build|status|info|preview|export …"""

import argparse
import json
import logging
import math
import signal
import sys
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from pipeline import build, coverage, export, forecast, outlook, reached, recipes, report, upkeep
from pipeline.executor import Executor, Failure, LocalExecutor, RayExecutor
from pipeline.terminal import hang_up, say
from schemas import files, manifest
from schemas.errors import InputError
from schemas.recipes import Recipe
from workers.produce import Job


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; an input that is refused ends in one paragraph and exit status 2."""
    options = _parser().parse_args(arguments)
    # Schedulers and containers stop a job so: it then ends as Ctrl-C ends it, with what it has listed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except InputError as error:
        say(f"error: {error}", error=True)
        return 2
    except BrokenPipeError:
        hang_up()
        return 1
    except KeyboardInterrupt:
        say("stopped; finished shards are kept, the same command goes on", error=True)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline", description="Build and show datasets."
    )
    parser.add_argument("--verbose", action="store_true", help="log every shard")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_making(commands)
    _add_reading(commands)
    upkeep.add(commands)
    return parser


def _add_making(commands: Any) -> None:
    for name, run, text in (
        ("plan", _plan, "say what a build would do"),
        ("build", _build, "make what is missing and publish the dataset"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "recipe", help="a shipped name (squat_small, coco_lower) or a YAML file"
        )
        command.add_argument(
            "--to", required=True, metavar="URL", help="path, file://, s3://, gs://, az://"
        )
        _add_words(command)
        if name == "plan":
            _add_query(command, "also count the samples that match, there and to be made")
            command.add_argument(
                "--subjects",
                type=_count,
                default=outlook.SUBJECTS,
                metavar="N",
                help="draw at most N subjects of each lot to say what a build would add",
            )
        if name == "build":
            command.add_argument("--engine", choices=("local", "ray"), default="ray")
            command.add_argument(
                "--snapshot-minutes",
                type=_minutes,
                default=build.SNAPSHOT_MINUTES,
                metavar="N",
                help="how often to list what is made so far, so that a later build need not look for it",
            )
        command.set_defaults(run=run)
    command = commands.add_parser("status", help="say where a dataset stands")
    command.add_argument("url")
    command.add_argument("--recipe", help="also say what a build of this recipe would still make")
    _add_words(command)
    command.set_defaults(run=_status)


def _add_reading(commands: Any) -> None:
    command = commands.add_parser("info", help="say what a dataset holds")
    command.add_argument("url")
    command.add_argument("--json", action="store_true")
    command.add_argument("--all", action="store_true", help="show both sides of every angle")
    _add_query(command, "count the samples that match and list some")
    command.add_argument(
        "--examples", type=_count, default=12, metavar="N", help="how many to list"
    )
    command.set_defaults(run=_info)
    command = commands.add_parser(
        "preview", help="write one self-contained HTML page about a dataset"
    )
    command.add_argument("url")
    command.add_argument("--out", default="preview.html", metavar="FILE")
    command.add_argument(
        "--sheet", metavar="FILE", help="also write samples with labels as one .png or .jpg"
    )
    command.set_defaults(run=_preview)
    command = commands.add_parser("export", help="write a dataset in other tools' formats")
    command.add_argument("url")
    command.add_argument("--coco", metavar="FILE", help="COCO keypoints JSON, pictures beside it")
    command.add_argument(
        "--opensim", metavar="DIR", help="one .osim per subject and its .mot files"
    )
    command.add_argument("--video", metavar="DIR", help="one .mp4 per clip")
    command.set_defaults(run=_export)


def _add_words(command: argparse.ArgumentParser) -> None:
    command.add_argument("--set", action="append", default=[], metavar="a.b=c", dest="words")
    command.add_argument("--json", action="store_true")


def _add_query(command: argparse.ArgumentParser, text: str) -> None:
    example = 'for example "knee_flexion > 110 and camera_yaw between 60 and 120"'
    command.add_argument("--query", metavar="Q", help=f"{text}: {example}")


def _count(text: str) -> int:
    if not text.isdecimal() or (count := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no number from 1 on")
    return count


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 <= minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no number from 0 on")
    return minutes


def _plan(options: argparse.Namespace) -> int:
    recipe = recipes.load(options.recipe, options.words)
    planned = build.plan(recipe, files.absolute(options.to))
    found = forecast.describe(recipe, planned)
    lines = forecast.described(recipe.name, found)
    if targets := outlook.targets_plan(recipe, planned, options.subjects):
        found["targets"] = targets
        lines += outlook.target_lines(targets, "a build would reach")
    if options.query:
        found["query"] = outlook.query_plan(recipe, planned, options.query, options.subjects)
        lines += outlook.described(found["query"])
    _show(options.json, found, lines)
    return 0


def _status(options: argparse.Namespace) -> int:
    url = files.absolute(options.url)
    found = forecast.status(url)
    lines = forecast.standing(found)
    if options.recipe:
        recipe = recipes.load(options.recipe, options.words)
        found["plan"] = forecast.describe(recipe, build.plan(recipe, url))
        lines += forecast.described(recipe.name, found["plan"])
    _show(options.json, found, lines)
    return 0


def _show(as_json: bool, found: dict[str, Any], lines: Sequence[str]) -> None:
    say(json.dumps(found, indent=1) if as_json else "\n".join(lines))


def _build(options: argparse.Namespace) -> int:
    url = files.absolute(options.to)
    if options.engine == "ray" and url.startswith("memory://"):
        raise InputError(url, "Ray workers cannot see this process' memory", "Use --engine local")
    recipe = recipes.load(options.recipe, options.words)
    planned = build.plan(recipe, url)
    _warn_of_empty_splits(recipe, planned)
    executor: Executor = LocalExecutor() if options.engine == "local" else RayExecutor()
    todo = sum(job.samples for job in planned.missing)
    with tqdm(total=todo, unit="frame", desc=recipe.name, disable=not todo) as bar:
        counts = {"quarantined": 0, "failed": 0}

        def progress(rows: int, quarantined: int, failed: int) -> None:
            counts["quarantined"] += quarantined
            counts["failed"] += failed
            bar.set_postfix(counts, refresh=False)
            bar.update(rows + quarantined)

        built = build.build(
            recipe, url, planned, executor, progress, snapshot_minutes=options.snapshot_minutes
        )
    if built.dataset is None:
        for line in _reasons(built.failures):
            say(f"failed: {line}", error=True)
        untried = len(planned.missing) - built.made - len(built.failures)
        say(
            f"error: {len(built.failures)} of {len(planned.jobs)} shards failed"
            f"{f', {untried} were not tried' if untried else ''}; nothing complete was published, "
            "finished shards are kept. Mend the cause and run the same command again.",
            error=True,
        )
        return 1
    _tell_of_others(built)
    summary = report.info(url) | {"made_shards": built.made, "kept_shards": len(planned.present)}
    if options.json:
        say(json.dumps(summary, indent=1))
    else:
        say(
            f"{recipe.name}: {built.made} shards made, {len(planned.present)} kept; "
            f"{built.dataset.rows} samples, {built.dataset.bytes / 1e6:.1f} MB at {url}\n"
            f"dataset {built.dataset.dataset_id}"
        )
    return 0


def _tell_of_others(built: build.Built) -> None:
    if built.dataset is None or not built.others:
        return
    last = built.others[-1]
    text = f"published on top of commit {last}, made by another build meanwhile"
    if last == built.dataset.number:
        text = f"commit {last}, made by another build meanwhile, is the same state"
    say(f"note: {text}", error=True)


def _warn_of_empty_splits(recipe: Recipe, planned: build.Plan) -> None:
    served = {job.key.split for job in planned.jobs}
    shares = recipe.splits.model_dump()
    if empty := [split for split, share in shares.items() if share > 0 and split not in served]:
        say(
            f"note: no sample falls into {' or '.join(empty)}; training and evaluation will miss it. "
            "Add subjects or images, or change splits.",
            error=True,
        )


def _reasons(failures: Sequence[Failure[Job]]) -> list[str]:
    """Says each reason once, however many shards it stopped."""
    kinds: dict[tuple[str, str], list[Failure[Job]]] = {}
    for failure in failures:
        error = failure.error
        kind = (type(error).__name__, str(error))
        if isinstance(error, InputError):
            kind = (error.value, error.remedy)
        kinds.setdefault(kind, []).append(failure)
    lines = []
    for found in kinds.values():
        error, more = found[0].error, len(found) - 1
        text = str(error)
        if not isinstance(error, InputError):
            what = " ".join(text.split()) or "no message"
            text = f"{type(error).__name__}: {what} (python -m pipeline --verbose shows where)"
        lines.append(f"{found[0].job.key}{f' and {more} more' if more else ''}: {text}")
    return lines


def _info(options: argparse.Namespace) -> int:
    dataset = manifest.open_dataset(files.absolute(options.url))
    if options.query:
        asked = coverage.ask(dataset, options.query)
        found = {"query": options.query} | coverage.count(dataset, asked)
        found["examples"] = coverage.examples(dataset, asked, options.examples)
        _show(options.json, found, coverage.found_lines(found))
        return 0
    found, targets = report.summary(dataset), reached.reached(dataset)
    lines = [f"{name:16} {_plain(value)}" for name, value in found.items()]
    lines += ["", *coverage.lines(dataset, every=options.all)]
    if targets:
        found["targets"] = targets
        lines += ["", *outlook.target_lines(targets, "it reached")]
    statistics = dataset.statistics
    found["quantities"], found["names"] = coverage.table(statistics), dict(statistics.names)
    _show(options.json, found, lines)
    return 0


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items()) or "none"
    return ", ".join(str(v) for v in value) if isinstance(value, list | tuple) else str(value)


def _preview(options: argparse.Namespace) -> int:
    url = files.absolute(options.url)
    say(report.preview(url, files.absolute(options.out)))
    if options.sheet:
        say(report.contact_sheet(url, files.absolute(options.sheet), rows=3, cols=6, side=200))
    return 0


def _export(options: argparse.Namespace) -> int:
    url = files.absolute(options.url)
    if not (options.coco or options.opensim or options.video):
        raise InputError(
            "export", "names no format", "Add --coco FILE, --opensim DIR or --video DIR"
        )
    if options.coco:
        say(export.export_coco(url, files.absolute(options.coco)))
    if options.opensim:
        say(export.export_opensim(url, files.absolute(options.opensim)))
    if options.video:
        say(export.export_video(url, files.absolute(options.video)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
