"""Answers the calls about ratings: takes them from users, and shows what came of them."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.ratings.book import Outcome
from fleetfit_runtime.ratings.desk import RatingDesk
from fleetfit_runtime.ratings.given import RatingError, parse_rating
from fleetfit_runtime.serve.body import Body
from fleetfit_runtime.serve.errors import RequestError, bad_request
from fleetfit_runtime.serve.http_message import HttpRequest
from fleetfit_runtime.serve.response import Response, error_response, json_response

_MOST_RATINGS = 100
# A hundred ratings with full contexts; parsing as much takes some milliseconds of the event loop.
_LARGEST_BODY_BYTES = 256 << 10


@dataclass(slots=True)
class _Tally:
    """What became of the ratings of one request."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    errors: list[dict[str, Any]] = field(default_factory=list)
    wait_s: float = 0.0

    def document(self) -> dict[str, Any]:
        counts: dict[str, Any] = {outcome.value: self.outcomes[outcome] for outcome in Outcome}
        return counts | {"errors": self.errors}


def take_ratings(desk: RatingDesk, model: ServedModel, version: str, request: HttpRequest) -> Response:
    """Take the ratings of a request body.

    Args:
        desk: where they go.
        model: what is rated.
        version: variant that the path names, for ratings that name none; empty when it does not.
        request: its body has the ratings.

    Raises:
        RequestError: the body as a whole is wrong.
    """
    alone, documents = _documents(request.body)
    tally = _Tally()
    for index, document in enumerate(documents):
        try:
            if not isinstance(document, dict):
                raise RatingError("a rating must be an object")
            given = parse_rating({"variant": version, **document} if version else document)
            verdict = desk.rate(model, given, request.peer)
        except RatingError as error:
            desk.count_refused(model.name)
            tally.errors.append({"index": index, "error": str(error)})
        else:
            tally.outcomes[verdict.outcome] += 1
            tally.wait_s = max(tally.wait_s, verdict.wait_s)
    return _answer(tally, alone=alone)


def show_ratings(desk: RatingDesk, model: ServedModel) -> Response:
    """Return what users say of a model's variants, as the node reports it."""
    summaries = [summary.to_json() for summary in desk.summaries(model.name)]
    return json_response(200, {"model_name": model.name, "ratings": summaries})


def _documents(body: Body) -> tuple[bool, Sequence[object]]:
    """Return whether it is a single rating, and the ratings."""
    if len(body) > _LARGEST_BODY_BYTES:
        raise RequestError(413, f"ratings may take {_LARGEST_BODY_BYTES} bytes; send them in parts")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the body is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise bad_request("the body must be a JSON object: a rating, or ratings with a list of them")
    if "ratings" not in document:
        return True, [document]
    ratings = document["ratings"]
    if len(document) > 1 or not isinstance(ratings, list) or not 1 <= len(ratings) <= _MOST_RATINGS:
        raise bad_request(f"ratings must be the only member, an array of 1 to {_MOST_RATINGS} ratings")
    return False, ratings


def _answer(tally: _Tally, *, alone: bool) -> Response:
    total = tally.outcomes.total()
    if total == 0:
        first = tally.errors[0]
        if alone:
            return error_response(400, first["error"])
        message = f"no rating could be taken; rating {first['index']}: {first['error']}"
        return json_response(400, {"error": message, **tally.document()})
    if tally.outcomes[Outcome.LIMITED] == total:
        seconds = math.ceil(tally.wait_s)
        message = f"too many ratings come from here; try again in {seconds} s"
        retry = b"Retry-After: %d\r\n" % seconds
        return json_response(429, {"error": message, **tally.document()}, retry)
    return json_response(200, tally.document())
