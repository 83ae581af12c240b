"""What a URI says before anything is fetched, and how much of it may be shown. Pure."""

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure

# Signed URLs carry their credentials in the query; status and log are read by many.
_QUERY: Final = re.compile(r"(\w+://[^\s?'\"]*)\?[^\s'\"]*")
_USER: Final = re.compile(r"(\w+://)[^\s/?#@'\"]*@")


def split_uri(uri: str) -> SplitResult:
    """Return the parts of a URI.

    Raises:
        ModelFailure: it is none.
    """
    try:
        parts = urlsplit(uri)
        _ = (parts.hostname, parts.port)
    except ValueError as error:
        message = f"{redacted(uri)!r} is not a valid URI: {error}"
        raise ModelFailure(Reason.UNSUPPORTED_URI, message) from error
    return parts


def redacted(text: str) -> str:
    """Return a text without the queries and users of the URIs in it."""
    return _USER.sub(r"\1", _QUERY.sub(r"\1?...", text))
