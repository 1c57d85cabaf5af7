"""What a user asks for, as frozen typed values. Unknown keys and impossible values are refused by name.

Angles in recipes are degrees (people read them); lengths metres. A pair is an inclusive range that the
sample's own random generator draws from.
"""

from typing import Annotated, Any, Literal

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


class Lot(Frozen):
    """One motion, performed by the subjects 0 … subjects-1, each giving `frames` frames."""

    subjects: int = Field(default=16, ge=1)
    frames: int = Field(default=32, ge=1)
    clip: bool = False
    """True: consecutive frames at `fps` from one camera; False: frames spread over the motion, a camera each."""
    fps: float = Field(default=30.0, gt=0)


class ProceduralLot(Lot):
    """Squats with planted feet."""

    movement: Literal["squat"] = "squat"
    depth: Range = (60.0, 125.0)
    """Knee flexion at the bottom, degrees."""
    stance: PositiveRange = (0.9, 1.6)
    """Distance of the ankles over the distance of the hip centres."""
    toe_out: Range = (0.0, 30.0)
    trunk_lean: Range = (15.0, 50.0)
    """Forward lean of the trunk at the bottom, degrees from the vertical."""
    valgus: Range = (-4.0, 8.0)
    """Inward collapse of the knees at the bottom, degrees of hip adduction."""
    asymmetry: Range = (-6.0, 6.0)
    """Sideways shift of the pelvis at the bottom, centimetres."""
    heel_lift: Range = (0.0, 12.0)
    """Pitch of the feet about the toes at the bottom, degrees."""
    tempo: PositiveRange = (1.6, 4.0)
    """Seconds for one repetition."""


class MotLot(Lot):
    """A recorded OpenSim motion."""

    mot: str
    """URL of a `.mot` file."""
    perturb: SizeRange = (0.0, 0.0)
    """Standard deviation of a smooth perturbation of each angle, degrees, drawn per subject."""


class RandomLot(Lot):
    """Independent random poses inside the joint limits, for coverage."""

    random: Literal["limits"] = "limits"
    spread: Share = 0.6
    """Share of every coordinate's range that is used, about the default pose."""


def _kind_of_lot(value: Any) -> str:
    if isinstance(value, BaseModel):
        return {MotLot: "(mot)", RandomLot: "(random)"}.get(type(value), "(procedural)")
    keys = value.keys() if isinstance(value, dict) else ()
    return "(mot)" if "mot" in keys else "(random)" if "random" in keys else "(procedural)"


AnyLot = Annotated[
    Annotated[ProceduralLot, Tag("(procedural)")]
    | Annotated[MotLot, Tag("(mot)")]
    | Annotated[RandomLot, Tag("(random)")],
    Discriminator(_kind_of_lot),
]


class People(Frozen):
    """Where subjects are drawn from."""

    female: Share = 0.5
    age: Annotated[tuple[_Age, _Age], AfterValidator(_ordered)] = (18.0, 80.0)
    stature: Annotated[tuple[_Stature, _Stature], AfterValidator(_ordered)] = (1.50, 1.95)
    bmi: Annotated[tuple[_Bmi, _Bmi], AfterValidator(_ordered)] = (18.0, 34.0)


class Camera(Frozen):
    """A phone on a tripod or in a hand."""

    yaw: Range = (-180.0, 180.0)
    """0 films the person's front, 90 the left side."""
    distance: PositiveRange = (2.0, 5.0)
    height: Range = (0.4, 1.8)
    focal_mm: PositiveRange = (24.0, 60.0)
    """35 mm equivalent."""
    roll: Range = (-4.0, 4.0)
    margin: PositiveRange = (1.1, 1.5)
    """Side of the square crop over the longer side of the person's box."""
    shift: Share = 0.08
    """Largest offset of the crop's centre from the box's, as a share of the crop."""


class Scene(Frozen):
    """Light, background, things in front, and what the phone does to the picture."""

    backgrounds: str | None = None
    """URL of a folder of JPEG photos; None paints rooms."""
    sun: SizeRange = (0.5, 1.1)
    ambient: SizeRange = (0.25, 0.6)
    occluder: Share = 0.25
    """Share of frames with something standing in front of the person."""
    blur: SizeRange = (0.0, 0.8)
    """Gaussian blur, pixels."""
    noise: SizeRange = (0.0, 6.0)
    """Sensor noise, grey levels of 255."""


class SynthRecipe(Frozen):
    """A synthetic dataset."""

    kind: Literal["synth"] = "synth"
    name: str
    seed: int = 0
    model: str = "default"
    """`default`, or the URL of an `.osim`."""
    motions: dict[str, AnyLot] = Field(min_length=1)
    people: People = People()
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
