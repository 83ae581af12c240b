"""A rating as a client gives it, checked. Pure."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fleetfit_runtime.ratings.recent_requests import LONGEST_ID

_Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
_ContextName = Annotated[str, Field(min_length=1, max_length=64)]
_ContextValue = Annotated[str, Field(max_length=128)] | float | bool
LONGEST_USER = 256


class GivenRating(BaseModel):
    """One rating of a request body.

    Args:
        id: names the rating, so that sending it again changes nothing.
        score: 0 bad to 1 good; what is beyond is clipped.
        user: who rates, in the client's own words; absent for the address that the rating comes from.
        request_id: id of the inference that is rated.
        variant: variant that is rated, where the request is not named.
        label: index of the class that would have been right.
        correct: whether the reply was right.
        context: what else the client wants to be noted.
        at: when the rated reply was given: seconds since 1970, or a date with time and offset.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    id: _Id
    score: float | None = None
    user: Annotated[str, Field(min_length=1, max_length=LONGEST_USER)] | None = None
    request_id: _Id | None = None
    variant: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    label: Annotated[int, Field(ge=0)] | None = None
    correct: bool | None = None
    context: Annotated[dict[_ContextName, _ContextValue], Field(max_length=8)] = {}
    at: float | str | None = None

    @field_validator("at", mode="after")
    @classmethod
    def _seconds(cls, at: float | str | None) -> float | None:
        if not isinstance(at, str):
            return at
        parsed = datetime.fromisoformat(at)
        if parsed.tzinfo is None:
            raise ValueError("a date needs an offset from UTC, such as Z")
        return parsed.timestamp()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.score is None and self.label is None and self.correct is None:
            raise ValueError("a rating needs a score, a label or correct")
        if self.label is not None and self.correct is not None:
            raise ValueError("give label or correct, not both")
        if self.label is not None and self.request_id is None:
            raise ValueError("a label needs the request_id of the reply that it is compared with")
        return self

    @property
    def at_s(self) -> float:
        """Wall clock of the rated reply in seconds; infinite when the client does not say."""
        return self.at if isinstance(self.at, float) else math.inf


class RatingError(Exception):
    """A rating cannot be taken as given; the message is a sentence for the client."""


def parse_rating(document: Mapping[str, Any]) -> GivenRating:
    """Return the rating that a JSON object stands for.

    Raises:
        RatingError: it is none.
    """
    try:
        return GivenRating.model_validate(document)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"][:2])
        message = fault["msg"].removeprefix("Value error, ")
        raise RatingError(f"{where}: {message}" if where else message) from error
