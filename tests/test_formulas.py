"""Formulas: the two libraries agree, gradients flow, hostile programs and texts are refused."""

import itertools

import model_zoo as zoo
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from schemas.formulas import DEEPEST, LONGEST, OPERATIONS, Formula, evaluate, monomials
from schemas.skeleton import SkeletonSpec
from workers.osim import read_skeleton
from workers.osim_expressions import program_of, text_of

POSITIVE = st.floats(0.1, 0.9)


def expression(text: str, variables: str = "x y") -> Formula:
    names = variables.split()
    return Formula(kind="expression", arguments=len(names), steps=program_of(text, names))


class TestValues:
    @pytest.mark.parametrize("name", sorted(OPERATIONS))
    def test_numpy_and_torch_agree_and_gradients_flow(self, name: str) -> None:
        count = OPERATIONS[name][0]
        formula = Formula(
            kind="expression", arguments=2, steps=(*("x0", "x1")[:count], name, "2.0", "mul")
        )
        x = np.array([[0.3, 0.7], [0.6, 0.2]])
        tensors = torch.tensor(x, requires_grad=True)
        value = evaluate(formula, tensors, torch)
        np.testing.assert_allclose(value.detach().numpy(), formula(*x), rtol=1e-14)
        assert torch.autograd.gradcheck(lambda at: evaluate(formula, at, torch), (tensors,))

    @given(x=POSITIVE, y=POSITIVE)
    def test_expression_follows_the_rules_of_arithmetic(self, x: float, y: float) -> None:
        value = expression("-x^2 + 2^3^y - x/y/2 - a; a = 3*b; b = min(x, y)")(x, y)
        assert value == pytest.approx(-(x**2) + 2 ** (3**y) - x / y / 2 - 3 * min(x, y))

    def test_sine(self) -> None:
        formula = Formula(kind="sine", coefficients=(2.0, 3.0, 0.5, 0.7), factor=0.5)
        assert formula(0.4) == pytest.approx(np.sin(3 * 0.4 + 0.5) + 0.35)

    def test_plane(self) -> None:
        formula = Formula(kind="plane", arguments=2, coefficients=(1.0, 2.0, 3.0))
        np.testing.assert_allclose(formula([10.0, 0.0], 100.0), [213.0, 203.0])

    def test_monomials_rise_by_the_last_argument(self) -> None:
        assert monomials(2, 2) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]

    @pytest.mark.parametrize("text", ["3", "2 - 1/4", "0*x"])
    def test_constants_take_the_shape_of_the_arguments(self, text: str) -> None:
        formula, x = expression(text), np.zeros((2, 3))
        assert formula(x, x).shape == (2, 3)
        assert evaluate(formula, torch.zeros(2, 5), torch).shape == (5,)

    @pytest.mark.parametrize("text", ["x - y - 1", "-(x + y)^2", "2^-x", "max(x, -y)/1e-3"])
    def test_text_returns_the_program(self, text: str) -> None:
        steps = program_of(text, ["x", "y"])
        assert program_of(text_of(steps), ["x0", "x1"]) == steps


class TestRefusals:
    @pytest.mark.parametrize(
        "fields",
        [
            {"kind": "sine", "coefficients": (1.0, 2.0)},
            {"kind": "plane", "arguments": 2, "coefficients": (1.0, 2.0)},
            {"kind": "multivariate", "arguments": 2, "order": 2, "coefficients": (1.0,)},
            {"kind": "expression", "steps": ()},
            {"kind": "expression", "steps": ("x0", "x0")},
            {"kind": "expression", "steps": ("add",)},
            {"kind": "expression", "steps": ("x1",)},
            {"kind": "expression", "steps": ("inf",)},
            {"kind": "expression", "steps": ("__import__",)},
            {"kind": "expression", "steps": ("x0",) * (DEEPEST + 1) + ("add",) * DEEPEST},
            {"kind": "expression", "steps": ("x0",) + ("neg",) * LONGEST},
            {"kind": "sine", "coefficients": (1.0, 2.0, 0.0, float("nan"))},
            {"kind": "sine", "coefficients": (1.0, 2.0, 0.0, 0.0), "arguments": 0},
        ],
    )
    def test_impossible_formulas_are_refused(self, fields: dict[str, object]) -> None:
        with pytest.raises(ValueError):
            Formula(**fields)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "text",
        ["", "x +", "(x", "x)", "2x", "x 1", "sin()", "sin(x, y)", "+x", "z", "nan", "1e999*x"]
        + ["x**2", "x; y", "x; = 2", "a; a = a", "x/0", "0^x", "log(0)", "x.__class__"],
    )
    def test_impossible_texts_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError):
            expression(text)

    def test_definitions_cannot_grow_without_end(self) -> None:
        names = "abcdefghijklmn"
        steps = [f"{one} = {two}*{two}" for one, two in itertools.pairwise(names)]
        with pytest.raises(ValueError, match="too long"):
            expression("; ".join(["a", *steps, "n = x"]))

    def test_a_stored_program_is_checked(self) -> None:
        spec = read_skeleton(zoo.ALL["expression_of_one"])
        assert SkeletonSpec.from_json(spec.to_json()) == spec
        with pytest.raises(InputError, match="skeleton"):
            SkeletonSpec.from_json(spec.to_json().replace('"tanh"', '"system"'))
