"""`python -m cudaq_target` is the command `cudaq-target`."""

import sys

from cudaq_target.cli import main

if __name__ == "__main__":
    sys.exit(main())
