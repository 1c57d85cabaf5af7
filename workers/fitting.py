"""Fits MakeHuman garments, shoes and hair to a resting body and lets them follow it. Metres, ground axes.

The rule of `.mhclo`: a vertex is w1 a + w2 b + w3 c of three base vertices, plus an offset that scales per axis with
the distance of two landmarks of the base mesh.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.skeleton import SkeletonSpec
from workers.body import Body
from workers.makehuman import Mesh, Proxy
from workers.shells import F4, Shell, smooth_weights

Array = NDArray[np.float64]
_LEG = ("femur", "tibia", "patella", "talus", "calcn", "toes")
_CROSSING = 8
"""So many faces that are no trouser leg's make a skirt."""
_WEIGHT_ROUNDS = {"suit": 4, "shoes": 0, "hair": 0}


def fit(proxy: Proxy, base: F4) -> F4:
    """Returns where a garment's vertices (n, 3) lie on a base mesh (19158, 3)."""
    a = to_makehuman(base.astype(np.float64))
    corners = a[proxy.corners]
    points = np.einsum("nk,nki->ni", proxy.weights, corners)
    for axis, scale in enumerate(proxy.scales):
        size = 1.0
        if scale is not None:
            first, second, made_at = scale
            size = abs(float(a[first, axis] - a[second, axis])) / made_at
        points[:, axis] += size * proxy.offsets[:, axis]
    return from_makehuman(points).astype(np.float32)


def to_makehuman(points: Array) -> Array:
    """OpenSim's X forward, Y up, Z right in m to MakeHuman's X left, Y up, Z forward in dm."""
    return np.asarray(points[..., [2, 1, 0]] * np.array([-10.0, 10.0, 10.0]))


def from_makehuman(points: Array) -> Array:
    """The inverse of `to_makehuman`."""
    return np.asarray(points[..., [2, 1, 0]] * np.array([0.1, 0.1, -0.1]))


def make_shell(
    proxy: Proxy,
    mesh: Mesh,
    kind: str,
    body: Body,
    spec: SkeletonSpec,
    base: F4,
    base_weights: Array,
) -> Shell:
    """Fits one asset (`suit`, `shoes` or `hair`) and carries the skin's weights over to it; untextured."""
    positive = np.maximum(proxy.weights, 0.0)
    positive /= np.maximum(positive.sum(axis=1, keepdims=True), 1e-9)
    weights = np.einsum("nk,nkb->nb", positive, base_weights[proxy.corners])
    if kind == "hair":
        weights = _all_on(weights, spec, ("head", "torso"))
    if kind == "shoes":
        weights = _stiffen(weights, spec)
    vertices = fit(proxy, base)
    skirt = kind == "suit" and _is_skirt(weights, vertices, mesh, spec, body)
    if skirt:
        weights = _span_legs(weights, vertices, spec, body)
    weights = smooth_weights(weights, mesh.faces, _WEIGHT_ROUNDS[kind])
    uv = mesh.corner_uv.copy()
    uv[..., 1] = 1.0 - uv[..., 1]
    return Shell(
        name=proxy.name or kind,
        vertices=vertices,
        faces=mesh.faces,
        weights=weights,
        corner_uv=uv,
        texture=None,
        colours=np.ones((len(weights), 3), np.float32),
        holes=kind == "hair",
        hides=kind != "hair",
        clearance=0.004 if kind == "suit" else 0.001,
        skirt=skirt,
    )


def _is_skirt(weights: Array, vertices: F4, mesh: Mesh, spec: SkeletonSpec, body: Body) -> bool:
    """Says whether cloth about the middle of the thighs follows neither leg, or ties one to the other.

    Where it lies says nothing: a heavy person's trousers cross the middle.
    """
    hip, knee = (body.regions.centres[f"{joint}_r"][1] for joint in ("hip", "knee"))
    height = vertices[mesh.faces, 1]
    thigh = (height.max(axis=1) < 0.6 * hip + 0.4 * knee) & (height.min(axis=1) > knee)
    on_right, on_left = (
        weights[:, [spec.body_names.index(f"{n}_{s}") for n in ("femur", "tibia")]].sum(axis=1)
        for s in "rl"
    )
    ties = (on_right[mesh.faces].max(axis=1) > 0.6) & (on_left[mesh.faces].max(axis=1) > 0.6)
    hangs = (on_right + on_left)[mesh.faces].min(axis=1) < 0.5
    return bool((thigh & (ties | hangs)).sum() >= _CROSSING)


def _span_legs(weights: Array, vertices: F4, spec: SkeletonSpec, body: Body) -> Array:
    """Lets a skirt lie on both thighs and span between them: it follows each by how far it lies on its side."""
    centres, names = body.regions.centres, spec.body_names
    height, side = vertices[:, 1].astype(np.float64), vertices[:, 2].astype(np.float64)
    hip, half = centres["hip_r"][1], abs(float(centres["hip_r"][2]))
    legs = [i for i, n in enumerate(names) if n[:-2] in _LEG]
    arms = 1.0 - weights[:, [*legs, names.index("pelvis"), names.index("torso")]].sum(axis=1)
    on_legs = np.clip((hip + 0.05 - height) / 0.16, 0.0, 1.0) * (arms < 0.1)
    on_legs = on_legs * on_legs * (3.0 - 2.0 * on_legs)
    right = np.clip(0.5 + 0.5 * side / half, 0.0, 1.0)
    result = weights * np.where(arms < 0.1, 1.0 - on_legs, 1.0)[:, None]
    result[:, names.index("femur_r")] += on_legs * right
    result[:, names.index("femur_l")] += on_legs * (1.0 - right)
    return np.asarray(result / result.sum(axis=1, keepdims=True))


def _all_on(weights: Array, spec: SkeletonSpec, names: tuple[str, ...]) -> Array:
    """Ties everything to the first of the named bodies that the model has."""
    body = next(spec.body_names.index(name) for name in names if name in spec.body_names)
    return np.asarray(np.eye(weights.shape[1])[np.full(len(weights), body)])


def _stiffen(weights: Array, spec: SkeletonSpec) -> Array:
    """A shoe is of one piece: what follows the shank follows it less than skin does, unless it is a boot's leg."""
    result = weights.copy()
    for side in "rl":
        names = [f"{stem}_{side}" for stem in ("tibia", "calcn")]
        if not all(name in spec.body_names for name in names):
            continue
        shank, foot = (spec.body_names.index(name) for name in names)
        kept = np.clip((weights[:, shank] - 0.5) / 0.5, 0.0, 1.0)
        result[:, foot] += weights[:, shank] * (1.0 - kept)
        result[:, shank] = weights[:, shank] * kept
    return result
