"""Counts add up: in any order and any grouping, the sum over parts is the count of the whole."""

import json
import pickle
import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.spool import Spool
from schemas.statistics import BINS, MAX_NAMES, REST, Histogram, Statistics, count_names, total

# A fifth of the least number there is rounds to nothing, and its bin with it.
numbers = (
    st.floats(-200, 200, allow_subnormal=False)
    | st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=False)
    | st.just(180.0)
)
values = st.lists(numbers, max_size=40)


def of(found: list[float], reasons: tuple[str, ...] = ()) -> Statistics:
    knees = Histogram.of(np.array(found, np.float64), "deg")
    counts = {"rows": len(found)} | {f"quarantined_{r}": 1 for r in reasons}
    names = {"movement": count_names(f"move {v % 200:.0f}" for v in found if np.isfinite(v))}
    return Statistics(histograms={"knee": knees}, names=names, counts=counts)


@given(st.lists(values, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_sum_of_parts_in_any_order_and_grouping_is_the_whole(
    parts: list[list[float]], random: object
) -> None:
    whole = of([v for part in parts for v in part])
    made = [of(part) for part in parts]
    random.shuffle(made)  # type: ignore[attr-defined]
    assert total(made) == total([whole])
    half = len(made) // 2
    assert total(made[:half]) + total(made[half:]) == total([whole])


@given(values)
def test_the_json_round_trip_loses_nothing(found: list[float]) -> None:
    made = of(found, ("truncated_jpeg",))
    text = json.dumps(made.to_json(), allow_nan=False)
    assert Statistics.from_json(json.loads(text)) == made
    assert Statistics.from_json(json.loads(text)).to_json() == made.to_json()


@pytest.mark.parametrize("room", [True, False])
def test_what_waits_on_disk_is_what_was_read(monkeypatch: pytest.MonkeyPatch, room: bool) -> None:
    def full(*_: object, **__: object) -> object:
        raise OSError("no space left on device")

    if not room:
        monkeypatch.setattr(tempfile, "TemporaryFile", full)
    spool, made = Spool(), [of([float(i), 7.0]) for i in range(3)]
    read = [Statistics.from_json(m.to_json(), spool) for m in made]
    assert read == made == pickle.loads(pickle.dumps(read))
    assert [r.to_json() for r in read] == [m.to_json() for m in made]
    assert total(read) == total(made)


@given(values, st.sampled_from(["deg", "m", ""]))
def test_every_finite_value_is_in_a_bin_that_holds_it_and_between_the_bounds(
    found: list[float], unit: str
) -> None:
    shown = Histogram.of(np.array(found), unit)
    finite = np.array([v for v in found if np.isfinite(v)])
    assert shown.total == len(finite)
    assert len(shown.counts) <= BINS
    if len(finite):
        assert shown.least <= finite.min()
        assert shown.most >= finite.max()
        inside = finite[np.abs(finite) <= 1e9]
        counted, _ = np.histogram(inside, [*shown.edges[:-1], np.inf])
        if len(inside) == len(finite):
            # np.histogram's last bin is closed and its edges are rounded alike: all exact multiples.
            assert tuple(counted) == shown.counts


def test_bins_are_as_fine_as_the_values_allow() -> None:
    yaw = Histogram.of(np.linspace(-179.9, 179.9, 1000), "deg")
    assert yaw.edges[0] == -180.0
    assert np.diff(yaw.edges).tolist() == [22.5] * 16
    assert Histogram.of(np.array([7.0]), "m").counts == (1,)


def test_quantiles_are_right_to_a_bin_and_never_beyond_the_extremes() -> None:
    found = np.random.default_rng(0).normal(80, 20, 5000)
    shown = Histogram.of(found, "deg")
    width = shown.edges[1] - shown.edges[0]
    for share in (0.05, 0.5, 0.95):
        assert abs(shown.quantile(share) - np.quantile(found, share)) < width / 2
    assert shown.quantile(0.0) >= shown.least
    assert shown.quantile(1.0) <= shown.most
    assert np.isnan(Histogram.of(np.empty(0), "deg").quantile(0.5))


def test_any_shape_and_dtype_is_counted() -> None:
    assert Histogram.of(np.ones((3, 2), np.float32), "m").total == 6


def test_names_that_one_part_lacks_survive() -> None:
    a, b = of([1.0], ("a",)), Statistics(counts={"rows": 2, "quarantined_b": 1})
    merged = b + a
    assert merged.counts == {"quarantined_a": 1, "quarantined_b": 1, "rows": 3}
    assert merged.histograms["knee"].total == 1


def test_many_names_are_cut_to_the_same_few_however_they_are_added() -> None:
    every = [f"n{i % 100:03d}" for i in range(300)]
    parts = [every[:50], every[50:190], every[190:]]
    whole = count_names(every)
    assert len(whole) == MAX_NAMES + 1
    assert whole[REST] == 300 - 3 * MAX_NAMES
    made = [Statistics(names={"n": count_names(part)}) for part in parts]
    assert total(made).names["n"] == total(reversed(made)).names["n"] == whole


def test_the_sum_of_none_is_empty() -> None:
    assert total([]) == Statistics()


def test_different_units_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        Histogram.of(np.ones(1), "m") + Histogram.of(np.ones(1), "deg")


@pytest.mark.parametrize(
    "text",
    [
        "deg 0 0 1 2",
        "deg 99999999 0 1.0 2.0 1",
        "deg 0 99999999999999999999 1.0 2.0 1",
        "deg 0 0 1.0 2.0 -1",
        "deg 0 0 2.0 1.0 1",
        "deg 0 0 nan 1.0 1",
        "deg 0 0 0.0 1.0 " + ",".join("1" * 25),
        "deg x 0 0.0 1.0 1",
    ],
)
def test_a_histogram_that_nobody_wrote_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Histogram.from_text(text)
