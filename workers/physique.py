"""Draws adults: sex, age, stature, body-mass index, build; and solves anny's phenotype for them.

Stature m, mass kg, volume m³, age years. Sources of the formulas:

* stature of adults by sex: mean and standard deviation 1.76 ± 0.07 m (men), 1.63 ± 0.065 m (women), about those of
  Europe and North America in NCD Risk Factor Collaboration, eLife 2016;5:e13410;
* body fat from BMI: Deurenberg, Weststrate & Seidell, Br J Nutr 1991;65:105-114;
* tissue density from body fat: Siri 1961, in Brozek & Henschel (eds), Techniques for Measuring Body Composition;
* air in the lungs at rest (functional residual capacity): Quanjer et al., Eur Respir J 1993;6 Suppl 16:5-40.

Tissue and air together give 955-1,015 kg/m³ for the volume inside the skin.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.recipes import People
from workers.anny_data import ANCESTRIES, F4, AnnyData
from workers.landmarks import skin_centres

STATURE_M = {"male": (1.76, 0.07), "female": (1.63, 0.065)}
AGE_YOUNG, AGE_OLD = 25.0, 90.0
"""Years of anny's anchors `young` and `old`."""
LENGTHS: dict[str, tuple[str, str, float, float, float]] = {
    "thigh_length": ("hip_r", "knee_r", 0.240, 0.007, 0.0375),
    "shank_length": ("knee_r", "ankle_r", 0.243, 0.007, 0.028),
    "upper_arm_length": ("shoulder_r", "elbow_r", 0.172, 0.006, 0.0325),
    "forearm_length": ("elbow_r", "wrist_r", 0.147, 0.005, 0.030),
    "hip_width": ("hip_r", "hip_l", 0.100, 0.005, 0.021),
}
"""Local change -> the two joint centres, mean and standard deviation of their distance over stature, and how much of
it one unit of the change gives. Means lie between Drillis & Contini (in Winter, Biomechanics and Motor Control of
Human Movement, 2009, table 4.1: 0.245, 0.246, 0.186, 0.146) and the generic model of Rajagopal et al. 2016 (0.24,
0.235, 0.168, 0.147, 0.091); left alone, anny's short people have thighs a fifth too short."""
_BUILD_SD: dict[str, float] = {
    "hip_depth": 0.2,
    "torso_width": 0.25,
    "torso_depth": 0.25,
    "torso_length": 0.15,
    "v_shape": 0.3,
    "shoulder_width": 0.35,
    "thigh_girth": 0.3,
    "calf_girth": 0.3,
    "buttocks": 0.4,
    "stomach_tone": 0.3,
    "neck_girth": 0.4,
    "head_width": 0.25,
    "head_depth": 0.25,
    "head_height": 0.2,
    "hands": 0.2,
    "feet": 0.1,
}
"""Standard deviation of each other local change. Chosen by eye to stay inside ordinary bodies, not measured."""
_FAT = ("belly", "waist_girth", "hip_girth", "thigh_fat", "arm_fat", "shank_fat", "face_fat")


@dataclass(frozen=True, kw_only=True)
class Physique:
    """One adult at rest: points in OpenSim's axes, soles at y = 0."""

    phenotype: dict[str, float]
    vertices: F4
    """(v, 3)."""
    bone_heads: F4
    """(k, 3)."""
    bone_tails: F4
    stature: float
    mass: float
    age: float
    male: bool
    volume: float


def volume(vertices: NDArray[np.floating], faces: NDArray[np.int32]) -> float:
    """Returns the volume enclosed by a mesh, by the divergence theorem."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    return float(np.einsum("fi,fi->", np.cross(a, b), c) / 6.0)


def tissue_density(bmi: float, age: float, male: bool) -> float:
    """Returns the density of the body without air, kg/m³ (Deurenberg 1991, Siri 1961)."""
    fat = np.clip((1.20 * bmi + 0.23 * age - 10.8 * male - 5.4) / 100.0, 0.05, 0.6)
    return float(1000.0 * 4.95 / (fat + 4.5))


def resting_lung_air(stature: float, age: float, male: bool) -> float:
    """Returns the functional residual capacity in m³ (Quanjer 1993)."""
    litres = 2.34 * stature + 0.009 * age - 1.09 if male else 2.24 * stature + 0.001 * age - 1.00
    return litres * 1e-3


def sample_physique(people: People, anny: AnnyData, rng: np.random.Generator) -> Physique:
    """Draws a person, so that stature, BMI and the lengths of the limbs are those drawn.

    A BMI that anny cannot reach for the rest of the draw is missed by as little as possible.
    """
    from scipy.stats import truncnorm  # here: 0.4 s that a build without a new body should not pay

    male = bool(rng.random() >= people.female)
    age = float(rng.uniform(*people.age))
    mean, sd = STATURE_M["male" if male else "female"]
    low, high = ((edge - mean) / sd for edge in people.stature)
    quantile = rng.random()
    stature = people.stature[0]
    if high > low:
        stature = float(mean + sd * truncnorm.ppf(quantile, low, high))
    bmi = float(rng.uniform(*people.bmi))
    phenotype = _with_lengths(anny, _sample_build(male, age, bmi, rng), rng)
    tissue = bmi * stature**2 / tissue_density(bmi, age, male)
    wanted = tissue + resting_lung_air(stature, age, male)
    phenotype = _with_volume(anny, phenotype, stature, wanted)
    return _measured(anny, phenotype, stature, age, male)


def _sample_build(male: bool, age: float, bmi: float, rng: np.random.Generator) -> dict[str, float]:
    """Draws everything but weight and the lengths of the limbs."""
    old = np.clip((age - AGE_YOUNG) / (AGE_OLD - AGE_YOUNG), 0.0, 1.0)
    phenotype = {
        # The ends of the gender axis are caricatures, so people scatter a little inside them.
        "gender": float(np.clip(abs(rng.normal(0.0, 0.12)), 0.0, 0.35)),
        "age": float(2 / 3 + old / 3),
        "weight": 0.5,
        # Short and tall are made by scale: this axis makes caricatures of them.
        "height": float(np.clip(rng.normal(0.5, 0.05), 0.38, 0.62)),
        "muscle": float(np.clip(rng.normal(0.45 - 0.1 * old, 0.15), 0.1, 0.8)),
        "proportions": float(np.clip(rng.normal(0.5, 0.15), 0.1, 0.9)),
        "cupsize": float(rng.uniform(0.2, 0.8)),
        "firmness": float(rng.uniform(0.2, 0.8) * (1.0 - 0.5 * old)),
    }
    if not male:
        phenotype["gender"] = 1.0 - phenotype["gender"]
    phenotype |= dict(zip(ANCESTRIES, rng.dirichlet([0.4] * 3).tolist(), strict=True))
    for name, sd in _BUILD_SD.items():
        phenotype[name] = float(np.clip(rng.normal(0.0, sd), -0.8, 0.8))
    fat = np.clip((bmi - 24.0) / 16.0, -0.5, 1.0)
    apple = rng.normal(0.15 if male else -0.15, 0.2)
    for name in _FAT:
        share = fat + (apple if name in ("belly", "waist_girth") else -apple) * abs(fat)
        phenotype[name] = float(np.clip(0.6 * share + rng.normal(0.0, 0.08), -0.4, 0.9))
    return phenotype


def _with_lengths(
    anny: AnnyData, phenotype: dict[str, float], rng: np.random.Generator
) -> dict[str, float]:
    """Draws the lengths of `LENGTHS` and solves their local changes, which are all but independent."""
    wanted = {name: rng.normal(mean, sd) for name, (_, _, mean, sd, _) in LENGTHS.items()}
    for _ in range(3):
        vertices, heads, _ = anny.blend(phenotype)
        centres = skin_centres(anny, vertices, heads)
        stature = float(np.ptp(vertices[:, 1]))
        for name, (a, b, _, _, slope) in LENGTHS.items():
            error = wanted[name] - float(np.linalg.norm(centres[a] - centres[b])) / stature
            change = phenotype.get(name, 0.0) + error / slope
            phenotype = phenotype | {name: float(np.clip(change, -1.2, 1.2))}
    return phenotype


def _with_volume(
    anny: AnnyData, phenotype: dict[str, float], stature: float, wanted: float
) -> dict[str, float]:
    """Finds the weight, and beyond its ends the muscle, whose body of this stature has the wanted volume.

    Along the path t, weight runs 0 … 1 for t in 0 … 1 and muscle falls to 0 outside: anny's thin and fat extremes
    are those without muscle.
    """

    def at(t: float) -> dict[str, float]:
        muscle = phenotype["muscle"] * (1.0 - max(0.0, t - 1.0, -t))
        return phenotype | {"weight": float(np.clip(t, 0.0, 1.0)), "muscle": muscle}

    def excess(t: float) -> float:
        vertices = anny.blend(at(t))[0]
        scale = stature / float(np.ptp(vertices[:, 1]))
        return volume(vertices, anny.faces) * scale**3 - wanted

    grid = np.linspace(-1.0, 2.0, 13)
    values = np.array([excess(float(t)) for t in grid])
    crossing = np.flatnonzero(np.sign(values[:-1]) != np.sign(values[1:]))
    if len(crossing) == 0:
        return at(float(grid[np.argmin(np.abs(values))]))
    i = int(crossing[np.argmin(np.abs(grid[crossing] - 0.5))])
    low, high = float(grid[i]), float(grid[i + 1])
    for _ in range(9):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) * values[i] > 0 else (low, middle)
    return at((low + high) / 2)


def _measured(
    anny: AnnyData, phenotype: dict[str, float], stature: float, age: float, male: bool
) -> Physique:
    vertices, heads, tails = anny.blend(phenotype)
    floor = np.array([0.0, vertices[:, 1].min(), 0.0], np.float32)
    scale = np.float32(stature / np.ptp(vertices[:, 1]))
    points = [(p - floor) * scale for p in (vertices, heads, tails)]
    space = volume(points[0], anny.faces)
    mass = space * 1000.0
    for _ in range(20):  # the density depends weakly on the BMI: this contracts fast
        density = tissue_density(mass / stature**2, age, male)
        mass = density * (space - resting_lung_air(stature, age, male))
    return Physique(
        phenotype=phenotype | {"scale": float(scale)},
        vertices=points[0],
        bone_heads=points[1],
        bone_tails=points[2],
        stature=stature,
        mass=float(mass),
        age=age,
        male=male,
        volume=space,
    )
