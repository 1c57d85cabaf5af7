"""What a user asks of a training run, as frozen typed values; the trainers' side of `schemas.recipes`."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from schemas.ranges import Frozen, Range, Share

Backbone = Literal["resnet18", "resnet50", "resnext50_32x4d", "resnext101_32x8d"]


Side = Annotated[int, Field(ge=32, le=2048, multiple_of=32)]


class Augment(Frozen):
    """How a training sample is varied; every share is the probability that it happens at all."""

    flip: Share = 0.5
    """Mirror, swapping left and right by name."""
    rotate: float = Field(default=30.0, ge=0, le=180)
    """Largest turn about the box's centre, degrees."""
    scale: Range = (0.8, 1.25)
    """Size of the person relative to the plain crop."""
    shift: float = Field(default=0.05, ge=0, le=0.5)
    """Largest offset of the box's centre, as a share of the box."""
    colour: float = Field(default=0.25, ge=0, le=1)
    """Largest relative change of brightness, contrast and each channel."""
    blur: Share = 0.2
    occlude: Share = 0.3
    """A flat rectangle, up to 0.4 of each side, somewhere in the picture."""


class Pose2d(Frozen):
    """Six lower joints as heat maps."""

    kind: Literal["pose2d"] = "pose2d"
    net: Literal["deconv", "fpn"] = "deconv"
    """`deconv`: three deconvolutions on c5; `fpn`: c3, c4, c5 summed, then one deconvolution."""
    backbone: Backbone = "resnet18"
    weights: str | None = None
    """URL of ImageNet weights in torchvision's naming (.safetensors or .pth); None trains from scratch."""
    input: tuple[Side, Side] = (256, 192)
    """Height, width of the net's picture; the heat maps are a quarter of it."""
    crop: Literal["stretch", "padded"] = "padded"
    """`stretch`: the person's box fills the input, as the seed project did; `padded`: its aspect is kept."""
    padding: float = Field(default=1.25, ge=1.0, le=3.0)
    """`padded` only: side of the crop over the side of the box."""
    sigma: float = Field(default=2.0, gt=0)
    """Standard deviation of the target Gaussians, heat-map cells."""
    loss: Literal["seed", "visible"] = "seed"
    """`seed`: JointsMSE, divided by 6 also where joints are missing; `visible`: by the labelled joints."""
    decode: Literal["argmax", "dark"] = "dark"


class D3ke(Frozen):
    """Joint angles, body scales and root pose straight from pixels, through the skeletal layer."""

    kind: Literal["d3ke"] = "d3ke"
    backbone: Backbone = "resnet18"
    weights: str | None = None
    input_px: int = Field(default=256, ge=32)
    joint_weight: float = Field(default=1.0, ge=0)
    marker_weight: float = Field(default=2.0, ge=0)
    body_weight: float = Field(default=0.1, ge=0)
    angle_weight: float = Field(default=0.06, ge=0)
    """Per degree."""
    root_weight: float = Field(default=0.0, ge=0)
    """Geodesic error of the root's rotation, per radian."""
    place_weight: float = Field(default=0.5, ge=0)
    """Where the root lies in the picture and how large a metre is there, shares of the side."""


AnyTask = Annotated[Pose2d | D3ke, Field(discriminator="kind")]


class Optimiser(Frozen):
    """Adam, with an optional linear warm-up and cosine decay to `final` of the rate."""

    name: Literal["adam", "adamw"] = "adam"
    rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup_steps: int = Field(default=0, ge=0)
    final: Share = 1.0
    """Learning rate at the last step over `rate`; 1 keeps it constant."""
    clip_norm: float | None = Field(default=None, gt=0)


class Streaming(Frozen):
    """How samples reach the net."""

    lanes: int = Field(default=24, ge=1)
    """Canonical lanes: the order of samples depends on it, never on the number of ranks."""
    window: int = Field(default=512, ge=1)
    """Samples of a lane that are shuffled together."""
    threads: int = Field(default=2, ge=1)
    last: Literal["drop", "keep", "pad"] = "drop"
    """What becomes of the samples of an epoch that do not fill a batch: left out, a shorter batch, or filled up with
    samples of weight 0 (which batch normalisation still sees)."""
    mix: tuple[PositiveFloat, ...] | None = None
    """Shares of the datasets in every batch, in the order of --data; a small one is repeated. null shows every sample
    once an epoch."""
    cache_mb: int = Field(default=1024, ge=1)
    """Read shards are kept up to this size, for the next epoch; never less than the open windows need."""


class FitRecipe(Frozen):
    """One training run."""

    name: str
    seed: int = 0
    task: AnyTask
    epochs: int = Field(default=20, ge=1)
    batch: int = Field(default=64, ge=1)
    """Samples per step over all ranks."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stops after so many steps, whatever the epochs."""
    optimiser: Optimiser = Optimiser()
    augment: Augment | None = Augment()
    """null trains on the plain crops."""
    stream: Streaming = Streaming()
    validate_every: int = Field(default=1, ge=1)
    """Epochs between validations; each writes a checkpoint, as does the last epoch."""
    checkpoint_steps: int | None = Field(default=None, ge=1)
    """Also writes one every so many steps, for machines that may vanish."""
