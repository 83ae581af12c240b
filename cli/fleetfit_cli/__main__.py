"""Entry point of `fleetfit` and `python -m fleetfit_cli`."""

import os
import sys
from collections.abc import Sequence

from fleetfit_cli.command_line import run
from fleetfit_cli.console import note
from fleetfit_cli.errors import CommandError, missing_package


def main(words: Sequence[str] | None = None) -> int:
    """Run the words, or those that this process was started with; return the exit status.

    0: done; 1: this machine did not let it; 2: wrong words or files; 130: Ctrl-C.
    """
    try:
        run(sys.argv[1:] if words is None else words)
        sys.stdout.flush()
    except CommandError as error:
        note(str(error))
        return error.exit_code
    except ModuleNotFoundError as error:
        failed = missing_package(error)
        if failed is None:
            raise
        note(str(failed))
        return failed.exit_code
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
