"""A request that is answered with an error: a status and a sentence."""


class RequestError(Exception):
    """The request cannot be answered as asked.

    Args:
        status: HTTP status code.
        message: sentence for the client, sent as `{"error": message}`.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def bad_request(message: str) -> RequestError:
    """Return the error for input that the client must change."""
    return RequestError(400, message)
