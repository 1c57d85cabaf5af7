"""Clothes: cuts, fits, what they cover in deep flexion, colours, markers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from extreme_people import EXTREMES
from scipy.sparse import csr_array

from benchmarks import wardrobe as bench
from schemas.recipes import People, Wardrobe
from schemas.shards import canonical_json, generator
from workers import osim
from workers.basemesh import BASE_VERTICES, base_vertices, base_weights
from workers.body import Body, make_body
from workers.complexion import ITA_DEG, decode, skin_colour
from workers.fitting import fit, from_makehuman, make_shell, to_makehuman
from workers.makehuman_pack import Pack, open_pack
from workers.outfits import Outfit
from workers.pack_clothes import Dresser, evened
from workers.physique import volume
from workers.render import Renderer
from workers.shells import Shell, SkinBelow, hit_distance, split_seams
from workers.surfaces import TILE_PX, sheet
from workers.tailoring import borders, cut
from workers.wardrobe import dress


def model_of(body: Body) -> osim.OsimModel:
    return osim.OsimModel(osim.read_model("default"), body.scale)


def outfit(body: Body, number: int, pack: Pack | None = None, **shares: float) -> Outfit:
    shares = {"markers": 0.0, "dressed": 1.0} | shares
    worn = Wardrobe.model_validate(shares)
    return dress(body, model_of(body), worn, pack, generator(1, "outfit", number))


def piece(outfit: Outfit, name: str) -> Shell:
    return next(p.shell for p in outfit.pieces if p.shell.name == name)


@pytest.fixture(scope="module")
def person() -> Body:
    return make_body(People(), osim.read_model("default"), generator(1, "subject", 0))


@pytest.fixture(scope="module")
def outfits(person: Body) -> list[Outfit]:
    return [outfit(person, i) for i in range(12)]


@pytest.fixture(scope="module")
def pack(shared_data: Path) -> Pack:
    return open_pack(str(shared_data / "makehuman_cc0"))


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(256)


def test_outfits_are_whole_and_varied(outfits: list[Outfit]) -> None:
    for one in outfits:
        for p in one.pieces:
            n = len(p.shell.vertices)
            assert np.isfinite(p.shell.vertices).all()
            np.testing.assert_allclose(p.shell.weights.sum(axis=1), 1.0, atol=1e-5)
            assert p.shell.colours.shape == (n, 3)
            assert p.shell.faces.max() < n
    about = [one.description for one in outfits]
    assert len({str(a["bottom"]["kind"]) for a in about}) >= 4
    assert len({str(a["hair"]) for a in about}) >= 4
    assert min(a["ita_deg"] for a in about) < 0 < 30 < max(a["ita_deg"] for a in about)


def test_same_key_same_clothes_and_json(person: Body, outfits: list[Outfit]) -> None:
    again = outfit(person, 0)
    pose = model_of(person).pose(person.bind_q)
    for one, other in zip(
        again.surfaces(person.rest, pose), outfits[0].surfaces(person.rest, pose), strict=True
    ):
        np.testing.assert_array_equal(one.vertices, other.vertices)
        np.testing.assert_array_equal(one.colours, other.colours)
        assert (one.texture and one.texture.name) == (other.texture and other.texture.name)
    assert json.loads(canonical_json(again.description)) == outfits[0].description


def test_a_cut_is_where_the_hem_is(person: Body) -> None:
    """The border of a level cut lies on its level, and both sides of it make the whole."""
    level = person.regions.centres["knee_r"][1] + 0.1
    heights = person.rest[:, 1].astype(np.float64)
    upper, lower = cut(person, heights - level), cut(person, level - heights)
    for half in (upper, lower):
        points = half.of(heights)
        edge = points[borders(half.faces, len(points))]
        hem = edge[np.abs(edge - level) < 0.05]  # eyes and mouth have borders too
        assert len(hem) > 40
        assert np.abs(hem - level).max() < 0.003  # near a vertex a cut goes through it
    area = [
        np.linalg.norm(np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]), axis=1).sum()
        for t in (
            person.rest[person.faces],
            *(h.of(person.rest)[h.faces] for h in (upper, lower)),
        )
    ]
    assert area[1] + area[2] == pytest.approx(area[0], rel=2e-3)


def test_short_trousers_end_above_long_ones(person: Body, outfits: list[Outfit]) -> None:
    """What the description says of a length is where the cloth ends."""
    hip, ankle = (person.regions.centres[f"{j}_r"][1] for j in ("hip", "ankle"))
    for one in outfits:
        length = one.description["bottom"]["length"]
        lowest = float(piece(one, "bottom").vertices[:, 1].min())
        assert lowest == pytest.approx(hip - length / 2 * (hip - ankle), abs=0.05)


def test_sleeves_and_legs_are_open_and_stand_off(outfits: list[Outfit], person: Body) -> None:
    """Loose clothes are no body paint: some centimetres off at the hem, and not closed there."""
    below = SkinBelow(person.rest, person.faces)
    for one in outfits:
        shell = piece(one, "bottom")
        assert shell.under is not None
        gap = below.gap(shell.vertices, shell.under)
        assert borders(shell.faces, len(shell.vertices)).sum() > 60
        assert gap.min() > 0.001
        if one.description["bottom"]["fit"] == "loose":
            assert np.quantile(gap, 0.75) > 0.012


def test_hands_and_face_stay_bare(person: Body, outfits: list[Outfit]) -> None:
    shown = person.regions.is_("hand", "lips", "eye")
    for one in outfits:
        drawn = np.isin(np.flatnonzero(shown), one.skin.rows)
        in_use = np.isin(np.flatnonzero(shown), person.faces)
        assert drawn[in_use].all()
        assert (one.coat.offsets[shown] == 0).all()


def test_clothes_follow_a_rigid_motion(person: Body, outfits: list[Outfit]) -> None:
    turn = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], float)
    pose = model_of(person).pose(person.bind_q)
    moved = pose.T_ground_from_body.copy()
    moved[:, :3] = turn @ moved[:, :3]
    moved[:, :3, 3] += 0.5
    for one in outfits[:3]:
        still = one.points(person.rest, pose.T_ground_from_body)
        skin = (person.rest @ turn.T + 0.5).astype(np.float32)
        np.testing.assert_allclose(one.points(skin, moved), still @ turn.T + 0.5, atol=3e-4)


def test_painted_shoes_enclose_the_foot_and_have_a_sole(
    person: Body, outfits: list[Outfit]
) -> None:
    one = next(o for o in outfits if o.description["shoes"] != "none")
    shoe, foot = piece(one, "shoes").vertices, person.rest[person.regions.is_("foot")]
    sole = one.description["shoes"]["sole_m"]
    assert shoe[:, 1].min() == pytest.approx(-sole, abs=0.004)
    assert shoe[:, 0].max() > foot[:, 0].max()
    assert shoe[:, 0].min() < foot[:, 0].min()
    toes = foot[:, 0] > foot[:, 0].max() - 0.06
    feet = np.flatnonzero(person.regions.is_("foot"))
    assert not np.isin(feet[toes], one.skin.rows).any()


def test_shoes_flex_with_the_toes(person: Body, outfits: list[Outfit]) -> None:
    model = model_of(person)
    one = next(o for o in outfits if o.description["shoes"] != "none")
    row = next(p.rows for p in one.pieces if p.shell.name == "shoes")
    q, found = model.spec.default_pose(), []
    for angle in (0.0, 0.5):
        q[model.spec.coordinate_names.index("mtp_angle_r")] = angle
        T = model.pose(q).T_ground_from_body
        skin = person.skin(T)
        found.append((skin, one.shape(skin, T)[2][row]))
    skin, shoe = (np.linalg.norm(found[1][k] - found[0][k], axis=1) for k in (0, 1))
    assert (
        1.0 < shoe.max() / skin.max() < 2.0
    )  # a shoe's tip is farther from the joint than a toe's
    assert np.median(shoe) < 0.001


def test_a_mesh_is_split_at_its_seams_only() -> None:
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    uv = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [0.5, 1], [0, 1]]], np.float32)
    seamed = split_seams(faces, uv)
    assert sorted(seamed.rows.tolist()) == [0, 1, 2, 2, 3]
    np.testing.assert_array_equal(seamed.rows[seamed.faces], faces)
    np.testing.assert_allclose(seamed.uv[seamed.faces], uv)


def test_a_ray_finds_the_shell_above_and_just_below() -> None:
    floor = sheet([-1, 0, -1], [0, 0, 2], [2, 0, 0], (1, 1, 1), steps=60)
    heights = np.array([-0.05, -0.011, 0.012, 0.05, -0.2])
    points = np.stack([np.full(5, 0.1), heights, np.full(5, 0.2)], axis=1).astype(np.float32)
    up = np.tile(np.array([0, 1, 0], np.float32), (5, 1))
    found = hit_distance(points, up, floor.vertices, floor.faces)
    np.testing.assert_allclose(found[:3], -heights[:3], atol=1e-6)
    assert np.isinf(found[3:]).all()


def test_skin_tones_obey_their_angle() -> None:
    angles = np.linspace(*ITA_DEG, 30)
    bright = [decode(skin_colour(float(a))) @ [0.2126, 0.7152, 0.0722] for a in angles]
    assert (np.diff(bright) > 0).all()
    assert bright[-1] / bright[0] > 5  # L* 73 reflects 45 %, L* 31 7 %
    assert all(c[0] > c[1] > c[2] for c in (skin_colour(float(a)) for a in angles))


def test_the_base_mesh_holds_the_skin_and_its_helpers(person: Body) -> None:
    model = model_of(person)
    base = base_vertices(person)
    weights = base_weights(person, model.spec, base)
    assert base.shape == (BASE_VERTICES, 3)
    assert np.isfinite(base).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    low, high = person.rest.min(axis=0) - 0.15, person.rest.max(axis=0) + 0.15
    assert ((base > low) & (base < high)).all()
    # The helper tights (obj group helper-tights) follow the legs' skin closely.
    tights = base[15328:16741]
    below = SkinBelow(person.rest, person.faces)
    gap = below.gap(tights, below.nearest(tights))
    assert 0.0 < np.median(gap) < 0.02


def test_axes_of_makehuman_and_back() -> None:
    points = np.array([[0.1, 0.2, 0.3]])  # forward, up, right
    np.testing.assert_allclose(to_makehuman(points), [[-3.0, 2.0, 1.0]])
    np.testing.assert_allclose(from_makehuman(to_makehuman(points)), points)


def test_fit_follows_the_rule_of_its_file(pack: Pack, person: Body) -> None:
    """Against the rule written out for single vertices, in MakeHuman's own axes and unit."""
    asset = next(a for a in pack.assets if a.name == "shoes02")
    proxy, _ = pack.proxy(asset)
    base = base_vertices(person)
    found = to_makehuman(fit(proxy, base).astype(np.float64))
    dm = to_makehuman(base.astype(np.float64))
    for n in (0, 100, 1593):
        expected = proxy.weights[n] @ dm[proxy.corners[n]]
        for axis, scale in enumerate(proxy.scales):
            assert scale is not None
            a, b, made_at = scale
            expected[axis] += abs(dm[a, axis] - dm[b, axis]) / made_at * proxy.offsets[n, axis]
        np.testing.assert_allclose(found[n], expected, atol=1e-4)


@pytest.mark.parametrize("people", EXTREMES, ids=["thin and tall", "fat and short"])
def test_every_garment_fits_extreme_bodies(pack: Pack, people: People) -> None:
    """Left and right do not get mixed up, and cloth lies near the skin whose bodies it follows."""
    body = make_body(people, osim.read_model("default"), generator(2, "subject", 1))
    model, base = model_of(body), base_vertices(body)
    weights = base_weights(body, model.spec, base)
    below = SkinBelow(body.rest, body.faces)
    legs = {s: [model.spec.body_names.index(f"{n}_{s}") for n in ("femur", "tibia")] for s in "rl"}
    for asset in pack.assets:
        if asset.kind == "skin":
            continue
        proxy, mesh = pack.proxy(asset)
        shell = make_shell(proxy, mesh, asset.kind, body, model.spec, base, weights)
        gap = below.gap(shell.vertices, below.nearest(shell.vertices))
        assert np.median(np.abs(gap)) < 0.05, asset.name
        assert np.quantile(gap, 0.02) > -0.03, asset.name
        for side, sign in (("r", 1), ("l", -1)):
            other = shell.weights[:, legs[side]].sum(axis=1) > 0.5
            assert (sign * shell.vertices[other, 2]).min(initial=1) > -0.05, asset.name


@pytest.mark.parametrize("pose", list(bench.POSES))
@pytest.mark.parametrize("kind", ["pack", "painted"])
def test_hardly_any_covered_skin_shows(
    shared_data: Path, renderer: Renderer, kind: str, pose: str
) -> None:
    """Standing, and with hips bent by 115 and knees by 130 degrees: at most 0.5 % of the pixels of clothes."""
    pack = open_pack(str(shared_data / "makehuman_cc0")) if kind == "pack" else None
    worn = Wardrobe(dressed=1.0, markers=0.0)
    found = [
        bench.bare_pixels(bench.subject(n, worn, pack, people), pose, renderer)
        for n, people in enumerate((People(), *EXTREMES))
    ]
    bare, all_ = np.sum(found, axis=0)
    assert all_ > 20_000
    assert bare / all_ < 0.005


def test_bare_skin_would_be_seen(person: Body, outfits: list[Outfit], renderer: Renderer) -> None:
    """The same measure on clothes pulled inside the body."""
    one = outfits[0]
    assert one.tied is not None
    placed = one.tied.placed.toarray()
    for axis in (0, 2):  # homogeneous places times weights, four columns a body
        middle = placed[:, axis::4].sum(axis=1).mean()
        placed[:, axis::4] = 0.7 * placed[:, axis::4] + 0.3 * middle * placed[:, 3::4]
    full = split_seams(person.faces, np.zeros((*person.faces.shape, 2), np.float32))
    naked = replace(
        one,
        tied=replace(one.tied, placed=csr_array(placed)),
        skin=full,
        gaps=np.full_like(one.gaps, -1.0),
    )
    subject = bench.Subject(body=person, model=model_of(person), outfit=naked)
    bare, all_ = bench.bare_pixels(subject, "standing", renderer)
    assert bare / all_ > 0.1


def test_cloth_follows_a_knee_bent_by_130_degrees(pack: Pack, person: Body) -> None:
    """No face is torn, and the trousers stay on the leg."""
    one = outfit(person, 3, pack)
    model = model_of(person)
    pose = model.pose(bench.posed(model.spec, "squat"))
    skin = person.skin(pose.T_ground_from_body)
    suit = next(p for p in one.pieces if p.shell.name in one.description["suit"]["asset"])
    cloth = one.shape(skin, pose.T_ground_from_body)[2][suit.rows]

    def longest(vertices: np.ndarray) -> np.ndarray:
        t = vertices[suit.shell.faces]
        return np.max([np.linalg.norm(t[:, k] - t[:, k - 1], axis=1) for k in range(3)], axis=0)

    stretch = longest(cloth) / np.maximum(longest(suit.shell.vertices), 0.005)
    assert np.quantile(stretch, 0.99) < 2.2
    below = SkinBelow(skin, person.faces)
    gap = np.abs(below.gap(cloth, below.nearest(cloth)))
    assert np.quantile(gap, 0.95) < 0.08


def test_parts_of_clothes_are_those_of_the_skin_below(pack: Pack, person: Body) -> None:
    """What labels joints as visible under clothes; and cloth moves as its part says, but near joints."""
    one = outfit(person, 3, pack)
    below = SkinBelow(person.rest, person.faces)
    for p in one.pieces:
        nearest = person.parts[below.nearest(p.shell.vertices)][p.seamed.rows]
        assert (p.parts == nearest).mean() > 0.95, p.shell.name
        follows = 1 + np.argmax(p.shell.weights, axis=1)[p.seamed.rows]
        if p.shell.name in one.description["suit"]["asset"]:
            assert (p.parts == follows).mean() > 0.8


def test_textures_sit_the_right_way_up(pack: Pack, renderer: Renderer) -> None:
    """The head of a skin's texture lies at its right edge; on the person it is on top: lips are redder than brows."""
    body = make_body(People(female=1.0), osim.read_model("default"), generator(3, "subject", 0))
    one = next(o for o in (outfit(body, n, pack) for n in range(8)) if o.coat.texture is not None)
    assert one.coat.texture is not None
    seamed, texture = one.skin, one.coat.texture.pixels
    x, y = (np.clip(seamed.uv * TILE_PX, 0, TILE_PX - 1).astype(int)).T
    colour = texture[y, x, :3].astype(float)
    redness = colour[:, 0] - colour[:, 1]
    lips, face = (body.regions.is_(name)[seamed.rows] for name in ("lips", "face"))
    assert redness[lips].mean() > redness[face].mean() + 10
    eyes = body.regions.is_("eye")[seamed.rows]
    assert (texture[y, x][eyes] == 255).all()


def test_a_pack_dresses_its_share_and_names_it(pack: Pack, person: Body) -> None:
    male = bool(person.anthropometry[3])
    suits = {a.path: a for a in pack.assets}
    for n in range(4):
        about = outfit(person, n, pack).description
        assert suits[about["suit"]["asset"]].sex in ("", "male" if male else "female")
        assert "suit" not in outfit(person, n, pack, dressed=0.0).description
    recoloured = {str(outfit(person, n, pack).description["suit"]["recoloured"]) for n in range(6)}
    assert len(recoloured) == 6


def test_markers_lie_on_what_is_worn(person: Body) -> None:
    model = model_of(person)
    assert outfit(person, 2).markers is None
    one = outfit(person, 2, markers=1.0)
    for name in bench.POSES:
        pose = model.pose(bench.posed(model.spec, name))
        skin = person.skin(pose.T_ground_from_body)
        *worn, balls = one.surfaces(skin, pose)
        assert balls.name == "markers"
        assert one.markers is not None
        count = len(one.markers.rows)
        assert count > 30
        spheres = balls.vertices.reshape(count, -1, 3)
        centres = spheres.mean(axis=1)
        radius = np.linalg.norm(spheres - centres[:, None], axis=2)
        assert 0.005 <= radius.max() <= 0.0071
        assert volume(spheres[0], balls.faces[balls.faces.max(axis=1) < spheres.shape[1]]) > 0
        away = np.linalg.norm(centres - pose.markers[one.markers.rows], axis=1)
        assert np.median(away) < 0.02
        points = np.concatenate([s.vertices for s in worn])
        gap = np.linalg.norm(points[None] - centres[:, None], axis=2).min(axis=1)
        assert np.median(gap) < 0.02
        expected = [
            1 + model.spec.body_names.index(model.spec.markers[r].body) for r in one.markers.rows
        ]
        assert balls.parts.reshape(count, -1)[:, 0].tolist() == expected


def test_a_skirt_spans_both_thighs(pack: Pack) -> None:
    """Its front follows the thighs up in a squat instead of staying with the pelvis, inside them."""
    body = make_body(People(female=1.0), osim.read_model("default"), generator(4, "subject", 0))
    model, base = model_of(body), base_vertices(body)
    asset = next(a for a in pack.assets if a.name == "female_elegantsuit01")
    weights = base_weights(body, model.spec, base)
    shell = make_shell(*pack.proxy(asset), "suit", body, model.spec, base, weights)
    femora = [model.spec.body_names.index(f"femur_{side}") for side in "rl"]
    hip = body.regions.centres["hip_r"]
    low = shell.vertices[:, 1] < hip[1] - 0.15
    arms = np.abs(shell.vertices[:, 2]) > 0.25
    both = shell.weights[low & ~arms][:, femora]
    assert both.sum(axis=1).min() > 0.8
    middle = np.abs(shell.vertices[low & ~arms, 2]) < 0.01
    np.testing.assert_allclose(both[middle, 0], both[middle, 1], atol=0.2)


def test_a_skirt_is_worn_only_where_there_is_nothing_else(pack: Pack) -> None:
    body = make_body(People(female=1.0), osim.read_model("default"), generator(4, "subject", 0))
    dresser = Dresser(pack, body, model_of(body).spec)
    worn = {dresser.wear("suit", generator(1, number))[0].name for number in range(12)}
    assert len(worn) > 1
    assert "female_elegantsuit01" not in worn
    skirts = [a for a in pack.assets if a.name == "female_elegantsuit01"]
    only = Dresser(replace(pack, assets=tuple(skirts)), body, model_of(body).spec)
    assert only.wear("suit", generator(1, 0))[0].name == "female_elegantsuit01"


def test_trousers_of_heavy_people_are_no_skirt(pack: Pack) -> None:
    """Their thighs cross the middle; the trousers' legs follow the shanks all the same."""
    people = People(female=1.0, bmi=(38.0, 40.0), stature=(1.5, 1.55))
    body = make_body(people, osim.read_model("default"), generator(3, "subject", 1))
    model, base = model_of(body), base_vertices(body)
    weights = base_weights(body, model.spec, base)
    knee, ankle = (body.regions.centres[f"{joint}_r"][1] for joint in ("knee", "ankle"))
    shanks = [model.spec.body_names.index(f"tibia_{side}") for side in "rl"]
    long = 0
    for asset in pack.of("suit", male=False):
        if asset.name == "female_elegantsuit01":  # the skirt
            continue
        shell = make_shell(*pack.proxy(asset), "suit", body, model.spec, base, weights)
        height = shell.vertices[:, 1]
        legs = (height < knee - 0.3 * (knee - ankle)) & (height > ankle + 0.3 * (knee - ankle))
        legs &= np.abs(shell.vertices[:, 2]) < 0.3
        long += bool(legs.any())
        assert (shell.weights[legs][:, shanks].sum(axis=1) > 0.8).all()
    assert long


def test_red_knees_of_a_skin_are_evened_and_a_painted_suit_stays() -> None:
    skin = np.full((TILE_PX, TILE_PX, 4), (200, 150, 120, 255), np.uint8)
    knee, suit = (slice(315, 395), slice(75, 155)), (slice(60, 120), slice(100, 300))
    face, mole = (slice(300, 320), slice(460, 480)), (slice(250, 253), slice(150, 153))
    for place in (knee, face, mole):
        skin[place][..., :3] = (200, 120, 95)
    skin[suit][..., :3] = 40
    made = evened(skin).astype(float)
    middle = made[350:360, 110:120, 1].mean()
    assert 134 < middle < 152
    assert made[mole][..., 1].mean() < 125
    np.testing.assert_array_equal(made[face], skin[face])
    assert made[80:100, 150:250, :3].mean() < 60
    assert (made[..., 3] == 255).all()
    np.testing.assert_array_equal(evened(np.full_like(skin, 90))[100, 150], 90)
