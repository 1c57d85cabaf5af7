"""What all parts of recipes are made of: frozen values, and ranges that are drawn from."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """The base of every recipe part: immutable, and closed against misspelt keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def ordered(value: tuple[float, float]) -> tuple[float, float]:
    """Refuses a range that runs backwards."""
    if value[0] > value[1]:
        raise ValueError(f"range {list(value)} runs backwards; write the smaller number first")
    return value


Range = Annotated[tuple[float, float], AfterValidator(ordered)]
Size = Annotated[float, Field(ge=0.0)]
_Positive = Annotated[float, Field(gt=0.0)]
SizeRange = Annotated[tuple[Size, Size], AfterValidator(ordered)]
PositiveRange = Annotated[tuple[_Positive, _Positive], AfterValidator(ordered)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
