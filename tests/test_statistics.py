"""Counts add up: in any order and any grouping, the sum over parts is the count of the whole."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.statistics import Histogram, Statistics, total

values = st.lists(st.floats(-20, 200, allow_nan=False) | st.just(float("nan")), max_size=40)


def of(numbers: list[float], reasons: tuple[str, ...] = ()) -> Statistics:
    shown = Histogram.of(np.array(numbers, np.float64), "deg", 0.0, 150.0, 15)
    counts = {"rows": len(numbers)} | {f"quarantined_{r}": 1 for r in reasons}
    return Statistics(histograms={"knee": shown}, counts=counts)


@given(st.lists(values, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_sum_of_parts_in_any_order_and_grouping_is_the_whole(
    parts: list[list[float]], random: object
) -> None:
    whole = of([v for part in parts for v in part])
    made = [of(part) for part in parts]
    random.shuffle(made)  # type: ignore[attr-defined]
    assert total(made) == whole
    half = len(made) // 2
    assert total(made[:half]) + total(made[half:]) == whole


@given(values)
def test_the_json_round_trip_loses_nothing(numbers: list[float]) -> None:
    made = of(numbers, ("truncated_jpeg",))
    assert Statistics.from_json(json.loads(json.dumps(made.to_json(), allow_nan=False))) == made


def test_values_outside_fall_into_the_end_bins_and_nan_into_none() -> None:
    counted = Histogram.of(np.array([-5.0, 0.0, 9.9, 10.0, 99.0, np.nan, np.inf]), "m", 0, 10, 2)
    assert counted.counts == (2, 3)
    assert counted.edges == (0.0, 5.0, 10.0)


def test_any_shape_and_dtype_is_counted() -> None:
    assert sum(Histogram.of(np.ones((3, 2), np.float32), "m", 0, 2, 4).counts) == 6


def test_names_that_one_part_lacks_survive() -> None:
    a, b = of([1.0], ("a",)), Statistics(counts={"rows": 2, "quarantined_b": 1})
    merged = b + a
    assert merged.counts == {"quarantined_a": 1, "quarantined_b": 1, "rows": 3}
    assert sum(merged.histograms["knee"].counts) == 1


def test_the_sum_of_none_is_empty() -> None:
    assert total([]) == Statistics()


def test_different_bins_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="different bins"):
        Histogram.of(np.ones(1), "m", 0, 1, 2) + Histogram.of(np.ones(1), "m", 0, 1, 3)
    with pytest.raises(ValueError, match="different bins"):
        Histogram.of(np.ones(1), "m", 0, 1, 2) + Histogram.of(np.ones(1), "deg", 0, 1, 2)
