"""`python -m cellcount.cli` is `cellcount`."""

import sys

from cellcount.cli import main

sys.exit(main())
