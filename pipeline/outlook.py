"""What a build would add, told before anything is rendered: the sampler's own draws of some or all of the subjects.

Few subjects stand for many: a count is then an estimate, with the standard error that drawing subjects without
replacement leaves (Cochran 1977, eq. 2.20); subjects are the unit, as frames of one subject are alike.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline import coverage, reached
from pipeline.planning import Plan
from schemas import query
from schemas.errors import InputError
from schemas.manifest import Dataset
from schemas.quantities import Rows, catalogue, declared, needs, resolve
from schemas.recipes import Recipe, SynthRecipe
from schemas.shards import Split, generator
from workers import draws, osim, synth
from workers.produce import Job
from workers.synth_plan import Sources

SUBJECTS = 8
"""Of each lot that are drawn by default: about a second each."""
_SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Some subjects of one lot, as the sampler draws them."""

    lot: str
    clip: bool
    subjects: dict[Split, int]
    """All that are to be made."""
    rows: tuple[Rows, ...]

    @property
    def total(self) -> int:
        """Returns how many subjects there are to make."""
        return sum(self.subjects.values())


def draw(
    recipe: SynthRecipe, sources: Sources, jobs: Sequence[Job], arrays: Iterable[str], most: int
) -> list[Drawn]:
    """Draws at most `most` subjects of each lot of the jobs, the same ones for the same jobs."""
    found = []
    for lot in sorted({job.key.lot for job in jobs}):
        mine = [job.key for job in jobs if job.key.lot == lot]
        members = sorted(m for key in mine for m in key.members)
        chosen = members
        if len(members) > most:
            rng = generator(recipe.seed, "outlook", lot)
            chosen = sorted(int(m) for m in rng.choice(members, most, replace=False))
        of_split = {s: sum(len(k.members) for k in mine if k.split == s) for s in _SPLITS}
        rows = tuple(draws.draw(recipe, sources, lot, m, tuple(arrays)) for m in chosen)
        clip = recipe.motions[lot].clip
        found.append(Drawn(lot=lot, clip=clip, subjects=of_split, rows=rows))
    return found


def query_plan(recipe: Recipe, planned: Plan, text: str, most: int = SUBJECTS) -> dict[str, Any]:
    """Returns how many samples that match a query are published and how many a build would add, as JSON values.

    Raises:
        InputError: no query, or of quantities that neither the dataset nor the recipe has.
    """
    dataset = planned.published
    sources = synth.load(recipe) if isinstance(recipe, SynthRecipe) else None
    asked = _ask(recipe, sources, dataset, planned, text)
    held = None
    if dataset is not None and asked.quantities <= coverage.known(dataset, tables=True).keys():
        held = coverage.count(dataset, asked)
    elif dataset is not None:
        held = {"samples": dataset.rows, "matching": 0, "splits": {}, "lots": {}, "shards": {}}
    if held is not None and dataset is not None:
        leaving = replace(dataset, shards=planned.unwanted)
        held["no_longer_wanted"] = (
            coverage.count(leaving, asked)["matching"] if held["splits"] else 0
        )
    added: dict[str, Any]
    if not isinstance(recipe, SynthRecipe) or sources is None:
        added = {"why": "what photographs hold is known once they are read"}
    else:
        added = _added(recipe, sources, planned, asked, most)
    return {"query": text, "held": held, "added": added}


def _ask(
    recipe: Recipe, sources: Sources | None, dataset: Dataset | None, planned: Plan, text: str
) -> query.Query:
    """Reads a query about what is there and what would be; draws a subject of each lot where their tables matter."""
    spec = None if sources is None else osim.read_skeleton(sources.osim)
    named = {q.name: q.named for s in {spec, None} for q in declared(s).values()}
    named |= {} if dataset is None else coverage.known(dataset, tables=True)
    try:
        return query.parse(text, named)
    except InputError:
        if sources is None or not isinstance(recipe, SynthRecipe):
            raise
    for drawn in draw(recipe, sources, planned.jobs, ("light_id",), 1):
        for rows in drawn.rows:
            named |= {n: q.named for n, q in catalogue(spec, rows.tables).items()}
    return query.parse(text, named)


def _added(
    recipe: SynthRecipe, sources: Sources, planned: Plan, asked: query.Query, most: int
) -> dict[str, Any]:
    jobs = planned.missing
    plain = declared(osim.read_skeleton(sources.osim))
    arrays = set(needs(plain[n] for n in asked.quantities if n in plain))
    for prefix, name in (("light.", "light_id"), ("garment.", "garment_id")):
        if any(n.startswith(prefix) for n in asked.quantities):
            arrays.add(name)
    arrays |= {"motion_id", "group_id", "time", "garment_id"}
    if hidden := sorted(arrays & draws.IN_PICTURE):
        return {"why": f"{', '.join(hidden)} is known once pictures are made"}
    return estimate(draw(recipe, sources, jobs, arrays, most), asked)


def estimate(drawn: Sequence[Drawn], asked: query.Query) -> dict[str, Any]:
    """Returns the matching samples that subjects to be made would add, by split, with the standard error."""
    splits = dict.fromkeys(_SPLITS, 0.0)
    variance, exact, lots = 0.0, True, {}
    for lot in drawn:
        hits = np.array([_hits(rows, asked) for rows in lot.rows], np.float64)
        whole = lot.total == len(hits)
        exact &= whole
        if whole:
            for rows, n in zip(lot.rows, hits, strict=True):
                splits[_split(rows)] += n
        else:
            spread = float(hits.var(ddof=1)) if len(hits) > 1 else float("nan")
            variance += lot.total**2 * spread / len(hits) * (1 - len(hits) / lot.total)
            for split, subjects in lot.subjects.items():
                splits[split] += float(hits.mean()) * subjects
        lots[lot.lot] = {
            "matching": round(float(hits.mean()) * lot.total, 1) if len(hits) else 0.0,
            "subjects_drawn": len(hits),
            "subjects": lot.total,
        }
    error = float(np.sqrt(variance))
    return {
        "matching": round(sum(splits.values()), 1),
        "standard_error": round(error, 1) if np.isfinite(error) else None,
        "exact": bool(exact),
        "splits": {split: round(n, 1) for split, n in splits.items()},
        "lots": lots,
    }


def _split(rows: Rows) -> Split:
    return next(split for split in _SPLITS if split == rows.split)


def _hits(rows: Rows, asked: query.Query) -> int:
    if not rows.count:
        return 0
    every = catalogue(rows.spec, rows.tables)
    return int(asked.matches(coverage.values_of(rows, every)).sum())


def targets_plan(recipe: Recipe, planned: Plan, most: int = SUBJECTS) -> list[dict[str, Any]]:
    """Returns of every stratum of a recipe's targets what share a whole build would reach, as JSON values.

    `single` is of the frames that targets choose, `all` of clips too; `short` names the lots that miss it by more
    than the tolerance. Empty for recipes without targets.
    """
    if not isinstance(recipe, SynthRecipe) or not recipe.targets:
        return []
    strata, sources = recipe.strata, synth.load(recipe)
    plain = declared(osim.read_skeleton(sources.osim))
    arrays = needs(plain[resolve(s.quantity, plain)] for s in strata)
    drawn = draw(recipe, sources, planned.jobs, arrays, most)
    found = []
    for s in strata:
        weighed = [(lot, _weighed(lot, s)) for lot in drawn]
        parts = [
            sum((n for lot, n in weighed if lot.clip == c), np.zeros(len(s.shares)))
            for c in (False, True)
        ]
        for i, entry in zip(_counted(s, parts), reached.shares(s, *parts), strict=True):
            short = [
                lot.lot
                for lot, n in weighed
                if not lot.clip
                and n.sum()
                and abs(n[i] / n.sum() - s.shares[i]) > reached.TOLERANCE
            ]
            found.append(entry | {"short": short})
    return found


def _counted(s: Any, parts: Sequence[Any]) -> list[int]:
    """Returns the strata that `reached.shares` lists."""
    return [i for i, asked in enumerate(s.shares) if asked > 0 or sum(parts)[i] > 0]


def _weighed(lot: Drawn, s: Any) -> Any:
    """Returns how many frames of a whole lot lie in each stratum, by the subjects drawn."""
    counts = np.zeros(len(s.shares))
    for rows in lot.rows:
        if rows.count:
            counts += np.bincount(reached.strata_of(rows, [s])[s.quantity], minlength=len(s.shares))
    return counts * (lot.total / max(1, len(lot.rows)))


def described(found: dict[str, Any]) -> list[str]:
    """Writes what `query_plan` found for people."""
    text = [f"query: {found['query']}"]
    if held := found["held"]:
        parts = ", ".join(
            f"{s} {e['matching']} of {e['samples']}" for s, e in held["splits"].items()
        )
        text.append(
            f"  published: {held['matching']} of {held['samples']} samples{f' ({parts})' if parts else ''}"
        )
        if held["no_longer_wanted"]:
            text.append(
                f"  {held['no_longer_wanted']} of these lie in shards that are no longer wanted"
            )
    else:
        text.append("  published: nothing")
    added = found["added"]
    if "why" in added:
        return [*text, f"  a build would add: unknown; {added['why']}"]
    parts = ", ".join(f"{s} {n:g}" for s, n in added["splits"].items())
    drawn = ", ".join(
        f"{e['subjects_drawn']} of {e['subjects']} of {n}" for n, e in added["lots"].items()
    )
    how = "exactly" if added["exact"] else f"about, standard error {added['standard_error']}"
    return [
        *text,
        f"  a build would add: {added['matching']:g} ({how}; {parts or 'nothing to make'})",
    ] + ([f"  subjects drawn: {drawn}"] if drawn else [])


def target_lines(found: Sequence[dict[str, Any]], said: str) -> list[str]:
    """Writes the shares of targets for people, and warns of those that are missed."""
    if not found:
        return []
    text = [f"targets, share of the single frames (and with clips) that {said}:"]
    for entry in found:
        single, both = entry["single"], entry["all"]
        shown = ["none" if v is None else f"{v:.3f}" for v in (single, both)]
        why = f"  not met by {', '.join(entry['short'])}" if entry.get("short") else ""
        name = f"{entry['quantity']} {entry['stratum']}"
        text.append(
            f"  {name:38} asked {entry['asked']:.3f}  {shown[0]} ({shown[1]})"
            f"{'  MISSED' if reached.missed(entry) else ''}{why}"
        )
    return text
