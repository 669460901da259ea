"""`python -m greenroom`: the command line."""

import sys

from greenroom.cli import main

sys.exit(main())
