"""`python -m localfleet.node --config FILE`: run one process node until SIGTERM."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from pydantic import ValidationError

from localfleet.node.agent import run_agent
from localfleet.node.profile import ProfileError
from localfleet.node_config import NodeConfig

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({})))


class _KeyValueFormatter(logging.Formatter):
    """The message, then the record's extra fields as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}
        extra.pop("message", None)
        extra.pop("asctime", None)
        return line + "".join(f" {key}={value!r}" for key, value in extra.items())


def main(arguments: list[str]) -> int:
    """Run a node; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m localfleet.node", description="Run one process node.")
    parser.add_argument("--config", type=Path, required=True, help="configuration that the supervisor wrote")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    options = parser.parse_args(arguments)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_KeyValueFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=options.log_level, handlers=[handler])
    try:
        asyncio.run(run_agent(NodeConfig.read(options.config)))
    except (OSError, ValidationError, ProfileError) as error:
        sys.stderr.write(f"the node cannot start: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
