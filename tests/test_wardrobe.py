"""Clothes: colours, looseness and shoes of a dressed body."""

import json

import numpy as np
import pytest

from schemas.recipes import People
from schemas.shards import canonical_json, generator
from workers import osim
from workers.body import Body, make_body
from workers.physique import volume
from workers.wardrobe import Outfit, dress


@pytest.fixture(scope="module")
def person() -> Body:
    return make_body(People(), osim.read_model("default"), generator(1, "subject", 0))


@pytest.fixture(scope="module")
def outfits(person: Body) -> list[Outfit]:
    return [dress(person, generator(1, "outfit", i)) for i in range(16)]


def _shod(outfits: list[Outfit]) -> Outfit:
    return next(o for o in outfits if o.moulds)


def test_colours_and_offsets_are_sane(person: Body, outfits: list[Outfit]) -> None:
    for outfit in outfits:
        assert outfit.colours.shape == person.rest.shape
        assert outfit.colours.dtype == outfit.offsets.dtype == np.float32
        assert np.isfinite(outfit.colours).all()
        assert outfit.colours.min() >= 0.0
        assert outfit.colours.max() <= 1.0
        assert outfit.offsets.min() >= 0.0
        assert outfit.offsets.max() < 0.12


def test_hands_and_face_stay_bare(person: Body, outfits: list[Outfit]) -> None:
    bare = person.regions.is_("hand", "face", "eye", "lips") & (person.regions.hairline < -0.01)
    bare &= person.rest[:, 1] > 0.3
    bare &= (person.regions.label != 2) & ~(np.nan_to_num(person.regions.arm) < 2.0) | (
        person.regions.is_("face", "eye", "lips")
        & (person.rest[:, 1] > person.regions.centres["neck"][1] + 0.06)
        & (person.rest[:, 0] > person.face_keypoints(person.rest)[3, 0] + 0.03)
    )
    assert bare.sum() > 1000
    for outfit in outfits:
        assert outfit.offsets[bare].max() == 0.0


def test_shape_leaves_uncovered_skin_where_it_is(person: Body, outfits: list[Outfit]) -> None:
    outfit = _shod(outfits)
    dressed = outfit.shape(person.rest, person.faces)
    touched = outfit.offsets > 0
    for mould in outfit.moulds:
        touched[mould.rows] = True
    np.testing.assert_array_equal(dressed[~touched], person.rest[~touched])
    assert volume(dressed, person.faces) > volume(person.rest, person.faces)


def test_clothes_follow_a_rigid_motion(person: Body, outfits: list[Outfit]) -> None:
    turn = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float32)
    for outfit in outfits[:4]:
        moved = outfit.shape(person.rest @ turn.T + np.float32(0.5), person.faces)
        expected = outfit.shape(person.rest, person.faces) @ turn.T + 0.5
        np.testing.assert_allclose(moved, expected, atol=2e-4)


def test_shoes_enclose_the_foot_and_have_a_sole(person: Body, outfits: list[Outfit]) -> None:
    outfit = _shod(outfits)
    dressed = outfit.shape(person.rest, person.faces)
    sole = outfit.description["shoes"]["sole_m"]
    assert dressed[:, 1].min() == pytest.approx(-sole, abs=0.004)
    for mould, side in zip(outfit.moulds, (1, -1), strict=True):
        assert (person.regions.side[mould.rows] == side).all()
        bare, shoe = person.rest[mould.rows], dressed[mould.rows]
        assert shoe[:, 0].max() > bare[:, 0].max()
        assert shoe[:, 0].min() < bare[:, 0].min()
        assert np.abs(shoe - bare).max() < 0.08


def test_shoes_flex_with_the_toes(person: Body, outfits: list[Outfit]) -> None:
    model = osim.OsimModel(osim.read_model("default"), person.scale)
    q = model.spec.default_pose()
    flat = person.skin(model.pose(q).T_ground_from_body)
    q[model.spec.coordinate_names.index("mtp_angle_r")] = 0.5
    bent = person.skin(model.pose(q).T_ground_from_body)
    outfit = _shod(outfits)
    rows = outfit.moulds[0].rows
    lift = (outfit.shape(bent, person.faces) - outfit.shape(flat, person.faces))[rows]
    skin_lift = (bent - flat)[rows]
    assert np.linalg.norm(lift, axis=1).max() == pytest.approx(
        np.linalg.norm(skin_lift, axis=1).max(), rel=0.3
    )
    assert np.median(np.linalg.norm(lift - skin_lift, axis=1)) < 0.005


def test_same_key_same_clothes_and_json(person: Body, outfits: list[Outfit]) -> None:
    again = dress(person, generator(1, "outfit", 0))
    np.testing.assert_array_equal(again.colours, outfits[0].colours)
    np.testing.assert_array_equal(again.offsets, outfits[0].offsets)
    assert json.loads(canonical_json(again.description)) == outfits[0].description


def test_wardrobe_is_varied(outfits: list[Outfit]) -> None:
    tones = [o.description["skin_tone"] for o in outfits]
    assert min(tones) < 4.0
    assert max(tones) > 7.0
    assert len({o.description["bottom"]["kind"] for o in outfits}) >= 4
    assert len({str(o.description["hair"]) for o in outfits}) >= 4


def test_short_trousers_end_above_long_ones(person: Body) -> None:
    """What the description says of a length is where the cloth ends."""
    for i in range(12):
        outfit = dress(person, generator(3, "outfit", i))
        length = outfit.description["bottom"]["length"]
        leg = person.regions.leg
        below = np.nan_to_num(leg, nan=9.0) > length + 0.08
        below &= np.nan_to_num(leg, nan=9.0) < 1.45  # above any sock
        on = np.nan_to_num(leg, nan=-9.0) > 0.1
        on &= leg < length - 0.05
        assert (outfit.offsets[on] > 0).all()
        if below.any():
            assert (outfit.offsets[below] == 0).all()
