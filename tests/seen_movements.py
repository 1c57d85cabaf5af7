"""Made-up movements of plain and scaled models, and where everything is in them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.lots import PROCEDURAL, ProceduralLot, SquatLot
from schemas.shards import generator
from workers import movements
from workers.kinematics import Posed
from workers.motions import Motion
from workers.osim import OsimModel, read_model
from workers.planting import Planter

SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "opensim"
MODELS = {
    "default": "default",
    "opencap": str(SHARED / "opencap/LaiUhlrich2022.osim"),
    "pose2sim": str(SHARED / "pose2sim/Model_Pose2Sim_simple.osim"),
}
KINDS = {str(kind.model_fields["movement"].default): kind for kind in PROCEDURAL}


@dataclass(frozen=True)
class Seen:
    """A movement and where everything is in every frame."""

    motion: Motion
    planter: Planter
    posed: Posed

    def angle(self, name: str) -> np.ndarray:
        return self.planter.angle(self.motion.q, name)

    def joint(self, body: str) -> np.ndarray:
        return self.posed.joint_centres[:, self.planter.body[body]]

    def heel(self, side: str) -> np.ndarray:
        return self.posed.T_ground_from_body[:, self.planter.body[f"calcn_{side}"], :3, 3]

    def said(self, name: str) -> float:
        return float(self.motion.parameters[name])

    @property
    def middle(self) -> int:
        """The frame with the lowest hips."""
        return int(np.argmin(self.joint("femur_r")[:, 1] + self.joint("femur_l")[:, 1]))


def see(model: OsimModel, lot: ProceduralLot, seed: int) -> Seen:
    motion = movements.perform(lot, model, generator(seed, "movement"))
    planter = Planter(model)
    return Seen(motion, planter, planter.kinematics.pose(motion.q))


def lot(kind: type[ProceduralLot], **wanted: float) -> Any:
    """A lot of one value per range: no faults, the middle of everything else, unless wanted otherwise."""
    values: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if isinstance(field.default, tuple):
            low, high = field.default
            plain = float(np.clip(0.0, low, high)) if name in kind.FAULTS else (low + high) / 2
            value = wanted.get(name, plain)
            values[name] = (value, value)
    return kind(**values)


def supple(**wanted: float) -> SquatLot:
    """A squat that stiff ankles do not change."""
    return SquatLot.model_validate(lot(SquatLot, dorsiflexion=45.0, **wanted))


def scaled(name: str, seed: int | None) -> OsimModel:
    if name != "default" and not Path(MODELS[name]).is_file():
        pytest.skip("shared/data is not beside the repository")
    osim = read_model(MODELS[name])
    if seed is None:
        return OsimModel(osim)
    names = OsimModel(osim).spec.body_names
    # Both sides alike, as people are; every segment within 10 % of the model, in each direction.
    factors = {n: generator(seed, n.removesuffix("_l").removesuffix("_r")) for n in names}
    return OsimModel(osim, np.array([factors[n].uniform(0.9, 1.1, 3) for n in names]))
