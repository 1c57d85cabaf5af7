"""What a user asks for, as frozen typed values. Unknown keys and impossible values are refused by name.

Angles in recipes are degrees (people read them); lengths metres. A pair is an inclusive range that the
sample's own random generator draws from.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from schemas.lots import AnyLot
from schemas.ranges import Frozen, PositiveRange, Range, Share, Size, SizeRange, ordered
from schemas.targets import Strata, Target, every

_Age = Annotated[float, Field(ge=18.0, le=100.0)]
_Stature = Annotated[float, Field(ge=1.2, le=2.3)]
_Bmi = Annotated[float, Field(ge=12.0, le=60.0)]


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


class People(Frozen):
    """Where subjects are drawn from: a national survey's stature and BMI by sex and age, cut at these limits."""

    female: Share = 0.5
    age: Annotated[tuple[_Age, _Age], AfterValidator(ordered)] = (18.0, 80.0)
    """Years; all ages alike."""
    stature: Annotated[tuple[_Stature, _Stature], AfterValidator(ordered)] = (1.45, 2.0)
    """Metres."""
    bmi: Annotated[tuple[_Bmi, _Bmi], AfterValidator(ordered)] = (17.0, 40.0)


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

    front: Size = 0.3
    side: Size = 0.25
    """The left or the right side."""
    oblique: Size = 0.2
    """45 degrees to the left or right of the front."""
    any: Size = 0.25
    """Anywhere within `Camera.yaw`."""
    spread: Size = 12.0
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
    exposure: Range = (-2.2, 1.2)
    """By how much the phone exposes wrongly, stops; people are then as bright as on COCO's photographs."""
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
    compression: Annotated[tuple[Share, Share], AfterValidator(ordered)] = (0.2, 1.0)
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
