"""A query means what Python would mean by it, statistics never rule out a match, and no text can do anything else."""

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import query
from schemas.errors import InputError
from schemas.statistics import Histogram, count_names

NAMED = {"knee": False, "hip": False, "yaw": False, "movement": True, "motion.depth": False}
NUMBERS = ("knee", "hip", "yaw", "motion.depth")
MOVES = ("squat", "lunge", "stand up")

ends = st.integers(-30, 30) | st.floats(-30, 30).map(lambda v: round(v, 3))
comparison = st.builds(
    lambda name, op, end: (f"{name} {op} {end}", f"({_known(name)} and v[{name!r}] {op} {end})"),
    st.sampled_from(NUMBERS),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    ends,
)
chain = st.builds(
    lambda name, low, high: (
        f"{low} < {name} <= {high}",
        f"({_known(name)} and {low} < v[{name!r}] <= {high})",
    ),
    st.sampled_from(NUMBERS),
    ends,
    ends,
)
between = st.builds(
    lambda name, low, high, odd: (
        f"{name} {'not ' * odd}between {low} and {high}",
        f"({'not ' * odd}({_known(name)} and {low} <= v[{name!r}] <= {high}))",
    ),
    st.sampled_from(NUMBERS),
    ends,
    ends,
    st.booleans(),
)
pair = st.just(("knee > hip", "({} and v['knee'] > v['hip'])")).map(
    lambda p: (p[0], p[1].format(f"{_known('knee')} and {_known('hip')}"))
)
among = st.builds(
    lambda names, odd: (
        f"movement {'not ' * odd}in ({', '.join(repr(n) for n in names)})",
        f"({'not ' * odd}(v['movement'] in {names!r}))",
    ),
    st.lists(st.sampled_from(MOVES), min_size=1, max_size=3),
    st.booleans(),
)
unlike = st.builds(
    lambda name: (
        f"movement != {name!r}",
        f"(v['movement'] != '' and v['movement'] != {name!r})",
    ),
    st.sampled_from(MOVES),
)


def _known(name: str) -> str:
    return f"v[{name!r}] == v[{name!r}]"


def _joined(word: str, parts: list[tuple[str, str]]) -> tuple[str, str]:
    return tuple(f" {word} ".join(f"({p[i]})" for p in parts) for i in (0, 1))  # type: ignore[return-value]


queries = st.recursive(
    st.one_of(comparison, chain, between, pair, among, unlike),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda p: _joined("and", p)),
        st.lists(inner, min_size=2, max_size=3).map(lambda p: _joined("or", p)),
        inner.map(lambda p: (f"not ({p[0]})", f"(not ({p[1]}))")),
    ),
    max_leaves=8,
)
number = st.integers(-30, 30).map(float) | st.just(float("nan")) | st.floats(-30, 30)
sample = st.fixed_dictionaries(
    dict.fromkeys(NUMBERS, number) | {"movement": st.sampled_from([*MOVES, ""])}
)
samples = st.lists(sample, min_size=1, max_size=8)


def columns(rows: list[dict[str, Any]]) -> query.ValuesOf:
    return lambda name: np.array(
        [row[name] for row in rows], dtype=object if NAMED[name] else np.float64
    )


def bounds(rows: list[dict[str, Any]]) -> query.BoundsOf:
    """Returns what a shard's statistics of these samples say."""

    def of(name: str) -> query.Bounds:
        values = columns(rows)(name)
        if NAMED[name]:
            counted = count_names(v for v in values if v)
            complete = sum(counted.values()) == len(rows)
            return query.Bounds(names=frozenset(counted), known=bool(counted), complete=complete)
        h = Histogram.of(values, "deg")
        return query.Bounds(
            least=h.least, most=h.most, known=h.total > 0, complete=h.total == len(rows)
        )

    return of


@given(queries, samples)
def test_a_query_matches_what_python_says(
    asked: tuple[str, str], rows: list[dict[str, Any]]
) -> None:
    text, program = asked
    found = query.parse(text, NAMED).matches(columns(rows))
    assert found.dtype == bool
    assert found.tolist() == [bool(eval(program, {}, {"v": row})) for row in rows]


@given(queries, samples)
def test_statistics_never_lose_a_match_and_never_promise_a_wrong_one(
    asked: tuple[str, str], rows: list[dict[str, Any]]
) -> None:
    parsed = query.parse(asked[0], NAMED)
    found = parsed.matches(columns(rows))
    any_, all_ = parsed.judge(bounds(rows))
    assert any_ or not found.any()
    assert not all_ or found.all()
    assert parsed.judge(lambda _: None) in ((True, False), (False, True), (True, True))


def test_statistics_do_rule_out_and_do_promise() -> None:
    rows = [{"knee": v, "movement": "squat"} for v in (10.0, 20.0)]
    judge = lambda text: query.parse(text, NAMED).judge(bounds(rows))  # noqa: E731
    assert judge("knee > 20") == (False, False)
    assert judge("knee >= 10") == (True, True)
    assert judge("knee > 10") == (True, False)
    assert judge("movement == lunge") == (False, False)
    assert judge("movement == squat and not knee > 30") == (True, True)
    assert judge("knee between 30 and 40 or movement in (lunge)") == (False, False)


def test_words_bind_as_in_python_and_names_stand_beside_named_quantities() -> None:
    rows = [{"knee": 5.0, "hip": 1.0, "movement": "squat", "motion.depth": 80.0}]
    ask = lambda text: bool(query.parse(text, NAMED).matches(columns(rows))[0])  # noqa: E731
    assert ask("knee > 100 and hip > 100 or hip == 1")
    assert not ask("knee > 100 and (hip > 100 or hip == 1)")
    assert ask("not knee > 100 and hip = 1")
    assert ask("squat == movement")
    assert ask('movement in (lunge, "squat")')
    assert ask("depth > 79 and 4 < knee < 6 and -1 < hip")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "ends too early"),
        ("knee", "ends too early"),
        ("knee >", "ends too early"),
        ("knee > 1 and", "ends too early"),
        ("knee > 1)", "`)` out of place"),
        ("(knee > 1", "where `)` is wanted"),
        ("knee > 1 hip > 2", "`hip` out of place"),
        ("knee between 1 or 2", "where `and` is wanted"),
        ("knee in 1, 2", "where `(` is wanted"),
        ("knee in ()", "out of place"),
        ("knee not > 1", "out of place"),
        ("knee > 'a'", "compares knee, a number, with a text"),
        ("movement > squat", "no order"),
        ("1 < 2", "no quantity"),
        ("kneee > 1", "Did you mean knee"),
        ("movment == squat", "Did you mean movement"),
        ("knee > 1e999", "beyond all numbers"),
        ("knee > 1j", "is none"),
        ("knee > 0x10", "is none"),
        ("knee > -hip", "out of place"),
        ("__import__('os').system('true')", "is none"),
        ("knee.__class__ > 1", "is no quantity"),
        ("knee > 1; import os", "is none"),
        ("knee > 1\x00", "is none"),
        ("knee > ½", "is none"),
        ("lambda: 1", "is none"),
        ("knee > 1 and " * 200 + "knee > 1", "longer than"),
        ("(" * 500 + "knee > 1" + ")" * 500, "nested deeper"),
        ("knee > '" + "a" * 100, "is none"),
    ],
)
def test_what_is_no_query_is_refused_in_one_paragraph(text: str, says: str) -> None:
    with pytest.raises(InputError, match=r".") as caught:
        query.parse(text, NAMED)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2600


@given(st.text(max_size=60) | st.text("()<>=!'\". knehipand0123456789-,", max_size=60))
def test_any_text_is_a_query_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        query.parse(text, NAMED)


def test_many_nots_are_no_deep_recursion() -> None:
    assert query.parse("not " * 401 + "knee > 1", NAMED).judge(lambda _: None) == (True, False)
