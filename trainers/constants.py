"""The constants of a skeleton, as the tensors that forward kinematics multiplies with: what they are.

Dims: b = body (= joint), c = coordinate, e = argument, t = turning body, s = slide, v = vector, p = point (joint
centres, then markers), f = curve, k = break, d = degree. Units m and rad; joints and frames are those of
schemas/skeleton.py. Bodies and joints count from 0 in the spec's order; "body + 1" leaves 0 to ground.

An *argument* is what an axis is a straight line of: a coordinate, or the value of a bent curve. A body *turns* if one
of its joint's rotations moves; the rotation of a body that is *still* is a constant times that of the nearest turning
body below it, its *anchor*, so that still bodies are no step of the chain. A *slide* is a translation axis that is not
always zero.

By Rodrigues a turn is A + cos·B + sin·C with constant matrices, so two of them with the frame before are one constant
9 x 9 matrix times the 9 products of (1, cos, sin) of two angles: one batched product for all joints.
"""

from typing import NamedTuple

from torch import Tensor

from schemas.formulas import Formula
from trainers.shapes import Shapes


class Curves(NamedTuple):
    """Functions that are no straight lines: f piecewise polynomials of one coordinate each, in the normal form of
    schemas/curves.py, then formulas."""

    source: Tensor
    """(f) coordinate."""
    breaks: Tensor
    """(f, k), filled up with +inf."""
    origins: Tensor
    """(f · (k + 1))."""
    coefficients: Tensor
    """(d + 1, f · (k + 1)), lowest power first."""
    first: Tensor
    """(f, 1) place of each curve's first piece."""
    formulas: tuple[tuple[Tensor, Formula], ...]
    """With the coordinates that are their arguments."""


class Couplers(NamedTuple):
    """Coupled coordinates whose couplers need only coordinates that are already set."""

    target: Tensor
    """(f) coordinate, of the curves' values."""
    curves: Curves
    scale: Tensor
    """(f) scale that multiplies the value."""
    stretch: Tensor
    """(3, f, 1) weights of that scale's components."""
    rigid: Tensor
    """(f, 1): 1 for those that do not scale, else 0."""


class Lines(NamedTuple):
    """Values of r axes: slope · argument + intercept."""

    source: Tensor
    """(r) argument."""
    slope: Tensor
    """(r, 1)."""
    intercept: Tensor
    """(r, 1)."""


class Slides(NamedTuple):
    """Translations along axes."""

    lines: Lines
    joint: Tensor
    """(s)."""
    direction: Tensor
    """(3, s, 1), parent body."""
    scale: Tensor
    """(s) that of the parent body."""
    stretch: Tensor
    """(3, s, 1): `Axis.stretch`; 0 on ground."""
    rigid: Tensor
    """(s, 1): 1 where it does not scale, else 0."""


class Vectors(NamedTuple):
    """Vectors fixed in bodies: of all points (joints in their parents, markers), then joint origins in children."""

    body: Tensor
    """(v) body + 1: whose frame the vector is in, and whose scale multiplies it."""
    unscaled: Tensor
    """(3, v, 1)."""
    by_scale: Tensor
    """(3, 3, v, 1), columns first: times the scale it is the scaled vector; where all are diagonal, (3, v, 1)."""


class Shaped(NamedTuple):
    """The h joints with a shape, and the reversed ones: they are not made of turns and slides."""

    kinds: tuple[Shapes, ...]
    """They follow one another in all fields below."""
    lines: Lines
    """Six values per joint."""
    scale: Tensor
    """(6h) body + 1 that stretches the value."""
    stretch: Tensor
    """(3, 6h, 1), as of slides."""
    rigid: Tensor
    """(6h, 1), as of slides."""
    joint: Tensor
    """(h)."""
    place: Tensor
    """(h) among the turning bodies."""
    outer: Tensor
    """(h, 3, 3, 1): R_parent_from_F."""
    inner: Tensor
    """(h, 3, 3, 1): R_M_from_body."""
    fixed: Tensor
    """(3, 3, h, 1): R_anchor_from_parent, columns first."""


class Structure(NamedTuple):
    """The constants of a skeleton, tensors of one dtype and device."""

    couplers: tuple[Couplers, ...]
    curves: Curves
    """The bent axes'; their values are the arguments after the coordinates."""
    turns: Lines
    """First turns of all turning bodies, then second, then third ones; those that stand still have slope 0."""
    first_two: Tensor
    """(t, 9, 9): rows first, R_anchor_from_F · R1 · R2 for each product of (1, cos, sin) of the two angles."""
    third: Tensor
    """(t, 9, 3): rows first, R3 · R_M_from_body for each of (1, cos, sin) of the third angle."""
    axes: tuple[Tensor, ...]
    """(t, 3, 1), (t, 3, 3), (t, 3, 9): the turns' axes in the parent body, for each product of the turns before."""
    turning: Tensor
    """(t) bodies: those of even depth first, by depth."""
    even_anchor: Tensor
    """Places, among the turning bodies, of the anchors of those of even depth."""
    levels: tuple[Tensor, ...]
    """Per even depth: where, in the even depth before, the anchors of its bodies' anchors are. Ground is depth 0."""
    odd_anchor: Tensor
    """Places, among ground and the bodies of even depth, of the anchors of those of odd depth."""
    anchor: Tensor
    """(1 + b) per body + 1: the place of its anchor among ground and the turning bodies."""
    still: Tensor
    """(w) body + 1."""
    still_rotation: Tensor
    """(3, 3, w, 1): R_anchor_from_body of the still bodies, rows first."""
    slides: Slides
    shaped: Shaped
    vectors: Vectors
    inner: Tensor
    """Joints whose origin is not that of their child; the last vectors are theirs."""
    base: Tensor
    """(p) body + 1 at whose origin the point's vector starts: of a joint its parent, of a marker its own."""
    owner: Tensor
    """(p) body + 1 that the point moves with: of a joint its child, of a marker its own."""
    centre: Tensor
    """(b) points that are the joints' centres; empty where they are the first b."""
    markers: int
    """How many points after the first b are markers; then come the centres of reversed joints."""
    carries: Tensor
    """(1 + b, b): 1 where the column's body carries the row's, or is it; ground's row, the first, is 0."""
