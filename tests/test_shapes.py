"""Joints with a shape: gradients where the formulas could break, and how OpenSim's own sizes scale."""

from dataclasses import replace

import model_zoo as zoo
import numpy as np
import pytest
import torch
from torch import Tensor

from schemas.errors import InputError
from schemas.shapes import Arc
from schemas.skeleton import SkeletonSpec
from trainers.shapes import BEND, STRAIGHT, Shapes, local_transforms
from trainers.structure import structure_of
from workers.osim import read_skeleton, scaled_osim, write_osim

KINDS = ("Ellipsoid", "Scapulothoracic", "ConstantCurvature")


def straight_arc() -> SkeletonSpec:
    """A rod that stands straight at zero."""
    spec = read_skeleton(zoo.ALL["ConstantCurvature"])
    root, bent = spec.joints
    arc = Arc(neutral=(0.0, 0.0, 0.0), length=0.4)
    return replace(spec, joints=(root, replace(bent, shape=arc)))


def shapes_in(spec: SkeletonSpec, dtype: torch.dtype = torch.float64) -> Shapes:
    (shapes,) = structure_of(spec, dtype).shaped.kinds
    return shapes


def transforms(shapes: Shapes, angles: Tensor) -> tuple[Tensor, Tensor]:
    """Poses one joint at its angles (n, 3 or 4), unscaled."""
    values = torch.nn.functional.pad(angles, (0, 6 - angles.shape[1])).T[None]
    ones = torch.ones(1, 3, 1, dtype=angles.dtype)
    return local_transforms(shapes, values, ones, ones)


class TestGradients:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("at", [0.0, 1e-5, 0.6])
    def test_gradients_are_those_of_the_function(self, kind: str, at: float) -> None:
        straight = kind == "ConstantCurvature"
        shapes = shapes_in(straight_arc() if straight else read_skeleton(zoo.ALL[kind]))
        angles = torch.full((2, 4 if kind == "Scapulothoracic" else 3), at, dtype=torch.float64)
        angles.requires_grad_()
        assert torch.autograd.gradcheck(lambda q: transforms(shapes, q), (angles,))


class TestArc:
    def test_end_of_a_bent_rod(self) -> None:
        angles = torch.tensor([[0.0, -0.7, 0.0]], dtype=torch.float64)  # leans towards x
        rotation, end = transforms(shapes_in(straight_arc()), angles)
        radius = 0.4 / 0.7
        expected = [radius * (1 - np.cos(0.7)), radius * np.sin(0.7), 0.0]
        np.testing.assert_allclose(end[0, :, 0], expected, atol=1e-12)
        np.testing.assert_allclose(rotation[0, :, 1, 0], [np.sin(0.7), np.cos(0.7), 0], atol=1e-12)

    def test_angles_end_where_opensim_clamps_them(self) -> None:
        shapes = shapes_in(straight_arc())
        over = transforms(shapes, torch.tensor([[3.0, 0.2, -9.0]], dtype=torch.float64))
        edge = transforms(shapes, torch.tensor([[BEND, 0.2, -BEND]], dtype=torch.float64))
        torch.testing.assert_close(over, edge)

    def test_single_precision_is_near_the_double(self) -> None:
        angles = torch.linspace(1.5 * STRAIGHT, 1.5, 400, dtype=torch.float64)[:, None].expand(
            -1, 3
        )
        double = transforms(shapes_in(straight_arc()), angles)
        single = transforms(shapes_in(straight_arc(), torch.float32), angles.float())
        for one, other in zip(single, double, strict=True):
            torch.testing.assert_close(one.double(), other, atol=1e-6, rtol=0)


class TestScaling:
    @pytest.mark.parametrize("name", [*KINDS, *(f"{kind}_on_ground" for kind in KINDS)])
    def test_sizes_scale_as_opensims(self, name: str) -> None:
        osim = zoo.ALL[name]
        spec, scale = read_skeleton(osim), np.array([[1.5, 0.5, 2.0], [0.7, 1.3, 3.0]])
        ours = read_skeleton(write_osim(spec, scale)).joints[1].shape
        theirs = read_skeleton(scaled_osim(osim, scale)).joints
        (shape,) = (joint.shape for joint in theirs if joint.shape)
        assert ours is not None
        for mine, other in zip(vars(ours).values(), vars(shape).values(), strict=True):
            assert mine == other or np.allclose(mine, other, rtol=1e-14, atol=0)

    def test_arguments_must_be_coordinates_to_be_written(self) -> None:
        spec = read_skeleton(zoo.ALL["Ellipsoid"])
        joint = spec.joints[1]
        twice = replace(joint.axes[0], curve=joint.axes[0].curve.times(2.0))
        bent = replace(joint, axes=(twice, *joint.axes[1:]))
        with pytest.raises(InputError, match="tested"):
            write_osim(replace(spec, joints=(spec.joints[0], bent)), None)

    @pytest.mark.parametrize("kind", KINDS)
    def test_text_returns_the_shape(self, kind: str) -> None:
        spec = read_skeleton(zoo.ALL[kind])
        assert SkeletonSpec.from_json(spec.to_json()) == spec
