"""Where a model file lies: the three kinds of URI that the runtime fetches. Pure."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure


@dataclass(frozen=True, slots=True)
class HttpSource:
    """A file behind http or https."""

    url: str


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file on the node itself."""

    path: Path


def parse_source(uri: str) -> HttpSource | FileSource:
    """Return where the URI points.

    Raises:
        ModelFailure: the scheme is none of http, https and file, or a part is missing.
    """
    try:
        parts = urlsplit(uri)
        host = parts.hostname
    except ValueError as error:
        raise ModelFailure(Reason.UNSUPPORTED_URI, f"{uri!r} is not a valid URI: {error}") from error
    if parts.scheme in ("http", "https"):
        if not host:
            raise ModelFailure(Reason.UNSUPPORTED_URI, f"{uri!r} names no host")
        return HttpSource(uri)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise ModelFailure(
                Reason.UNSUPPORTED_URI,
                f"{uri!r} names the host {parts.netloc!r}; a file URI has three slashes, as in file:///models/a.onnx",
            )
        return FileSource(Path(unquote(parts.path)))
    raise ModelFailure(
        Reason.UNSUPPORTED_URI,
        f"the scheme {parts.scheme!r} of {uri!r} is not supported; use http://, https:// or file://",
    )
