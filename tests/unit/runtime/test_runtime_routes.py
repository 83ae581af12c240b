"""Paths of the protocol."""

import pytest
from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.routes import Call, Route, find_route
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("method", "target", "route"),
    [
        (b"GET", b"/v2", Route(Call.SERVER_METADATA)),
        (b"GET", b"/v2/?a=b", Route(Call.SERVER_METADATA)),
        (b"HEAD", b"/v2/health/ready", Route(Call.SERVER_READY)),
        (b"GET", b"/v2/models/m", Route(Call.MODEL_METADATA, "m")),
        (b"GET", b"/v2/models/m/versions/v", Route(Call.MODEL_METADATA, "m", "v")),
        (b"GET", b"/v2/models/m/versions/v/ready", Route(Call.MODEL_READY, "m", "v")),
        (b"POST", b"/v2/models/m/infer", Route(Call.INFER, "m")),
        (b"GET", b"/v2/models/m/ratings", Route(Call.SHOW_RATINGS, "m")),
        (b"POST", b"/v2/models/m/ratings", Route(Call.RATE, "m")),
        (b"POST", b"/v2/models/m/versions/v/ratings/", Route(Call.RATE, "m", "v")),
        (b"POST", b"/v2/models/a%2Fb/versions/v%20w/infer", Route(Call.INFER, "a/b", "v w")),
    ],
)
def test_route(method: bytes, target: bytes, route: Route) -> None:
    assert find_route(method, target) == route


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        (b"GET", b"/v2/models/m/infer", "takes POST, not GET"),
        (b"POST", b"/v2/models/m", "takes GET, not POST"),
        (b"PUT", b"/v2/models/m/ratings", "takes GET and POST, not PUT"),
        (b"DELETE", b"/v2", "takes GET, not DELETE"),
    ],
)
def test_another_method_is_refused_with_those_that_are_taken(
    method: bytes, target: bytes, allowed: str
) -> None:
    with pytest.raises(RequestError) as raised:
        find_route(method, target)
    assert raised.value.status == 405
    assert allowed in raised.value.message


@given(st.sampled_from([b"GET", b"POST", b"PUT", b"\xff"]), st.binary(max_size=60))
def test_any_target_is_a_route_or_an_error(method: bytes, target: bytes) -> None:
    for path in (target, b"/v2/models/" + target):
        error: RequestError | None = None
        try:
            find_route(method, path)
        except RequestError as raised:
            error = raised
        assert error is None or error.status in (404, 405)
