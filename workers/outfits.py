"""A dressed person in any pose: the skin that shows, and the shells worn over it, as surfaces to draw.

Dims: b = OpenSim body, n = shell vertex, v = skin vertex. Metres, ground frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.body import Body
from workers.coarse import thinned
from workers.marking import MarkerSet, stick_markers
from workers.osim import OsimModel, Pose
from workers.shells import (
    F4,
    Faces,
    Seamed,
    Shell,
    SkinBelow,
    part_of,
    rings_inside,
    shell_under,
    split_seams,
)
from workers.skinning import Skin, make_skin
from workers.surfaces import TILE_PX, Normals, Surface, Texture

Array = NDArray[np.float64]
PLAIN_PX = 8
"""The corner of a skin's texture that is white, for what has no texture (eyes)."""
_DEEP = 2
"""Skin that many edges inside what a garment covers is not drawn: nearer its hem one may look in."""
_TUCK_M = 0.006
"""Skin under a garment that is drawn, near the hem, is drawn in by this."""
_PUSH_M = 0.04
"""Cloth deeper inside the skin than this lies in a crease between two parts of the body, and stays there."""


@dataclass(frozen=True, kw_only=True)
class Coat:
    """What covers the skin itself: paint, a texture, and how far it stands off."""

    colours: F4
    """(v, 3); multiplied with the texture."""
    offsets: F4
    """(v,) along the normals, m."""
    texture: Texture | None = None
    plain: NDArray[np.bool_] | None = None
    """(v,): where the texture has nothing to say; drawn with its white corner."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One shell as it is drawn."""

    shell: Shell
    rows: slice
    """Of all shells' vertices."""
    seamed: Seamed
    parts: NDArray[np.uint8]
    """(s,) of drawn vertices."""
    colours: F4
    """(s, 3)."""
    thinned: Faces
    """Fewer faces, for a camera far away."""


@dataclass(frozen=True, kw_only=True)
class Outfit:
    """How one body is dressed, in any pose."""

    coat: Coat
    skin: Seamed
    """The faces of the skin that are drawn."""
    skin_thinned: Faces = field(repr=False)
    """Fewer of them, for a camera far away."""
    skin_normals: Normals = field(repr=False)
    """Of the whole skin (v), also where it is not drawn."""
    cloth_normals: Normals = field(repr=False)
    """Of all shells (n)."""
    skin_parts: NDArray[np.uint8] = field(repr=False)
    pieces: tuple[Piece, ...]
    tied: Skin | None = field(repr=False)
    """All shells' vertices, one after the other."""
    under: NDArray[np.intp] = field(repr=False)
    """(n,): the skin vertex below each."""
    gaps: F4 = field(repr=False)
    """(n,): how far from the skin each stays, m."""
    description: dict[str, Any]
    markers: MarkerSet | None = None
    """On the points of skin (v) and shells (n), one after the other."""

    def shape(
        self, skin: F4, T_ground_from_body: Array, look: Array | None = None
    ) -> tuple[F4, F4, F4]:
        """Dresses a posed skin (v, 3): returns it as coated, its normals (v, 3), and all shells' vertices (n, 3).

        `look` is what the skin was posed with.
        """
        normals = self.skin_normals(skin)
        coated = skin + self.coat.offsets[:, None] * normals
        if self.tied is None:
            return coated, normals, np.zeros((0, 3), np.float32)
        cloth = self.tied.deform(self.tied.moves(T_ground_from_body, look))
        along = normals[self.under]
        gap = np.einsum("ni,ni->n", cloth - skin[self.under], along)
        push = self.gaps - gap
        push = np.where((push > 0) & (push < _PUSH_M), push, np.float32(0.0))
        return coated, normals, np.asarray(cloth + push[:, None] * along, np.float32)

    @cached_property
    def _drawn_skin(self) -> tuple[F4, NDArray[np.uint8]]:
        """Returns colours and parts of the skin's drawn vertices."""
        return self.coat.colours[self.skin.rows], self.skin_parts[self.skin.rows]

    def points(self, skin: F4, T_ground_from_body: Array) -> F4:
        """Returns everything that is drawn of a posed skin, as points (p, 3): those of the skin first."""
        coated, _, cloth = self.shape(skin, T_ground_from_body)
        return np.concatenate([coated[self.skin.rows], cloth])

    def surfaces(self, skin: F4, pose: Pose, look: Array | None = None) -> list[Surface]:
        """Returns what is drawn of a posed skin (v, 3); `look` is what it was posed with."""
        coated, normals, cloth = self.shape(skin, pose.T_ground_from_body, look)
        rows, (colours, parts) = self.skin.rows, self._drawn_skin
        drawn = [
            Surface(
                vertices=coated[rows],
                faces=self.skin.faces,
                thinned=self.skin_thinned,
                colours=colours,
                parts=parts,
                uv=self.skin.uv,
                texture=self.coat.texture,
                normals=normals[rows],
                roughness=0.6,
                name="skin",
            )
        ]
        on_cloth = self.cloth_normals(cloth)
        drawn += [_drawn(p, cloth[p.rows], on_cloth[p.rows]) for p in self.pieces]
        if self.markers is not None:
            worn = np.concatenate([coated, cloth])
            drawn.append(self.markers.surface(pose, worn, np.concatenate([normals, on_cloth])))
        return drawn


def _drawn(piece: Piece, vertices: F4, normals: F4) -> Surface:
    shell, seamed = piece.shell, piece.seamed
    return Surface(
        vertices=vertices[seamed.rows],
        faces=seamed.faces,
        thinned=piece.thinned,
        colours=piece.colours,
        parts=piece.parts,
        uv=seamed.uv,
        texture=shell.texture,
        normals=normals[seamed.rows],
        roughness=shell.roughness,
        two_sided=shell.lined,
        holes=shell.holes,
        casts=not shell.holes,
        name=shell.name,
    )


def wear(
    body: Body,
    model: OsimModel,
    coat: Coat,
    layers: Sequence[Shell],
    description: dict[str, Any],
    mark: np.random.Generator | None = None,
) -> Outfit:
    """Puts shells on a body, innermost first: hides what lies under each, and keeps each outside the skin.

    Reflective markers are stuck on it where a generator `mark` is given.
    """
    below = SkinBelow(body.rest, body.faces)
    shells: list[Shell] = []
    depth = np.zeros(len(body.rest), np.int64)
    covered = np.zeros(len(body.rest), bool)
    for shell in layers:
        fitted = below.keep_out(shell)
        if fitted.hides:
            over = below.below(fitted)
            covered |= over
            depth = np.maximum(depth, rings_inside(over, body.faces))
            shells = [_without_hidden(inner, fitted) for inner in shells]
        shells.append(fitted)
    shells = [shell for shell in shells if len(shell.faces)]
    hidden = (depth[body.faces] >= _DEEP).all(axis=1)
    tuck = np.where(covered, -np.float32(_TUCK_M), np.float32(0.0))
    coat = replace(coat, offsets=np.where(covered, tuck, coat.offsets).astype(np.float32))
    uv = body.face_uv[~hidden].copy()
    uv[..., 1] = 1.0 - uv[..., 1]
    shown = body.faces[~hidden]
    if coat.plain is not None:
        uv[coat.plain[shown].all(axis=1)] = 0.5 * PLAIN_PX / TILE_PX
    under, gaps = _clearances(below, shells)
    skin = split_seams(shown, uv if coat.texture else np.zeros_like(uv))
    outfit = Outfit(
        coat=coat,
        skin=skin,
        skin_thinned=thinned(body.rest[skin.rows], skin.faces, coat.colours[skin.rows]),
        skin_normals=Normals(body.faces, len(body.rest)),
        cloth_normals=Normals(_all_faces(shells), len(under)),
        skin_parts=body.parts,
        pieces=_pieces(body, shells, under),
        tied=_tie(body, model, shells),
        under=under,
        gaps=gaps,
        description=description,
    )
    if mark is None:
        return outfit
    pose = model.pose(body.bind_q)
    coated, _, cloth = outfit.shape(body.rest, pose.T_ground_from_body)
    worn = np.concatenate([coated, cloth])
    worn[: len(coated)][depth >= _DEEP] = 1e6  # out of reach: nothing sticks to what is not drawn
    return replace(outfit, markers=stick_markers(model.spec, pose, worn, mark))


def _without_hidden(inner: Shell, outer: Shell) -> Shell:
    """Leaves out the faces of a shell that lie deep under an outer one."""
    over = shell_under(inner, outer)
    deep = rings_inside(over, inner.faces) >= _DEEP
    kept = np.asarray(~deep[inner.faces].all(axis=1))
    return inner if kept.all() else part_of(inner, kept)


def _clearances(below: SkinBelow, shells: list[Shell]) -> tuple[NDArray[np.intp], F4]:
    """Returns the skin vertex below every shell vertex (n,), and how far from it each stays (n,)."""
    if not shells:
        return np.zeros(0, np.intp), np.zeros(0, np.float32)
    under = [shell.under if shell.under is not None else np.zeros(0, np.intp) for shell in shells]
    gaps = [
        np.minimum(below.gap(shell.vertices, rows), shell.clearance)
        for shell, rows in zip(shells, under, strict=True)
    ]
    return np.concatenate(under), np.concatenate(gaps).astype(np.float32)


def _all_faces(shells: list[Shell]) -> Faces:
    starts = np.cumsum([0, *(len(shell.vertices) for shell in shells)])
    faces = [shell.faces + np.int32(k) for shell, k in zip(shells, starts, strict=False)]
    return np.concatenate([np.zeros((0, 3), np.int32), *faces])


def _pieces(body: Body, shells: list[Shell], under: NDArray[np.intp]) -> tuple[Piece, ...]:
    """Cloth is part of the body that the skin below it is part of: labels see through it."""
    starts = np.cumsum([0, *(len(shell.vertices) for shell in shells)])
    pieces = []
    for shell, start in zip(shells, starts[:-1], strict=True):
        rows, seamed = (
            slice(start, start + len(shell.vertices)),
            split_seams(shell.faces, shell.corner_uv),
        )
        colours = shell.colours[seamed.rows]
        pieces.append(
            Piece(
                shell=shell,
                rows=rows,
                seamed=seamed,
                parts=body.parts[under[rows]][seamed.rows],
                colours=colours,
                thinned=thinned(shell.vertices[seamed.rows], seamed.faces, colours),
            )
        )
    return tuple(pieces)


def _tie(body: Body, model: OsimModel, shells: list[Shell]) -> Skin | None:
    """Lets all shells follow the bodies as the skin does."""
    if not shells:
        return None
    pose = model.pose(body.bind_q)
    return make_skin(
        model.spec,
        np.concatenate([shell.vertices for shell in shells]),
        np.concatenate([shell.weights for shell in shells]),
        pose.T_ground_from_body,
        pose.joint_centres,
        body.regions.centres["neck"],
    )
