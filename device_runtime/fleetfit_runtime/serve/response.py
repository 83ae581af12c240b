"""An answer before it is HTTP: status, body, content type."""

from dataclasses import dataclass
from typing import Final

import orjson

JSON: Final = b"application/json"
BINARY: Final = b"application/octet-stream"


@dataclass(slots=True)
class Response:
    """One answer. Treated as frozen, but not so declared: that would cost a microsecond for each.

    Args:
        status: HTTP status code.
        body: its bytes.
        content_type: media type of the body.
        extra_headers: further header lines, each ended by CRLF.
        head: all of the head as it goes over the wire, where it is known already; empty otherwise.
    """

    status: int
    body: bytes
    content_type: bytes = JSON
    extra_headers: bytes = b""
    head: bytes = b""


def json_response(status: int, document: object, extra_headers: bytes = b"") -> Response:
    """Return a document as an answer."""
    return Response(status, orjson.dumps(document), JSON, extra_headers)


def error_response(status: int, message: str, extra_headers: bytes = b"") -> Response:
    """Return the protocol's form of an error."""
    return json_response(status, {"error": message}, extra_headers)
