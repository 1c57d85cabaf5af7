"""A suit's trousers worn with a painted shirt."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.wardrobe import BARE, CLOTH, PEOPLE, Subject, look, posed, subject
from schemas.recipes import Wardrobe
from schemas.shards import generator
from workers import wardrobe
from workers.makehuman_pack import Pack, open_pack
from workers.outfits import Outfit
from workers.render import Renderer
from workers.shells import shell_under
from workers.wardrobe import dress

SUITS = Wardrobe(dressed=1.0, markers=0.0)
WOMAN = PEOPLE[0].model_copy(update={"female": 1.0})
HEAVY = PEOPLE[2].model_copy(update={"female": 1.0})


@pytest.fixture(scope="module")
def pack(shared_data: Path) -> Pack:
    return open_pack(str(shared_data / "makehuman_cc0"))


@pytest.fixture(scope="module")
def outfits(pack: Pack) -> list[Outfit]:
    """Of one woman."""
    woman = subject(0, SUITS, pack, WOMAN)
    keys = (generator(9, "outfit", number) for number in range(40))
    return [dress(woman.body, woman.model, SUITS, pack, key) for key in keys]


def has_shirt(outfit: Outfit) -> bool:
    return "top" in outfit.description


def test_bellies_are_seldom_bare(outfits: list[Outfit]) -> None:
    """The only other suit without a skirt bares them, and would be worn by half."""
    short = [o for o in outfits if "sport" in o.description["suit"]["asset"]]
    assert len(short) >= 12
    assert sum(has_shirt(o) for o in short) >= 0.6 * len(short)


def test_trousers_are_kept_whole_and_the_suits_own_top_is_gone(
    pack: Pack, outfits: list[Outfit]
) -> None:
    centres = subject(0, SUITS, pack, WOMAN).body.regions.centres
    mixed = [o for o in outfits if has_shirt(o)]
    assert 8 <= len(mixed) < len(outfits)
    for one in mixed:
        shells = [p.shell for p in one.pieces]
        trousers = next(s for s in shells if "suit" in s.name)
        heights = trousers.vertices[:, 1]
        assert heights.max() < centres["lumbar"][1] + 0.02
        assert heights.min() < centres["ankle_r"][1] + 0.15
        assert [s.name for s in shells].count("top") == 1


@pytest.mark.parametrize("pose", ["standing", "squat"])
def test_trousers_do_not_come_through_the_shirt(
    pack: Pack, monkeypatch: pytest.MonkeyPatch, pose: str
) -> None:
    renderer, shares = Renderer(256), {}
    for apart in (wardrobe._APART_M, -0.004):
        monkeypatch.setattr(wardrobe, "_APART_M", apart)
        monkeypatch.setattr(wardrobe, "_OVER_BARE", 1.0)
        shares[apart] = share_through(subject(2, SUITS, pack, HEAVY), pose, renderer)
    right, wrong = shares.values()
    assert right < 0.01
    assert wrong > right + 0.01, "the measure sees nothing"


def share_through(person: Subject, pose_name: str, renderer: Renderer) -> float:
    """Returns the share of the shirt's pixels, from two sides, that show trousers which it covers at rest."""
    pieces = person.outfit.pieces
    shirt = next(p.shell for p in pieces if p.shell.name == "top")
    pose = person.model.pose(posed(person.model.spec, pose_name))
    drawn = []
    for surface, piece in zip(person.surfaces(pose)[1:], pieces, strict=True):
        parts = np.full(len(surface.vertices), CLOTH if piece.shell is shirt else 0, np.uint8)
        if "suit" in piece.shell.name:
            parts[shell_under(piece.shell, shirt)[piece.seamed.rows]] = BARE
        drawn.append(replace(surface, parts=parts))
    seen = np.stack([look(renderer, drawn, yaw).part for yaw in (110.0, 200.0)])
    return float((seen == BARE).sum() / np.isin(seen, (BARE, CLOTH)).sum())
