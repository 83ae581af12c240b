"""Entry point of `python -m localfleet`."""

import sys

if __name__ == "__main__":
    try:
        # Imported here, because a Ctrl-C during this half second deserves no traceback either.
        from localfleet.cli.main import main

        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
