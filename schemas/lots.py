"""What people do: the lots of motions that a recipe names. Angles in degrees, lengths in metres."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from schemas.ranges import Frozen, PositiveRange, Range, Share, SizeRange

HandShape = Literal["stretched", "relaxed", "holding", "fist"]


class Lot(Frozen):
    """One motion, performed by the subjects first … first + subjects - 1, each giving `frames` frames."""

    first: int = Field(default=0, ge=0)
    """Number of its first subject. Subject n is one person wherever it appears: other numbers are other people."""
    subjects: int = Field(default=16, ge=1)
    frames: int = Field(default=32, ge=1)
    clip: bool = False
    """True: consecutive frames at `fps` from one camera; False: frames spread over the motion, a camera each."""
    fps: float = Field(default=30.0, gt=0)
    hands: HandShape = "relaxed"
    """What the fingers do; `holding` closes round a bar."""


class ProceduralLot(Lot):
    """A made-up movement. What the ranges name is drawn per subject, kept as a label, and so is what was reached.

    Faults are the ranges listed in `FAULTS`; angles degrees, reached at the movement's deepest point.
    """

    FAULTS: ClassVar[tuple[str, ...]] = ()
    faulty: Share = 1.0
    """Chance of each fault to be drawn from its range; else it is absent (its value nearest to 0)."""
    toe_out: Range = (0.0, 30.0)
    tempo: PositiveRange = (1.6, 4.0)
    """Seconds for one repetition."""


class TwoFeetLot(ProceduralLot):
    """A movement on two planted feet."""

    FAULTS: ClassVar[tuple[str, ...]] = ("valgus", "hip_shift", "asymmetry")
    stance: PositiveRange = (0.8, 1.6)
    """Distance of the ankles over the distance of the hip centres."""
    valgus: Range = (-12.0, 12.0)
    """Change of both knees' frontal angle: inward collapse positive (valgus), outward negative (varus)."""
    hip_shift: Range = (-6.0, 6.0)
    """Sideways shift of the pelvis to the right, centimetres."""
    asymmetry: Range = (-10.0, 10.0)
    """How much more the right knee bends than the left."""


class AnklesLot(ProceduralLot):
    """A movement that stiff ankles change: who is stiffer lifts the heels, stops higher or leans more."""

    dorsiflexion: Range = (25.0, 45.0)
    """The most that a subject's ankles bend."""


class SquatLot(TwoFeetLot, AnklesLot):
    """Squats, to full depth."""

    FAULTS: ClassVar = (*TwoFeetLot.FAULTS, "heel_lift", "butt_wink")
    movement: Literal["squat"] = "squat"
    depth: Range = (50.0, 135.0)
    """Knee flexion at the bottom."""
    trunk_lean: Range = (15.0, 55.0)
    """Forward lean of the trunk at the bottom, from the vertical."""
    heel_lift: Range = (0.0, 15.0)
    """Pitch of the feet about the toes at the bottom."""
    butt_wink: Range = (0.0, 25.0)
    """Backward tilt of the pelvis under the trunk in the lowest third."""


class HingeLot(TwoFeetLot):
    """Hip hinges: the trunk goes forward, the knees hardly bend."""

    FAULTS: ClassVar = (*TwoFeetLot.FAULTS, "rounding")
    movement: Literal["hinge"] = "hinge"
    depth: Range = (8.0, 35.0)
    """Knee flexion at the bottom."""
    trunk_lean: Range = (45.0, 85.0)
    stance: PositiveRange = (0.7, 1.3)
    toe_out: Range = (0.0, 15.0)
    valgus: Range = (-6.0, 6.0)
    asymmetry: Range = (-5.0, 5.0)
    rounding: Range = (0.0, 30.0)
    """Flexion of the lumbar spine beyond its ordinary share of the lean."""


class CalfRaiseLot(TwoFeetLot):
    """Heels up on both forefeet, knees all but straight."""

    movement: Literal["calf_raise"] = "calf_raise"
    rise: Range = (10.0, 35.0)
    """Pitch of the feet at the top."""
    depth: Range = (2.0, 8.0)
    """Knee flexion."""
    trunk_lean: Range = (0.0, 8.0)
    toe_out: Range = (0.0, 20.0)
    stance: PositiveRange = (0.6, 1.3)
    valgus: Range = (-2.0, 2.0)
    hip_shift: Range = (-4.0, 4.0)
    asymmetry: Range = (-8.0, 8.0)
    """How much higher the right heel goes than the left, degrees of pitch."""


class SitToStandLot(TwoFeetLot):
    """From a chair to standing and back."""

    movement: Literal["sit_to_stand"] = "sit_to_stand"
    seat: PositiveRange = (0.85, 1.2)
    """Height of the seat over that of the knees."""
    trunk_lean: Range = (25.0, 55.0)
    """When the seat is left. Feet stand as far back as that lean needs to lift off."""
    toe_out: Range = (0.0, 20.0)
    tempo: PositiveRange = (2.5, 6.0)


class LungeLot(ProceduralLot):
    """Forward lunges and split squats, either leg in front."""

    FAULTS: ClassVar = ("valgus", "hip_shift", "trunk_lean")
    movement: Literal["lunge"] = "lunge"
    depth: Range = (55.0, 105.0)
    """Flexion of the front knee at the bottom."""
    step: PositiveRange = (0.75, 1.05)
    """Distance of the ankles over the length of the leg."""
    stance: PositiveRange = (0.6, 1.2)
    """Width of the step over the distance of the hip centres."""
    toe_out: Range = (0.0, 12.0)
    trunk_lean: Range = (0.0, 30.0)
    valgus: Range = (-10.0, 12.0)
    """Of the front knee."""
    hip_shift: Range = (-4.0, 4.0)
    """Towards the front leg, centimetres."""
    tempo: PositiveRange = (2.4, 5.0)


class SingleLegSquatLot(AnklesLot):
    """Squats on one leg, either one, the other foot in the air; stiff ankles cost depth or lean."""

    FAULTS: ClassVar = ("valgus", "pelvic_drop", "side_lean", "heel_lift")
    movement: Literal["single_leg_squat"] = "single_leg_squat"
    depth: Range = (25.0, 85.0)
    trunk_lean: Range = (8.0, 45.0)
    toe_out: Range = (0.0, 15.0)
    valgus: Range = (-8.0, 12.0)
    pelvic_drop: Range = (-4.0, 12.0)
    """Of the free side."""
    side_lean: Range = (-4.0, 12.0)
    """Of the trunk over the standing leg."""
    heel_lift: Range = (0.0, 8.0)
    tempo: PositiveRange = (2.0, 4.5)


class GaitLot(ProceduralLot):
    """Two strides of level walking; `tempo` follows from the speed."""

    FAULTS: ClassVar = ("asymmetry", "pelvic_drop", "trunk_lean", "crouch")
    movement: Literal["gait"] = "gait"
    speed: PositiveRange = (0.6, 1.7)
    """Metres per second."""
    walk_ratio: PositiveRange = (0.0052, 0.0062)
    """Step length, metres, over cadence, steps per minute."""
    step_width: SizeRange = (0.06, 0.18)
    """Metres between the ankles' lines."""
    toe_out: Range = (0.0, 15.0)
    asymmetry: Range = (-12.0, 12.0)
    """How much longer right steps are than left ones, percent of the mean."""
    pelvic_drop: Range = (0.0, 8.0)
    """Beyond the ordinary, towards the swinging side."""
    trunk_lean: Range = (0.0, 12.0)
    crouch: Range = (0.0, 15.0)
    """Flexion of the standing knee beyond the ordinary."""


class MotLot(Lot):
    """A recorded OpenSim motion."""

    mot: str
    """URL of a `.mot` file."""
    perturb: SizeRange = (0.0, 0.0)
    """Standard deviation of a smooth perturbation of each angle, degrees, drawn per subject."""


class TrcLot(Lot):
    """Recorded markers, turned into joint angles by OpenSim's own inverse kinematics."""

    trc: str
    """URL of a `.trc` file."""
    static: str | None = None
    """URL of a `.trc` of quiet standing that the model is scaled by; None takes the model's own size."""
    model: str | None = None
    """URL of the `.osim` whose markers the file names; None takes the recipe's."""
    residual: Annotated[float, Field(gt=0.0)] = 0.02
    """A bony landmark further off than this, metres, masks its joint's coordinates."""
    perturb: SizeRange = (0.0, 0.0)
    """As for a `.mot`."""


class RandomLot(Lot):
    """Independent random poses inside the joint limits, for coverage."""

    random: Literal["limits"] = "limits"
    spread: Share = 0.6
    """Share of every coordinate's range that is used, about the default pose."""
    grounded: Share = 0.4
    """Share of the poses with both feet flat on the floor."""


PROCEDURAL = (
    *(SquatLot, HingeLot, CalfRaiseLot, SitToStandLot),
    *(LungeLot, SingleLegSquatLot, GaitLot),
)
_MOVEMENTS: dict[str, type[ProceduralLot]] = {
    str(lot.model_fields["movement"].default): lot for lot in PROCEDURAL
}


def _kind_of_lot(value: Any) -> str:
    if isinstance(value, BaseModel):
        for tag, kind in (("mot", MotLot), ("trc", TrcLot), ("random", RandomLot)):
            if isinstance(value, kind):
                return f"({tag})"
        return f"({getattr(value, 'movement', '')})"
    keys = value.keys() if isinstance(value, dict) else ()
    for tag in ("mot", "trc", "random"):
        if tag in keys:
            return f"({tag})"
    named = value.get("movement", "squat") if isinstance(value, dict) else "squat"
    return f"({named})" if str(named) in _MOVEMENTS else "(other)"


class _OtherLot(Lot):
    """What a movement of no known name is held against, so that the refusal lists the known ones."""

    model_config = ConfigDict(extra="ignore")
    movement: Literal[
        "squat", "hinge", "calf_raise", "sit_to_stand", "lunge", "single_leg_squat", "gait"
    ]


AnyLot = Annotated[
    Annotated[SquatLot, Tag("(squat)")]
    | Annotated[HingeLot, Tag("(hinge)")]
    | Annotated[CalfRaiseLot, Tag("(calf_raise)")]
    | Annotated[SitToStandLot, Tag("(sit_to_stand)")]
    | Annotated[LungeLot, Tag("(lunge)")]
    | Annotated[SingleLegSquatLot, Tag("(single_leg_squat)")]
    | Annotated[GaitLot, Tag("(gait)")]
    | Annotated[MotLot, Tag("(mot)")]
    | Annotated[TrcLot, Tag("(trc)")]
    | Annotated[RandomLot, Tag("(random)")]
    | Annotated[_OtherLot, Tag("(other)")],
    Discriminator(_kind_of_lot),
]
