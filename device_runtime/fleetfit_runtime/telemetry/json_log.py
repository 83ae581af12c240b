"""One JSON object per log line on standard output: a constant message and key/values, for jq and for Loki."""

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

import orjson

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record with its extra values.

    Args:
        constant: values on every line, such as the node's name.
    """

    def __init__(self, constant: dict[str, str]) -> None:
        super().__init__()
        self._constant = constant

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "logger": record.name,
            **self._constant,
        }
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def configure_log(level: str, constant: dict[str, str], stream: TextIO = sys.stdout) -> None:
    """Send all logs of the process as JSON lines to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(constant))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
