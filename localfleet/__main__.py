"""Entry point of `python -m localfleet`."""

import sys

from localfleet.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
