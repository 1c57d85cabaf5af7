"""What a user asks for, as frozen typed values. Unknown keys and impossible values are refused by name.

Angles in recipes are degrees (people read them); lengths metres. A pair is an inclusive range that the
sample's own random generator draws from.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from schemas.targets import Strata, Target, every


class Frozen(BaseModel):
    """The base of every recipe part: immutable, and closed against misspelt keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"range {list(value)} runs backwards; write the smaller number first")
    return value


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
_Size = Annotated[float, Field(ge=0.0)]
_Positive = Annotated[float, Field(gt=0.0)]
_Age = Annotated[float, Field(ge=18.0, le=100.0)]
_Stature = Annotated[float, Field(ge=1.2, le=2.3)]
_Bmi = Annotated[float, Field(ge=12.0, le=60.0)]
SizeRange = Annotated[tuple[_Size, _Size], AfterValidator(_ordered)]
PositiveRange = Annotated[tuple[_Positive, _Positive], AfterValidator(_ordered)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Splits(Frozen):
    """Shares of subjects (synthetic) or images (COCO); frames of one never fall into two splits."""

    train: Share = 0.7
    val: Share = 0.15
    test: Share = 0.15

    @model_validator(mode="after")
    def _adds_up(self) -> "Splits":
        total = self.train + self.val + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"train + val + test = {total:g}; the shares must add up to 1")
        return self


HandShape = Literal["stretched", "relaxed", "holding", "fist"]


class Lot(Frozen):
    """One motion, performed by the subjects 0 … subjects-1, each giving `frames` frames."""

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

    stance: PositiveRange = (0.8, 1.6)
    """Distance of the ankles over the distance of the hip centres."""
    valgus: Range = (-12.0, 12.0)
    """Change of both knees' frontal angle: inward collapse positive (valgus), outward negative (varus)."""
    hip_shift: Range = (-6.0, 6.0)
    """Sideways shift of the pelvis to the right, centimetres."""
    asymmetry: Range = (-10.0, 10.0)
    """How much more the right knee bends than the left."""


class SquatLot(TwoFeetLot):
    """Squats, to full depth."""

    FAULTS: ClassVar = ("valgus", "hip_shift", "asymmetry", "heel_lift", "butt_wink")
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

    FAULTS: ClassVar = ("valgus", "hip_shift", "asymmetry", "rounding")
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

    FAULTS: ClassVar = ("valgus", "hip_shift", "asymmetry")
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

    FAULTS: ClassVar = ("valgus", "hip_shift", "asymmetry")
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


class SingleLegSquatLot(ProceduralLot):
    """Squats on one leg, either one, the other foot in the air."""

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


class People(Frozen):
    """Where subjects are drawn from: a national survey's stature and BMI by sex and age, cut at these limits."""

    female: Share = 0.5
    age: Annotated[tuple[_Age, _Age], AfterValidator(_ordered)] = (18.0, 80.0)
    """Years; all ages alike."""
    stature: Annotated[tuple[_Stature, _Stature], AfterValidator(_ordered)] = (1.45, 2.0)
    """Metres."""
    bmi: Annotated[tuple[_Bmi, _Bmi], AfterValidator(_ordered)] = (17.0, 40.0)


class Wardrobe(Frozen):
    """What people wear. Without assets everybody wears painted clothes."""

    assets: str | None = None
    """URL of a MakeHuman asset pack, a folder or a zip with clothes/, hair/ and skins/ in MakeHuman's layout."""
    dressed: Share = 0.5
    """Share of subjects who wear a suit of the pack; the others wear painted clothes, most with its skin and hair."""
    markers: Share = 0.05
    """Share of subjects with reflective markers and tape on, as laboratories film them."""


class Views(Frozen):
    """How often the phone stands where; the numbers are relative weights."""

    front: _Size = 0.3
    side: _Size = 0.25
    """The left or the right side."""
    oblique: _Size = 0.2
    """45 degrees to the left or right of the front."""
    any: _Size = 0.25
    """Anywhere within `Camera.yaw`."""
    spread: _Size = 12.0
    """A phone stands within this many degrees of the view that is meant."""

    @property
    def weights(self) -> dict[str, float]:
        """Returns each view's share; they add up to 1."""
        sizes = {n: float(getattr(self, n)) for n in ("front", "side", "oblique", "any")}
        total = sum(sizes.values())
        return {name: size / total for name, size in sizes.items()}

    @model_validator(mode="after")
    def _one_is_wanted(self) -> "Views":
        if self.front + self.side + self.oblique + self.any <= 0:
            raise ValueError("all weights are 0; give at least one view a weight")
        return self


class Camera(Frozen):
    """A phone on a tripod or in a hand. Shots that do not hold the whole person are drawn again."""

    views: Views = Views()
    yaw: Range = (-180.0, 180.0)
    """0 films the person's front, 90 the left side. A view outside this range is replaced by one within it."""
    distance: PositiveRange = (1.0, 6.0)
    height: Range = (0.3, 2.0)
    focal_mm: PositiveRange = (22.0, 80.0)
    """35 mm equivalent."""
    pitch: Range = (-5.0, 5.0)
    """By how much the phone is tilted up from the person, degrees."""
    roll: Range = (-6.0, 6.0)
    portrait: Share = 0.6
    """Share of phones held upright."""
    handheld: Share = 0.5
    """Share of phones held in a hand; the others stand on a tripod."""
    shake: SizeRange = (0.1, 0.7)
    """Standard deviation of a hand's turn about each axis, degrees."""
    margin: PositiveRange = (1.1, 1.5)
    """Side of the square crop over the longer side of the person's box."""
    shift: Share = 0.08
    """Largest offset of the crop's centre from the box's, as a share of the crop."""


class Scene(Frozen):
    """Light, background, things in front, and what the phone does to the picture."""

    hdri: str | None = None
    """URL of a folder of environment maps, `.hdr` or `.exr`, each the whole sphere, twice as wide as high."""
    hdri_share: Share = 0.5
    """Share of frames lit by one of them, where there are any."""
    backgrounds: str | None = None
    """URL of a folder of JPEG photos without people."""
    people_in_backgrounds: str | None = None
    """URL of a COCO instances or person_keypoints JSON: photos that it says show a person are left out."""
    backgrounds_share: Share = 1.0
    """Share of the other frames that have one of these photos behind them; the rest stand in painted rooms."""
    sun: SizeRange = (0.3, 1.3)
    ambient: SizeRange = (0.2, 0.6)
    occluder: Share = 0.25
    """Share of frames with something standing in front of the person."""
    bystanders: Share = 0.15
    """Share of frames with other people in the background."""
    exposure: Range = (-0.7, 0.7)
    """By how much the phone exposes wrongly, stops."""
    white_balance: SizeRange = (0.0, 0.08)
    """Standard deviation of the error of red, green and blue, natural logarithm."""
    shutter: PositiveRange = (0.001, 0.033)
    """How long the film is exposed, seconds; long times are as likely as short ones, by ratio."""
    blur: SizeRange = (0.0, 0.8)
    """Gaussian blur of the lens, pixels."""
    noise: SizeRange = (0.0, 6.0)
    """Sensor noise, grey levels of 255."""
    compressed: Share = 0.4
    """Share of frames that went through a video's compression."""
    compression: Annotated[tuple[Share, Share], AfterValidator(_ordered)] = (0.2, 1.0)
    """How strong it was: 0 hardly visible, 1 a messenger's smallest."""


class SynthRecipe(Frozen):
    """A synthetic dataset."""

    kind: Literal["synth"] = "synth"
    name: str
    seed: int = 0
    model: str = "default"
    """`default`, or the URL of an `.osim`."""
    motions: dict[str, AnyLot] = Field(min_length=1)
    people: People = People()
    wardrobe: Wardrobe = Wardrobe()
    camera: Camera = Camera()
    scene: Scene = Scene()
    targets: dict[str, Target] = Field(default={}, max_length=8)
    """Shares of the single frames (`clip: false`) by angles of the pose and of the camera (schemas/targets.py)."""
    image_px: int = Field(default=256, ge=32, le=2048)
    jpeg_quality: int = Field(default=92, ge=1, le=100)
    shard_samples: int = Field(default=512, ge=1)
    splits: Splits = Splits()

    @field_validator("targets")
    @classmethod
    def _can_be_met(cls, value: dict[str, Target], info: ValidationInfo) -> dict[str, Target]:
        if "camera" in info.data:  # else the camera itself is refused
            list(every(value, info.data["camera"].model_dump()))
        return value

    @property
    def strata(self) -> tuple[Strata, ...]:
        """Returns the targets, ready to draw from, in the order of their names."""
        return tuple(every(self.targets, self.camera.model_dump()))


class CocoRecipe(Frozen):
    """Lower bodies from COCO keypoint annotations."""

    kind: Literal["coco"] = "coco"
    name: str
    seed: int = 0
    images: str = Field(min_length=1)
    """URL of the folder (or `zip://`) of pictures."""
    annotations: str = Field(min_length=1)
    """URL of the person_keypoints JSON."""
    subset: Literal["full", "mini", "lower_labelled", "lower_visible"] = "full"
    """`full`: at least one lower joint labelled; `mini`: a seeded draw from it; `lower_labelled`: all six
    v > 0; `lower_visible`: all six v == 2."""
    mini_persons: int = Field(default=20_000, ge=1)
    min_box_px: float = Field(default=32.0, ge=0)
    """Smallest height of a person's box."""
    licences: tuple[int, ...] | None = None
    """COCO licence numbers that are allowed; None allows all, also unknown ones."""
    context: float = Field(default=1.75, ge=1.0)
    """Side of the stored square over the longer side of the person's box."""
    image_px: int = Field(default=384, ge=32, le=2048)
    jpeg_quality: int = Field(default=92, ge=1, le=100)
    shard_samples: int = Field(default=512, ge=1)
    splits: Splits = Splits()


Recipe = Annotated[SynthRecipe | CocoRecipe, Field(discriminator="kind")]
