"""`python -m phenoscale VERB`, so that torchrun can start the command line too."""

import sys

from phenoscale.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
