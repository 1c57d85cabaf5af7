"""Fewer triangles of a mesh: what must stay does, nothing moves far, and no face turns over."""

import numpy as np
import pytest

from workers import coarse
from workers.surfaces import Surface, ball, sheet

STEP_M = 0.004


@pytest.fixture(scope="module")
def flat() -> Surface:
    return sheet([0, 0, 0], [0.1, 0, 0], [0, 0, 0.1], (0.5, 0.5, 0.5), steps=25)


def area(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (points[faces[:, k]] for k in range(3))
    return np.asarray(np.cross(b - a, c - a) / 2)


def test_short_edges_go_and_the_surface_stays_whole(flat: Surface) -> None:
    faces = coarse.thinned(flat.vertices, flat.faces, flat.colours)
    assert len(faces) < 0.6 * len(flat.faces)
    before, after = area(flat.vertices, flat.faces), area(flat.vertices, faces)
    assert np.all(after @ before[0] > 0)  # none is turned over
    np.testing.assert_allclose(after.sum(axis=0), before.sum(axis=0), rtol=1e-5)


def test_borders_and_what_is_painted_stay(flat: Surface) -> None:
    colours = flat.colours.copy()
    painted = np.abs(flat.vertices[:, 0] - 0.05) < STEP_M / 4
    colours[painted] = 0.9
    faces = coarse.thinned(flat.vertices, flat.faces, colours)
    low, high = flat.vertices.min(axis=0), flat.vertices.max(axis=0)
    border = ((flat.vertices == low) | (flat.vertices == high))[:, [0, 2]].any(axis=1)
    assert set(np.flatnonzero(border | painted)) <= set(faces.ravel())


def test_a_body_of_long_edges_is_left_as_it_is() -> None:
    large = ball(0.5, (0.5, 0.5, 0.5))
    real = area(large.vertices, large.faces)
    faces = large.faces[np.linalg.norm(real, axis=1) > 1e-9]
    found = coarse.thinned(large.vertices, faces, large.colours)
    assert {tuple(f) for f in found.tolist()} == {tuple(f) for f in faces.tolist()}


def test_a_quarter_of_the_faces_follows_from_topology_alone(flat: Surface) -> None:
    faces = coarse.coarser(flat.faces, len(flat.vertices))
    assert 0.1 < len(faces) / len(flat.faces) < 0.45
    again = coarse.coarser(flat.faces.copy(), len(flat.vertices))
    assert np.array_equal(faces, again)
