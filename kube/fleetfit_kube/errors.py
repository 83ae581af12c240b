"""What an API call can end in: one tree of errors, made here from HTTP answers and nowhere else.

The names are the reasons of metav1.Status, as readers of Kubernetes know them.
"""
# ruff: noqa: N818 - Kubernetes names them without a suffix

from typing import Any


class ApiError(Exception):
    """The API server refused or could not be asked.

    Attributes:
        status: HTTP status, 0 when there was no answer.
        reason: Reason of metav1.Status, CamelCase.
        message: Sentence of the API server.
        transient: Whether the same call may succeed later.
    """

    transient = False

    def __init__(self, status: int, reason: str, message: str) -> None:
        who = f"{status} {reason}" if status else "no answer from the API server"
        super().__init__(f"{who}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class BadRequest(ApiError):
    """The request is malformed (400)."""


class Unauthorized(ApiError):
    """The credentials are not known (401)."""


class Forbidden(ApiError):
    """The credentials do not allow this (403)."""


class NotFound(ApiError):
    """There is no such object or kind (404)."""


class Conflict(ApiError):
    """The object exists, has changed since it was read, or another manager owns the field (409)."""


class Expired(ApiError):
    """The resource version is too old to watch from; list again (410)."""


class Invalid(ApiError):
    """The object breaks a rule of its schema (422)."""


class TooManyRequests(ApiError):
    """The API server sheds load; the request was not executed (429).

    Attributes:
        retry_after_s: Seconds that the server asks to wait.
    """

    transient = True

    def __init__(self, status: int, reason: str, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(status, reason, message)
        self.retry_after_s = retry_after_s


class Unavailable(ApiError):
    """The API server has trouble of its own (5xx)."""

    transient = True


class ConnectionLost(ApiError):
    """No answer: connection refused, cut or timed out. Whether the call was executed is unknown."""

    transient = True

    def __init__(self, message: str) -> None:
        super().__init__(0, "ConnectionLost", message)


class WatchStalled(ConnectionLost):
    """A watch stayed silent for longer than the server's bookmarks allow."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    422: Invalid,
}
_SERVER_ERROR = 500


def error_from_status(http_status: int, body: Any, retry_after: str | None = None) -> ApiError:
    """Return the error that stands for an answer.

    Args:
        http_status: HTTP status, or the code of a Status object in a watch.
        body: Decoded metav1.Status, or text when the answer came from something in between.
        retry_after: Value of the Retry-After header.
    """
    is_status = isinstance(body, dict)
    reason = str(body.get("reason") or "Unknown") if is_status else "Unknown"
    message = str(body.get("message") or "") if is_status else str(body)[:500]
    if http_status == 429:
        return TooManyRequests(http_status, reason, message, _seconds(retry_after))
    if http_status >= _SERVER_ERROR:
        return Unavailable(http_status, reason, message)
    return _BY_STATUS.get(http_status, ApiError)(http_status, reason, message)


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.strip().isdigit() else 1.0
