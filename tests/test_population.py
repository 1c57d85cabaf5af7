"""Whom a recipe draws: the survey's statures and BMIs, inside the recipe's limits."""

import numpy as np
import pytest
from scipy import stats

from schemas.recipes import People
from workers.population import SURVEY, Adult, draw, mean_stature, median_bmi, truncated

WIDE = People(stature=(1.2, 2.3), bmi=(12.0, 60.0))


def adults(people: People, count: int) -> list[Adult]:
    rng = np.random.default_rng(11)
    return [draw(people, rng) for _ in range(count)]


@pytest.mark.parametrize("male", [True, False])
def test_statures_and_bmis_are_those_of_the_survey(male: bool) -> None:
    """Kolmogorov and Smirnov's test of what is drawn, made standard by sex and age, at a level of 0.1 %."""
    people = adults(WIDE.model_copy(update={"female": float(not male)}), 3000)
    survey = SURVEY[male]
    tall = [(a.stature - mean_stature(male, a.age)) / survey.stature_sd for a in people]
    heavy = [np.log(a.bmi / median_bmi(male, a.age)) / survey.log_bmi_sd for a in people]
    ages = [(a.age - 18.0) / 62.0 for a in people]
    assert stats.kstest(tall, "norm").pvalue > 1e-3
    assert stats.kstest(heavy, "norm").pvalue > 1e-3
    assert stats.kstest(ages, "uniform").pvalue > 1e-3
    assert abs(stats.pearsonr(tall, heavy)[0]) < 0.06, "sex and age being equal"


@pytest.mark.parametrize(("male", "stature", "bmi"), [(True, 1.753, 29.1), (False, 1.613, 29.6)])
def test_means_of_the_published_tables(male: bool, stature: float, bmi: float) -> None:
    people = adults(WIDE.model_copy(update={"female": float(not male), "age": (20, 80)}), 3000)
    assert np.mean([a.stature for a in people]) == pytest.approx(stature, abs=0.006)
    assert np.mean([a.bmi for a in people]) == pytest.approx(bmi, abs=0.5)


def test_the_old_are_shorter_and_so_stature_goes_with_bmi_a_little() -> None:
    people = adults(WIDE, 3000)
    ages, tall = [a.age for a in people], [a.stature for a in people]
    assert -0.4 < np.corrcoef(ages, tall)[0, 1] < -0.05
    assert mean_stature(False, 30) - mean_stature(False, 80) == pytest.approx(0.08)


def test_nobody_is_beyond_the_recipe_and_its_edges_are_used() -> None:
    people = adults(People(), 3000)
    bmi = np.array([a.bmi for a in people])
    tall = np.array([a.stature for a in people])
    ages = np.array([a.age for a in people])
    assert bmi.min() >= 17.0
    assert bmi.max() <= 40.0
    assert tall.min() >= 1.45
    assert tall.max() <= 2.0
    assert ages.min() >= 18.0
    assert ages.max() <= 80.0
    assert bmi.min() < 18.5
    assert bmi.max() > 39.0
    assert np.mean([a.male for a in people]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("limits", [(2.1, 2.3), (1.2, 1.25), (1.7, 1.7)])
def test_limits_far_from_the_mean_still_hold(limits: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    drawn = [truncated(limits, 1.7, 0.03, rng) for _ in range(50)]
    assert np.isfinite(drawn).all()
    assert limits[0] <= min(drawn)
    assert max(drawn) <= limits[1]
    if limits[0] < limits[1]:
        assert np.std(drawn) > 0.0
