"""`python -m dtis_core`, which torchrun needs: the `dtis` command."""

import sys

from dtis_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
