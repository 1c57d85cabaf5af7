"""Solves anny's phenotype for the lengths and the volume that a person shall have. Metres, m³; shares of stature.

Sources of the mean lengths:

* thigh, shank, upper arm, forearm, hips: between Drillis & Contini (in Winter, Biomechanics and Motor Control of
  Human Movement, 2009, table 4.1: 0.245, 0.246, 0.186, 0.146) and the generic model of Rajagopal et al. 2016 (0.24,
  0.235, 0.168, 0.147, 0.091);
* shoulders: biacromial breadth of 416 ± 19 mm in men of 1.756 m and 365 ± 18 mm in women of 1.629 m (Gordon et al.,
  2012 Anthropometric Survey of U.S. Army Personnel, NATICK/TR-15/007), less 15 mm a side from acromion to joint centre.

Left alone, anny's short people have thighs a fifth too short, and everybody's shoulders are narrow.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.anny_data import AnnyData
from workers.landmarks import skin_centres

FAT = ("belly", "waist_girth", "hip_girth", "thigh_fat", "arm_fat", "shank_fat", "face_fat")
"""Local changes that are fat."""
_BEYOND = {"thigh_girth": 0.5, "calf_girth": 0.4, "torso_depth": 0.6, "torso_width": 0.6}
"""What changes beside fat, and by how much, where anny's own axes of weight and muscle end."""
_MOST = {"belly": 0.7, "thigh_fat": 0.7}
"""Where fat begins to look like a pregnancy, or like breeches."""
_ENDS = (-3.0, 7.0)
_TOLERANCE = 1e-4


class Length(NamedTuple):
    """The distance of two joint centres."""

    ends: tuple[str, str]
    men: float
    """Mean share of stature."""
    women: float
    sd: float
    slope: float
    """What one unit of the local change adds."""


LENGTHS: dict[str, Length] = {
    "thigh_length": Length(("hip_r", "knee_r"), 0.240, 0.240, 0.007, 0.0375),
    "shank_length": Length(("knee_r", "ankle_r"), 0.243, 0.243, 0.007, 0.028),
    "upper_arm_length": Length(("shoulder_r", "elbow_r"), 0.172, 0.172, 0.006, 0.0325),
    "forearm_length": Length(("elbow_r", "wrist_r"), 0.147, 0.147, 0.005, 0.030),
    "hip_width": Length(("hip_r", "hip_l"), 0.100, 0.103, 0.005, 0.021),
    "shoulder_width": Length(("shoulder_r", "shoulder_l"), 0.219, 0.206, 0.009, 0.022),
}
"""By the local change that makes them."""
_LONG_LEGGED = 0.4
"""Correlation of the lengths of a person's limbs: some are long-legged, some long in the body (the ratio of sitting
height to stature varies by 0.014, Bogin & Varela-Silva, Int J Environ Res Public Health 2010;7:1047-1075)."""


def draw_lengths(male: bool, rng: np.random.Generator) -> dict[str, float]:
    """Draws the shares of stature of `LENGTHS`; those of arms and legs go together."""
    shared, wanted = rng.normal(), {}
    for name, length in LENGTHS.items():
        own = rng.normal()
        if name.endswith("length"):
            own = np.sqrt(_LONG_LEGGED) * shared + np.sqrt(1.0 - _LONG_LEGGED) * own
        mean = length.men if male else length.women
        wanted[name] = float(mean + length.sd * np.clip(own, -2.5, 2.5))
    return wanted


def volume(vertices: NDArray[np.floating], faces: NDArray[np.int32]) -> float:
    """Returns the volume enclosed by a mesh, by the divergence theorem."""
    a, b, c = (np.ascontiguousarray(vertices.T)[:, faces[:, i]] for i in range(3))
    across = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    parts = sum((n * at for n, at in zip(across, c, strict=True)), np.zeros(len(faces)))
    return float(parts.sum(dtype=np.float64) / 6.0)


def solve(
    anny: AnnyData,
    phenotype: dict[str, float],
    lengths: dict[str, float],
    stature: float,
    wanted: float,
) -> dict[str, float]:
    """Returns the phenotype with the wanted lengths and, at this stature, the wanted volume; or as near as anny goes.

    Fat moves the joint centres and longer legs weigh more, so the two take turns.
    """
    at = 0.5
    for rounds in (2, 1):
        phenotype = _with_lengths(anny, _at(phenotype, at), lengths, rounds) | {
            name: phenotype[name] for name in _moved(phenotype)
        }
        at = _find_volume(anny, phenotype, stature, wanted, at)
    return _at(phenotype, at)


def _moved(phenotype: dict[str, float]) -> list[str]:
    """Names what `_at` changes."""
    return [name for name in ("weight", "muscle", *FAT, *_BEYOND) if name in phenotype]


def _with_lengths(
    anny: AnnyData, phenotype: dict[str, float], wanted: dict[str, float], rounds: int
) -> dict[str, float]:
    """Solves the local changes of lengths, which are all but independent."""
    for _ in range(rounds):
        vertices, heads, _ = anny.blend(phenotype)
        centres = skin_centres(anny, vertices, heads)
        stature = float(np.ptp(vertices[:, 1]))
        for name, length in LENGTHS.items():
            one, other = (centres[end] for end in length.ends)
            error = wanted[name] - float(np.linalg.norm(one - other)) / stature
            change = phenotype.get(name, 0.0) + error / length.slope
            phenotype = phenotype | {name: float(np.clip(change, -1.2, 1.2))}
    return phenotype


def _at(phenotype: dict[str, float], t: float) -> dict[str, float]:
    """Returns the phenotype at a point of the path from the thinnest to the fattest body.

    Weight runs 0 … 1 for t in 0 … 1. Further out fat and girths change with t, and muscle falls, as anny's thin and
    fat extremes are those without: of the thin at once, of the fat late, as the strong stay strong.
    """
    loss = (
        0.15 * np.clip(t - 1.0, 0.0, 2.0)
        + 0.35 * np.clip(t - 3.0, 0.0, 2.0)
        + np.clip(-t, 0.0, 1.0)
    )
    muscle = phenotype["muscle"] * (1.0 - loss)
    beyond = 0.5 * max(0.0, t - 1.0) - max(0.0, -1.0 - t)
    found = phenotype | {"weight": float(np.clip(t, 0.0, 1.0)), "muscle": float(muscle)}
    for name, share in (dict.fromkeys(FAT, 0.6) | {"belly": 0.25} | _BEYOND).items():
        found[name] = float(np.clip(found[name] + share * beyond, -1.2, _MOST.get(name, 1.6)))
    return found


def _find_volume(
    anny: AnnyData, phenotype: dict[str, float], stature: float, wanted: float, start: float
) -> float:
    """Finds where on the path the body has the wanted volume: steps to a change of sign, then regula falsi."""

    def excess(t: float) -> float:
        vertices = anny.blend(_at(phenotype, t))[0]
        scale = stature / float(np.ptp(vertices[:, 1]))
        return volume(vertices, anny.faces) * scale**3 / wanted - 1.0

    a, f_a = start, excess(start)
    step = -0.25 * float(np.sign(f_a))
    while True:
        b = float(np.clip(a + step, *_ENDS))
        f_b = excess(b)
        if f_a * f_b <= 0.0:
            break
        if b in _ENDS:
            return b
        a, f_a, step = b, f_b, 2.0 * step
    for _ in range(20):
        t = b - f_b * (b - a) / (f_b - f_a) if f_b != f_a else b
        f_t = excess(t)
        if abs(f_t) < _TOLERANCE:
            return t
        # The Illinois rule: an end that stays counts half.
        a, f_a = (b, f_b) if f_t * f_b < 0.0 else (a, f_a / 2.0)
        b, f_b = t, f_t
    return b
