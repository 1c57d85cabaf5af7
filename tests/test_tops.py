"""Painted tops: shirts lie on shoulders, what has no sleeves hangs on straps."""

import itertools

import numpy as np
import pytest
from extreme_people import EXTREMES

from schemas.recipes import People
from schemas.shards import generator
from workers import osim, painted
from workers.body import Body, make_body


@pytest.fixture(scope="module")
def person() -> Body:
    return make_body(People(), osim.read_model("default"), generator(1, "subject", 0))


@pytest.fixture(scope="module")
def builds() -> list[Body]:
    data = osim.read_model("default")
    return [make_body(p, data, generator(1, "build", i)) for i, p in enumerate(EXTREMES)]


@pytest.mark.parametrize("kind", ["t-shirt", "long sleeves", "hoodie"])
def test_a_shirt_lies_on_the_shoulders_and_leaves_the_head_out(
    builds: list[Body], person: Body, kind: str
) -> None:
    for body, draw in itertools.product([person, *builds], range(4)):
        inside, *_ = painted._top_cut(body, kind, generator(1, kind, draw))
        aside = np.abs(body.rest[:, 2]) / body.regions.centres["shoulder_r"][2]
        torso = body.regions.is_("torso", "upper_arm") & (aside > 0.65) & (aside < 1.0)
        high = body.rest[:, 1] > body.regions.centres["shoulder_r"][1]
        assert (inside[torso & high] > 0).all()
        assert (inside[body.regions.is_("face", "scalp", "lips", "eye")] < 0).all()


@pytest.mark.parametrize("kind", ["tank top", "bra top"])
def test_what_has_no_sleeves_hangs_on_two_straps(
    builds: list[Body], person: Body, kind: str
) -> None:
    """Each holds front and back together, over the highest line of its shoulder."""
    for body, draw in itertools.product([person, *builds], range(4)):
        inside, *_ = painted._top_cut(body, kind, generator(1, kind, draw))
        aside = body.rest[:, 2] / body.regions.centres["shoulder_r"][2]
        for side in (aside, -aside):
            crest = _crest(body, side)
            assert (inside[crest] > 0).any()
            assert (inside[crest & (side < 0.35)] < 0).all()
        assert (inside[body.regions.is_("upper_arm")] < 0).all()
        assert (inside[body.regions.is_("face", "scalp", "lips", "eye")] < 0).all()


def _crest(body: Body, aside: np.ndarray) -> np.ndarray:
    """Marks the highest skin (v,) of one shoulder, slice by slice from the neck outwards."""
    crest = np.zeros(len(aside), bool)
    for low in np.arange(0.25, 0.9, 0.05):
        rows = np.flatnonzero((aside >= low) & (aside < low + 0.05) & (body.regions.arm_weight < 1))
        crest[rows[np.argmax(body.rest[rows, 1])]] = True
    return crest
