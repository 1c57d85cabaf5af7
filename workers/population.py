"""Whom a recipe draws: sex, age, stature, body-mass index, each inside the recipe's limits. Metres, years, kg/m².

Adults of the United States, because one survey measured stature and BMI of the same people, by sex and age:

* mean stature 1.753 m (men) and 1.613 m (women), standard deviations about 0.076 and 0.071 m: Fryar et al.,
  Anthropometric reference data for children and adults, United States 2015-2018, Vital Health Stat 3(46), 2021
  (spreads from its 5th and 95th percentiles, rounded);
* mean BMI 29.1 (men) and 29.6 (women): Fryar et al., Mean body weight, height, waist circumference and body mass
  index among adults, United States 1999-2016, Natl Health Stat Rep 122, 2018. Skewed, so lognormal; the logarithm's
  standard deviations, 0.20 and 0.24, from the percentiles of the report of 2021, rounded. The middle-aged weigh about
  4 % more than the young and 1 % more than the old in both reports;
* stature lost with age: 3 and 5 cm (men, women) from 30 to 70, 5 and 8 cm by 80: Sorkin, Muller & Andres,
  Am J Epidemiol 1999;150:969-977.

Sex and age being equal, BMI does not depend on stature: that is what its exponent is for (Heymsfield et al., Am J Clin
Nutr 2014;100:1498-1505). Over all ages and both sexes the two are correlated a little, as the short are older. Ages are
uniform, not a census': every age shall be seen.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from schemas.recipes import People


class Survey(NamedTuple):
    """What is known of one sex."""

    stature_at_30: float
    """Mean over ages 20-80, with the mean loss until then put back."""
    stature_sd: float
    loss_at_70: float
    loss_at_80: float
    bmi_mean: float
    log_bmi_sd: float


SURVEY = {
    True: Survey(1.766, 0.076, 0.03, 0.05, 29.1, 0.20),
    False: Survey(1.635, 0.071, 0.05, 0.08, 29.6, 0.24),
}
"""By `male`."""
_BMI_AGES, _BMI_SHARE = (25.0, 50.0, 75.0), (0.97, 1.02, 1.01)


class Adult(NamedTuple):
    """One person, before there is a body."""

    male: bool
    age: float
    stature: float
    bmi: float


def mean_stature(male: bool, age: float) -> float:
    """Returns the mean of a sex at an age."""
    survey = SURVEY[male]
    ages, losses = (30.0, 70.0, 80.0), (0.0, survey.loss_at_70, survey.loss_at_80)
    return survey.stature_at_30 - float(np.interp(age, ages, losses))


def median_bmi(male: bool, age: float) -> float:
    """Returns the median of a sex at an age."""
    survey = SURVEY[male]
    share = float(np.interp(age, _BMI_AGES, _BMI_SHARE))
    return share * survey.bmi_mean / float(np.exp(survey.log_bmi_sd**2 / 2))


def draw(people: People, rng: np.random.Generator) -> Adult:
    """Draws one person: normal stature and lognormal BMI, both cut at the recipe's limits."""
    male = bool(rng.random() >= people.female)
    age = float(rng.uniform(*people.age))
    survey = SURVEY[male]
    stature = truncated(people.stature, mean_stature(male, age), survey.stature_sd, rng)
    low, high = np.log(people.bmi)
    middle = float(np.log(median_bmi(male, age)))
    bmi = float(np.exp(truncated((low, high), middle, survey.log_bmi_sd, rng)))
    return Adult(male, age, stature, float(np.clip(bmi, *people.bmi)))


def truncated(
    limits: tuple[float, float], mean: float, sd: float, rng: np.random.Generator
) -> float:
    """Draws from a normal distribution cut at two limits."""
    low, high = ((edge - mean) / sd for edge in limits)
    # The lower tail keeps its digits; the upper one is mirrored into it.
    sign = -1.0 if low + high > 0 else 1.0
    edges = sorted((sign * low, sign * high))
    share = ndtr(edges[0]) + rng.random() * (ndtr(edges[1]) - ndtr(edges[0]))
    return float(np.clip(mean + sign * sd * ndtri(share), *limits))
