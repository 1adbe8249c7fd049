"""``python -m tfimm_resolver`` is the command line."""

import sys

from tfimm_resolver.cli import main

sys.exit(main())
