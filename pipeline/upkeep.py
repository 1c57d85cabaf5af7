"""The commands that look after a published dataset: log, tag, diff, verify, gc, copy."""

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from tqdm import tqdm

from pipeline import history, sweep, transfer, verify
from pipeline.inventory import Progress
from pipeline.terminal import say
from schemas import files, manifest
from schemas.errors import InputError
from schemas.shards import ShardReceipt

_SHOWN = 20
_LONGEST = 1e6
"""Of hours or days; dates far beyond have no year."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the commands to `python -m pipeline`."""
    command = _command(commands, "log", "list what was published, newest first", _log)
    command.add_argument("url")
    command = _command(commands, "tag", "name a published state, list names, delete one", _tag)
    command.add_argument("url")
    command.add_argument("name", nargs="?")
    command.add_argument("reference", nargs="?", metavar="REF", help="a number, tag or dataset id")
    command.add_argument("--delete", metavar="NAME")
    command = _command(commands, "diff", "say which shards differ, and why; exit 1 if any", _diff)
    command.add_argument("before", metavar="A", help="URL or URL@ref")
    command.add_argument("after", metavar="B")
    command = _command(commands, "verify", "check every stored byte; exit 1 if any is bad", _verify)
    command.add_argument("url", help="URL or URL@ref")
    command.add_argument("--quick", action="store_true", help="presence and sizes by one listing")
    command.add_argument(
        "--delete-bad", action="store_true", help="delete bad shards, so that build makes them"
    )
    command = _command(commands, "gc", "delete what no kept state or running build names", _gc)
    command.add_argument("url")
    command.add_argument(
        "--grace-hours", type=_span, default=sweep.GRACE / timedelta(hours=1), metavar="H"
    )
    keep = command.add_mutually_exclusive_group()
    keep.add_argument("--keep-last", type=int, metavar="N", help="of the complete states")
    keep.add_argument("--keep-days", type=_span, metavar="D")
    command.add_argument("--yes", action="store_true", help="delete; without it, only say what")
    command = _command(commands, "copy", "copy a published state to another store", _copy)
    command.add_argument("url", help="URL or URL@ref")
    command.add_argument("to", metavar="TO")
    command.add_argument("--tags", action="store_true", help="every tagged state and its tag too")


def _span(text: str) -> float:
    try:
        span = float(text)
    except ValueError:
        span = math.nan
    if not span <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no number up to {_LONGEST:,.0f}")
    return span


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str, run: Any
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text)
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=run)
    return command


def _log(options: argparse.Namespace) -> int:
    url = _base(options.url)
    entries = history.history(url)
    if not entries:
        raise InputError(url, "holds no published dataset", "Check the URL, or build it first")
    if options.json:
        say(json.dumps([history.entry_json(entry) for entry in entries], indent=1))
        return 0
    for entry in entries:
        commit = entry.commit
        known = entry.added is not None
        change = f"+{entry.added} -{entry.removed}" if known else "?"
        say(
            f"{commit.number:6} {commit.dataset_id[:12]} {'' if commit.complete else '(unfinished) '}"
            f"{commit.created} {commit.recipe.get('name', '')!s:.100}: {commit.rows} rows, "
            f"{commit.shards} shards ({change}), {commit.bytes / 1e6:.1f} MB"
            f"{''.join(f' [{tag}]' for tag in entry.tags)}"
        )
    return 0


def _base(url: str) -> str:
    base, reference = manifest.split_reference(files.absolute(url))
    if reference is not None:
        raise InputError(url, "names one state of a dataset", f"Leave out @{reference}")
    return base


def _tag(options: argparse.Namespace) -> int:
    url = _base(options.url)
    if options.delete:
        if options.name:
            raise InputError(options.name, "was given beside --delete", "Give one of the two")
        found = {options.delete: history.delete_tag(url, options.delete)}
        text = f"deleted tag {options.delete}"
    elif options.name:
        commit = history.add_tag(url, options.name, options.reference)
        found = {options.name: commit.number}
        text = f"{url}@{options.name} is commit {commit.number}, dataset {commit.dataset_id[:12]}"
    else:
        found = history.tags(url)
        if not found and not manifest.commit_numbers(url):
            raise InputError(url, "holds no published dataset", "Check the URL, or build it first")
        text = "\n".join(f"{name}: commit {number}" for name, number in found.items()) or "no tags"
    say(json.dumps(found, indent=1) if options.json else text)
    return 0


def _diff(options: argparse.Namespace) -> int:
    before = manifest.open_dataset(files.absolute(options.before))
    after = manifest.open_dataset(files.absolute(options.after))
    found = history.difference(before, after)
    if options.json:
        say(json.dumps(history.difference_json(found), indent=1))
    elif not found.empty:
        say(
            f"{before.dataset_id[:12]} -> {after.dataset_id[:12]}: "
            f"{before.rows} -> {after.rows} rows, {before.bytes / 1e6:.1f} -> {after.bytes / 1e6:.1f} MB"
        )
        for line in found.recipe:
            say(f"recipe {line}")
        for line in _shard_lines(found):
            say(line)
    return 0 if found.empty else 1


def _shard_lines(found: history.Difference) -> Iterator[str]:
    """Says each reason once, with the number of shards it concerns, and names the first shards."""
    if found.changed:
        yield f"{_count(len(found.changed), 'shard')} changed"
    reasons = Counter(reason for change in found.changed for reason in change.reasons)
    for reason, count in reasons.most_common(_SHOWN):
        yield f"  {_count(count, 'shard')}: {reason}"
    for mark, receipts in (("-", found.removed), ("+", found.added)):
        yield from _named(mark, receipts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _named(mark: str, receipts: tuple[ShardReceipt, ...]) -> Iterator[str]:
    for receipt in receipts[:_SHOWN]:
        yield f"{mark} {receipt.key} ({receipt.rows} rows)"
    if len(receipts) > _SHOWN:
        yield f"{mark} and {len(receipts) - _SHOWN} more (--json names them)"


@contextmanager
def _bar(name: str, unit: str = "B") -> Iterator[Progress]:
    with tqdm(unit=unit, unit_scale=True, desc=name, disable=None) as bar:

        def tell(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield tell


def _verify(options: argparse.Namespace) -> int:
    url = files.absolute(options.url)
    with _bar("verify") as tell:
        faults = verify.verify(url, quick=options.quick, progress=tell)
    deleted = 0
    if faults and options.delete_bad:
        deleted = verify.delete_bad(manifest.split_reference(url)[0], faults)
    if options.json:
        say(json.dumps({"bad": [f._asdict() for f in faults], "deleted": deleted}, indent=1))
        return 1 if faults else 0
    for fault in faults:
        say(f"bad: {fault.path} {fault.problem}. {fault.remedy}.")
    if not faults:
        say(f"{url}: {'all objects are there' if options.quick else 'every byte is as written'}")
    if deleted:
        say(f"{_count(deleted, 'shard')} deleted; run the build again, it makes them again")
    return 1 if faults else 0


def _gc(options: argparse.Namespace) -> int:
    policy = sweep.Policy(
        grace=timedelta(hours=options.grace_hours),
        keep_last=options.keep_last,
        keep_days=options.keep_days,
    )
    url = _base(options.url)
    found = sweep.survey(url, policy)
    swept = None
    if options.yes:
        with _bar("gc", "deletion") as tell:
            swept = sweep.sweep(url, policy, found, tell)
    if options.json:
        say(json.dumps(_gc_json(found, swept), indent=1))
        return 0
    shown = found.doomed if swept is None else swept.removed
    for doomed in shown[:_SHOWN]:
        say(f"{doomed.kind} {doomed.name.split('/')[-1]} ({doomed.bytes} bytes)")
    if len(shown) > _SHOWN:
        say(f"and {len(shown) - _SHOWN} more (--json names them)")
    size = sum(doomed.bytes for doomed in shown)
    lines = [
        f"{'would delete' if swept is None else 'deleted'} {_kinds(shown)}, {size / 1e6:.1f} MB",
        f"kept {_count(len(found.commits), 'commit')}, {_count(found.shards, 'shard')}",
        f"{_count(found.young, 'stray shard')} younger than {options.grace_hours:g} h",
        f"{_count(found.builds, 'build')} running",
    ]
    if swept and swept.spared:
        lines.append(f"{len(swept.spared)} came to be wanted and stay")
    say("; ".join(lines))
    if not swept and shown:
        say("nothing was deleted; add --yes to delete")
    return 0


def _kinds(doomed: Sequence[sweep.Doomed]) -> str:
    counts = Counter(each.kind for each in doomed)
    return ", ".join(_count(number, kind) for kind, number in counts.items()) or "nothing"


def _gc_json(found: sweep.Survey, swept: sweep.Swept | None) -> dict[str, Any]:
    return {
        "doomed": [doomed._asdict() for doomed in found.doomed],
        "bytes": found.bytes,
        "kept_commits": list(found.commits),
        "kept_shards": found.shards,
        "young_shards": found.young,
        "running_builds": found.builds,
        "removed": None if swept is None else [doomed._asdict() for doomed in swept.removed],
        "spared": None if swept is None else [doomed._asdict() for doomed in swept.spared],
    }


def _copy(options: argparse.Namespace) -> int:
    url, target = files.absolute(options.url), files.absolute(options.to)
    with _bar("copy") as tell:
        copied = transfer.copy(url, target, tags=options.tags, progress=tell)
    faults = verify.verify(f"{target}@{copied.dataset.number}", quick=True)
    summary = {
        "dataset_id": copied.dataset.dataset_id,
        "number": copied.dataset.number,
        "objects": copied.objects,
        "bytes": copied.bytes,
        "tags": list(copied.tags),
        "bad": [fault._asdict() for fault in faults],
    }
    if options.json:
        say(json.dumps(summary, indent=1))
    else:
        say(
            f"dataset {copied.dataset.dataset_id} is commit {copied.dataset.number} of {target}; "
            f"{copied.objects} objects copied, {copied.bytes / 1e6:.1f} MB"
        )
        for fault in faults:
            say(f"bad: {fault.path} {fault.problem}. {fault.remedy}.")
    return 1 if faults else 0
